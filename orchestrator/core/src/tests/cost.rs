//! What an entry costs, counted in polls: it must not grow with the width of a fan-out.

use std::cell::Cell;
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll};

use futures::stream::{FuturesUnordered, StreamExt};

use super::kit::*;
use crate::{Definition, Limits, Step, WaitError};

thread_local! {
    static POLLS: Cell<usize> = const { Cell::new(0) };
}

/// A step that counts how often it is polled.
struct Counted(Step);

impl Future for Counted {
    type Output = Result<bytes::Bytes, WaitError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        POLLS.set(POLLS.get() + 1);
        Pin::new(&mut self.0).poll(cx)
    }
}

/// A workflow that has steps open at the same time, and what their keys are.
type Wide = (Definition, fn(usize) -> String);

/// A plain set of futures.
fn unordered(width: usize) -> Wide {
    let code = workflow(move |ctx| async move {
        let mut steps: FuturesUnordered<_> = (0..width).map(|_| Counted(ctx.call("work"))).collect();
        while let Some(outcome) = steps.next().await {
            outcome?;
        }
        done("")
    });
    let key = |number| match number {
        0 => "work".to_owned(),
        _ => format!("work~{}", number + 1),
    };
    (code, key)
}

/// A block of branches.
fn block(width: usize) -> Wide {
    let code = workflow(move |ctx| async move {
        let branches = (0..width).map(|number| (number.to_string(), || Counted(ctx.call("work"))));
        let all = ctx.block("batch").fan(branches).collect_outcomes(0).await;
        assert!(all.first_failed.is_none());
        done("")
    });
    (code, |number| format!("batch/{number}/work"))
}

/// Polls of steps while the outcomes of `width` open ones are applied, one by one.
fn polls_for(width: usize, code: fn(usize) -> Wide) -> usize {
    let (code, key) = code(width);
    let limits = Limits {
        entries: 2 * width,
        steps_open: width,
        ..Limits::default()
    };
    let mut driven = Driven::start_within(&code, limits);
    assert_eq!(driven.commands().len(), width);
    POLLS.set(0);
    for number in (0..width).rev() {
        driven.apply(step(&key(number), ""));
    }
    assert_eq!(driven.commands(), ["completed "]);
    POLLS.get()
}

#[test]
fn an_entry_costs_the_same_at_a_thousand_and_at_ten_thousand_wide() {
    for code in [unordered, block] {
        let (narrow, wide) = (polls_for(1_000, code), polls_for(10_000, code));
        println!("{} and {} polls per entry", narrow as f64 / 1_000.0, wide as f64 / 10_000.0);
        assert!(narrow <= 2 * 1_000, "{narrow} polls for 1,000 entries");
        assert!(wide <= 2 * 10 * narrow, "{wide} polls for 10,000 entries, {narrow} for 1,000");
    }
}
