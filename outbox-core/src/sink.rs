//! Where events go: [`Sink`], with one method to write for a sink of one's own.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use uuid::Uuid;

use crate::{Frozen, Part, Retry, SchemaRecord, StoredEvent};

/// Delivers parts to a destination. Only [`deliver`](Sink::deliver) has to be written.
///
/// The relay promises at least once: the same part may come again after a crash, with the same token, the same events in
/// the same order, and a [`fence`](Part::fence) that has grown. A sink that wants exactly once remembers tokens, or
/// implements [`recover`](Sink::recover) to ask the destination what has arrived.
///
/// # Examples
/// ```
/// use outbox_core::{Part, Sink, SinkError};
///
/// struct Stdout;
///
/// impl Sink for Stdout {
///     async fn deliver(&self, part: &Part) -> Result<(), SinkError> {
///         for stored in part.events.iter() {
///             println!("{} {}", part.token, stored.event.payload);
///         }
///         Ok(())
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a sink",
    note = "implement `outbox::Sink` for it: `async fn deliver(&self, part: &Part) -> Result<(), SinkError>`"
)]
pub trait Sink: Send + Sync + 'static {
    /// Hands a part over. `Ok` means that the destination has it for good.
    ///
    /// # Errors
    /// A [`SinkError`]. Its kind decides what the relay does next; no kind loses the events.
    ///
    /// # Cancel safety
    /// The relay drops the future when the lease runs out or its grace time ends, and then treats the outcome as
    /// unknown: the part comes again.
    fn deliver(&self, part: &Part) -> impl Future<Output = Result<(), SinkError>> + Send;

    /// Whether the destination is ready, asked once before the relay starts. Default: yes.
    ///
    /// # Errors
    /// A [`SinkError`] that says what is wrong and what to do; the relay does not start.
    fn check(&self) -> impl Future<Output = Result<(), SinkError>> + Send {
        std::future::ready(Ok(()))
    }

    /// Decides how a part will be sent, before its first send; kept with the part for ever. Default: nothing to decide.
    ///
    /// # Errors
    /// A [`SinkError`] when it cannot be decided now. Nothing was sent.
    fn freeze(&self, table: &str, events: &[&StoredEvent]) -> impl Future<Output = Result<Frozen, SinkError>> + Send {
        let _ = (table, events);
        std::future::ready(Ok(Frozen::default()))
    }

    /// Cuts events that are bound for one table into groups that each become a part: what the destination takes in one
    /// statement. Positions into `events`, each exactly once, ascending within a group. Default: one group.
    ///
    /// # Errors
    /// A [`SinkError`] when it cannot be decided now. Nothing was sent.
    fn divide(
        &self,
        table: &str,
        events: &[&StoredEvent],
    ) -> impl Future<Output = Result<Vec<Vec<usize>>, SinkError>> + Send {
        let _ = table;
        std::future::ready(Ok(vec![(0..events.len()).collect()]))
    }

    /// Is told what is known about event types: before the check, and again when the relay has read them anew. Default:
    /// a sink that needs no schemas.
    fn learn(&self, schemas: &[SchemaRecord]) {
        let _ = schemas;
    }

    /// Finds out what became of an earlier send of this part whose outcome is unknown. Default: send it again.
    ///
    /// # Errors
    /// A [`SinkError`] when it cannot be found out now. [`BadRows`](SinkErrorKind::BadRows) is none: only `deliver` is sent rows.
    fn recover(&self, part: &Part) -> impl Future<Output = Result<Recovery, SinkError>> + Send {
        let _ = part;
        std::future::ready(Ok(Recovery::Resend))
    }
}

/// What [`Sink::recover`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recovery {
    /// Send the same part again under the same token.
    Resend,
    /// All of it has arrived: nothing is left to send.
    Delivered,
    /// These events have arrived, and the token has become useless for the others: they go into a new part under a new
    /// token, stored before it is sent.
    Replace {
        /// The ids that have arrived.
        landed: Vec<Uuid>,
    },
}

