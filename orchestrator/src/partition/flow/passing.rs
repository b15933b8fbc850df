//! What passes the gate, and what the gate asks its partition for.

use bytes::Bytes;
use everstep_common::flow::{LimitName, RunFlow, Slot, Usage, WhenBusy};
use everstep_common::ids::{QueueName, RunId};
use everstep_common::ports::Instant;
use everstep_common::task::Task;
use jiff::Timestamp;

/// A task, or a run, on its way through the gate.
#[derive(Debug)]
pub(crate) struct Passing {
    /// Whose place it is.
    pub slot: Slot,
    /// That of its run and of itself together.
    pub priority: i16,
    pub what: What,
}

/// What is done when it has passed.
#[derive(Debug)]
pub(crate) enum What {
    /// A task is published.
    Task {
        queue: QueueName,
        task: Box<Task>,
        input: Bytes,
    },
    /// The run begins.
    Run {
        /// What its workflow says of a key that is taken.
        when_busy: WhenBusy,
        /// The run that goes on in it, whose place is about to be free.
        continues: Option<RunId>,
    },
}

impl Passing {
    pub(crate) fn task(queue: QueueName, task: Task, input: Bytes, key: Option<String>, priority: i16) -> Self {
        let slot = Slot {
            run: task.run.clone(),
            step: task.key.clone(),
            attempt: task.attempt,
            key,
            started: None,
        };
        let task = Box::new(task);
        Self {
            slot,
            priority,
            what: What::Task { queue, task, input },
        }
    }
}

/// A limit on the way of something, and what the code says of it.
pub(crate) type Limited = (LimitName, RunFlow);

/// A run whose key is taken, and its workflow wants something done about it.
#[derive(Debug)]
pub(crate) struct Busy {
    pub waiting: Slot,
    pub holder: Slot,
    pub when: WhenBusy,
}

/// A change of a limit's record that is to be made.
#[derive(Debug)]
pub(crate) struct Write {
    pub name: LimitName,
    pub usage: Usage,
    /// The revision that it replaces.
    pub revision: u64,
}

/// What a write came to: the usage that stands, its revision, and whether it is the one written.
#[derive(Debug)]
pub(crate) struct Written {
    pub name: LimitName,
    pub usage: Usage,
    pub revision: u64,
    pub ours: bool,
}

/// How things stand, for what is written.
pub(crate) struct Now<'a> {
    pub time: Timestamp,
    pub now: Instant,
    pub knows_all: bool,
    pub stands_still: &'a dyn Fn(&RunId) -> bool,
}
