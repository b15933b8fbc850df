//! One stream's messages: by sequence, by subject, and every change to them in order, so that any earlier state can be had again
//! (a replica that is behind, a restored stream).
//!
//! Knows no rule about what may be stored; those are in `publish.rs` and `schedule.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use everstep_common::ports::{CoreMessage, Message, Schedule, StreamInfo};
use everstep_common::topology::{Retention, StreamSpec};
use jiff::Timestamp;

use super::consumer::Consumer;
use super::{Entry, any_matches};
use crate::subject;

/// A message as the stream keeps it.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    /// What readers get.
    pub(crate) message: Arc<Message>,
    /// Its bytes, as the server counts them.
    pub(crate) size: u64,
    /// If it is a schedule: when and where to.
    pub(crate) schedule: Option<Schedule>,
}

/// One change of a stream, which can be taken back.
#[derive(Clone, Debug)]
pub(super) enum Change {
    /// It was stored.
    Stored(Kept),
    /// It was removed: purged, acknowledged, rolled up or pushed out by a limit.
    Removed(Kept),
}

/// A stream of the simulated server.
#[derive(Debug)]
pub(crate) struct Stream {
    /// Its configuration.
    pub(super) spec: StreamSpec,
    /// Tells it from any other stream there ever was, also of the same name and time.
    pub(super) incarnation: u64,
    /// When it was created, as the server tells it.
    pub(super) created: Timestamp,
    /// The last sequence given out.
    pub(super) last_sequence: u64,
    /// The time of the newest message: the server's never goes back.
    pub(super) newest: Timestamp,
    /// Its messages.
    pub(super) messages: BTreeMap<u64, Kept>,
    /// The sequences under each subject.
    pub(super) subjects: BTreeMap<String, BTreeSet<u64>>,
    /// The bytes of its messages, as the server counts them.
    pub(super) bytes: u64,
    /// Its durable consumers.
    pub(super) consumers: BTreeMap<String, Consumer>,
    /// Every change since it was created. A simulation is short; nothing is ever dropped from it.
    pub(super) history: Vec<Change>,
    /// Schedules by due time.
    pub(super) schedules: BTreeSet<(Timestamp, u64)>,
    /// When the scheduler may run again.
    pub(super) scheduler_rests_until: Timestamp,
    /// Message ids seen, with the sequence stored and when.
    pub(super) message_ids: BTreeMap<String, (u64, Timestamp)>,
    /// The guards of writes that are under way (three nodes; see `publish.rs`).
    pub(super) guards_in_flight: BTreeSet<String>,
    /// What is to be republished, until the model takes it.
    pub(super) republished: Vec<CoreMessage>,
    /// What was stored, until the model takes it.
    pub(super) entries: Vec<Entry>,
}

impl Stream {
    /// An empty stream.
    pub(super) fn new(spec: StreamSpec, incarnation: u64, created: Timestamp) -> Self {
        Self {
            spec,
            incarnation,
            created,
            last_sequence: 0,
            newest: created,
            messages: BTreeMap::new(),
            subjects: BTreeMap::new(),
            bytes: 0,
            consumers: BTreeMap::new(),
            history: Vec::new(),
            schedules: BTreeSet::new(),
            scheduler_rests_until: created,
            message_ids: BTreeMap::new(),
            guards_in_flight: BTreeSet::new(),
            republished: Vec::new(),
            entries: Vec::new(),
        }
    }

    /// Whether it stores what is published on `subject`.
    pub(crate) fn takes(&self, subject: &str) -> bool {
        any_matches(&self.spec.subjects, subject)
    }

    /// Its identity.
    pub(crate) fn incarnation(&self) -> u64 {
        self.incarnation
    }

    /// When it was created, as the server tells it.
    pub(crate) fn created(&self) -> Timestamp {
        self.created
    }

    /// Whether it is a work queue; those are read through their durable consumers only.
    pub(crate) fn is_work_queue(&self) -> bool {
        self.spec.retention == Retention::WorkQueue
    }

    /// The last sequence given out.
    pub(crate) fn last_sequence(&self) -> u64 {
        self.last_sequence
    }

