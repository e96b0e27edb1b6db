//! Where a materialized view writes, out of its definition: `system.tables` has columns for it only in new servers.

use crate::TableName;
use crate::definition::TableRow;
use crate::sql::unquoted;

#[derive(Debug, PartialEq)]
pub(crate) enum Target {
    Table(TableName),
    /// Filled by a timer, not by inserts.
    Refreshed,
}

/// Where the view writes.
pub(crate) fn view_target(view: &TableName, row: &TableRow) -> Target {
    let inner = || {
        let nil = row.uuid_text.bytes().all(|byte| matches!(byte, b'0' | b'-'));
        let table = if nil { format!(".inner.{}", view.table) } else { format!(".inner_id.{}", row.uuid_text) };
        Target::Table(TableName::new(&view.database, &table))
    };
    let Some(rest) = row.create_table_query.strip_prefix("CREATE MATERIALIZED VIEW ") else { return inner() };
    let Some((_, rest)) = qualified(rest) else { return inner() };
    if rest.trim_start().starts_with("REFRESH ") {
        return Target::Refreshed;
    }
    match rest.trim_start().strip_prefix("TO ").and_then(qualified) {
        Some((names, _)) => Target::Table(match &names[..] {
            [table] => TableName::new(&view.database, table),
            [database, table, ..] => TableName::new(database, table),
            [] => return inner(),
        }),
        None => inner(),
    }
}

/// Takes `a.b` or `` `a`.`b` `` off the front.
pub(crate) fn qualified(text: &str) -> Option<(Vec<String>, &str)> {
    let mut names = Vec::new();
    let mut rest = text;
    loop {
        let (name, after) = identifier(rest)?;
        names.push(name);
        match after.strip_prefix('.') {
            Some(next) => rest = next,
            None => return Some((names, after)),
        }
    }
}

fn identifier(text: &str) -> Option<(String, &str)> {
    if text.starts_with('`') {
        return unquoted(text, '`');
    }
    let end = text.find(|char: char| !char.is_alphanumeric() && char != '_').unwrap_or(text.len());
    (end > 0).then(|| (text[..end].to_owned(), &text[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_s_target_is_read_from_its_definition() {
        let view = TableName::new("db", "v");
        let target = |query: &str, uuid: &str| {
            let row = TableRow { create_table_query: query.into(), uuid_text: uuid.into(), ..TableRow::default() };
            view_target(&view, &row)
        };
        let named = |database, table| Target::Table(TableName::new(database, table));
        assert_eq!(target("CREATE MATERIALIZED VIEW db.v TO db.`a b` (`c` String) AS SELECT", ""), named("db", "a b"));
        assert_eq!(target(r"CREATE MATERIALIZED VIEW db.`x TO y` TO `d.e`.`f\`g` AS", ""), named("d.e", "f`g"));
        assert_eq!(
            target("CREATE MATERIALIZED VIEW db.v (`c` String) ENGINE = MergeTree", "12-3"),
            named("db", ".inner_id.12-3")
        );
        assert_eq!(target("CREATE MATERIALIZED VIEW db.v (`c` String) ENGINE = X", "00-0"), named("db", ".inner.v"));
        assert_eq!(
            target("CREATE MATERIALIZED VIEW db.v REFRESH EVERY 1 HOUR APPEND TO db.t AS", ""),
            Target::Refreshed
        );
    }
}
