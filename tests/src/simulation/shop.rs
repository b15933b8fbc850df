//! The workflows and functions that the scenarios run.

use std::cell::RefCell;
use std::sync::Arc;

use everstep::App;
use everstep::prelude::*;
use everstep_common::ports::Clock;
use everstep_orchestrator::Workflows;
use everstep_worker::Functions;
use futures::future::join_all;

use super::ledger::Ledger;
use super::{blocks, rollback, steps, versions};

/// The simulation's clock, as functions get it.
#[derive(Clone)]
pub struct FunctionClock(pub Arc<dyn Clock>);

/// A value over the 256 KiB that stand in an entry.
const LARGE_BYTES: usize = 300 * 1024;

pub(super) async fn takes(ctx: &FunctionContext, duration: Duration) {
    ctx.resource::<FunctionClock>().0.sleep(duration).await;
}

pub(super) fn begins(ctx: &FunctionContext) -> Arc<Ledger> {
    let ledger = ctx.resource::<Ledger>();
    ledger.execution(ctx);
    ledger
}

#[function]
async fn validate(ctx: FunctionContext, order: String) -> Result<u64, StepError> {
    begins(&ctx);
    Ok(order.len() as u64 * 100)
}

#[function(retries(max_attempts = 3, initial = "1s"), timeout = "10s")]
async fn charge(ctx: FunctionContext, order: String, cents: u64) -> Result<String, StepError> {
    begins(&ctx).effect(&ctx, &format!("charge {order}"));
    Ok(format!("charge of {cents} for {order}"))
}

#[function]
async fn confirm(ctx: FunctionContext, order: String, charge: String) -> Result<String, StepError> {
    begins(&ctx).effect(&ctx, &format!("confirm {order}"));
    Ok(format!("{order}: {charge}"))
}

/// Validate, charge, settle, confirm.
#[workflow]
pub async fn order(ctx: WorkflowContext, order: String) -> Result<String, WorkflowError> {
    let cents = ctx.step(validate, order.clone()).await?;
    let charged = ctx.step(charge, (order.clone(), cents)).await?;
    ctx.sleep(Duration::from_secs(2)).named("settle").await?;
    ctx.step(confirm, (order, charged)).await
}

#[function]
pub(super) async fn square(ctx: FunctionContext, number: u64) -> Result<u64, StepError> {
    begins(&ctx).effect(&ctx, &format!("square {number} of {}", ctx.run_id()));
    Ok(number * number)
}

/// Twenty steps at once.
#[workflow]
pub async fn fan_out(ctx: WorkflowContext, width: u64) -> Result<u64, WorkflowError> {
    let squares = join_all((0..width).map(|number| ctx.step(square, number))).await;
    squares.into_iter().sum()
}

#[function(retries(max_attempts = 4, initial = "1s", max = "5s"))]
async fn flaky(ctx: FunctionContext, failures: u32, panics: bool) -> Result<u32, StepError> {
    let ledger = begins(&ctx);
    if ctx.attempt() > failures {
        ledger.effect(&ctx, &format!("flaky {failures} of {}", ctx.run_id()));
        return Ok(ctx.attempt());
    }
    assert!(!panics, "attempt {} panics", ctx.attempt());
    Err(StepError::retryable(format!("attempt {} fails", ctx.attempt())))
}

/// A step that fails so often before it works; says how it ended.
#[workflow]
pub async fn retried(ctx: WorkflowContext, failures: u32, panics: bool) -> Result<String, WorkflowError> {
    Ok(match ctx.step(flaky, (failures, panics)).await {
        Ok(attempt) => format!("done in attempt {attempt}"),
        Err(error) => error.to_string(),
    })
}

#[function]
pub(super) async fn refuse(ctx: FunctionContext) -> Result<(), StepError> {
    begins(&ctx);
    Err(StepError::fatal("the card is stolen"))
}

#[function]
async fn undo(ctx: FunctionContext) -> Result<(), StepError> {
    begins(&ctx).effect(&ctx, &format!("undo {}", ctx.run_id()));
    Ok(())
}

/// A step fails for good and another one makes up for it; then the run fails.
#[workflow]
pub async fn compensated(ctx: WorkflowContext) -> Result<(), WorkflowError> {
    if let Err(error) = ctx.step(refuse, ()).await {
        ctx.step(undo, ()).await?;
        return Err(error.context("buying"));
    }
    Ok(())
}

