//! A digest of a part's event ids, for the log: by it one can see that a token was always sent with the same events.

use std::fmt;

use outbox_core::StoredEvent;

/// FNV-1a over the ids in their order, 64 bits. It holds nothing of a payload, and costs nothing unless it is displayed.
pub(crate) struct Digest<'e>(pub(crate) &'e [StoredEvent]);

const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0100_0000_01b3;

impl fmt::Display for Digest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.0.iter().flat_map(|stored| *stored.event.id.as_bytes());
        let hash = bytes.fold(OFFSET, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME));
        write!(f, "{hash:016x}")
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use outbox_core::Event;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn it_depends_on_the_ids_and_their_order_only() {
        let event = |no: u128, payload: &str| {
            let mut event = Event::stored(Uuid::from_u128(no), "t".into(), 1, DateTime::UNIX_EPOCH);
            event.payload = payload.into();
            StoredEvent { seq: 1, event }
        };
        let digest = |events: &[StoredEvent]| Digest(events).to_string();
        let both = digest(&[event(1, "{}"), event(2, "{}")]);
        assert_eq!(both, digest(&[event(1, "other"), event(2, "{}")]));
        assert_ne!(both, digest(&[event(2, "{}"), event(1, "{}")]));
        assert_ne!(both, digest(&[event(1, "{}")]));
    }
}
