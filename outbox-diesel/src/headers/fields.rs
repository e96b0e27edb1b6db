//! Fields of spans, by an allow-list.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Span, Subscriber};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::{LookupSpan, Registry};

use super::Headers;

/// The variable that [`SpanFields::from_env`] reads: names, separated by commas.
pub const FIELDS_VARIABLE: &str = "OUTBOX_HEADER_FIELDS";

/// A `tracing` layer that keeps those fields of spans that may be stored with events. Every event gets the fields of the span
/// that it is emitted in, and of the spans around that one; the innermost value counts.
///
/// `tracing` itself keeps no fields, so without this layer none are stored, whatever the list says. Only what is on the list is
/// ever kept. The layer works over [`Registry`], as `tracing_subscriber::fmt` and `registry()` make it.
///
/// # Examples
/// ```
/// use outbox_diesel::headers::SpanFields;
/// use tracing_subscriber::prelude::*;
///
/// let subscriber = tracing_subscriber::registry().with(SpanFields::new(["request_id", "user_id"]));
/// # let _ = subscriber;
/// ```
#[derive(Clone, Debug)]
pub struct SpanFields(Arc<[String]>);

/// What is kept of a span.
#[derive(Default)]
struct Kept(BTreeMap<&'static str, String>);

impl SpanFields {
    /// With these names. The price of a name is a copy of its value for each span that has it.
    #[must_use]
    pub fn new<N: Into<String>>(names: impl IntoIterator<Item = N>) -> Self {
        Self(names.into_iter().map(Into::into).collect())
    }

    /// With the names in the variable `OUTBOX_HEADER_FIELDS`, separated by commas. Unset: none.
    #[must_use]
    pub fn from_env() -> Self {
        let names = std::env::var(FIELDS_VARIABLE).unwrap_or_default();
        Self::new(names.split(',').map(str::trim).filter(|name| !name.is_empty()))
    }

    fn visitor<'v>(&'v self, kept: &'v mut Kept) -> Visitor<'v> {
        Visitor { allowed: &self.0, kept }
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for SpanFields {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut kept = Kept::default();
        attributes.record(&mut self.visitor(&mut kept));
        if let (false, Some(span)) = (kept.0.is_empty(), context.span(id)) {
            span.extensions_mut().replace(kept);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut extensions = span.extensions_mut();
        let mut kept = extensions.remove::<Kept>().unwrap_or_default();
        values.record(&mut self.visitor(&mut kept));
        if !kept.0.is_empty() {
            extensions.replace(kept);
        }
    }
}

/// Those of the current span and the spans around it.
pub(super) fn add(headers: &mut Headers) {
    Span::current().with_subscriber(|(id, dispatch)| {
        let Some(span) = dispatch.downcast_ref::<Registry>().and_then(|registry| registry.span(id)) else { return };
        for span in span.scope().from_root() {
            if let Some(kept) = span.extensions().get::<Kept>() {
                for (name, value) in &kept.0 {
                    headers.insert(*name, value.as_str());
                }
            }
        }
    });
}

struct Visitor<'v> {
    allowed: &'v [String],
    kept: &'v mut Kept,
}

impl Visitor<'_> {
    fn keep(&mut self, field: &Field, value: impl FnOnce() -> String) {
        if self.allowed.iter().any(|name| name == field.name()) {
            self.kept.0.insert(field.name(), value());
        }
    }
}

impl Visit for Visitor<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.keep(field, || format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.keep(field, || value.to_owned());
    }
}
