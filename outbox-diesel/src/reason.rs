//! Why a batch was put aside or given back, in as many words as are kept.

use std::borrow::Cow;

/// The most bytes of an error that are kept with a batch: more than anybody reads, and less than MySQL's TEXT takes.
const ERROR_BYTES_MAX: usize = 16 << 10;
const TEXT_BYTES_MAX: usize = 65_535;
const _: () = assert!(ERROR_BYTES_MAX <= TEXT_BYTES_MAX);

const ELLIPSIS: &str = "\u{2026}";

/// The error, or its beginning, without what PostgreSQL's text cannot hold: it must not keep a batch from being put aside.
pub(crate) fn kept(error: &str) -> Cow<'_, str> {
    let error = match error.contains('\0') {
        true => Cow::Owned(error.replace('\0', "\u{fffd}")),
        false => Cow::Borrowed(error),
    };
    if error.len() <= ERROR_BYTES_MAX {
        return error;
    }
    let end = (0..=ERROR_BYTES_MAX - ELLIPSIS.len()).rev().find(|&at| error.is_char_boundary(at)).unwrap_or(0);
    Cow::Owned(format!("{}{ELLIPSIS}", &error[..end]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_error_is_cut_between_two_characters() {
        let just = "a".repeat(ERROR_BYTES_MAX);
        assert_eq!(kept(&just), just);
        for before in 0..4 {
            let long = "a".repeat(before) + &"\u{1f980}".repeat(ERROR_BYTES_MAX);
            let kept = kept(&long);
            assert!((ERROR_BYTES_MAX - 3..=ERROR_BYTES_MAX).contains(&kept.len()), "{}", kept.len());
            assert!(kept.strip_suffix(ELLIPSIS).is_some_and(|beginning| long.starts_with(beginning)));
        }
    }

    #[test]
    fn what_no_text_can_hold_is_replaced() {
        assert_eq!(kept("a\0b"), "a\u{fffd}b");
    }
}
