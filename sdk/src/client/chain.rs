//! Runs that go on as new: from one of them to the newest.

use everstep_common::ids::RunId;
use everstep_common::journal::{Ended, Entry, EntryKey, InboundKind, RunOutcome};
use everstep_common::limits::CHAIN_RUNS_MAX;
use everstep_common::store::Backoff;

use super::{ACKNOWLEDGED_WITHIN, Client, ClientError, fresh_id};

impl Client {
    /// The run in which a workflow stands that went on as new, or ended in the end; the run itself if it did not go on.
    ///
    /// # Errors
    ///
    /// [`ClientError::NotFound`] if there is no such run, [`ClientError::ChainTooLong`] after 10,000 runs.
    ///
    /// ```no_run
    /// # async fn example(client: everstep::Client, run: everstep::RunId) -> anyhow::Result<()> {
    /// let newest = client.newest(&run).await?;
    /// println!("{}", client.status(&newest).await?.status);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn newest(&self, run: &RunId) -> Result<RunId, ClientError> {
        if self.entry(run, &EntryKey::Start).await?.is_none() {
            return Err(ClientError::NotFound { run: run.clone() });
        }
        let mut newest = run.clone();
        for _ in 0..CHAIN_RUNS_MAX {
            match self.next_of(&newest).await? {
                Some(next) => newest = next,
                None => return Ok(newest),
            }
        }
        Err(ClientError::ChainTooLong { reached: newest })
    }

    /// The run in which that one goes on, if it does.
    async fn next_of(&self, run: &RunId) -> Result<Option<RunId>, ClientError> {
        let end = self.entry(run, &EntryKey::End).await?;
        Ok(match end.map(|end| end.entry) {
            Some(Entry::End(Ended {
                outcome: RunOutcome::Continued(next),
                ..
            })) => Some(next.run),
            _ => None,
        })
    }

    /// Ends the workflow where it stands. A run that goes on meanwhile passes on what it heard in time, and is followed if it did not.
    pub(super) async fn send_to_newest(&self, run: &RunId, kind: InboundKind, reason: &str) -> Result<(), ClientError> {
        let newest = self.newest(run).await?;
        let name = match kind {
            InboundKind::Terminate => "terminate",
            _ => "cancel",
        };
        let send = async |to: &RunId| self.send(to, fresh_id(name), kind.clone(), Some(reason)).await;
        self.say_in_chain(run, newest, send).await
    }

    /// Says it to one run of a chain or, where that has ended, to the one in which it goes on.
    pub(super) async fn say_in_chain(
        &self,
        first: &RunId,
        mut to: RunId,
        say: impl AsyncFn(&RunId) -> Result<(), ClientError>,
    ) -> Result<(), ClientError> {
        let late = self.store.clock().now().0 + ACKNOWLEDGED_WITHIN;
        let mut backoff = Backoff::new();
        loop {
            match say(&to).await {
                Err(ClientError::Ended { run }) => match self.next_of(&run).await? {
                    Some(next) => to = next,
                    None => return Err(ClientError::Ended { run }),
                },
                // Whoever drives the one before is about to start it.
                Err(ClientError::NotFound { .. }) if to != *first && self.store.clock().now().0 < late => {
                    self.store.clock().sleep(backoff.delay()).await;
                }
                said => return said,
            }
        }
    }
}
