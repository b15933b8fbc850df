//! P1 to P7, checked past all faults on what the server holds when a story is over.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use everstep_common::failure::FailureKind;
use everstep_common::ids::{Partition, RunId};
use everstep_common::journal::{Entry, EntryKey, JournalEntry, RunOutcome};
use everstep_common::payload::Payload;
use everstep_common::ports::Message;
use everstep_common::store::LEASES;
use everstep_common::summary::RunStatus;
use everstep_common::wire;
use everstep_core::{Command, Decision, Event, Limits, Parked, Run, RunEnd, pinned_version};
use everstep_memory::Faults;
use serde::Deserialize;

use super::crashes::{Crash, Victim};
use super::relatives;
use super::scenarios::Scenario;
use super::story::Story;
use super::triggers;
use super::world::World;

/// The part of a cursor record that tells whose it is, and how far.
#[derive(Debug, Deserialize)]
struct Cursor {
    epoch: u64,
    position: u64,
    #[serde(default)]
    exempt: Vec<RunId>,
    #[serde(default)]
    scan: bool,
}

/// Returns when nothing is left to be done.
pub(super) async fn come_to_rest(world: &World, scenario: &Scenario) {
    while !unrest(world, scenario).is_empty() {
        world.pass(Duration::from_millis(500)).await;
    }
}

/// P7, and what must be left of nothing: each thing that is not as it should be in the end.
pub(super) fn unrest(world: &World, scenario: &Scenario) -> Vec<String> {
    let stories = world.stories();
    let mut unrest: Vec<String> = stories.iter().filter_map(|story| open(world, story)).collect();
    let ended: Vec<&RunId> = stories
        .iter()
        .filter(|story| story.end().is_some())
        .map(|story| &story.run)
        .collect();
    let of_ended = |subject: &str| ended.iter().any(|run| subject.contains(run.as_str()));
    let parked = stories.len() - ended.len();
    for queue in ["default", "gpu"] {
        let messages = world.server().messages(&format!("TASKS_{queue}"));
        let left = messages.iter().filter(|message| of_ended(&message.subject));
        unrest.extend(left.map(|message| format!("{} is left in its queue", message.subject)));
    }
    for partition in world.deployment().all_partitions() {
        let messages = world.server().messages(&world.names().timer_stream(partition));
        let left = messages
            .iter()
            .filter(|message| !scenario.disturbed && of_ended(&message.subject));
        unrest.extend(left.map(|message| format!("{} is left among the timers", message.subject)));
        unrest.extend(behind(world, partition, parked));
    }
    unrest
}

fn open(world: &World, story: &Story) -> Option<String> {
    let summary = world.summary(&story.run);
    let Some(outcome) = story.end() else {
        let parked = summary.is_some_and(|summary| summary.status == RunStatus::Parked && summary.reason.is_some());
        return (!parked).then(|| format!("run {} neither ends nor says why", story.run));
    };
    let told = match outcome {
        RunOutcome::Completed(_) => RunStatus::Completed,
        RunOutcome::Failed(_) => RunStatus::Failed,
        RunOutcome::Cancelled(_) => RunStatus::Cancelled,
        RunOutcome::Terminated(_) => RunStatus::Terminated,
        RunOutcome::Continued(_) => RunStatus::Continued,
    };
    let status = summary.map(|summary| summary.status);
    (status != Some(told)).then(|| format!("run {} is {told}, and its summary says {status:?}", story.run))
}

/// The cursor passes everything that is done.
fn behind(world: &World, partition: Partition, parked: usize) -> Option<String> {
    let last = world
        .server()
        .stream_info(&world.names().journal_stream(partition))?
        .last_sequence;
    let cursor = decode_cursor(&world.cursor(partition)?);
    let done = cursor.position == last && cursor.exempt.len() <= parked && !cursor.scan;
    (!done).then(|| format!("partition {partition} ends at {last}, and its cursor is {cursor:?}"))
}

