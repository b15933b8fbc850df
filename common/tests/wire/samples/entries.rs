//! What workers, orchestrators and clients write into a journal.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use everstep_common::failure::FailureKind;
use everstep_common::ids::WorkflowName;
use everstep_common::journal::{
    Attempt, AttemptError, Begun, Ended, Entry, Fired, Inbound, InboundKind, Local, LocalKind, Parent, RunOutcome, Start,
    StepOutcome, StepResult,
};
use everstep_common::key::StepKey;
use everstep_common::payload::Payload;

use super::{Sample, digest, entry, failure, function, inline, process, run, stored, time};

pub(super) fn starts() -> Vec<Sample> {
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
        terms: Default::default(),
        continues: None,
        listens_from: None,
        listened: Vec::new(),
    };
    let most = Start {
        version: Some(3),
        input: stored("start"),
        start_key: Some("o-1".into()),
        session: Some("customer-7".into()),
        parent: Some(Parent {
            run: run(),
            step: StepKey::from_path("ship/parcel~2"),
            detached: false,
            digest: None,
            depth: 0,
        }),
        tags: BTreeMap::from([("team".into(), "größe".into()), ("tier".into(), "gold".into())]),
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into()),
        ..least.clone()
    };
    let triggered = Start {
        listens_from: Some(time()),
        ..least.clone()
    };
    vec![
        entry!("start.minimal", "start", Entry::Start(least)),
        entry!("start.triggered", "start", Entry::Start(triggered)),
        entry!("start.full", "start", Entry::Start(most)),
    ]
}

pub(super) fn outcomes() -> Vec<Sample> {
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
        ("not_started", FailureKind::NotStarted),
        ("crashed", FailureKind::Crashed),
        ("interrupted", FailureKind::Interrupted),
        ("cancelled", FailureKind::Cancelled),
        ("terminated", FailureKind::Terminated),
        ("invalid", FailureKind::Invalid),
        ("rejected", FailureKind::Rejected),
        ("workflow", FailureKind::Workflow),
        ("rollback_failed", FailureKind::RollbackFailed),
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

pub(super) fn attempts() -> Vec<Sample> {
    let attempt = |error, retry_after| {
        Entry::Try(Attempt {
            function: function(),
            digest: digest(),
            error,
            message: "card reader is busy".into(),
            name: None,
            details: None,
            retry_after,
            by: process(),
            began: time(),
        })
    };
    let told = Entry::Try(Attempt {
        function: function(),
        digest: digest(),
        error: AttemptError::Timeout,
        message: "no heartbeat for 10s".into(),
        name: Some("heartbeat".into()),
        details: Some(Bytes::from_static(b"\x93\x01\x02\x03")),
        retry_after: None,
        by: process(),
        began: time(),
    });
    let later = Duration::new(90, 500_000_000);
    vec![
        entry!("try.named_with_details", "try.charge.6", told),
        entry!("try.error", "try.charge.1", attempt(AttemptError::Error, None)),
        entry!("try.timeout", "try.charge.2", attempt(AttemptError::Timeout, None)),
        entry!("try.panic", "try.charge.3", attempt(AttemptError::Panic, None)),
        entry!("try.invalid", "try.charge.4", attempt(AttemptError::Invalid, None)),
        entry!("try.retry_after", "try.charge.5", attempt(AttemptError::Error, Some(later))),
    ]
}

pub(super) fn others() -> Vec<Sample> {
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
            fence: false,
        })
    };
    let marker = |kind, value: &'static [u8]| {
        Entry::Local(Local {
            kind,
            result: StepResult::Value(Payload::Inline(Bytes::from_static(value))),
        })
    };
    let resume = |accept_unasked| InboundKind::Resume { accept_unasked };
    vec![
        entry!("begun", "begun.charge.1.1", begun("7f")),
        entry!(
            "begun.fence",
            "begun.charge.1.1",
            Entry::Begun(Begun {
                by: process(),
                incarnation: String::new(),
                fence: true,
            })
        ),
        entry!("local.patch", "local.patched=28vat=29", marker(LocalKind::Patch, b"\xc3")),
        entry!("local.version", "local.version", marker(LocalKind::Version, b"\x03")),
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

pub(super) fn ends() -> Vec<Sample> {
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
