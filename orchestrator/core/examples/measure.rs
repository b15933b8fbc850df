//! Measures what a run costs: time per entry at several widths, and memory per live run.
//!
//! `cargo run --release -p everstep-core --example measure`

use std::sync::Arc;

use bytes::Bytes;
use everstep_common::digest::InputDigest;
use everstep_common::ids::{FunctionName, Partition, RunId, WorkflowName};
use everstep_common::journal::Start;
use everstep_common::key::StepKey;
use everstep_common::payload::Payload;
use everstep_common::task::StepOptions;
use everstep_core::{Context, Decision, Definition, Event, EventBody, Limits, Record, Run, WorkflowFailure};
use futures::FutureExt;
use futures::future::LocalBoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use jiff::Timestamp;
use uuid::Uuid;

type Returned = Result<Bytes, WorkflowFailure>;

const INPUT: &[u8] = b"\xa5order";
const VALUE: &[u8] = b"\xa4done";
const RUNS: usize = 50_000;

fn main() {
    // Memory first, and nothing given back in between: the allocator would hand it out again.
    let first = memory("waiting for the first of 10 steps", 0);
    let last = memory("waiting for the last of 10 steps", 9);
    let batches = per_item("settled item of a batch of 10,000, 20 at a time", 10_000, 20);
    drop((first, last, batches));
    println!();
    println!("{:<44} {:>12} {:>12}", "", "apply", "with decide");
    for length in [10, 1_000, 9_000] {
        report(
            &format!("chain of {length}"),
            &definition(move |ctx| chain(ctx, length).boxed_local()),
            length,
        );
    }
    for width in [10, 1_000, 10_000] {
        report(
            &format!("FuturesUnordered, {width} wide"),
            &definition(move |ctx| fan_out(ctx, width).boxed_local()),
            width,
        );
    }
    for width in [10, 1_000, 10_000] {
        report_of(
            &format!("fan, {width} wide"),
            &definition(move |ctx| fan(ctx, width, width).boxed_local()),
            items(width),
        );
    }
    for window in [20, 1_000] {
        report_of(
            &format!("fan of 10,000, {window} at a time"),
            &definition(move |ctx| fan(ctx, 10_000, window).boxed_local()),
            items(10_000),
        );
    }
}

async fn chain(ctx: Context, length: usize) -> Returned {
    for _ in 0..length {
        step(&ctx).await?;
    }
    Ok(Bytes::from_static(VALUE))
}

async fn fan_out(ctx: Context, width: usize) -> Returned {
    let mut steps: FuturesUnordered<_> = (0..width).map(|_| step(&ctx)).collect();
    while let Some(outcome) = steps.next().await {
        outcome?;
    }
    Ok(Bytes::from_static(VALUE))
}

/// What `ctx.parallel` and `ctx.batch` sit on.
async fn fan(ctx: Context, width: usize, window: usize) -> Returned {
    let branches = (0..width).map(|number| (number.to_string(), || step(&ctx)));
    let all = ctx.block("batch").fan(branches).window(window).collect_outcomes(0).await;
    assert_eq!(all.outcomes.len(), width);
    Ok(Bytes::from_static(VALUE))
}

fn step(ctx: &Context) -> everstep_core::Step {
    let function = FunctionName::new("charge_customer").expect("a name");
    ctx.step(
        "charge_customer",
        function,
        Ok(Bytes::from_static(INPUT)),
        StepOptions::default(),
    )
}

fn definition(code: impl Fn(Context) -> LocalBoxFuture<'static, Returned> + Send + Sync + 'static) -> Definition {
    let name = WorkflowName::new("order").expect("a name");
    Definition {
        name,
        version: 1,
        factory: Arc::new(move |ctx, _| code(ctx)),
        triggers: Vec::new(),
        flow: Default::default(),
    }
}

fn report(name: &str, definition: &Definition, steps: usize) {
    report_of(name, definition, outcomes(steps));
}

/// On-CPU nanoseconds per outcome applied, without and with a decision after each; the start is not counted.
fn report_of(name: &str, definition: &Definition, events: Vec<Event>) {
    let steps = events.len();
    let rounds = (200_000 / steps).max(1);
    let cost = |decide: bool| {
        let mut prepared: Vec<_> = (0..rounds).map(|_| (started(definition), events.clone())).collect();
        let began = on_cpu_nanoseconds();
        for (run, events) in &mut prepared {
            for event in events.drain(..) {
                run.apply(event);
                if decide {
                    decided(run);
                }
            }
        }
        let spent = on_cpu_nanoseconds() - began;
        assert!(
            prepared.iter().all(|(run, _)| run.waits().is_empty()),
            "every step is answered"
        );
        spent as f64 / (rounds * steps) as f64
    };
    println!("{name:<44} {:>9.0} ns {:>9.0} ns", cost(false), cost(true));
}

