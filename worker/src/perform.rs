//! One execution from its first look into the journal to its acknowledgement.
//!
//! The order is the promise: what the journal says first, `begun` before the first line where that counts, the function, its outcome
//! in the journal, and only then the acknowledgement.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use everstep_common::journal::{Begun, Entry, EntryKey};
use everstep_common::ports::{Ack, Instant, Message};
use everstep_common::store::Created;
use futures::FutureExt;
use tokio::runtime::Handle;
use tracing::Instrument;

use crate::context::FunctionContext;
use crate::execution::{Execution, Stage};
use crate::functions::Handler;
use crate::held::Alarm;
use crate::options::ANNOUNCE_AFTER;
use crate::record::{self, Standing, Unstorable};
use crate::step_error::StepError;
use crate::telemetry::{self, Ending};
use crate::worker::{Shared, Ticket};

/// What came of an execution.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The function returned a value.
    Value(Bytes),
    /// The function returned an error.
    Failed(StepError),
    /// The function panicked.
    Panicked(String),
    /// The function took too long.
    TimedOut(Duration),
    /// The function was cancelled, and brought no value.
    Cancelled,
    /// The function was never called: the task or its input cannot be read.
    Unreadable(String),
    /// The function was never called: it may run once only, and another execution began.
    Interrupted,
    /// The function was never called: the journal has the outcome, or this attempt's failure.
    Over,
    /// The function was never called: the run is finished and purged.
    Gone,
    /// Another worker shall do it.
    HandedBack,
    /// The worker is gone.
    Killed,
}

/// Does the task.
pub(crate) async fn perform(ticket: Ticket, handler: Handler) {
    let (shared, execution) = (ticket.shared(), &*ticket.execution);
    let outcome = match prepare(shared, execution).await {
        Ok(input) => run(shared, execution, &handler, input).await,
        Err(outcome) => outcome,
    };
    settle(shared, execution, outcome).await;
}

/// Records that the task cannot be read, and removes it.
pub(crate) async fn refuse(ticket: Ticket, reason: String) {
    settle(ticket.shared(), &ticket.execution, Outcome::Unreadable(reason)).await;
}

/// The input, once the function may be called.
async fn prepare(shared: &Shared, execution: &Execution) -> Result<Bytes, Outcome> {
    let input = execution
        .until_stopped(pin!(look_first(shared, execution)))
        .await
        .map_err(|stop| stopped(execution, stop))??;
    execution.enter(Stage::Running).map_err(|stop| stopped(execution, stop))?;
    if execution.call.cancellation.is_cancelled() {
        return Err(Outcome::Cancelled);
    }
    execution
        .until_stopped(pin!(begin(shared, execution)))
        .await
        .map_err(|stop| stopped(execution, stop))??;
    Ok(input)
}

async fn look_first(shared: &Shared, execution: &Execution) -> Result<Bytes, Outcome> {
    let task = &execution.task;
    let pace = shared.paces.of(&task.function);
    if let Some(pace) = pace {
        let mut cancelled = pin!(execution.call.cancellation.cancelled());
        tokio::select! {
            biased;
            // It takes nobody's turn.
            () = &mut cancelled => return Err(Outcome::Cancelled),
            () = pace.turn() => {}
        }
    }
    // While it waited for its turn the step may have come to its end.
    if task.attempt > 1 || execution.delivery > 1 || task.check || pace.is_some() {
        match record::standing(shared, execution).await {
            Standing::Open => {}
            Standing::Over => return Err(Outcome::Over),
            Standing::Gone => return Err(Outcome::Gone),
        }
    }
    record::fetch_input(shared, execution).await
}

