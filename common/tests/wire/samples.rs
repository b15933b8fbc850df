//! One value of each shape that is ever written, with a name under which `golden/v1.txt` keeps its bytes.
//!
//! A shape that changes gets a new sample; the old one stays, for its bytes must decode for ever.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::Duration;

use bytes::Bytes;
use everstep_common::digest::InputDigest;
use everstep_common::failure::{Failure, FailureKind};
use everstep_common::ids::{FunctionName, Prefix, ProcessId, RunId, WorkflowName};
use everstep_common::journal::{
    Attempt, AttemptError, Begun, Ended, Entry, EntryKey, Fired, Inbound, InboundKind, Local, LocalKind, Parent, RunOutcome, Start,
    StepOutcome, StepResult,
};
use everstep_common::key::StepKey;
use everstep_common::payload::{Payload, StoredPayload};
use everstep_common::question::{Choice, InputType, PayloadHash, Question, Reply, Terms};
use everstep_common::session::{SessionMark, SessionRecord};
use everstep_common::store::{Deployment, Mark};
use everstep_common::summary::{RunStatus, RunSummary, WaitSummary, WaitedFor};
use everstep_common::task::Task;
use everstep_common::topology::Durability;
use everstep_common::view::{RunView, ViewAnswer};
use everstep_common::wire;
use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Decodes bytes and compares what they say with the sample; what is wrong, if anything.
type Check = Box<dyn Fn(&[u8]) -> Result<(), String>>;

/// A value and the way its bytes are read.
pub struct Sample {
    /// What it is called in the file of bytes.
    pub name: String,
    /// The bytes that this build writes for it.
    pub bytes: Bytes,
    /// Whether given bytes say the same.
    pub says_the_same: Check,
    /// What this build makes of given bytes.
    pub decode: fn(&[u8]) -> Result<(), wire::Error>,
}

/// All of them.
pub fn samples() -> Vec<Sample> {
    let mut all = starts();
    all.extend(outcomes());
    all.extend(attempts());
    all.extend(others());
    all.extend(ends());
    all.extend(outside());
    all.extend(questions());
    all.extend(tasks());
    all.extend(records());
    all.extend(sessions());
    all.extend(views());
    all
}

fn value<T>(name: &str, value: T) -> Sample
where
    T: Serialize + DeserializeOwned + PartialEq + Debug + 'static,
{
    Sample {
        name: name.to_owned(),
        bytes: wire::encode(&value).expect("a sample can be encoded"),
        says_the_same: Box::new(move |bytes| same(&value, wire::decode(bytes))),
        decode: |bytes| wire::decode::<T>(bytes).map(drop),
    }
}

/// An entry; its key stands in its name after the first space, for the key says how the bytes are read.
macro_rules! entry {
    ($name:literal, $key:literal, $entry:expr) => {{
        let entry: Entry = $entry;
        Sample {
            name: $name.to_owned(),
            bytes: entry.encode().expect("a sample can be encoded"),
            says_the_same: Box::new(move |bytes| same(&entry, Entry::decode(&key($key), bytes))),
            decode: |bytes| Entry::decode(&key($key), bytes).map(drop),
        }
    }};
}

fn same<T: PartialEq + Debug>(expected: &T, found: Result<T, wire::Error>) -> Result<(), String> {
    match found {
        Ok(found) if found == *expected => Ok(()),
        Ok(found) => Err(format!("they say {found:?}, not {expected:?}")),
        Err(error) => Err(error.to_string()),
    }
}

fn starts() -> Vec<Sample> {
    let least = Start {
        workflow: WorkflowName::new("order").unwrap(),
        version: None,
        input: Payload::unit(),
        digest: digest(),
        start_key: None,
        session: None,
        parent: None,
        tags: BTreeMap::new(),
        traceparent: None,
    };
    let most = Start {
        version: Some(3),
        input: stored("start"),
        start_key: Some("o-1".into()),
        session: Some("customer-7".into()),
        parent: Some(Parent {
            run: run(),
            step: StepKey::from_path("ship/parcel~2"),
        }),
        tags: BTreeMap::from([("team".into(), "größe".into()), ("tier".into(), "gold".into())]),
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into()),
        ..least.clone()
    };
    vec![
        entry!("start.minimal", "start", Entry::Start(least)),
        entry!("start.full", "start", Entry::Start(most)),
    ]
}

