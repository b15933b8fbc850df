//! Signals, updates and events on their way: from the journal into the mailbox, to a wait, and back again if the wait ends before the workflow has
//! them.
//!
//! The mailbox ([`super::mailbox`]) says which of them is for which wait; here they change hands.

use std::hash::Hash;

use bytes::Bytes;
use everstep_common::subscription::{EventPlace, Listened, Subscription};

use super::{Grant, State};
use crate::aftermath::Aftermath;
use crate::waits::{Address, Family, Letter, LetterSort, Status, WaitId};

impl State {
    /// Something has come to the address.
    pub(crate) fn deliver(&mut self, address: &Address, letter: Letter) -> Aftermath {
        self.mailbox.keep(address, self.sequence, letter);
        self.give(address)
    }

    /// The next event of a subscription has come.
    pub(crate) fn hear(&mut self, what: Subscription, place: EventPlace, value: Bytes) -> Aftermath {
        let address = Address::new(LetterSort::Event, what.to_string());
        self.subscriptions.heard(what, place, self.sequence);
        self.deliver(&address, Letter { value, update: None })
    }

    /// Gives what is next at the address to the first wait for it, if there are both.
    pub(super) fn give(&mut self, address: &Address) -> Aftermath {
        let Some((id, sequence, Letter { value, update })) = self.mailbox.take(address, &self.waits) else {
            return Aftermath::default();
        };
        if let Family::Signal(signal) = &mut self.waits[id].family {
            signal.give(sequence, update);
        }
        self.answer(id, Ok(value))
    }

    /// If something is kept at the address and waited for, the next one is granted when its turn comes.
    pub(super) fn grant_letter(&mut self, address: Address) {
        if let Some(sequence) = self.mailbox.next(&address, &self.waits) {
            self.grants.insert(sequence, Grant::Letter(address));
        }
    }

    /// What the wait holds is there again, for the next wait. This one has the status then.
    pub(super) fn give_back(&mut self, id: WaitId, status: Status) {
        let wait = &mut self.waits[id];
        let Some((address, sequence, letter)) = wait.held_letter() else {
            return;
        };
        let address = address.clone();
        wait.status = status;
        if let Family::Signal(signal) = &mut wait.family {
            signal.take_back();
        }
        (self.sequence, &wait.key, "given back").hash(&mut self.fingerprint);
        self.subscriptions.touch(&address.name);
        self.mailbox.keep(&address, sequence, letter);
        self.grant_letter(address);
    }

    /// An event that is waited for, or no longer: what the shell looks for may be another.
    pub(super) fn touch_subscription(&mut self, id: WaitId) {
        if let Family::Signal(signal) = &self.waits[id].family
            && signal.subscription().is_some()
        {
            self.subscriptions.touch(&signal.address().name);
        }
    }

    /// How far the run has got with the events that it waited for: what it heard and did not take is yet to come.
    pub(crate) fn listened(&self) -> Vec<Listened> {
        let first_kept = |name: &str| self.mailbox.first_kept(&Address::new(LetterSort::Event, name));
        self.subscriptions.listened(self.listens_from, first_kept)
    }

    /// How many signals and events are kept for waits to come.
    pub(crate) fn kept_signals(&self) -> usize {
        self.mailbox.signals()
    }

    /// How many signals and updates are kept for waits to come.
    #[cfg(test)]
    pub(crate) fn kept_letters(&self) -> usize {
        self.mailbox.signals() + self.mailbox.updates()
    }

    /// The sequences of the signals and updates that waits were given, and that they hold or the workflow has taken.
    #[cfg(test)]
    pub(crate) fn given_letters(&self) -> Vec<u64> {
        let given = self.waits.iter().filter_map(|wait| match &wait.family {
            Family::Signal(signal) => signal.given(),
            _ => None,
        });
        given.collect()
    }
}
