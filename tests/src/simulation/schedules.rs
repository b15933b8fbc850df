//! Scenarios about what a schedule decides at its times: what overlaps, what was missed, and what a pause, a cancel or a backfill changes.
//!
//! Each story tells of schedules that name every full minute, and looks at them in between.

use std::time::Duration;

use everstep::ScheduleEntry;
use everstep::prelude::*;
use everstep::trigger::Trigger;
use everstep_common::ids::WorkflowName;
use everstep_common::journal::{Entry, InboundKind, RunOutcome};
use everstep_common::trigger::registration::{ScheduleRecord, schedule_key};
use everstep_common::wire;
use everstep_core::Definition;
use everstep_orchestrator::Workflows;
use futures::FutureExt;
use jiff::SignedDuration;

use super::scenarios::{Scenario, scenario};
use super::triggers::with;
use super::world::World;

/// Goes on in other runs for as long as nobody cancels it; its schedule waits for that.
#[workflow(on(cron("* * * * *", name = "held", overlap = "skip", input = "1000")))]
async fn held(ctx: WorkflowContext, left: u64) -> Result<(), WorkflowError> {
    ctx.sleep(Duration::from_secs(20)).await?;
    ctx.continue_as_new(left - 1)
}

/// The same, cancelled for the next one.
#[workflow(on(cron("* * * * *", name = "relieved", overlap = "cancel", input = "1000")))]
async fn relieved(ctx: WorkflowContext, left: u64) -> Result<(), WorkflowError> {
    ctx.sleep(Duration::from_secs(20)).await?;
    ctx.continue_as_new(left - 1)
}

/// Comes in time or not at all.
#[workflow(on(cron("* * * * *", name = "prompt", misfire = "skip")))]
async fn prompt(ctx: WorkflowContext) -> Result<(), WorkflowError> {
    let _ = ctx;
    Ok(())
}

/// Is over at once, and does not run beside itself all the same.
#[workflow(
    on(cron("* * * * *", name = "alone", overlap = "skip")),
    on(cron("* * * * *", name = "replaced", overlap = "cancel")),
    on(cron("* * * * *", name = "beside"))
)]
async fn brief(ctx: WorkflowContext) -> Result<(), WorkflowError> {
    let _ = ctx;
    Ok(())
}

fn held_code() -> Workflows {
    with(Workflows::new(), vec![everstep::definition(held, Default::default())])
}

fn relieved_code() -> Workflows {
    with(Workflows::new(), vec![everstep::definition(relieved, Default::default())])
}

fn prompt_code() -> Workflows {
    with(Workflows::new(), vec![everstep::definition(prompt, Default::default())])
}

fn brief_code() -> Workflows {
    with(Workflows::new(), vec![everstep::definition(brief, Default::default())])
}

/// The code of all these stories.
pub(super) fn definitions() -> Vec<Definition> {
    vec![
        everstep::definition(held, Default::default()),
        everstep::definition(relieved, Default::default()),
        everstep::definition(prompt, Default::default()),
        everstep::definition(brief, Default::default()),
    ]
}

impl Scenario {
    /// A schedule that skips overlaps is paused while its run goes on in others, which is cancelled later.
    pub const HELD: Self = scenario!(held_through_a_pause);
    /// The same of one that cancels overlaps.
    pub const RELIEVED: Self = scenario!(relieved_after_a_pause);
    /// Times that were missed, and one that is looked at late but not too late.
    pub const PROMPT: Self = scenario!(missed_or_late);
    /// Several times are made up for at once.
    pub const MADE_UP: Self = scenario!(made_up_at_once);
    /// Times that were skipped are made up for by hand.
    pub const BACKFILLED: Self = scenario!(backfilled);
    /// A schedule is resumed whose last decision is still to be carried out.
    pub const RESUMED: Self = scenario!(resumed_with_a_run_to_start);
}

