//! Reading the last message of each subject: from any replica in one request, or from the leader.
//!
//! What a direct get with `up_to_seq` proves (checked on 2.15.1). A replica with a file-backed store that has not got that far
//! answers "404 no results", the same as when nothing matches: a 404 proves nothing, messages prove that it has. One with a
//! memory-backed store answers with what it has, and claims the position asked for: only a message at that very position proves
//! it. Whatever is not proved is asked of the leader ([`crate::leader`]).

use std::sync::PoisonError;

use async_nats::{HeaderName, Message, StatusCode};
use everstep_common::ports::{self, GetLast, ReadError, Snapshot};
use serde::Serialize;

use crate::broker::Link;
use crate::refusal::STREAM_NOT_FOUND;
use crate::{api::Failure, assets, headers, leader};

/// The most messages that one answer may hold; more are for [`Broker::scan`](everstep_common::ports::Broker::scan).
pub(crate) const MESSAGES_MAX: usize = 1_000;

/// Statuses of direct gets that async-nats has no names for.
const END_OF_BATCH: u16 = 204;
const BAD_REQUEST: u16 = 408;
const TOO_MANY_RESULTS: u16 = 413;

/// A batched direct get.
#[derive(Serialize)]
struct Question<'a> {
    multi_last: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    up_to_seq: Option<u64>,
}

/// Reads as asked; see [`Broker::get_last`](everstep_common::ports::Broker::get_last).
pub(crate) async fn get_last(link: Link, request: GetLast) -> Result<Snapshot, ReadError> {
    if request.subjects.is_empty() || request.subjects.len() > MESSAGES_MAX {
        return Err(ReadError::Rejected(format!(
            "1 to {MESSAGES_MAX} subjects are read at once, not {}",
            request.subjects.len()
        )));
    }
    if request.leader {
        return leader::get_last(&link.api, &request).await;
    }
    if let Some(snapshot) = direct(&link, &request).await? {
        let proved = is_proved(&link, &request, &snapshot).await?;
        return if proved {
            Ok(snapshot)
        } else {
            leader::get_last(&link.api, &request).await
        };
    }
    if let Some(up_to) = leader::absent(&link.api, &request).await? {
        return Ok(Snapshot {
            messages: Vec::new(),
            up_to,
        });
    }
    // The leader knows of something, so the replica was behind. It usually has caught up by now, and is cheaper to ask.
    match direct(&link, &request).await? {
        Some(snapshot) if is_proved(&link, &request, &snapshot).await? => Ok(snapshot),
        _ => leader::get_last(&link.api, &request).await,
    }
}

/// Whether the replica that answered had got as far as was asked.
async fn is_proved(link: &Link, request: &GetLast, snapshot: &Snapshot) -> Result<bool, ReadError> {
    let last = snapshot.messages.last().map(|message| message.sequence);
    if request.up_to.is_none() || last == request.up_to {
        return Ok(true);
    }
    let known = link
        .file_backed
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .get(&request.stream)
        .copied();
    if let Some(file_backed) = known {
        return Ok(file_backed);
    }
    let stream = assets::stream(&link.api, &request.stream).await.map_err(Failure::of_read)?;
    let mut kinds = link.file_backed.lock().unwrap_or_else(PoisonError::into_inner);
    kinds.insert(request.stream.clone(), stream.file_backed());
    Ok(stream.file_backed())
}

/// What some replica answers; `None` if it knows of nothing.
async fn direct(link: &Link, request: &GetLast) -> Result<Option<Snapshot>, ReadError> {
    link.api.connected().await.map_err(Failure::of_read)?;
    let question = Question {
        multi_last: &request.subjects,
        up_to_seq: request.up_to,
    };
    let question = serde_json::to_vec(&question).map_err(|error| ReadError::Rejected(error.to_string()))?;
    let subject = link.api.subject(&format!("DIRECT.GET.{}", request.stream));
    let mut answer = link.replies.gather(subject.into(), question.into()).await;
    let end = match &mut answer {
        Ok(messages) => messages.pop(),
        Err(error) => return Err(ReadError::Unavailable(error.to_string())),
    };
    let (Ok(messages), Some(end)) = (answer, end) else {
        return Err(ReadError::Unavailable("an empty answer".to_owned()));
    };
    match end.status.map_or(0, |status| status.as_u16()) {
        END_OF_BATCH => complete(messages, &end).map(Some),
        status if status == StatusCode::NOT_FOUND.as_u16() && messages.is_empty() => Ok(None),
        status if status == StatusCode::NO_RESPONDERS.as_u16() => Err(nobody(link, &request.stream).await),
        TOO_MANY_RESULTS => Err(ReadError::TooMany),
        BAD_REQUEST => Err(ReadError::Rejected(end.description.unwrap_or_default())),
        status => Err(ReadError::Unavailable(format!(
            "direct get: {status} {}",
            end.description.unwrap_or_default()
        ))),
    }
}

/// Nobody serves direct gets of this stream: it does not exist, or its replicas are on their way.
async fn nobody(link: &Link, stream: &str) -> ReadError {
    match assets::stream(&link.api, stream).await {
        Err(failure) if failure.is(STREAM_NOT_FOUND) => ReadError::NoStream,
        Err(failure) => failure.of_read(),
        Ok(_) => ReadError::Unavailable("no replica answers direct gets".to_owned()),
    }
}

/// The snapshot, if nothing of it is missing.
fn complete(messages: Vec<Message>, end: &Message) -> Result<Snapshot, ReadError> {
    let up_to = number(end, headers::UP_TO_SEQUENCE);
    let (Some(up_to), Some(still_pending)) = (up_to, number(end, headers::NUM_PENDING)) else {
        return Err(ReadError::Rejected("the server's answer names no position".to_owned()));
    };
    let announced = messages
        .first()
        .and_then(|message| number(message, headers::NUM_PENDING))
        .map_or(0, |pending| pending + 1);
    if still_pending > 0 || announced > MESSAGES_MAX as u64 {
        return Err(ReadError::TooMany);
    }
    if announced != messages.len() as u64 {
        return Err(ReadError::Unavailable(format!(
            "{} of {announced} messages came",
            messages.len()
        )));
    }
    let messages = messages.into_iter().map(stored).collect::<Option<Vec<_>>>();
    let messages = messages.ok_or_else(|| ReadError::Rejected("a message came without its coordinates".to_owned()))?;
    Ok(Snapshot { messages, up_to })
}

fn stored(message: Message) -> Option<ports::Message> {
    let map = message.headers.as_ref()?;
    let text = |name| map.get_last(name).map(|value| value.as_str());
    Some(ports::Message {
        subject: text(async_nats::header::NATS_SUBJECT)?.to_owned(),
        sequence: text(async_nats::header::NATS_SEQUENCE)?.parse().ok()?,
        time: text(async_nats::header::NATS_TIME_STAMP)?.parse().ok()?,
        headers: headers::user_headers(Some(map)),
        payload: message.payload,
    })
}

fn number(message: &Message, name: HeaderName) -> Option<u64> {
    message.headers.as_ref()?.get_last(name)?.as_str().parse().ok()
}
