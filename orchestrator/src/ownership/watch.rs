//! What this process has seen of the leases, and since when by its own clock.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use everstep_common::ids::{Partition, ProcessId};
use everstep_common::ports::{Instant, Message};
use everstep_common::store::{DEPLOYMENT_KEY, Deployment, Record};
use everstep_common::wire;

use super::record::{LeaseRecord, MemberRecord, lease_key};

/// The last value seen of a key.
#[derive(Debug)]
struct Seen {
    revision: u64,
    value: Bytes,
    /// When this revision was first seen, by our own monotonic clock.
    since: Instant,
}

/// The newest values of the lease bucket's keys, as a follow brings them.
#[derive(Debug, Default)]
pub(super) struct Watch {
    keys: BTreeMap<String, Seen>,
}

impl Watch {
    /// Takes in a message of the bucket; `prefix` is what its subjects begin with.
    pub(super) fn note(&mut self, prefix: &str, message: Message, now: Instant) {
        let Some(key) = message.subject.strip_prefix(prefix) else {
            return;
        };
        let seen = Seen {
            revision: message.sequence,
            value: message.payload,
            since: now,
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
                    since: now,
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
        seen.is_none_or(|seen| now.since(seen.since) >= period)
    }

    /// The members seen alive within `ttl`.
    pub(super) fn members(&self, now: Instant, ttl: Duration) -> Vec<ProcessId> {
        let alive = self.keys.iter().filter_map(|(key, seen)| {
            let process = ProcessId::new(key.strip_prefix("member.")?).ok()?;
            let record: MemberRecord = wire::decode(&seen.value).ok()?;
            (!record.left && now.since(seen.since) < ttl).then_some(process)
        });
        alive.collect()
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
