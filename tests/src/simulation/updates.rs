//! Runs that take updates: the workflows, what is asked of them, and what their callers are told.

use std::pin::pin;
use std::time::Duration;

use everstep::UpdateError;
use everstep::prelude::*;
use everstep_common::ids::{FunctionName, RunId};
use everstep_common::journal::{EntryKey, RunOutcome};
use everstep_common::update::update_slot;
use everstep_core::Definition;
use everstep_examples::table::{Order, Receipt, cook, table_workflow};
use everstep_worker::Handler;
use futures::{FutureExt, join};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::scenarios::{Scenario, expect_completed, scenario, usual};
use super::shop::square;
use super::world::World;

/// Longer than any recovery takes.
const LONG: Duration = Duration::from_secs(3_600);

/// Scenarios that end the same whoever dies.
pub fn update_scenarios() -> Vec<Scenario> {
    vec![
        scenario!(answered_and_rejected),
        scenario!(served_beside_work),
        scenario!(never_taken),
        scenario!(given_back_and_given_up),
        scenario!(followed),
        scenario!(large_updates),
        scenario!(example_table),
    ]
}

/// The workflows.
pub(super) fn definitions() -> Vec<Definition> {
    vec![
        everstep::definition(account, Default::default()),
        everstep::definition(alarm, Default::default()),
        everstep::definition(deaf, Default::default()),
        everstep::definition(undecided, Default::default()),
        everstep::definition(moving, Default::default()),
        everstep::definition(copying, Default::default()),
        everstep::definition(table_workflow, Default::default()),
    ]
}

/// The functions.
pub(super) fn handlers() -> Vec<(FunctionName, Handler)> {
    vec![everstep::handler(cook)]
}

impl World {
    /// Asks the run for something, once for each key; what its caller is told.
    async fn update<In, Out>(&self, run: &RunId, name: &str, key: &str, input: &In, deadline: Duration) -> Result<Out, UpdateError>
    where
        In: Serialize,
        Out: DeserializeOwned + 'static,
    {
        self.client(async |client| {
            loop {
                match client.update(run, name, input).key(key).deadline(deadline).await {
                    Err(UpdateError::Client(error)) => self.again(&error).await,
                    told => return told,
                }
            }
        })
        .await
    }

    /// Returns once the update with that key has reached the run.
    async fn reached(&self, key: &str) {
        let slot = EntryKey::In(update_slot(key));
        self.until(|world| {
            let mut entries = world.stories().into_iter().flat_map(|story| story.entries);
            entries.any(|entry| entry.key == slot)
        })
        .await;
    }
}

fn reason<T: std::fmt::Debug>(told: Result<T, UpdateError>) -> String {
    match told {
        Err(UpdateError::Rejected { reason, .. }) => reason,
        other => panic!("it is not rejected: {other:?}"),
    }
}

/// Takes deposits, each squared by a worker, until it is closed.
#[workflow]
async fn account(ctx: WorkflowContext) -> Result<u64, WorkflowError> {
    let mut balance = 0;
    loop {
        let deposit = ctx.update::<u64, u64>("deposit");
        let within_bounds = |cents: &u64| if *cents <= 100 { Ok(()) } else { Err("too much at once") };
        select! {
            deposit = deposit.validate(within_bounds) => {
                let deposit = deposit?;
                balance += ctx.step(square, *deposit.input()).await?;
                deposit.reply(&balance)?;
            }
            close = ctx.signal::<u64>("close") => {
                close?;
                return Ok(balance);
            }
        }
    }
}

