//! Trace context between OpenTelemetry and the journal: a W3C `traceparent` travels from the starter through the task to the function.

use everstep_common::trace::TraceLinks;
use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// The ways between spans and trace parents, for the crates that do not know OpenTelemetry's tracing half.
pub(crate) fn trace_links() -> TraceLinks {
    TraceLinks::new(link, of_span)
}

/// The trace parent for what is begun here: the current span, else whatever OpenTelemetry says is current.
///
/// A caller that uses OpenTelemetry without `tracing` has a context and no span.
pub(crate) fn traceparent() -> Option<String> {
    of_span(&Span::current()).or_else(|| format(Context::current().span().span_context()))
}

fn of_span(span: &Span) -> Option<String> {
    format(span.context().span().span_context())
}

fn format(context: &SpanContext) -> Option<String> {
    let flags = context.trace_flags().to_u8();
    context
        .is_valid()
        .then(|| format!("00-{}-{}-{flags:02x}", context.trace_id(), context.span_id()))
}

/// Makes `span` a child of a W3C trace parent; one that cannot be read is ignored, as the specification asks.
fn link(span: &Span, traceparent: &str) {
    if let Some(parent) = parse(traceparent) {
        let linked = span.set_parent(Context::new().with_remote_span_context(parent));
        if let Err(error) = linked {
            tracing::trace!(%error, "span without trace parent");
        }
    }
}

fn parse(traceparent: &str) -> Option<SpanContext> {
    let mut parts = traceparent.split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    if version == "ff" || trace.len() != 32 || span.len() != 16 {
        return None;
    }
    let (trace, span) = (TraceId::from_hex(trace).ok()?, SpanId::from_hex(span).ok()?);
    let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?);
    let context = SpanContext::new(trace, span, flags, true, TraceState::default());
    context.is_valid().then_some(context)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the W3C Trace Context recommendation.
    const EXAMPLE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn only_whole_trace_parents_are_taken() {
        assert!(parse(EXAMPLE).is_some());
        for bad in [
            "",
            "00",
            "00-0-0-0",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        ] {
            assert!(parse(bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn a_caller_with_a_context_and_no_span_is_the_parent() {
        assert_eq!(traceparent(), None);
        let remote = Context::new().with_remote_span_context(parse(EXAMPLE).unwrap());
        let _current = remote.attach();
        assert_eq!(traceparent().as_deref(), Some(EXAMPLE));
    }
}
