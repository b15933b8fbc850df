//! Names of subjects, streams and buckets. They are the permissions, so each is made here and nowhere else.
//!
//! With the empty prefix a name is as the documentation shows it (`TASKS_default`, `task.default.…`); with prefix `shop` streams are
//! `SHOP_TASKS_default`, buckets `shop_checkpoints_0` and subjects `shop.task.default.…`.

use std::fmt::Write as _;

use crate::ids::{FunctionName, Partition, Prefix, QueueName, RunId};
use crate::journal::EntryKey;
use crate::key::{StepKey, escape, unescape};

/// The names of one deployment.
#[derive(Clone, Debug)]
pub struct Names {
    prefix: Prefix,
    /// `shop.` or nothing.
    subject: String,
    /// `SHOP_` or nothing.
    stream: String,
    /// `shop_` or nothing.
    bucket: String,
}

impl Names {
    /// The names of the deployment with this prefix.
    pub fn new(prefix: Prefix) -> Self {
        let text = prefix.as_str();
        let (subject, stream, bucket) = match text {
            "" => (String::new(), String::new(), String::new()),
            text => (
                format!("{text}."),
                format!("{}_", text.to_ascii_uppercase()),
                format!("{text}_"),
            ),
        };
        Self {
            prefix,
            subject,
            stream,
            bucket,
        }
    }

    /// The prefix.
    pub fn prefix(&self) -> &Prefix {
        &self.prefix
    }

    /// A stream of this deployment.
    pub(crate) fn stream_name(&self, name: &str) -> String {
        format!("{}{name}", self.stream)
    }

    /// A subject of this deployment.
    pub(crate) fn subject_name(&self, tail: &str) -> String {
        format!("{}{tail}", self.subject)
    }

    /// The stream of a KV bucket such as `leases`.
    pub fn bucket_stream(&self, bucket: &str) -> String {
        format!("KV_{}{bucket}", self.bucket)
    }

    /// The subject of a key in a KV bucket.
    pub fn bucket_key(&self, bucket: &str, key: &str) -> String {
        format!("$KV.{}{bucket}.{key}", self.bucket)
    }

    /// The stream that holds a partition's journal.
    pub fn journal_stream(&self, partition: Partition) -> String {
        self.bucket_stream(&format!("checkpoints_{partition}"))
    }

    /// All subjects of a partition's journal.
    pub fn journal_filter(&self, partition: Partition) -> String {
        self.bucket_key(&format!("checkpoints_{partition}"), ">")
    }

    /// The entries of one kind (`start`, `end`) of all runs of a partition.
    pub fn kind_filter(&self, partition: Partition, kind: &str) -> String {
        self.bucket_key(&format!("checkpoints_{partition}"), &format!("*.{kind}"))
    }

    /// All entries of a run.
    pub fn run_filter(&self, run: &RunId) -> String {
        self.run_subject(run, ">")
    }

    /// The subject of an entry.
    pub fn entry(&self, run: &RunId, key: &EntryKey) -> String {
        let mut subject = self.run_subject(run, "");
        write!(subject, "{key}").expect("writing to a string");
        subject
    }

    /// The run and entry that a journal subject names; `None` if it is no journal subject of ours.
    pub fn parse_entry(&self, subject: &str) -> Option<(RunId, EntryKey)> {
        let rest = subject
            .strip_prefix("$KV.")?
            .strip_prefix(self.bucket.as_str())?
            .strip_prefix("checkpoints_")?;
        let (partition, rest) = rest.split_once('.')?;
        let (run, key) = rest.split_once('.')?;
        let run: RunId = run.parse().ok()?;
        (run.partition().to_string() == partition).then_some(())?;
        Some((run, key.parse().ok()?))
    }

    fn run_subject(&self, run: &RunId, tail: &str) -> String {
        let mut subject = String::with_capacity(128);
        write!(subject, "$KV.{}checkpoints_{}.{run}.{tail}", self.bucket, run.partition()).expect("writing to a string");
        subject
    }

    /// Where the `end` of each run of a partition is published again, headers only.
    pub fn done(&self, run: &RunId) -> String {
        format!("{}done.{}.{run}", self.subject, run.partition())
    }

    /// The republish rule's source and destination for [`Names::done`].
    pub fn done_rule(&self, partition: Partition) -> (String, String) {
        let source = self.kind_filter(partition, "end");
        (source, format!("{}done.{partition}.{{{{wildcard(1)}}}}", self.subject))
    }

    /// The stream of a task queue.
    pub fn task_stream(&self, queue: &QueueName) -> String {
        format!("{}TASKS_{queue}", self.stream)
    }

    /// All tasks of a queue; the durable consumer's filter.
    pub fn task_filter(&self, queue: &QueueName) -> String {
        format!("{}task.{queue}.>", self.subject)
    }

    /// The subject of a queue's mark, outside the consumer's filter.
    pub fn mark(&self, queue: &QueueName) -> String {
        format!("{}mark.{queue}", self.subject)
    }

