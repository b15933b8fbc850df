//! Scenarios about the terms under which triggers start runs: whose work they are, in which session, how urgent, until when.

use std::time::Duration;

use everstep::RunId;
use everstep::prelude::*;
use everstep_common::journal::{EntryKey, RunOutcome, RunTimer, Start};
use everstep_common::summary::RunStatus;
use everstep_core::Definition;
use everstep_orchestrator::Workflows;
use futures::FutureExt;
use jiff::SignedDuration;
use serde_json::{Value, json};

use super::scenarios::{Scenario, scenario};
use super::sessions::SESSION;
use super::triggers::with;
use super::world::World;

/// Tends one visitor of a shop after the other.
#[workflow(
    singleton = "queue",
    on(event(
        "shop.visited",
        limit_key = "shop",
        session = "visitor.id",
        priority = 3,
        deadline = "1h",
        tags("tenant=acme", "formula=a=b")
    ))
)]
async fn tended(ctx: WorkflowContext, visit: Value) -> Result<(), WorkflowError> {
    // One value for each: what is recorded must not depend on whose turn it is.
    let visited = format!("visit {}", visit["visit"]);
    ctx.session().state().update(&visited, 0, |visits: u64| visits + 1).await?;
    ctx.sleep(Duration::from_secs(1)).await?;
    ctx.sleep(Duration::from_secs(1)).await
}

/// Thanks for a visit some time after it.
#[workflow(on(event("shop.visited", delay = "5s", limit_key = "shop", session = "visitor.id", priority = -1)))]
async fn thanked(ctx: WorkflowContext, visit: Value) -> Result<(), WorkflowError> {
    let _ = (ctx, visit);
    Ok(())
}

/// Counts the visits of ten seconds.
#[workflow(on(event("shop.visited", batch(window = "10s"), priority = 2, deadline = "2h", tags("tenant=acme"))))]
async fn counted(ctx: WorkflowContext, visits: Vec<Value>) -> Result<usize, WorkflowError> {
    let _ = ctx;
    Ok(visits.len())
}

/// Sweeps the yard each minute.
#[workflow(
    singleton = "queue",
    on(cron(
        "* * * * *",
        name = "sweep",
        limit_key = "yard",
        session = "the yard",
        deadline = "10m",
        tags("tenant=acme")
    ))
)]
async fn swept(ctx: WorkflowContext) -> Result<(), WorkflowError> {
    ctx.session().state().update("sweeps", 0, |sweeps: u64| sweeps + 1).await?;
    ctx.sleep(Duration::from_secs(20)).await
}

/// Is held some time after it was planned.
#[workflow(on(event("meeting.planned", delay = "20s", dedupe = "number", input = "number")))]
async fn met(ctx: WorkflowContext, number: u64) -> Result<u64, WorkflowError> {
    let _ = ctx;
    Ok(number)
}

/// How long after.
const DELAY: SignedDuration = SignedDuration::from_secs(20);

/// The workflows above.
pub(super) fn definitions() -> Vec<Definition> {
    vec![
        everstep::definition(tended, Default::default()),
        everstep::definition(thanked, Default::default()),
        everstep::definition(counted, Default::default()),
        everstep::definition(swept, Default::default()),
        everstep::definition(met, Default::default()),
    ]
}

fn of_visits() -> Workflows {
    let mut listen = definitions();
    listen.truncate(2);
    with(Workflows::new(), listen)
}

fn of_time() -> Workflows {
    with(Workflows::new(), definitions().drain(2..4).collect())
}

fn of_meetings() -> Workflows {
    with(Workflows::new(), definitions().split_off(4))
}

impl Scenario {
    /// Runs that events start, one of a key at a time, in the sessions that the events tell; whoever dies.
    pub const TENDED: Self = scenario!(tended_visitors);
    /// Runs of batches and schedules have the terms of their triggers, too.
    pub const TENDED_BY_TIME: Self = scenario!(tended_by_time);
    /// Delayed runs are there from their events on, one of them is cancelled, and the others begin in time; whoever dies.
    pub const POSTPONED: Self = scenario!(postponed);
    /// More delayed runs than fit into memory, and nobody there when their events come.
    pub const POSTPONED_UNHEARD: Self = scenario!(postponed_unheard);
}

