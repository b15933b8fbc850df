//! Listing the subjects of a stream, without their messages.

use std::collections::BTreeSet;

use everstep_common::ports::ReadError;
use serde_json::json;

use crate::api::{Api, Failure};
use crate::assets::StreamAnswer;

/// By how much a page begins before the end of the one before it. Subjects come sorted, so that a page which does not show what the one
/// before it ended with tells of a subject that has gone in between, and that others have moved up unseen.
const OVERLAP: usize = 1;

/// Lists as asked; see [`Broker::subjects`](everstep_common::ports::Broker::subjects).
pub(crate) async fn subjects(api: Api, stream: String, filter: String) -> Result<BTreeSet<String>, ReadError> {
    let mut all = BTreeSet::new();
    let mut offset = 0;
    loop {
        let question = json!({ "subjects_filter": filter, "offset": offset });
        let answer: StreamAnswer = api
            .ask(&format!("STREAM.INFO.{stream}"), &question)
            .await
            .map_err(Failure::of_read)?;
        let end = offset + answer.state.subjects.len();
        let page: BTreeSet<String> = answer.state.subjects.into_iter().map(|(subject, _)| subject).collect();
        if let (Some(seen), Some(first)) = (all.last(), page.first())
            && offset > 0
            && first > seen
        {
            offset /= 2;
            continue;
        }
        let done = page.is_empty() || end >= answer.total;
        all.extend(page);
        if done {
            return Ok(all);
        }
        offset = end.saturating_sub(OVERLAP);
    }
}
