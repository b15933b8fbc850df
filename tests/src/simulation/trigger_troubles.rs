//! What must not stop the triggers, or have them miss something: events and records that nobody can do anything with, backlogs, windows and
//! schedules that change, streams that are rolled back.

use std::time::Duration;

use bytes::Bytes;
use everstep::RunId;
use everstep::prelude::*;
use everstep_common::event::MESSAGE_ID;
use everstep_common::ids::{ProcessId, WorkflowName};
use everstep_common::ports::{Broker, Publish};
use everstep_common::store::TRIGGERS;
use everstep_common::trigger::Trigger;
use everstep_common::trigger::registration::{Listening, Registration, ScheduleRecord, schedule_key};
use everstep_common::wire;
use everstep_core::Definition;
use everstep_memory::MemoryBroker;
use everstep_orchestrator::Workflows;
use futures::FutureExt;
use jiff::SignedDuration;
use serde_json::{Value, json};

use super::scenarios::{Scenario, scenario};
use super::triggers::with;
use super::world::World;

/// Looks at a parcel some time after it was sent.
#[workflow(on(event("parcel.sent", delay = "5s")))]
async fn looked_after(ctx: WorkflowContext, parcel: Value) -> Result<usize, WorkflowError> {
    let _ = ctx;
    Ok(length(&parcel))
}

/// Is given the parcels of ten seconds.
#[workflow(on(event("parcel.*", batch(window = "10s"))))]
async fn shipped(ctx: WorkflowContext, parcels: Vec<Value>) -> Result<usize, WorkflowError> {
    let _ = ctx;
    Ok(parcels.iter().map(length).sum())
}

/// Is given small parcels soon and large ones later.
#[workflow(
    on(event("box.sent", filter = "size < 10", batch(window = "10s"))),
    on(event("box.sent", filter = "size >= 10", batch(window = "60s")))
)]
async fn sorted(ctx: WorkflowContext, boxes: Vec<Value>) -> Result<(), WorkflowError> {
    let _ = (ctx, boxes);
    Ok(())
}

/// Is told of letters at once.
#[workflow(on(event("letter.sent")))]
async fn told(ctx: WorkflowContext, letter: Value) -> Result<(), WorkflowError> {
    let _ = (ctx, letter);
    Ok(())
}

/// Goes on in other runs for longer than the time between its starts.
#[workflow(on(cron("* * * * *", name = "hops", overlap = "skip", input = "7")))]
async fn hops(ctx: WorkflowContext, left: u64) -> Result<(), WorkflowError> {
    ctx.sleep(Duration::from_secs(20)).await?;
    match left {
        0 => Ok(()),
        left => ctx.continue_as_new(left - 1),
    }
}

/// Goes on in other runs until its next time.
#[workflow(on(cron("* * * * *", name = "replaced", overlap = "cancel", input = "1000")))]
async fn replaced(ctx: WorkflowContext, left: u64) -> Result<(), WorkflowError> {
    ctx.sleep(Duration::from_secs(25)).await?;
    ctx.continue_as_new(left - 1)
}

/// Once a year, which is not in these stories.
#[workflow(on(cron("0 0 1 1 *", name = "yearly")))]
async fn yearly(ctx: WorkflowContext) -> Result<(), WorkflowError> {
    let _ = ctx;
    Ok(())
}

/// Runs each minute.
#[workflow(on(cron("* * * * *", name = "minutely")))]
async fn minutely(ctx: WorkflowContext) -> Result<(), WorkflowError> {
    let _ = ctx;
    Ok(())
}

fn length(value: &Value) -> usize {
    value.as_array().map_or(1, Vec::len)
}

fn event_definitions() -> Vec<Definition> {
    vec![
        everstep::definition(looked_after, Default::default()),
        everstep::definition(shipped, Default::default()),
        everstep::definition(sorted, Default::default()),
        everstep::definition(told, Default::default()),
        everstep::definition(yearly, Default::default()),
    ]
}

fn event_code() -> Workflows {
    with(Workflows::new(), event_definitions())
}

fn backlog_code() -> Workflows {
    with(event_code(), vec![everstep::definition(minutely, Default::default())])
}

fn hopping_code() -> Workflows {
    with(Workflows::new(), vec![everstep::definition(hops, Default::default())])
}

fn replaced_code() -> Workflows {
    with(Workflows::new(), vec![everstep::definition(replaced, Default::default())])
}

/// All of it, with the code of other stories.
pub(super) fn with_all_code(workflows: Workflows) -> Workflows {
    let by_clock = vec![
        everstep::definition(hops, Default::default()),
        everstep::definition(replaced, Default::default()),
        everstep::definition(minutely, Default::default()),
    ];
    with(with(workflows, event_definitions()), by_clock)
}

const LISTENING: usize = 5;

