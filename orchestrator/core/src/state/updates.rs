//! Updates: how they reach the mailbox, and how they are answered.
//!
//! ```text
//!   come ──▶ kept ──taken by a wait──▶ with the workflow ──answered, or dropped──▶ RecordAnswer ──`local` entry──▶ recorded
//!     └─ more are kept than may be ──▶ rejected ──▶ RecordAnswer
//! ```
//!
//! An answer is given at once and for good, in the poll that decides it: nothing can come between what the workflow does for an update and
//! its answer, no cancel reaches it, and the run does not end before it is recorded.

use std::hash::Hash;

use bytes::Bytes;
use everstep_common::failure::{Failure, FailureKind};
use everstep_common::key::StepKey;
use everstep_common::update::answer_key;

use super::State;
use crate::aftermath::Aftermath;
use crate::parked::{Parked, TooMany};
use crate::waits::{Address, Family, Letter, LetterSort, ReplyWait, Status, WaitId};

impl State {
    /// An update has come.
    pub(crate) fn update(&mut self, key: StepKey, name: Box<str>, input: Bytes) -> Aftermath {
        if self.mailbox.updates() < self.limits.updates_kept {
            let letter = Letter {
                value: input,
                update: Some(key),
            };
            return self.deliver(&Address::new(LetterSort::Update, name), letter);
        }
        let message = format!("the run has not taken the {} updates before it", self.limits.updates_kept);
        // Whoever else asks for the key is told so there.
        let _ = self.reply(&key, Err(Failure::new(FailureKind::Rejected, message)));
        Aftermath::default()
    }

    /// The key of the update that the wait was given.
    pub(crate) fn update_of(&self, id: WaitId) -> Option<StepKey> {
        match &self.waits[id].family {
            Family::Signal(signal) => signal.update().cloned(),
            _ => None,
        }
    }

    /// An update is answered.
    pub(crate) fn reply(&mut self, update: &StepKey, answer: Result<Bytes, Failure>) -> Result<(), Failure> {
        if self.closed {
            return Ok(());
        }
        let key = answer_key(update);
        if self.waits.find(&key).is_some() {
            let message =
                format!("key {key}, under which the answer to update {update} is recorded, is asked for by something else");
            return Err(Failure::new(FailureKind::Invalid, message));
        }
        if self.waits.len() >= self.limits.entries {
            self.run_into(Parked::TooManySteps(TooMany::Keys {
                limit: self.limits.entries,
            }));
            return Ok(());
        }
        let reply = ReplyWait::new(answer);
        (self.sequence, &key, "answered", reply.identity()).hash(&mut self.fingerprint);
        let records = self.kept.take(&key);
        let id = self
            .waits
            .add(key, self.sequence, self.time, Status::Taken, Family::Reply(Box::new(reply)));
        self.unrecorded_replies += 1;
        self.waits.list(id);
        for kept in records {
            self.receive(id, kept.record, kept.sequence, kept.time);
        }
        Ok(())
    }

    /// Whether an update is answered and the answer is not recorded.
    pub(crate) fn has_unrecorded_replies(&self) -> bool {
        self.unrecorded_replies > 0
    }
}
