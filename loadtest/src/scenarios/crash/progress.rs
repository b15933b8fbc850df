//! Watching the journal for signs that a restarted process works.

use std::time::Duration;

use anyhow::{Context, bail};
use everstep::Prefix;
use everstep::journal::EntryKey;
use everstep_common::ids::Partition;
use everstep_common::ports::{Broker, Followed, From};
use everstep_common::subject::Names;
use futures::StreamExt;
use futures::stream::BoxStream;
use jiff::Timestamp;

use super::Victim;
use crate::harness::Server;

/// After how long without a sign the engine is taken for stalled.
const STALLED_AFTER: Duration = Duration::from_secs(60);

/// A deployment's journal, followed.
pub struct Journal {
    names: Names,
    entries: BoxStream<'static, Followed>,
}

impl Journal {
    /// Follows what is written from now on.
    pub async fn follow(server: &Server, prefix: &Prefix) -> anyhow::Result<Self> {
        let broker = server.connect().await?;
        let names = Names::new(prefix.clone());
        let partition = Partition(0);
        let entries = broker.follow(&names.journal_stream(partition), &names.journal_filter(partition), From::New);
        Ok(Self { names, entries })
    }

    /// How long after `restarted` the server stored the first entry that only a living `victim` can have caused.
    pub async fn moved_after(&mut self, restarted: Timestamp, victim: Victim) -> anyhow::Result<Duration> {
        let moved = tokio::time::timeout(STALLED_AFTER, self.next_after(restarted, victim)).await;
        let at = moved.with_context(|| format!("nothing moved for {STALLED_AFTER:?} after the restart"))??;
        Ok(Duration::try_from(at.duration_since(restarted)).unwrap_or_default())
    }

    async fn next_after(&mut self, restarted: Timestamp, victim: Victim) -> anyhow::Result<Timestamp> {
        loop {
            match self.entries.next().await {
                Some(Followed::Message(message)) if message.time > restarted => {
                    let key = self.names.parse_entry(&message.subject).map(|(_, key)| key);
                    if key.is_some_and(|key| shows(victim, &key)) {
                        return Ok(message.time);
                    }
                }
                Some(Followed::Message(_) | Followed::CaughtUp) => {}
                Some(Followed::Lost(reason)) => bail!("the journal is lost: {reason}"),
                None => bail!("the journal ended"),
            }
        }
    }
}

/// Whether an entry under `key` is a sign of life of `victim`: steps are written by workers, notes by orchestrators, both by a server.
fn shows(victim: Victim, key: &EntryKey) -> bool {
    match key {
        EntryKey::Step(_) => victim != Victim::Orchestrator,
        EntryKey::Local(_) => victim != Victim::Worker,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workers_entry_says_nothing_of_the_orchestrator() {
        let (step, note): (EntryKey, EntryKey) = ("step.a".parse().unwrap(), "local.a".parse().unwrap());
        assert!(shows(Victim::Worker, &step) && !shows(Victim::Worker, &note));
        assert!(!shows(Victim::Orchestrator, &step) && shows(Victim::Orchestrator, &note));
        assert!(shows(Victim::Nats, &step) && shows(Victim::Nats, &note));
        assert!(!shows(Victim::Nats, &EntryKey::Start));
    }
}
