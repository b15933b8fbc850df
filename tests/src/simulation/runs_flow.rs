//! Scenarios about limits of workflows: so many runs at a time, and one of a key.

use std::collections::BTreeMap;
use std::time::Duration;

use everstep::Limit;
use everstep::prelude::*;
use everstep_common::ids::RunId;
use everstep_common::journal::{EntryKey, RunOutcome, RunTimer};
use everstep_common::summary::RunStatus;
use everstep_core::Definition;
use everstep_examples::throttled;

use futures::FutureExt;
use futures::future::try_join_all;
use jiff::Timestamp;

use super::flow::two_of_each;
use super::scenarios::{Scenario, expect_completed, scenario};
use super::shop::slow;
use super::world::World;

/// Two of it at a time.
#[workflow(limit(concurrency = 2))]
pub async fn two_at_a_time(ctx: WorkflowContext) -> Result<i64, WorkflowError> {
    lasting(&ctx).await
}

/// One of a key at a time; others wait.
#[workflow(singleton = "queue")]
pub async fn in_turn(ctx: WorkflowContext) -> Result<i64, WorkflowError> {
    lasting(&ctx).await
}

/// One of a key at a time; the newest.
#[workflow(singleton = "cancel_in_progress")]
pub async fn newest(ctx: WorkflowContext) -> Result<i64, WorkflowError> {
    lasting(&ctx).await
}

/// One of a key at a time; the first.
#[workflow(singleton = "reject")]
pub async fn first(ctx: WorkflowContext) -> Result<i64, WorkflowError> {
    lasting(&ctx).await
}

/// Children that wait for their places.
#[workflow]
pub async fn crowded(ctx: WorkflowContext, children: u32) -> Result<(), WorkflowError> {
    let all = (0..children).map(|_| ctx.child(two_at_a_time, ()));
    try_join_all(all).await.map(drop)
}

/// One of a key at a time, in as many runs.
#[workflow(singleton = "reject")]
pub async fn relay(ctx: WorkflowContext, legs: u32) -> Result<(), WorkflowError> {
    leg(&ctx, legs).await
}

/// One of a key at a time, the newest, in as many runs.
#[workflow(singleton = "cancel_in_progress")]
pub async fn newest_relay(ctx: WorkflowContext, legs: u32) -> Result<(), WorkflowError> {
    leg(&ctx, legs).await
}

/// Sleeps for long before anything is recorded of it.
#[workflow]
pub async fn dozing(ctx: WorkflowContext) -> Result<(), WorkflowError> {
    ctx.sleep(DOZE).await
}

/// How long that is.
const DOZE: Duration = Duration::from_secs(60);

/// A step, and the other legs.
async fn leg(ctx: &WorkflowContext, legs: u32) -> Result<(), WorkflowError> {
    ctx.step(slow, 1).await?;
    if legs > 1 {
        return ctx.continue_as_new(legs - 1);
    }
    Ok(())
}

/// Two steps, and when it began.
async fn lasting(ctx: &WorkflowContext) -> Result<i64, WorkflowError> {
    let began = ctx.now().as_millisecond();
    ctx.step(slow, 1).await?;
    ctx.sleep(Duration::from_secs(1)).await?;
    Ok(began)
}

/// The workflows above.
pub(super) fn definitions() -> [Definition; 10] {
    [
        everstep::definition(two_at_a_time, Default::default()),
        everstep::definition(in_turn, Default::default()),
        everstep::definition(newest, Default::default()),
        everstep::definition(first, Default::default()),
        everstep::definition(crowded, Default::default()),
        everstep::definition(relay, Default::default()),
        everstep::definition(newest_relay, Default::default()),
        everstep::definition(dozing, Default::default()),
        everstep::definition(throttled::sync_shop, Default::default()),
        everstep::definition(throttled::sync_shops, Default::default()),
    ]
}

