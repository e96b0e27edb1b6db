//! What a transactional function may return.

/// A `Result` whose error can hold Diesel's error. Type aliases of `Result` count: nothing looks at the name.
#[diagnostic::on_unimplemented(
    message = "a transactional function cannot return `{Self}`",
    label = "expected `Result<T, E>` with `E: From<diesel::result::Error>`",
    note = "the transaction commits on `Ok` and rolls back on `Err`",
    note = "a function that returns a future must be an `async fn`"
)]
pub trait Outcome: Sized {
    /// The result that says that the transaction itself failed.
    fn from_db(error: diesel::result::Error) -> Self;

    /// Whether the body asks for COMMIT.
    fn is_ok(&self) -> bool;
}

impl<T, E: From<diesel::result::Error>> Outcome for Result<T, E> {
    fn from_db(error: diesel::result::Error) -> Self {
        Err(E::from(error))
    }

    fn is_ok(&self) -> bool {
        self.is_ok()
    }
}

/// A parameter that every run of a transaction with `retries` gets a copy of.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "with `retries` the function may run again, so `{Self}` must be `Clone`",
    label = "each run gets a clone of it",
    note = "take it by reference (`&T`), or as an `Arc`, or leave `retries` out"
)]
pub trait Repeatable: Sized {
    /// The copy.
    #[must_use]
    fn again(&self) -> Self;
}

#[diagnostic::do_not_recommend]
impl<T: Clone> Repeatable for T {
    fn again(&self) -> Self {
        self.clone()
    }
}

/// Never called: says what an async block returns.
#[doc(hidden)]
#[must_use]
pub fn pinned<T>() -> T {
    unreachable!("this is only there for its type")
}
