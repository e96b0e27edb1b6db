//! `retry_delay`: a duration as text, or an expression of one.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote_spanned};
use syn::{Expr, ExprLit, Lit, LitStr};

use crate::faults::Faults;
use crate::paths::Paths;

/// Units of time, in microseconds.
const UNITS: [(&str, u64); 3] = [("us", 1), ("ms", 1_000), ("s", 1_000_000)];

/// An expression of the duration.
pub(super) fn duration(value: &Expr, paths: &Paths, faults: &mut Faults) -> Option<TokenStream> {
    let Expr::Lit(ExprLit { lit, .. }) = value else {
        return Some(value.to_token_stream());
    };
    let micros = match lit {
        Lit::Str(text) => micros(text),
        _ => None,
    };
    if micros.is_none() {
        faults.at(lit, "`retry_delay` is a text like \"10ms\", \"2s\" or \"500us\", or an expression of a `Duration`");
    }
    let micros = micros?;
    Some(quote_spanned!(lit.span()=> #paths::Duration::from_micros(#micros)))
}

fn micros(text: &LitStr) -> Option<u64> {
    let text = text.value();
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit.trim_start())?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_a_number_and_a_unit() {
        let micros = |text: &str| micros(&LitStr::new(text, proc_macro2::Span::call_site()));
        assert_eq!(micros("10ms"), Some(10_000));
        assert_eq!(micros("2 s"), Some(2_000_000));
        assert_eq!(micros("500us"), Some(500));
        for wrong in ["", "10", "ms", "1h", "-1ms", "1.5s", "99999999999999999999s"] {
            assert_eq!(micros(wrong), None, "{wrong}");
        }
    }
}
