//! Whether a publish may be stored, and what storing it entails: conditions, write-once subjects, limits, duplicates by message id,
//! roll-ups and republishing.
//!
//! The order of the checks is the server's and can be seen from outside: a full subject with a wrong expectation and one with a
//! right expectation are both refused, but a full stream refuses a taken subject as taken.

use std::sync::Arc;
use std::time::Duration;

use everstep_common::ports::{CoreMessage, Expect, Headers, Message, Publish, PublishError, Stored};
use everstep_common::topology::{Discard, StreamSpec};
use jiff::Timestamp;

use super::store::{Kept, Stream};
use super::stored_form::{headers_size, stored_size, visible_headers, wire_headers};
use super::{MAX_PAYLOAD, Nodes, later};
use crate::subject;

/// For how long a stream remembers message ids: nats-server's default.
const DUPLICATE_WINDOW: Duration = Duration::from_secs(120);

/// Headers that the server acts upon.
pub(super) mod server_header {
    pub(in crate::model) const MESSAGE_ID: &str = "Nats-Msg-Id";
    pub(in crate::model) const ROLLUP: &str = "Nats-Rollup";
    pub(in crate::model) const TTL: &str = "Nats-TTL";
    pub(in crate::model) const SCHEDULER: &str = "Nats-Scheduler";
    pub(in crate::model) const SCHEDULE_NEXT: &str = "Nats-Schedule-Next";
}

impl Stream {
    /// Stores one message, or says why not.
    pub(super) fn publish(&mut self, now: Timestamp, nodes: Nodes, message: &Publish) -> Result<Stored, PublishError> {
        self.check_form(message)?;
        if nodes == Nodes::Three
            && let Some(sequence) = self.duplicate_of(now, message)
        {
            return Ok(Stored { sequence });
        }
        self.check_expectation(nodes, message)?;
        if let Some(sequence) = self.duplicate_of(now, message) {
            return Ok(Stored { sequence });
        }
        self.check_limits(message, 0, 0)?;
        Ok(Stored {
            sequence: self.accept(now, message),
        })
    }

    /// What is wrong with the message, whatever the stream holds.
    pub(super) fn check_form(&self, message: &Publish) -> Result<(), PublishError> {
        if headers_size(&wire_headers(message)) + message.payload.len() > MAX_PAYLOAD {
            return Err(PublishError::TooLarge);
        }
        if message.headers.get(server_header::TTL).is_some() {
            return Err(PublishError::Rejected("per-message TTL is disabled".into()));
        }
        if message.headers.get(server_header::ROLLUP).is_some() && !self.spec.allow_schedules {
            return Err(PublishError::Rejected("rollup not permitted".into()));
        }
        match &message.schedule {
            Some(_) if !self.spec.allow_schedules => Err(PublishError::Rejected("message schedules is disabled".into())),
            Some(schedule) if !subject::is_literal(&schedule.target) || !self.takes(&schedule.target) => {
                Err(PublishError::Rejected("message schedules target is invalid".into()))
            }
            Some(schedule) if schedule.target == message.subject => {
                Err(PublishError::Rejected("message schedules target is invalid".into()))
            }
            _ => Ok(()),
        }
    }

    /// Whether the stream stands as the publisher expects it to.
    pub(super) fn check_expectation(&self, nodes: Nodes, message: &Publish) -> Result<(), PublishError> {
        let (filter, expected) = match &message.expect {
            None => return Ok(()),
            Some(Expect::LastSequence(sequence)) => (&message.subject, *sequence),
            Some(Expect::LastSequenceOf { filter, sequence }) => (filter, *sequence),
        };
        // A cluster lets one write with a guard be under way at a time and refuses the others, right as they may be.
        if nodes == Nodes::Three && self.guards_in_flight.contains(filter) {
            return Err(PublishError::Refused);
        }
        let found = self.last_sequence_of(filter);
        if found == expected {
            Ok(())
        } else {
            Err(PublishError::Refused)
        }
    }

    /// The last sequence on any subject that matches; 0 if there is none. The server takes `>` for the last sequence ever given
    /// out, and finds nothing if that message was removed.
    pub(super) fn last_sequence_of(&self, filter: &str) -> u64 {
        if filter == ">" {
            return self.get(self.last_sequence).map_or(0, |message| message.sequence);
        }
        self.subjects_matching(filter)
            .filter_map(|(_, sequences)| sequences.last().copied())
            .max()
            .unwrap_or(0)
    }

    /// Whether the limits leave room, with so many bytes and messages on the same subject already promised to a batch.
    pub(super) fn check_limits(&self, message: &Publish, promised_bytes: u64, promised_here: usize) -> Result<(), PublishError> {
        if self.spec.discard == Discard::Old {
            return Ok(());
        }
        if is_write_limited(&self.spec) {
            let held = self.subjects.get(&message.subject).map_or(0, |sequences| sequences.len()) + promised_here;
            if held as i64 >= self.spec.max_messages_per_subject {
                return Err(PublishError::Refused);
            }
        }
        let bytes = self.bytes + promised_bytes + stored_size(message, self.spec.storage);
        if self.spec.max_bytes >= 0 && bytes > self.spec.max_bytes as u64 {
            return Err(PublishError::Full);
        }
        Ok(())
    }