/// Records that execution begins, where that counts: before a function that may run once, where a timeout is measured from it, and
/// whenever the task was delivered before.
async fn begin(shared: &Shared, execution: &Execution) -> Result<(), Outcome> {
    let task = &execution.task;
    if !is_recorded(execution) {
        return Ok(());
    }
    if execution.delivery > 1 {
        shared.metrics.crashes.add(1, &execution.binding.labels.queue);
    }
    let entry = begun(shared, execution);
    // What may begin once has one key for all deliveries.
    let mut delivery = if task.at_most_once { 1 } else { execution.delivery };
    loop {
        let key = EntryKey::Begun(task.key.clone(), task.attempt, delivery);
        match record::create(shared, execution, key, &entry).await {
            Ok(Created::Theirs(theirs)) if task.at_most_once => return Err(not_begun(shared, execution, *theirs)),
            // A queue that was made anew counts its deliveries anew, and this execution is another one than theirs.
            Ok(Created::Theirs(_)) if task.announce => delivery += 1,
            Ok(_) => return Ok(()),
            Err(Unstorable(reason)) => return Err(Outcome::Unreadable(reason)),
        }
    }
}

/// Whether it is recorded before the function runs that it begins.
fn is_recorded(execution: &Execution) -> bool {
    let task = &execution.task;
    task.at_most_once || task.announce || execution.delivery > 1
}

fn begun(shared: &Shared, execution: &Execution) -> Entry {
    Entry::Begun(Begun {
        by: shared.options.process.clone(),
        incarnation: execution.binding.mark.incarnation.clone(),
        fence: false,
    })
}

/// Records that a function has begun which has a timeout and takes some of it: if this worker dies, its owner speaks for it in time.
///
/// One try: what is not recorded is found by the task's redelivery.
pub(crate) async fn announce(shared: Arc<Shared>, execution: Arc<Execution>) {
    if execution.stage() != Stage::Running {
        return;
    }
    let task = &execution.task;
    let key = EntryKey::Begun(task.key.clone(), task.attempt, execution.delivery);
    if let Err(error) = shared.store.create(&task.run, key, &begun(&shared, &execution)).await {
        tracing::debug!(parent: &execution.call.span, %error, "that the function began is not recorded");
    }
}

/// Why a function that may begin once only does not: another execution began, or the orchestrator said that it shall not.
fn not_begun(shared: &Shared, execution: &Execution, theirs: Message) -> Outcome {
    let begun = shared.store.decode_entry(&execution.task.run, theirs);
    match begun.map(|entry| entry.entry) {
        // Its outcome follows from that very entry.
        Ok(Entry::Begun(Begun { fence: true, .. })) => Outcome::Over,
        _ => Outcome::Interrupted,
    }
}

/// Calls the function and waits for what comes of it.
async fn run(shared: &Shared, execution: &Execution, handler: &Handler, input: Bytes) -> Outcome {
    let clock = shared.store.clock();
    execution.began.get_or_init(|| clock.wall());
    if let Some(timeout) = execution.task.timeout {
        let now = clock.now().0;
        let end = Instant(now.saturating_add(timeout));
        shared.held.set_alarm(execution.serial, end, Alarm::Timeout);
        if !is_recorded(execution) {
            let late = Instant(now.saturating_add(ANNOUNCE_AFTER.min(timeout / 2)));
            shared.held.set_alarm(execution.serial, late, Alarm::Announce);
        }
    }
    let outcome = match call(shared, execution, handler, input).await {
        Ok(Ok(Ok(value))) => Outcome::Value(value),
        Ok(Ok(Err(error))) => Outcome::Failed(error),
        Ok(Err(panic)) => Outcome::Panicked(panic_message(panic)),
        Err(stop) => stopped(execution, stop),
    };
    telemetry::ended(
        &shared.metrics,
        &execution.binding.labels,
        &execution.call.span,
        ending(&outcome),
    );
    let cancellation = &execution.call.cancellation;
    let unwanted = cancellation.is_cancelled() && !matches!(outcome, Outcome::Value(_) | Outcome::HandedBack | Outcome::Killed);
    // What the function has spawned may still run, and must learn that nobody waits for it.
    cancellation.cancel();
    if unwanted { Outcome::Cancelled } else { outcome }
}