fn decode_cursor(message: &Message) -> Cursor {
    wire::decode(&message.payload).expect("the cursor is readable")
}

impl World {
    /// The cursor of a partition as it stands.
    pub(super) fn cursor(&self, partition: Partition) -> Option<Message> {
        let subject = self.names().bucket_key(LEASES, &format!("cursor.{partition}"));
        let messages = self.server().messages(&self.names().bucket_stream(LEASES));
        messages.into_iter().rev().find(|message| message.subject == subject)
    }

    /// With which lease the partition's cursor was written: another one with each owner.
    pub(super) fn epoch(&self, partition: Partition) -> Option<u64> {
        Some(decode_cursor(&self.cursor(partition)?).epoch)
    }
}

/// Checks all of them.
pub fn check(world: &World, scenario: &Scenario) {
    let stories = world.stories();
    p1_acknowledged_starts_are_there(world, &stories);
    stories
        .iter()
        .for_each(|story| p2_every_replay_ends_as_recorded(world, story));
    if !scenario.rolls_back {
        p3_every_outcome_is_stored_once(world);
    }
    p4_every_effect_happens_once(world);
    if !scenario.repeats {
        executions_begin_once(world);
    }
    stories.iter().for_each(p5_no_timer_is_early);
    p6_acknowledged_cancels_stand(world, &stories);
    if !scenario.rolls_back {
        relatives::agree(&stories);
    }
    let unrest = unrest(world, scenario);
    assert!(unrest.is_empty(), "P7, {}: {}", scenario.name, unrest.join("; "));
}

fn p1_acknowledged_starts_are_there(world: &World, stories: &[Story]) {
    for run in &world.0.clients.borrow().started {
        let is_there = stories.iter().any(|story| story.run == *run && story.start().is_some());
        assert!(is_there, "P1: the start of run {run} was acknowledged and is lost");
    }
}

/// The run is replayed twice from its journal: both times it asks for the same, and ends as is recorded.
fn p2_every_replay_ends_as_recorded(world: &World, story: &Story) {
    let Some(recorded) = story.end() else { return };
    let [(first, end), (second, _)] = [replay(world, story), replay(world, story)];
    assert_eq!(first, second, "P2: run {} is not the same twice", story.run);
    let same = match (&end, recorded) {
        (Ok(Some(RunEnd::Completed(value))), RunOutcome::Completed(payload)) => *value == fetch(world, &story.run, payload),
        (Ok(Some(RunEnd::Failed(failure))), RunOutcome::Failed(recorded)) => failure == recorded,
        (Ok(Some(RunEnd::Cancelled(_))), RunOutcome::Cancelled(_)) => true,
        (Ok(Some(RunEnd::Terminated(_))) | Err(_), RunOutcome::Terminated(_)) => true,
        (
            Ok(Some(RunEnd::Continued {
                input,
                decided,
                listened,
            })),
            RunOutcome::Continued(next),
        ) => (next.decided, &next.listened) == (Some(*decided), listened) && *input == fetch(world, &story.run, &next.input),
        // A parked run is cancelled without its code being asked.
        (Err(_), RunOutcome::Cancelled(_)) => true,
        // And one that is overdue is ended so.
        (Err(_), RunOutcome::Failed(failure)) => failure.kind == FailureKind::DeadlineExceeded,
        _ => false,
    };
    assert!(same, "P2: run {} ended as {recorded:?}, and its replay as {end:?}", story.run);
}

