//! Reading the last message of each subject from the stream's leader.
//!
//! Dearer than a direct get: one request to know the position, one per wildcard to know the subjects, one per subject.
//! It is used when a replica's word is not enough, so a request or two more do not matter.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use everstep_common::ports::{GetLast, Message, ReadError, Snapshot};
use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::{Api, Failure};
use crate::assets::{self, StreamAnswer};
use crate::headers;
use crate::read::MESSAGES_MAX;
use crate::refusal::NO_MESSAGE_FOUND;

/// How many messages are asked for at a time.
const REQUESTS_MAX: usize = 64;

/// The position at which the leader knows of no message under any of the subjects; `None` if it knows of some.
pub(crate) async fn absent(api: &Api, request: &GetLast) -> Result<Option<u64>, ReadError> {
    let looks = request
        .subjects
        .clone()
        .into_iter()
        .map(|subject| matching(api, &request.stream, subject));
    let mut looks = stream::iter(looks).buffer_unordered(REQUESTS_MAX);
    let mut known = u64::MAX;
    while let Some(answer) = looks.try_next().await? {
        if !answer.state.subjects.is_empty() {
            return Ok(None);
        }
        known = known.min(answer.state.last_seq);
    }
    position(request.up_to, known).map(Some)
}

/// The snapshot as the leader has it.
pub(crate) async fn get_last(api: &Api, request: &GetLast) -> Result<Snapshot, ReadError> {
    let stream = request.stream.as_str();
    // The position comes first: what is read later is at least as new.
    let known = assets::stream(api, stream).await.map_err(Failure::of_read)?.state.last_seq;
    let up_to = position(request.up_to, known)?;
    let subjects = subjects(api, request).await?;
    let reads = subjects.into_iter().map(|subject| last(api, stream, subject, request.up_to));
    let found: Vec<Option<Message>> = stream::iter(reads).buffer_unordered(REQUESTS_MAX).try_collect().await?;
    let mut messages: Vec<Message> = found.into_iter().flatten().collect();
    messages.sort_by_key(|message| message.sequence);
    Ok(Snapshot { messages, up_to })
}

/// The position that an answer speaks of, if the leader has reached it.
pub(crate) fn position(wanted: Option<u64>, known: u64) -> Result<u64, ReadError> {
    match wanted {
        Some(wanted) if known < wanted => Err(ReadError::Unavailable(format!(
            "the leader knows the stream up to {known}, not {wanted}"
        ))),
        Some(wanted) => Ok(wanted),
        None => Ok(known),
    }
}

/// The stream, with its subjects that match `filter`.
pub(crate) async fn matching(api: &Api, stream: &str, filter: String) -> Result<StreamAnswer, ReadError> {
    let question = json!({ "subjects_filter": filter });
    api.ask(&format!("STREAM.INFO.{stream}"), &question)
        .await
        .map_err(Failure::of_read)
}

/// The subjects asked for, each by its own name.
async fn subjects(api: &Api, request: &GetLast) -> Result<BTreeSet<String>, ReadError> {
    let mut all = BTreeSet::new();
    for subject in &request.subjects {
        if !is_wildcard(subject) {
            all.insert(subject.clone());
            continue;
        }
        let answer = matching(api, &request.stream, subject.clone()).await?;
        if answer.total.max(answer.state.subjects.len()) > MESSAGES_MAX {
            return Err(ReadError::TooMany);
        }
        all.extend(answer.state.subjects.into_iter().map(|(subject, _)| subject));
    }
    if all.len() > MESSAGES_MAX {
        Err(ReadError::TooMany)
    } else {
        Ok(all)
    }
}

fn is_wildcard(subject: &str) -> bool {
    subject.split('.').any(|token| matches!(token, "*" | ">"))
}

/// The last message of `subject` at or before `up_to`.
async fn last(api: &Api, stream: &str, subject: String, up_to: Option<u64>) -> Result<Option<Message>, ReadError> {
    let newest = get(api, stream, &json!({ "last_by_subj": subject })).await?;
    match (newest, up_to) {
        (Some(message), Some(up_to)) if message.sequence > up_to => last_before(api, stream, &subject, up_to).await,
        (newest, _) => Ok(newest),
    }
}

/// The last message of `subject` that is not after `up_to`, from the beginning on. Rare: only for a subject that has been
/// written again since, and long only if the stream keeps many messages of it.
async fn last_before(api: &Api, stream: &str, subject: &str, up_to: u64) -> Result<Option<Message>, ReadError> {
    let mut found = None;
    let mut next = 1;
    while let Some(message) = get(api, stream, &json!({ "seq": next, "next_by_subj": subject })).await? {
        if message.sequence > up_to {
            break;
        }
        next = message.sequence + 1;
        found = Some(message);
    }
    Ok(found)
}

async fn get(api: &Api, stream: &str, question: &Value) -> Result<Option<Message>, ReadError> {
    #[derive(Deserialize)]
    struct Answer {
        message: Encoded,
    }
    match api.ask::<Answer>(&format!("STREAM.MSG.GET.{stream}"), question).await {
        Ok(answer) => answer.message.decoded().map(Some),
        Err(failure) if failure.is(NO_MESSAGE_FOUND) => Ok(None),
        Err(failure) => Err(failure.of_read()),
    }
}

/// A message as the API writes it.
#[derive(Deserialize)]
struct Encoded {
    subject: String,
    seq: u64,
    time: Timestamp,
    #[serde(default)]
    hdrs: String,
    #[serde(default)]
    data: String,
}

impl Encoded {
    fn decoded(self) -> Result<Message, ReadError> {
        let decode = |text: &str| {
            BASE64_STANDARD
                .decode(text)
                .map_err(|error| ReadError::Rejected(error.to_string()))
        };
        let block = decode(&self.hdrs)?;
        Ok(Message {
            subject: self.subject,
            sequence: self.seq,
            time: self.time,
            headers: headers::user_headers_of_block(&String::from_utf8_lossy(&block)),
            payload: decode(&self.data)?.into(),
        })
    }
}
