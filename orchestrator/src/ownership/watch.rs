//! What this process has seen of the leases, and since when by its own clock as far as that [counts](super::reach).

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use everstep_common::ids::{Partition, ProcessId};
use everstep_common::ports::{ConnectionEvent, Instant, Message};
use everstep_common::store::{DEPLOYMENT_KEY, Deployment, Record};
use everstep_common::wire;
use jiff::{SignedDuration, Timestamp};

use super::code::Code;
use super::reach::Reach;
use super::record::{LeaseRecord, MemberRecord, lease_key, member_key, member_of};

/// The last value seen of a key.
#[derive(Debug)]
struct Seen {
    revision: u64,
    value: Bytes,
    /// When it was written, by the server's clock.
    time: Timestamp,
    /// When this revision was first seen, in counted time.
    since: Instant,
}

/// The newest values of the lease bucket's keys, as a follow brings them. Callers say what time it is; what counts of it is found here.
#[derive(Debug)]
pub(super) struct Watch {
    keys: BTreeMap<String, Seen>,
    reach: Reach,
}

impl Watch {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            keys: BTreeMap::new(),
            reach: Reach::new(now),
        }
    }

    /// The connection came or went; `stable_after` is how long one that counts as stable stands.
    pub(super) fn connection(&mut self, event: ConnectionEvent, now: Instant, stable_after: Duration) {
        match event {
            ConnectionEvent::Disconnected => self.reach.disconnected(now, stable_after),
            ConnectionEvent::Reconnected => {
                if self.reach.reconnected(now, stable_after) {
                    let anew = self.reach.counted(now);
                    self.keys.values_mut().for_each(|seen| seen.since = anew);
                }
            }
        }
    }

    /// Takes in a message of the bucket; `prefix` is what its subjects begin with.
    pub(super) fn note(&mut self, prefix: &str, message: Message, now: Instant) {
        let Some(key) = message.subject.strip_prefix(prefix) else {
            return;
        };
        let seen = Seen {
            revision: message.sequence,
            value: message.payload,
            time: message.time,
            since: self.reach.counted(now),
        };
        match self.keys.get(key) {
            Some(known) if known.revision >= seen.revision => {}
            _ => drop(self.keys.insert(key.to_owned(), seen)),
        }
    }

    /// A lease was read and is not what was followed: the bucket was rolled back, or the follow is behind. What was read stands from now on.
    pub(super) fn found(&mut self, partition: Partition, record: Option<Record>, now: Instant) {
        let key = lease_key(partition);
        match record {
            None => drop(self.keys.remove(&key)),
            Some(record) => {
                let seen = Seen {
                    revision: record.revision,
                    value: record.value,
                    time: record.time,
                    since: self.reach.counted(now),
                };
                self.keys.insert(key, seen);
            }
        }
    }

    /// How many partitions the deployment's record names, 0 if it was not seen: they grow while we run.
    pub(super) fn partitions(&self) -> u32 {
        let seen = self.keys.get(DEPLOYMENT_KEY);
        let record = seen.and_then(|seen| wire::decode::<Deployment>(&seen.value).ok());
        record.map_or(0, |deployment| deployment.partitions)
    }

    /// A lease's revision and record; revision 0 and nothing if there is none.
    pub(super) fn lease(&self, partition: Partition) -> (u64, Option<LeaseRecord>) {
        match self.keys.get(&lease_key(partition)) {
            Some(seen) => (seen.revision, wire::decode(&seen.value).ok()),
            None => (0, None),
        }
    }

    /// Whether a lease may be taken: nobody holds it, or its revision has stood still for longer than `ttl`.
    pub(super) fn is_free(&self, partition: Partition, now: Instant, ttl: Duration) -> bool {
        self.stands_still(partition, now, ttl) || self.lease(partition).1.is_none_or(|record| record.owner.is_none())
    }

    /// Whether nobody has written the lease for so long, not even to hand it over.
    pub(super) fn stands_still(&self, partition: Partition, now: Instant, period: Duration) -> bool {
        let seen = self.keys.get(&lease_key(partition));
        let now = self.reach.counted(now);
        seen.is_none_or(|seen| now.since(seen.since) >= period)
    }

    /// The members seen alive within `ttl`, and what code they have.
    pub(super) fn members(&self, now: Instant, ttl: Duration) -> BTreeMap<ProcessId, Code> {
        let now = self.reach.counted(now);
        let alive = self.keys.iter().filter_map(|(key, seen)| {
            let process = member_of(key)?;
            let record: MemberRecord = wire::decode(&seen.value).ok()?;
            (!record.left && now.since(seen.since) < ttl).then_some((process, record.code))
        });
        alive.collect()
    }

    /// Members that have written nothing for so long, by the server's clock: as long as the newest record of the bucket is younger.
    pub(super) fn gone(&self, period: SignedDuration) -> Vec<ProcessId> {
        let Some(newest) = self.keys.values().map(|seen| seen.time).max() else {
            return Vec::new();
        };
        let old = self
            .keys
            .iter()
            .filter(|(_, seen)| newest.duration_since(seen.time) >= period);
        old.filter_map(|(key, _)| member_of(key)).collect()
    }

    /// Nothing stands of this member any more.
    pub(super) fn forget(&mut self, member: &ProcessId) {
        self.keys.remove(&member_key(member));
    }

    /// How many partitions each process holds, as far as seen.
    pub(super) fn held(&self, process: &ProcessId, partitions: impl Iterator<Item = Partition>) -> usize {
        partitions
            .filter(|partition| {
                self.lease(*partition)
                    .1
                    .is_some_and(|record| record.owner.as_ref() == Some(process))
            })
            .count()
    }
}
