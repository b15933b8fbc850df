//! What the journals tell in the end, past all faults, in words that do not depend on when things happened.

use std::collections::BTreeMap;

use everstep_common::digest::InputDigest;
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

/// How each run ended and what it recorded, by start key.
pub(super) fn ends(world: &World) -> BTreeMap<String, Vec<String>> {
    let stories = world.stories();
    let ends = stories.iter().map(|story| {
        let key = story.start().and_then(|start| start.start_key.clone());
        (key.unwrap_or_else(|| story.run.to_string()), lines(&story.entries))
    });
    ends.collect()
}

/// What a journal says of outcomes, in an order that does not depend on when they came.
pub(super) fn lines(journal: &[JournalEntry]) -> Vec<String> {
    let mut lines: Vec<String> = journal.iter().filter_map(line).collect();
    lines.sort();
    lines
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
        Entry::End(ended) => match &ended.outcome {
            RunOutcome::Completed(value) => payload(value),
            RunOutcome::Failed(failure) | RunOutcome::Cancelled(failure) => format!("{:?}: {}", failure.kind, failure.message),
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
