//! Signals, updates and events that have come and are not taken, and the waits for them, by address.
//!
//! Between two quiescent states never both of one address: what is kept is given to the waits in the order stored, to each that was asked first.

use std::collections::{BTreeMap, HashMap, VecDeque};

use crate::waits::{Address, Letter, LetterSort, WaitId, Waits};

#[derive(Default)]
pub(super) struct Mailbox {
    channels: HashMap<Address, Channel>,
    /// Signals and events kept, of all names.
    signals: usize,
    /// Updates kept, of all names.
    updates: usize,
}

/// One address.
#[derive(Default)]
struct Channel {
    /// What has come and is not taken, by sequence.
    kept: BTreeMap<u64, Letter>,
    /// Waits in the order asked; those that are over are dropped when they are met.
    waiting: VecDeque<WaitId>,
}

impl Mailbox {
    /// Something has come, or comes back.
    pub(super) fn keep(&mut self, address: &Address, sequence: u64, letter: Letter) {
        if self.channel(address).kept.insert(sequence, letter).is_none() {
            *self.count(address.sort) += 1;
        }
    }

    /// Somebody waits for what comes to the address.
    pub(super) fn await_one(&mut self, address: &Address, wait: WaitId) {
        self.channel(address).waiting.push_back(wait);
    }

    /// The sequence of what is given next, if somebody waits for it.
    pub(super) fn next(&mut self, address: &Address, waits: &Waits) -> Option<u64> {
        let channel = self.channels.get_mut(address)?;
        channel.first_waiting(waits)?;
        channel.kept.first_key_value().map(|(sequence, _)| *sequence)
    }

    /// Whether somebody waits there and nothing has come for them.
    pub(super) fn is_short_of(&mut self, address: &Address, waits: &Waits) -> bool {
        let channel = self.channels.get_mut(address);
        channel.is_some_and(|channel| channel.kept.is_empty() && channel.first_waiting(waits).is_some())
    }

    /// Takes what is next, and the wait that it is for.
    pub(super) fn take(&mut self, address: &Address, waits: &Waits) -> Option<(WaitId, u64, Letter)> {
        let channel = self.channels.get_mut(address)?;
        let wait = channel.first_waiting(waits)?;
        let (sequence, letter) = channel.kept.pop_first()?;
        channel.waiting.pop_front();
        *self.count(address.sort) -= 1;
        Some((wait, sequence, letter))
    }

    /// The sequence of the first that is kept at the address.
    pub(super) fn first_kept(&self, address: &Address) -> Option<u64> {
        let kept = &self.channels.get(address)?.kept;
        kept.first_key_value().map(|(sequence, _)| *sequence)
    }

    /// How many signals are kept.
    pub(super) fn signals(&self) -> usize {
        self.signals
    }

    /// How many updates are kept.
    pub(super) fn updates(&self) -> usize {
        self.updates
    }

    fn count(&mut self, sort: LetterSort) -> &mut usize {
        match sort {
            LetterSort::Signal | LetterSort::Event => &mut self.signals,
            LetterSort::Update => &mut self.updates,
        }
    }

    fn channel(&mut self, address: &Address) -> &mut Channel {
        // Most of what comes is for an address that is there already.
        if !self.channels.contains_key(address) {
            self.channels.insert(address.clone(), Channel::default());
        }
        self.channels.get_mut(address).expect("it is there by now")
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