    /// The subject of a task.
    pub fn task(&self, queue: &QueueName, function: &FunctionName, run: &RunId, key: &StepKey, attempt: u32) -> String {
        format!(
            "{}task.{queue}.{}.{run}.{}.{attempt}",
            self.subject,
            escape(function.as_str()),
            key.token()
        )
    }

    /// All tasks of one step, whatever its function and attempt.
    pub fn step_tasks(&self, queue: &QueueName, run: &RunId, key: &StepKey) -> String {
        format!("{}task.{queue}.*.{run}.{}.>", self.subject, key.token())
    }

    /// The function, run, step and attempt that a task subject names.
    pub fn parse_task(&self, subject: &str) -> Option<(FunctionName, RunId, StepKey, u32)> {
        let mut parts = subject.strip_prefix(self.subject.as_str())?.strip_prefix("task.")?.split('.');
        let _queue = parts.next()?;
        let function = FunctionName::new(unescape(parts.next()?)).ok()?;
        let run = parts.next()?.parse().ok()?;
        let key = StepKey::from_token(parts.next()?).ok()?;
        let attempt = parts.next()?.parse().ok()?;
        parts.next().is_none().then_some((function, run, key, attempt))
    }

    /// The stream of a partition's timers.
    pub fn timer_stream(&self, partition: Partition) -> String {
        format!("{}TIMERS_{partition}", self.stream)
    }

    /// All schedules of a partition.
    pub fn timer_schedules(&self, partition: Partition) -> String {
        format!("{}timer.{partition}.>", self.subject)
    }

    /// All fired timers of a partition.
    pub fn timer_fired(&self, partition: Partition) -> String {
        format!("{}fired.{partition}.>", self.subject)
    }

    /// The schedule of one wake-up of a run; `what` tells the sorts of wake-up apart.
    pub fn timer(&self, run: &RunId, what: TimerSort, key: &StepKey) -> String {
        format!(
            "{}timer.{}.{run}.{}.{}",
            self.subject,
            run.partition(),
            what.token(),
            key.token()
        )
    }

    /// All schedules of one run.
    pub fn run_timers(&self, run: &RunId) -> String {
        format!("{}timer.{}.{run}.>", self.subject, run.partition())
    }

    /// Where the schedule of [`Names::timer`] is fired onto.
    pub fn fired(&self, run: &RunId, what: TimerSort, key: &StepKey) -> String {
        format!(
            "{}fired.{}.{run}.{}.{}",
            self.subject,
            run.partition(),
            what.token(),
            key.token()
        )
    }

    /// The run, sort and key that a wake-up's subject names, be it a schedule of [`Names::timer`] or one that has been fired.
    pub fn parse_wake_up(&self, subject: &str) -> Option<(RunId, TimerSort, StepKey)> {
        let subject = subject.strip_prefix(self.subject.as_str())?;
        let mut parts = subject
            .strip_prefix("fired.")
            .or_else(|| subject.strip_prefix("timer."))?
            .split('.');
        let _partition = parts.next()?;
        let run = parts.next()?.parse().ok()?;
        let what = TimerSort::from_token(parts.next()?)?;
        let key = StepKey::from_token(parts.next()?).ok()?;
        parts.next().is_none().then_some((run, what, key))
    }

    /// The stream of large payloads.
    pub fn payload_stream(&self) -> String {
        format!("{}PAYLOADS", self.stream)
    }

    /// All large payloads.
    pub fn payload_filter(&self) -> String {
        format!("{}payload.>", self.subject)
    }

    /// One chunk of a large payload; `chunk` may be `*`.
    pub fn payload(&self, run: &RunId, owner: &str, digest: &str, chunk: impl std::fmt::Display) -> String {
        format!("{}payload.{run}.{owner}.{digest}.{chunk}", self.subject)
    }

    /// All large payloads of one run.
    pub fn run_payloads(&self, run: &RunId) -> String {
        format!("{}payload.{run}.>", self.subject)
    }

    /// The key of a session's value in the bucket of sessions.
    pub fn session_value(&self, session: &str, key: &str) -> String {
        format!("{}.{}", StepKey::from_path(session).token(), StepKey::from_path(key).token())
    }

    /// The keys of all values of a session in the bucket of sessions.
    pub fn session_values(&self, session: &str) -> String {
        format!("{}.*", StepKey::from_path(session).token())
    }

    /// Where whoever drives a run is asked how it looks from inside: core NATS, answered from memory.
    pub fn view(&self, run: &RunId) -> String {
        format!("{}view.{}.{run}", self.subject, run.partition())
    }

    /// The questions of [`Names::view`] about all runs of a partition.
    pub fn views(&self, partition: Partition) -> String {
        format!("{}view.{partition}.*", self.subject)
    }

    /// The run that such a question is about.
    pub fn parse_view(&self, subject: &str) -> Option<RunId> {
        subject.rsplit_once('.')?.1.parse().ok()
    }