    /// What `stream info` tells.
    pub(crate) fn info(&self) -> StreamInfo {
        StreamInfo {
            created: self.created,
            first_sequence: self.first_sequence(),
            last_sequence: self.last_sequence,
            messages: self.messages.len() as u64,
            bytes: self.bytes,
        }
    }

    /// The first sequence held; of a stream emptied, the next one to be given; of one that never held anything, 0.
    pub(super) fn first_sequence(&self) -> u64 {
        match self.messages.keys().next() {
            Some(first) => *first,
            None if self.last_sequence == 0 => 0,
            None => self.last_sequence + 1,
        }
    }

    /// The names of its durable consumers.
    pub(crate) fn consumer_names(&self) -> Vec<String> {
        self.consumers.keys().cloned().collect()
    }

    /// The consumer of that name.
    pub(crate) fn consumer_mut(&mut self, name: &str) -> Option<&mut Consumer> {
        self.consumers.get_mut(name)
    }

    /// The first message at or after `sequence` whose subject matches.
    pub(crate) fn next_matching(&self, sequence: u64, filter: &str) -> Option<&Arc<Message>> {
        self.messages
            .range(sequence..)
            .map(|(_, kept)| &kept.message)
            .find(|message| subject::matches(filter, &message.subject))
    }

    /// The first message that was stored at `time` or later and whose subject matches.
    pub(crate) fn first_since(&self, time: Timestamp, filter: &str) -> Option<u64> {
        let mut messages = self.messages.values().map(|kept| &kept.message);
        let first = messages.find(|message| message.time >= time && subject::matches(filter, &message.subject));
        first.map(|message| message.sequence)
    }

    /// All its messages.
    pub(crate) fn all(&self) -> Vec<Message> {
        self.all_matching(">", u64::MAX)
    }

    /// The messages up to `end` whose subjects match.
    pub(crate) fn all_matching(&self, filter: &str, end: u64) -> Vec<Message> {
        let messages = self.messages.range(..=end).map(|(_, kept)| kept.message.as_ref());
        messages
            .filter(|message| subject::matches(filter, &message.subject))
            .cloned()
            .collect()
    }

    /// The last sequence under each subject that matches.
    pub(crate) fn last_per_subject(&self, filter: &str) -> Vec<u64> {
        let mut sequences: Vec<u64> = self
            .subjects_matching(filter)
            .filter_map(|(_, all)| all.last().copied())
            .collect();
        sequences.sort_unstable();
        sequences
    }

    /// The message of that sequence.
    pub(crate) fn get(&self, sequence: u64) -> Option<&Arc<Message>> {
        self.messages.get(&sequence).map(|kept| &kept.message)
    }