/// What a function did, if it was not stopped: returned, or panicked.
type Called = Result<Result<Bytes, StepError>, Panic>;
type Panic = Box<dyn Any + Send>;

/// Calls the function where functions run.
async fn call(shared: &Shared, execution: &Execution, handler: &Handler, input: Bytes) -> Result<Called, Stage> {
    match &shared.options.runtime {
        None => call_here(execution, handler, input).await,
        Some(runtime) => call_there(runtime, execution, handler, input).await,
    }
}

/// On the functions' own runtime, so that one that blocks its thread delays nothing else.
async fn call_there(runtime: &Handle, execution: &Execution, handler: &Handler, input: Bytes) -> Result<Called, Stage> {
    let (context, handler) = (FunctionContext(execution.call.clone()), handler.clone());
    let function = async move { handler(context, input).await }.instrument(execution.call.span.clone());
    let mut task = runtime.spawn(function);
    match execution.until_stopped(&mut task).await {
        Ok(Ok(returned)) => Ok(Ok(returned)),
        Ok(Err(error)) => match error.try_into_panic() {
            Ok(panic) => Ok(Err(panic)),
            // The functions' runtime is going down: another worker shall do it.
            Err(_) => Err(Stage::HandedBack),
        },
        Err(stop) => {
            task.abort();
            Err(stop)
        }
    }
}

/// On the worker's own runtime. A function may panic before it has made its future, while it runs, and while its future is dropped.
async fn call_here(execution: &Execution, handler: &Handler, input: Bytes) -> Result<Called, Stage> {
    let context = FunctionContext(execution.call.clone());
    let span = &execution.call.span;
    let mut future = match catch_unwind(AssertUnwindSafe(|| span.in_scope(|| handler(context, input)))) {
        Ok(future) => future.instrument(span.clone()),
        Err(panic) => return Ok(Err(panic)),
    };
    let called = execution
        .until_stopped(pin!(AssertUnwindSafe(&mut future).catch_unwind()))
        .await;
    if catch_unwind(AssertUnwindSafe(|| drop(future))).is_err() {
        tracing::warn!(parent: span, "the function panicked while it was dropped");
    }
    called
}

fn panic_message(panic: Panic) -> String {
    match panic.downcast::<String>() {
        Ok(message) => *message,
        Err(panic) => panic
            .downcast_ref::<&str>()
            .copied()
            .unwrap_or("it panicked without a message")
            .to_owned(),
    }
}

fn stopped(execution: &Execution, stop: Stage) -> Outcome {
    match stop {
        Stage::HandedBack => Outcome::HandedBack,
        Stage::TimedOut => Outcome::TimedOut(execution.task.timeout.unwrap_or_default()),
        Stage::Abandoned => Outcome::Cancelled,
        Stage::Killed | Stage::Preparing | Stage::Running | Stage::Settling => Outcome::Killed,
    }
}

fn ending(outcome: &Outcome) -> Ending {
    match outcome {
        Outcome::Value(_) => Ending::Value,
        Outcome::Failed(error) if error.is_retryable() => Ending::Retryable,
        Outcome::Failed(_) => Ending::Failure,
        Outcome::Panicked(_) => Ending::Panic,
        Outcome::TimedOut(_) => Ending::Timeout,
        _ => Ending::Dropped,
    }
}

/// Records what came of it and answers the task's deliveries.
async fn settle(shared: &Shared, execution: &Execution, outcome: Outcome) {
    let outcome = match execution.enter(Stage::Settling) {
        Ok(()) => outcome,
        Err(stop) => stopped(execution, stop),
    };
    let ack = match execution
        .until_stopped(pin!(record::outcome(shared, execution, outcome)))
        .await
    {
        Ok(ack) => ack,
        Err(Stage::HandedBack) => Some(Ack::Retry(Duration::ZERO)),
        Err(_) => None,
    };
    if let Some(ack) = ack {
        execution.answer(ack);
    }
}