/// Closures one after the other and at once, with a step between them.
#[workflow]
pub async fn local(ctx: WorkflowContext) -> Result<u64, WorkflowError> {
    let first = ctx.run("first", || async { Ok(3_u64) }).await?;
    let squared = ctx.step(square, first).await?;
    let more = join_all((0..5_u64).map(|number| ctx.run("more", move || async move { Ok(number) }))).await;
    let failed = ctx.run("failing", || async { Err::<u64, _>(WorkflowError::new("no")) }).await;
    let more: u64 = more.into_iter().sum::<Result<u64, _>>()?;
    Ok(squared + more + failed.unwrap_or(1_000))
}

/// A closure that never ends; says what becomes of it.
#[workflow]
pub async fn overtime(ctx: WorkflowContext) -> Result<String, WorkflowError> {
    let endless = ctx.run("endless", std::future::pending::<Result<u64, WorkflowError>>);
    Ok(match endless.timeout(Duration::from_secs(2)).await {
        Ok(number) => number.to_string(),
        Err(error) => error.to_string(),
    })
}

/// Sleeps one after the other and at once; whether it all took as long as it should by the workflow's own clock.
#[workflow]
pub async fn sleeper(ctx: WorkflowContext) -> Result<bool, WorkflowError> {
    let began = ctx.now();
    ctx.sleep(Duration::from_secs(1)).await?;
    let naps = [3, 2, 5].map(|seconds| ctx.sleep(Duration::from_secs(seconds)));
    for nap in join_all(naps).await {
        nap?;
    }
    Ok(ctx.now().duration_since(began).as_secs() >= 6)
}

#[function]
pub(super) async fn slow(ctx: FunctionContext, seconds: u64) -> Result<String, StepError> {
    let ledger = begins(&ctx);
    takes(&ctx, Duration::from_secs(seconds)).await;
    ledger.effect(&ctx, &format!("slow {seconds} of {}", ctx.run_id()));
    Ok(format!("slept {seconds} s"))
}

/// A long sleep.
#[workflow]
pub async fn night(ctx: WorkflowContext) -> Result<(), WorkflowError> {
    ctx.sleep(Duration::from_secs(300)).await?;
    Ok(())
}

/// A slow step against a sleep: the loser is dropped, and so cancelled.
#[workflow]
pub async fn race(ctx: WorkflowContext) -> Result<String, WorkflowError> {
    let step = ctx.step(slow, 600);
    let sleep = ctx.sleep(Duration::from_secs(3));
    let winner = select! {
        result = step => result?,
        rest = sleep => { rest?; "the sleep won".to_owned() }
    };
    let other = ctx.step(slow, 1).key("quick");
    let late = ctx.sleep(Duration::from_secs(600)).named("late");
    let second = select! {
        result = other => result?,
        rest = late => { rest?; "too late".to_owned() }
    };
    Ok(format!("{winner}; {second}"))
}

/// Works and sleeps until it is cancelled.
#[workflow]
pub async fn endless(ctx: WorkflowContext) -> Result<(), WorkflowError> {
    ctx.step(square, 1).await?;
    let nap = ctx.sleep(Duration::from_secs(3_600));
    let step = ctx.step(slow, 1_800);
    let (nap, step) = join!(nap, step);
    nap?;
    step?;
    Ok(())
}

#[function]
async fn enlarge(ctx: FunctionContext, text: String) -> Result<String, StepError> {
    begins(&ctx).effect(&ctx, &format!("enlarge {}", ctx.run_id()));
    Ok(text + &"y".repeat(LARGE_BYTES))
}

/// Large values on every path: start, task, outcome, closure, end.
#[workflow]
pub async fn large(ctx: WorkflowContext, text: String) -> Result<String, WorkflowError> {
    let larger = ctx.step(enlarge, text).await?;
    let local = ctx.run("local", || async { Ok("z".repeat(LARGE_BYTES)) }).await?;
    ctx.step(square, larger.len() as u64).await?;
    Ok(larger + &local)
}

/// The input of `large`.
pub fn large_input() -> String {
    "x".repeat(LARGE_BYTES)
}

