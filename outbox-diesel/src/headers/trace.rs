//! The trace that the current span belongs to, as the W3C's `traceparent` and `tracestate`.

use opentelemetry::trace::{SpanContext, TraceContextExt, TraceFlags};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use super::Headers;

/// Of the current `tracing` span, where its subscriber has an OpenTelemetry layer; otherwise of OpenTelemetry's own current
/// context. Nothing where neither belongs to a trace.
pub(super) fn add(headers: &mut Headers) {
    let context = Span::current().context();
    let span = context.span();
    if span.span_context().is_valid() {
        return set(headers, span.span_context());
    }
    opentelemetry::Context::map_current(|context| set(headers, context.span().span_context()));
}

fn set(headers: &mut Headers, span: &SpanContext) {
    if !span.is_valid() {
        return;
    }
    let flags = span.trace_flags() & TraceFlags::SAMPLED;
    headers.insert("traceparent", format!("00-{}-{}-{flags:02x}", span.trace_id(), span.span_id()));
    let state = span.trace_state().header();
    if !state.is_empty() {
        headers.insert("tracestate", state);
    }
}
