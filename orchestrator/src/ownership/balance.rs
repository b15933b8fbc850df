//! Who takes and gives which partition: a fair share for each orchestrator, and what lacks code to one that has it.
//!
//! A partition with a run that waits for code is left to a member that has it. One that has all of our code as well gets it at once: it
//! lacks less than we do, so it can have no reason to give the partition back, and what was left to somebody for his code is given on for
//! the sake of fair shares only to one who has all of that too. Where each has code that the other lacks (a version was replaced, not
//! added), the partition changes hands no more than once a minute, so that the runs of both go on.

use std::collections::BTreeMap;
use std::time::Duration;

use everstep_common::ids::{Partition, ProcessId};
use everstep_common::ports::{Instant, ReadError};
use everstep_common::store::{LEASES, PutError};
use everstep_common::wire;
use futures::channel::oneshot;

use super::code::Code;
use super::handle::{Change, Omens};
use super::held::{Held, Releasing};
use super::record::{LeaseRecord, lease_key};
use super::service::{Ownership, put};

/// How long a partition that was left to somebody for his code is not left to anybody again, and how long it is kept before it goes to one
/// who lacks other code.
const OFFER_PAUSE: Duration = Duration::from_secs(60);

/// The other members that live, and what code they have.
type Members = BTreeMap<ProcessId, Code>;

impl Ownership {
    /// Takes what is free, and gives away what others should have, one partition at a time.
    pub(super) async fn balance(&mut self, partitions: &[Partition], now: Instant) {
        // As long as a lease stands: who is dead has no share in what he left.
        let mut members = self.watch.members(now, self.options.ttl);
        members.remove(&self.process);
        self.take_free(partitions, &members, now).await;
        if self.held.values().any(|held| held.releasing.is_some()) {
            return;
        }
        if let Some((partition, to)) = self.offer(partitions, &members, now) {
            tracing::info!(%partition, %to, "left to an orchestrator that has code which is missing here");
            self.offered.insert(partition, now);
            self.release(partition, Some(to));
        } else if let Some((partition, to)) = self.surplus(partitions, &members) {
            self.release(partition, to);
        }
    }

    /// Takes free partitions up to a fair share, and those that were left to us.
    async fn take_free(&mut self, partitions: &[Partition], members: &Members, now: Instant) {
        let ttl = self.options.ttl;
        let share = partitions.len().div_ceil(members.len() + 1);
        for partition in partitions {
            if self.held.contains_key(partition) || !self.watch.is_free(*partition, now, ttl) {
                continue;
            }
            if self.stopped.get(partition).is_some_and(|since| now.since(*since) < ttl * 2) {
                continue;
            }
            // A free lease that is for others, or above our share, is left to them for a while, then taken all the same.
            let abandoned = self.watch.stands_still(*partition, now, ttl * 2);
            let due = match self.watch.lease(*partition).1.and_then(|record| record.offered_to) {
                Some(to) if to == self.process => true,
                Some(to) if members.contains_key(&to) => false,
                _ => self.held.len() < share,
            };
            if due || abandoned {
                self.take(*partition).await;
            }
        }
    }

    /// A partition whose runs wait for code, and the member that it should be left to.
    fn offer(&self, partitions: &[Partition], members: &Members, now: Instant) -> Option<(Partition, ProcessId)> {
        self.held.iter().find_map(|(partition, held)| {
            let rested = self
                .offered
                .get(partition)
                .is_none_or(|offered| now.since(*offered) >= OFFER_PAUSE);
            let stayed = now.since(held.taken) >= OFFER_PAUSE;
            let able = members
                .iter()
                .filter(|(_, code)| held.lacks.iter().any(|needed| code.has(needed)))
                .filter(|(_, code)| rested && (stayed || code.includes(&self.code)));
            let to = able.min_by_key(|(member, code)| {
                (
                    !code.includes(&self.code),
                    self.watch.held(member, partitions.iter().copied()),
                )
            });
            to.map(|(member, _)| (*partition, member.clone()))
        })
    }

