//! The entries that the world makes, and what they are called.

use bytes::Bytes;
use everstep_common::digest::InputDigest;
use everstep_common::failure::Failure;
use everstep_common::ids::{FunctionName, ProcessId};
use everstep_common::journal::{Attempt, AttemptError, Child, RunTimer};
use everstep_common::key::StepKey;
use everstep_common::subscription::EventPlace;
use jiff::Timestamp;

use crate::tests::kit::{function, mix, run_id};
use crate::{ChildSpec, EventBody, Record};

/// Where the event of that number stands.
pub(super) fn place(number: u32) -> EventPlace {
    EventPlace {
        stream: Timestamp::UNIX_EPOCH,
        sequence: number.into(),
        time: Timestamp::UNIX_EPOCH,
    }
}

pub(super) fn timer(timer: RunTimer) -> EventBody {
    EventBody::About(timer.key(), Record::Timer)
}

pub(super) fn failed(function: &FunctionName, digest: InputDigest) -> Attempt {
    Attempt {
        function: function.clone(),
        digest,
        error: AttemptError::Error,
        message: "try again".to_owned(),
        name: None,
        details: None,
        retry_after: None,
        by: ProcessId::new("worker-1").unwrap(),
        began: Timestamp::UNIX_EPOCH,
    }
}

pub(super) fn named(key: StepKey, child: &ChildSpec) -> EventBody {
    let child = Child {
        workflow: child.workflow.clone(),
        digest: child.digest,
        run: run_id().successor(),
        detached: child.detached,
    };
    EventBody::About(key, Record::Child(Box::new(child)))
}

pub(super) fn ended(key: &StepKey, child: &ChildSpec, result: Result<Bytes, Failure>) -> EventBody {
    let (function, digest) = (function(child.workflow.as_str()), child.digest);
    EventBody::About(
        key.clone(),
        Record::Step {
            function,
            digest,
            result,
        },
    )
}

/// What a worker returns: the same whoever does the step, and different for every key.
pub(super) fn value_of(key: &StepKey) -> Bytes {
    let number = key.token().bytes().fold(1, |number, byte| mix(number ^ u64::from(byte)));
    Bytes::copy_from_slice(&number.to_be_bytes())
}

/// What an entry is called: created once.
pub(super) fn name(body: &EventBody) -> String {
    match body {
        EventBody::Start(..) => "start".to_owned(),
        EventBody::About(key, Record::Step { .. }) => format!("step.{key}"),
        EventBody::About(key, Record::Try(attempt, _)) => format!("try.{key}.{attempt}"),
        EventBody::About(key, Record::Begun { attempt, .. }) => format!("begun.{key}.{attempt}"),
        EventBody::About(key, Record::Local(..)) => format!("local.{key}"),
        EventBody::About(key, Record::Timer) => format!("timer.{key}"),
        EventBody::About(key, Record::Child(_)) => format!("child.{key}"),
        EventBody::In(inbound) => format!("in.{:?}", inbound.kind),
        EventBody::About(key, Record::Withdrawn) => format!("in.answer.{}", key.token()),
        EventBody::About(_, Record::Answer(answered)) => format!("in.{}", answered.id),
        EventBody::Event(what, place, _) => format!("in.{}", what.slot(&place.sequence.to_string())),
        EventBody::Signal(_, value) => format!("in.signal-{value:?}"),
        EventBody::Update { key, .. } => format!("in.{key}"),
        EventBody::End => "end".to_owned(),
    }
}