    /// Progress and logs of a step: core NATS, stored by nobody.
    pub fn live(&self, run: &RunId, key: &StepKey) -> String {
        format!("{}live.{run}.{}", self.subject, key.token())
    }

    /// Heartbeats of an attempt, for whoever drives the run: core NATS, stored by nobody; body: what the function says.
    pub fn beat(&self, run: &RunId, key: &StepKey, attempt: u32) -> String {
        format!("{}beat.{}.{run}.{}.{attempt}", self.subject, run.partition(), key.token())
    }

    /// The heartbeats of all attempts of a partition's runs.
    pub fn beats(&self, partition: Partition) -> String {
        format!("{}beat.{partition}.>", self.subject)
    }

    /// The run, step and attempt that a heartbeat's subject names; `None` if it is no heartbeat's.
    pub fn parse_beat(&self, subject: &str) -> Option<(RunId, StepKey, u32)> {
        let mut parts = subject.strip_prefix(self.subject.as_str())?.strip_prefix("beat.")?.split('.');
        let _partition = parts.next()?;
        let run = parts.next()?.parse().ok()?;
        let key = StepKey::from_token(parts.next()?).ok()?;
        let attempt = parts.next()?.parse().ok()?;
        parts.next().is_none().then_some((run, key, attempt))
    }

    /// Where the workers of a queue hear that a step is cancelled; body: the idempotency key, or `<run>.try.<key>.<attempt>` for an
    /// attempt alone.
    pub fn cancelled(&self, queue: &QueueName) -> String {
        format!("{}cancel.{queue}", self.subject)
    }

    /// Where an owner asks the workers of a queue what they are running.
    pub fn running(&self, queue: &QueueName) -> String {
        format!("{}running.{queue}", self.subject)
    }
}

/// The sorts of wake-up that a run can have armed under one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TimerSort {
    /// A durable sleep.
    Sleep,
    /// The next attempt of a step.
    Retry,
    /// A step's total deadline.
    Deadline,
}

impl TimerSort {
    fn token(self) -> &'static str {
        match self {
            Self::Sleep => "sleep",
            Self::Retry => "retry",
            Self::Deadline => "deadline",
        }
    }

    fn from_token(token: &str) -> Option<Self> {
        [Self::Sleep, Self::Retry, Self::Deadline]
            .into_iter()
            .find(|sort| sort.token() == token)
    }
}

/// The idempotency key of a step: its checkpoint's KV key, the same on every attempt, process and deploy.
pub fn idempotency_key(run: &RunId, key: &StepKey) -> String {
    format!("{run}.step.{}", key.token())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run() -> RunId {
        "3-0123456789abcdef0123456789abcdef".parse().unwrap()
    }

    #[test]
    fn names_stand_as_documented() {
        let plain = Names::new(Prefix::none());
        let shop = Names::new(Prefix::new("shop").unwrap());
        let queue = QueueName::default_queue();
        let (function, key) = (FunctionName::new("a.b").unwrap(), StepKey::from_path("x/y"));
        assert_eq!(
            plain.entry(&run(), &EntryKey::Step(key.clone())),
            format!("$KV.checkpoints_3.{}.step.x=2Fy", run())
        );
        assert_eq!(
            shop.entry(&run(), &EntryKey::End),
            format!("$KV.shop_checkpoints_3.{}.end", run())
        );
        assert_eq!(
            plain.task(&queue, &function, &run(), &key, 2),
            format!("task.default.a=2Eb.{}.x=2Fy.2", run())
        );
        assert_eq!(shop.task_stream(&queue), "SHOP_TASKS_default");
        assert_eq!(idempotency_key(&run(), &key), format!("{}.step.x=2Fy", run()));
    }

    #[test]
    fn subjects_parse_to_what_they_were_made_of() {
        for prefix in ["", "shop"] {
            let names = Names::new(Prefix::new(prefix).unwrap());
            let (queue, function, key) = (
                QueueName::default_queue(),
                FunctionName::new("a.b").unwrap(),
                StepKey::from_path("x/y"),
            );
            let entry = EntryKey::Try(key.clone(), 4);
            assert_eq!(names.parse_entry(&names.entry(&run(), &entry)), Some((run(), entry)));
            let beat = names.beat(&run(), &key, 7);
            assert_eq!(names.parse_beat(&beat), Some((run(), key.clone(), 7)));
            assert_eq!(names.parse_beat(&names.view(&run())), None);
            assert_eq!(
                names.parse_task(&names.task(&queue, &function, &run(), &key, 7)),
                Some((function, run(), key.clone(), 7))
            );
            assert_eq!(
                names.parse_wake_up(&names.fired(&run(), TimerSort::Retry, &key)),
                Some((run(), TimerSort::Retry, key))
            );
        }
    }

    #[test]
    fn an_entry_in_the_wrong_partition_is_none_of_ours() {
        let names = Names::new(Prefix::none());
        assert_eq!(names.parse_entry(&format!("$KV.checkpoints_4.{}.end", run())), None);
    }
}
