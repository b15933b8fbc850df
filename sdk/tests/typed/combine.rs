//! Several futures as one, typed: what they bring, under which keys, and how their failures read.

use everstep::prelude::*;
use everstep::{BatchItem, BatchResult, ItemOutcome};
use everstep_core::RunEnd;
use serde::{Deserialize, Serialize};

use super::kit::Driven;

#[function]
async fn sales(ctx: FunctionContext, report: String) -> Result<u64, StepError>;

#[function]
async fn owners(ctx: FunctionContext, report: String) -> Result<Vec<String>, StepError>;

fn no() -> Failure {
    Failure::new(FailureKind::Exhausted, "no")
}

#[workflow]
async fn report(ctx: WorkflowContext, report: String) -> Result<String, WorkflowError> {
    let helper = async |report: &str| ctx.step(sales, report.to_owned()).await;
    let (outside, inside, owners) = ctx
        .parallel((
            ctx.step(sales, report.clone()),
            helper(&report),
            ctx.step(owners, report.clone()),
        ))
        .await?;
    let more = ctx
        .parallel(
            (1..3)
                .map(|year| ctx.step(sales, format!("{report} of {year}")))
                .collect::<Vec<_>>(),
        )
        .await?;
    Ok(format!("{outside} {inside} {owners:?} {more:?}"))
}

#[test]
fn branches_of_different_types_bring_their_values_in_order() {
    let mut run = Driven::start(report, "r");
    assert_eq!(run.lines(), ["step sales", "step parallel/1/sales", "step owners"]);
    run.value("owners", ["ada"]);
    run.value("parallel/1/sales", 2);
    run.value("sales", 1);
    run.value("sales~3", 4);
    run.value("sales~2", 3);
    assert_eq!(run.completed::<String>(), "1 2 [\"ada\"] [3, 4]");
}

#[test]
fn the_first_failure_is_returned_and_the_others_are_called_back() {
    let mut run = Driven::start(report, "r");
    run.answer("owners", Err(no()));
    assert_eq!(run.lines()[3..5], ["cancel sales", "cancel parallel/1/sales"]);
    assert_eq!(run.failed().message, "step `owners` failed: no");
}

#[workflow]
async fn settled(ctx: WorkflowContext) -> Result<String, WorkflowError> {
    let (one, other) = ctx
        .parallel_settled((ctx.step(sales, "one".into()), ctx.step(owners, "other".into())))
        .await?;
    Ok(format!("{} {other:?}", one.unwrap_err()))
}

