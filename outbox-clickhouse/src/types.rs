//! Whether a column can hold every value of a field's type unchanged. The server itself does not ask: a JSON number that is too
//! large for its column is stored as another number, without an error (300 into UInt8 becomes 44, measured on 26.7).

/// A type in ClickHouse's words, taken apart: `Map(String, UInt8)` is `Map` of two arguments.
#[derive(Clone, Debug, PartialEq)]
struct Type<'a> {
    name: &'a str,
    arguments: Vec<&'a str>,
}

/// Whether values of the type `field` arrive unchanged in a column of the type `column`. A column may hold less precision of
/// time.
pub(crate) fn holds(field: &str, column: &str) -> bool {
    let (field, nullable) = bare(field);
    let (column, takes_null) = bare(column);
    (takes_null || !nullable) && holds_bare(&parse(field), &parse(column))
}

/// Without `LowCardinality`, `SimpleAggregateFunction` and `Nullable`; and whether it was nullable.
fn bare(text: &str) -> (&str, bool) {
    let text = text.trim();
    let inner = |wrapper: &str| text.strip_prefix(wrapper)?.strip_suffix(')');
    if let Some(inner) = inner("LowCardinality(") {
        return bare(inner);
    }
    if let Some(inner) = inner("SimpleAggregateFunction(") {
        return bare(inner.split_once(',').map_or(inner, |(_, of)| of));
    }
    match inner("Nullable(") {
        Some(inner) => (bare(inner).0, true),
        None => (text, false),
    }
}

/// Whether a column of this type takes NULL.
pub(crate) fn is_nullable(text: &str) -> bool {
    bare(text).1
}

fn parse(text: &str) -> Type<'_> {
    match text.trim().split_once('(') {
        Some((name, rest)) => {
            Type { name: name.trim(), arguments: arguments(rest.trim_end().strip_suffix(')').unwrap_or(rest)) }
        }
        None => Type { name: text.trim(), arguments: Vec::new() },
    }
}

/// Splits at the commas that are in no bracket and no quote.
pub(crate) fn arguments(text: &str) -> Vec<&str> {
    let (mut depth, mut quote, mut start) = (0_u32, None, 0);
    let mut parts = Vec::new();
    let mut chars = text.char_indices();
    while let Some((at, char)) = chars.next() {
        match (quote, char) {
            (Some(_), '\\') => drop(chars.next()),
            (Some(open), char) if char == open => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '`' | '"') => quote = Some(char),
            (None, '(' | '[') => depth += 1,
            (None, ')' | ']') => depth = depth.saturating_sub(1),
            (None, ',') if depth == 0 => {
                parts.push(text[start..at].trim());
                start = at + 1;
            }
            (None, _) => {}
        }
    }
    let last = text[start..].trim();
    if !(last.is_empty() && parts.is_empty()) {
        parts.push(last);
    }
    parts
}

/// Signed, and bits.
fn integer(name: &str) -> Option<(bool, u32)> {
    let (signed, bits) = match name.strip_prefix("UInt") {
        Some(bits) => (false, bits),
        None => (true, name.strip_prefix("Int")?),
    };
    bits.parse().ok().map(|bits| (signed, bits))
}

/// A decimal's digits behind the point.
fn scale(of: &Type<'_>) -> Option<u32> {
    let number = |at: usize| of.arguments.get(at)?.parse().ok();
    match of.name {
        "Decimal" => Some(number(1).unwrap_or(0)),
        "Decimal32" | "Decimal64" | "Decimal128" | "Decimal256" => number(0),
        _ => None,
    }
}

fn is_time(name: &str) -> bool {
    matches!(name, "DateTime" | "DateTime64")
}

fn is_enum(name: &str) -> bool {
    matches!(name, "Enum" | "Enum8" | "Enum16")
}

