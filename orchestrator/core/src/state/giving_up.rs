//! Waits that end without an outcome: dropped by the workflow, or cancelled with the domain that they belong to.
//!
//! What was sent out for them is called back; which waits a domain reaches is for [`domains`](super::domains) to say.

use std::hash::Hash;

use super::{DomainId, State};
use crate::WaitError;
use crate::aftermath::Aftermath;
use crate::waits::{Family, Status, Wait, WaitId};

impl State {
    /// Nobody waits for it any more.
    pub(crate) fn abandon(&mut self, id: WaitId) -> Aftermath {
        if self.closed {
            return Aftermath::default();
        }
        if !self.waits[id].is_open() {
            self.give_back(id, Status::Abandoned);
            return Aftermath::default();
        }
        self.give_up(id, Status::Abandoned, "given up")
    }

    /// An open wait ends without an outcome: what was sent out for it is to be called back.
    fn give_up(&mut self, id: WaitId, status: Status, why: &str) -> Aftermath {
        // What was asked for by this very entry no owner can have acted on: decisions are made between entries. People may see it all the
        // same if other code asked it before.
        let sent = self.waits[id].asked_at < self.sequence || self.waits[id].family.is_shown();
        self.touch_subscription(id);
        let wakers = self.waits.settle(id, status).into_iter().collect();
        let Wait {
            key,
            family,
            unsent,
            recorded,
            ..
        } = &mut self.waits[id];
        *unsent = !sent;
        if sent && !*recorded && family.can_be_undone() {
            self.done.give_up(id);
        }
        (self.sequence, &*key, why).hash(&mut self.fingerprint);
        let spares = if sent { family.give_up() } else { family.close() };
        self.waits.list(id);
        Aftermath {
            wakers,
            spares: spares.into_iter().collect(),
        }
    }

    /// Every open wait of the domain brings that it is cancelled, and every later one. So does one that holds a signal or update
    /// which the workflow has not taken: it goes to the next wait.
    pub(crate) fn cancel(&mut self, domain: DomainId) -> Aftermath {
        if self.closed {
            return Aftermath::default();
        }
        let reached = self.domains.cancel(domain);
        self.cancel_each(reached)
    }

    fn cancel_each(&mut self, waits: Vec<WaitId>) -> Aftermath {
        let mut aftermath = Aftermath::default();
        for id in waits {
            let cancelled = Status::Ready(Box::new(Err(WaitError::Cancelled)));
            if self.waits[id].is_open() {
                if self.outlasts_cancel(id) {
                    continue;
                }
                aftermath.add(self.give_up(id, cancelled, "cancelled"));
            } else {
                self.give_back(id, cancelled);
            }
        }
        aftermath
    }

    /// Whether what a cancel reaches is waited for all the same: a child that may have been started is asked to end, and ends in its own
    /// time.
    fn outlasts_cancel(&mut self, id: WaitId) -> bool {
        let Wait {
            key, family, asked_at, ..
        } = &mut self.waits[id];
        let Family::Child(child) = family else { return false };
        if *asked_at == self.sequence && !child.is_named() {
            return false;
        }
        child.stop();
        (self.sequence, &*key, "asked to end").hash(&mut self.fingerprint);
        self.waits.list(id);
        true
    }

    /// A domain inside another one begins. A shield is out of reach of cancels from further out.
    pub(crate) fn open_domain(&mut self, parent: DomainId, shield: bool) -> DomainId {
        self.domains.open(parent, shield)
    }

    /// A domain is over. What a cancel can still reach in it passes to the one round it, and is cancelled if that is.
    pub(crate) fn close_domain(&mut self, domain: DomainId) -> Aftermath {
        let reached = self.domains.close(domain, |wait| self.waits[wait].is_revocable());
        if self.closed {
            return Aftermath::default();
        }
        self.cancel_each(reached)
    }
}
