//! What an entry costs, counted in polls: it must not grow with the width of a fan-out.

use std::cell::Cell;
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll};

use futures::stream::{FuturesUnordered, StreamExt};

use super::kit::*;
use crate::{Limits, Step, WaitError};

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

/// Polls of steps while the outcomes of `width` open ones are applied, one by one.
fn polls_for(width: usize) -> usize {
    let code = workflow(move |ctx| async move {
        let mut steps: FuturesUnordered<_> = (0..width).map(|_| Counted(ctx.call("work"))).collect();
        while let Some(outcome) = steps.next().await {
            outcome?;
        }
        done("")
    });
    let limits = Limits {
        entries: 2 * width,
        steps_open: width,
        ..Limits::default()
    };
    let mut driven = Driven::start_within(&code, limits);
    assert_eq!(driven.commands().len(), width);
    POLLS.set(0);
    for number in (1..=width).rev() {
        let path = if number == 1 {
            "work".to_owned()
        } else {
            format!("work~{number}")
        };
        driven.apply(step(&path, ""));
    }
    assert_eq!(driven.commands(), ["completed "]);
    POLLS.get()
}

#[test]
fn an_entry_costs_the_same_at_a_thousand_and_at_ten_thousand_wide() {
    let (narrow, wide) = (polls_for(1_000), polls_for(10_000));
    println!("{} and {} polls per entry", narrow as f64 / 1_000.0, wide as f64 / 10_000.0);
    assert!(narrow <= 2 * 1_000, "{narrow} polls for 1,000 entries");
    assert!(wide <= 2 * 10 * narrow, "{wide} polls for 10,000 entries, {narrow} for 1,000");
}
