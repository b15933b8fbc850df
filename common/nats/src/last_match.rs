//! Messages of a stream that match a filter, as its leader sees it: the last one, where a catch-up or a scan ends, and the first one since
//! some time, where a follow begins.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::{Api, Failure};
use crate::refusal::NO_MESSAGE_FOUND;

/// The sequence of the last message that matches `filter`; 0 if there is none.
pub(crate) async fn last_match(api: &Api, stream: &str, filter: &str) -> Result<u64, Failure> {
    // The server takes `>` for the last sequence ever given out, and finds nothing if that message was purged.
    if filter == ">" {
        let mut last = 0;
        for filter in subjects(api, stream).await? {
            last = last.max(last_by_subject(api, stream, &filter).await?);
        }
        return Ok(last);
    }
    last_by_subject(api, stream, filter).await
}

async fn last_by_subject(api: &Api, stream: &str, filter: &str) -> Result<u64, Failure> {
    let question = json!({ "last_by_subj": filter });
    Ok(found(api, stream, &question).await?.unwrap_or(0))
}

/// The sequence of the message that is asked for, if there is one.
async fn found(api: &Api, stream: &str, question: &Value) -> Result<Option<u64>, Failure> {
    #[derive(Deserialize)]
    struct Answer {
        message: Found,
    }
    #[derive(Deserialize)]
    struct Found {
        seq: u64,
    }
    let answer: Result<Answer, _> = api.ask(&format!("STREAM.MSG.GET.{stream}"), question).await;
    match answer {
        Ok(answer) => Ok(Some(answer.message.seq)),
        Err(failure) if failure.is(NO_MESSAGE_FOUND) => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// What the stream takes.
async fn subjects(api: &Api, stream: &str) -> Result<Vec<String>, Failure> {
    #[derive(Deserialize)]
    struct Answer {
        config: Config,
    }
    #[derive(Deserialize)]
    struct Config {
        subjects: Vec<String>,
    }
    let answer: Answer = api.ask(&format!("STREAM.INFO.{stream}"), &json!({})).await?;
    Ok(answer.config.subjects)
}

/// The sequence of the first message that matches `filter` and was stored at `time` or later, if there is one.
pub(crate) async fn first_since(api: &Api, stream: &str, filter: &str, time: Timestamp) -> Result<Option<u64>, Failure> {
    let question = json!({ "next_by_subj": filter, "start_time": time });
    found(api, stream, &question).await
}