impl Scenario {
    /// No more runs of a workflow are at work than it says.
    pub const TWO_AT_A_TIME: Self = scenario!(two_runs_at_a_time);
    /// Runs of one key come one after the other, those of others at once.
    pub const ONE_OF_A_KEY: Self = scenario!(one_of_a_key);
    /// A newer run of the key takes the place of the older one.
    pub const NEWEST_OF_A_KEY: Self = scenario!(newest_of_a_key);
    /// Of many runs of a key the newest one stays.
    pub const NEWEST_OF_MANY: Self = scenario!(newest_of_many);
    /// Children wait for their places like other runs.
    pub const CROWDED_FAMILY: Self = scenario!(crowded_family);
    /// The example of a partner who allows little.
    pub const EXAMPLE_THROTTLED: Self = scenario!(example_throttled);
    /// A run that goes on in another is not kept out by itself.
    pub const RELAY: Self = scenario!(relay_race);
    /// Nobody comes between a run and the one that goes on in it.
    pub const RELAY_UNDISTURBED: Self = scenario!(relay_undisturbed);
    /// A newer run takes the place of an older one, in whichever run that goes on.
    pub const RELAY_REPLACED: Self = scenario!(relay_replaced);
    /// A run whose key is taken ends, and says by whom.
    pub const FIRST_OF_A_KEY: Self = scenario!(first_of_a_key);
    /// One run of a key after the other, each started as soon as the one before has ended.
    pub const ONE_AFTER_THE_OTHER: Self = scenario!(one_after_the_other);
    /// An operator changes how many runs may be at work.
    pub const RUNS_SET_LIVE: Self = scenario!(runs_set_live);
    /// A limit is for runs that begin later, whoever reads back those that have begun.
    pub const LIMIT_COMES_LATE: Self = scenario!(limit_comes_late);
    /// What an operator has set holds from the first run on that a process drives.
    pub const LIMIT_WAS_THERE: Self = scenario!(limit_was_there);
}

async fn two_runs_at_a_time(world: World) {
    two_of_each(&world);
    let mut runs = Vec::new();
    for number in 0..7 {
        runs.push(world.start(two_at_a_time, (), &format!("run {number}")).await);
    }
    let left = world
        .start_as(two_at_a_time, (), "left", |start| start.delay(Duration::from_millis(500)))
        .await;
    if world.settings().crash.is_none() {
        world.until(|world| world.status(&left) == Some(RunStatus::Scheduled)).await;
    }
    world.pass(Duration::from_secs(1)).await;
    world.cancel(&left).await;
    for run in &runs {
        expect_completed(&world, run).await;
    }
    world.ended(&left).await;
    let most = world.most_at_once(&runs);
    assert!(most <= 2, "{most} runs were at work");
    if world.settings().crash.is_none() {
        assert_eq!(most, 2, "the limit is made use of");
    }
    world.expect_nobody_in("workflow.two_at_a_time").await;
}

async fn one_of_a_key(world: World) {
    two_of_each(&world);
    let mut of_keys: [Vec<RunId>; 2] = Default::default();
    for number in 0..6 {
        let (key, of_key) = [("a", 0), ("b", 1)][number % 2];
        let run = world
            .start_as(in_turn, (), &format!("run {number}"), |start| start.limit_key(key))
            .await;
        of_keys[of_key].push(run);
    }
    for run in of_keys.iter().flatten() {
        expect_completed(&world, run).await;
    }
    for runs in &of_keys {
        assert_eq!(world.most_at_once(runs), 1, "of one key one at a time");
    }
    if world.settings().crash.is_none() {
        let all: Vec<RunId> = of_keys.into_iter().flatten().collect();
        assert_eq!(world.most_at_once(&all), 2, "keys do not wait for each other");
    }
    world.expect_nobody_in("workflow.in_turn").await;
}

async fn newest_of_a_key(world: World) {
    two_of_each(&world);
    let key = "k";
    let old = world.start_as(newest, (), "old", |start| start.limit_key(key)).await;
    world.pass(Duration::from_secs(1)).await;
    let other = world.start_as(newest, (), "other", |start| start.limit_key("other")).await;
    let new = world.start_as(newest, (), "new", |start| start.limit_key(key)).await;
    expect_completed(&world, &new).await;
    expect_completed(&world, &other).await;
    world.ended(&old).await;
    if world.settings().crash.is_none() {
        // Whoever was to tell it may have died, and it may have come to its end meanwhile.
        world.expect_told(&old, &new).await;
    }
    assert_eq!(
        world.most_at_once(&[old, new]),
        1,
        "the new one waits until the old one has ended"
    );
    world.expect_nobody_in("workflow.newest").await;
}

async fn newest_of_many(world: World) {
    two_of_each(&world);
    let mut runs = Vec::new();
    for number in 0..6 {
        let name = format!("run {number}");
        runs.push(world.start_as(newest, (), &name, |start| start.limit_key("k")).await);
    }
    let last = runs.last().expect("there are six");
    expect_completed(&world, last).await;
    for run in &runs {
        world.ended(run).await;
    }
    assert_eq!(world.most_at_once(&runs), 1);
    world.expect_nobody_in("workflow.newest").await;
}

