//! Faults are collected, each at its place, and shown together.

use proc_macro2::TokenStream;
use quote::ToTokens;

/// What is wrong with an item, so far.
#[derive(Default)]
pub(crate) struct Faults(Option<syn::Error>);

impl Faults {
    /// Adds a fault at `place`.
    pub(crate) fn at(&mut self, place: impl ToTokens, message: impl std::fmt::Display) {
        self.push(syn::Error::new_spanned(place, message));
    }

    pub(crate) fn push(&mut self, fault: syn::Error) {
        match &mut self.0 {
            Some(faults) => faults.combine(fault),
            none => *none = Some(fault),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// `compile_error!` for each, or none.
    pub(crate) fn into_tokens(self) -> Option<TokenStream> {
        self.0.map(syn::Error::into_compile_error)
    }
}

/// The known name that `typo` is probably meant to be: at most a third of its letters are wrong.
pub(crate) fn did_you_mean<'k>(typo: &str, known: &[&'k str]) -> Option<&'k str> {
    let close = known.iter().map(|name| (distance(typo, name), *name)).min()?;
    (close.0 <= typo.chars().count().div_ceil(3)).then_some(close.1)
}

/// The number of letters to add, drop or change (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let changed = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typos_find_their_name_and_strangers_do_not() {
        let known = ["name", "version", "table", "rename_all"];
        assert_eq!(did_you_mean("verison", &known), Some("version"));
        assert_eq!(did_you_mean("nam", &known), Some("name"));
        assert_eq!(did_you_mean("isolation", &known), None);
    }
}
