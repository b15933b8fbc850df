//! Runs that wait for signals and for people: the workflows, and what is sent and said to them.

use std::time::Duration;

use everstep::prelude::*;
use everstep::{Approval, PayloadHash, Verdict};
use everstep_common::ids::RunId;
use everstep_common::journal::{EntryKey, RunOutcome};
use everstep_common::key::StepKey;
use everstep_common::payload::Payload;
use everstep_common::question::answer_slot;
use everstep_common::wire;
use everstep_core::Definition;
use futures::FutureExt;
use futures::future::join_all;

use super::clients::Said;
use super::disasters::Dice;
use super::examples::{self, example_approval, example_onboarding, example_steps};
use super::outside_blocks::{self, answers_in_branches, cancelled_while_asking, handed_on, lost_questions};
use super::scenarios::{Scenario, expect_completed, scenario, usual};
use super::shop::square;
use super::story::Story;
use super::world::World;

/// Longer than any recovery takes.
const LONG: Duration = Duration::from_secs(3_600);

/// How many runs are answered when their time is up.
const AT_ONCE: usize = 1_000;

/// How many of them at once.
const BATCH: usize = 50;

/// Scenarios that end the same whoever dies.
pub fn outside_scenarios() -> Vec<Scenario> {
    vec![
        scenario!(signals),
        scenario!(questions),
        scenario!(approvals),
        scenario!(unanswered),
        scenario!(answers_in_branches),
        scenario!(lost_questions),
        scenario!(handed_on),
        scenario!(cancelled_while_asking),
        scenario!(example_steps),
        scenario!(example_approval),
        scenario!(example_onboarding),
    ]
}

/// The workflows.
pub(super) fn definitions() -> Vec<Definition> {
    let own = vec![
        everstep::definition(signalled, Default::default()),
        everstep::definition(asking, Default::default()),
        everstep::definition(approved, Default::default()),
        everstep::definition(ignored, Default::default()),
        everstep::definition(hasty, Default::default()),
    ];
    [own, outside_blocks::definitions(), examples::definitions()].concat()
}

/// Takes signals early, late, two at once, and one that never comes.
#[workflow]
async fn signalled(ctx: WorkflowContext) -> Result<(u64, u64, u64, bool), WorkflowError> {
    let first = ctx.signal::<u64>("paid").await?;
    let squared = ctx.step(square, first).await?;
    let (second, third) = join!(ctx.signal::<u64>("paid").deadline(LONG), ctx.signal::<u64>("paid"));
    let never = ctx.signal::<u64>("never").deadline(Duration::from_secs(2)).await;
    let timed_out = never.is_err_and(|error| error.is_timed_out());
    Ok((squared, second?, third?, timed_out))
}

async fn signals(world: World) {
    usual(&world);
    let run = world.start(signalled, (), "signalled").await;
    for number in 1..=3 {
        assert!(world.signal(&run, "paid", &format!("payment {number}"), number).await);
    }
    expect_completed(&world, &run).await;
    assert!(!world.signal(&run, "paid", "payment 4", 4).await, "the run is over");
}

/// Two questions at once, and a step with what was answered.
#[workflow]
async fn asking(ctx: WorkflowContext) -> Result<(String, u64, String), WorkflowError> {
    let colour = ctx.wait_for_user::<String>(Question {
        question: "Which colour?".to_owned(),
        input_type: InputType::Select,
        options: vec![Choice::new("red", "Red"), Choice::new("blue", "Blue")],
        timeout: Some(LONG),
        name: Some("colour".to_owned()),
        ..Question::default()
    });
    let note = ctx.wait_for_user::<String>(Question {
        question: "Anything else?".to_owned(),
        assignees: vec!["ada".to_owned(), "bob".to_owned()],
        name: Some("note".to_owned()),
        ..Question::default()
    });
    let (colour, note) = join!(colour, note);
    let (colour, note) = (colour?, note?);
    let squared = ctx.step(square, note.value.len() as u64).await?;
    Ok((colour.value, squared, note.by.unwrap_or_default()))
}

async fn questions(world: World) {
    usual(&world);
    let run = world.start(asking, (), "asking").await;
    assert!(
        !world.say(&run, "note", Said::Answer("eve", "mine")).await,
        "she was not asked"
    );
    assert!(world.say(&run, "note", Said::Answer("ada", "no")).await);
    assert!(
        world.say(&run, "note", Said::Answer("ada", "no")).await,
        "the same again is fine"
    );
    assert!(
        !world.say(&run, "note", Said::Answer("bob", "yes")).await,
        "somebody was first"
    );
    assert!(world.say(&run, "colour", Said::Answer("bob", "blue")).await);
    expect_completed(&world, &run).await;
}

/// A step that two people have to allow.
#[workflow]
async fn approved(ctx: WorkflowContext, number: u64) -> Result<(bool, u64), WorkflowError> {
    let approval = Approval::of(format!("Square {number}"), &number)
        .quorum(2)
        .requested_by("bob")
        .expires(LONG)
        .named("squaring");
    let decision = ctx.await_approval(approval).await?;
    let squared = match decision.is_approved() {
        true => ctx.step(square, number).requires(&decision).await?,
        false => 0,
    };
    // It is used up, and it is of something else anyway.
    let again = ctx.step(square, number + 1).requires(&decision).await;
    Ok((again.is_err(), squared))
}

