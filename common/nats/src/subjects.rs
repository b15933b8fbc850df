//! Listing the subjects of a stream, without their messages.

use std::collections::BTreeSet;

use everstep_common::ports::ReadError;
use serde_json::json;

use crate::api::{Api, Failure};
use crate::assets::StreamAnswer;

/// By how much a page begins before the end of the one before it. Subjects come sorted, so that a page which shows nothing of what the one
/// before it ended with tells that so many subjects have gone in between, and that others have moved up unseen. A queue that is being worked
/// off loses some between any two pages; as long as they are fewer than this the listing gets on. A tenth of a page.
const OVERLAP: usize = 10_000;

/// Lists as asked; see [`Broker::subjects`](everstep_common::ports::Broker::subjects).
pub(crate) async fn subjects(api: Api, stream: String, filter: String) -> Result<BTreeSet<String>, ReadError> {
    let mut listing = Listing::default();
    while !listing.done {
        let question = json!({ "subjects_filter": filter, "offset": listing.offset });
        let answer: StreamAnswer = api
            .ask(&format!("STREAM.INFO.{stream}"), &question)
            .await
            .map_err(Failure::of_read)?;
        let page = answer.state.subjects.into_iter().map(|(subject, _)| subject);
        listing.add(page.collect(), answer.total, OVERLAP);
    }
    Ok(listing.all)
}

/// What has been listed so far.
#[derive(Default)]
struct Listing {
    all: BTreeSet<String>,
    /// How many subjects the next page leaves out.
    offset: usize,
    done: bool,
}

impl Listing {
    /// Takes in the page that was asked for; `total` is how many subjects there are in all.
    fn add(&mut self, page: BTreeSet<String>, total: usize, overlap: usize) {
        let end = self.offset + page.len();
        if self.offset > 0
            && page
                .first()
                .is_none_or(|first| self.all.last().is_some_and(|seen| first > seen))
        {
            self.offset /= 2;
            return;
        }
        self.all.extend(page);
        self.done = end >= total;
        // A page that is no longer than the overlap would not get on otherwise.
        self.offset = end.saturating_sub(overlap).max(self.offset + 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: usize = 100;
    const OVERLAP: usize = 10;

    /// Lists `count` subjects, of which the first `gone` go before each page; in how many pages. What stood throughout must be listed.
    fn check(count: usize, gone: usize) -> usize {
        let mut standing: BTreeSet<_> = (0..count).map(|number| format!("{number:06}")).collect();
        let mut listing = Listing::default();
        let mut pages = 0;
        while !listing.done {
            assert!(pages < 1_000, "it does not get on");
            pages += 1;
            standing = standing.into_iter().skip(gone).collect();
            let page = standing.iter().skip(listing.offset).take(PAGE).cloned().collect();
            listing.add(page, standing.len(), OVERLAP);
        }
        assert!(standing.is_subset(&listing.all));
        pages
    }

    #[test]
    fn a_queue_that_is_worked_off_meanwhile_is_listed_all_the_same() {
        assert_eq!(check(0, 0), 1);
        assert_eq!(check(1_000, 0), 11);
        let pages = check(1_000, 5);
        assert!(pages <= 12, "{pages}");
        check(1_000, 15);
        check(1_000, 150);
    }
}
