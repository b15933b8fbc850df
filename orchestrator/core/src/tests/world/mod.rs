//! A journal and the world round a run: workers, timers, crashes, late results. All from one seed.
//!
//! [`coming`] is what may happen next; [`happening`] is how it becomes an entry, or a crash; [`deciding`] is what the run says to that, and
//! [`work`] what comes of each of its commands. [`entries`] are made there.

mod coming;
mod deciding;
mod entries;
mod happening;
mod work;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use everstep_common::journal::{Entry, EntryKey, JournalEntry, Local, LocalKind, StartTerms, StepResult};
use everstep_common::key::StepKey;
use everstep_common::payload::Payload;
use jiff::Timestamp;

use self::coming::Coming;
use super::kit::{Dice, run_id, start_under};
use crate::{Definition, Event, EventBody, Limits, Record, Run};

/// Entries after which a program that still runs is left as it is.
const ENTRIES_MAX: u64 = 400;

/// A run's journal, and what the run said after each entry.
pub(super) struct Story {
    pub(super) journal: Vec<Event>,
    /// Commands decided right after an entry, in order; `None` where they depend on more than the entries: the run had just been
    /// loaded anew, a deadline had passed, or several entries came at once.
    pub(super) said: BTreeMap<u64, Option<Vec<String>>>,
    pub(super) ended: bool,
    /// The fingerprint of the run that lived it, crashes and all.
    pub(super) fingerprint: u64,
}

/// The run, and all round it.
struct World<'a> {
    definition: &'a Definition,
    dice: Dice,
    run: Run,
    time: Timestamp,
    story: Story,
    /// What the journal holds for good: an entry is created once.
    stored: BTreeSet<String>,
    coming: Vec<Coming>,
    deadline_passed: bool,
    /// The last decision was to read the run anew.
    replayed: bool,
    /// Entries were applied since the last decision.
    undecided: bool,
    /// Signals and updates sent so far.
    signals: u64,
    gate: Gate,
}

/// The limit of the workflow, as whoever drives the run keeps it.
#[derive(Default)]
struct Gate {
    /// There is one.
    limited: bool,
    /// Nothing is done for the run until it is recorded that it waits.
    held: bool,
    /// Something was done for it.
    begun: bool,
}

/// Lives a run of `definition` to its end, in a world drawn from `seed`.
pub(super) fn live(definition: &Definition, seed: u64) -> Result<Story, String> {
    let story = Story {
        journal: Vec::new(),
        said: BTreeMap::new(),
        ended: false,
        fingerprint: 0,
    };
    let run = Run::new(run_id(), definition, Limits::default(), 0);
    let time = Timestamp::from_second(1_000).unwrap();
    let mut dice = Dice::new(seed);
    let coming = vec![Coming::Entry(start_under(b"", terms(&mut dice)))];
    let gate = Gate {
        limited: dice.one_in(4),
        ..Gate::default()
    };
    let mut world = World {
        definition,
        dice,
        run,
        time,
        story,
        stored: BTreeSet::new(),
        coming,
        deadline_passed: false,
        replayed: false,
        undecided: false,
        signals: 0,
        gate,
    };
    while !world.story.ended && !world.coming.is_empty() && world.story.journal.len() < ENTRIES_MAX as usize {
        world.happen()?;
        world.send_what_is_waited_for();
    }
    if !world.story.ended && world.coming.is_empty() {
        return Err(format!("nothing is coming and the run waits for {:?}", world.run.waits()));
    }
    world.story.fingerprint = world.run.fingerprint();
    Ok(world.story)
}

/// A run that was just loaded: every entry applied, and nothing decided yet.
pub(super) fn reload(definition: &Definition, journal: &[Event]) -> Run {
    let known_until = journal.last().map_or(0, |event| event.sequence);
    let mut run = Run::new(run_id(), definition, Limits::default(), known_until);
    foresee(&mut run, journal);
    journal.iter().for_each(|event| run.apply(event.clone()));
    run
}

/// Most runs are started as usual; some begin later, some must be over by some time.
fn terms(dice: &mut Dice) -> StartTerms {
    StartTerms {
        delay: dice.one_in(6).then_some(Duration::from_secs(5)),
        deadline: dice.one_in(6).then_some(Duration::from_secs(20)),
        priority: 0,
        key: None,
    }
}

/// Reads the markers of a journal ahead.
pub(super) fn foresee(run: &mut Run, journal: &[Event]) {
    for event in journal {
        if let EventBody::About(key, Record::Local(kind @ LocalKind::Patch, Ok(value))) = &event.body {
            run.foresee(&marker(key.clone(), *kind, value.clone()));
        }
    }
}

fn marker(key: StepKey, kind: LocalKind, value: Bytes) -> JournalEntry {
    JournalEntry {
        sequence: 0,
        time: Timestamp::UNIX_EPOCH,
        key: EntryKey::Local(key),
        entry: Entry::Local(Local {
            kind,
            result: StepResult::Value(Payload::Inline(value)),
        }),
    }
}