async fn tended_visitors(world: World) {
    world.orchestrator("orchestrator-1", of_visits);
    world.listening(2).await;
    let visitor = json!({ "id": SESSION });
    let visits = [
        ("nobody", json!({ "shop": "rome" })),
        ("nowhere", json!({ "shop": ["rome"], "visitor": visitor })),
        ("berlin 1", json!({ "visit": 1, "shop": "berlin", "visitor": visitor })),
        ("number 1", json!({ "visit": 2, "shop": 7, "visitor": visitor })),
        ("berlin 2", json!({ "visit": 3, "shop": "berlin", "visitor": visitor })),
        ("number 2", json!({ "visit": 4, "shop": 7, "visitor": visitor })),
        ("street 1", json!({ "visit": 5, "visitor": visitor })),
        ("street 2", json!({ "visit": 6, "shop": null, "visitor": visitor })),
    ];
    for _ in 0..2 {
        for (id, visit) in &visits {
            world.publish("shop.visited", visit.clone(), id).await;
        }
    }
    // Six visits, for each of the two workflows; and two that name no session, or no key.
    world.started_by("event:", 12).await;
    let says = |refused: &[String], what: &str| refused.iter().filter(|reason| reason.contains(what)).count();
    let refused = world
        .refused_because(|refused| says(refused, "its session") >= 4 && says(refused, "its limit key") >= 4)
        .await;
    let known = says(&refused, "its session") + says(&refused, "its limit key");
    assert_eq!(known, refused.len(), "{refused:?}");

    for (id, key) in [("berlin", Some("berlin")), ("number", Some("7")), ("street", None)] {
        let starts = world.starts_by(id);
        assert_eq!(starts.len(), 4, "{id}");
        for (_, start) in &starts {
            assert_eq!(start.terms.key.as_deref(), key, "{id}");
            assert_eq!(start.session.as_deref(), Some(SESSION), "{id}");
            assert_eq!(start.tags["event"], "shop.visited");
            let is_tended = start.workflow.as_str() == "tended";
            let hour = is_tended.then_some(Duration::from_secs(3_600));
            assert_eq!(
                (start.terms.priority, start.terms.deadline),
                (if is_tended { 3 } else { -1 }, hour)
            );
            let tags = ["tenant", "formula"].map(|tag| start.tags.get(tag).map(String::as_str));
            let expected = if is_tended {
                [Some("acme"), Some("a=b")]
            } else {
                [None, None]
            };
            assert_eq!(tags, expected);
        }
        // Of a singleton the runs without a key are all of one.
        let runs: Vec<RunId> = starts.into_iter().map(|(run, _)| run).collect();
        assert_eq!(world.most_at_once(&runs), 1, "{id}: one visitor of a shop at a time");
    }
    if world.settings().crash.is_none() {
        let runs: Vec<RunId> = world.starts("event:").into_iter().map(|(run, _)| run).collect();
        assert!(world.most_at_once(&runs) > 1, "shops do not wait for each other");
    }
    for visit in 1..=6 {
        world.expect_value(&format!("visit {visit}"), 1);
    }
}

async fn tended_by_time(world: World) {
    world.orchestrator("orchestrator-1", of_time);
    world.listening(2).await;
    world.publish("shop.visited", json!({ "shop": "berlin" }), "berlin").await;
    world.started_by("batch:", 1).await;
    let sweeps = world.until_times("cron:sweep@", 4).await;
    assert!(sweeps.len() >= 4, "{sweeps:?}");
    let of = |workflow: &str| {
        let mut starts = world.starts_by("");
        starts.retain(|(_, start)| start.workflow.as_str() == workflow);
        starts
    };
    let terms = of("counted").remove(0).1;
    assert_eq!(
        (terms.terms.priority, terms.terms.deadline),
        (2, Some(Duration::from_secs(7_200)))
    );
    assert_eq!(
        (terms.tags["tenant"].as_str(), terms.tags["event"].as_str()),
        ("acme", "shop.visited")
    );
    for (_, start) in of("swept") {
        assert_eq!(
            (start.terms.key.as_deref(), start.session.as_deref()),
            (Some("yard"), Some("the yard"))
        );
        assert_eq!(start.terms.deadline, Some(Duration::from_secs(600)));
        assert_eq!(
            (start.tags["tenant"].as_str(), start.tags["schedule"].as_str()),
            ("acme", "swept/sweep")
        );
    }
}