async fn held_through_a_pause(world: World) {
    world.orchestrator("orchestrator-1", held_code);
    world.until_times("cron:held@", 1).await;
    let first = world.starts("cron:held@").remove(0).0;
    world.between_times().await;
    world.minutes(2).await;
    let schedule = world.schedule("held/held").await;
    assert!(schedule.skipped >= 2, "{schedule:?}");
    assert_ne!(schedule.last_run, Some(first), "it knows where its run has come to");

    world.paused("held/held", 3).await;
    let after = world.schedule("held/held").await;
    assert_eq!(
        after.skipped, schedule.skipped,
        "what passes during a pause is not even skipped"
    );
    world.minutes(1).await;
    let later = world.schedule("held/held").await;
    assert_eq!(
        later.skipped,
        schedule.skipped + 1,
        "the run from before the pause is still open"
    );
    assert_eq!(world.times("cron:held@").len(), 1);

    let cancelled = world.server().time();
    world.cancel_open_runs().await;
    world.minutes(1).await;
    let times = world.times("cron:held@");
    assert_eq!(times.len(), 2, "nothing is in its way: {times:?}");
    assert!(times[1].duration_since(cancelled) < SignedDuration::from_mins(1), "{times:?}");
    world.end_of("held/held").await;
}

async fn relieved_after_a_pause(world: World) {
    world.orchestrator("orchestrator-1", relieved_code);
    world.until_times("cron:relieved@", 1).await;
    world.between_times().await;
    let first = world.times("cron:relieved@").len();

    world.paused("relieved/relieved", 3).await;
    assert_eq!(
        world.cancelled().len(),
        first - 1,
        "nothing is cancelled for a time that starts nothing"
    );
    assert_eq!(world.times("cron:relieved@").len(), first);
    world.minutes(1).await;
    assert_eq!(world.times("cron:relieved@").len(), first + 1);
    assert_eq!(
        (world.cancelled().len(), world.open_runs().len()),
        (first, 1),
        "each one for the next"
    );

    // Somebody is faster than the schedule.
    world.cancel_open_runs().await;
    world.minutes(1).await;
    assert_eq!(world.times("cron:relieved@").len(), first + 2);
    let cancels = world.cancelled();
    assert!(
        cancels.iter().all(|cancels| *cancels == 1),
        "the schedule asks nobody who is over: {cancels:?}"
    );
    assert_eq!((cancels.len(), world.open_runs().len()), (first + 1, 1));
    world.end_of("relieved/relieved").await;
}

async fn missed_or_late(world: World) {
    world.orchestrator("orchestrator-1", prompt_code);
    world.until_times("cron:prompt@", 1).await;
    world.between_times().await;
    let (before, schedule) = (world.times("cron:prompt@"), world.schedule("prompt/prompt").await);
    world.kill("orchestrator-1");
    world.minutes(3).await;
    world.pass(Duration::from_secs(10)).await;
    world.orchestrator("orchestrator-2", prompt_code);
    world.pass(Duration::from_secs(15)).await;
    assert_eq!(world.times("cron:prompt@"), before, "the last of them was 40 s ago");
    assert_eq!(world.schedule("prompt/prompt").await.skipped, schedule.skipped + 3);

    world.between_times().await;
    let before = world.until_times("cron:prompt@", before.len() + 1).await;
    world.kill("orchestrator-2");
    world.minutes(1).await;
    world.pass(Duration::from_secs(45)).await;
    world.orchestrator("orchestrator-3", prompt_code);
    world.pass(Duration::from_secs(10)).await;
    let times = world.times("cron:prompt@");
    assert_eq!(times.len(), before.len() + 1, "{times:?}");
    let gap = times[before.len()].duration_since(before[before.len() - 1]);
    assert_eq!(gap, SignedDuration::from_mins(2), "15 s late is not missed, and 75 s is");
}

async fn made_up_at_once(world: World) {
    let names = ["cron:alone@", "cron:replaced@", "cron:beside@"];
    world.orchestrator("orchestrator-1", brief_code);
    for name in names {
        world.until_times(name, 1).await;
    }
    world.between_times().await;
    let before = names.map(|name| world.times(name));
    world.kill("orchestrator-1");
    world.minutes(2).await;
    world.pass(Duration::from_secs(45)).await;
    world.orchestrator("orchestrator-2", brief_code);
    world.pass(Duration::from_secs(10)).await;
    // Three times have passed: one that is not made up for, the last that was missed, and one that is a little late.
    for ((name, before), started) in names.into_iter().zip(before).zip([1, 1, 2]) {
        let times = world.times(name);
        assert_eq!(times.len(), before.len() + started, "{name}: {times:?}");
        let gap = times[times.len() - 1].duration_since(before[before.len() - 1]);
        assert_eq!(gap, SignedDuration::from_mins(3), "{name}: the latest of them, {times:?}");
    }
}

