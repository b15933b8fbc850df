//! What is known of triggers to everyone: records of KV `triggers`.
//!
//! | key | written by | says |
//! |---|---|---|
//! | `workflow.<workflow>` | orchestrators that have its code, when they start | what its newest version listens to |
//! | `schedule.<workflow>.<name>` | whoever routes; a client that pauses, resumes | up to when a schedule is decided |
//!
//! Both are changed by compare-and-set only. A registration stays when no process has the code any more: what it starts then waits for
//! the code, parked and visible.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{CronTrigger, Trigger};
use crate::ids::{ProcessId, RunId, WorkflowName};
use crate::key::{StepKey, escape};
use crate::subject::Names;

/// What a workflow listens to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Registration {
    /// The workflow.
    pub workflow: WorkflowName,
    /// The version that its runs are started with.
    pub version: u32,
    /// What starts them; none if this version listens to nothing any more.
    pub listens: Vec<Listening>,
    /// Who said so.
    pub by: ProcessId,
}

/// One trigger and since when.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Listening {
    /// What starts runs.
    pub trigger: Trigger,
    /// The last event there was when it began to listen.
    pub since: u64,
}

impl Registration {
    /// What `triggers` make of the registration that stands: a trigger that was there listens on, a new one from now on, which is behind
    /// the event `last`.
    pub fn renewed(
        standing: Option<&Self>,
        workflow: WorkflowName,
        version: u32,
        triggers: &[Trigger],
        last: u64,
        by: ProcessId,
    ) -> Self {
        let before = standing.map_or(&[][..], |standing| &standing.listens);
        let since = |trigger: &Trigger| {
            let same = before.iter().find(|listening| same_source(&listening.trigger, trigger));
            same.map_or(last, |listening| listening.since)
        };
        let listens = triggers.iter().map(|trigger| Listening {
            since: since(trigger),
            trigger: trigger.clone(),
        });
        Self {
            workflow,
            version,
            listens: listens.collect(),
            by,
        }
    }

    /// Whether it says the same, whoever says it.
    pub fn says_the_same(&self, other: &Self) -> bool {
        (self.version, &self.listens) == (other.version, &other.listens)
    }

    /// Its schedules.
    pub fn schedules(&self) -> impl Iterator<Item = &CronTrigger> {
        self.listens.iter().filter_map(|listening| match &listening.trigger {
            Trigger::Cron(trigger) => Some(trigger),
            Trigger::Event(_) => None,
        })
    }
}

/// Whether two triggers listen to the same, whatever they make of it.
fn same_source(one: &Trigger, other: &Trigger) -> bool {
    match (one, other) {
        (Trigger::Event(one), Trigger::Event(other)) => one.event == other.event,
        (Trigger::Cron(one), Trigger::Cron(other)) => one.name == other.name,
        _ => false,
    }
}

/// Where a schedule stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScheduleRecord {
    /// Whose runs it starts.
    pub workflow: WorkflowName,
    /// The version that they are started with.
    pub version: u32,
    /// When it starts them.
    pub trigger: CronTrigger,
    /// Whether it stands still until it is resumed.
    #[serde(default)]
    pub paused: bool,
    /// Why, as whoever paused it says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Every time up to this one is decided; absent: up to when the record was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided: Option<Timestamp>,
    /// Times that were decided to start a run, and whose runs may not be started yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pending: Vec<Timestamp>,
    /// The run that is to be cancelled when those are started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<RunId>,
    /// The last run that it started, or one in which that goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_run: Option<RunId>,
    /// The time that its last run stands for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_time: Option<Timestamp>,
    /// Times that started no run: a run was open, or they were missed.
    #[serde(default)]
    pub skipped: u64,
}

impl ScheduleRecord {
    /// A schedule that begins.
    pub fn new(workflow: WorkflowName, version: u32, trigger: CronTrigger) -> Self {
        Self {
            workflow,
            version,
            trigger,
            paused: false,
            reason: None,
            decided: None,
            pending: Vec::new(),
            replaces: None,
            last_run: None,
            last_time: None,
            skipped: 0,
        }
    }

    /// What people call it: `report/daily`.
    pub fn id(&self) -> String {
        format!("{}/{}", self.workflow, self.trigger.name)
    }

    /// The key of the run that stands for a time: the same for a late one, one made up for, and one of a backfill.
    pub fn start_key(&self, time: Timestamp) -> String {
        format!("cron:{}@{time}", self.trigger.name)
    }
}

/// The key of a workflow's registration.
pub fn registration_key(workflow: &WorkflowName) -> String {
    format!("workflow.{}", escape(workflow.as_str()))
}

/// The key of a schedule's record.
pub fn schedule_key(workflow: &WorkflowName, name: &str) -> String {
    format!("schedule.{}.{}", escape(workflow.as_str()), StepKey::from_path(name).token())
}

impl Names {
    /// The stream of what triggers do later.
    pub fn trigger_stream(&self) -> String {
        self.stream_name("TRIGGERS")
    }

    /// All schedules of it.
    pub fn later_filter(&self) -> String {
        self.subject_name("later.>")
    }

    /// All of it that is due.
    pub fn due_filter(&self) -> String {
        self.subject_name("due.>")
    }

    /// Where a schedule looks at its times next, and where that is fired onto; `key` is that of its record.
    pub fn later(&self, key: &str) -> (String, String) {
        (
            self.subject_name(&format!("later.{key}")),
            self.subject_name(&format!("due.{key}")),
        )
    }

    /// The key that a due subject was made of.
    pub fn parse_due<'a>(&self, subject: &'a str) -> Option<&'a str> {
        subject.strip_prefix(self.subject_name("due.").as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> WorkflowName {
        WorkflowName::new(text).unwrap()
    }

    #[test]
    fn what_was_listened_to_is_listened_to_on_and_what_is_new_from_now_on() {
        let by = ProcessId::new("o-1").unwrap();
        let (one, other) = (Trigger::Event(Trigger::event("a")), Trigger::Event(Trigger::event("b")));
        let first = Registration::renewed(None, name("w"), 1, std::slice::from_ref(&one), 5, by.clone());
        let mut filtered = Trigger::event("a");
        filtered.filter = Some("x".into());
        let next = Registration::renewed(Some(&first), name("w"), 2, &[Trigger::Event(filtered), other], 9, by);
        assert_eq!(
            next.listens.iter().map(|listening| listening.since).collect::<Vec<_>>(),
            [5, 9]
        );
        assert!(!next.says_the_same(&first));
    }

    #[test]
    fn keys_are_tokens_whatever_the_names_are() {
        assert_eq!(registration_key(&name("shop.order")), "workflow.shop=2Eorder");
        assert_eq!(schedule_key(&name("a b"), "every day"), "schedule.a=20b.every=20day");
        let names = Names::new(crate::ids::Prefix::none());
        assert_eq!(names.parse_due(&names.later("schedule.a.b").1), Some("schedule.a.b"));
    }
}
