//! What is the user's, and is woken or dropped only while no state is borrowed.

use std::any::Any;
use std::task::Waker;

use crate::guard::guarded;

/// Something of the user's that nobody needs any more. All that is done with it is to drop it.
pub(crate) type Spare = Box<dyn Any>;

/// Wakers to wake and what is to be dropped, once what they came from is no longer borrowed.
#[derive(Default)]
#[must_use]
pub(crate) struct Aftermath {
    pub(crate) wakers: Vec<Waker>,
    pub(crate) spares: Vec<Spare>,
}

impl Aftermath {
    /// One task to wake.
    pub(crate) fn waking(waker: Waker) -> Self {
        Self {
            wakers: vec![waker],
            spares: Vec::new(),
        }
    }

    /// What follows from something else, too.
    pub(crate) fn add(&mut self, other: Self) {
        self.wakers.extend(other.wakers);
        self.spares.extend(other.spares);
    }

    /// Both: what an engine would wake that applies two entries at once.
    #[cfg(test)]
    pub(crate) fn and(mut self, other: Self) -> Self {
        self.add(other);
        self
    }

    /// Wakes in order, then drops what nobody needs. An error is what a panic said.
    pub(crate) fn act(self) -> Result<(), String> {
        let Self { wakers, spares } = self;
        let woken = guarded(|| wakers.into_iter().for_each(Waker::wake));
        woken.and(drop_each(spares))
    }

    /// Wakes and drops in the middle of a poll; a panic is the workflow's own.
    pub(crate) fn act_in_poll(self) {
        let Self { wakers, spares } = self;
        wakers.into_iter().for_each(Waker::wake);
        drop(spares);
    }

    /// Drops all of it and wakes nobody. An error is what a panic said.
    pub(crate) fn scrap(self) -> Result<(), String> {
        drop_each(self.wakers).and(drop_each(self.spares))
    }
}

/// Drops one after the other: a second panic while the first one unwinds would end the process. The first one's message counts.
fn drop_each<T>(values: Vec<T>) -> Result<(), String> {
    values
        .into_iter()
        .map(|value| guarded(|| drop(value)))
        .fold(Ok(()), Result::and)
}