/// The code that a run of `changing` begins with.
pub mod before {
    use super::*;

    /// A step, a sleep, a step.
    #[workflow]
    pub async fn changing(ctx: WorkflowContext) -> Result<u64, WorkflowError> {
        let squared = ctx.step(square, 2).await?;
        ctx.sleep(Duration::from_secs(20)).await?;
        ctx.step(square, squared).key("last").await
    }
}

/// The code that forgets what the run began with.
pub mod changed {
    use super::*;

    /// Asks for another step first.
    #[workflow]
    pub async fn changing(ctx: WorkflowContext) -> Result<u64, WorkflowError> {
        let squared = ctx.step(square, 3).key("other").await?;
        ctx.sleep(Duration::from_secs(20)).await?;
        ctx.step(square, squared).key("last").await
    }
}

/// Awaits something that no entry can bring.
#[workflow]
pub async fn stuck(ctx: WorkflowContext) -> Result<u64, WorkflowError> {
    let squared = ctx.step(square, 2).await?;
    std::future::pending::<()>().await;
    Ok(squared)
}

#[function(queue = "gpu")]
async fn render(ctx: FunctionContext, frame: u64) -> Result<u64, StepError> {
    begins(&ctx).effect(&ctx, &format!("render {frame} of {}", ctx.run_id()));
    takes(&ctx, Duration::from_millis(200)).await;
    Ok(frame + 1)
}

/// Steps in two queues, in turn and at once.
#[workflow]
pub async fn two_queues(ctx: WorkflowContext) -> Result<u64, WorkflowError> {
    let first = ctx.step(render, 1).await?;
    let second = ctx.step(square, first).await?;
    let (rendered, squared) = join!(ctx.step(render, second), ctx.step(square, second));
    Ok(rendered? + squared?)
}

#[function]
async fn works(ctx: FunctionContext, number: u64) -> Result<u64, StepError> {
    let ledger = begins(&ctx);
    takes(&ctx, Duration::from_secs(8)).await;
    ledger.effect(&ctx, &format!("work {number} of {}", ctx.run_id()));
    Ok(number)
}

/// Steps that take some time, at once.
#[workflow]
pub async fn long_steps(ctx: WorkflowContext, width: u64) -> Result<u64, WorkflowError> {
    let done = join_all((0..width).map(|number| ctx.step(works, number))).await;
    done.into_iter().sum()
}

#[function(at_most_once)]
async fn launch(ctx: FunctionContext) -> Result<String, StepError> {
    let ledger = begins(&ctx);
    ledger.effect(&ctx, &format!("launch of {}", ctx.run_id()));
    takes(&ctx, Duration::from_secs(5)).await;
    Ok("launched".to_owned())
}

/// A step that may begin once only; says how it ended.
#[workflow]
pub async fn once(ctx: WorkflowContext) -> Result<String, WorkflowError> {
    Ok(match ctx.step(launch, ()).await {
        Ok(launched) => launched,
        Err(error) => format!("{:?}", error.failure().map(|failure| failure.kind)),
    })
}

/// A step that is given half a minute.
#[workflow]
pub async fn hurried(ctx: WorkflowContext) -> Result<String, WorkflowError> {
    ctx.step(slow, 1_800).total_timeout(Duration::from_secs(30)).await
}

thread_local! {
    static DEADLY: RefCell<Option<Box<dyn Fn()>>> = const { RefCell::new(None) };
}

/// What becomes of a process that does what is deadly; nothing if the code is mended.
pub fn set_deadly(end: Option<Box<dyn Fn()>>) {
    DEADLY.set(end);
}

/// A step, then something that no process outlives, then a sleep.
#[workflow]
pub async fn deadly(ctx: WorkflowContext) -> Result<u64, WorkflowError> {
    let squared = ctx.step(square, 2).await?;
    end_process();
    ctx.sleep(Duration::from_secs(20)).await?;
    Ok(squared)
}

/// A step, then a closure that no process outlives for long, then a sleep.
#[workflow]
pub async fn deadly_closure(ctx: WorkflowContext) -> Result<u64, WorkflowError> {
    let squared = ctx.step(square, 2).await?;
    let closure = || async {
        end_process_soon().await;
        Ok(1_u64)
    };
    let one = ctx.run("closure", closure).await?;
    ctx.sleep(Duration::from_secs(20)).await?;
    Ok(squared + one)
}