#[test]
fn settled_branches_all_end_whatever_the_others_do() {
    let mut run = Driven::start(settled, ());
    run.answer("sales", Err(no()));
    run.value("owners", ["ada"]);
    assert_eq!(
        run.completed::<String>(),
        "step `sales` failed: attempts exhausted: no Ok([\"ada\"])"
    );
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Dashboard {
    revenue: u64,
    owners: Vec<String>,
}

#[workflow]
async fn dashboard(ctx: WorkflowContext) -> Result<Dashboard, WorkflowError> {
    let revenue = async { ctx.step(sales, "all".into()).await };
    let data = gather!(
        ctx,
        Dashboard {
            revenue: revenue,
            owners: ctx.step(owners, "all".into())
        }
    )
    .await?;
    let doubled = gather!(&ctx, { revenue: async { Ok(2 * data.revenue) }, owners: async { Ok(data.owners.clone()) }, }).await?;
    Ok(Dashboard {
        revenue: doubled.revenue,
        owners: doubled.owners,
    })
}

#[test]
fn gathered_values_come_by_name() {
    let mut run = Driven::start(dashboard, ());
    assert_eq!(run.lines(), ["step gather/revenue/sales", "step owners"]);
    run.value("owners", ["ada"]);
    run.value("gather/revenue/sales", 21);
    let owners = vec!["ada".to_owned()];
    assert_eq!(run.completed::<Dashboard>(), Dashboard { revenue: 42, owners });
}

#[workflow]
async fn settled_dashboard(ctx: WorkflowContext) -> Result<String, WorkflowError> {
    let revenue = async { ctx.step(sales, "all".into()).await };
    let data = gather_settled!(ctx, { revenue: revenue, owners: ctx.step(owners, "all".into()) }).await?;
    Ok(format!("{} {:?}", data.revenue.unwrap_err(), data.owners?))
}

#[test]
fn gathered_branches_may_all_end_whatever_the_others_do() {
    let mut run = Driven::start(settled_dashboard, ());
    run.answer("gather/revenue/sales", Err(no()));
    run.value("owners", ["ada"]);
    assert_eq!(
        run.completed::<String>(),
        "step `sales` failed: attempts exhausted: no [\"ada\"]"
    );
}

#[workflow]
async fn by_city(ctx: WorkflowContext, cities: Vec<String>) -> Result<String, WorkflowError> {
    let stock = async |city: &str| ctx.step(sales, city.to_owned()).await;
    let all = ctx
        .gather_settled(cities.iter().map(|city| (city.as_str(), stock(city))))
        .await?;
    let told = all.iter().map(|(city, stock)| format!("{city} {}", stock.is_ok()));
    Ok(told.collect::<Vec<_>>().join(", "))
}

#[test]
fn gathered_branches_may_be_named_at_run_time_and_each_once() {
    let mut run = Driven::start(by_city, ["rome", "oslo"]);
    run.value("gather/oslo/sales", 1);
    run.answer("gather/rome/sales", Err(no()));
    assert_eq!(run.completed::<String>(), "oslo true, rome false");
    let refused = |cities: &[&str]| Driven::start(by_city, cities).failed().message.clone();
    assert_eq!(
        refused(&["rome", "rome"]),
        "a name in gather is there once, and \"rome\" is there twice"
    );
    assert_eq!(refused(&[""]), "a name in gather has 1 to 128 characters, and \"\" has 0");
}

#[workflow]
async fn quickest(ctx: WorkflowContext, reports: Vec<String>) -> Result<u64, WorkflowError> {
    ctx.race(reports.into_iter().map(|report| ctx.step(sales, report)).collect::<Vec<_>>())
        .await
}

#[test]
fn a_race_brings_the_first_outcome_and_calls_the_others_back() {
    let mut run = Driven::start(quickest, ["a", "b"]);
    run.value("sales~2", 7);
    assert_eq!(run.completed::<u64>(), 7);
    assert_eq!(run.lines()[2], "cancel sales");
    assert_eq!(
        Driven::start(quickest, [""; 0]).failed().message,
        "a race of nothing has no winner"
    );
}

#[workflow]
async fn hurried(ctx: WorkflowContext) -> Result<u64, WorkflowError> {
    let work = async {
        let sold = ctx.step(sales, "slow".into()).await;
        ctx.shield(ctx.step(owners, "clean up".into())).await?;
        sold
    };
    ctx.timeout(Duration::from_secs(5), work).await
}

#[test]
fn a_time_that_is_up_is_an_error_of_its_own_after_the_clean_up() {
    let mut run = Driven::start(hurried, ());
    assert_eq!(run.lines(), ["step timeout/sales", "timer timeout"]);
    run.timer("timeout");
    assert_eq!(run.lines()[2..], ["cancel timeout/sales", "step timeout/owners"]);
    run.value("timeout/owners", [""; 0]);
    assert_eq!(
        *run.failed(),
        Failure::new(FailureKind::DeadlineExceeded, "not done within 5s")
    );
}

#[test]
fn clean_up_under_a_shield_is_done_before_a_cancelled_run_ends() {
    let mut run = Driven::start(hurried, ());
    run.cancel();
    assert_eq!(
        run.lines()[2..],
        ["cancel timeout/sales", "cancel timeout", "step timeout/owners"]
    );
    run.value("timeout/owners", [""; 0]);
    assert!(matches!(run.end(), RunEnd::Cancelled(_)), "{:?}", run.end());
}

#[workflow]
async fn bulk(ctx: WorkflowContext, items: Vec<String>, tolerated: usize) -> Result<BatchResult<u64>, WorkflowError> {
    let batch = ctx.batch(sales, items).key_by(|item| format!("report {item}"));
    batch
        .max_concurrency(2)
        .item_timeout(Duration::from_secs(60))
        .tolerate(tolerated)
        .await
}

#[test]
fn a_batch_says_of_each_item_how_it_ended() {
    let mut run = Driven::start(bulk, (["a", "b", "c"], 3));
    assert_eq!(run.lines(), ["step batch/report a/sales", "step batch/report b/sales"]);
    assert_eq!(
        run.asked::<String>("batch/report a/sales").1.total_timeout,
        Duration::from_secs(60)
    );
    run.answer("batch/report b/sales", Err(no()));
    run.value("batch/report c/sales", 3);
    run.value("batch/report a/sales", 1);
    let result: BatchResult<u64> = run.completed();
    let item = |id: &str, outcome| BatchItem {
        id: id.to_owned(),
        attempts: 1,
        outcome,
    };
    let expected = [
        item("report a", ItemOutcome::Completed(1)),
        item("report b", ItemOutcome::Failed(no())),
        item("report c", ItemOutcome::Completed(3)),
    ];
    assert_eq!(result.results, expected);
    let stats = result.stats;
    assert_eq!((stats.total, stats.completed, stats.failed, stats.cancelled), (3, 2, 1, 0));
    assert_eq!((stats.duration, result.stopped), (Duration::from_secs(3), false));
}

#[test]
fn a_batch_that_fails_too_often_is_stopped_and_says_so() {
    let mut run = Driven::start(bulk, (["a", "b", "c", "d"], 0));
    run.answer("batch/report b/sales", Err(no()));
    let result: BatchResult<u64> = run.completed();
    let stats = result.stats;
    assert_eq!(
        (stats.completed, stats.failed, stats.cancelled, result.stopped),
        (0, 1, 3, true)
    );
    let attempts: Vec<_> = result.results.iter().map(|item| item.attempts).collect();
    assert_eq!(attempts, [1, 1, 0, 0]);
    assert_eq!(run.lines()[2], "cancel batch/report a/sales");
}

#[test]
fn a_batch_in_a_cancelled_run_brings_the_cancel() {
    let mut run = Driven::start(bulk, (["a", "b", "c"], 0));
    run.cancel();
    assert!(matches!(run.end(), RunEnd::Cancelled(_)), "{:?}", run.end());
    assert_eq!(run.lines().len(), 5, "the third item never began: {:?}", run.lines());
}

#[test]
fn an_item_that_is_there_twice_is_refused_before_anything_begins() {
    let run = Driven::start(bulk, (["a", "a"], 0));
    assert_eq!(
        run.failed().message,
        "the key of an item is there once, and \"report a\" is there twice"
    );
    assert_eq!(run.lines().len(), 1);
}

#[workflow]
async fn by_ratio(ctx: WorkflowContext, ratio: f64, items: usize) -> Result<bool, WorkflowError> {
    let items = (0..items).map(|item| item.to_string());
    Ok(ctx.batch(sales, items).max_concurrency(1_000).tolerate(ratio).await?.stopped)
}

#[test]
fn a_ratio_is_of_all_items_and_limits_are_told() {
    let mut run = Driven::start(by_ratio, (0.25, 8));
    for item in 0..3 {
        run.answer(&format!("batch/{item}/sales"), Err(no()));
    }
    assert!(run.completed::<bool>());
    let refused = |ratio: f64, items| Driven::start(by_ratio, (ratio, items)).failed().message.clone();
    assert_eq!(
        refused(2.0, 1),
        "a batch tolerates a ratio of failures from 0.0 to 1.0, and this one is 2"
    );
    assert_eq!(
        refused(0.5, 10_001),
        "a batch has up to 10000 items, and this one has 10001; split it over several runs"
    );
}

#[workflow]
async fn mapped(ctx: WorkflowContext, items: Vec<String>) -> Result<Vec<u64>, WorkflowError> {
    ctx.map(sales, items).max_concurrency(2).await
}

#[test]
fn a_map_brings_values_in_order_or_the_first_failure() {
    let mut run = Driven::start(mapped, ["a", "b", "c"]);
    run.value("map/1/sales", 1);
    run.value("map/2/sales", 2);
    run.value("map/0/sales", 0);
    assert_eq!(run.completed::<Vec<u64>>(), [0, 1, 2]);
    let mut run = Driven::start(mapped, ["a", "b", "c"]);
    run.answer("map/1/sales", Err(no()));
    assert_eq!(run.failed().message, "item 1: step `sales` failed: no");
    assert_eq!(run.lines()[2], "cancel map/0/sales");
}

#[test]
fn an_empty_batch_is_over_at_once() {
    let run = Driven::start(mapped, [""; 0]);
    assert!(run.completed::<Vec<u64>>().is_empty());
}

#[function]
async fn vat(_ctx: FunctionContext, cents: u64) -> Result<u64, StepError> {
    if cents == 0 {
        return Err(StepError::fatal("nothing to tax"));
    }
    Ok(cents * 19 / 100)
}

#[workflow]
async fn in_place(ctx: WorkflowContext, cents: u64) -> Result<u64, WorkflowError> {
    Ok(vat(ctx.inline(), cents).await?)
}

#[test]
fn a_function_called_in_place_is_no_step() {
    let run = Driven::start(in_place, 100);
    assert_eq!((run.completed::<u64>(), run.lines().len()), (19, 1));
    assert_eq!(Driven::start(in_place, 0).failed().message, "nothing to tax");
}