/// What kind of failure a [`SinkError`] is, which is what the relay decides by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SinkErrorKind {
    /// The outcome is unknown or the destination is not reachable: the same part again, after a back-off.
    Unknown,
    /// The destination asks for less: the same part again, after a longer back-off.
    Busy,
    /// The configuration or the destination's schema is wrong: a person has to look. The part stays, an alarm goes out,
    /// and it is tried again at long intervals.
    Stop,
    /// The destination refuses some of the rows, and has taken none (or else see [`SinkError::partly_arrived`]).
    BadRows,
    /// The destination answers and cannot take this part now: it is read-only, a replica has lost its coordinator, a
    /// materialized view throws. The outcome is unknown: the same part again, while the others go on; after a number of
    /// tries it is parked.
    Environment,
    /// The destination answers something that the sink does not know. Treated as [`Environment`](Self::Environment):
    /// nothing is given up because it was not foreseen.
    Unforeseen,
}

/// A sink's failure. `Display` says what happened and what to do; it never holds a payload or a password.
#[derive(Debug)]
pub struct SinkError {
    kind: SinkErrorKind,
    retry: Retry,
    operation: Cow<'static, str>,
    message: Cow<'static, str>,
    code: Option<i32>,
    details: Box<Details>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

/// What few errors have, apart so that a `Result` stays small.
#[derive(Debug, Default)]
struct Details {
    host: Option<String>,
    query_id: Option<String>,
    bad: Vec<Uuid>,
    partly: bool,
}

impl SinkError {
    /// A failure of the given kind. `operation` is what was tried ("insert"), `message` what happened and what to do.
    pub fn new(
        kind: SinkErrorKind,
        operation: impl Into<Cow<'static, str>>,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        let retry = match kind {
            SinkErrorKind::Stop | SinkErrorKind::BadRows => Retry::Never,
            _ => Retry::Later,
        };
        Self {
            kind,
            retry,
            operation: operation.into(),
            message: message.into(),
            code: None,
            details: Box::default(),
            source: None,
        }
    }

    /// Unknown outcome: the usual answer for a network error or a time-out.
    pub fn unknown(operation: impl Into<Cow<'static, str>>, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(SinkErrorKind::Unknown, operation, message)
    }

    /// Wrong configuration or schema.
    pub fn stop(operation: impl Into<Cow<'static, str>>, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(SinkErrorKind::Stop, operation, message)
    }

    /// The rows at fault, by event id; empty when the destination did not say which.
    pub fn bad_rows(message: impl Into<Cow<'static, str>>, ids: Vec<Uuid>) -> Self {
        Self::new(SinkErrorKind::BadRows, "deliver", message).with_bad_ids(ids)
    }

    /// The same failure as another kind: whoever knows more of the circumstances may judge it otherwise.
    #[must_use]
    pub fn with_kind(self, kind: SinkErrorKind) -> Self {
        Self { kind, retry: Self::new(kind, "", "").retry, ..self }
    }

    /// Adds the destination's own error number.
    #[must_use]
    pub fn with_code(self, code: i32) -> Self {
        Self { code: Some(code), ..self }
    }

    /// Adds the host that answered, or did not.
    #[must_use]
    pub fn with_host(mut self, host: impl Into<String>) -> Self {
        self.details.host = Some(host.into());
        self
    }

    /// Adds the id under which the destination's own log has the request.
    #[must_use]
    pub fn with_query_id(mut self, id: impl Into<String>) -> Self {
        self.details.query_id = Some(id.into());
        self
    }

    /// Names the rows at fault, by event id.
    #[must_use]
    pub fn with_bad_ids(mut self, ids: Vec<Uuid>) -> Self {
        self.details.bad = ids;
        self
    }

    /// Adds that some of the rows may have arrived although others are refused: before the relay picks those out, it has
    /// [`recover`](Sink::recover) look for what has.
    #[must_use]
    pub fn partly_arrived(mut self) -> Self {
        self.details.partly = true;
        self
    }

