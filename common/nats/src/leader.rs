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

/// The snapshot as the leader has it.
pub(crate) async fn get_last(api: &Api, request: &GetLast) -> Result<Snapshot, ReadError> {
    let stream = request.stream.as_str();
    // The position comes first: what is read later is at least as new.
    let known = assets::stream(api, stream).await.map_err(Failure::of_read)?.state.last_seq;
    let up_to = request.up_to.unwrap_or(known);
    if known < up_to {
        return Err(ReadError::Unavailable(format!(
            "the leader knows the stream up to {known}, not {up_to}"
        )));
    }
    let subjects = subjects(api, request).await?;
    let reads = subjects.into_iter().map(|subject| last(api, stream, subject, request.up_to));
    let found: Vec<Option<Message>> = stream::iter(reads).buffer_unordered(REQUESTS_MAX).try_collect().await?;
    let mut messages: Vec<Message> = found.into_iter().flatten().collect();
    messages.sort_by_key(|message| message.sequence);
    Ok(Snapshot { messages, up_to })
}

/// The subjects asked for, each by its own name.
async fn subjects(api: &Api, request: &GetLast) -> Result<BTreeSet<String>, ReadError> {
    let mut all = BTreeSet::new();
    for subject in &request.subjects {
        if !is_wildcard(subject) {
            all.insert(subject.clone());
            continue;
        }
        let question = json!({ "subjects_filter": subject });
        let answer: Result<StreamAnswer, _> = api.ask(&format!("STREAM.INFO.{}", request.stream), &question).await;
        let answer = answer.map_err(Failure::of_read)?;
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