fn outcomes() -> Vec<Sample> {
    let outcome = |result, began| {
        Entry::Step(StepOutcome {
            function: function(),
            digest: digest(),
            result,
            attempt: 2,
            by: process(),
            began,
        })
    };
    let mut all = vec![
        entry!(
            "step.value",
            "step.charge",
            outcome(StepResult::Value(inline()), Some(time()))
        ),
        entry!(
            "step.value_stored",
            "step.charge",
            outcome(StepResult::Value(stored("charge")), Some(time()))
        ),
        entry!("step.no_worker", "step.charge", outcome(StepResult::Value(inline()), None)),
    ];
    let kinds = [
        ("fatal", FailureKind::Fatal),
        ("exhausted", FailureKind::Exhausted),
        ("deadline_exceeded", FailureKind::DeadlineExceeded),
        ("crashed", FailureKind::Crashed),
        ("interrupted", FailureKind::Interrupted),
        ("cancelled", FailureKind::Cancelled),
        ("invalid", FailureKind::Invalid),
        ("workflow", FailureKind::Workflow),
        ("other", FailureKind::Other),
    ];
    all.extend(kinds.map(|(name, kind)| {
        let failed = entry!("", "step.charge", outcome(StepResult::Failure(failure(kind)), None));
        Sample {
            name: format!("step.failure.{name}"),
            ..failed
        }
    }));
    all
}

fn attempts() -> Vec<Sample> {
    let attempt = |error, retry_after| {
        Entry::Try(Attempt {
            function: function(),
            digest: digest(),
            error,
            message: "card reader is busy".into(),
            retry_after,
            by: process(),
            began: time(),
        })
    };
    let later = Duration::new(90, 500_000_000);
    vec![
        entry!("try.error", "try.charge.1", attempt(AttemptError::Error, None)),
        entry!("try.timeout", "try.charge.2", attempt(AttemptError::Timeout, None)),
        entry!("try.panic", "try.charge.3", attempt(AttemptError::Panic, None)),
        entry!("try.invalid", "try.charge.4", attempt(AttemptError::Invalid, None)),
        entry!("try.retry_after", "try.charge.5", attempt(AttemptError::Error, Some(later))),
    ]
}

fn others() -> Vec<Sample> {
    let local = |result| {
        Entry::Local(Local {
            kind: LocalKind::Closure,
            result,
        })
    };
    let inbound = |kind, said: Option<&str>| {
        Entry::In(Inbound {
            kind,
            by: said.map(|_| "ada".into()),
            reason: said.map(Into::into),
        })
    };
    let begun = |incarnation: &str| {
        Entry::Begun(Begun {
            by: process(),
            incarnation: incarnation.into(),
        })
    };
    let resume = |accept_unasked| InboundKind::Resume { accept_unasked };
    vec![
        entry!("begun", "begun.charge.1.1", begun("7f")),
        entry!("begun.no_incarnation", "begun.charge.1.2", begun("")),
        entry!("local.value", "local.total", local(StepResult::Value(inline()))),
        entry!("local.value_stored", "local.total", local(StepResult::Value(stored("total")))),
        entry!(
            "local.failure",
            "local.total",
            local(StepResult::Failure(failure(FailureKind::Fatal)))
        ),
        entry!(
            "local.session",
            "local.session=2Eupdate=28visits=29",
            Entry::Local(Local {
                kind: LocalKind::Session,
                result: StepResult::Value(inline()),
            })
        ),
        entry!(
            "local.emit",
            "local.emit=2Eorder=2Epaid",
            Entry::Local(Local {
                kind: LocalKind::Emit,
                result: StepResult::Value(inline()),
            })
        ),
        entry!("timer", "timer.settle", Entry::Timer(Fired { due: time() })),
        entry!("in.cancel", "in.cancel", inbound(InboundKind::Cancel, Some("a mistake"))),
        entry!("in.cancel.minimal", "in.cancel", inbound(InboundKind::Cancel, None)),
        entry!("in.resume", "in.resume-1", inbound(resume(false), None)),
        entry!("in.resume.accepting", "in.resume-2", inbound(resume(true), Some("deployed"))),
        entry!("gone", "gone", Entry::Gone),
    ]
}

