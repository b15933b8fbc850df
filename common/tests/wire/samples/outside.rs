//! Words from outside a run: signals, updates, answers, and the questions that ask for them.

use everstep_common::failure::{Failure, FailureKind};
use everstep_common::journal::{Entry, Inbound, InboundKind, Local, LocalKind, StepResult};
use everstep_common::key::StepKey;
use everstep_common::question::{Choice, InputType, PayloadHash, Question, Reply, Terms};

use super::{Sample, entry, inline, stored, time, value};

/// What reaches a run for its waits.
pub(super) fn outside() -> Vec<Sample> {
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
    let update = |input| InboundKind::Update {
        name: "set_address".into(),
        input,
    };
    let answered = |result| {
        Entry::Local(Local {
            kind: LocalKind::Update,
            result,
        })
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
        entry!("in.update", "in.update.form-1", inbound(update(inline()), None)),
        entry!("in.update_stored", "in.update.form-1", inbound(update(stored("in")), None)),
        entry!("local.update", "local.answer=3Aform-1", answered(StepResult::Value(inline()))),
        entry!(
            "local.update_rejected",
            "local.answer=3Aform-1",
            answered(StepResult::Failure(Failure::new(
                FailureKind::Rejected,
                "an address has a street"
            )))
        ),
        entry!("in.withdrawn", "in.answer.left=2Fapprove", inbound(withdrawn, None)),
        entry!("local.question", "local.approve", local),
    ]
}

/// Questions as they stand in their `local` entries.
pub(super) fn questions() -> Vec<Sample> {
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
