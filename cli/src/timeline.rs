//! One journal entry as a line of the timeline, or as JSON.

use std::time::Duration;

use everstep::journal::{AttemptError, Entry, EntryKey, InboundKind, JournalEntry, LocalKind, RunOutcome, RunTimer, StepResult};
use everstep::{Client, ClientError, Failure, RunId};
use everstep_common::question::Reply;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use crate::output::{between, shortened};

/// What one entry tells.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Line {
    /// Its place in the partition's order.
    pub sequence: u64,
    /// When the server stored it.
    pub time: Timestamp,
    /// Its key.
    pub entry: String,
    /// The step, timer or closure it speaks of, as people write it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// Which attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// How long the attempt took, its begin by the worker's clock.
    #[serde(rename = "took_ms", serialize_with = "as_millis", skip_serializing_if = "Option::is_none")]
    pub took: Option<Duration>,
    /// Who wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// The input, output or result that it holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
    /// The failure that it holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// What it says, for people.
    pub says: String,
}

fn as_millis<S: serde::Serializer>(took: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    took.map(|took| took.as_secs_f64() * 1_000.0).serialize(serializer)
}

impl Line {
    /// Reads an entry; a large value is fetched first.
    pub(crate) async fn read(client: &Client, run: &RunId, entry: &JournalEntry) -> Result<Self, ClientError> {
        let value = match entry.entry.payload() {
            Some(payload) => Some(client.value(run, payload).await?),
            None => None,
        };
        let failure = failure_of(&entry.entry).cloned();
        let says = says(entry, value.as_ref(), failure.as_ref());
        let (attempt, by, began) = made_by(entry);
        Ok(Self {
            sequence: entry.sequence,
            time: entry.time,
            entry: entry.key.to_string(),
            step: known_as(&entry.key),
            attempt,
            took: began.map(|began| between(began, entry.time)),
            by,
            value,
            failure,
            says,
        })
    }

    /// What it is about: `step charge`, `start`.
    pub(crate) fn what(&self) -> String {
        let kind = self.entry.split('.').next().unwrap_or_default();
        match &self.step {
            Some(step) => format!("{kind:<5} {}", shortened(step)),
            None => kind.to_owned(),
        }
    }
}

/// What people call it. Markers are called by what they mark; the timers of the run's own nobody calls anything.
fn known_as(key: &EntryKey) -> Option<String> {
    let step = key.step()?;
    let name = step.to_string();
    match key {
        _ if !step.is_own() => Some(name),
        EntryKey::Local(_) => name.strip_prefix('=').map(str::to_owned),
        _ => None,
    }
}

fn failure_of(entry: &Entry) -> Option<&Failure> {
    match entry {
        Entry::Step(outcome) => failed(&outcome.result),
        Entry::Local(local) => failed(&local.result),
        Entry::End(ended) => match &ended.outcome {
            RunOutcome::Completed(_) | RunOutcome::Continued(_) => None,
            RunOutcome::Failed(failure) | RunOutcome::Cancelled(failure) | RunOutcome::Terminated(failure) => Some(failure),
        },
        _ => None,
    }
}

fn failed(result: &StepResult) -> Option<&Failure> {
    match result {
        StepResult::Value(_) => None,
        StepResult::Failure(failure) => Some(failure),
    }
}

fn made_by(entry: &JournalEntry) -> (Option<u32>, Option<String>, Option<Timestamp>) {
    match (&entry.key, &entry.entry) {
        (_, Entry::Step(outcome)) => (Some(outcome.attempt), Some(outcome.by.to_string()), outcome.began),
        (EntryKey::Try(_, attempt), Entry::Try(failed)) => (Some(*attempt), Some(failed.by.to_string()), Some(failed.began)),
        (EntryKey::Begun(_, attempt, _), Entry::Begun(begun)) => (Some(*attempt), Some(begun.by.to_string()), None),
        (_, Entry::In(inbound)) => (None, inbound.by.clone(), None),
        (_, Entry::End(ended)) => (None, Some(ended.by.to_string()), None),
        _ => (None, None, None),
    }
}

