//! Signals and questions in blocks: how they are called there, and what becomes of them when their branch is given up.

use std::pin::pin;

use everstep::prelude::*;
use everstep::{Approval, PayloadHash};
use everstep_common::journal::{EntryKey, RunOutcome};
use everstep_common::key::StepKey;
use everstep_core::Definition;

use super::clients::Said;
use super::outside::no_longer_asked;
use super::scenarios::{expect_completed, usual};
use super::shop::{slow, square};
use super::world::World;

/// Longer than any recovery takes.
const LONG: Duration = Duration::from_secs(3_600);

/// The workflows.
pub(super) fn definitions() -> Vec<Definition> {
    vec![
        everstep::definition(branching, Default::default()),
        everstep::definition(overtaken, Default::default()),
        everstep::definition(distracted, Default::default()),
        everstep::definition(questioning, Default::default()),
    ]
}

async fn ask(ctx: &WorkflowContext, name: &str) -> Result<String, WorkflowError> {
    let question = Question {
        name: Some(name.to_owned()),
        ..Question::default()
    };
    Ok(ctx.wait_for_user::<String>(question).await?.value)
}

/// Asks the same in several branches, waits for a signal in one, and needs an approval in another.
#[workflow]
async fn branching(ctx: WorkflowContext) -> Result<String, WorkflowError> {
    let sides = ctx.gather(["left", "right"].map(|side| (side.to_owned(), ask(&ctx, "which"))));
    let allowed = async {
        let decision = ctx.await_approval(Approval::of("Square 7", &7_u64).named("squaring")).await?;
        ctx.step(square, 7).requires(&decision).await
    };
    let paid = async { ctx.signal::<u64>("paid").deadline(LONG).await };
    let timed = ctx.timeout(LONG, async { ask(&ctx, "which").await });
    let (sides, allowed, paid, timed) = ctx.parallel((sides, allowed, paid, timed)).await?;
    Ok(format!("{sides:?} {allowed} {paid} {timed}"))
}

pub(super) async fn answers_in_branches(world: World) {
    usual(&world);
    let run = world.start(branching, (), "branching").await;
    let hash = PayloadHash::of_canonical(b"7");
    assert!(world.say(&run, "timeout/which", Said::Answer("ada", "late")).await);
    assert!(world.say(&run, "gather/right/which", Said::Answer("ada", "north")).await);
    assert!(
        !world.say(&run, "gather/right/which", Said::Answer("bob", "south")).await,
        "somebody was first"
    );
    assert!(
        world.say(&run, "squaring", Said::Approve("ada", hash)).await,
        "no other is called so"
    );
    assert!(world.signal(&run, "paid", "payment 1", 1).await);
    assert!(world.say(&run, "gather/left/which", Said::Answer("bob", "west")).await);
    expect_completed(&world, &run).await;
}

/// A question that loses a race, and an approval whose time is up.
#[workflow]
async fn overtaken(ctx: WorkflowContext) -> Result<(String, bool), WorkflowError> {
    let asks = async { ask(&ctx, "which").await };
    let works = async { ctx.step(square, 3).await.map(|squared| squared.to_string()) };
    let won = ctx.race((asks, works)).await?;
    ctx.sleep(Duration::from_secs(3)).await?;
    let needs_two = async {
        ctx.await_approval(Approval::of("Nothing", &()).quorum(2).named("twice"))
            .await
    };
    let late = ctx.timeout(Duration::from_secs(3), needs_two).await;
    ctx.sleep(Duration::from_secs(3)).await?;
    Ok((won, late.is_err_and(|error| error.is_timed_out())))
}

pub(super) async fn lost_questions(world: World) {
    usual(&world);
    let run = world.start(overtaken, (), "overtaken").await;
    no_longer_asked(&world, "race/0/which").await;
    assert!(
        !world.say(&run, "race/0/which", Said::Answer("ada", "late")).await,
        "its branch has lost"
    );
    // In time or not: one of two is no yes.
    let hash = PayloadHash::of_canonical(b"null");
    world.say(&run, "timeout/twice", Said::Approve("ada", hash)).await;
    no_longer_asked(&world, "timeout/twice").await;
    assert!(
        !world.say(&run, "timeout/twice", Said::Approve("eve", hash)).await,
        "its time was up"
    );
    expect_completed(&world, &run).await;
}

/// A branch that has asked for a signal, and is given up before it looks whether it came.
#[workflow]
async fn distracted(ctx: WorkflowContext) -> Result<(u64, u64), WorkflowError> {
    let looks_away = async {
        let mut paid = pin!(ctx.signal::<u64>("paid"));
        let _asked = futures::poll!(&mut paid);
        ctx.step(slow, 600).await.ok();
        paid.await
    };
    let goes = async { ctx.signal::<u64>("go").await };
    let won = ctx.race((looks_away, goes)).await?;
    let paid = ctx.signal::<u64>("paid").await?;
    Ok((won, ctx.step(square, paid).await?))
}

pub(super) async fn handed_on(world: World) {
    usual(&world);
    let run = world.start(distracted, (), "distracted").await;
    assert!(world.signal(&run, "paid", "payment 1", 7).await);
    assert!(world.signal(&run, "go", "go 1", 1).await);
    expect_completed(&world, &run).await;
}

/// Asks and listens until it is cancelled, and then asks why.
#[workflow]
async fn questioning(ctx: WorkflowContext) -> Result<(), WorkflowError> {
    let asks = async { ask(&ctx, "which").await };
    let listens = async { ctx.signal::<u64>("never").deadline(LONG).await };
    let both = ctx.parallel((asks, listens)).await;
    let farewell = async {
        let (why, bye) = join!(ask(&ctx, "why"), ctx.signal::<u64>("bye"));
        ctx.step(square, bye? + why?.len() as u64).await
    };
    ctx.shield(farewell).await?;
    both.map(drop)
}

pub(super) async fn cancelled_while_asking(world: World) {
    usual(&world);
    let run = world.start(questioning, (), "questioning").await;
    let shown = EntryKey::Local(StepKey::from_path("parallel/0/which"));
    let is_shown = |world: &World| {
        let mut entries = world.stories().into_iter().flat_map(|story| story.entries);
        entries.any(|entry| entry.key == shown)
    };
    world.until(is_shown).await;
    assert!(world.cancel(&run).await);
    no_longer_asked(&world, "parallel/0/which").await;
    assert!(
        !world.say(&run, "parallel/0/which", Said::Answer("ada", "late")).await,
        "it was cancelled with its run"
    );
    assert!(world.say(&run, "why", Said::Answer("ada", "because")).await);
    assert!(world.signal(&run, "bye", "bye 1", 1).await);
    let outcome = world.ended(&run).await;
    assert!(matches!(outcome, RunOutcome::Cancelled(_)), "{outcome:?}");
}
