//! What stands in KV `leases` beside the cursors: one record a partition, one a member.

use everstep_common::ids::{Partition, ProcessId, RunId};
use serde::{Deserialize, Serialize};

/// Who drives a partition. The KV revision of this record is the fence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseRecord {
    /// The owner; none after a hand-over.
    pub owner: Option<ProcessId>,
    /// The run that the owner has been polling for long, if any: its successor counts a strike against it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub polling: Option<RunId>,
    /// Runs that owners were found polling when they died, and how often.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub strikes: Vec<(RunId, u32)>,
}

impl LeaseRecord {
    /// The record of a new owner: what the predecessor was polling when it died gets a strike.
    pub(super) fn successor(predecessor: Option<Self>, owner: ProcessId) -> Self {
        let Some(predecessor) = predecessor else {
            return Self {
                owner: Some(owner),
                polling: None,
                strikes: Vec::new(),
            };
        };
        let mut strikes = predecessor.strikes;
        if let (Some(run), Some(_)) = (predecessor.polling, predecessor.owner) {
            match strikes.iter_mut().find(|(struck, _)| *struck == run) {
                Some((_, count)) => *count += 1,
                None => strikes.push((run, 1)),
            }
        }
        Self {
            owner: Some(owner),
            polling: None,
            strikes,
        }
    }
}

/// An orchestrator that takes part; alive while it is renewed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberRecord {
    /// Whether it said good-bye.
    pub left: bool,
}

/// The key of a partition's lease.
pub(super) fn lease_key(partition: Partition) -> String {
    format!("lease.{partition}")
}

/// The key of a member.
pub(super) fn member_key(process: &ProcessId) -> String {
    format!("member.{process}")
}

#[cfg(test)]
mod tests {
    use everstep_common::ids::hex;
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
        record.polling = Some(run.clone());
        record.owner = None;
        assert_eq!(
            LeaseRecord::successor(Some(record), owner(9)).strikes,
            [(run, 3)],
            "a hand-over is no death"
        );
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
        let least = LeaseRecord {
            owner: None,
            polling: None,
            strikes: Vec::new(),
        };
        let most = LeaseRecord {
            owner: Some(ProcessId::new("o-1").unwrap()),
            polling: Some(run.clone()),
            strikes: vec![(run, 2)],
        };
        check(&least, "0181a56f776e6572c0");
        check(
            &most,
            "0183a56f776e6572a36f2d31a7706f6c6c696e67d922302d3031323334353637383961626364656630313233343536373839616263646566a7737472696b65739192d922302d303132333435363738396162636465663031323334353637383961626364656602",
        );
        check(&MemberRecord { left: false }, "0181a46c656674c2");
    }
}
