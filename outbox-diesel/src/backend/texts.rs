//! An event's texts, as they are bound.

use std::fmt;
use std::sync::Arc;

use diesel::backend::Backend;
use diesel::serialize::{self, Output, ToSql};
use diesel::sql_types::Text;

/// Text that `Debug` does not show: Diesel hands the binds of every query to the connection's instrumentation, which
/// may log them.
pub(crate) struct Hidden(pub(super) String);

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{} bytes>", self.0.len())
    }
}

impl<DB: Backend> ToSql<Text, DB> for Hidden
where
    str: ToSql<Text, DB>,
{
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, DB>) -> serialize::Result {
        str::to_sql(&self.0, out)
    }
}

/// A name that events share.
#[derive(Debug)]
pub(crate) struct Name(pub(super) Arc<str>);

impl<DB: Backend> ToSql<Text, DB> for Name
where
    str: ToSql<Text, DB>,
{
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, DB>) -> serialize::Result {
        str::to_sql(&self.0, out)
    }
}
