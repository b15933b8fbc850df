//! Lists of runs, from their summaries. A summary is written a moment after what it tells, so a list may be that much behind.

use everstep_common::ids::{RunId, WorkflowName};
use everstep_common::store::RUNS;
use everstep_common::summary::{RunStatus, RunSummary};
use everstep_common::wire;
use futures::StreamExt;

use super::{Client, ClientError};

/// How many runs a list holds unless it is told otherwise.
const LIMIT_DEFAULT: usize = 100;

/// Which runs to list; all of them, 100 at most, unless it is said.
///
/// ```
/// use everstep::{ListFilter, RunStatus};
///
/// let parked = ListFilter { status: Some(RunStatus::Parked), ..ListFilter::default() };
/// assert_eq!((parked.limit, parked.workflow), (100, None));
/// ```
#[derive(Clone, Debug)]
pub struct ListFilter {
    /// Only of this workflow.
    pub workflow: Option<WorkflowName>,
    /// Only with this status.
    pub status: Option<RunStatus>,
    /// At most so many, the newest first. Default 100.
    pub limit: usize,
}

impl Default for ListFilter {
    fn default() -> Self {
        Self {
            workflow: None,
            status: None,
            limit: LIMIT_DEFAULT,
        }
    }
}

/// One run in a list.
///
/// ```
/// use everstep::ListedRun;
///
/// fn line(listed: &ListedRun) -> String {
///     format!("{} {} {}", listed.run, listed.summary.workflow, listed.summary.status)
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedRun {
    /// Its id.
    pub run: RunId,
    /// What is known of it.
    pub summary: RunSummary,
}

impl ListFilter {
    fn admits(&self, summary: &RunSummary) -> bool {
        self.workflow.as_ref().is_none_or(|workflow| *workflow == summary.workflow)
            && self.status.is_none_or(|status| status == summary.status)
    }
}

impl Client {
    /// The runs that `filter` admits, the newest first. Reads every summary of the deployment (about half a million a second).
    ///
    /// A summary is written a moment after what it tells, so a list may be that much behind; [`Client::status`] is not.
    ///
    /// # Errors
    ///
    /// [`ClientError::List`] if the summaries cannot be read.
    ///
    /// ```no_run
    /// use everstep::{ListFilter, RunStatus, WorkflowName};
    ///
    /// # async fn example(client: everstep::Client) -> anyhow::Result<()> {
    /// let filter = ListFilter {
    ///     workflow: Some(WorkflowName::new("order")?),
    ///     status: Some(RunStatus::Failed),
    ///     limit: 20,
    /// };
    /// for listed in client.list(&filter).await? {
    ///     println!("{} {}", listed.run, listed.summary.reason.unwrap_or_default());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn list(&self, filter: &ListFilter) -> Result<Vec<ListedRun>, ClientError> {
        let names = self.store().names();
        let (stream, subjects, prefix) = (
            names.bucket_stream(RUNS),
            names.bucket_key(RUNS, ">"),
            names.bucket_key(RUNS, ""),
        );
        let mut summaries = self.store().broker().scan(&stream, &subjects, None);
        let mut listed = Vec::new();
        while let Some(message) = summaries.next().await {
            let message = message.map_err(ClientError::List)?;
            let run = message.subject.strip_prefix(&prefix).and_then(|key| key.parse().ok());
            let (Some(run), Ok(summary)) = (run, wire::decode::<RunSummary>(&message.payload)) else {
                continue;
            };
            if filter.admits(&summary) {
                listed.push(ListedRun { run, summary });
            }
        }
        listed.sort_by(|one, other| other.summary.started.cmp(&one.summary.started).then(other.run.cmp(&one.run)));
        listed.truncate(filter.limit);
        Ok(listed)
    }
}