async fn answered_and_rejected(world: World) {
    usual(&world);
    let run = world.start(account, (), "account").await;
    let deposit = async |key: &str, cents: u64| world.update::<_, u64>(&run, "deposit", key, &cents, LONG).await;
    assert_eq!(deposit("one", 5).await.unwrap(), 25);
    assert_eq!(deposit("one", 5).await.unwrap(), 25, "asked again it is the same update");
    assert_eq!(reason(deposit("two", 101).await), "too much at once");
    let text = world.update::<_, u64>(&run, "deposit", "three", &"a text", LONG).await;
    assert!(reason(text).contains("update `deposit` is not of its type"));
    assert_eq!(deposit("four", 3).await.unwrap(), 34, "what was rejected changed nothing");
    assert!(world.signal(&run, "close", "close", 1).await);
    expect_completed(&world, &run).await;
    assert_eq!(deposit("one", 5).await.unwrap(), 25, "an answer outlives its run");
    assert_eq!(reason(deposit("two", 101).await), "too much at once");
    let late = deposit("five", 1).await;
    assert!(matches!(late, Err(UpdateError::Ended { .. })), "{late:?}");
}

/// Two handlers beside work, of which one may fail.
#[workflow]
async fn alarm(ctx: WorkflowContext) -> Result<Vec<u64>, WorkflowError> {
    let set = std::cell::RefCell::new(Vec::new());
    let sets = ctx.update::<u64, usize>("set").serve(async |minutes| {
        let squared = ctx.step(square, minutes).await?;
        set.borrow_mut().push(squared);
        Ok(set.borrow().len())
    });
    let fails = ctx
        .update::<(), ()>("break")
        .serve(async |()| Err("it is made of steel".into()));
    let (sets, fails) = (pin!(sets), pin!(fails));
    select! {
        failed = sets => match failed? {},
        failed = fails => match failed? {},
        ring = ctx.signal::<u64>("ring") => ring?,
    };
    Ok(set.take())
}

async fn served_beside_work(world: World) {
    usual(&world);
    let run = world.start(alarm, (), "alarm").await;
    assert_eq!(world.update::<_, usize>(&run, "set", "a", &3_u64, LONG).await.unwrap(), 1);
    let broken = world.update::<_, ()>(&run, "break", "b", &(), LONG).await;
    assert!(
        matches!(&broken, Err(UpdateError::Failed { failure, .. }) if failure.message == "it is made of steel"),
        "{broken:?}"
    );
    assert_eq!(world.update::<_, usize>(&run, "set", "c", &4_u64, LONG).await.unwrap(), 2);
    assert!(world.signal(&run, "ring", "ring", 1).await);
    expect_completed(&world, &run).await;
}

/// Takes no updates at all.
#[workflow]
async fn deaf(ctx: WorkflowContext) -> Result<u64, WorkflowError> {
    ctx.signal::<u64>("go").await
}

async fn never_taken(world: World) {
    usual(&world);
    let run = world.start(deaf, (), "deaf").await;
    let ask = async |deadline| world.update::<_, ()>(&run, "set", "a", &(), deadline).await;
    loop {
        let none = ask(Duration::from_secs(5)).await;
        assert!(
            matches!(&none, Err(UpdateError::TimedOut { key, .. }) if key == "a"),
            "{none:?}"
        );
        // Whoever is asked while all is down may have had no time to write it.
        let slot = EntryKey::In(update_slot("a"));
        if world
            .stories()
            .iter()
            .any(|story| story.entries.iter().any(|entry| entry.key == slot))
        {
            break;
        }
    }
    assert!(world.signal(&run, "go", "go", 1).await);
    expect_completed(&world, &run).await;
    let never = ask(LONG).await;
    assert!(matches!(never, Err(UpdateError::Ended { .. })), "{never:?}");
}

/// A branch that was given an update and did not look, and one that took it and could not end.
#[workflow]
async fn undecided(ctx: WorkflowContext) -> Result<u64, WorkflowError> {
    let looks_away = async {
        let mut set = pin!(ctx.update::<u64, u64>("set"));
        let _asked = futures::poll!(&mut set);
        ctx.sleep(LONG).await?;
        set.await.map(|set| *set.input())
    };
    ctx.race((looks_away, async { ctx.signal::<u64>("stop").await })).await?;
    let takes_long = async {
        let set = ctx.update::<u64, u64>("set").await?;
        ctx.sleep(LONG).await?;
        set.reply(&0)?;
        Ok(0)
    };
    ctx.race((takes_long, async { ctx.signal::<u64>("stop").await })).await?;
    let set = ctx.update::<u64, u64>("set").await?;
    let input = *set.input();
    set.reply(&(input + 1))?;
    Ok(input)
}

