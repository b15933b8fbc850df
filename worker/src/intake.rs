//! From a delivery to an execution: what the task is, and whether this worker can do it.

use std::sync::{Arc, OnceLock, PoisonError};

use everstep_common::digest::InputDigest;
use everstep_common::payload::Payload;
use everstep_common::ports::{Ack, Delivery};
use everstep_common::subject::Names;
use everstep_common::task::Task;
use everstep_common::wire;
use jiff::Timestamp;

use crate::beats::Beats;
use crate::context::{Call, Cancellation};
use crate::delay::doubled;
use crate::execution::{Binding, Execution};
use crate::holding::Holding;
use crate::options::{UNKNOWN_DELAY, UNKNOWN_NAMES_MAX};
use crate::perform;
use crate::telemetry;
use crate::worker::{Shared, Slot, Ticket};

/// Begins the task, or answers the delivery at once if it is not for this worker.
pub(crate) fn take(slot: Slot, binding: &Arc<Binding>, delivery: Delivery) {
    let shared = slot.0.clone();
    if delivery.delivery > 1 {
        shared.metrics.redeliveries.add(1, &binding.labels.queue);
    }
    let task = match read(&delivery) {
        Ok(task) => task,
        Err(reason) => return refuse(slot, binding, delivery, reason),
    };
    let Some(handler) = shared.functions.get(&task.function) else {
        return pass_on(&shared, binding, &task, &delivery);
    };
    // A new leader may deliver twice and not count it; that must not end what may run once only.
    let known = delivery.delivery > 1 || task.check || task.at_most_once;
    if known && shared.held.join(&task, &delivery.ack) {
        return;
    }
    if task.attempt > 1 {
        shared.metrics.retries.add(1, &binding.labels.queue);
    }
    let ticket = Ticket::new(slot, execution(&shared, task, binding, delivery));
    shared.runtime.spawn(perform::perform(ticket, handler.clone()));
}

/// The task, if body and subject agree on what it is.
fn read(delivery: &Delivery) -> Result<Task, String> {
    let task: Task = wire::decode(&delivery.payload).map_err(|error| error.to_string())?;
    if is_subject_of(&delivery.subject, &task) {
        Ok(task)
    } else {
        Err(format!(
            "its subject is not that of step {} of run {}, attempt {}",
            task.key, task.run, task.attempt
        ))
    }
}

/// Queue and function are left out: no two functions share a step's attempt.
fn is_subject_of(subject: &str, task: &Task) -> bool {
    let mut parts = subject.rsplit('.');
    parts.next().is_some_and(|attempt| attempt.parse() == Ok(task.attempt))
        && parts.next() == Some(task.key.token())
        && parts.next() == Some(task.run.as_str())
}

fn execution(shared: &Shared, task: Task, binding: &Arc<Binding>, delivery: Delivery) -> Execution {
    let span = telemetry::span(&task);
    let call = Call {
        run: task.run.clone(),
        key: task.key.clone(),
        attempt: task.attempt,
        deadline: Some(task.deadline),
        traceparent: shared.options.trace.child(&span, task.traceparent.clone()),
        span,
        idempotency_key: OnceLock::new(),
        cancellation: Cancellation::default(),
        resources: shared.resources.clone(),
        holding: Some(Holding::new(shared.store.clone(), delivery.ack)),
        beats: Beats::new(&task),
    };
    Execution::new(shared.held.serial(), task, delivery.delivery, binding.clone(), call)
}

/// A function that is not registered here may be so elsewhere, or after a deploy.
fn pass_on(shared: &Shared, binding: &Binding, task: &Task, delivery: &Delivery) {
    shared.metrics.unknown_functions.add(1, &binding.labels.queue);
    let (first, longest) = UNKNOWN_DELAY;
    let delay = doubled(first, delivery.delivery.saturating_sub(1), longest);
    shared.store.broker().ack(&delivery.ack, Ack::Retry(delay));
    let mut unknown = shared.unknown.lock().unwrap_or_else(PoisonError::into_inner);
    if unknown.len() < UNKNOWN_NAMES_MAX && unknown.insert(task.function.clone()) {
        tracing::warn!(
            queue = %binding.queue, function = %task.function, run = %task.run, step = %task.key,
            "function is not registered in this worker; its tasks are handed back. Register it here, or let this worker serve another queue"
        );
    }
}

/// A task that cannot be read is recorded under the run that its subject names, and removed.
fn refuse(slot: Slot, binding: &Arc<Binding>, delivery: Delivery, reason: String) {
    let shared = slot.0.clone();
    shared.metrics.undecodable.add(1, &binding.labels.queue);
    tracing::error!(queue = %binding.queue, subject = %delivery.subject, reason, "a task cannot be read");
    let Some(task) = named_by(shared.store.names(), &delivery.subject) else {
        shared.store.broker().ack(&delivery.ack, Ack::Terminate);
        return;
    };
    let ticket = Ticket::new(slot, execution(&shared, task, binding, delivery));
    shared.runtime.spawn(perform::refuse(ticket, reason));
}

/// What a subject alone says of a task.
fn named_by(names: &Names, subject: &str) -> Option<Task> {
    let (function, run, key, attempt) = names.parse_task(subject)?;
    Some(Task {
        run,
        key,
        attempt,
        function,
        input: Payload::unit(),
        digest: InputDigest::of(&[]),
        timeout: None,
        heartbeat_timeout: None,
        details: None,
        announce: false,
        deadline: Timestamp::MAX,
        at_most_once: false,
        check: false,
        traceparent: None,
    })
}
