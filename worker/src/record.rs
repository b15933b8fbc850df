//! What an execution reads from the journal and writes to it. Each of these goes on until the server has answered, however long it is
//! away; the task is kept meanwhile.

use std::time::Duration;

use bytes::Bytes;
use everstep_common::failure::{Failure, FailureKind};
use everstep_common::journal::{Attempt, AttemptError, Entry, EntryKey, StepOutcome, StepResult};
use everstep_common::payload::Payload;
use everstep_common::ports::{Ack, GetLast, PublishError};
use everstep_common::store::{Backoff, CreateError, Created, PayloadError};

use crate::delay::doubled;
use crate::execution::Execution;
use crate::options::{CANCEL_RECHECK, REFUSED_DELAY_MAX};
use crate::perform::Outcome;
use crate::step_error::{StepError, StepErrorKind};
use crate::worker::Shared;

/// What the journal says of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Nothing yet, as far as one read can tell.
    Open,
    /// The step has its outcome, or this attempt its failure, or the run its end.
    Over,
    /// The run is finished and purged.
    Gone,
}

/// An entry that the server takes from nobody: it is too large, or cannot be encoded.
#[derive(Debug)]
pub(crate) struct Unstorable(pub(crate) String);

/// What the journal says of the task.
///
/// A stale answer may miss an outcome; the task is then done once more, which its create-only entry and the idempotency key bear. What
/// may run once only is held by its `begun` entry, not by this.
pub(crate) async fn standing(shared: &Shared, execution: &Execution) -> Standing {
    let (task, names) = (&execution.task, shared.store.names());
    let attempt = EntryKey::Try(task.key.clone(), task.attempt);
    let keys = [EntryKey::Step(task.key.clone()), attempt, EntryKey::End, EntryKey::Gone];
    let subjects: Vec<_> = keys.iter().map(|key| names.entry(&task.run, key)).collect();
    let stream = names.journal_stream(task.run.partition());
    let mut backoff = Backoff::new();
    loop {
        let request = GetLast {
            stream: stream.clone(),
            subjects: subjects.clone(),
            up_to: None,
            leader: false,
        };
        match shared.store.broker().get_last(request).await {
            Ok(snapshot) if snapshot.messages.is_empty() => return Standing::Open,
            Ok(snapshot) if snapshot.messages.iter().any(|message| message.subject == subjects[3]) => return Standing::Gone,
            Ok(_) => return Standing::Over,
            Err(error) => tracing::debug!(parent: &execution.call.span, %error, "the journal cannot be read"),
        }
        shared.sleep(backoff.delay()).await;
    }
}

/// The task's input.
///
/// It is called unreadable only if it could not be fetched twice, with the journal answering in between.
pub(crate) async fn fetch_input(shared: &Shared, execution: &Execution) -> Result<Bytes, Outcome> {
    let task = &execution.task;
    if let Payload::Inline(input) = &task.input {
        return Ok(input.clone());
    }
    if let Ok(input) = shared.store.get_payload(&task.run, &task.input).await {
        return Ok(input);
    }
    match standing(shared, execution).await {
        Standing::Open => {}
        Standing::Over => return Err(Outcome::Over),
        Standing::Gone => return Err(Outcome::Gone),
    }
    let input = shared.store.get_payload(&task.run, &task.input).await;
    input.map_err(|error| Outcome::Unreadable(format!("the input of step {} cannot be read: {error}", task.key)))
}

/// Creates an entry of the task's run, or finds whose is there.
pub(crate) async fn create(shared: &Shared, execution: &Execution, key: EntryKey, entry: &Entry) -> Result<Created, Unstorable> {
    let mut tries = 0;
    loop {
        let error = match shared.store.create(&execution.task.run, key.clone(), entry).await {
            Ok(created) => return Ok(created),
            Err(
                error @ (CreateError::Encode { .. }
                | CreateError::Rejected {
                    source: PublishError::TooLarge,
                    ..
                }),
            ) => {
                return Err(Unstorable(error.to_string()));
            }
            Err(error) => error,
        };
        wait_for_operator(shared, execution, &error, &mut tries).await;
    }
}

/// Records what came of the execution; how its task is to be answered, if at all.
pub(crate) async fn outcome(shared: &Shared, execution: &Execution, outcome: Outcome) -> Option<Ack> {
    if execution.is_over() && !matches!(outcome, Outcome::Killed) {
        return Some(Ack::Done);
    }
    Some(match outcome {
        Outcome::Value(value) => self::value(shared, execution, value).await,
        Outcome::Failed(error) => failed(shared, execution, error).await,
        Outcome::Panicked(message) => attempt(shared, execution, AttemptError::Panic, message, None, None).await,
        Outcome::TimedOut(timeout) => {
            let message = format!("the function took longer than its timeout of {timeout:?}");
            attempt(shared, execution, AttemptError::Timeout, message, None, None).await
        }
        Outcome::Unreadable(reason) => match attempt(shared, execution, AttemptError::Invalid, reason, None, None).await {
            Ack::Done => Ack::Terminate,
            ack => ack,
        },
        Outcome::Interrupted => {
            let message =
                "an earlier execution began and was interrupted; the function may run once only, so it was not called again";
            failure(shared, execution, FailureKind::Interrupted, message.to_owned()).await
        }
        Outcome::Cancelled => cancelled(shared, execution).await,
        Outcome::Over => Ack::Done,
        Outcome::Gone => gone(execution),
        Outcome::HandedBack => Ack::Retry(Duration::ZERO),
        Outcome::Killed => return None,
    })
}