    /// The subjects held that match, each with its sequences.
    pub(crate) fn subjects_matching<'a>(
        &'a self,
        filter: &'a str,
    ) -> Box<dyn Iterator<Item = (&'a String, &'a BTreeSet<u64>)> + 'a> {
        if subject::is_literal(filter) {
            return Box::new(self.subjects.get_key_value(filter).into_iter());
        }
        let literal = filter.find(['*', '>']).map_or(filter, |at| &filter[..at]);
        Box::new(
            self.subjects
                .range::<str, _>((std::ops::Bound::Included(literal), std::ops::Bound::Unbounded))
                .take_while(move |(subject, _)| subject.starts_with(literal))
                .filter(move |(subject, _)| subject::matches(filter, subject)),
        )
    }

    /// Stores a message under the next sequence.
    pub(super) fn store(&mut self, kept: Kept) {
        debug_assert_eq!(
            kept.message.sequence,
            self.last_sequence + 1,
            "sequences are given out one by one"
        );
        self.last_sequence = kept.message.sequence;
        self.newest = kept.message.time;
        self.entries.push(Entry {
            stream: self.spec.name.clone(),
            subject: kept.message.subject.clone(),
            sequence: kept.message.sequence,
        });
        self.history.push(Change::Stored(kept.clone()));
        self.link(kept);
    }

    /// Removes a message, if it is there.
    pub(super) fn remove(&mut self, sequence: u64) -> bool {
        let Some(kept) = self.unlink(sequence) else { return false };
        self.history.push(Change::Removed(kept));
        for consumer in self.consumers.values_mut() {
            consumer.forget(sequence);
        }
        true
    }

    /// Removes what is older than the stream keeps messages. Nobody is woken for it: it is gone when somebody next looks.
    pub(super) fn expire_messages(&mut self, now: Timestamp) {
        let Some(age) = self.spec.max_age else { return };
        while let Some((sequence, kept)) = self.messages.first_key_value()
            && super::later(kept.message.time, age) <= now
        {
            let sequence = *sequence;
            self.remove(sequence);
        }
    }

    /// Removes every message whose subject matches; how many they were.
    pub(super) fn purge(&mut self, filter: &str) -> u64 {
        let doomed: BTreeSet<u64> = self
            .subjects_matching(filter)
            .flat_map(|(_, sequences)| sequences.iter().copied())
            .collect();
        doomed.iter().filter(|sequence| self.remove(**sequence)).count() as u64
    }

    /// Takes back changes until no sequence after `sequence` has been given out: the stream as a backup of then would bring it.
    pub(super) fn roll_back(&mut self, sequence: u64) {
        while self.last_sequence > sequence {
            let change = self.history.pop().expect("every sequence given out stands in the history");
            self.undo(change);
        }
        self.newest = self
            .messages
            .values()
            .next_back()
            .map_or(self.created, |kept| kept.message.time);
        self.message_ids.retain(|_, (stored, _)| *stored <= sequence);
        for consumer in self.consumers.values_mut() {
            consumer.roll_back(sequence);
        }
    }

    /// The messages as a replica holds them that is `changes` behind, and the last sequence it knows.
    pub(super) fn replica(&self, changes: usize) -> (Vec<Arc<Message>>, u64) {
        let mut held: BTreeMap<u64, Arc<Message>> = self
            .messages
            .iter()
            .map(|(sequence, kept)| (*sequence, Arc::clone(&kept.message)))
            .collect();
        let mut last = self.last_sequence;
        for change in self.history.iter().rev().take(changes) {
            match change {
                Change::Stored(kept) => {
                    held.remove(&kept.message.sequence);
                    last = kept.message.sequence - 1;
                }
                Change::Removed(kept) => {
                    held.insert(kept.message.sequence, Arc::clone(&kept.message));
                }
            }
        }
        (held.into_values().collect(), last)
    }

    /// How many changes a replica can be behind.
    pub(crate) fn changes(&self) -> usize {
        self.history.len()
    }

    /// What is to be said on core NATS since this was last asked.
    pub(super) fn take_republished(&mut self) -> Vec<CoreMessage> {
        std::mem::take(&mut self.republished)
    }

    /// What was stored since this was last asked.
    pub(super) fn take_entries(&mut self) -> Vec<Entry> {
        std::mem::take(&mut self.entries)
    }

    fn undo(&mut self, change: Change) {
        match change {
            Change::Stored(kept) => {
                self.unlink(kept.message.sequence);
                self.last_sequence = kept.message.sequence - 1;
            }
            Change::Removed(kept) => self.link(kept),
        }
    }

    fn link(&mut self, kept: Kept) {
        let sequence = kept.message.sequence;
        self.bytes += kept.size;
        self.subjects
            .entry(kept.message.subject.clone())
            .or_default()
            .insert(sequence);
        if let Some(schedule) = &kept.schedule {
            self.schedules.insert((schedule.at, sequence));
        }
        self.messages.insert(sequence, kept);
    }

    fn unlink(&mut self, sequence: u64) -> Option<Kept> {
        let kept = self.messages.remove(&sequence)?;
        self.bytes -= kept.size;
        if let Some(sequences) = self.subjects.get_mut(&kept.message.subject) {
            sequences.remove(&sequence);
            if sequences.is_empty() {
                self.subjects.remove(&kept.message.subject);
            }
        }
        if let Some(schedule) = &kept.schedule {
            self.schedules.remove(&(schedule.at, sequence));
        }
        Some(kept)
    }
}