async fn crowded_family(world: World) {
    two_of_each(&world);
    let run = world.start(crowded, 6, "crowded").await;
    expect_completed(&world, &run).await;
    let stories = world.stories();
    let children: Vec<RunId> = stories
        .iter()
        .map(|story| story.run.clone())
        .filter(|child| *child != run)
        .collect();
    let most = world.most_at_once(&children);
    assert!(children.len() == 6 && most <= 2, "{most} of {} were at work", children.len());
    world.expect_nobody_in("workflow.two_at_a_time").await;
}

async fn example_throttled(world: World) {
    two_of_each(&world);
    let shops = ["berlin", "rome", "oslo", "paris"].map(str::to_owned).to_vec();
    let run = world.start(throttled::sync_shops, shops, "throttled").await;
    expect_completed(&world, &run).await;
    let stories = world.stories();
    let syncs: Vec<RunId> = stories
        .iter()
        .map(|story| story.run.clone())
        .filter(|sync| *sync != run)
        .collect();
    let most = world.most_at_once(&syncs);
    assert!(syncs.len() == 4 && most <= 3, "{most} of {} were at work", syncs.len());
    world.expect_nobody_in("function.throttled.fetch").await;
    world.expect_nobody_in("workflow.sync_shop").await;
}

async fn relay_race(world: World) {
    two_of_each(&world);
    let run = world
        .start_as(relay, 4, "relay", |start| start.limit_key("k").priority(3))
        .await;
    expect_completed(&world, &run).await;
    let stories = world.stories();
    assert_eq!(stories.len(), 4);
    for story in &stories {
        let terms = &story.start().expect("it begins with its start").terms;
        assert_eq!((terms.key.as_deref(), terms.priority), (Some("k"), 3));
    }
    world.expect_nobody_in("workflow.relay").await;
}

async fn relay_undisturbed(world: World) {
    two_of_each(&world);
    let run = world.start_as(relay, 5, "relay", |start| start.limit_key("k")).await;
    world.until(|world| world.ledger().executions_of(&run) > 0).await;
    let mut others = Vec::new();
    while world.chain(&run).len() < 5 {
        let name = format!("other {}", others.len());
        let other = world.start_as(relay, 1, &name, |start| start.limit_key("k")).await;
        world.ended(&other).await;
        others.push(other);
    }
    let last = world.chain(&run).pop().expect("five legs");
    expect_completed(&world, &last).await;
    let over = world.span_of(&last).expect("it was at work").1;
    for other in &others {
        // One whose partition had no owner for a while finds the key free.
        let began_after = world.span_of(other).is_none_or(|(began, _)| began > over);
        assert!(began_after, "{other} came between");
    }
    if world.settings().crash.is_none() {
        assert!(others.len() > 4, "{} tried", others.len());
    }
    world.expect_nobody_in("workflow.relay").await;
}

async fn relay_replaced(world: World) {
    two_of_each(&world);
    let old = world.start_as(newest_relay, 1_000, "old", |start| start.limit_key("k")).await;
    world.until(|world| world.chain(&old).len() > 3).await;
    let new = world.start_as(newest_relay, 3, "new", |start| start.limit_key("k")).await;
    expect_completed(&world, &new).await;
    let last = world.chain(&old).pop().expect("it was started");
    let outcome = world.ended(&last).await;
    assert!(matches!(outcome, RunOutcome::Cancelled(_)), "{outcome:?}");
    world.expect_nobody_in("workflow.newest_relay").await;
}

async fn first_of_a_key(world: World) {
    two_of_each(&world);
    let key = "k";
    let old = world.start_as(first, (), "old", |start| start.limit_key(key)).await;
    world.pass(Duration::from_secs(1)).await;
    let new = world.start_as(first, (), "new", |start| start.limit_key(key)).await;
    world.expect_told(&new, &old).await;
    assert_eq!(world.ledger().executions_of(&new), 0, "nothing was done for it");
    expect_completed(&world, &old).await;
    let later = world.start_as(first, (), "later", |start| start.limit_key(key)).await;
    expect_completed(&world, &later).await;
    world.expect_nobody_in("workflow.first").await;
}

async fn one_after_the_other(world: World) {
    two_of_each(&world);
    for number in 0..6 {
        let name = format!("number {number}");
        let run = world.start_as(first, (), &name, |start| start.limit_key("k")).await;
        expect_completed(&world, &run).await;
    }
    world.expect_nobody_in("workflow.first").await;
}

