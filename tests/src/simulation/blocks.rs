//! Blocks of branches: what they and their clean-up do, whoever dies; and the examples that use them.

use everstep::prelude::*;
use everstep_common::ids::FunctionName;
use everstep_core::Definition;
use everstep_examples::{bulk, dashboard, follow_up, report};
use everstep_worker::Handler;
use futures::FutureExt;

use super::scenarios::{Scenario, expect_cancelled_at_work, expect_completed, scenario, usual};
use super::shop::{begins, refuse, slow, square, takes};
use super::world::World;

/// Scenarios that end the same whoever dies.
pub fn block_scenarios() -> Vec<Scenario> {
    vec![
        scenario!(failing_block),
        scenario!(won_race),
        scenario!(deadline),
        scenario!(batch),
        scenario!(stopped_batch),
        scenario!(nested_blocks),
        scenario!(cancelled_in_blocks),
        scenario!(examples),
    ]
}

#[function]
async fn tidy(ctx: FunctionContext, what: String) -> Result<(), StepError> {
    let ledger = begins(&ctx);
    takes(&ctx, Duration::from_millis(500)).await;
    ledger.effect(&ctx, &format!("tidy {what} of {}", ctx.run_id()));
    Ok(())
}

#[function(retries(max_attempts = 2, initial = "1s", max = "1s"))]
async fn picky(ctx: FunctionContext, item: u64) -> Result<u64, StepError> {
    let ledger = begins(&ctx);
    takes(&ctx, Duration::from_millis(100 + 50 * (item % 3))).await;
    match item % 5 {
        3 => Err(StepError::fatal(format!("no {item}"))),
        4 if ctx.attempt() == 1 => Err(StepError::retryable("once more")),
        _ => {
            ledger.effect(&ctx, &format!("item {item} of {}", ctx.run_id()));
            Ok(item * item)
        }
    }
}

/// Work that takes longer than anybody waits, and what must be done when it is given up.
async fn long_work(ctx: &WorkflowContext, what: &str) -> Result<String, WorkflowError> {
    let worked = ctx.step(slow, 600).await;
    if worked.is_err() {
        let letters = what.len() as u64;
        let clean_up = ctx.parallel((ctx.step(tidy, what.to_owned()), ctx.step(square, letters)));
        let ((), squared) = ctx.shield(clean_up).await?;
        assert_eq!(squared, letters * letters);
    }
    worked
}

/// A branch fails, and its siblings clean up before the block ends.
#[workflow]
async fn failing(ctx: WorkflowContext) -> Result<String, WorkflowError> {
    let all = ctx
        .parallel((long_work(&ctx, "one"), long_work(&ctx, "other"), ctx.step(refuse, ())))
        .await;
    let error = all.expect_err("a branch fails");
    let squared = ctx.step(square, 7).await?;
    Ok(format!("{error}; {squared}"))
}

/// A race that a quick step wins.
#[workflow]
async fn racing(ctx: WorkflowContext) -> Result<String, WorkflowError> {
    let quick = async { ctx.step(slow, 1).await };
    ctx.race((long_work(&ctx, "loser"), quick)).await
}

/// Work that is given three seconds.
#[workflow]
async fn given_time(ctx: WorkflowContext) -> Result<String, WorkflowError> {
    let late = ctx.timeout(Duration::from_secs(3), long_work(&ctx, "late")).await;
    let error = late.expect_err("its time is up");
    let in_time = ctx.timeout(Duration::from_secs(600), ctx.step(slow, 1)).await?;
    Ok(format!("{error}; {in_time}"))
}

/// So many items, so many at a time, of which one in five fails; says how each ended, and in how many attempts.
#[workflow]
async fn picking(ctx: WorkflowContext, items: u64, at_a_time: usize, tolerated: usize) -> Result<String, WorkflowError> {
    let batch = ctx
        .batch(picky, 0..items)
        .max_concurrency(at_a_time)
        .item_timeout(Duration::from_secs(300));
    let result = batch.key_by(|item| format!("item {item}")).tolerate(tolerated).await?;
    let told = result
        .results
        .iter()
        .map(|item| format!("{} {} {:?}", item.id, item.attempts, item.outcome));
    Ok(told.collect::<Vec<_>>().join("; "))
}

