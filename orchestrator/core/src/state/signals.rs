//! Signals and events on their way: from the journal into the mailbox, to a wait, and back again if the wait ends before the workflow has them.
//!
//! The mailbox ([`super::mailbox`]) says which is for which wait; here they change hands.

use std::hash::Hash;

use bytes::Bytes;
use everstep_common::subscription::{EventPlace, Subscription};

use super::{Grant, State};
use crate::aftermath::Aftermath;
use crate::waits::{Family, Status, WaitId, event_channel, signal_channel};

impl State {
    /// A signal has come.
    pub(crate) fn signal(&mut self, name: &str, value: Bytes) -> Aftermath {
        self.arrive(&signal_channel(name), value)
    }

    /// The next event of a subscription has come.
    pub(crate) fn hear(&mut self, what: Subscription, place: EventPlace, value: Bytes) -> Aftermath {
        let channel = event_channel(&what);
        self.subscriptions.heard(&channel, what, place);
        self.arrive(&channel, value)
    }

    fn arrive(&mut self, channel: &str, value: Bytes) -> Aftermath {
        self.mailbox.keep(channel, self.sequence, value);
        self.give(channel)
    }

    /// Gives what comes next in the channel to the first wait there, if there are both.
    pub(super) fn give(&mut self, channel: &str) -> Aftermath {
        let Some((id, sequence, value)) = self.mailbox.take(channel, &self.waits) else {
            return Aftermath::default();
        };
        if let Family::Signal(signal) = &mut self.waits[id].family {
            signal.give(sequence);
        }
        self.answer(id, Ok(value))
    }

    /// If there is something in the channel that is waited for, it is granted when its turn comes.
    pub(super) fn grant_signal(&mut self, channel: Box<str>) {
        if let Some(sequence) = self.mailbox.next(&channel, &self.waits) {
            self.grants.insert(sequence, Grant::Signal(channel));
        }
    }

    /// What the wait was given and the workflow has not taken is there again, for the next wait. This one has the status then.
    pub(super) fn give_back(&mut self, id: WaitId, status: Status) {
        let wait = &mut self.waits[id];
        let Some((channel, sequence, value)) = wait.held_signal() else {
            return;
        };
        let (channel, value) = (Box::from(channel), value.clone());
        wait.status = status;
        if let Family::Signal(signal) = &mut wait.family {
            signal.take_back();
        }
        (self.sequence, &wait.key, "given back").hash(&mut self.fingerprint);
        self.subscriptions.touch(&channel);
        self.mailbox.keep(&channel, sequence, value);
        self.grant_signal(channel);
    }

    /// An event that is waited for, or no longer: what the shell looks for may be another.
    pub(super) fn touch_subscription(&mut self, id: WaitId) {
        if let Family::Signal(signal) = &self.waits[id].family {
            self.subscriptions.touch(signal.channel());
        }
    }

    /// How many signals and events are kept for waits to come.
    pub(crate) fn kept_signals(&self) -> usize {
        self.mailbox.kept()
    }

    /// The sequences of the signals and events that waits were given, and that they hold or the workflow has taken.
    #[cfg(test)]
    pub(crate) fn given_signals(&self) -> Vec<u64> {
        let given = self.waits.iter().filter_map(|wait| match &wait.family {
            Family::Signal(signal) => signal.given(),
            _ => None,
        });
        given.collect()
    }
}