fn holds_bare(field: &Type<'_>, column: &Type<'_>) -> bool {
    let same = |a: &str, b: &str| a.chars().filter(|c| *c != ' ').eq(b.chars().filter(|c| *c != ' '));
    let all = |pairs: &[(&str, &str)]| pairs.iter().all(|(field, column)| holds(field, column));
    let paired =
        || -> Vec<(&str, &str)> { field.arguments.iter().copied().zip(column.arguments.iter().copied()).collect() };
    let as_many = field.arguments.len() == column.arguments.len();
    match (field.name, column.name) {
        // Texts are refused, not bent, where they do not fit: an unknown member, a bad date.
        ("String" | "FixedString", "String") => true,
        ("String", name) if is_enum(name) || is_time(name) => true,
        // Not FixedString, which fills a shorter text up with zeros.
        ("String", "UUID" | "IPv4" | "IPv6" | "Date" | "Date32" | "JSON") => true,
        (name, "String") => integer(name).is_some() || !matches!(name, "AggregateFunction"),
        (name, other) if is_enum(name) => is_enum(other),
        (name, other) if is_time(name) => is_time(other),
        ("Date", "Date" | "Date32") | ("Date32", "Date32") => true,
        ("Bool", "Bool") => true,
        ("Bool", other) => integer(other).is_some(),
        ("Float32", "Float32" | "Float64") | ("Float64", "Float64") => true,
        ("JSON" | "Object", "JSON") => true,
        ("Array", "Array") | ("Map", "Map") if as_many => all(&paired()),
        ("Tuple", "Tuple") if as_many => paired().into_iter().all(|(field, column)| {
            let ((name, field), (other, column)) = (element(field), element(column));
            name == other && holds(field, column)
        }),
        ("Nested", "Nested") => same(&field.arguments.join(","), &column.arguments.join(",")),
        (name, other) => {
            if let (Some((signed, bits)), Some((to_signed, to_bits))) = (integer(name), integer(other)) {
                return if signed == to_signed { bits <= to_bits } else { !signed && bits < to_bits };
            }
            // One with too few digits before the point is refused by the server, one with too few behind it is not.
            if let (Some(scale), Some(to_scale)) = (scale(field), scale(column)) {
                return scale <= to_scale;
            }
            name == other && as_many && paired().into_iter().all(|(a, b)| same(a, b))
        }
    }
}

/// A tuple's element: `name Type` or `Type`.
fn element(text: &str) -> (Option<&str>, &str) {
    match text.split_once(' ') {
        Some((name, rest)) if !name.contains('(') => (Some(name.trim_matches('`')), rest.trim()),
        _ => (None, text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_holds_what_it_can_give_back() {
        for (field, column) in [
            ("UInt32", "UInt32"),
            ("UInt32", "UInt64"),
            ("UInt32", "Int64"),
            ("Int8", "LowCardinality(Int16)"),
            ("UInt32", "Nullable(UInt32)"),
            ("UInt32", "SimpleAggregateFunction(max, UInt64)"),
            ("String", "LowCardinality(Nullable(String))"),
            ("String", "Enum8('a' = 1)"),
            ("String", "DateTime64(3, 'Europe/Berlin')"),
            ("UInt64", "String"),
            ("Bool", "UInt8"),
            ("Float32", "Float64"),
            ("DateTime64(6, 'UTC')", "DateTime64(9)"),
            ("DateTime64(6, 'UTC')", "DateTime"),
            ("Decimal(9, 2)", "Decimal(18, 4)"),
            ("Decimal32(2)", "Decimal(9, 2)"),
            ("Array(UInt8)", "Array(Nullable(UInt16))"),
            ("Map(String,UInt8)", "Map(LowCardinality(String), UInt64)"),
            ("Tuple(a UInt8, b String)", "Tuple(a UInt16, b String)"),
            ("Enum8('a' = 1)", "Enum8('a' = 1, 'b' = 2)"),
            ("JSON", "JSON(max_dynamic_paths=8)"),
            ("IPv6", "IPv6"),
        ] {
            assert!(holds(field, column), "{field} in {column}");
        }
    }

    #[test]
    fn a_column_that_would_bend_a_value_does_not_hold_it() {
        for (field, column) in [
            ("UInt32", "UInt16"),
            ("UInt32", "Int32"),
            ("Int32", "UInt64"),
            ("UInt64", "Float64"),
            ("UInt32", "DateTime"),
            ("Nullable(UInt32)", "UInt32"),
            ("String", "UInt32"),
            ("Float64", "Float32"),
            ("Float64", "Decimal(18, 4)"),
            ("Decimal(9, 2)", "Decimal(9, 1)"),
            ("Array(UInt16)", "Array(UInt8)"),
            ("Array(UInt8)", "UInt8"),
            ("Map(String, UInt16)", "Map(String, UInt8)"),
            ("Tuple(a UInt8, b String)", "Tuple(a UInt8, c String)"),
            ("Tuple(UInt8)", "Tuple(UInt8, UInt8)"),
            ("Date32", "Date"),
            ("UUID", "IPv6"),
        ] {
            assert!(!holds(field, column), "{field} in {column}");
        }
    }

    #[test]
    fn arguments_are_split_outside_of_brackets_and_quotes() {
        assert_eq!(arguments("a, f(b, c), 'd,)', `e,`"), ["a", "f(b, c)", "'d,)'", "`e,`"]);
        assert_eq!(arguments(""), [""; 0]);
    }
}
