//! A trait that was forgotten says what to add.
use outbox::clickhouse::{ClickHouseSink, EventLogRow};
use outbox::{EventColumns, EventSchema, IntoEvents, SchemaRecord};

#[derive(serde::Deserialize)]
struct Plain {
    a: u8,
}

fn decode(row: &EventLogRow) -> Plain {
    row.decode().unwrap()
}

fn register(sink: ClickHouseSink) -> ClickHouseSink {
    sink.schema::<Plain>()
}

fn records() -> Vec<SchemaRecord> {
    SchemaRecord::of::<Plain>()
}

fn events(plain: Plain) -> impl IntoEvents {
    plain
}

fn columns() -> usize {
    <Plain as EventColumns>::COLUMNS.len() + <Plain as EventSchema>::EVENT_TYPES.len()
}

fn main() {}
