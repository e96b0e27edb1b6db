//! Names that come again and again in what is read.

use std::str::Utf8Error;
use std::sync::Arc;

/// How many are kept: more than a batch has, as a rule.
const KEPT_MAX: usize = 32;

/// Each of a batch's names once, shared by its events: 50,000 events have a handful of types, tables and environments, and asking for
/// memory for each was a fifth of what reading an event costs.
#[derive(Debug, Default)]
pub(crate) struct Names(Vec<Arc<str>>);

impl Names {
    /// The name.
    ///
    /// # Errors
    /// When it is no UTF-8.
    pub(crate) fn shared(&mut self, name: &[u8]) -> Result<Arc<str>, Utf8Error> {
        if let Some(known) = self.0.iter().find(|known| known.as_bytes() == name) {
            return Ok(Arc::clone(known));
        }
        let name = Arc::<str>::from(str::from_utf8(name)?);
        if self.0.len() < KEPT_MAX {
            self.0.push(Arc::clone(&name));
        }
        Ok(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_name_is_kept_once() {
        let mut names = Names::default();
        let first = names.shared(b"a").expect("UTF-8");
        assert_eq!(&*names.shared(b"b").expect("UTF-8"), "b");
        let again = names.shared(b"a").expect("UTF-8");
        assert_eq!(&*again, "a");
        assert!(Arc::ptr_eq(&first, &again));
    }

    #[test]
    fn more_names_than_are_kept_are_still_right() {
        let mut names = Names::default();
        for no in 0..3 * KEPT_MAX {
            let name = no.to_string();
            assert_eq!(*names.shared(name.as_bytes()).expect("UTF-8"), *name);
        }
        assert_eq!(names.0.len(), KEPT_MAX);
        assert!(names.shared(&[0xff]).is_err());
    }
}
