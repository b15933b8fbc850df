//! How spans and W3C trace parents become one another.
//!
//! A trace goes from process to process as text: in a run's `start`, and from there in each task. What turns that text into a span's
//! parent and a span into such text is OpenTelemetry's, which only the outermost crate knows; the others are handed a [`TraceLinks`].

use tracing::Span;

use crate::ids::RunId;

/// The two ways between spans and trace parents. By default there are none, and trace parents are passed on as they come.
#[derive(Clone, Copy, Debug, Default)]
pub struct TraceLinks(Option<Ways>);

#[derive(Clone, Copy, Debug)]
struct Ways {
    link: fn(&Span, &str),
    name: fn(&Span) -> Option<String>,
}

impl TraceLinks {
    /// `link` makes a span, before it is entered, the child of a trace parent; `name` is the span as a trace parent for others, if it is
    /// part of a trace.
    pub fn new(link: fn(&Span, &str), name: fn(&Span) -> Option<String>) -> Self {
        Self(Some(Ways { link, name }))
    }

    /// The trace parent of a run whose starter traced nothing: the hex digits of its id are its trace's id, so that whoever knows the run
    /// finds the trace. Nothing if nobody traces.
    pub fn root(&self, run: &RunId) -> Option<String> {
        self.0?;
        let (_, trace) = run.as_str().split_once('-')?;
        Some(format!("00-{trace}-{}-01", trace.get(..16)?))
    }

    /// Makes `span` a child of `parent`. A span that nobody records costs one look.
    pub fn link(&self, span: &Span, parent: Option<&str>) {
        if let (Some(ways), Some(parent), false) = (self.0, parent, span.is_disabled()) {
            (ways.link)(span, parent);
        }
    }

    /// The same; the trace parent of what happens below `span`, which is `parent` itself if nobody traces the span.
    pub fn child(&self, span: &Span, parent: Option<String>) -> Option<String> {
        self.link(span, parent.as_deref());
        match self.0 {
            Some(ways) if !span.is_disabled() => (ways.name)(span).or(parent),
            _ => parent,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_run_that_nobody_traced_is_its_own_trace() {
        let run: RunId = "3-0af7651916cd43dd8448eb211c80319c".parse().unwrap();
        assert_eq!(TraceLinks::default().root(&run), None);
        let links = TraceLinks::new(|_, _| {}, |_| None);
        assert_eq!(
            links.root(&run).unwrap(),
            "00-0af7651916cd43dd8448eb211c80319c-0af7651916cd43dd-01"
        );
    }

    #[test]
    fn without_anybody_who_traces_a_parent_is_passed_on_as_it_came() {
        let parent = Some(PARENT.to_owned());
        let never = TraceLinks::new(|_, _| panic!("linked"), |_| panic!("named"));
        for links in [TraceLinks::default(), never] {
            assert_eq!(links.child(&Span::none(), parent.clone()), parent);
        }
    }
}
