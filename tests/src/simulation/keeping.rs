//! Scenarios about what an owner keeps right besides driving runs: what is lost at the server and found by the sweep, runs that stand still,
//! summaries, a stream that changes under it.

use std::time::Duration;

use everstep_common::ids::{RunId, WorkflowName};
use everstep_common::journal::{Entry, EntryKey, Inbound, InboundKind, Local, LocalKind, RunOutcome, StepResult};
use everstep_common::limits::{BATCH_MESSAGES_MAX, JOURNAL_ENTRIES_WARN};
use everstep_common::payload::Payload;
use everstep_common::ports::{Broker, Publish};
use everstep_common::store::{LEASES, RUNS};
use everstep_common::summary::RunStatus;
use everstep_memory::Call;
use futures::FutureExt;
use tracing::Level;

use super::scenarios::{Scenario, expect_completed, scenario, usual};
use super::shop;
use super::world::World;
use crate::logs::Logs;

impl Scenario {
    /// Schedules vanish from the server, of a run in memory and of one that is not.
    pub const SCHEDULES_LOST: Self = scenario!(schedules_lost);
    /// The bucket of summaries is emptied.
    pub const SUMMARIES_LOST: Self = scenario!(summaries_lost);
    /// A run is asked to cancel where its code is not, and comes to where it is.
    pub const CANCELLED_BY_ITS_CODE: Self = scenario!(cancelled_by_its_code);
    /// A run is asked to cancel where its code is not, twice.
    pub const CANCELLED_AS_IT_STANDS: Self = scenario!(cancelled_as_it_stands);
    /// An entry that no build can read.
    pub const UNREADABLE: Self = Self {
        disturbed: true,
        ..scenario!(unreadable)
    };
    /// A large value that one owner does not find and the next one does.
    pub const UNREADABLE_FOR_A_WHILE: Self = scenario!(unreadable_for_a_while);
    /// The journal stream is cut back to before a run was started.
    pub const STARTED_IN_VAIN: Self = Self {
        disturbed: true,
        rolls_back: true,
        ..scenario!(started_in_vain)
    };
    /// The journal stream is cut back while it is driven.
    pub const CUT_BACK: Self = Self {
        repeats: true,
        disturbed: true,
        rolls_back: true,
        ..scenario!(cut_back)
    };
    /// Somebody's late entry stands where no run was started. Wants a sweep every minute or so.
    pub const NEVER_STARTED: Self = scenario!(never_started);
    /// A journal grows to where it is warned about, and a little beyond.
    pub const LONG_JOURNAL: Self = scenario!(long_journal);
    /// The bucket of leases is cut back under its owner, as a restored backup does.
    pub const LEASES_CUT_BACK: Self = scenario!(leases_cut_back);
}

/// A little longer than the time between two sweeps.
fn sweep_period(world: &World) -> Duration {
    world.settings().sweep_every + Duration::from_secs(5)
}

fn schedules(world: &World, run: &RunId) -> usize {
    let stream = world.names().timer_stream(run.partition());
    let messages = world.server().messages(&stream);
    messages
        .iter()
        .filter(|message| message.subject.contains(run.as_str()))
        .count()
}

async fn schedules_lost(world: World) {
    usual(&world);
    let mut runs = Vec::new();
    for number in 0..3 {
        runs.push(world.start(shop::night, (), &format!("night {number}")).await);
    }
    world.until(|world| runs.iter().all(|run| schedules(world, run) == 1)).await;
    let admin = world.new_connection("admin");
    let stream = world.names().timer_stream(runs[0].partition());
    admin.purge(&stream, ">").await.expect("the stream is there");
    world.pass(sweep_period(&world)).await;
    for run in &runs {
        assert_eq!(schedules(&world, run), 1, "run {run} would sleep for ever if its owner died");
    }
    world.restart("orchestrator-1");
    for run in &runs {
        expect_completed(&world, run).await;
    }
}

async fn summaries_lost(world: World) {
    usual(&world);
    let ended = world.start(shop::order, "o-1".to_owned(), "order").await;
    expect_completed(&world, &ended).await;
    let open = world.start(shop::night, (), "night").await;
    world
        .until(|world| world.summary(&ended).is_some() && world.summary(&open).is_some())
        .await;
    let admin = world.new_connection("admin");
    admin
        .purge(&world.names().bucket_stream(RUNS), ">")
        .await
        .expect("the stream is there");
    assert!(world.summary(&ended).is_none());
    world.pass(sweep_period(&world)).await;
    let status = |run: &RunId| world.summary(run).map(|summary| summary.status);
    assert_eq!(status(&ended), Some(RunStatus::Completed));
    assert_eq!(status(&open), Some(RunStatus::Running));
    expect_completed(&world, &open).await;
}

