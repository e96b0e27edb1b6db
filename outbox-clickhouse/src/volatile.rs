//! Expressions that do not give the same value twice.

/// Whether the expression calls a function that answers differently each time.
pub(crate) fn is_volatile(expression: &str) -> bool {
    const VOLATILE: &[&str] = &[
        "now",
        "today",
        "yesterday",
        "rand",
        "generate",
        "hostname",
        "serveruuid",
        "queryid",
        "rownumber",
        "blocknumber",
        "uptime",
        "utctimestamp",
        "current",
    ];
    let calls = expression.split('(').map(|before| {
        let start = before.rfind(|char: char| !char.is_alphanumeric() && char != '_').map_or(0, |at| at + 1);
        before[start..].replace('_', "").to_lowercase()
    });
    let closed = expression.matches('(').count();
    calls.take(closed).any(|function| VOLATILE.iter().any(|volatile| function.starts_with(volatile)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_is_told_from_a_name_that_looks_like_one() {
        assert!(is_volatile("toYYYYMM(now64(6))") && is_volatile("randCanonical()") && is_volatile("toDate( now_() )"));
        assert!(!is_volatile("(brand, today)") && !is_volatile("lower(snow)") && !is_volatile("toYYYYMM(now_at)"));
    }
}
