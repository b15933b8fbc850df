//! What stands in KV `leases` beside the cursors: one record a partition, one a member.

use everstep_common::ids::{Partition, ProcessId, RunId};
use serde::{Deserialize, Serialize};

use super::code::Code;

/// From how many deaths in a row an owner is cautious. One may befall any process; a second one soon after is a sign.
const CAUTIOUS_FROM: u32 = 2;

/// Who drives a partition. The KV revision of this record is the fence.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseRecord {
    /// The owner; none after a hand-over.
    pub owner: Option<ProcessId>,
    /// The run that the owner has been polling for long, if any: its successor counts a strike against it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub polling: Option<RunId>,
    /// Runs that owners were found polling when they died, and how often.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub strikes: Vec<(RunId, u32)>,
    /// How many owners have died in a row before they had driven it calmly for a while.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub deaths: u32,
    /// A process to which the last owner leaves it, since it has code that the last owner lacks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offered_to: Option<ProcessId>,
}

fn is_zero(count: &u32) -> bool {
    *count == 0
}

impl LeaseRecord {
    /// The record of a new owner. If the predecessor still held it he has died, and what he was polling then gets a strike.
    pub(super) fn successor(predecessor: Option<Self>, owner: ProcessId) -> Self {
        let mut record = predecessor.unwrap_or_default();
        let died = record.owner.replace(owner).is_some();
        let polling = record.polling.take();
        record.offered_to = None;
        if died {
            record.deaths += 1;
            if let Some(run) = polling {
                record.strike(run);
            }
        }
        record
    }

    /// The record that an owner leaves behind who stops in order.
    pub(super) fn left(self, offered_to: Option<ProcessId>) -> Self {
        Self {
            owner: None,
            polling: None,
            offered_to,
            ..self
        }
    }

    /// Whether owners die soon after they take it.
    pub(super) fn is_ominous(&self) -> bool {
        self.deaths >= CAUTIOUS_FROM
    }

    fn strike(&mut self, run: RunId) {
        match self.strikes.iter_mut().find(|(struck, _)| *struck == run) {
            Some((_, count)) => *count += 1,
            None => self.strikes.push((run, 1)),
        }
    }
}

/// An orchestrator that takes part; alive while it is renewed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberRecord {
    /// Whether it said good-bye.
    pub left: bool,
    /// Workflow code that it has.
    #[serde(default, skip_serializing_if = "Code::is_empty")]
    pub code: Code,
}

/// The key of a partition's lease.
pub(super) fn lease_key(partition: Partition) -> String {
    format!("lease.{partition}")
}

/// The key of a member.
pub(super) fn member_key(process: &ProcessId) -> String {
    format!("member.{process}")
}

/// The member that a key is about, if it is about one.
pub(super) fn member_of(key: &str) -> Option<ProcessId> {
    ProcessId::new(key.strip_prefix("member.")?).ok()
}

#[cfg(test)]
mod tests {
    use everstep_common::ids::{WorkflowName, hex};
    use everstep_common::wire;

    use super::*;

    #[test]
    fn a_run_found_under_poll_by_successors_collects_strikes() {
        let run: RunId = "0-0123456789abcdef0123456789abcdef".parse().unwrap();
        let owner = |number: u32| ProcessId::new(format!("o-{number}")).unwrap();
        let mut record = LeaseRecord::successor(None, owner(0));
        for strike in 1..=3 {
            record.polling = Some(run.clone());
            record = LeaseRecord::successor(Some(record), owner(strike));
            assert_eq!(record.strikes, [(run.clone(), strike)]);
            assert_eq!(record.polling, None);
        }
        assert_eq!(record.deaths, 3);
        record.polling = Some(run.clone());
        let next = LeaseRecord::successor(Some(record.left(None)), owner(9));
        assert_eq!((next.strikes, next.deaths), (vec![(run, 3)], 3), "a hand-over is no death");
    }

    #[test]
    fn a_second_death_is_an_omen() {
        let owner = |number: u32| ProcessId::new(format!("o-{number}")).unwrap();
        let first = LeaseRecord::successor(None, owner(1));
        let second = LeaseRecord::successor(Some(first.clone()), owner(2));
        let third = LeaseRecord::successor(Some(second.clone()), owner(3));
        let ominous = [first, second, third].map(|record| record.is_ominous());
        assert_eq!(ominous, [false, false, true]);
    }

    /// Bytes once written are read for ever, and are written so today.
    fn check<T: Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug>(value: &T, golden: &str) {
        let bytes = wire::encode(value).unwrap();
        assert_eq!(hex(&bytes), golden);
        assert_eq!(wire::decode::<T>(&bytes).unwrap(), *value);
    }

    #[test]
    fn records_once_written_are_read_for_ever() {
        let run: RunId = "0-0123456789abcdef0123456789abcdef".parse().unwrap();
        let least = LeaseRecord::default();
        let struck = LeaseRecord {
            owner: Some(ProcessId::new("o-1").unwrap()),
            polling: Some(run.clone()),
            strikes: vec![(run, 2)],
            ..LeaseRecord::default()
        };
        let most = LeaseRecord {
            deaths: 2,
            offered_to: Some(ProcessId::new("o-2").unwrap()),
            ..struck.clone()
        };
        let code = [1, 2].map(|version| (WorkflowName::new("order").unwrap(), version));
        let code = code.into_iter().collect();
        check(&least, "0181a56f776e6572c0");
        check(
            &struck,
            "0183a56f776e6572a36f2d31a7706f6c6c696e67d922302d3031323334353637383961626364656630313233343536373839616263646566a7737472696b65739192d922302d303132333435363738396162636465663031323334353637383961626364656602",
        );
        check(
            &most,
            "0185a56f776e6572a36f2d31a7706f6c6c696e67d922302d3031323334353637383961626364656630313233343536373839616263646566a7737472696b65739192d922302d303132333435363738396162636465663031323334353637383961626364656602a664656174687302aa6f6666657265645f746fa36f2d32",
        );
        let member = MemberRecord::default();
        check(&member, "0181a46c656674c2");
        check(
            &MemberRecord { code, ..member },
            "0182a46c656674c2a4636f646581a56f72646572920102",
        );
    }
}
