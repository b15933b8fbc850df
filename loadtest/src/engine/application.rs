//! The application that is measured: workflows that do nothing but what is being measured.

use everstep::App;
use everstep::prelude::*;
use everstep_common::ports::Clock;
use everstep_nats::TokioClock;
use futures::future::try_join_all;
use serde::{Deserialize, Serialize};

use crate::scenarios::crash::ledger::Ledger;

/// Everything that any scenario runs. Without a ledger the steps that need one fail.
pub fn application(ledger: Option<Ledger>) -> App {
    let app = App::new()
        .workflow(chain)
        .workflow(local)
        .workflow(fanout)
        .workflow(batch)
        .workflow(sleeper)
        .workflow(orders)
        .function(increment)
        .function(book);
    match ledger {
        Some(ledger) => app.resource(ledger),
        None => app,
    }
}

/// The least that a step can do.
#[function]
async fn increment(_ctx: FunctionContext, number: u64) -> Result<u64, StepError> {
    Ok(number + 1)
}

/// Steps one after the other; returns how many.
#[workflow]
pub async fn chain(ctx: WorkflowContext, steps: u64) -> Result<u64, WorkflowError> {
    let mut number = 0;
    for _ in 0..steps {
        number = ctx.step(increment, number).await?;
    }
    Ok(number)
}

/// The same in the orchestrator.
#[workflow]
pub async fn local(ctx: WorkflowContext, steps: u64) -> Result<u64, WorkflowError> {
    let mut number = 0;
    for _ in 0..steps {
        number = ctx.run("increment", move || async move { Ok(number + 1) }).await?;
    }
    Ok(number)
}

/// Steps all at once; returns how many.
#[workflow]
pub async fn fanout(ctx: WorkflowContext, width: u64) -> Result<u64, WorkflowError> {
    let steps = (0..width).map(|_| ctx.step(increment, 0));
    Ok(try_join_all(steps).await?.iter().sum())
}

/// How many items of a batch are under way at once: as many as `throughput` has runs by default.
pub const BATCH_CONCURRENCY: usize = 500;

/// A batch of so many items; returns how many were completed.
#[workflow]
pub async fn batch(ctx: WorkflowContext, items: u64) -> Result<u64, WorkflowError> {
    let result = ctx.batch(increment, 0..items).max_concurrency(BATCH_CONCURRENCY).await?;
    Ok(result.stats.completed as u64)
}

/// Sleeps; returns for how many seconds.
#[workflow]
pub async fn sleeper(ctx: WorkflowContext, seconds: u64) -> Result<u64, WorkflowError> {
    ctx.sleep(Duration::from_secs(seconds)).await?;
    Ok(seconds)
}

/// What an order of the crash scenario is.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Order {
    /// Which.
    pub number: u64,
    /// How many bookings it needs.
    pub bookings: u64,
}

/// How long a booking takes: long enough to be killed in.
const BOOKING_TAKES: Duration = Duration::from_millis(50);

/// One booking in the ledger, under the step's idempotency key.
#[function]
async fn book(ctx: FunctionContext, order: u64, booking: u64) -> Result<u64, StepError> {
    TokioClock.sleep(BOOKING_TAKES / 2).await;
    let ledger = ctx.resource::<Ledger>();
    let booked = ledger.book(order, booking, ctx.idempotency_key()).await;
    booked.map_err(StepError::retryable)?;
    TokioClock.sleep(BOOKING_TAKES / 2).await;
    Ok(1)
}

/// Bookings by the worker, and after each a note by the orchestrator, so that the journal shows who of them lives.
#[workflow]
pub async fn orders(ctx: WorkflowContext, order: Order) -> Result<u64, WorkflowError> {
    let mut booked = 0;
    for booking in 0..order.bookings {
        booked += ctx.step(book, (order.number, booking)).await?;
        ctx.run("note", || async { Ok(()) }).await?;
    }
    Ok(booked)
}
