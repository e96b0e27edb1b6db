//! The events that are drained: 200 bytes of JSON each, the same for all that are compared.

use uuid::Uuid;

/// The payload's bytes.
pub(crate) const PAYLOAD_BYTES: usize = 200;
pub(crate) const EVENT_TYPE: &str = "order_placed";
pub(crate) const ENVIRONMENT: &str = "bench";
pub(crate) const TABLE: &str = "event_log";
/// The columns of the table that the ClickHouse sink creates, all of which it fills.
pub(crate) const COLUMNS: &str =
    "event_id, event_type, event_date_time, environment, event_context, metadata_version, seq, key, headers";

/// The event with this number.
pub(crate) struct Row {
    pub(crate) id: Uuid,
    pub(crate) payload: String,
}

/// Ids grow as UUIDv7 do. The payload compresses to about a half, as business data does.
pub(crate) fn row(n: u64) -> Row {
    let mut rng = fastrand::Rng::with_seed(n);
    let id =
        Uuid::from_u64_pair(0x0190_0000_0000_7000 + ((n / 1000) << 16), (n << 32 | u64::from(rng.u32(..))) | 1 << 63);
    let mut payload = format!(r#"{{"order":{n},"account":{},"note":""#, rng.u32(..1000));
    while payload.len() < PAYLOAD_BYTES - 2 {
        payload.push(char::from(b'a' + rng.u8(..16)));
    }
    payload.push_str("\"}");
    Row { id, payload }
}

/// A complete RowBinary row of [`COLUMNS`].
pub(crate) fn row_binary(n: u64, micros: i64, body: &mut Vec<u8>) {
    let Row { id, payload } = row(n);
    let (high, low) = id.as_u64_pair();
    body.extend_from_slice(&high.to_le_bytes());
    body.extend_from_slice(&low.to_le_bytes());
    text(body, EVENT_TYPE);
    body.extend_from_slice(&micros.to_le_bytes());
    text(body, ENVIRONMENT);
    text(body, &payload);
    body.extend_from_slice(&1_i32.to_le_bytes());
    body.extend_from_slice(&n.to_le_bytes());
    text(body, "");
    text(body, "");
}

fn text(body: &mut Vec<u8>, text: &str) {
    let mut length = text.len();
    while length >= 0x80 {
        body.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    body.push(length as u8);
    body.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_are_json_of_one_size_and_ids_grow() {
        for n in [1, 999, 1000, 1_000_000, 4_999_999] {
            let (this, next) = (row(n), row(n + 1));
            assert_eq!(this.payload.len(), PAYLOAD_BYTES);
            assert!(serde_json::from_str::<serde_json::Value>(&this.payload).is_ok());
            assert!(this.id < next.id);
        }
    }
}