    /// A partition above our share that somebody else has too few of.
    fn surplus(&self, partitions: &[Partition], members: &Members) -> Option<(Partition, Option<ProcessId>)> {
        let fair = partitions.len() / (members.len() + 1);
        let mut hungry = members
            .iter()
            .filter(|(member, _)| self.watch.held(member, partitions.iter().copied()) < fair)
            .peekable();
        if self.held.len() <= fair || hungry.peek().is_none() {
            return None;
        }
        let ours = self.held.iter().rev().find(|(_, held)| !held.offered);
        if let Some((partition, _)) = ours {
            return Some((*partition, None));
        }
        let (member, _) = hungry.find(|(_, code)| code.includes(&self.code))?;
        let partition = self.held.keys().next_back()?;
        Some((*partition, Some(member.clone())))
    }

    async fn take(&mut self, partition: Partition) {
        let (seen, _) = self.watch.lease(partition);
        // Read again after the wait: what the watch last brought may be old.
        let found = match self.store.get_record(LEASES, &lease_key(partition)).await {
            Ok(found) => found,
            Err(ReadError::NoStream) => return tracing::error!(%partition, "the leases bucket is gone: run `everstep provision`"),
            Err(error) => return tracing::debug!(%partition, %error, "lease not read"),
        };
        let revision = found.as_ref().map_or(0, |record| record.revision);
        if revision != seen {
            return self.watch.found(partition, found, self.store.clock().now());
        }
        let predecessor = found.and_then(|record| wire::decode::<LeaseRecord>(&record.value).ok());
        let offered = predecessor
            .as_ref()
            .is_some_and(|record| record.offered_to.as_ref() == Some(&self.process));
        let record = LeaseRecord::successor(predecessor, self.process.clone());
        match put(&self.store, partition, &record, revision).await {
            Ok(epoch) => self.taken(partition, epoch, record, offered),
            Err(PutError::Conflict) => tracing::debug!(%partition, "lease taken by somebody else"),
            Err(error) => tracing::warn!(%partition, %error, "lease not taken"),
        }
    }

    fn taken(&mut self, partition: Partition, epoch: u64, record: LeaseRecord, offered: bool) {
        let omens = Omens {
            strikes: record.strikes.clone(),
            cautious: record.is_ominous(),
        };
        if omens.cautious {
            tracing::warn!(%partition, deaths = record.deaths, "its owners die soon after they take it: each run is noted before it is polled");
        }
        tracing::info!(%partition, epoch, "lease taken");
        let now = self.store.clock().now();
        let held = Held {
            epoch,
            revision: epoch,
            record,
            taken: now,
            renewed: now,
            failing: false,
            offered,
            noted: Vec::new(),
            lacks: Default::default(),
            releasing: None,
        };
        self.held.insert(partition, held);
        self.tell(Change::Acquired { partition, epoch, omens });
    }

    /// Has a partition's thread stop, to hand its lease over to `to`, or to whoever comes first.
    pub(super) fn release(&mut self, partition: Partition, to: Option<ProcessId>) {
        let Some(held) = self.held.get_mut(&partition) else { return };
        if held.releasing.is_some() {
            return;
        }
        let (stopped, released) = oneshot::channel();
        held.releasing = Some(Releasing { stopped: released, to });
        self.tell(Change::Release { partition, stopped });
    }

    /// Hands over the leases of partitions that have stopped.
    pub(super) async fn finish_releases(&mut self) {
        let has_stopped = |_: &Partition, held: &mut Held| {
            // An error means that the thread is gone, which is as good as stopped.
            let releasing = held.releasing.as_mut();
            releasing.is_some_and(|releasing| !matches!(releasing.stopped.try_recv(), Ok(None)))
        };
        let stopped: Vec<_> = self.held.extract_if(.., has_stopped).collect();
        for (partition, held) in stopped {
            let to = held.releasing.and_then(|releasing| releasing.to);
            match put(&self.store, partition, &held.record.left(to), held.revision).await {
                Ok(_) => tracing::info!(%partition, "lease handed over"),
                Err(error) => tracing::warn!(%partition, %error, "lease not handed over; it runs out by itself"),
            }
        }
    }
}
