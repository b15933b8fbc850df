//! Scenarios about what starts runs by itself, and the workflows that are started so.

use std::collections::BTreeSet;
use std::time::Duration;

use everstep::prelude::*;
use everstep::trigger::Occurrence;
use everstep::{ClientError, RunId};
use everstep_common::event::{MESSAGE_ID, RefusedEvent};
use everstep_common::ids::WorkflowName;
use everstep_common::ports::{Broker, Publish};
use everstep_core::Definition;
use everstep_orchestrator::Workflows;
use futures::FutureExt;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::awaited;
use super::scenarios::{Scenario, scenario};
use super::schedules;
use super::shop;
use super::trigger_terms;
use super::trigger_troubles;
use super::world::World;

/// Tells another workflow of an order that is worth something.
#[workflow(on(event("order.placed", filter = "cents > 0", input = "cents", dedupe = "order")))]
pub async fn placed(ctx: WorkflowContext, cents: u64) -> Result<u64, WorkflowError> {
    ctx.emit("order.charged", &json!({ "cents": cents })).await?;
    let (one, other) = ctx
        .parallel((ctx.emit("order.noted", &1), ctx.emit("order.noted", &2).key("second note")))
        .await?;
    let ((), ()) = (one, other);
    Ok(cents)
}

/// Is told of orders by another workflow.
#[workflow(
    on(event("order.charged", input = "cents")),
    on(event("order.charged", input = "@.data.cents"))
)]
pub async fn charged(ctx: WorkflowContext, cents: u64) -> Result<u64, WorkflowError> {
    ctx.sleep(Duration::from_secs(1)).await?;
    Ok(cents)
}

/// Is told of payments.
#[workflow(on(webhook("stripe", event = "payment_intent.succeeded", input = "data.object", dedupe = "id")))]
pub async fn paid(ctx: WorkflowContext, intent: Value) -> Result<u64, WorkflowError> {
    let _ = ctx;
    intent["amount"].as_u64().ok_or_else(|| WorkflowError::new("no amount"))
}

/// Asks for an opinion later.
#[workflow(on(event("order.placed", delay = "5s", input = "order")))]
pub async fn asked(ctx: WorkflowContext, order: String) -> Result<String, WorkflowError> {
    let _ = ctx;
    Ok(order)
}

/// Takes notice of anything that happens to orders.
#[workflow(on(event("order.*")))]
pub async fn noticed(ctx: WorkflowContext) -> Result<(), WorkflowError> {
    let _ = ctx;
    Ok(())
}

/// Is given the orders of a minute, two at a time.
#[workflow(on(event("order.packed", batch(window = "60s", max = 2), input = "order")))]
pub async fn packed(ctx: WorkflowContext, orders: Vec<u64>) -> Result<Vec<u64>, WorkflowError> {
    let _ = ctx;
    Ok(orders)
}

/// Runs at each full minute, and makes up for all of those that it missed.
#[workflow(on(cron("* * * * *", name = "all", misfire = "fire_all")))]
pub async fn every_minute(ctx: WorkflowContext, occurrence: Occurrence) -> Result<(), WorkflowError> {
    if ctx.now() < occurrence.time {
        return Err(WorkflowError::new("too early"));
    }
    Ok(())
}

/// Makes up for one of those that it missed.
#[workflow(on(cron("* * * * *", name = "once", tz = "Europe/Berlin", input = "7")))]
pub async fn once_for_all(ctx: WorkflowContext, number: u64) -> Result<u64, WorkflowError> {
    let _ = ctx;
    Ok(number)
}

/// Takes longer than the time between its starts.
#[workflow(on(cron("* * * * *", name = "slow", overlap = "skip", misfire = "skip")))]
pub async fn slow_report(ctx: WorkflowContext) -> Result<(), WorkflowError> {
    ctx.sleep(Duration::from_secs(150)).await
}

fn event_definitions() -> Vec<Definition> {
    let listen = vec![
        everstep::definition(placed, Default::default()),
        everstep::definition(charged, Default::default()),
        everstep::definition(paid, Default::default()),
        everstep::definition(asked, Default::default()),
        everstep::definition(noticed, Default::default()),
        everstep::definition(packed, Default::default()),
    ];
    listen.into_iter().chain(awaited::definitions()).collect()
}

