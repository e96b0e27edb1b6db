//! Where the outbox's tables are: schema, prefix, and the size of PostgreSQL's ring.

use std::borrow::Cow;
use std::sync::OnceLock;

use outbox_core::{VarError, Vars};

/// What every table and function of the outbox is called by default, up to its own name.
const DEFAULT_PREFIX: &str = "outbox_";

/// The longest prefix and schema: with the longest of our names behind it, a name stays under PostgreSQL's 63 bytes.
const NAME_BYTES_MAX: usize = 32;

/// 2^20 events, about 350 MB of events with 200 bytes each, in each of the four slots.
const SLOT_BITS_DEFAULT: u32 = 20;
const SLOT_BITS: std::ops::RangeInclusive<u32> = 10..=30;

/// Which outbox of a database is meant. Two outboxes with different prefixes or schemas do not see each other.
///
/// Stores take it as an option; what `emit` writes to is one per process: [`set_tables`], or the variables `OUTBOX_SCHEMA` and
/// `OUTBOX_TABLE_PREFIX`.
///
/// # Examples
/// ```
/// use outbox_diesel::Tables;
///
/// let audit = Tables::new().with_schema("audit")?.with_prefix("log_")?;
/// assert_eq!(audit.sql("SELECT * FROM outbox_event"), "SELECT * FROM audit.log_event");
/// assert!(Tables::new().with_prefix("Robert'); --").is_err());
/// # Ok::<(), outbox_core::VarError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tables {
    schema: Option<String>,
    prefix: Cow<'static, str>,
    slot_bits: u32,
}

impl Default for Tables {
    fn default() -> Self {
        Self::new()
    }
}

impl Tables {
    /// The variables that [`from_vars`](Self::from_vars) reads.
    pub const VARS: &'static [&'static str] = &["OUTBOX_SCHEMA", "OUTBOX_TABLE_PREFIX", "OUTBOX_SLOT_BITS"];

    /// Tables called `outbox_event` and so on, where the connection finds them.
    #[must_use]
    pub const fn new() -> Self {
        Self { schema: None, prefix: Cow::Borrowed(DEFAULT_PREFIX), slot_bits: SLOT_BITS_DEFAULT }
    }

    /// Tables as `OUTBOX_SCHEMA`, `OUTBOX_TABLE_PREFIX` and `OUTBOX_SLOT_BITS` say.
    ///
    /// # Errors
    /// [`VarError`] that names the variable at fault.
    pub fn from_vars(vars: &Vars) -> Result<Self, VarError> {
        let mut tables = Self::new();
        if let Some(schema) = vars.text("OUTBOX_SCHEMA") {
            tables = tables.with_schema(schema)?;
        }
        if let Some(prefix) = vars.text("OUTBOX_TABLE_PREFIX") {
            tables = tables.with_prefix(prefix)?;
        }
        if let Some(bits) = vars.parse("OUTBOX_SLOT_BITS")? {
            tables = tables.with_slot_bits(bits)?;
        }
        Ok(tables)
    }

    /// In this schema (on MySQL, this database) instead of the first one in the connection's search path. SQLite has none.
    ///
    /// # Errors
    /// [`VarError`] unless it is 1 to 32 lower-case letters, digits and underscores, a letter first.
    pub fn with_schema(self, schema: &str) -> Result<Self, VarError> {
        check_name("OUTBOX_SCHEMA", schema)?;
        Ok(Self { schema: Some(schema.to_owned()), ..self })
    }

    /// Called `{prefix}event` and so on. Default `outbox_`.
    ///
    /// # Errors
    /// [`VarError`] unless it is 1 to 32 lower-case letters, digits and underscores, a letter first.
    pub fn with_prefix(self, prefix: &str) -> Result<Self, VarError> {
        check_name("OUTBOX_TABLE_PREFIX", prefix)?;
        Ok(Self { prefix: Cow::Owned(prefix.to_owned()), ..self })
    }

    /// How large a slot of PostgreSQL's ring is when the tables are created: 2 to this power events, 10 to 30, default 20.
    /// Smaller: disk space comes back sooner, and partitions are truncated more often. Later changes have no effect.
    ///
    /// # Errors
    /// [`VarError`] out of that range.
    pub fn with_slot_bits(self, bits: u32) -> Result<Self, VarError> {
        match SLOT_BITS.contains(&bits) {
            true => Ok(Self { slot_bits: bits, ..self }),
            false => Err(VarError::new(
                "OUTBOX_SLOT_BITS",
                format!("needs {} to {}, and is {bits}", SLOT_BITS.start(), SLOT_BITS.end()),
            )),
        }
    }

    /// The schema, where one was named.
    #[must_use]
    pub fn schema(&self) -> Option<&str> {
        self.schema.as_deref()
    }

    /// What the names begin with.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    pub(crate) fn slot_bits(&self) -> u32 {
        self.slot_bits
    }

    /// A statement about tables called `outbox_..` as one about these tables, with their schema.
    #[must_use]
    pub fn sql<'a>(&self, statement: &'a str) -> Cow<'a, str> {
        match &self.schema {
            None => self.unqualified(statement),
            Some(schema) => Cow::Owned(statement.replace(DEFAULT_PREFIX, &format!("{schema}.{}", self.prefix))),
        }
    }

    /// As [`sql`](Self::sql), without the schema: for a migration that runs in it.
    #[must_use]
    pub fn unqualified<'a>(&self, statement: &'a str) -> Cow<'a, str> {
        match self.prefix == DEFAULT_PREFIX {
            true => Cow::Borrowed(statement),
            false => Cow::Owned(statement.replace(DEFAULT_PREFIX, &self.prefix)),
        }
    }
}

