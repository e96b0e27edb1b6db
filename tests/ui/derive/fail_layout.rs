//! Options for a table where there is none, and layouts that are none.
use outbox::EventLog;

#[derive(EventLog)]
#[event_log(layout = "column", ddl(order_by = "a"))]
struct Misspelt {
    #[event_log(ch(type = "String"))]
    a: u8,
}

#[derive(EventLog)]
#[event_log(ddl(order_by = "a"))]
struct Shared {
    #[event_log(ch(type = "String"))]
    a: u8,
}

#[derive(EventLog)]
#[event_log(layout = "columns")]
enum Mixed {
    #[event_log(layout = "context", ddl(ttl = "at"))]
    One,
    Two,
}

#[derive(EventLog)]
#[event_log(layout = "columns", ddl(orderby = "a", engine = "", ttl), table = 7)]
struct Wrong {
    #[event_log(ch = "String")]
    a: u8,
    #[event_log(ch(typ = "String", codec = 3))]
    b: u8,
    #[event_log(ch())]
    event_id: u8,
    #[event_log(flatten, ch(type = "String"))]
    c: u8,
    #[event_log(ch(type = " "))]
    d: u8,
}

fn main() {}
