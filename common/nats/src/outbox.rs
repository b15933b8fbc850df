//! Putting messages on the connection in call order, without waiting.
//!
//! async-nats hands messages to its connection through a bounded channel and offers only an async way in. [`Outbox::enqueue`]
//! polls that future once: with room in the channel it completes at once, so what is enqueued first is sent first, whatever the
//! caller does with its own future. Subjects are checked here, once, for whatever is sent. It must not know what the messages mean.

use async_nats::client::traits::Publisher;
use async_nats::message::OutboundMessage;
use async_nats::{Client, PublishErrorKind};
use futures::FutureExt;

/// How many messages may wait for the connection, above all while it is away.
/// The channel takes memory only for what is in it; the bound keeps a lost server from eating the process.
pub(crate) const QUEUED_MESSAGES_MAX: usize = 262_144;

/// The sending side of the connection.
#[derive(Clone, Debug)]
pub(crate) struct Outbox {
    client: Client,
}

/// Why a message was not enqueued. In every case it was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EnqueueError {
    /// Larger than the server takes.
    TooLarge,
    /// The subject is empty or holds what a subject may not.
    InvalidSubject,
    /// [`QUEUED_MESSAGES_MAX`] messages are waiting, or the client has been closed.
    Unable,
}

impl Outbox {
    pub(crate) fn new(client: Client) -> Self {
        Self { client }
    }

    /// Queues `message` behind everything enqueued before it.
    pub(crate) fn enqueue(&self, message: OutboundMessage) -> Result<(), EnqueueError> {
        if !is_publishable(&message.subject) {
            return Err(EnqueueError::InvalidSubject);
        }
        // Without `unconstrained` tokio's cooperative budget makes the channel look full after 128 messages in one poll of a task.
        let sent = tokio::task::coop::unconstrained(self.client.publish_message(message)).now_or_never();
        match sent {
            Some(Ok(())) => Ok(()),
            Some(Err(error)) => Err(match error.kind() {
                PublishErrorKind::MaxPayloadExceeded => EnqueueError::TooLarge,
                PublishErrorKind::InvalidSubject => EnqueueError::InvalidSubject,
                PublishErrorKind::Send => EnqueueError::Unable,
            }),
            None => Err(EnqueueError::Unable),
        }
    }
}

/// Whether a message may be sent to `subject`: tokens without control characters or spaces, none of them empty, and no wildcards.
/// The server would store a message under a wildcard's own name, which no reader could then tell from the pattern; async-nats
/// lets empty tokens pass.
pub(crate) fn is_publishable(subject: &str) -> bool {
    let mut previous = b'.';
    for byte in subject.bytes() {
        let separator_without_token = byte == b'.' && previous == b'.';
        if separator_without_token || byte <= b' ' || matches!(byte, b'*' | b'>' | 0x7f) {
            return false;
        }
        previous = byte;
    }
    previous != b'.'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_subjects_that_name_one_place_are_publishable() {
        for good in ["a", "$KV.b.run.step=7E2", "_INBOX.x", "é.b"] {
            assert!(is_publishable(good), "{good:?}");
        }
        for bad in [
            "",
            ".",
            "a.",
            ".a",
            "a..b",
            "a b",
            "a\tb",
            "a\r\nPUB b",
            "a.*",
            "a.>",
            "a.b*",
            "\u{7f}",
        ] {
            assert!(!is_publishable(bad), "{bad:?}");
        }
    }
}