/// A fingerprint of all that the run asks for, and how it ends; or why it parks.
fn replay(world: &World, story: &Story) -> (u64, Result<Option<RunEnd>, Parked>) {
    let start = story.start().expect("the journal of a run begins with its start");
    let code = triggers::all_code();
    let pinned = start.version.or_else(|| story.entries.iter().find_map(pinned_version));
    let definition = code.find(&start.workflow, pinned).expect("the code is here");
    let mut run = Run::new(story.run.clone(), definition, Limits::default(), u64::MAX);
    story.entries.iter().for_each(|entry| run.foresee(entry));
    if start.version.is_none() {
        run.pin_version();
    }
    for entry in story.entries.iter().take_while(|entry| entry.key != EntryKey::End) {
        run.apply(event(world, &story.run, entry));
    }
    let end = match run.decide() {
        Decision::Go(commands) => Ok(commands.into_iter().find_map(|command| match command {
            Command::End { outcome } => Some(outcome),
            _ => None,
        })),
        Decision::Parked(parked) => Err(parked),
        Decision::Replay => unreachable!("P2: all markers of run {} are known from the beginning", story.run),
    };
    (run.fingerprint(), end)
}

fn event(world: &World, run: &RunId, entry: &JournalEntry) -> Event {
    let stored = entry.entry.payload().map(|payload| fetch(world, run, payload));
    Event::new(entry.clone(), stored).expect("the value is there")
}

fn fetch(world: &World, run: &RunId, payload: &Payload) -> Bytes {
    let stored = match payload {
        Payload::Inline(value) => return value.clone(),
        Payload::Stored(stored) => stored,
    };
    let messages = world.server().messages(&world.names().payload_stream());
    let mut value = BytesMut::new();
    for number in 0..stored.chunks() {
        let subject = world.names().payload(run, &stored.owner, &stored.digest, number);
        let chunk = messages.iter().find(|message| message.subject == subject);
        value.extend_from_slice(&chunk.unwrap_or_else(|| panic!("P3: chunk {subject} is lost")).payload);
    }
    value.freeze()
}

fn p3_every_outcome_is_stored_once(world: &World) {
    for (subject, times) in &world.seen().stored {
        assert_eq!(*times, 1, "P3: {subject} was stored {times} times");
    }
}

fn p4_every_effect_happens_once(world: &World) {
    for (effect, keys) in world.ledger().effects() {
        assert_eq!(keys, 1, "P4: {effect:?} was asked for under {keys} idempotency keys");
    }
    for (execution, times) in world.ledger().executions() {
        let once = execution.contains(".step.launch");
        assert!(!once || times == 1, "P4: {execution} may begin once, and began {times} times");
    }
}

/// Only a death of a worker, a wiped queue or a redelivery lets an attempt begin again.
fn executions_begin_once(world: &World) {
    let settings = world.settings();
    let worker_dies = match &settings.crash {
        Some(Crash::AtEntry { victim, .. }) => !matches!(victim, Victim::Process(name) if !name.starts_with("worker")),
        Some(Crash::AtCall { process, .. }) => process.starts_with("worker"),
        None => false,
    };
    if !worker_dies && settings.faults == Faults::none() {
        let repeated = world.ledger().repeated();
        assert!(
            repeated.is_empty(),
            "executions begun more than once, though no worker died: {repeated:?}"
        );
    }
}

fn p5_no_timer_is_early(story: &Story) {
    for entry in &story.entries {
        if let (EntryKey::Timer(key), Entry::Timer(fired)) = (&entry.key, &entry.entry) {
            let due = fired.due;
            assert!(
                entry.time >= due,
                "P5: timer {key} of run {} was due {due} and fired {}",
                story.run,
                entry.time
            );
        }
    }
}

/// Who was told that the run is asked to cancel finds it cancelled, or at its end by itself after that. A run that goes on as new is asked
/// where it goes on.
fn p6_acknowledged_cancels_stand(world: &World, stories: &[Story]) {
    for run in &world.0.clients.borrow().cancelled {
        let mut story = stories.iter().find(|story| story.run == *run).expect("P1 is checked before");
        while let Some(RunOutcome::Continued(next)) = story.end() {
            story = stories.iter().find(|story| story.run == next.run).expect("it goes on");
        }
        let asked = story.entries.iter().position(|entry| matches!(entry.entry, Entry::In(_)));
        assert!(asked.is_some(), "P6: the cancel of run {run} was acknowledged and is lost");
    }
}