/// What reaches a run for its waits.
fn outside() -> Vec<Sample> {
    let inbound = |kind, said: Option<&str>| {
        Entry::In(Inbound {
            kind,
            by: said.map(|_| "ada".into()),
            reason: said.map(Into::into),
        })
    };
    let signal = |value| InboundKind::Signal {
        name: "größe".into(),
        value,
    };
    let answer = |reply, groups: &[&str]| InboundKind::Answer {
        wait: StepKey::from_path("left/approve"),
        reply,
        groups: groups.iter().map(ToString::to_string).collect(),
    };
    let hash = PayloadHash::of_canonical(b"{}");
    let withdrawn = InboundKind::Withdrawn {
        wait: StepKey::from_path("left/approve"),
    };
    let local = Entry::Local(Local {
        kind: LocalKind::Question,
        result: StepResult::Value(inline()),
    });
    vec![
        entry!("in.signal", "in.payment-1", inbound(signal(inline()), None)),
        entry!(
            "in.signal_stored",
            "in.payment-1",
            inbound(signal(stored("in.payment-1")), Some("sent again"))
        ),
        entry!(
            "in.answer.value",
            "in.answer.left=2Fapprove",
            inbound(answer(Reply::Value(inline()), &[]), Some("why not"))
        ),
        entry!(
            "in.answer.value_stored",
            "in.answer.left=2Fapprove",
            inbound(answer(Reply::Value(stored("in")), &[]), None)
        ),
        entry!(
            "in.answer.skip",
            "in.answer.left=2Fapprove",
            inbound(answer(Reply::Skip, &[]), Some("no idea"))
        ),
        entry!(
            "in.answer.approve",
            "in.answer.left=2Fapprove.ada",
            inbound(answer(Reply::Approve(hash), &["finance", "board"]), Some("looked at it"))
        ),
        entry!(
            "in.answer.reject",
            "in.answer.left=2Fapprove",
            inbound(answer(Reply::Reject(hash), &[]), Some("too much"))
        ),
        entry!("in.withdrawn", "in.answer.left=2Fapprove", inbound(withdrawn, None)),
        entry!("local.question", "local.approve", local),
    ]
}

/// Questions as they stand in their `local` entries.
fn questions() -> Vec<Sample> {
    let least = Question {
        text: "Which colour?".into(),
        ..Question::default()
    };
    let input = |input| Question { input, ..least.clone() };
    let most = Question {
        text: "Größe?".into(),
        input: InputType::Form {
            schema: r#"{"type":"object"}"#.into(),
        },
        options: vec![Choice::new("s", "small"), Choice::new("l", "large")],
        allow_custom: true,
        skippable: true,
        assignees: vec!["ada".into(), "finance".into()],
        deadline: Some(time()),
        approval: Some(Terms {
            hash: PayloadHash::of_canonical(b"{}"),
            payload: Some("{}".into()),
            quorum: 2,
            requester: Some("bob".into()),
        }),
    };
    vec![
        value("question.minimal", least.clone()),
        value("question.approval", input(InputType::Approval)),
        value("question.select", input(InputType::Select)),
        value("question.multiselect", input(InputType::Multiselect)),
        value("question.full", most),
    ]
}

fn ends() -> Vec<Sample> {
    let end = |outcome| Entry::End(Ended { outcome, by: process() });
    let failed = failure(FailureKind::Workflow);
    vec![
        entry!("end.completed", "end", end(RunOutcome::Completed(inline()))),
        entry!("end.completed_stored", "end", end(RunOutcome::Completed(stored("end")))),
        entry!("end.failed", "end", end(RunOutcome::Failed(failed))),
        entry!(
            "end.cancelled",
            "end",
            end(RunOutcome::Cancelled(failure(FailureKind::Cancelled)))
        ),
    ]
}

fn tasks() -> Vec<Sample> {
    let least = Task {
        run: run(),
        key: StepKey::from_path("charge"),
        attempt: 1,
        function: function(),
        input: inline(),
        digest: digest(),
        timeout: None,
        deadline: time(),
        at_most_once: false,
        check: false,
        traceparent: None,
    };
    let most = Task {
        key: StepKey::from_path("parallel~2/1/charge"),
        attempt: 4,
        input: stored("start"),
        timeout: Some(Duration::from_millis(1_500)),
        at_most_once: true,
        check: true,
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into()),
        ..least.clone()
    };
    vec![value("task.minimal", least), value("task.full", most)]
}