/// How long this thread has been on a CPU: unlike a clock it says the same on a busy machine. Exact to a few milliseconds.
fn on_cpu_nanoseconds() -> u64 {
    let schedstat = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    schedstat
        .split(' ')
        .next()
        .and_then(|nanoseconds| nanoseconds.parse().ok())
        .expect("the first field of schedstat")
}

/// Resident bytes per run, for many runs that wait after so many outcomes.
fn memory(name: &str, outcomes_applied: usize) -> Vec<Run> {
    let definition = definition(|ctx| chain(ctx, 10).boxed_local());
    let before = resident_bytes();
    let runs: Vec<_> = (0..RUNS).map(|_| waiting(&definition, outcomes_applied)).collect();
    let each = (resident_bytes() - before) / runs.len();
    println!("{name:<44} {each:>6} bytes a run, of {} runs", runs.len());
    runs
}

/// Resident bytes per item of runs whose items are done, but for the last one: what the core keeps of an item, with its outcome.
fn per_item(name: &str, items_all: usize, window: usize) -> Vec<Run> {
    let definition = definition(move |ctx| fan(ctx, items_all, window).boxed_local());
    let events = items(items_all);
    let before = resident_bytes();
    let mut runs: Vec<_> = (0..10).map(|_| started(&definition)).collect();
    for event in &events[..items_all - 1] {
        for run in &mut runs {
            run.apply(event.clone());
            decided(run);
        }
    }
    let each = (resident_bytes() - before) / runs.len() / items_all;
    println!("{name:<44} {each:>6} bytes an item");
    runs
}

fn waiting(definition: &Definition, outcomes_applied: usize) -> Run {
    let mut run = started(definition);
    for event in outcomes(outcomes_applied) {
        run.apply(event);
        decided(&mut run);
    }
    run
}

fn started(definition: &Definition) -> Run {
    let limits = Limits {
        entries: 20_000,
        steps_open: 20_000,
        ..Limits::default()
    };
    let mut run = Run::new(RunId::unkeyed(Partition(0), Uuid::new_v4()), definition, limits, 0);
    let start = Start {
        workflow: definition.name.clone(),
        version: Some(1),
        input: Payload::unit(),
        digest: InputDigest::of(&[]),
        start_key: None,
        session: None,
        parent: None,
        tags: Default::default(),
        traceparent: None,
        terms: Default::default(),
        continues: None,
        listens_from: None,
        listened: Vec::new(),
    };
    run.apply(Event {
        sequence: 1,
        time: Timestamp::UNIX_EPOCH,
        body: EventBody::Start(Box::new(start), Bytes::new()),
    });
    decided(&mut run);
    run
}

fn decided(run: &mut Run) {
    match run.decide() {
        Decision::Go(commands) => drop(commands),
        other => panic!("{other:?}"),
    }
}

/// The outcomes of the items of a fan, in order.
fn items(count: usize) -> Vec<Event> {
    outcomes_of((0..count).map(|item| format!("batch/{item}/charge_customer")))
}

fn outcomes(count: usize) -> Vec<Event> {
    outcomes_of((1..=count).map(|number| match number {
        1 => "charge_customer".to_owned(),
        _ => format!("charge_customer~{number}"),
    }))
}

fn outcomes_of(paths: impl Iterator<Item = String>) -> Vec<Event> {
    let function = FunctionName::new("charge_customer").expect("a name");
    let digest = InputDigest::of(INPUT);
    let outcome = |(number, path): (usize, String)| {
        let record = Record::Step {
            function: function.clone(),
            digest,
            result: Ok(Bytes::from_static(VALUE)),
        };
        let body = EventBody::About(StepKey::from_path(&path), record);
        Event {
            sequence: number as u64 + 2,
            time: Timestamp::UNIX_EPOCH,
            body,
        }
    };
    paths.enumerate().map(outcome).collect()
}

fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages: usize = statm
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse().ok())
        .expect("the second field of statm");
    pages * 4_096
}