#[expect(
    clippy::disallowed_methods,
    reason = "closures have no clock of their own, and this time is the simulation's"
)]
async fn end_process_soon() {
    tokio::time::sleep(Duration::from_secs(2)).await;
    end_process();
}

fn end_process() {
    DEADLY.with_borrow(|end| end.iter().for_each(|end| end()));
}

/// Only `sleeper`.
pub fn sleeper_only() -> Workflows {
    let mut workflows = Workflows::new();
    let registered = workflows.register(everstep::definition(sleeper, Default::default()));
    registered.expect("nothing else is registered");
    workflows
}

/// All workflows, `changing` as it began.
pub fn code() -> Workflows {
    with_changing(everstep::definition(before::changing, Default::default()))
}

/// All workflows, `changing` as it was changed.
pub fn changed_code() -> Workflows {
    with_changing(everstep::definition(changed::changing, Default::default()))
}

/// Only `order`.
pub fn order_only() -> Workflows {
    let mut workflows = Workflows::new();
    let registered = workflows.register(everstep::definition(order, Default::default()));
    registered.expect("nothing else is registered");
    workflows
}

fn with_changing(changing: everstep_core::Definition) -> Workflows {
    let mut workflows = order_only();
    let resources = Default::default;
    let others = [
        changing,
        everstep::definition(fan_out, resources()),
        everstep::definition(retried, resources()),
        everstep::definition(compensated, resources()),
        everstep::definition(local, resources()),
        everstep::definition(overtime, resources()),
        everstep::definition(sleeper, resources()),
        everstep::definition(night, resources()),
        everstep::definition(race, resources()),
        everstep::definition(endless, resources()),
        everstep::definition(deadly, resources()),
        everstep::definition(deadly_closure, resources()),
        everstep::definition(large, resources()),
        everstep::definition(stuck, resources()),
        everstep::definition(two_queues, resources()),
        everstep::definition(long_steps, resources()),
        everstep::definition(once, resources()),
        everstep::definition(hurried, resources()),
    ];
    let more = super::sessions::definitions()
        .into_iter()
        .chain(blocks::definitions())
        .chain(super::outside::definitions())
        .chain(super::updates::definitions())
        .chain(super::children::definitions())
        .chain(steps::definitions())
        .chain(rollback::definitions())
        .chain(versions::definitions())
        .chain(super::starting::definitions())
        .chain(super::flow::definitions())
        .chain(super::key_rates::definitions())
        .chain(super::runs_flow::definitions());
    for definition in others.into_iter().chain(more) {
        workflows.register(definition).expect("each is registered once");
    }
    workflows
}

/// All functions.
pub fn functions() -> Functions {
    let mut functions = Functions::new();
    let all = [
        everstep::handler(validate),
        everstep::handler(charge),
        everstep::handler(confirm),
        everstep::handler(square),
        everstep::handler(flaky),
        everstep::handler(refuse),
        everstep::handler(undo),
        everstep::handler(slow),
        everstep::handler(enlarge),
        everstep::handler(render),
        everstep::handler(works),
        everstep::handler(launch),
    ];
    let more = blocks::handlers()
        .into_iter()
        .chain(super::examples::handlers())
        .chain(super::updates::handlers())
        .chain(super::children::handlers())
        .chain(steps::handlers())
        .chain(rollback::handlers())
        .chain(super::flow::handlers())
        .chain(super::key_rates::handlers());
    for (name, handler) in all.into_iter().chain(more) {
        functions.register(name, handler).expect("each is registered once");
    }
    functions
}

/// The application of the usual workflows and functions, for a real server.
pub fn application(app: App) -> App {
    app.workflow(order)
        .workflow(fan_out)
        .workflow(retried)
        .workflow(compensated)
        .workflow(local)
        .workflow(overtime)
        .workflow(sleeper)
        .workflow(race)
        .workflow(large)
        .workflow(two_queues)
        .workflow(endless)
        .workflow(stuck)
        .function(validate)
        .function(charge)
        .function(confirm)
        .function(square)
        .function(flaky)
        .function(refuse)
        .function(undo)
        .function(slow)
        .function(enlarge)
        .function(render)
}