fn says(entry: &JournalEntry, value: Option<&Value>, failure: Option<&Failure>) -> String {
    let value = value.map(|value| shortened(&value.to_string())).unwrap_or_default();
    if let Some(failure) = failure {
        return format!("✗ {}", shortened(&failure.to_string()));
    }
    match (&entry.key, &entry.entry) {
        (_, Entry::Start(start)) => format!("{}({value})", start.workflow),
        (_, Entry::Step(_)) => format!("→ {value}"),
        (_, Entry::Local(local)) => match local.kind {
            LocalKind::Closure | LocalKind::Session | LocalKind::Emit => format!("→ {value}"),
            LocalKind::Patch if value == "true" => "goes by the new code from here on".to_owned(),
            LocalKind::Patch => "was further already, and goes by the code of before".to_owned(),
            LocalKind::Version => format!("pinned to version {value}"),
            LocalKind::Question => format!("asks {value}"),
            LocalKind::Update => format!("answers {value}"),
        },
        (_, Entry::Try(failed)) => format!("✗ {}: {}", attempt_error(failed.error), shortened(&failed.message)),
        (EntryKey::Begun(_, _, delivery), _) if *delivery > 1 => format!("delivery {delivery}: an earlier one went silent"),
        (_, Entry::Begun(begun)) if begun.fence => "never begins: its time was up".to_owned(),
        (_, Entry::Begun(_)) => "begun".to_owned(),
        (EntryKey::Timer(key), Entry::Timer(_)) if let Some(timer) = RunTimer::of(key) => own_timer(timer).to_owned(),
        (_, Entry::Timer(fired)) => format!("due {}", fired.due.strftime("%H:%M:%S%.3fZ")),
        (_, Entry::In(inbound)) => {
            let reason = inbound.reason.as_deref().map(|reason| format!(": {}", shortened(reason)));
            let kind = match &inbound.kind {
                InboundKind::Cancel => "cancel".to_owned(),
                InboundKind::Terminate => "terminate".to_owned(),
                InboundKind::Resume { accept_unasked: true } => "resume, accepting what is no longer asked for".to_owned(),
                InboundKind::Resume { .. } => "resume".to_owned(),
                InboundKind::Signal { name, .. } => format!("signal {}: {value}", shortened(name)),
                InboundKind::Event { what, place, .. } => format!(
                    "event {} (sequence {}): {value}",
                    shortened(&what.to_string()),
                    place.sequence
                ),
                InboundKind::Update { name, .. } => format!("update {}: {value}", shortened(name)),
                InboundKind::Answer { wait, reply, .. } => format!("{wait}: {}", replied(reply, &value)),
                InboundKind::Withdrawn { wait } => format!("{wait} is no longer asked"),
            };
            format!("{kind}{}", reason.unwrap_or_default())
        }
        (_, Entry::Child(child)) => {
            let detached = if child.detached { ", detached" } else { "" };
            format!("{} as run {}{detached}", child.workflow, child.run)
        }
        (_, Entry::End(ended)) => match &ended.outcome {
            RunOutcome::Continued(next) => format!("goes on in run {} with {value}", next.run),
            _ => format!("completed: {value}"),
        },
        _ => "purged".to_owned(),
    }
}

fn own_timer(timer: RunTimer) -> &'static str {
    match timer {
        RunTimer::Begin => "the run begins",
        RunTimer::Wait => "its workflow has a limit: it waits for a place",
        RunTimer::Place => "the run has a place under the limit of its workflow",
        RunTimer::Deadline => "its deadline has passed: it is asked to come to an end",
        RunTimer::Kill => "it did not come to an end in time: it is ended as it stands",
    }
}

fn replied(reply: &Reply, value: &str) -> String {
    match reply {
        Reply::Value(_) => value.to_owned(),
        Reply::Skip => "skipped".to_owned(),
        Reply::Approve(hash) => format!("approves {hash}"),
        Reply::Reject(hash) => format!("rejects {hash}"),
    }
}

fn attempt_error(error: AttemptError) -> &'static str {
    match error {
        AttemptError::Error => "error",
        AttemptError::Timeout => "timeout",
        AttemptError::Panic => "panic",
        AttemptError::Invalid => "invalid task",
    }
}
