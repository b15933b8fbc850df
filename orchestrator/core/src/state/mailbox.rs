//! Signals and events that have come and are not taken, and the waits for them, by channel.
//!
//! Between two quiescent states never both of one channel: what is kept is given to the waits in the order stored, to each that was asked first.

use std::collections::{BTreeMap, HashMap, VecDeque};

use bytes::Bytes;

use crate::waits::{WaitId, Waits};

#[derive(Default)]
pub(super) struct Mailbox {
    by_name: HashMap<Box<str>, Channel>,
    /// Signals kept, of all names.
    kept: usize,
}

/// One name.
#[derive(Default)]
struct Channel {
    /// What has come and is not taken, by sequence.
    kept: BTreeMap<u64, Bytes>,
    /// Waits in the order asked; those that are over are dropped when they are met.
    waiting: VecDeque<WaitId>,
}

impl Mailbox {
    /// A signal has come, or comes back.
    pub(super) fn keep(&mut self, name: &str, sequence: u64, value: Bytes) {
        if self.channel(name).kept.insert(sequence, value).is_none() {
            self.kept += 1;
        }
    }

    /// Somebody waits for signals of the name.
    pub(super) fn await_one(&mut self, name: &str, wait: WaitId) {
        self.channel(name).waiting.push_back(wait);
    }

    /// The sequence of the signal that is given next, if somebody waits for it.
    pub(super) fn next(&mut self, name: &str, waits: &Waits) -> Option<u64> {
        let channel = self.by_name.get_mut(name)?;
        channel.first_waiting(waits)?;
        channel.kept.first_key_value().map(|(sequence, _)| *sequence)
    }

    /// Whether somebody waits there and nothing has come for them.
    pub(super) fn is_short_of(&mut self, name: &str, waits: &Waits) -> bool {
        let channel = self.by_name.get_mut(name);
        channel.is_some_and(|channel| channel.kept.is_empty() && channel.first_waiting(waits).is_some())
    }

    /// Takes the next signal, and the wait that it is for.
    pub(super) fn take(&mut self, name: &str, waits: &Waits) -> Option<(WaitId, u64, Bytes)> {
        let channel = self.by_name.get_mut(name)?;
        let wait = channel.first_waiting(waits)?;
        let (sequence, value) = channel.kept.pop_first()?;
        channel.waiting.pop_front();
        self.kept -= 1;
        Some((wait, sequence, value))
    }

    /// How many are kept.
    pub(super) fn kept(&self) -> usize {
        self.kept
    }

    fn channel(&mut self, name: &str) -> &mut Channel {
        // Most signals are of a name that is there already.
        if !self.by_name.contains_key(name) {
            self.by_name.insert(name.into(), Channel::default());
        }
        self.by_name.get_mut(name).expect("it is there by now")
    }
}

impl Channel {
    fn first_waiting(&mut self, waits: &Waits) -> Option<WaitId> {
        while let Some(first) = self.waiting.front() {
            if waits[*first].is_open() {
                return Some(*first);
            }
            self.waiting.pop_front();
        }
        None
    }
}