async fn value(shared: &Shared, execution: &Execution, value: Bytes) -> Ack {
    let payload = match store_value(shared, execution, value).await {
        Ok(payload) => payload,
        Err(Unstorable(reason)) => return failure(shared, execution, FailureKind::Invalid, reason).await,
    };
    match step(shared, execution, StepResult::Value(payload)).await {
        Ok(ack) => ack,
        Err(Unstorable(reason)) => failure(shared, execution, FailureKind::Invalid, reason).await,
    }
}

async fn store_value(shared: &Shared, execution: &Execution, value: Bytes) -> Result<Payload, Unstorable> {
    let task = &execution.task;
    let mut tries = 0;
    loop {
        let error = match shared.store.put_payload(&task.run, task.key.token(), value.clone()).await {
            Ok(payload) => return Ok(payload),
            Err(PayloadError::TooLarge(error)) => return Err(Unstorable(error.to_string())),
            Err(error) => error,
        };
        wait_for_operator(shared, execution, &error, &mut tries).await;
    }
}

async fn failed(shared: &Shared, execution: &Execution, error: StepError) -> Ack {
    let (kind, delay) = (error.kind(), error.delay());
    let (message, name) = error.into_parts();
    match kind {
        StepErrorKind::Retryable => attempt(shared, execution, AttemptError::Error, message, name, delay).await,
        StepErrorKind::Fatal => failure(shared, execution, FailureKind::Fatal, message).await,
        StepErrorKind::Invalid => failure(shared, execution, FailureKind::Invalid, message).await,
    }
}

/// Records the step's outcome.
async fn step(shared: &Shared, execution: &Execution, result: StepResult) -> Result<Ack, Unstorable> {
    let task = &execution.task;
    let entry = Entry::Step(StepOutcome {
        function: task.function.clone(),
        digest: task.digest,
        result,
        attempt: task.attempt,
        by: shared.options.process.clone(),
        began: execution.began.get().copied(),
    });
    let created = create(shared, execution, EntryKey::Step(task.key.clone()), &entry).await?;
    Ok(recorded(shared, execution, &created))
}

async fn failure(shared: &Shared, execution: &Execution, kind: FailureKind, message: String) -> Ack {
    tracing::warn!(parent: &execution.call.span, %kind, message, "the step failed");
    let failure = Failure::new(kind, message);
    step(shared, execution, StepResult::Failure(failure))
        .await
        .unwrap_or_else(|reason| give_up(execution, &reason))
}

/// Records that this attempt failed. Whether there is another one is for the orchestrator to decide.
async fn attempt(
    shared: &Shared,
    execution: &Execution,
    error: AttemptError,
    message: String,
    name: Option<String>,
    retry_after: Option<Duration>,
) -> Ack {
    tracing::warn!(parent: &execution.call.span, ?error, message, "the attempt failed");
    let task = &execution.task;
    let entry = Entry::Try(Attempt {
        function: task.function.clone(),
        digest: task.digest,
        error,
        // Cut to what an entry may hold; the log has it whole.
        message: Failure::new(FailureKind::Other, message).message,
        name,
        details: execution.call.beats.details(),
        retry_after,
        by: shared.options.process.clone(),
        began: execution.began.get().copied().unwrap_or_else(|| shared.store.clock().wall()),
    });
    match create(shared, execution, EntryKey::Try(task.key.clone(), task.attempt), &entry).await {
        Ok(created) => recorded(shared, execution, &created),
        Err(reason) => give_up(execution, &reason),
    }
}

/// Whoever wrote it: the journal has it, so the task is done.
fn recorded(shared: &Shared, execution: &Execution, created: &Created) -> Ack {
    if matches!(created, Created::Theirs(_)) {
        shared.metrics.refused.add(1, &execution.binding.labels.queue);
        tracing::debug!(parent: &execution.call.span, "somebody else's outcome was recorded first");
    }
    Ack::Done
}

/// A cancelled function brought no value. Its task goes only if the journal says why.
async fn cancelled(shared: &Shared, execution: &Execution) -> Ack {
    match standing(shared, execution).await {
        Standing::Over => Ack::Done,
        Standing::Gone => gone(execution),
        Standing::Open => Ack::Retry(CANCEL_RECHECK),
    }
}

fn gone(execution: &Execution) -> Ack {
    tracing::warn!(parent: &execution.call.span, "a task of a purged run is removed");
    Ack::Terminate
}

/// Not even the failure can be stored. The task comes back, and is kept from coming back fast.
fn give_up(execution: &Execution, Unstorable(reason): &Unstorable) -> Ack {
    tracing::error!(parent: &execution.call.span, reason, "what came of the step cannot be stored; the task is handed back");
    Ack::Retry(REFUSED_DELAY_MAX)
}

/// What fails for a reason that a retry does not mend is tried again all the same: an operator mends it, and the outcome must not be lost.
async fn wait_for_operator(
    shared: &Shared,
    execution: &Execution,
    error: &(dyn std::error::Error + Send + Sync + 'static),
    tries: &mut u64,
) {
    if *tries == 0 {
        tracing::error!(parent: &execution.call.span, error, "the server refuses; trying again until it takes it");
    } else {
        tracing::debug!(parent: &execution.call.span, error, tries, "the server still refuses");
    }
    shared.sleep(doubled(Backoff::MAX, *tries, REFUSED_DELAY_MAX)).await;
    *tries += 1;
}
