//! Publishing to a stream: one message, or an atomic batch.
//!
//! Everything up to the connection's queue happens before the future is returned, so call order is send order.
//! What a refusal means is in [`crate::refusal`].

use async_nats::header::{
    NATS_BATCH_COMMIT, NATS_BATCH_ID, NATS_BATCH_SEQUENCE, NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, NATS_SCHEDULE, NATS_SCHEDULE_TARGET,
};
use async_nats::message::OutboundMessage;
use async_nats::{HeaderMap, HeaderValue, Message, StatusCode};
use everstep_common::ports::{Expect, Publish, PublishError, Stored};
use futures::future::{self, BoxFuture, FutureExt};
use serde::Deserialize;

use crate::broker::NatsBroker;
use crate::headers::{self, BadHeader};
use crate::outbox::EnqueueError;
use crate::refusal::{self, ApiError};
use crate::replies::NoAnswer;

/// The server's limit on an atomic batch.
const BATCH_MESSAGES_MAX: usize = 1_000;

/// What a stream answers to a publish.
#[derive(Deserialize)]
struct Acknowledgement {
    #[serde(default)]
    seq: u64,
    error: Option<ApiError>,
}

impl NatsBroker {
    /// Sends one publish now.
    pub(crate) fn publish_now(&self, message: Publish) -> BoxFuture<'static, Result<Stored, PublishError>> {
        match wire_headers(&message) {
            Ok(headers) => {
                let pending = self.link.replies.request(message.subject.into(), headers, message.payload);
                async move { acknowledged(pending.await) }.boxed()
            }
            Err(error) => rejected(error.to_string()),
        }
    }

    /// Sends a batch now, its messages side by side: the server allows 50 open batches a stream, and one that arrives in a piece
    /// is open for no time.
    pub(crate) fn publish_batch_now(&self, messages: Vec<Publish>) -> BoxFuture<'static, Result<Stored, PublishError>> {
        if !(2..=BATCH_MESSAGES_MAX).contains(&messages.len()) {
            return rejected(format!(
                "a batch holds 2 to {BATCH_MESSAGES_MAX} messages, not {}",
                messages.len()
            ));
        }
        let batch = self.link.client.new_inbox();
        let id = batch.rsplit('.').next().unwrap_or_default();
        let numbered = match messages
            .into_iter()
            .zip(1..)
            .map(|(message, number)| batched(message, id, number))
            .collect()
        {
            Ok(numbered) => numbered,
            Err(error) => return rejected(error.to_string()),
        };
        self.send_batch(numbered)
    }

    fn send_batch(&self, mut messages: Vec<OutboundMessage>) -> BoxFuture<'static, Result<Stored, PublishError>> {
        let max_payload = self.link.client.max_payload();
        if messages.iter().any(|message| message.payload.len() > max_payload) {
            return future::ready(Err(PublishError::TooLarge)).boxed();
        }
        let Some(mut last) = messages.pop() else {
            return rejected("an empty batch".to_owned());
        };
        let commit = last.headers.get_or_insert_default();
        commit.insert(NATS_BATCH_COMMIT, "1");
        let _contiguous = self.batches.lock();
        for message in messages {
            if let Err(error) = self.link.outbox.enqueue(message) {
                // The server forgets the beginning of a batch that is never committed.
                return future::ready(Err(not_sent(error))).boxed();
            }
        }
        let pending = self.link.replies.request(last.subject, last.headers, last.payload);
        async move { acknowledged(pending.await) }.boxed()
    }
}

fn rejected(reason: String) -> BoxFuture<'static, Result<Stored, PublishError>> {
    future::ready(Err(PublishError::Rejected(reason))).boxed()
}

/// The headers of a publish, its condition and schedule among them; `None` if there are none.
fn wire_headers(message: &Publish) -> Result<Option<HeaderMap>, BadHeader> {
    if message.expect.is_none() && message.schedule.is_none() && message.headers.is_empty() {
        return Ok(None);
    }
    let mut map = HeaderMap::new();
    match &message.expect {
        None => {}
        Some(Expect::LastSequence(sequence)) => map.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, HeaderValue::from(*sequence)),
        Some(Expect::LastSequenceOf { filter, sequence }) => {
            map.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, HeaderValue::from(*sequence));
            map.insert(headers::EXPECTED_LAST_SUBJECT_SEQUENCE_SUBJECT, headers::value(filter)?);
        }
    }
    if let Some(schedule) = &message.schedule {
        map.insert(NATS_SCHEDULE, format!("@at {}", schedule.at));
        map.insert(NATS_SCHEDULE_TARGET, headers::value(&schedule.target)?);
    }
    headers::add_user_headers(&mut map, &message.headers)?;
    Ok(Some(map))
}

fn batched(message: Publish, id: &str, number: u64) -> Result<OutboundMessage, BadHeader> {
    let mut map = wire_headers(&message)?.unwrap_or_default();
    map.insert(NATS_BATCH_ID, id);
    map.insert(NATS_BATCH_SEQUENCE, HeaderValue::from(number));
    Ok(OutboundMessage {
        subject: message.subject.into(),
        reply: None,
        payload: message.payload,
        headers: Some(map),
    })
}

fn acknowledged(answer: Result<Message, NoAnswer>) -> Result<Stored, PublishError> {
    let message = match answer {
        Ok(message) => message,
        Err(NoAnswer::NotSent(error)) => return Err(not_sent(error)),
        Err(error) => return Err(PublishError::Unknown(error.to_string())),
    };
    if message.status == Some(StatusCode::NO_RESPONDERS) {
        return Err(PublishError::NoStream);
    }
    match serde_json::from_slice(&message.payload) {
        Ok(Acknowledgement { error: None, seq }) if seq > 0 => Ok(Stored { sequence: seq }),
        Ok(Acknowledgement { error: Some(error), .. }) => Err(refusal::of_publish(error)),
        _ => Err(PublishError::Unknown("something other than a stream answered".to_owned())),
    }
}

fn not_sent(error: EnqueueError) -> PublishError {
    match error {
        EnqueueError::TooLarge => PublishError::TooLarge,
        EnqueueError::InvalidSubject => PublishError::Rejected("the subject is not one that NATS takes".to_owned()),
        EnqueueError::Unable => PublishError::Unknown("too many messages wait for the connection".to_owned()),
    }
}