impl Scenario {
    /// Events that grow when they are written down, and one that cannot be kept as refused as it is.
    pub const OVERGROWN: Self = scenario!(overgrown);
    /// Records that nobody can read.
    pub const UNREADABLE_RECORDS: Self = scenario!(unreadable);
    /// More schedules than one answer holds.
    pub const MANIFOLD: Self = scenario!(manifold);
    /// A window ends while events come without a pause.
    pub const STEADY: Self = scenario!(steady);
    /// What is due comes on top of a backlog of events.
    pub const BACKLOG: Self = scenario!(backlog);
    /// Two windows of one workflow on one event, of different length.
    pub const SORTED: Self = scenario!(two_windows);
    /// Events are taken back, and others come in their place, while nobody looks.
    pub const REGROWN: Self = Self {
        disturbed: true,
        ..scenario!(regrown)
    };
    /// Runs of a schedule that go on in others.
    pub const HOPPED: Self = scenario!(hopped);
    /// The same, each cancelled for the next.
    pub const REPLACED: Self = scenario!(replaced_each);
}

async fn overgrown(world: World) {
    world.orchestrator("orchestrator-1", event_code);
    world.listening(LISTENING).await;
    let numbers = ["1e9"; 150_000].join(",");
    world
        .publish_raw("parcel.sent", format!("[{numbers}]"), &[(MESSAGE_ID, "large")])
        .await;
    let strange = "x".repeat(700_000);
    world
        .publish_raw("parcel.lost", "{}", &[(MESSAGE_ID, "strange"), ("content-type", &strange)])
        .await;
    world.publish("letter.sent", json!({}), "a letter").await;
    // The letter and the delayed parcel, and those of the window.
    world.started_by("event:", 2).await;
    world.started_by("batch:", 1).await;
    let refused = world.asked(async |client| client.refused_events().await).await;
    let refused: Vec<_> = refused.iter().map(|(_, refused)| refused.event.as_str()).collect();
    assert_eq!(refused, ["parcel.lost"]);
}

async fn unreadable(world: World) {
    world.put_trigger_record("workflow.nobody", Bytes::from_static(b"?")).await;
    world
        .put_trigger_record("schedule.nobody.daily", Bytes::from_static(b"?"))
        .await;
    world.orchestrator("orchestrator-1", event_code);
    world.listening(LISTENING).await;
    world.publish("letter.sent", json!({}), "a letter").await;
    world.started_by("event:", 1).await;
    let schedules = world.asked(async |client| client.schedules().await).await;
    assert_eq!(schedules.len(), 1, "the one that can be read: {schedules:?}");
    let kept = world.server().messages(&world.names().bucket_stream(TRIGGERS));
    let unread = kept.iter().filter(|message| message.subject.contains("nobody")).count();
    assert_eq!(unread, 2, "what is not understood is not taken away");
}

async fn manifold(world: World) {
    for number in 0..40 {
        let workflow = WorkflowName::new(format!("many{number}")).expect("a name");
        let listens = (0..30).map(|number| Listening {
            trigger: Trigger::Cron(Trigger::cron(format!("cron{number}"), "0 0 1 1 *")),
            since: 0,
        });
        let registration = Registration {
            workflow: workflow.clone(),
            version: 1,
            listens: listens.collect(),
            by: ProcessId::fresh("test"),
        };
        for schedule in registration.schedules() {
            let record = ScheduleRecord::new(workflow.clone(), 1, schedule.clone());
            let value = wire::encode(&record).expect("plain data");
            world
                .put_trigger_record(&schedule_key(&workflow, &schedule.name), value)
                .await;
        }
        let value = wire::encode(&registration).expect("plain data");
        world.put_trigger_record(&format!("workflow.{workflow}"), value).await;
    }
    world.orchestrator("orchestrator-1", event_code);
    world.listening(LISTENING + 40).await;
    world.publish("letter.sent", json!({}), "a letter").await;
    world.started_by("event:", 1).await;
    let schedules = world.asked(async |client| client.schedules().await).await;
    assert_eq!(schedules.len(), 1_201);
    world
        .asked(async |client| client.pause_schedule("many7/cron7", "").await)
        .await;
}

async fn steady(world: World) {
    world.orchestrator("orchestrator-1", event_code);
    world.listening(LISTENING).await;
    world.publish("parcel.packed", json!({}), "a parcel").await;
    let since = world.server().time();
    let passed = || world.server().time().duration_since(since);
    let mut number = 0;
    while passed() < SignedDuration::from_secs(24) {
        // One after the other: each is there before the one before has been dealt with.
        world.publish("nobody.listens", json!(number), &format!("{number}")).await;
        number += 1;
    }
    assert_eq!(world.starts("batch:").len(), 1, "the window of ten seconds is closed by then");
}

