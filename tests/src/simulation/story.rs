//! What the journals tell in the end, past all faults, in words that do not depend on when things happened.

use std::collections::BTreeMap;

use everstep_common::digest::InputDigest;
use everstep_common::failure::FailureKind;
use everstep_common::ids::RunId;
use everstep_common::journal::{Entry, JournalEntry, Local, LocalKind, RunOutcome, Start, StepOutcome, StepResult};
use everstep_common::payload::Payload;
use everstep_common::store::RUNS;
use everstep_common::summary::RunSummary;
use everstep_common::wire;

use super::world::World;

/// The journal of one run.
#[derive(Clone, Debug)]
pub struct Story {
    /// The run.
    pub run: RunId,
    /// Its entries in order.
    pub entries: Vec<JournalEntry>,
}

impl Story {
    /// How it began.
    pub fn start(&self) -> Option<&Start> {
        self.entries.iter().find_map(|entry| match &entry.entry {
            Entry::Start(start) => Some(start),
            _ => None,
        })
    }

    /// How it ended.
    pub fn end(&self) -> Option<&RunOutcome> {
        self.entries.iter().find_map(|entry| match &entry.entry {
            Entry::End(ended) => Some(&ended.outcome),
            _ => None,
        })
    }
}

impl World {
    /// Every run's journal; without entries that cannot be read, which only a scenario itself may have written.
    pub fn stories(&self) -> Vec<Story> {
        let mut runs: BTreeMap<RunId, Vec<JournalEntry>> = BTreeMap::new();
        for partition in self.deployment().all_partitions() {
            for message in self.server().messages(&self.names().journal_stream(partition)) {
                let (run, key) = self
                    .names()
                    .parse_entry(&message.subject)
                    .expect("only entries stand in a journal");
                let entry = JournalEntry::decode(&key, message.sequence, message.time, &message.payload);
                runs.entry(run).or_default().extend(entry.ok());
            }
        }
        runs.into_iter().map(|(run, entries)| Story { run, entries }).collect()
    }

    /// What the run's summary says.
    pub fn summary(&self, run: &RunId) -> Option<RunSummary> {
        let subject = self.names().bucket_key(RUNS, run.as_str());
        let messages = self.server().messages(&self.names().bucket_stream(RUNS));
        let message = messages.into_iter().rev().find(|message| message.subject == subject)?;
        wire::decode(&message.payload).ok()
    }
}

/// How each run ended and what it recorded, by start key and place in its chain.
pub(super) fn ends(world: &World) -> BTreeMap<String, Vec<String>> {
    let stories = world.stories();
    let ends = stories.iter().map(|story| {
        let start = story.start();
        let key = start.and_then(|start| start.start_key.clone());
        let key = key.unwrap_or_else(|| story.run.to_string());
        let place = start.and_then(|start| start.continues.as_ref()).map(|before| before.number);
        let name = place.map_or(key.clone(), |place| format!("{key} continued {place}"));
        (name, lines(&story.entries))
    });
    ends.collect()
}

/// What a journal says of outcomes, in an order that does not depend on when they came.
pub(super) fn lines(journal: &[JournalEntry]) -> Vec<String> {
    let counted = journal.iter().filter(|entry| !is_noted_in_passing(entry, journal));
    let mut lines: Vec<String> = counted.filter_map(line).collect();
    lines.sort();
    lines
}

/// That a step was given up is noted once its task is taken back. A run that was cancelled may have ended by then, and if its owner dies
/// between the two, the successor has nothing left to note.
fn is_noted_in_passing(entry: &JournalEntry, journal: &[JournalEntry]) -> bool {
    let is_given_up = match &entry.entry {
        Entry::Step(outcome) => matches!(&outcome.result, StepResult::Failure(failure) if failure.kind == FailureKind::Cancelled),
        _ => false,
    };
    let ends_cancelled = |entry: &JournalEntry| match &entry.entry {
        Entry::End(ended) => matches!(ended.outcome, RunOutcome::Cancelled(_)),
        _ => false,
    };
    is_given_up && journal.iter().any(ends_cancelled)
}

/// What an entry says of the outcome; nothing if it only tells of the way there.
fn line(entry: &JournalEntry) -> Option<String> {
    let said = match &entry.entry {
        // It says until when, which depends on when it was asked.
        Entry::Local(Local {
            kind: LocalKind::Question,
            ..
        }) => "asked".to_owned(),
        Entry::Step(StepOutcome { result, .. }) | Entry::Local(Local { result, .. }) => self::result(result),
        Entry::Timer(_) => "fired".to_owned(),
        Entry::Child(child) => child.run.to_string(),
        Entry::End(ended) => match &ended.outcome {
            RunOutcome::Completed(value) => payload(value),
            RunOutcome::Failed(failure) | RunOutcome::Cancelled(failure) | RunOutcome::Terminated(failure) => {
                format!("{:?}: {}", failure.kind, failure.message)
            }
            RunOutcome::Continued(next) => format!("{} with {}", next.run, payload(&next.input)),
        },
        _ => return None,
    };
    Some(format!("{} = {said}", entry.key))
}

fn result(result: &StepResult) -> String {
    match result {
        StepResult::Value(value) => payload(value),
        StepResult::Failure(failure) => format!("{:?}: {}", failure.kind, failure.message),
    }
}

fn payload(payload: &Payload) -> String {
    match payload {
        Payload::Inline(value) => InputDigest::of(value).to_string(),
        Payload::Stored(stored) => format!("{} bytes of digest {}", stored.bytes, stored.digest),
    }
}

/// The seeds to play: the one of `EVERSTEP_SEED`, or as many as `EVERSTEP_SEEDS` says, or `default`.
pub fn seeds(default: u64) -> std::ops::Range<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    match number("EVERSTEP_SEED") {
        Some(seed) => seed..seed + 1,
        None => 1..1 + number("EVERSTEP_SEEDS").unwrap_or(default),
    }
}
