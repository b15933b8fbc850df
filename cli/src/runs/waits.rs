//! What an open run waits for, as far as it can be read: its schedules and its tasks.
//!
//! Both are derived data and may be a moment behind the journal; nothing is decided by them.

use everstep::RunId;
use everstep_common::ids::QueueName;
use everstep_common::journal::{EntryKey, JournalEntry, RunTimer};
use everstep_common::key::{EVENT_PREFIX, SIGNAL_PREFIX, StepKey, UPDATE_PREFIX};
use everstep_common::ports::{Broker, GetLast, Message, ReadError};
use everstep_common::wire;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::family::Child;
use crate::connection::Connection;

/// One thing that a run waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "waits_for", rename_all = "snake_case")]
pub(crate) enum Wait {
    /// A sleep.
    Sleep {
        /// Its key.
        key: String,
        /// When it is over.
        due: Option<Timestamp>,
    },
    /// Its own end, by the deadline that it was started with.
    Deadline {
        /// When its time is up.
        due: Option<Timestamp>,
    },
    /// The end of a child.
    Child(Child),
    /// The next attempt of a step.
    Retry {
        /// The step.
        step: String,
        /// When it is made.
        due: Option<Timestamp>,
    },
    /// A task that is queued, or with a worker.
    Task {
        /// The step.
        step: String,
        /// Its function.
        function: String,
        /// Which attempt.
        attempt: u32,
        /// The task stream it is in.
        stream: String,
        /// Since when.
        since: Timestamp,
    },
}

/// The part of a schedule's body that is read here.
#[derive(Deserialize)]
struct Scheduled {
    due: Timestamp,
}

/// Everything that the run waits for.
pub(crate) async fn of_run(connection: &Connection, run: &RunId, journal: &[JournalEntry]) -> Result<Vec<Wait>, ReadError> {
    let store = connection.client.store();
    let timers = store.names().timer_stream(run.partition());
    let schedules = read(connection, &timers, store.names().run_timers(run)).await?;
    let sleeps = |wait: &Wait| !matches!(wait, Wait::Sleep { key, .. } if is_deadline(key, journal));
    let mut waits: Vec<_> = schedules.iter().filter_map(of_schedule).filter(sleeps).collect();
    for stream in task_streams(connection, run).await {
        let Some(queue) = queue_of(connection, &stream) else {
            continue;
        };
        let subjects = store.names().task_filter(&queue).replace(".>", &format!(".*.{run}.>"));
        for message in read(connection, &stream, subjects).await? {
            waits.extend(of_task(connection, &stream, &message, journal));
        }
    }
    Ok(waits)
}

/// Whether the timer of that key is the deadline of a question, a signal, an event or an update, which are told by themselves.
fn is_deadline(key: &str, journal: &[JournalEntry]) -> bool {
    let last = key.rsplit('/').next().unwrap_or(key);
    [SIGNAL_PREFIX, EVENT_PREFIX, UPDATE_PREFIX]
        .iter()
        .any(|prefix| last.starts_with(prefix))
        || journal
            .iter()
            .any(|entry| entry.key == EntryKey::Local(StepKey::from_path(key)))
}

fn of_schedule(message: &Message) -> Option<Wait> {
    let mut from_the_end = message.subject.rsplit('.');
    let key = StepKey::from_token(from_the_end.next()?).ok()?;
    let timer = RunTimer::of(&key);
    let key = key.to_string();
    let due = wire::decode::<Scheduled>(&message.payload).ok().map(|body| body.due);
    match from_the_end.next()? {
        // The run's summary says so already.
        "sleep" if matches!(timer, Some(RunTimer::Begin | RunTimer::Wait | RunTimer::Place)) => None,
        "sleep" if timer.is_some() => Some(Wait::Deadline { due }),
        "sleep" => Some(Wait::Sleep { key, due }),
        "retry" => Some(Wait::Retry { step: key, due }),
        _ => None,
    }
}

fn of_task(connection: &Connection, stream: &str, message: &Message, journal: &[JournalEntry]) -> Option<Wait> {
    let (function, _, key, attempt) = connection.client.store().names().parse_task(&message.subject)?;
    // A worker acknowledges its task a moment after the outcome is recorded.
    let is_over = journal.iter().any(|entry| entry.key == EntryKey::Step(key.clone()));
    (!is_over).then(|| Wait::Task {
        step: key.to_string(),
        function: function.to_string(),
        attempt,
        stream: stream.to_owned(),
        since: message.time,
    })
}

/// The streams that may hold tasks of the run; only that of the default queue if we may not ask.
async fn task_streams(connection: &Connection, run: &RunId) -> Vec<String> {
    let names = connection.client.store().names();
    let any_queue = names
        .task_filter(&QueueName::default_queue())
        .replace(".default.>", &format!(".*.*.{run}.>"));
    let answer = connection
        .broker
        .ask_jetstream("STREAM.NAMES", &json!({ "subject": any_queue }))
        .await;
    let listed = answer
        .ok()
        .and_then(|answer| serde_json::from_value(answer["streams"].clone()).ok());
    listed.unwrap_or_else(|| vec![names.task_stream(&QueueName::default_queue())])
}

fn queue_of(connection: &Connection, stream: &str) -> Option<QueueName> {
    let names = connection.client.store().names();
    let of_default = names.task_stream(&QueueName::default_queue());
    let prefix = of_default.strip_suffix("default")?;
    QueueName::new(stream.strip_prefix(prefix)?).ok()
}

async fn read(connection: &Connection, stream: &str, subjects: String) -> Result<Vec<Message>, ReadError> {
    let request = GetLast {
        stream: stream.to_owned(),
        subjects: vec![subjects],
        up_to: None,
        leader: false,
    };
    match connection.broker.get_last(request).await {
        Ok(snapshot) => Ok(snapshot.messages),
        // Made when the first task is published, and a run with a thousand tasks is waiting for tasks whichever they are.
        Err(ReadError::NoStream | ReadError::TooMany) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_by_itself_is_not_told_as_a_sleep() {
        let check = |key, told| assert_eq!(is_deadline(key, &[]), told, "{key}");
        check("signal:paid", true);
        check("event:order.paid", true);
        check("update:set~2", true);
        check("parallel/1/event:paid", true);
        check("sleep~2", false);
        check("paid", false);
    }
}