/// A run that was asked to cancel while nobody drove it, and whose next owner lacks its code.
async fn cancelled_where_the_code_is_not(world: &World) -> RunId {
    usual(world);
    let run = world.start(shop::night, (), "night").await;
    world.until(|world| schedules(world, &run) == 1).await;
    world.kill("orchestrator-1");
    world.cancel(&run).await;
    world.orchestrator("orchestrator-2", shop::order_only);
    world.parked(&run, "cancel it again to end it as it stands").await;
    run
}

async fn cancelled_by_its_code(world: World) {
    let run = cancelled_where_the_code_is_not(&world).await;
    world.pass(Duration::from_secs(20)).await;
    assert!(
        world.stories().iter().all(|story| story.end().is_none()),
        "ended without its code"
    );
    world.orchestrator("orchestrator-3", shop::code);
    let outcome = world.ended(&run).await;
    assert!(matches!(outcome, RunOutcome::Cancelled(_)), "{outcome:?}");
}

async fn cancelled_as_it_stands(world: World) {
    let run = cancelled_where_the_code_is_not(&world).await;
    world.cancel(&run).await;
    let outcome = world.ended(&run).await;
    assert!(matches!(outcome, RunOutcome::Cancelled(_)), "{outcome:?}");
}

async fn unreadable(world: World) {
    usual(&world);
    let run = world.start(shop::night, (), "night").await;
    world.pass(Duration::from_secs(3)).await;
    let other = world.start(shop::order, "o-1".to_owned(), "order").await;
    let admin = world.new_connection("admin");
    let key: EntryKey = "step.odd".parse().expect("a key");
    let garbage = Publish::new(world.names().entry(&run, &key), "no entry").create_only();
    admin.publish(garbage).await.expect("stored");
    world.parked(&run, "cannot be read by this build").await;
    expect_completed(&world, &other).await;
    // A successor that reads it for the first time says the same, and what it is.
    world.restart("orchestrator-1");
    world.pass(Duration::from_secs(10)).await;
    let summary = world.summary(&run).expect("it is listed");
    assert_eq!((summary.status, summary.workflow.as_str()), (RunStatus::Parked, "night"));
    world.cancel(&run).await;
    world.ended(&run).await;
}

async fn unreadable_for_a_while(world: World) {
    world.orchestrator("orchestrator-1", shop::code);
    let run = world.start(shop::large, shop::large_input(), "large").await;
    let is = |world: &World, status| world.summary(&run).is_some_and(|summary| summary.status == status);
    world.until(|world| is(world, RunStatus::Running)).await;
    world.kill("orchestrator-1");
    let stream = world.names().payload_stream();
    let chunks = world.server().messages(&stream);
    let admin = world.new_connection("admin");
    admin.purge(&stream, ">").await.expect("the stream is there");
    // What the journal ends with is another run's.
    let other = world.start(shop::order, "o-1".to_owned(), "order").await;
    world.orchestrator("orchestrator-2", shop::code);
    world.parked(&run, "cannot be read by this build").await;
    for chunk in chunks {
        let chunk = Publish::new(chunk.subject, chunk.payload);
        admin.publish(chunk).await.expect("stored");
    }
    world.restart("orchestrator-2");
    world.until(|world| is(world, RunStatus::Running)).await;
    world.worker("worker-1", &["default"]);
    expect_completed(&world, &run).await;
    expect_completed(&world, &other).await;
}

fn cut_off(world: &World) {
    let connections = world.connections_of("orchestrator-1");
    connections
        .iter()
        .for_each(|name| world.server().cut(name, Duration::from_millis(100)));
}

/// Cuts the journal stream of a run back, and waits until it is driven again.
async fn cut_back_to(world: &World, run: &RunId, last: u64) {
    let owner = world.epoch(run.partition());
    world.server().roll_back(&world.names().journal_stream(run.partition()), last);
    // Nothing else comes by the feed; a reconnect is when an owner looks.
    cut_off(world);
    world.until(|world| world.epoch(run.partition()) != owner).await;
}

async fn started_in_vain(world: World) {
    usual(&world);
    let stays = world.start(shop::night, (), "night").await;
    world.pass(Duration::from_secs(1)).await;
    let stream = world.names().journal_stream(stays.partition());
    let before = world.server().stream_info(&stream).expect("it is there").last_sequence;
    let gone = world.start(shop::night, (), "another night").await;
    world.until(|world| world.summary(&gone).is_some()).await;
    cut_back_to(&world, &stays, before).await;
    let owner = world.epoch(stays.partition());
    cut_off(&world);
    world.pass(Duration::from_secs(20)).await;
    assert_eq!(world.epoch(stays.partition()), owner, "nothing was lost since");
    assert!(world.summary(&gone).is_none(), "there is no such run");
    assert_eq!(world.summary(&stays).map(|summary| summary.status), Some(RunStatus::Running));
    // Who misses it starts it again.
    assert_eq!(world.start(shop::night, (), "another night").await, gone);
    expect_completed(&world, &stays).await;
    expect_completed(&world, &gone).await;
}