fn cron_definitions() -> Vec<Definition> {
    vec![
        everstep::definition(every_minute, Default::default()),
        everstep::definition(once_for_all, Default::default()),
        everstep::definition(slow_report, Default::default()),
    ]
}

pub(super) fn with(mut workflows: Workflows, definitions: Vec<Definition>) -> Workflows {
    for definition in definitions {
        workflows.register(definition).expect("each is registered once");
    }
    workflows
}

/// How many of them listen.
pub(super) const LISTENING: usize = 6;

/// What listens to events.
pub fn event_code() -> Workflows {
    with(Workflows::new(), event_definitions())
}

/// What runs by the clock.
pub fn cron_code() -> Workflows {
    with(Workflows::new(), cron_definitions())
}

/// All of it, and the shop.
pub(super) fn all_code() -> Workflows {
    let by_clock = cron_definitions().into_iter().chain(schedules::definitions());
    let by_events = event_definitions().into_iter().chain(trigger_terms::definitions());
    let code = with(shop::code(), by_events.collect());
    trigger_troubles::with_all_code(with(code, by_clock.collect()))
}

impl Scenario {
    /// Events of every sort, each published twice; whoever dies.
    pub const LISTENED: Self = scenario!(listened);
    /// Events that are put together by the minute.
    pub const GATHERED: Self = scenario!(gathered);
    /// Events come while nobody has the code, and before anybody had it.
    pub const UNHEARD: Self = scenario!(unheard);
    /// Schedules whose orchestrator is away for some minutes.
    pub const MISSED: Self = scenario!(missed);
    /// Schedules go on from orchestrator to orchestrator without a gap.
    pub const SCHEDULED: Self = scenario!(scheduled);
    /// A schedule that is paused, resumed and backfilled.
    pub const PAUSED: Self = scenario!(paused);
}

async fn listened(world: World) {
    world.orchestrator("orchestrator-1", event_code);
    world.listening(LISTENING).await;
    for _ in 0..2 {
        world
            .publish("order.placed", json!({ "order": "o-1", "cents": 100 }), "one")
            .await;
        world
            .publish("order.placed", json!({ "order": "o-2", "cents": 0 }), "two")
            .await;
        let intent = json!({ "id": "evt_1", "data": { "object": { "amount": 7 } } });
        world
            .publish("webhook.stripe.payment_intent.succeeded", intent, "delivery")
            .await;
        world.publish_plain("order.lost", "not JSON", "three").await;
        world.publish_plain("order.plain", "{}", "four").await;
    }
    // placed 1, charged 1, paid 1, asked 2; noticed: two placed, one charged, two noted, one plain.
    world.started_by("event:", 11).await;
    let refused = world.refused().await;
    let expected = RefusedEvent {
        workflow: WorkflowName::new("noticed").expect("a name"),
        event: "order.lost".to_owned(),
        ..refused[0].clone()
    };
    assert!(
        refused
            .iter()
            .all(|found| found.workflow == expected.workflow && found.event == expected.event),
        "{refused:?}"
    );
    world.pass(Duration::from_secs(10)).await;
    world.started_by("event:", 11).await;
    for name in ["order.charged", "order.noted"] {
        let subject = format!("event.{name}");
        let messages = world.server().messages(&world.names().event_stream());
        let times = messages.iter().filter(|message| message.subject == subject).count();
        let expected = if name == "order.noted" { 2 } else { 1 };
        assert_eq!(times, expected, "{name} is published once for each emit");
    }
}

async fn gathered(world: World) {
    world.orchestrator("orchestrator-1", event_code);
    world.listening(LISTENING).await;
    for number in 0..7 {
        for _ in 0..2 {
            world
                .publish("order.packed", json!({ "order": number }), &format!("packed {number}"))
                .await;
        }
        world.pass(Duration::from_secs(17)).await;
    }
    world.pass(Duration::from_secs(90)).await;
    let mut given: Vec<u64> = Vec::new();
    for (key, input) in world.inputs_of("batch:") {
        let orders: Vec<u64> = everstep_common::wire::decode_value(&input).expect("a list of numbers");
        assert!((1..=2).contains(&orders.len()), "{key} was given {orders:?}");
        given.extend(orders);
    }
    given.sort_unstable();
    assert_eq!(given, (0..7).collect::<Vec<_>>(), "each event is given to one run");
}

