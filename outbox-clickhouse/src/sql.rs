//! Names and texts inside SQL, quoted so that nothing in them can end the quote.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A table and its database. `Display` is the quoted, qualified name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TableName {
    pub(crate) database: String,
    pub(crate) table: String,
}

impl TableName {
    /// The table `table` of `database`.
    #[must_use]
    pub fn new(database: &str, table: &str) -> Self {
        Self { database: database.to_owned(), table: table.to_owned() }
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", name(&self.database), name(&self.table))
    }
}

/// An identifier, always in backticks: bare ones may be keywords.
pub(crate) fn name(name: &str) -> String {
    quoted(name, '`')
}

/// A string literal.
pub(crate) fn text(text: &str) -> String {
    quoted(text, '\'')
}

fn quoted(text: &str, quote: char) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push(quote);
    for char in text.chars() {
        if char == quote || char == '\\' {
            quoted.push('\\');
        }
        quoted.push(char);
    }
    quoted.push(quote);
    quoted
}

/// Reads back what is quoted at the beginning of `text`, and gives what follows. None: it is not quoted so, or never ends.
pub(crate) fn unquoted(text: &str, quote: char) -> Option<(String, &str)> {
    let text = text.strip_prefix(quote)?;
    let mut name = String::new();
    let mut chars = text.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '\\' => name.push(chars.next()?.1),
            char if char == quote => return Some((name, &text[at + 1..])),
            char => name.push(char),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_ends_its_quote() {
        assert_eq!(TableName::new("db", "event_log").to_string(), "`db`.`event_log`");
        assert_eq!(TableName::new("my db", "a`; DROP\\").to_string(), r"`my db`.`a\`; DROP\\`");
        assert_eq!(text(r"it's \"), r"'it\'s \\'");
    }

    #[test]
    fn what_is_quoted_reads_back() {
        for (text, quote) in [("a`; DROP\\", '`'), (r"it's \", '\''), ("", '`')] {
            let rest = format!("{}, more", quoted(text, quote));
            assert_eq!(unquoted(&rest, quote), Some((text.to_owned(), ", more")));
        }
        assert_eq!((unquoted("bare", '`'), unquoted("`open", '`'), unquoted(r"`open\", '`')), (None, None, None));
    }
}
