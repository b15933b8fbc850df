//! Atomic batches: every message is checked against the stream as it stood before the batch, then all are stored or none.

use std::collections::BTreeMap;

use everstep_common::ports::{Expect, Publish, PublishError, Stored};
use jiff::Timestamp;

use super::Nodes;
use super::publish::server_header;
use super::store::Stream;
use super::stored_form::stored_size;

/// Messages in one batch: the server's limit.
const BATCH_MESSAGES_MAX: usize = 1_000;

/// What the earlier messages of a batch have laid claim to.
#[derive(Default)]
struct Staged<'a> {
    /// Messages per subject.
    subjects: BTreeMap<&'a str, usize>,
    /// Bytes of all.
    bytes: u64,
}

impl Stream {
    /// Stores all messages or none; the sequence of the last.
    pub(super) fn publish_batch(&mut self, now: Timestamp, nodes: Nodes, messages: &[Publish]) -> Result<Stored, PublishError> {
        if !self.spec.allow_atomic {
            return Err(PublishError::Rejected("atomic publish is disabled".into()));
        }
        if messages.len() > BATCH_MESSAGES_MAX {
            return Err(PublishError::Rejected(format!(
                "more than {BATCH_MESSAGES_MAX} messages in a batch"
            )));
        }
        let mut staged = Staged::default();
        for message in messages {
            self.check_staged(now, nodes, message, &staged)?;
            *staged.subjects.entry(&message.subject).or_default() += 1;
            staged.bytes += stored_size(message, self.spec.storage);
        }
        let mut sequence = 0;
        for message in messages {
            sequence = self.accept(now, message);
        }
        Ok(Stored { sequence })
    }

    fn check_staged(&self, now: Timestamp, nodes: Nodes, message: &Publish, staged: &Staged<'_>) -> Result<(), PublishError> {
        if !self.takes(&message.subject) {
            // It went elsewhere, and the commit found a batch with a gap.
            return Err(PublishError::Unknown("batch publish is incomplete".into()));
        }
        self.check_form(message)?;
        if message.headers.get(server_header::MESSAGE_ID).is_some() && self.duplicate_of(now, message).is_some() {
            return Err(PublishError::Rejected("a duplicate message id in a batch".into()));
        }
        // The server compares the guard with the subjects already in the batch literally, so a wildcard is never found there.
        let guard = match &message.expect {
            Some(Expect::LastSequence(_)) => Some(message.subject.as_str()),
            Some(Expect::LastSequenceOf { filter, .. }) => Some(filter.as_str()),
            None => None,
        };
        if guard.is_some_and(|guard| staged.subjects.contains_key(guard)) {
            return Err(PublishError::Refused);
        }
        self.check_expectation(nodes, message)?;
        let promised_here = staged.subjects.get(message.subject.as_str()).copied().unwrap_or(0);
        self.check_limits(message, staged.bytes, promised_here)
    }
}