async fn unheard(world: World) {
    world.publish("order.plain", json!({}), "before anybody listened").await;
    world.orchestrator("orchestrator-1", event_code);
    world.listening(LISTENING).await;
    world.kill("orchestrator-1");
    world.publish("order.plain", json!({}), "while nobody was there").await;
    // It routes what others listen to, and has no code for it.
    world.orchestrator("orchestrator-2", shop::code);
    world.until(|world| world.starts("event:").len() == 1).await;
    let run = world.starts("event:").into_iter().next().expect("there is one").0;
    world
        .until(|world| world.summary(&run).is_some_and(|summary| summary.reason.is_some()))
        .await;
    world.orchestrator("orchestrator-3", event_code);
    world.started_by("event:", 1).await;
}

async fn scheduled(world: World) {
    world.orchestrator("orchestrator-1", cron_code);
    world.orchestrator("orchestrator-2", cron_code);
    for round in 0..3 {
        world.pass(Duration::from_secs(47)).await;
        world.restart(&format!("orchestrator-{}", round % 2 + 1));
    }
    let times = world.until_times("cron:all@", 3).await;
    expect_no_gap(&times);
}

async fn missed(world: World) {
    world.orchestrator("orchestrator-1", cron_code);
    world.until_times("cron:all@", 1).await;
    world.until_times("cron:once@", 1).await;
    world.until_times("cron:slow@", 1).await;
    world.kill("orchestrator-1");
    world.pass(Duration::from_secs(290)).await;
    let before = [world.times("cron:all@").len(), world.times("cron:once@").len()];
    world.orchestrator("orchestrator-2", cron_code);
    let all = world.until_times("cron:all@", before[0] + 5).await;
    expect_no_gap(&all);
    let once = world.until_times("cron:once@", before[1] + 2).await;
    assert!(once.len() < all.len(), "of {all:?} it has only {once:?}");
    world.pass(Duration::from_secs(180)).await;
    let slow = world.times("cron:slow@");
    let closest = slow.windows(2).map(|pair| pair[1].duration_since(pair[0])).min();
    assert!(closest >= Some(SignedDuration::from_secs(150)), "{slow:?} do not overlap");
    assert_eq!(world.inputs_of("cron:once@")[0].1[..], [7]);
}

async fn paused(world: World) {
    world.orchestrator("orchestrator-1", cron_code);
    let first = world.until_times("cron:all@", 2).await;
    let id = "every_minute/all";
    world.asked(async |client| client.pause_schedule(id, "a holiday").await).await;
    world.pass(Duration::from_secs(5)).await;
    let before = world.times("cron:all@").len();
    world.pass(Duration::from_secs(180)).await;
    assert_eq!(world.times("cron:all@").len(), before, "a paused schedule starts nothing");
    world.asked(async |client| client.resume_schedule(id).await).await;
    let after = world.until_times("cron:all@", before + 1).await;
    let gap = after[before].duration_since(after[before - 1]);
    assert!(
        gap >= SignedDuration::from_secs(180),
        "what passed meanwhile starts nothing: {after:?}"
    );
    let (from, to) = (first[0], after[before]);
    let runs = world.asked(async |client| client.backfill_schedule(id, from, to).await).await;
    let all = world.times("cron:all@");
    expect_no_gap(&all);
    assert!(runs.len() >= before + 2, "{runs:?}");
    let none = world
        .client_now()
        .await
        .pause_schedule("every_minute/none", "")
        .boxed_local()
        .await;
    assert!(matches!(none, Err(ClientError::NoSchedule { .. })), "{none:?}");
}

fn expect_no_gap(times: &[Timestamp]) {
    let minute = SignedDuration::from_mins(1);
    assert!(
        times.windows(2).all(|pair| pair[1].duration_since(pair[0]) == minute),
        "a time is missing or doubled: {times:?}"
    );
}