async fn given_back_and_given_up(world: World) {
    usual(&world);
    let run = world.start(undecided, (), "undecided").await;
    let first = world.update::<_, u64>(&run, "set", "a", &1, LONG);
    let stops = async {
        world.reached("a").await;
        assert!(world.signal(&run, "stop", "first", 1).await);
        assert!(world.signal(&run, "stop", "second", 2).await);
    };
    let (first, ()) = join!(first, stops);
    assert!(
        matches!(&first, Err(UpdateError::Failed { failure, .. }) if failure.message.contains("without an answer")),
        "{first:?}"
    );
    assert_eq!(world.update::<_, u64>(&run, "set", "b", &7, LONG).await.unwrap(), 8);
    expect_completed(&world, &run).await;
}

/// Listens in its second run only.
#[workflow]
async fn moving(ctx: WorkflowContext, runs: u64) -> Result<u64, WorkflowError> {
    if runs == 0 {
        ctx.signal::<u64>("move").await?;
        return ctx.continue_as_new(1_u64);
    }
    let set = ctx.update::<u64, u64>("set").await?;
    let input = *set.input();
    set.reply(&(input + runs))?;
    Ok(input)
}

async fn followed(world: World) {
    usual(&world);
    let run = world.start(moving, 0, "moving").await;
    let update = world.update::<_, u64>(&run, "set", "a", &41, LONG);
    let moves = async {
        world.reached("a").await;
        assert!(world.signal(&run, "move", "move", 1).await);
    };
    let (told, ()) = join!(update, moves);
    assert_eq!(told.unwrap(), 42);
    let outcome = world.ended(&run).await;
    assert!(matches!(outcome, RunOutcome::Completed(_)), "{outcome:?}");
    let again = world.update::<_, u64>(&run, "set", "a", &41, LONG).await;
    assert_eq!(again.unwrap(), 42, "the answer is found where it was given");
}

/// Answers what is asked of it, which is large.
#[workflow]
async fn copying(ctx: WorkflowContext) -> Result<usize, WorkflowError> {
    let copy = ctx.update::<String, String>("copy").await?;
    let copied = copy.input().clone();
    copy.reply(&copied)?;
    Ok(copied.len())
}

async fn large_updates(world: World) {
    usual(&world);
    let run = world.start(copying, (), "copying").await;
    let large = "x".repeat(300_000);
    let copied = world.update::<_, String>(&run, "copy", "a", &large, LONG).await.unwrap();
    assert_eq!(copied, large);
    expect_completed(&world, &run).await;
}

async fn example_table(world: World) {
    usual(&world);
    let run = world.start(table_workflow, (), "table").await;
    let order = async |key: &str, dish: &str, portions: u32| {
        let dish = dish.to_owned();
        world
            .update::<_, Receipt>(&run, "order", key, &Order { dish, portions }, LONG)
            .await
    };
    let first = order("1", "soup", 2).await.unwrap();
    assert_eq!((first.number, first.total), (1, 2_400));
    assert_eq!(
        reason(order("2", "cake", 99).await),
        "the kitchen cannot make 99 portions of cake"
    );
    let second = order("3", "cake", 1).await.unwrap();
    assert_eq!((second.number, second.total), (2, 3_600));
    world
        .client(async |client| {
            while let Err(error) = client.signal(&run, "bill", "bill", &()).await {
                world.again(&error).await;
            }
        })
        .await;
    expect_completed(&world, &run).await;
}