async fn postponed(world: World) {
    world.orchestrator("orchestrator-1", of_meetings);
    world.listening(1).await;
    for round in ["one", "two"] {
        for number in 0..3_u64 {
            // Known by its number, however often and under whatever id it comes.
            let id = format!("{round} {number}");
            world.publish("meeting.planned", json!({ "number": number }), &id).await;
        }
    }
    world.until(|world| world.starts("event:").len() == 3).await;
    let called_off = world.starts_by("#1").remove(0).0;
    if world.settings().crash.is_none() {
        world
            .until(|world| world.status(&called_off) == Some(RunStatus::Scheduled))
            .await;
    }
    world.cancel(&called_off).await;
    world.started_by("event:", 3).await;
    for (run, _) in world.starts("event:") {
        match world.begun_after(&run) {
            None => assert_eq!(run, called_off, "only that one does not begin"),
            Some(waited) => assert!(waited >= DELAY, "{run} began too early, after {waited}"),
        }
    }
    let outcome = world.ended(&called_off).await;
    if world.settings().crash.is_none() {
        assert!(matches!(outcome, RunOutcome::Cancelled(_)), "{outcome:?}");
    }
}

async fn postponed_unheard(world: World) {
    world.orchestrator("orchestrator-1", of_meetings);
    world.listening(1).await;
    world.kill("orchestrator-1");
    let plan = async |numbers: std::ops::Range<u64>| {
        for number in numbers {
            world
                .publish("meeting.planned", json!({ "number": number }), &format!("meeting {number}"))
                .await;
        }
    };
    plan(0..20).await;
    world.pass(Duration::from_secs(30)).await;
    plan(20..40).await;
    world.pass(Duration::from_secs(10)).await;
    world.orchestrator("orchestrator-2", of_meetings);
    world.started_by("event:", 40).await;
    for (run, key) in world.starts("event:") {
        let number: u64 = key
            .rsplit('#')
            .next()
            .and_then(|number| number.parse().ok())
            .expect("its number");
        let waited = world.begun_after(&run).expect("it has begun");
        // Nothing is waited for that has passed while nobody was there.
        let (least, most) = if number < 20 { (40, 50) } else { (20, 23) };
        assert!((least..most).contains(&waited.as_secs()), "{key} began after {waited}");
    }
}

impl World {
    /// How long after its event the run has begun.
    fn begun_after(&self, run: &RunId) -> Option<SignedDuration> {
        let begin = EntryKey::Timer(RunTimer::Begin.key());
        let stories = self.stories();
        let story = stories.iter().find(|story| story.run == *run)?;
        let begun = story.entries.iter().find(|entry| entry.key == begin)?.time;
        Some(begun.duration_since(story.start()?.listens_from?))
    }

    /// The starts whose keys hold a text.
    fn starts_by(&self, part: &str) -> Vec<(RunId, Start)> {
        let stories = self.stories();
        let starts = stories
            .iter()
            .filter_map(|story| Some((story.run.clone(), story.start()?.clone())));
        starts
            .filter(|(_, start)| start.start_key.as_ref().is_some_and(|key| key.contains(part)))
            .collect()
    }

    /// Why events were refused, once that is enough.
    async fn refused_because(&self, is_enough: impl Fn(&[String]) -> bool) -> Vec<String> {
        loop {
            let refused: Vec<String> = self.refused().await.into_iter().map(|refused| refused.reason).collect();
            if is_enough(&refused) {
                return refused;
            }
            self.pass(Duration::from_millis(100)).await;
        }
    }
}
