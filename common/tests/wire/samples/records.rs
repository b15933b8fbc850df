//! What stands outside of journals: tasks, and records in the other buckets.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use everstep_common::ids::{Prefix, WorkflowName};
use everstep_common::key::StepKey;
use everstep_common::session::{SessionMark, SessionRecord};
use everstep_common::store::{Deployment, Mark};
use everstep_common::summary::{RunStatus, RunSummary, WaitSummary, WaitedFor};
use everstep_common::task::Task;
use everstep_common::topology::Durability;
use everstep_common::view::{GateWait, RunView, ViewAnswer};
use everstep_common::wire;

use super::{Sample, digest, function, inline, run, stored, time, value};

pub(super) fn tasks() -> Vec<Sample> {
    let least = Task {
        run: run(),
        key: StepKey::from_path("charge"),
        attempt: 1,
        function: function(),
        input: inline(),
        digest: digest(),
        timeout: None,
        heartbeat_timeout: None,
        details: None,
        announce: false,
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
    let listened_to = Task {
        timeout: Some(Duration::from_secs(600)),
        heartbeat_timeout: Some(Duration::from_secs(10)),
        details: Some(Bytes::from_static(b"\x2a")),
        announce: true,
        ..least.clone()
    };
    vec![
        value("task.minimal", least),
        value("task.full", most),
        value("task.listened_to", listened_to),
    ]
}

pub(super) fn summary(status: RunStatus) -> RunSummary {
    RunSummary {
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
    }
}

pub(super) fn records() -> Vec<Sample> {
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
    let listening = RunSummary {
        waits: vec![wait(WaitedFor::Update, Some(time()))],
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
        value("summary.listening", listening),
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

pub(super) fn sessions() -> Vec<Sample> {
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

pub(super) fn views() -> Vec<Sample> {
    let live = RunView {
        sequence: 70_000,
        view: Some(wire::encode_value("half").unwrap()),
        state: BTreeMap::from([("phase".into(), wire::encode_value("started").unwrap())]),
        at_gates: Vec::new(),
    };
    let at_gate = RunView {
        at_gates: vec![GateWait {
            step: StepKey::from_path("sync~3"),
            limit: "function.sync".into(),
            why: "2 at a time; 2 are at work".into(),
        }],
        ..RunView::default()
    };
    vec![
        value("view.live.at_gate", ViewAnswer::Live(at_gate)),
        value("view.live", ViewAnswer::Live(live)),
        value("view.live.minimal", ViewAnswer::Live(RunView::default())),
        value("view.parked", ViewAnswer::Parked),
        value("view.ended", ViewAnswer::Ended),
        value("view.unknown", ViewAnswer::Unknown),
    ]
}