fn records() -> Vec<Sample> {
    let summary = |status| RunSummary {
        workflow: WorkflowName::new("order").unwrap(),
        version: None,
        status,
        reason: None,
        sequence: 70_000,
        epoch: 0,
        started: time(),
        since: time(),
        tags: BTreeMap::new(),
        waits: Vec::new(),
    };
    let wait = |kind, deadline| WaitSummary {
        key: StepKey::from_path("left/approve"),
        kind,
        text: "May it be done?".into(),
        since: time(),
        deadline,
    };
    let waiting = RunSummary {
        waits: vec![
            wait(WaitedFor::Signal, None),
            wait(WaitedFor::Question, Some(time())),
            wait(WaitedFor::Approval, None),
        ],
        ..summary(RunStatus::Running)
    };
    let parked = RunSummary {
        version: Some(3),
        reason: Some("step charge is no longer asked for".into()),
        tags: BTreeMap::from([("team".into(), "blue".into())]),
        ..summary(RunStatus::Parked)
    };
    let deployment = Deployment::single_node(Prefix::none());
    let large = Deployment::single_node(Prefix::new("shop").unwrap())
        .with_partitions(8)
        .with_replicas(3)
        .with_durability(Durability::Relaxed)
        .with_ack_wait(Duration::from_millis(2_500));
    vec![
        value("summary.running", summary(RunStatus::Running)),
        value("summary.parked", parked),
        value("summary.waiting", waiting),
        value("summary.completed", summary(RunStatus::Completed)),
        value("summary.failed", summary(RunStatus::Failed)),
        value("summary.cancelled", summary(RunStatus::Cancelled)),
        value("deployment", deployment),
        value("deployment.large", large),
        value(
            "mark",
            Mark {
                incarnation: "7f0c".into(),
            },
        ),
    ]
}

fn sessions() -> Vec<Sample> {
    let mark = |result| SessionMark {
        run: run(),
        step: StepKey::from_path("session.update(visits)"),
        result,
    };
    let set = SessionRecord {
        value: Some(wire::encode_value(&3).unwrap()),
        marks: vec![mark(inline()), mark(stored("session=2Eupdate=28visits=29"))],
        ..SessionRecord::absent("customer-7", "visits")
    };
    vec![
        value("session.deleted", SessionRecord::absent("customer-7", "visits")),
        value("session.set", set),
    ]
}

fn views() -> Vec<Sample> {
    let live = RunView {
        sequence: 70_000,
        view: Some(wire::encode_value("half").unwrap()),
        state: BTreeMap::from([("phase".into(), wire::encode_value("started").unwrap())]),
    };
    vec![
        value("view.live", ViewAnswer::Live(live)),
        value("view.live.minimal", ViewAnswer::Live(RunView::default())),
        value("view.parked", ViewAnswer::Parked),
        value("view.ended", ViewAnswer::Ended),
        value("view.unknown", ViewAnswer::Unknown),
    ]
}

fn key(text: &str) -> EntryKey {
    text.parse().expect("a sample's key")
}

fn run() -> RunId {
    "3-0123456789abcdef0123456789abcdef".parse().unwrap()
}

fn function() -> FunctionName {
    FunctionName::new("payments.charge").unwrap()
}

fn process() -> ProcessId {
    ProcessId::new("worker-1a2b3c").unwrap()
}

fn time() -> Timestamp {
    "2026-02-03T04:05:06.000000789Z".parse().unwrap()
}

fn digest() -> InputDigest {
    InputDigest::of(&[0xc0])
}

fn inline() -> Payload {
    Payload::Inline(wire::encode_value(&("paid", 4_200)).unwrap())
}

fn stored(owner: &str) -> Payload {
    Payload::Stored(StoredPayload {
        owner: owner.into(),
        digest: "ab".repeat(32),
        bytes: 300_000,
    })
}

fn failure(kind: FailureKind) -> Failure {
    Failure::new(kind, "no such card")
}
