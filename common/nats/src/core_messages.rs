//! Core NATS: messages that nobody stores.

use std::time::Duration;

use async_nats::message::OutboundMessage;
use async_nats::{Client, HeaderMap, StatusCode};
use bytes::Bytes;
use everstep_common::ports::CoreMessage;
use futures::StreamExt;
use futures::stream::{self, BoxStream};

use crate::broker::Link;
use crate::clock::pause;
use crate::headers;
use crate::outbox::{Outbox, is_publishable};

/// Sends to whoever listens. A message that cannot be sent is dropped: nobody may rely on it, and nobody waits for it.
pub(crate) fn send(outbox: &Outbox, message: CoreMessage) {
    if message.reply.as_deref().is_some_and(|reply| !is_publishable(reply)) {
        tracing::debug!(
            subject = message.subject,
            "core message not sent: an answer could not be addressed"
        );
        return;
    }
    let mut map = HeaderMap::new();
    if let Err(error) = headers::add_user_headers(&mut map, &message.headers) {
        tracing::debug!(%error, subject = message.subject, "core message not sent");
        return;
    }
    let headers = Some(map).filter(|map| !map.is_empty());
    let reply = message.reply.map(Into::into);
    let subject = message.subject;
    if let Err(error) = outbox.enqueue(OutboundMessage {
        subject: subject.clone().into(),
        reply,
        payload: message.payload,
        headers,
    }) {
        tracing::debug!(?error, subject, "core message not sent");
    }
}

/// Listens on `subject`. The subscription is on its way before this returns, ahead of every later publish of the connection.
pub(crate) async fn subscribe(client: Client, subject: String) -> BoxStream<'static, CoreMessage> {
    match client.subscribe(subject.clone()).await {
        Ok(subscriber) => subscriber.map(core_message).boxed(),
        Err(error) => {
            tracing::warn!(%error, subject, "cannot listen");
            stream::empty().boxed()
        }
    }
}

/// Asks, and gathers what comes within `wait`; at once if nobody listens.
pub(crate) async fn ask(link: Link, subject: String, payload: Bytes, wait: Duration) -> Vec<CoreMessage> {
    let inbox = link.client.new_inbox();
    let Ok(answers) = link.client.subscribe(inbox.clone()).await else {
        return Vec::new();
    };
    let question = OutboundMessage {
        subject: subject.into(),
        reply: Some(inbox.into()),
        payload,
        headers: None,
    };
    if link.outbox.enqueue(question).is_err() {
        return Vec::new();
    }
    let mut answers = std::pin::pin!(answers.take_until(pause(wait)));
    let mut gathered = Vec::new();
    while let Some(answer) = answers.next().await {
        if answer.status == Some(StatusCode::NO_RESPONDERS) {
            break;
        }
        gathered.push(core_message(answer));
    }
    gathered
}

fn core_message(message: async_nats::Message) -> CoreMessage {
    CoreMessage {
        headers: headers::all_headers(message.headers.as_ref()),
        subject: message.subject.into_string(),
        payload: message.payload,
        reply: message.reply.map(async_nats::Subject::into_string),
    }
}
