//! Signals, questions and approvals as authors see them.

use everstep::Verdict;
use everstep::prelude::*;
use everstep_common::question::{self, PayloadHash, Reply};
use everstep_common::wire::encode_value;
use serde_json::json;

use super::kit::{BEGINNING, Driven};

#[function]
async fn transfer(ctx: FunctionContext, to: String, cents: u64) -> Result<String, StepError>;

#[workflow]
async fn patient(ctx: WorkflowContext) -> Result<Option<u64>, WorkflowError> {
    match ctx.signal::<u64>("paid").deadline(Duration::from_secs(60)).await {
        Ok(cents) => Ok(Some(cents)),
        Err(error) if error.is_timed_out() => Ok(None),
        Err(error) => Err(error),
    }
}

#[test]
fn a_signal_comes_typed_or_not_in_time() {
    let mut run = Driven::start(patient, ());
    assert_eq!(run.due("signal:paid"), BEGINNING + Duration::from_secs(60));
    run.signal("paid", 100);
    assert_eq!(run.completed::<Option<u64>>(), Some(100));
    let mut run = Driven::start(patient, ());
    run.timer("signal:paid");
    assert_eq!(run.completed::<Option<u64>>(), None);
    let mut run = Driven::start(patient, ());
    run.signal("paid", "a text");
    assert_eq!(run.failed().kind, FailureKind::Invalid);
    assert!(run.failed().message.contains("signal `paid`"), "{}", run.failed());
}

#[workflow]
async fn ask(ctx: WorkflowContext, skippable: bool) -> Result<String, WorkflowError> {
    let answer = ctx.wait_for_user::<Option<String>>(Question {
        question: "Which?".to_owned(),
        input_type: InputType::Select,
        options: vec![Choice::new("a", "A"), Choice::new("b", "B")],
        skippable,
        timeout: Some(Duration::from_secs(60)),
        on_timeout: OnTimeout::Answer("b".into()),
        name: Some("which".to_owned()),
        ..Question::default()
    });
    let answer = answer.await?;
    Ok(format!(
        "{:?} by {:?} at {}",
        answer.value,
        answer.by,
        answer.at.duration_since(BEGINNING).as_secs()
    ))
}

#[test]
fn an_answer_says_what_who_and_when() {
    let value = || Reply::Value(everstep_common::payload::Payload::Inline(encode_value(&json!("a")).unwrap()));
    let mut run = Driven::start(ask, false);
    run.shown("which");
    run.reply("which", "ada", value());
    assert_eq!(run.completed::<String>(), "Some(\"a\") by Some(\"ada\") at 2");
    let mut run = Driven::start(ask, true);
    run.shown("which");
    run.reply("which", "ada", Reply::Skip);
    assert_eq!(run.completed::<String>(), "None by Some(\"ada\") at 2");
    let mut run = Driven::start(ask, true);
    run.shown("which");
    run.timer("which");
    assert_eq!(run.completed::<String>(), "Some(\"b\") by None at 2");
}

#[workflow]
async fn ask_badly(ctx: WorkflowContext, how: String) -> Result<String, WorkflowError> {
    let question = match how.as_str() {
        "no options" => Question {
            input_type: InputType::Select,
            ..Question::default()
        },
        "bad schema" => Question {
            input_type: InputType::Form(json!({ "type": 7 })),
            ..Question::default()
        },
        "bad default" => Question {
            input_type: InputType::Approval,
            on_timeout: OnTimeout::Answer("maybe".into()),
            ..Question::default()
        },
        _ => Question {
            question: "x".repeat(300_000),
            ..Question::default()
        },
    };
    Ok(ctx.wait_for_user::<String>(question).await?.value)
}

#[test]
fn a_question_that_cannot_be_asked_fails_before_anybody_sees_it() {
    for how in ["no options", "bad schema", "bad default", "too long"] {
        let run = Driven::start(ask_badly, how);
        assert_eq!(run.failed().kind, FailureKind::Invalid, "{how}");
        assert!(
            !run.lines().iter().any(|line| line.starts_with("ask")),
            "{how}: {:?}",
            run.lines()
        );
    }
}

/// Pays what was approved, something else, or twice.
#[workflow]
async fn payout(ctx: WorkflowContext, how: String) -> Result<String, WorkflowError> {
    let payment = ("ada".to_owned(), 100_u64);
    let approval = Approval::of("Pay", &payment).expires(Duration::from_secs(60)).named("pay");
    let decision = ctx.await_approval(approval).await?;
    let paid = match how.as_str() {
        "other" => ctx.step(transfer, ("ada".to_owned(), 101)).requires(&decision).await?,
        _ => ctx.step(transfer, payment.clone()).requires(&decision).await?,
    };
    if how == "twice" {
        return ctx.step(transfer, payment).requires(&decision).await;
    }
    Ok(paid)
}