fn check_name(variable: &str, name: &str) -> Result<(), VarError> {
    let letters = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let good = name.starts_with(|c: char| c.is_ascii_lowercase()) && name.chars().all(letters);
    match good && name.len() <= NAME_BYTES_MAX {
        true => Ok(()),
        false => Err(VarError::new(
            variable,
            format!("needs 1 to {NAME_BYTES_MAX} lower-case letters, digits and underscores, a letter first"),
        )),
    }
}

static TABLES: OnceLock<Result<Tables, VarError>> = OnceLock::new();

/// Names the tables that `emit` writes to in this process, before its first event. Without this call they are what
/// `OUTBOX_SCHEMA` and `OUTBOX_TABLE_PREFIX` say, read once.
///
/// # Errors
/// [`VarError`] when others are in use already.
pub fn set_tables(tables: Tables) -> Result<(), VarError> {
    match TABLES.get_or_init(|| Ok(tables.clone())) {
        Ok(used) if *used == tables => Ok(()),
        _ => Err(VarError::new("OUTBOX_TABLE_PREFIX", "events of this process go to other tables already")),
    }
}

/// The tables of this process. The first call settles it.
///
/// # Errors
/// [`VarError`] when nobody called [`set_tables`] and a variable holds no name: an event must not go astray.
pub fn tables() -> Result<&'static Tables, VarError> {
    TABLES.get_or_init(|| Tables::from_vars(&Vars::from_process())).as_ref().map_err(Clone::clone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_put_into_every_statement() {
        let statement = "INSERT INTO outbox_held SELECT * FROM outbox_event";
        assert_eq!(Tables::new().sql(statement), statement);
        let tables = Tables::new().with_prefix("audit_").expect("a name");
        assert_eq!(tables.sql(statement), "INSERT INTO audit_held SELECT * FROM audit_event");
        let tables = tables.with_schema("logs").expect("a name");
        assert_eq!(tables.sql(statement), "INSERT INTO logs.audit_held SELECT * FROM logs.audit_event");
        assert_eq!(tables.unqualified(statement), "INSERT INTO audit_held SELECT * FROM audit_event");
    }

    #[test]
    fn what_is_no_plain_name_is_refused() {
        for bad in ["", "Outbox", "1st", "a b", "a\"b", "a;b", "ä", &"x".repeat(33)] {
            assert!(Tables::new().with_prefix(bad).is_err(), "{bad}");
            assert!(Tables::new().with_schema(bad).is_err(), "{bad}");
        }
        assert!(Tables::new().with_slot_bits(9).is_err());
    }

    #[test]
    fn each_variable_is_read() {
        let vars = Vars::new([("OUTBOX_SCHEMA", "s"), ("OUTBOX_TABLE_PREFIX", "p_"), ("OUTBOX_SLOT_BITS", "12")]);
        let tables = Tables::from_vars(&vars).expect("good values");
        assert_eq!((tables.schema(), tables.prefix(), tables.slot_bits()), (Some("s"), "p_", 12));
        for name in Tables::VARS {
            let refused = Tables::from_vars(&Vars::new([(*name, "-")])).expect_err(name);
            assert_eq!(refused.name(), *name);
        }
    }
}
