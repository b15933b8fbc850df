//! What comes from outside, as tests write it: signals, questions, replies. What is waited for is in [`signals`] and [`questions`], both in
//! blocks in [`blocks`], and edited in [`edits`].

mod blocks;
mod edits;
mod questions;
mod signals;

use std::time::Duration;

use bytes::Bytes;
use everstep_common::journal::{InboundId, LocalKind};
use everstep_common::payload::Payload;
use everstep_common::question::{PayloadHash, Question, Reply, Terms, Vote, answer_slot};
use everstep_common::wire;

use super::kit::*;
use crate::{Answered, Due, EventBody, Record, WaitError};

pub(super) fn signal(name: &str, value: &'static str) -> EventBody {
    EventBody::Signal(name.into(), Bytes::from_static(value.as_bytes()))
}

pub(super) fn in_seconds(seconds: u64) -> Due {
    Due::After(Duration::from_secs(seconds))
}

pub(super) fn hash(of: &str) -> PayloadHash {
    PayloadHash::of_canonical(of.as_bytes())
}

pub(super) fn plain() -> Question {
    Question {
        text: "which?".to_owned(),
        ..Question::default()
    }
}

pub(super) fn approval(of: &str, quorum: u32) -> Question {
    Question {
        approval: Some(Terms {
            hash: hash(of),
            payload: None,
            quorum,
            requester: Some("bob".to_owned()),
        }),
        ..plain()
    }
}

/// The entry by which a question can be seen; its deadline is that of a question asked by the start for `seconds`.
pub(super) fn shown(path: &str, question: Question, seconds: Option<u64>) -> EventBody {
    let question = Question {
        deadline: seconds.map(|seconds| time(1) + Duration::from_secs(seconds)),
        ..question
    };
    let recorded = wire::encode_value(&question).unwrap();
    EventBody::About(key(path), Record::Local(LocalKind::Question, Ok(recorded)))
}

pub(super) fn reply_under(id: &str, path: &str, by: &str, reply: Reply) -> EventBody {
    let answered = Answered {
        id: InboundId::new(id).unwrap(),
        by: by.to_owned(),
        groups: Vec::new(),
        reason: None,
        reply,
    };
    EventBody::About(key(path), Record::Answer(Box::new(answered)))
}

pub(super) fn reply(path: &str, by: &str, value: &'static str) -> EventBody {
    let value = Reply::Value(Payload::Inline(Bytes::from_static(value.as_bytes())));
    reply_under(answer_slot(&key(path)).as_str(), path, by, value)
}

/// Who settled a question, and with what.
pub(super) fn who(said: Result<Bytes, WaitError>) -> String {
    let votes: Vec<Vote> = match said {
        Ok(votes) => wire::decode(&votes).unwrap(),
        Err(error) => return format!("({error})"),
    };
    let told = votes.iter().map(|vote| match &vote.reply {
        Reply::Value(Payload::Inline(value)) => format!("{}: {}", vote.by, String::from_utf8_lossy(value)),
        other => format!("{}: {}", vote.by, format!("{other:?}").split('(').next().unwrap()),
    });
    told.collect::<Vec<_>>().join(", ")
}
