//! The runs that belong to a run: its parent, its children, and those of its chain; `everstep runs tree`.

use std::process::ExitCode;

use everstep::journal::{Ended, Entry, JournalEntry, RunOutcome, Start};
use everstep::{ChildRun, Client, ClientError, RunId, RunStatus};
use everstep_common::limits::CHAIN_RUNS_MAX;
use futures::future::{BoxFuture, FutureExt};
use futures::stream::{self, StreamExt, TryStreamExt};
use serde::Serialize;

use crate::arguments::{Global, Which};
use crate::connection::open;
use crate::output::{self, shortened};
use crate::problem::Problem;

/// Children that are looked up at the same time.
const LOOKED_UP_MAX: usize = 16;

/// A child and where it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Child {
    /// What its parent calls it.
    pub key: String,
    pub run: RunId,
    pub workflow: String,
    pub detached: bool,
    /// Whether its parent knows how it ended.
    #[serde(skip)]
    pub ended: bool,
    /// Nothing if it is not started yet, or purged.
    pub status: Option<RunStatus>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Child {
    /// Where it stands, in a few words.
    pub(super) fn standing(&self) -> String {
        let status = self
            .status
            .map_or_else(|| "not there".to_owned(), |status| status.to_string());
        let reason = self.reason.as_deref().map(|reason| format!(": {}", shortened(reason)));
        format!("{status}{}", reason.unwrap_or_default())
    }
}

/// The children of a journal, each with where it stands.
pub(super) async fn children(client: &Client, journal: &[JournalEntry]) -> Result<Vec<Child>, ClientError> {
    let children = stream::iter(ChildRun::of(journal)).map(|child| look_up(client, child));
    children.buffered(LOOKED_UP_MAX).try_collect().await
}

async fn look_up(client: &Client, child: ChildRun) -> Result<Child, ClientError> {
    let (status, reason) = standing(client, &child.run).await?;
    Ok(Child {
        key: child.key.to_string(),
        run: child.run,
        workflow: child.workflow.to_string(),
        detached: child.detached,
        ended: child.ended,
        status,
        reason,
    })
}

async fn standing(client: &Client, run: &RunId) -> Result<(Option<RunStatus>, Option<String>), ClientError> {
    match client.status(run).await {
        Ok(summary) => Ok((Some(summary.status), summary.reason)),
        Err(ClientError::NotFound { .. }) => Ok((None, None)),
        Err(error) => Err(error),
    }
}

/// How the run was started.
pub(super) fn start_of(journal: &[JournalEntry]) -> Option<&Start> {
    journal.iter().find_map(|entry| match &entry.entry {
        Entry::Start(start) => Some(start),
        _ => None,
    })
}

/// The run in which it goes on.
pub(super) fn goes_on_in(journal: &[JournalEntry]) -> Option<&RunId> {
    journal.iter().find_map(|entry| match &entry.entry {
        Entry::End(Ended {
            outcome: RunOutcome::Continued(next),
            ..
        }) => Some(&next.run),
        _ => None,
    })
}

/// A run with all that it started.
#[derive(Debug, Serialize)]
struct Node {
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    run: RunId,
    workflow: String,
    detached: bool,
    status: Option<RunStatus>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    children: Vec<Node>,
    /// The runs in which it goes on, one after the other.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    goes_on: Vec<Node>,
}

/// Shows a run with its children and theirs.
pub(crate) async fn tree(global: &Global, arguments: Which) -> Result<ExitCode, Problem> {
    let connection = open(global).await?;
    let run = connection.find_run(&arguments.run).await?;
    let node = grow(&connection.client, run, None, false).await?;
    if global.json {
        output::json_pretty(&node)?;
    } else {
        node.print(0, "")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// As deep as runs are nested, which is bounded; a chain, which is as long as a workflow has gone on, is a list.
fn grow(client: &Client, run: RunId, key: Option<String>, detached: bool) -> BoxFuture<'_, Result<Node, ClientError>> {
    async move {
        let (mut first, mut next) = look_at(client, run, key.clone(), detached).await?;
        for _ in 0..CHAIN_RUNS_MAX {
            let Some(run) = next else { return Ok(first) };
            let (node, after) = look_at(client, run, key.clone(), detached).await?;
            first.goes_on.push(node);
            next = after;
        }
        match next {
            Some(reached) => Err(ClientError::ChainTooLong { reached }),
            None => Ok(first),
        }
    }
    .boxed()
}

/// One run of a chain with its children, and the run in which it goes on.
async fn look_at(client: &Client, run: RunId, key: Option<String>, detached: bool) -> Result<(Node, Option<RunId>), ClientError> {
    let journal = match client.history(&run).await {
        Err(ClientError::NotFound { .. }) if key.is_some() => Vec::new(),
        journal => journal?,
    };
    let (status, reason) = standing(client, &run).await?;
    let workflow = start_of(&journal).map(|start| start.workflow.to_string());
    let children = stream::iter(ChildRun::of(&journal));
    let children = children.map(|child| grow(client, child.run, Some(child.key.to_string()), child.detached));
    let node = Node {
        key,
        run,
        workflow: workflow.unwrap_or_default(),
        detached,
        status,
        reason,
        children: children.buffered(LOOKED_UP_MAX).try_collect().await?,
        goes_on: Vec::new(),
    };
    Ok((node, goes_on_in(&journal).cloned()))
}

impl Node {
    fn print(&self, depth: usize, how: &str) -> std::io::Result<()> {
        let status = self
            .status
            .map_or_else(|| "not there".to_owned(), |status| status.to_string());
        let named = self
            .key
            .as_deref()
            .map(|key| format!("{} ", shortened(key)))
            .unwrap_or_default();
        let detached = if self.detached { " (detached)" } else { "" };
        let why = match &self.reason {
            Some(reason) if self.status != Some(RunStatus::Continued) => format!(": {}", shortened(reason)),
            _ => String::new(),
        };
        let indent = "  ".repeat(depth);
        output::line(format_args!(
            "{indent}{how}{named}{} {status}{detached}, {}{why}",
            self.run, self.workflow
        ))?;
        self.children.iter().try_for_each(|child| child.print(depth + 1, ""))?;
        self.goes_on.iter().try_for_each(|next| next.print(depth, "then "))
    }
}
