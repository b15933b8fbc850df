//! The runs that a run started.

use std::collections::BTreeSet;

use everstep_common::ids::{RunId, WorkflowName};
use everstep_common::journal::{Entry, EntryKey, JournalEntry};
use everstep_common::key::StepKey;

use super::{Client, ClientError};

/// A run that another one started.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChildRun {
    /// What the other run calls it.
    pub key: StepKey,
    /// The run; the first one, if it went on as new.
    pub run: RunId,
    /// Its workflow.
    pub workflow: WorkflowName,
    /// Whether nobody waits for its end.
    pub detached: bool,
    /// Whether the other run knows how it ended.
    pub ended: bool,
}

impl ChildRun {
    /// The children that a journal names, in the order in which they were started.
    ///
    /// ```
    /// assert!(everstep::ChildRun::of(&[]).is_empty());
    /// ```
    pub fn of(journal: &[JournalEntry]) -> Vec<Self> {
        let steps = journal.iter().filter_map(|entry| match &entry.key {
            EntryKey::Step(key) => Some(key),
            _ => None,
        });
        let ended: BTreeSet<_> = steps.collect();
        let named = journal.iter().filter_map(|entry| match (&entry.key, &entry.entry) {
            (EntryKey::Child(key), Entry::Child(child)) => Some(Self {
                key: key.clone(),
                run: child.run.clone(),
                workflow: child.workflow.clone(),
                detached: child.detached,
                ended: ended.contains(key),
            }),
            _ => None,
        });
        named.collect()
    }
}

impl Client {
    /// The runs that a run started with [`ctx.child`](crate::WorkflowContext::child), in the order in which they were started.
    ///
    /// # Errors
    ///
    /// [`ClientError::NotFound`] if there is no such run.
    ///
    /// ```no_run
    /// # async fn example(client: everstep::Client, run: everstep::RunId) -> anyhow::Result<()> {
    /// for child in client.children(&run).await? {
    ///     println!("{} is run {} of {}", child.key, child.run, child.workflow);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn children(&self, run: &RunId) -> Result<Vec<ChildRun>, ClientError> {
        Ok(ChildRun::of(&self.history(run).await?))
    }
}