async fn approvals(world: World) {
    usual(&world);
    let hash = PayloadHash::of_canonical(b"7");
    let run = world.start(approved, 7, "approved").await;
    assert!(
        !world.say(&run, "squaring", Said::Approve("bob", hash)).await,
        "it is his own request"
    );
    let other = PayloadHash::of_canonical(b"8");
    assert!(
        !world.say(&run, "squaring", Said::Approve("ada", other)).await,
        "that is not what is asked about"
    );
    assert!(world.say(&run, "squaring", Said::Approve("ada", hash)).await);
    assert!(
        !world.say(&run, "squaring", Said::Reject("ada", hash)).await,
        "she has said yes"
    );
    assert!(world.say(&run, "squaring", Said::Approve("eve", hash)).await);
    expect_completed(&world, &run).await;
    let run = world.start(approved, 7, "rejected").await;
    assert!(world.say(&run, "squaring", Said::Approve("ada", hash)).await);
    assert!(world.say(&run, "squaring", Said::Reject("eve", hash)).await);
    expect_completed(&world, &run).await;
}

/// Nobody answers: what is asked for three seconds, what expires, and what is given up for something else.
#[workflow]
async fn ignored(ctx: WorkflowContext) -> Result<(String, bool, bool), WorkflowError> {
    let short = Duration::from_secs(3);
    let answer = ctx.wait_for_user::<String>(Question {
        input_type: InputType::Approval,
        timeout: Some(short),
        on_timeout: OnTimeout::Answer("reject".into()),
        ..Question::default()
    });
    let value = answer.await?.value;
    let expired = ctx
        .await_approval(Approval::of("nothing", &()).expires(short).named("expires"))
        .await?;
    let given_up = everstep::select! {
        _answer = ctx.wait_for_user::<String>(Question { name: Some("dropped".to_owned()), ..Question::default() }) => false,
        slept = ctx.sleep(short) => slept.is_ok(),
    };
    ctx.sleep(short).await?;
    Ok((value, expired.verdict() == Verdict::Expired, given_up))
}

async fn unanswered(world: World) {
    usual(&world);
    let run = world.start(ignored, (), "ignored").await;
    no_longer_asked(&world, "dropped").await;
    assert!(
        !world.say(&run, "dropped", Said::Answer("ada", "late")).await,
        "nobody asks it any more"
    );
    expect_completed(&world, &run).await;
}

/// Waits until what is recorded says that the question has an answer or needs none.
pub(super) async fn no_longer_asked(world: &World, wait: &str) {
    let slot = EntryKey::In(answer_slot(&StepKey::from_path(wait)));
    let recorded = |world: &World| {
        let mut entries = world.stories().into_iter().flat_map(|story| story.entries);
        entries.any(|entry| entry.key == slot || entry.key == EntryKey::End)
    };
    world.until(recorded).await;
}

/// Asks for a minute; says whether it was answered.
#[workflow]
async fn hasty(ctx: WorkflowContext) -> Result<bool, WorkflowError> {
    let answer = ctx.wait_for_user::<String>(Question {
        timeout: Some(Duration::from_secs(60)),
        name: Some("now".to_owned()),
        ..Question::default()
    });
    Ok(!answer.await.is_err_and(|error| error.is_timed_out()))
}

impl Scenario {
    /// A thousand questions, each answered at the instant at which its time is up.
    pub const SAME_INSTANT: Self = scenario!(same_instant);
}

async fn same_instant(world: World) {
    world.orchestrator("orchestrator-1", super::shop::code);
    let mut dice = Dice::new(world.settings().seed);
    let mut answered = 0;
    for batch in 0..AT_ONCE / BATCH {
        let mut runs = Vec::new();
        for number in 0..BATCH {
            runs.push(world.start(hasty, (), &format!("hasty {batch}-{number}")).await);
        }
        let stories = world.stories();
        // From three milliseconds before its time is up to two after.
        let said = runs.iter().map(|run| {
            let due = story_of(&stories, run).entries[0].time + Duration::from_secs(60);
            answer_at(
                &world,
                run,
                due + Duration::from_millis(dice.below(6)) - Duration::from_millis(3),
            )
        });
        let said = join_all(said).await;
        for run in &runs {
            expect_completed(&world, run).await;
        }
        let stories = world.stories();
        for (run, said) in runs.iter().zip(said) {
            let counts = was_answered(story_of(&stories, run));
            assert_eq!(counts, said, "P6: run {run}, and what was told to whoever answered it");
            answered += usize::from(said);
        }
    }
    println!("{answered} of {AT_ONCE} were answered in time");
    let both = AT_ONCE / 20..AT_ONCE * 19 / 20;
    assert!(both.contains(&answered), "{answered} of {AT_ONCE} were answered in time");
}

async fn answer_at(world: &World, run: &RunId, time: Timestamp) -> bool {
    let wait = time.duration_since(world.server().time());
    world.pass(wait.try_into().unwrap_or_default()).await;
    world.say(run, "now", Said::Answer("ada", "now")).await
}

fn story_of<'a>(stories: &'a [Story], run: &RunId) -> &'a Story {
    let story = stories.iter().find(|story| story.run == *run);
    story.expect("its start was acknowledged")
}

fn was_answered(story: &Story) -> bool {
    match story.end() {
        Some(RunOutcome::Completed(Payload::Inline(value))) => wire::decode_value(value).expect("a bool"),
        other => panic!("run {}: {other:?}", story.run),
    }
}
