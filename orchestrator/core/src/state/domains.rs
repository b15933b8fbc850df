//! Domains: what is cancelled as one. The run is one, each block of branches is one, each shield is one.
//!
//! ```text
//!   run ──┬── parallel ──┬── timeout        a cancel reaches down,
//!         │              └── shield ── race     and stops at a shield
//!         └── batch
//! ```
//!
//! A wait belongs to the domain in which it was first polled. When a domain is closed, what a cancel can still revoke in it (what is open,
//! and signals that were given and not taken) passes to the one round it, so that nothing of that is ever out of reach.

use std::collections::BTreeSet;
use std::mem;

use crate::waits::WaitId;

/// Which domain of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct DomainId(usize);

impl DomainId {
    /// The run's own.
    pub(crate) const RUN: Self = Self(0);
}

/// The domains of a run. Places of closed ones are used again, so a loop of blocks costs no memory.
pub(super) struct Domains {
    all: Vec<Domain>,
    free: Vec<DomainId>,
}

struct Domain {
    /// The one round it; `None` for the run's own.
    parent: Option<DomainId>,
    children: BTreeSet<DomainId>,
    /// Cancels from further out do not reach it.
    shield: bool,
    cancelled: bool,
    waits: Opened,
}

impl Default for Domains {
    fn default() -> Self {
        let run = Domain {
            parent: None,
            children: BTreeSet::new(),
            shield: true,
            cancelled: false,
            waits: Opened::default(),
        };
        Self {
            all: vec![run],
            free: Vec::new(),
        }
    }
}

impl Domains {
    /// A new domain inside `parent`. Unless it is a shield it is cancelled if that is.
    pub(super) fn open(&mut self, parent: DomainId, shield: bool) -> DomainId {
        let domain = Domain {
            parent: Some(parent),
            children: BTreeSet::new(),
            shield,
            cancelled: !shield && self.all[parent.0].cancelled,
            waits: Opened::default(),
        };
        let id = match self.free.pop() {
            Some(id) => {
                self.all[id.0] = domain;
                id
            }
            None => {
                self.all.push(domain);
                DomainId(self.all.len() - 1)
            }
        };
        self.all[parent.0].children.insert(id);
        id
    }

    pub(super) fn is_cancelled(&self, id: DomainId) -> bool {
        self.all[id.0].cancelled
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.all.len() - self.free.len()
    }

    /// A wait is asked for in the domain.
    pub(super) fn add(&mut self, id: DomainId, wait: WaitId, is_revocable: impl Fn(WaitId) -> bool) {
        self.all[id.0].waits.add(wait, is_revocable);
    }

    /// Cancels the domain and those inside it, up to shields. Hands out all that was asked for there, answered or not, in the order
    /// asked; nothing if it was cancelled before.
    pub(super) fn cancel(&mut self, id: DomainId) -> Vec<WaitId> {
        let mut waits = Vec::new();
        let mut reached = vec![id];
        while let Some(id) = reached.pop() {
            let domain = &mut self.all[id.0];
            if mem::replace(&mut domain.cancelled, true) {
                continue;
            }
            waits.append(&mut domain.waits.take());
            let inside = self.all[id.0].children.iter();
            reached.extend(inside.copied().filter(|child| !self.all[child.0].shield));
        }
        waits.sort_unstable();
        waits
    }

    /// Closes the domain: what was asked for in it, and what is inside it, passes to the one round it. Hands out what the cancel of
    /// that one now reaches.
    pub(super) fn close(&mut self, id: DomainId, is_revocable: impl Fn(WaitId) -> bool) -> Vec<WaitId> {
        let parent = self.all[id.0].parent.expect("the run's own domain is never closed");
        let waits = self.all[id.0].waits.take();
        let children = mem::take(&mut self.all[id.0].children);
        self.all[parent.0].children.remove(&id);
        self.free.push(id);
        let mut reached = Vec::new();
        for child in children {
            self.all[child.0].parent = Some(parent);
            self.all[parent.0].children.insert(child);
            if self.all[parent.0].cancelled && !self.all[child.0].shield {
                reached.extend(self.cancel(child));
            }
        }
        let revocable = waits.into_iter().filter(|wait| is_revocable(*wait));
        if self.all[parent.0].cancelled {
            reached.extend(revocable);
        } else {
            revocable.for_each(|wait| self.all[parent.0].waits.add(wait, &is_revocable));
        }
        reached.sort_unstable();
        reached
    }
}

/// What was asked for in a domain. What cannot be revoked any more is swept out now and then, so that it costs what is open, and each ask
/// costs the same.
#[derive(Default)]
struct Opened {
    waits: Vec<WaitId>,
    sweep_at: usize,
}

/// Below this many there is nothing to gain from sweeping.
const SWEEP_AT_LEAST: usize = 4;

impl Opened {
    fn add(&mut self, wait: WaitId, is_revocable: impl Fn(WaitId) -> bool) {
        if self.waits.len() >= self.sweep_at.max(SWEEP_AT_LEAST) {
            self.waits.retain(|wait| is_revocable(*wait));
            self.sweep_at = 2 * self.waits.len();
        }
        self.waits.push(wait);
    }

    fn take(&mut self) -> Vec<WaitId> {
        mem::take(self).waits
    }
}