    /// The sequence under which this very message id was stored within the window.
    pub(super) fn duplicate_of(&self, now: Timestamp, message: &Publish) -> Option<u64> {
        let (sequence, stored) = self.message_ids.get(message.headers.get(server_header::MESSAGE_ID)?)?;
        (now < later(*stored, DUPLICATE_WINDOW)).then_some(*sequence)
    }

    /// Stores a message that has passed every check; its sequence.
    pub(super) fn accept(&mut self, now: Timestamp, message: &Publish) -> u64 {
        if let Some(Expect::LastSequenceOf { filter, .. }) = &message.expect {
            self.guards_in_flight.insert(filter.clone());
        }
        let stored = Arc::new(Message {
            subject: message.subject.clone(),
            sequence: self.last_sequence + 1,
            time: now.max(self.newest),
            headers: visible_headers(&message.headers),
            payload: message.payload.clone(),
        });
        if let Some(id) = message.headers.get(server_header::MESSAGE_ID) {
            self.message_ids.insert(id.to_owned(), (stored.sequence, now));
        }
        let size = stored_size(message, self.spec.storage);
        self.store(Kept {
            message: Arc::clone(&stored),
            size,
            schedule: message.schedule.clone(),
        });
        self.roll_up(message, stored.sequence);
        self.end_schedule(&message.headers);
        self.enforce_limits(&stored.subject);
        self.republish(message, &stored);
        stored.sequence
    }

    /// No publish is under way any more; guards may be used again.
    pub(super) fn settle(&mut self) {
        self.guards_in_flight.clear();
    }

    /// A schedule replaces the earlier one on its subject; a roll-up header does the same by hand.
    fn roll_up(&mut self, message: &Publish, stored: u64) {
        let filter = match message.headers.get(server_header::ROLLUP) {
            Some("all") => ">",
            Some(_) => &message.subject,
            None if message.schedule.is_some() => &message.subject,
            None => return,
        };
        let earlier: Vec<u64> = self
            .subjects_matching(filter)
            .flat_map(|(_, sequences)| sequences.iter().copied())
            .filter(|sequence| *sequence < stored)
            .collect();
        for sequence in earlier {
            self.remove(sequence);
        }
    }

    /// A message that says so ends the schedule it names: that is how the server removes what it has fired, and how a client
    /// fires early.
    fn end_schedule(&mut self, headers: &Headers) {
        let scheduler = headers.get(server_header::SCHEDULER);
        if let (true, Some("purge"), Some(schedule)) = (
            self.spec.allow_schedules,
            headers.get(server_header::SCHEDULE_NEXT),
            scheduler,
        ) {
            self.purge(schedule);
        }
    }

    /// What `discard: old` drops.
    fn enforce_limits(&mut self, subject: &str) {
        if self.spec.max_messages_per_subject > 0 {
            let limit = self.spec.max_messages_per_subject as usize;
            while self.subjects.get(subject).is_some_and(|sequences| sequences.len() > limit) {
                let oldest = self.subjects[subject]
                    .first()
                    .copied()
                    .expect("more than the limit are there");
                self.remove(oldest);
            }
        }
        while self.spec.max_bytes >= 0 && self.bytes > self.spec.max_bytes as u64 {
            let Some(oldest) = self.messages.keys().next().copied() else {
                return;
            };
            self.remove(oldest);
        }
    }

    /// Says on core NATS what was stored, if the stream does so.
    fn republish(&mut self, message: &Publish, stored: &Message) {
        let Some(rule) = &self.spec.republish else { return };
        let Some(subject) = subject::destination(&rule.source, &rule.destination, &stored.subject) else {
            return;
        };
        let mut headers = wire_headers(message)
            .with("Nats-Stream", &self.spec.name)
            .with("Nats-Subject", &stored.subject)
            .with("Nats-Sequence", stored.sequence.to_string())
            .with("Nats-Time-Stamp", stored.time.to_string());
        if rule.headers_only {
            headers = headers.with("Nats-Msg-Size", stored.payload.len().to_string());
        }
        let payload = if rule.headers_only {
            bytes::Bytes::new()
        } else {
            stored.payload.clone()
        };
        self.republished.push(CoreMessage {
            subject,
            headers: Headers(headers.0),
            payload,
            reply: None,
        });
    }
}

/// Whether a taken subject refuses another message.
fn is_write_limited(spec: &StreamSpec) -> bool {
    spec.discard_new_per_subject && spec.max_messages_per_subject > 0
}