    /// Adds the cause.
    #[must_use]
    pub fn with_source(self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { source: Some(source.into()), ..self }
    }

    /// Asks for at least this wait before the next try.
    #[must_use]
    pub fn after(self, wait: Duration) -> Self {
        Self { retry: Retry::After(wait), ..self }
    }

    /// The kind.
    #[must_use]
    pub fn kind(&self) -> SinkErrorKind {
        self.kind
    }

    /// When it may be tried again.
    #[must_use]
    pub fn retry(&self) -> Retry {
        self.retry
    }

    /// The destination's own error number.
    #[must_use]
    pub fn code(&self) -> Option<i32> {
        self.code
    }

    /// The host that answered, or did not, where the sink knows several.
    #[must_use]
    pub fn host(&self) -> Option<&str> {
        self.details.host.as_deref()
    }

    /// The id under which the destination's own log has the request. Not in the text: it differs each time.
    #[must_use]
    pub fn query_id(&self) -> Option<&str> {
        self.details.query_id.as_deref()
    }

    /// What happened and what to do, without the operation and the code.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Whether some of the rows may have arrived although others are refused.
    #[must_use]
    pub fn may_have_partly_arrived(&self) -> bool {
        self.details.partly
    }

    /// The ids of the rows at fault, where the destination named them.
    #[must_use]
    pub fn bad_ids(&self) -> &[Uuid] {
        &self.details.bad
    }
}

impl fmt::Display for SinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.operation, self.message)?;
        match self.code {
            Some(code) => write!(f, " (code {code})"),
            None => Ok(()),
        }
    }
}

impl Error for SinkError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }
}

/// A boxed future that can move between threads.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The erased twin of [`Sink`], implemented for every sink. The relay holds sinks as `dyn DynSink`.
pub trait DynSink: Send + Sync + 'static {
    /// [`Sink::deliver`]
    fn deliver<'a>(&'a self, part: &'a Part) -> BoxFuture<'a, Result<(), SinkError>>;
    /// [`Sink::check`]
    fn check(&self) -> BoxFuture<'_, Result<(), SinkError>>;
    /// [`Sink::freeze`]
    fn freeze<'a>(&'a self, table: &'a str, events: &'a [&'a StoredEvent]) -> BoxFuture<'a, Result<Frozen, SinkError>>;
    /// [`Sink::divide`]
    fn divide<'a>(
        &'a self,
        table: &'a str,
        events: &'a [&'a StoredEvent],
    ) -> BoxFuture<'a, Result<Vec<Vec<usize>>, SinkError>>;
    /// [`Sink::learn`]
    fn learn(&self, schemas: &[SchemaRecord]);
    /// [`Sink::recover`]
    fn recover<'a>(&'a self, part: &'a Part) -> BoxFuture<'a, Result<Recovery, SinkError>>;
}

impl<S: Sink> DynSink for S {
    fn deliver<'a>(&'a self, part: &'a Part) -> BoxFuture<'a, Result<(), SinkError>> {
        Box::pin(Sink::deliver(self, part))
    }
    fn check(&self) -> BoxFuture<'_, Result<(), SinkError>> {
        Box::pin(Sink::check(self))
    }
    fn freeze<'a>(&'a self, table: &'a str, events: &'a [&'a StoredEvent]) -> BoxFuture<'a, Result<Frozen, SinkError>> {
        Box::pin(Sink::freeze(self, table, events))
    }
    fn divide<'a>(
        &'a self,
        table: &'a str,
        events: &'a [&'a StoredEvent],
    ) -> BoxFuture<'a, Result<Vec<Vec<usize>>, SinkError>> {
        Box::pin(Sink::divide(self, table, events))
    }
    fn learn(&self, schemas: &[SchemaRecord]) {
        Sink::learn(self, schemas);
    }
    fn recover<'a>(&'a self, part: &'a Part) -> BoxFuture<'a, Result<Recovery, SinkError>> {
        Box::pin(Sink::recover(self, part))
    }
}