async fn backlog(world: World) {
    world.orchestrator("orchestrator-1", backlog_code);
    world.listening(LISTENING + 1).await;
    let before = world.until_times("cron:minutely@", 1).await.len();
    world.kill("orchestrator-1");
    for number in 0..2_000 {
        world
            .publish_raw(
                "letter.sent",
                format!("{number}"),
                &[(MESSAGE_ID, &format!("letter {number}"))],
            )
            .await;
    }
    world.pass(Duration::from_secs(60)).await;
    world.orchestrator("orchestrator-2", backlog_code);
    world.until(|world| world.starts("event:").len() == 2_000).await;
    let order = world.start_keys("");
    let mut times = order.iter().enumerate().filter(|(_, key)| key.starts_with("cron:minutely@"));
    let (place, _) = times.nth(before).expect("it was due");
    assert!(place < 1_500, "what was due waited for {place} of 2,000 letters");
}

async fn two_windows(world: World) {
    world.orchestrator("orchestrator-1", event_code);
    world.listening(LISTENING).await;
    // Windows of both lengths begin at each full minute.
    let into_minute = Duration::from_secs(60 - world.server().time().as_second().unsigned_abs() % 60);
    world.pass(into_minute).await;
    for size in [1, 20, 2, 30] {
        world
            .publish("box.sent", json!({ "size": size }), &format!("box {size}"))
            .await;
    }
    world.pass(Duration::from_secs(75)).await;
    let mut given: Vec<Vec<u64>> = Vec::new();
    for (_, input) in world.inputs_of("batch:") {
        let boxes: Vec<Value> = wire::decode_value(&input).expect("a list");
        given.push(boxes.iter().filter_map(|one| one["size"].as_u64()).collect());
    }
    given.sort();
    assert_eq!(given, [[1, 2], [20, 30]]);
}

async fn regrown(world: World) {
    world.orchestrator("orchestrator-1", event_code);
    world.listening(LISTENING).await;
    for number in 0..6 {
        world.publish("letter.sent", json!(number), &format!("old {number}")).await;
    }
    world.started_by("event:", 6).await;
    world.pass(Duration::from_secs(5)).await;
    world.kill("orchestrator-1");
    world.server().restart();
    assert!(world.server().roll_back(&world.names().event_stream(), 2));
    for number in 0..9 {
        world.publish("letter.sent", json!(number), &format!("new {number}")).await;
    }
    world.orchestrator("orchestrator-2", event_code);
    world.started_by("event:", 15).await;
}

async fn hopped(world: World) {
    world.orchestrator("orchestrator-1", hopping_code);
    world.until_times("cron:hops@", 1).await;
    world.pass(Duration::from_secs(400)).await;
    let times = world.times("cron:hops@");
    let closest = times.windows(2).map(|pair| pair[1].duration_since(pair[0])).min();
    assert!(times.len() > 1, "it goes on when they have ended: {times:?}");
    assert!(closest >= Some(SignedDuration::from_secs(160)), "{times:?} overlap");
}

async fn replaced_each(world: World) {
    world.orchestrator("orchestrator-1", replaced_code);
    world.until_times("cron:replaced@", 3).await;
    world.pass(Duration::from_secs(10)).await;
    world
        .asked(async |client| client.pause_schedule("replaced/replaced", "").await)
        .await;
    let open = world.open_runs();
    assert_eq!(open.len(), 1, "those before it were cancelled");
    world.asked(async |client| client.cancel(&open[0], "").await).await;
    world.until(|world| world.open_runs().is_empty()).await;
}

impl World {
    /// The start keys that begin so, in the order of the starts.
    fn start_keys(&self, prefix: &str) -> Vec<String> {
        let mut stories = self.stories();
        stories.retain(|story| story.start().is_some());
        stories.sort_by_key(|story| story.entries.first().map(|entry| entry.sequence));
        let keys = stories.iter().filter_map(|story| story.start()?.start_key.clone());
        keys.filter(|key| key.starts_with(prefix)).collect()
    }

    pub(super) fn open_runs(&self) -> Vec<RunId> {
        let mut stories = self.stories();
        stories.retain(|story| story.start().is_some() && story.end().is_none());
        stories.into_iter().map(|story| story.run).collect()
    }

    /// Publishes what others do: a body and headers.
    async fn publish_raw(&self, name: &str, body: impl Into<Bytes>, headers: &[(&str, &str)]) {
        let broker = self.stranger();
        let mut publish = Publish::new(format!("event.{name}"), body.into());
        for (name, value) in headers {
            publish = publish.with_header(*name, *value);
        }
        while broker.publish(publish.clone()).await.is_err() {
            self.pass(Duration::from_millis(100)).await;
        }
    }

    fn stranger(&self) -> MemoryBroker {
        let known = self.0.brokers.borrow().get("stranger").cloned();
        known.unwrap_or_else(|| self.new_connection("stranger"))
    }

    pub(super) async fn put_trigger_record(&self, key: &str, value: Bytes) {
        let subject = self.names().bucket_key(TRIGGERS, key);
        let stored = self.stranger().publish(Publish::new(subject, value)).await;
        stored.expect("nothing goes wrong in this story");
    }
}
