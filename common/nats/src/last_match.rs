//! The last message of a stream that matches a filter, as its leader sees it: where a catch-up or a scan ends.

use serde::Deserialize;
use serde_json::json;

use crate::api::{Api, Failure};
use crate::refusal::NO_MESSAGE_FOUND;

/// The sequence of the last message that matches `filter`; 0 if there is none.
pub(crate) async fn last_match(api: &Api, stream: &str, filter: &str) -> Result<u64, Failure> {
    #[derive(Deserialize)]
    struct Answer {
        message: Found,
    }
    #[derive(Deserialize)]
    struct Found {
        seq: u64,
    }
    let answer: Result<Answer, _> = api
        .ask(&format!("STREAM.MSG.GET.{stream}"), &json!({ "last_by_subj": filter }))
        .await;
    match answer {
        Ok(answer) => Ok(answer.message.seq),
        Err(failure) if failure.is(NO_MESSAGE_FOUND) => Ok(0),
        Err(failure) => Err(failure),
    }
}
