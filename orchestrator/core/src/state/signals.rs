//! Signals on their way: from the journal into the mailbox, to a wait, and back again if the wait ends before the workflow has them.
//!
//! The mailbox ([`super::mailbox`]) says which signal is for which wait; here they change hands.

use std::hash::Hash;

use bytes::Bytes;

use super::{Grant, State};
use crate::aftermath::Aftermath;
use crate::waits::{Family, Status, WaitId};

impl State {
    /// A signal has come.
    pub(crate) fn signal(&mut self, name: &str, value: Bytes) -> Aftermath {
        self.mailbox.keep(name, self.sequence, value);
        self.give(name)
    }

    /// Gives the next signal of the name to the first wait for it, if there are both.
    pub(super) fn give(&mut self, name: &str) -> Aftermath {
        let Some((id, sequence, value)) = self.mailbox.take(name, &self.waits) else {
            return Aftermath::default();
        };
        if let Family::Signal(signal) = &mut self.waits[id].family {
            signal.give(sequence);
        }
        self.answer(id, Ok(value))
    }

    /// If signals of the name are kept and waited for, the next one is granted when its turn comes.
    pub(super) fn grant_signal(&mut self, name: Box<str>) {
        if let Some(sequence) = self.mailbox.next(&name, &self.waits) {
            self.grants.insert(sequence, Grant::Signal(name));
        }
    }

    /// A signal that the wait holds is there again, for the next wait. This one has the status then.
    pub(super) fn give_back(&mut self, id: WaitId, status: Status) {
        let wait = &mut self.waits[id];
        let Some((name, sequence, value)) = wait.held_signal() else {
            return;
        };
        let (name, value) = (Box::from(name), value.clone());
        wait.status = status;
        if let Family::Signal(signal) = &mut wait.family {
            signal.take_back();
        }
        (self.sequence, &wait.key, "given back").hash(&mut self.fingerprint);
        self.mailbox.keep(&name, sequence, value);
        self.grant_signal(name);
    }

    /// How many signals are kept for waits to come.
    pub(crate) fn kept_signals(&self) -> usize {
        self.mailbox.kept()
    }

    /// The sequences of the signals that waits were given, and that they hold or the workflow has taken.
    #[cfg(test)]
    pub(crate) fn given_signals(&self) -> Vec<u64> {
        let given = self.waits.iter().filter_map(|wait| match &wait.family {
            Family::Signal(signal) => signal.given(),
            _ => None,
        });
        given.collect()
    }
}