impl World {
    /// Asks until there is an answer.
    pub(super) async fn asked<T>(&self, ask: impl AsyncFn(&everstep::Client) -> Result<T, ClientError>) -> T {
        self.client(async |client| {
            loop {
                match ask(client).await {
                    Ok(answer) => return answer,
                    Err(error) => self.again(&error).await,
                }
            }
        })
        .await
    }

    /// Publishes an event of ours.
    pub(super) async fn publish(&self, name: &str, data: Value, id: &str) {
        self.asked(async |client| client.publish_event(name, &data).id(id).source("test").await)
            .await;
    }

    /// Publishes what others do: a body and a message id.
    async fn publish_plain(&self, name: &str, body: &'static str, id: &str) {
        let broker = self.new_connection("stranger");
        let publish = Publish::new(format!("event.{name}"), body).with_header(MESSAGE_ID, id);
        while broker.publish(publish.clone()).await.is_err() {
            self.pass(Duration::from_millis(100)).await;
        }
    }

    /// Returns once so many workflows listen to something.
    pub(super) async fn listening(&self, workflows: usize) {
        while self.asked(async |client| client.listeners().await).await.len() < workflows {
            self.pass(Duration::from_millis(100)).await;
        }
    }

    pub(super) async fn refused(&self) -> Vec<RefusedEvent> {
        loop {
            let refused = self.asked(async |client| client.refused_events().await).await;
            if !refused.is_empty() {
                return refused.into_iter().map(|(_, refused)| refused).collect();
            }
            self.pass(Duration::from_millis(100)).await;
        }
    }

    /// The runs whose start keys begin so, and those keys.
    pub(super) fn starts(&self, prefix: &str) -> Vec<(RunId, String)> {
        let stories = self.stories();
        let starts = stories
            .iter()
            // One in which another goes on has its key.
            .filter(|story| story.start().is_some_and(|start| start.continues.is_none()))
            .filter_map(|story| Some((story.run.clone(), story.start()?.start_key.clone()?)));
        starts.filter(|(_, key)| key.starts_with(prefix)).collect()
    }

    pub(super) fn inputs_of(&self, prefix: &str) -> Vec<(String, bytes::Bytes)> {
        let stories = self.stories();
        let starts = stories.iter().filter_map(|story| story.start());
        let of_prefix = starts.filter(|start| start.start_key.as_ref().is_some_and(|key| key.starts_with(prefix)));
        of_prefix
            .map(|start| match &start.input {
                everstep_common::payload::Payload::Inline(bytes) => (start.start_key.clone().unwrap_or_default(), bytes.clone()),
                other => panic!("a large input: {other:?}"),
            })
            .collect()
    }

    /// Returns when exactly so many runs with such keys have begun, and all of them have ended.
    pub(super) async fn started_by(&self, prefix: &str, runs: usize) {
        let has_ended = |world: &World| {
            let stories = world.stories();
            let of_prefix = stories.iter().filter(|story| {
                let start = story.start().and_then(|start| start.start_key.as_ref());
                start.is_some_and(|key| key.starts_with(prefix))
            });
            let (ended, open): (Vec<_>, Vec<_>) = of_prefix.partition(|story| story.end().is_some());
            assert!(ended.len() + open.len() <= runs, "too many runs: {:?}", world.starts(prefix));
            ended.len() == runs
        };
        self.until(has_ended).await;
    }

    /// The times that runs stand for whose start keys begin so, in order.
    pub(super) fn times(&self, prefix: &str) -> Vec<Timestamp> {
        let starts = self.starts(prefix);
        let times: BTreeSet<Timestamp> = starts
            .iter()
            .map(|(_, key)| key[prefix.len()..].parse().expect("a time"))
            .collect();
        assert_eq!(times.len(), starts.len());
        times.into_iter().collect()
    }

    /// The same once there are so many of them.
    pub(super) async fn until_times(&self, prefix: &str, count: usize) -> Vec<Timestamp> {
        self.until(|world| world.times(prefix).len() >= count).await;
        self.times(prefix)
    }
}
