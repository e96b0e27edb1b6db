//! Row by row: `RowBinaryWithNamesAndTypes`, of servers that do not take [`native`](super::native), and of parts that were frozen before.

use outbox_core::StoredEvent;

use super::{Value, value};
use crate::columns::{Column, Field, Shape, Wire};

/// The body of these rows. `plan` goes with `columns`.
pub(super) fn rows(body: &mut Vec<u8>, columns: &[&Column], plan: &[(Field, Wire)], events: &[StoredEvent]) {
    header(body, columns);
    for stored in events {
        plan.iter().for_each(|(field, wire)| field_of(body, *field, *wire, stored));
    }
}

fn header(body: &mut Vec<u8>, columns: &[&Column]) {
    length(body, columns.len());
    columns.iter().for_each(|column| text(body, &column.name));
    columns.iter().for_each(|column| text(body, &column.server_type));
}

fn field_of(body: &mut Vec<u8>, field: Field, wire: Wire, stored: &StoredEvent) {
    let value = value(field, stored);
    if wire.nullable {
        let null = matches!(value, Value::Null);
        body.push(null.into());
        if null {
            return;
        }
    }
    plain(body, value, wire.shape);
}

/// A value without a word on whether it is NULL: the same bytes in every binary format.
pub(super) fn plain(body: &mut Vec<u8>, value: Value<'_>, shape: Shape) {
    match value {
        Value::Text(words) => text(body, words),
        // Only texts can be absent, here into a column that knows no NULL.
        Value::Null => text(body, ""),
        Value::Uuid(id) => {
            // Two 64-bit halves, each with its low byte first.
            let (high, low) = id.as_u64_pair();
            body.extend_from_slice(&high.to_le_bytes());
            body.extend_from_slice(&low.to_le_bytes());
        }
        // Both numbers come out of the envelope in the width of their column's type, see `columns::wire`: low bytes first.
        Value::Integer(number) | Value::Micros(number) => {
            body.extend_from_slice(&number.to_le_bytes()[..if shape == Shape::Int32 { 4 } else { 8 }]);
        }
    }
}

pub(super) fn text(body: &mut Vec<u8>, words: &str) {
    length(body, words.len());
    body.extend_from_slice(words.as_bytes());
}

/// LEB128.
pub(super) fn length(body: &mut Vec<u8>, mut length: usize) {
    while length >= 0x80 {
        body.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    body.push(length as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_have_a_length_of_several_bytes() {
        let mut body = Vec::new();
        for (number, expected) in [(0, &[0][..]), (127, &[127]), (128, &[0x80, 1]), (300, &[0xac, 2])] {
            body.clear();
            length(&mut body, number);
            assert_eq!(body, expected);
        }
    }
}