fn hash() -> PayloadHash {
    PayloadHash::of_canonical(br#"["ada",100]"#)
}

fn decided(how: &str, reply: Reply) -> Driven {
    let mut run = Driven::start(payout, how);
    let question: question::Question = run.shown("pay");
    let terms = question.approval.unwrap();
    assert_eq!((terms.hash, terms.payload.as_deref()), (hash(), Some(r#"["ada",100]"#)));
    run.reply("pay", "eve", reply);
    run
}

#[test]
fn what_was_approved_is_done_once_and_nothing_else_is() {
    let mut run = decided("as approved", Reply::Approve(hash()));
    run.value("transfer", "paid");
    assert_eq!(run.completed::<String>(), "paid");

    let run = decided("other", Reply::Approve(hash()));
    assert!(
        run.failed().message.contains("the step's input has the hash"),
        "{}",
        run.failed()
    );
    assert!(!run.lines().contains(&"step transfer".to_owned()));

    let mut run = decided("twice", Reply::Approve(hash()));
    run.value("transfer", "paid");
    assert!(
        run.failed().message.contains("was used for step `transfer`"),
        "{}",
        run.failed()
    );
    assert_eq!(run.lines().iter().filter(|line| line.starts_with("step")).count(), 1);
}

#[test]
fn without_a_yes_to_exactly_that_nothing_is_done() {
    let refused = |run: &Driven| {
        assert!(!run.lines().contains(&"step transfer".to_owned()), "{:?}", run.lines());
    };
    let run = decided("as approved", Reply::Reject(hash()));
    refused(&run);
    assert!(run.failed().message.contains("was rejected"), "{}", run.failed());
    // Bound to something else, it is not even a reply.
    let mut run = decided("as approved", Reply::Approve(PayloadHash::of_canonical(b"7")));
    refused(&run);
    run.timer("pay");
    refused(&run);
    assert!(run.failed().message.contains("expired"), "{}", run.failed());
}

#[workflow]
async fn inexact(ctx: WorkflowContext) -> Result<bool, WorkflowError> {
    let decision = ctx
        .await_approval(Approval::of("A number that is not exact in JSON", &u64::MAX))
        .await?;
    Ok(decision.verdict() == Verdict::Approved)
}

#[test]
fn what_has_no_exact_json_cannot_be_approved() {
    let run = Driven::start(inexact, ());
    assert!(run.failed().message.contains("beyond 2^53"), "{}", run.failed());
}

/// Of a wait's own deadline and the time that a block is given: which was up.
#[workflow]
async fn hurried(ctx: WorkflowContext, own: u64, given: u64) -> Result<String, WorkflowError> {
    let paid = async { ctx.signal::<u64>("paid").deadline(Duration::from_secs(own)).await };
    let error = match ctx.timeout(Duration::from_secs(given), paid).await {
        Ok(cents) => return Ok(cents.to_string()),
        Err(error) => error,
    };
    assert!(error.is_timed_out() && !error.is_cancelled());
    Ok(match error.kind() {
        WorkflowErrorKind::Unanswered { wait } => wait.clone(),
        WorkflowErrorKind::TimedOut { after } => format!("{after:?}"),
        other => format!("{other:?}"),
    })
}

#[test]
fn a_wait_that_nobody_answers_and_a_block_whose_time_is_up_are_told_apart() {
    let mut run = Driven::start(hurried, (5, 60));
    run.timer("timeout/signal:paid");
    assert_eq!(run.completed::<String>(), "signal `paid`");
    let mut run = Driven::start(hurried, (60, 5));
    run.timer("timeout");
    assert_eq!(run.completed::<String>(), "5s");
    let mut run = Driven::start(hurried, (60, 5));
    run.signal("paid", 100);
    assert_eq!(run.completed::<String>(), "100");
}

/// Asks for a decision in one branch; whatever becomes of it, the other branch says when it is over.
#[workflow]
async fn contested(ctx: WorkflowContext) -> Result<String, WorkflowError> {
    let payment = ("ada".to_owned(), 100_u64);
    let pays = async {
        let decision = ctx.await_approval(Approval::of("Pay", &payment).named("pay")).await?;
        ctx.step(transfer, payment.clone()).requires(&decision).await
    };
    let called_off = async { ctx.signal::<String>("called off").await };
    ctx.race((pays, called_off)).await
}

#[test]
fn an_approval_whose_branch_is_cancelled_is_withdrawn_and_pays_nothing() {
    let mut run = Driven::start(contested, ());
    run.shown("race/0/pay");
    run.signal("called off", "by eve");
    // In the moment before it is withdrawn.
    run.reply("race/0/pay", "ada", Reply::Approve(hash()));
    assert_eq!(run.completed::<String>(), "by eve");
    assert!(run.lines().contains(&"withdraw race/0/pay".to_owned()), "{:?}", run.lines());
    assert!(!run.lines().iter().any(|line| line.starts_with("step")), "{:?}", run.lines());

    let mut run = Driven::start(contested, ());
    run.shown("race/0/pay");
    run.reply("race/0/pay", "ada", Reply::Approve(hash()));
    run.value("race/0/transfer", "paid");
    assert_eq!(run.completed::<String>(), "paid");
}