async fn cut_back(world: World) {
    usual(&world);
    let ended = world.start(shop::order, "o-1".to_owned(), "order").await;
    let open = world.start(shop::night, (), "night").await;
    world.pass(Duration::from_secs(1)).await;
    let stream = world.names().journal_stream(ended.partition());
    let before = world.server().stream_info(&stream).expect("it is there").last_sequence;
    expect_completed(&world, &ended).await;
    let is = |world: &World, status| world.summary(&ended).is_some_and(|summary| summary.status == status);
    world.until(|world| is(world, RunStatus::Completed)).await;
    cut_back_to(&world, &ended, before).await;
    expect_completed(&world, &ended).await;
    world.until(|world| is(world, RunStatus::Completed)).await;
    expect_completed(&world, &open).await;
}

async fn leases_cut_back(world: World) {
    usual(&world);
    let first = world.start(shop::order, "o-1".to_owned(), "order").await;
    expect_completed(&world, &first).await;
    let stream = world.names().bucket_stream(LEASES);
    let before = world.server().stream_info(&stream).expect("it is there").last_sequence;
    world.pass(Duration::from_secs(10)).await;
    let later = world.server().stream_info(&stream).expect("it is there").last_sequence;
    assert!(later > before, "the lease was renewed meanwhile");
    world.server().roll_back(&stream, before);
    let second = world.start(shop::order, "o-2".to_owned(), "another order").await;
    expect_completed(&world, &second).await;
}

/// How often subjects were listed, which a sweep does.
fn listings(world: &World) -> u64 {
    let connections = world.connections_of("orchestrator-1");
    let calls = connections.iter().map(|name| world.server().calls(name));
    calls.filter_map(|calls| calls.get(&Call::Subjects).copied()).sum()
}

async fn never_started(world: World) {
    usual(&world);
    world.pass(world.settings().sweep_every / 2).await;
    let run = RunId::keyed(&WorkflowName::new("order").expect("a name"), "late", 1);
    let result = Entry::Local(Local {
        kind: LocalKind::Closure,
        result: StepResult::Value(Payload::unit()),
    });
    let late = write(&world, &run, "local.late", &result);
    world.new_connection("admin").publish(late).await.expect("stored");
    let stands = |world: &World| world.stories().iter().any(|story| story.run == run);
    for (period, stays) in [("half a", true), ("one and a half", false)] {
        let before = listings(&world);
        world.until(|world| listings(world) > before).await;
        world.pass(Duration::from_secs(10)).await;
        assert_eq!(stands(&world), stays, "after {period} period");
    }
    // It was all that stood in the way of a start.
    assert_eq!(world.start(shop::order, "o-1".to_owned(), "late").await, run);
    expect_completed(&world, &run).await;
}

async fn long_journal(world: World) {
    world.orchestrator("orchestrator-1", shop::code);
    let run = world.start(shop::order, "o-1".to_owned(), "order").await;
    let (logs, _gathering) = Logs::gather(Level::WARN);
    let admin = world.new_connection("admin");
    // What changes nothing for a run that goes on. The first entry is its start.
    let resume = Entry::In(Inbound {
        kind: InboundKind::Resume { accept_unasked: false },
        by: None,
        reason: None,
    });
    let entries = (2..).map(|number| write(&world, &run, &format!("in.resume-{number}"), &resume));
    let mut entries = entries.take(JOURNAL_ENTRIES_WARN + 10);
    for (until, warnings) in [
        (JOURNAL_ENTRIES_WARN - 1, 0),
        (JOURNAL_ENTRIES_WARN, 1),
        (JOURNAL_ENTRIES_WARN + 5, 1),
    ] {
        let stored = world.server().messages(&world.names().journal_stream(run.partition())).len();
        let mut left = until - stored;
        while left > 0 {
            let batch: Vec<_> = entries.by_ref().take(left.min(BATCH_MESSAGES_MAX)).collect();
            left -= batch.len();
            admin.publish_batch(batch).await.expect("stored");
        }
        world.pass(Duration::from_secs(5)).await;
        let told = logs.with("near its limit of entries");
        assert_eq!(told.len(), warnings, "{until} entries: {told:?}");
        assert!(told.iter().all(|line| line.contains(run.as_str())), "{told:?}");
    }
    world.cancel(&run).await;
    let outcome = world.ended(&run).await;
    assert!(matches!(outcome, RunOutcome::Cancelled(_)), "{outcome:?}");
}

/// An entry, as whoever has the right to may write it.
fn write(world: &World, run: &RunId, key: &str, entry: &Entry) -> Publish {
    let key: EntryKey = key.parse().expect("a key");
    Publish::new(world.names().entry(run, &key), entry.encode().expect("an entry")).create_only()
}