async fn limit_comes_late(world: World) {
    two_of_each(&world);
    let early = world.start(dozing, (), "early").await;
    world.pass(DOZE / 3).await;
    world.limit("workflow.dozing", one()).await;
    world.pass(Duration::from_secs(1)).await;
    for orchestrator in ["orchestrator-1", "orchestrator-2"] {
        world.restart(orchestrator);
    }
    let late = world.start(dozing, (), "late").await;
    for run in [&early, &late] {
        expect_completed(&world, run).await;
    }
    assert!(!world.had_to_wait(&early), "it was asleep before there was a limit");
    assert!(world.had_to_wait(&late));
    world.expect_nobody_in("workflow.dozing").await;
}

async fn limit_was_there(world: World) {
    two_of_each(&world);
    world.limit("workflow.two_at_a_time", one()).await;
    world.pass(Duration::from_secs(1)).await;
    for orchestrator in ["orchestrator-1", "orchestrator-2"] {
        world.restart(orchestrator);
    }
    let mut runs = Vec::new();
    for number in 0..6 {
        runs.push(world.start(two_at_a_time, (), &format!("run {number}")).await);
    }
    for run in &runs {
        expect_completed(&world, run).await;
    }
    let most = world.most_at_once(&runs);
    assert_eq!(most, 1, "{most} runs were at work");
}

fn one() -> Option<Limit> {
    Some(Limit {
        concurrency: Some(1),
        ..Limit::NONE
    })
}

async fn runs_set_live(world: World) {
    two_of_each(&world);
    world.limit("workflow.two_at_a_time", one()).await;
    world.pass(Duration::from_secs(1)).await;
    let mut runs = Vec::new();
    for number in 0..4 {
        runs.push(world.start(two_at_a_time, (), &format!("run {number}")).await);
    }
    world.pass(Duration::from_secs(3)).await;
    let so_far = world.most_at_once(&runs);
    assert_eq!(so_far, 1);
    world.limit("workflow.two_at_a_time", Some(Limit::NONE)).await;
    for run in &runs {
        expect_completed(&world, run).await;
    }
    assert!(world.most_at_once(&runs) >= 3, "without a limit the rest goes at once");
}

impl World {
    /// How many of the runs were between their first step and their end at a time, by the server's time stamps.
    pub(super) fn most_at_once(&self, runs: &[RunId]) -> usize {
        let spans = runs.iter().filter_map(|run| self.span_of(run));
        let mut changes: Vec<_> = spans.flat_map(|(first, last)| [(first, 1), (last, -1)]).collect();
        changes.sort_unstable();
        let mut now = 0_isize;
        let counts = changes.into_iter().map(|(_, change)| {
            now += change;
            now
        });
        usize::try_from(counts.max().unwrap_or(0)).expect("none ends before it begins")
    }

    /// From the run's first step to its end, by the server's time stamps; one that ended without a step was never at work.
    fn span_of(&self, run: &RunId) -> Option<(Timestamp, Timestamp)> {
        let stories = self.stories();
        let story = stories.iter().find(|story| story.run == *run)?;
        let work = story.entries.iter().filter(|entry| {
            let own = entry.key.step().is_some_and(|key| !key.is_own());
            own || entry.key == EntryKey::End
        });
        let times: Vec<_> = work.map(|entry| entry.time).collect();
        match times.as_slice() {
            [first, .., last] => Some((*first, *last)),
            _ => None,
        }
    }

    /// The run, and those in which it has gone on so far.
    fn chain(&self, run: &RunId) -> Vec<RunId> {
        let mut chain = BTreeMap::from([(0, run.clone())]);
        for story in self.stories() {
            let continues = story.start().and_then(|start| start.continues.as_ref());
            if let Some(before) = continues.filter(|before| before.first == *run) {
                chain.insert(before.number, story.run.clone());
            }
        }
        chain.into_values().collect()
    }

    /// Whether it is recorded that the run waited for a place.
    fn had_to_wait(&self, run: &RunId) -> bool {
        let stories = self.stories();
        let story = stories.iter().find(|story| story.run == *run).expect("it was started");
        let wait = EntryKey::Timer(RunTimer::Wait.key());
        story.entries.iter().any(|entry| entry.key == wait)
    }

    /// The run ended as cancelled, because of the other one.
    async fn expect_told(&self, run: &RunId, because_of: &RunId) {
        let outcome = self.ended(run).await;
        let told = matches!(&outcome, RunOutcome::Cancelled(failure) if failure.message.contains(because_of.as_str()));
        assert!(told, "{outcome:?}");
    }
}
