//! The columns that a flattened struct stands for, in the layout `columns`.

use std::rc::Rc;
use std::sync::Arc;

use crate::Column;

/// A struct whose members are columns when it is flattened into an event of the layout `columns`. Derive it:
/// `#[derive(EventColumns)]`.
///
/// The columns must be named as the struct's `Serialize` names its members. In an `Option` the columns of an absent value get
/// their types' defaults.
#[diagnostic::on_unimplemented(
    message = "the columns of `{Self}` are not known",
    label = "to be flattened into columns, this type has to name them",
    note = "add `#[derive(outbox::EventColumns)]` to `{Self}`",
    note = "a map has no fixed columns: without `flatten` it is one column, a `Map`"
)]
pub trait EventColumns {
    /// One for each member.
    const COLUMNS: &'static [Column];
}

macro_rules! behind {
    ($($pointer:ty),* $(,)?) => { $(
        #[diagnostic::do_not_recommend]
        impl<T: EventColumns> EventColumns for $pointer {
            const COLUMNS: &'static [Column] = T::COLUMNS;
        }
    )* };
}

behind!(&T, Box<T>, Rc<T>, Arc<T>, Option<T>);

/// The columns of what a function returns: of a field that is flattened `with` one.
#[doc(hidden)]
#[must_use]
pub const fn columns_of<A, R: EventColumns>(_: fn(A) -> R) -> &'static [Column] {
    R::COLUMNS
}
