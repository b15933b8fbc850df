//! Runs that start runs, and runs that go on in others.

use std::collections::BTreeMap;

use everstep_common::failure::FailureKind;
use everstep_common::ids::WorkflowName;
use everstep_common::journal::{Child, Continuation, Continued, Ended, Entry, Inbound, InboundKind, Parent, RunOutcome, Start};
use everstep_common::key::StepKey;
use everstep_common::summary::RunStatus;

use super::{Sample, digest, entry, failure, inline, process, run, stored, time, value};

/// Runs that are started by runs, and runs that go on in others.
pub(super) fn children() -> Vec<Sample> {
    let start = |parent, continues| {
        Entry::Start(Start {
            workflow: WorkflowName::new("parcel").unwrap(),
            version: Some(1),
            input: inline(),
            digest: digest(),
            start_key: None,
            session: None,
            parent,
            tags: BTreeMap::new(),
            traceparent: None,
            terms: Default::default(),
            continues,
            listens_from: None,
        })
    };
    let parent = |detached, depth| Parent {
        run: run(),
        step: StepKey::from_path("parcel~2"),
        detached,
        digest: Some(digest()),
        depth,
    };
    let continued = |since| Continued {
        from: run(),
        first: run(),
        number: 7,
        since,
    };
    let child = |detached| {
        Entry::Child(Child {
            workflow: WorkflowName::new("parcel").unwrap(),
            digest: digest(),
            run: run().successor(),
            detached,
        })
    };
    let end = |outcome| Entry::End(Ended { outcome, by: process() });
    let continuation = |input| {
        RunOutcome::Continued(Continuation {
            run: run().successor(),
            input,
            digest: digest(),
            decided: None,
        })
    };
    let decided = RunOutcome::Continued(Continuation {
        run: run().successor(),
        input: inline(),
        digest: digest(),
        decided: Some(time()),
    });
    let terminate = Entry::In(Inbound {
        kind: InboundKind::Terminate,
        by: None,
        reason: Some("a mistake".into()),
    });
    vec![
        entry!("start.child", "start", start(Some(parent(false, 1)), None)),
        entry!("start.child.detached", "start", start(Some(parent(true, 2)), None)),
        entry!("start.continued", "start", start(None, Some(continued(None)))),
        entry!("start.continued_since", "start", start(None, Some(continued(Some(time()))))),
        entry!("child", "child.parcel=7E2", child(false)),
        entry!("child.detached", "child.parcel=7E3", child(true)),
        entry!("in.terminate", "in.terminate-1", terminate),
        entry!(
            "end.terminated",
            "end",
            end(RunOutcome::Terminated(failure(FailureKind::Terminated)))
        ),
        entry!("end.continued", "end", end(continuation(inline()))),
        entry!("end.continued_stored", "end", end(continuation(stored("end")))),
        entry!("end.continued_decided", "end", end(decided)),
        value("summary.terminated", RunStatus::Terminated),
        value("summary.continued", RunStatus::Continued),
    ]
}