async fn backfilled(world: World) {
    world.orchestrator("orchestrator-1", held_code);
    let first = world.until_times("cron:held@", 1).await[0];
    world.between_times().await;
    world.minutes(2).await;
    assert_eq!(world.open_runs().len(), 1);
    let (own, to) = (world.open_runs(), first + SignedDuration::from_mins(3));
    let runs = world
        .asked(async |client| client.backfill_schedule("held/held", first, to).await)
        .await;
    assert_eq!(runs.len(), 3, "one for each, and that of the first is there");
    world.until(|world| world.open_runs().len() == 3).await;
    assert!(world.cancelled().is_empty());
    assert_eq!(world.times("cron:held@").len(), 3);

    // Those runs are nobody's last one: the schedule waits for its own alone.
    world.asked(async |client| client.cancel(&own[0], "").await).await;
    world.until(|world| world.cancelled().len() == 1).await;
    world.between_times().await;
    world.minutes(1).await;
    assert_eq!(world.open_runs().len(), 3, "it has begun anew beside what was made up for");
    world.end_of("held/held").await;
}

async fn resumed_with_a_run_to_start(world: World) {
    world.orchestrator("orchestrator-1", brief_code);
    world.until_times("cron:beside@", 1).await;
    world.between_times().await;
    let before = world.times("cron:beside@");
    world.kill("orchestrator-1");
    // As it stands when whoever decided a time dies before the run is started, and somebody pauses the schedule and resumes it.
    let workflow = WorkflowName::new(brief::NAME).expect("a name");
    let trigger = brief::triggers().into_iter().find_map(|trigger| match trigger {
        Trigger::Cron(cron) if cron.name == "beside" => Some(cron),
        _ => None,
    });
    let decided = before[before.len() - 1] + SignedDuration::from_mins(1);
    let record = ScheduleRecord {
        pending: vec![decided],
        ..ScheduleRecord::new(workflow.clone(), brief::VERSION, trigger.expect("it has one"))
    };
    world.minutes(1).await;
    world
        .put_trigger_record(&schedule_key(&workflow, "beside"), wire::encode(&record).expect("plain data"))
        .await;
    world.minutes(4).await;
    world.orchestrator("orchestrator-2", brief_code);
    world.pass(Duration::from_secs(10)).await;
    let times = world.times("cron:beside@");
    assert_eq!(
        times[before.len()..],
        [decided, decided + SignedDuration::from_mins(4)],
        "what is pending, and the last one missed"
    );
}

impl World {
    /// Returns half a minute after a full minute, when what was due then is done.
    async fn between_times(&self) {
        let second = self.server().time().as_second().rem_euclid(60);
        let seconds = (30 - second).rem_euclid(60);
        self.pass(Duration::from_secs(seconds.unsigned_abs())).await;
    }

    async fn minutes(&self, minutes: u64) {
        self.pass(Duration::from_secs(60 * minutes)).await;
    }

    async fn schedule(&self, id: &str) -> ScheduleEntry {
        let schedules = self.asked(async |client| client.schedules().await).await;
        let found = schedules.into_iter().find(|schedule| schedule.id == id);
        found.expect("it is known")
    }

    /// Has a schedule stand still for so long.
    async fn paused(&self, id: &str, minutes: u64) {
        self.asked(async |client| client.pause_schedule(id, "a holiday").await).await;
        self.minutes(minutes).await;
        self.asked(async |client| client.resume_schedule(id).await).await;
    }

    async fn cancel_open_runs(&self) {
        for run in self.open_runs() {
            self.asked(async |client| client.cancel(&run, "").await).await;
        }
        self.until(|world| world.open_runs().is_empty()).await;
    }

    /// Nothing is started any more, and what is open ends.
    async fn end_of(&self, id: &str) {
        self.asked(async |client| client.pause_schedule(id, "").await).await;
        self.cancel_open_runs().await;
    }

    /// How often each run that was cancelled was asked to end.
    fn cancelled(&self) -> Vec<usize> {
        let mut stories = self.stories();
        stories.retain(|story| matches!(story.end(), Some(RunOutcome::Cancelled(_))));
        let cancels = |entry: &Entry| matches!(entry, Entry::In(inbound) if inbound.kind == InboundKind::Cancel);
        let counts = stories
            .iter()
            .map(|story| story.entries.iter().filter(|entry| cancels(&entry.entry)).count());
        counts.collect()
    }
}