/// Blocks in blocks.
#[workflow]
async fn nesting(ctx: WorkflowContext) -> Result<String, WorkflowError> {
    let squares = async {
        let both = ctx
            .gather((2_u64..4).map(|number| (format!("of {number}"), ctx.step(square, number))))
            .await?;
        ctx.sleep(Duration::from_secs(1)).await?;
        ctx.map(square, both.into_values()).await
    };
    let won = async {
        let nap = async {
            ctx.sleep(Duration::from_secs(600)).await?;
            Ok(0)
        };
        ctx.race((nap, ctx.timeout(Duration::from_secs(600), ctx.step(square, 5))))
            .await
    };
    let settled = ctx.parallel_settled((ctx.step(refuse, ()), async { ctx.run("local", || async { Ok(1_u64) }).await }));
    let (squares, won, settled) = ctx.parallel((squares, won, settled)).await?;
    Ok(format!("{squares:?} {won} {} {:?}", settled.0.is_err(), settled.1))
}

/// Works in blocks until it is cancelled, and cleans up.
#[workflow]
async fn busy(ctx: WorkflowContext) -> Result<(), WorkflowError> {
    ctx.step(square, 1).await?;
    let rests = async {
        ctx.sleep(Duration::from_secs(3_600)).await?;
        Ok(String::new())
    };
    let work = ctx.race((long_work(&ctx, "winner"), rests));
    let batch = async { ctx.batch(slow, [700, 800, 900]).max_concurrency(2).await };
    ctx.timeout(Duration::from_secs(7_200), ctx.parallel((work, batch))).await?;
    Ok(())
}

/// The follow-up of the examples, for users who are asked soon.
#[workflow]
async fn soon_followed_up(ctx: WorkflowContext, user_id: String) -> Result<String, WorkflowError> {
    follow_up::follow_up_after(&ctx, user_id, Duration::from_secs(20)).await
}

/// The workflows.
pub(super) fn definitions() -> Vec<Definition> {
    let resources = Default::default;
    vec![
        everstep::definition(failing, resources()),
        everstep::definition(racing, resources()),
        everstep::definition(given_time, resources()),
        everstep::definition(picking, resources()),
        everstep::definition(nesting, resources()),
        everstep::definition(busy, resources()),
        everstep::definition(soon_followed_up, resources()),
        everstep::definition(report::report_workflow, resources()),
        everstep::definition(dashboard::dashboard_workflow, resources()),
        everstep::definition(bulk::bulk_processor, resources()),
        everstep::definition(bulk::word_count, resources()),
    ]
}

/// The functions.
pub(super) fn handlers() -> Vec<(FunctionName, Handler)> {
    vec![
        everstep::handler(tidy),
        everstep::handler(picky),
        everstep::handler(report::fetch_sales),
        everstep::handler(report::fetch_inventory),
        everstep::handler(report::fetch_customers),
        everstep::handler(report::compile_report),
        everstep::handler(dashboard::fetch_revenue),
        everstep::handler(dashboard::fetch_active_users),
        everstep::handler(dashboard::fetch_error_rate),
        everstep::handler(bulk::process_document),
        everstep::handler(follow_up::send_confirmation),
        everstep::handler(follow_up::send_follow_up),
    ]
}

async fn failing_block(world: World) {
    usual(&world);
    let run = world.start(failing, (), "failing").await;
    expect_completed(&world, &run).await;
}

async fn won_race(world: World) {
    usual(&world);
    let run = world.start(racing, (), "racing").await;
    expect_completed(&world, &run).await;
}

async fn deadline(world: World) {
    usual(&world);
    let run = world.start(given_time, (), "given time").await;
    expect_completed(&world, &run).await;
}

async fn batch(world: World) {
    usual(&world);
    let run = world.start(picking, (12, 3, 9), "picking").await;
    expect_completed(&world, &run).await;
}

/// One at a time, so that it is always the same ones that never begin.
async fn stopped_batch(world: World) {
    usual(&world);
    let run = world.start(picking, (12, 1, 1), "picking").await;
    expect_completed(&world, &run).await;
}

async fn nested_blocks(world: World) {
    usual(&world);
    let run = world.start(nesting, (), "nesting").await;
    expect_completed(&world, &run).await;
}

async fn cancelled_in_blocks(world: World) {
    usual(&world);
    let run = world.start(busy, (), "busy").await;
    expect_cancelled_at_work(&world, &run).await;
}

async fn examples(world: World) {
    usual(&world);
    let ids = ["a b c", "", "d"].map(str::to_owned).to_vec();
    let runs = [
        world.start(report::report_workflow, "weekly".to_owned(), "report").await,
        world.start(dashboard::dashboard_workflow, (), "dashboard").await,
        world.start(bulk::bulk_processor, ids, "bulk").await,
        world
            .start(bulk::word_count, vec!["a b".to_owned(), "c".to_owned()], "words")
            .await,
        world.start(soon_followed_up, "ada".to_owned(), "follow-up").await,
    ];
    for run in &runs {
        expect_completed(&world, run).await;
    }
}
