//! Reading everything under a filter of a write-once stream, without a consumer: who may read at all may read this.
//!
//! The leader names the subjects and the position in one answer, which says what has to come; any replica may bring it, by pages. An
//! answer that holds all that was named is complete, since nothing is written twice.

use everstep_common::ports::{GetLast, Message, ReadError, Snapshot};

use crate::broker::Link;
use crate::leader;
use crate::read::{self, MESSAGES_MAX};

/// Reads as asked; see [`Broker::get_all`](everstep_common::ports::Broker::get_all).
pub(crate) async fn get_all(link: Link, stream: String, filter: String, up_to: Option<u64>) -> Result<Snapshot, ReadError> {
    let known = leader::matching(&link.api, &stream, filter).await?;
    // The server names 100,000 subjects at a time.
    if known.total > known.state.subjects.len() {
        return Err(ReadError::TooMany);
    }
    let position = leader::position(up_to, known.state.last_seq)?;
    let subjects: Vec<String> = known.state.subjects.into_iter().map(|(subject, _)| subject).collect();
    let mut pages: Vec<Vec<String>> = subjects.chunks(MESSAGES_MAX).map(<[String]>::to_vec).collect();
    let mut messages = Vec::with_capacity(subjects.len());
    while let Some(subjects) = pages.pop() {
        match page(&link, &stream, &subjects).await {
            Ok(page) => messages.extend(page),
            // More bytes than one answer holds.
            Err(ReadError::TooMany) if subjects.len() > 1 => {
                let (left, right) = subjects.split_at(subjects.len() / 2);
                pages.extend([left.to_vec(), right.to_vec()]);
            }
            Err(error) => return Err(error),
        }
    }
    messages.retain(|message| up_to.is_none_or(|up_to| message.sequence <= up_to));
    messages.sort_by_key(|message| message.sequence);
    Ok(Snapshot {
        messages,
        up_to: position,
    })
}

/// The messages under all of these subjects; a replica that does not have them all is behind, and then the leader is asked.
async fn page(link: &Link, stream: &str, subjects: &[String]) -> Result<Vec<Message>, ReadError> {
    for leader in [false, true] {
        let request = GetLast {
            stream: stream.to_owned(),
            subjects: subjects.to_vec(),
            up_to: None,
            leader,
        };
        let found = read::get_last(link.clone(), request).await?.messages;
        if found.len() == subjects.len() {
            return Ok(found);
        }
    }
    Err(ReadError::Unavailable("what the stream held is purged by now".to_owned()))
}
