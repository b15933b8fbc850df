//! The cursor: how far a successor need not look again.
//!
//! A low watermark: it passes an entry when what followed from it is acknowledged. A run whose effects stay open for long is exempted: it
//! stands in the record by name, and a successor loads it too.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use everstep_common::ids::{Partition, QueueName, RunId};
use everstep_common::ports::Instant;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Runs that may be exempt from the watermark; with more, the successor scans the partition.
pub(crate) const EXEMPT_MAX: usize = 1_000;

/// After how long an open entry no longer holds the watermark back.
pub(crate) const OPEN_MAX: Duration = Duration::from_secs(5);

/// The cursor as it stands in KV `leases` under `cursor.<p>`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CursorRecord {
    /// The lease revision of the owner that writes it: a predecessor's compare-and-set fails from the first write on.
    pub epoch: u64,
    /// Everything up to this sequence is done with, but for the exempt runs.
    pub position: u64,
    /// Runs that a successor loads although their entries lie before the position.
    #[serde(default)]
    pub exempt: BTreeSet<RunId>,
    /// More runs were exempt than the record holds: the successor scans the partition.
    #[serde(default)]
    pub scan: bool,
    /// The stream's creation time when the record was written.
    pub created: Option<Timestamp>,
    /// The newest entry seen, by which a stream that was rolled back is noticed.
    pub newest: Option<Newest>,
    /// The task streams' marks that everything in flight has been published under.
    #[serde(default)]
    pub marks: BTreeMap<QueueName, String>,
}

/// The newest entry that an owner has seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Newest {
    /// Its sequence.
    pub sequence: u64,
    /// Its time stamp.
    pub time: Timestamp,
    /// Its subject, to look for it.
    pub subject: String,
}

/// The key of a partition's cursor.
pub(crate) fn cursor_key(partition: Partition) -> String {
    format!("cursor.{partition}")
}

/// Which entries are still being worked on.
#[derive(Debug)]
pub(crate) struct Watermark {
    /// The newest sequence handed out by the feed.
    newest: u64,
    open: BTreeMap<u64, Open>,
}

#[derive(Debug)]
struct Open {
    /// What holds it open: being queued or loaded, and each unacknowledged effect.
    holds: u32,
    since: Instant,
    run: RunId,
    /// It is open for long by nature: the run is parked.
    parked: bool,
    /// It is never exempt: the run's journal alone would not tell a successor what is to be done for it.
    pinned: bool,
    /// It is exempt by name or not at all: the run has ended, and a scan reads open ones only.
    ended: bool,
}

impl Watermark {
    /// Everything up to `position` is done with.
    pub(crate) fn new(position: u64) -> Self {
        Self {
            newest: position,
            open: BTreeMap::new(),
        }
    }

    /// An entry has come; it is open until released.
    pub(crate) fn arrived(&mut self, sequence: u64, run: RunId, now: Instant) {
        self.newest = self.newest.max(sequence);
        // It may be open already: a run was read ahead of the feed and parked at it.
        let open = self.open.entry(sequence).or_insert(Open {
            holds: 0,
            since: now,
            run,
            parked: false,
            pinned: false,
            ended: false,
        });
        open.holds += 1;
    }

    /// An entry that nothing follows from has come.
    pub(crate) fn passed(&mut self, sequence: u64) {
        self.newest = self.newest.max(sequence);
    }

    /// One more thing follows from the entry; whether it was still open, and so is to be released once more.
    pub(crate) fn hold(&mut self, sequence: u64) -> bool {
        let open = self.open.get_mut(&sequence);
        open.map(|open| open.holds += 1).is_some()
    }

    /// The run is parked at the entry: it is exempt by name until released.
    pub(crate) fn park(&mut self, sequence: u64, run: &RunId, now: Instant) {
        let open = self.open.entry(sequence).or_insert_with(|| Open {
            holds: 0,
            since: now,
            run: run.clone(),
            parked: true,
            pinned: false,
            ended: false,
        });
        open.holds += 1;
        open.parked = true;
    }

    /// The cursor waits at the entry however long it stays open.
    pub(crate) fn pin(&mut self, sequence: u64) {
        if let Some(open) = self.open.get_mut(&sequence) {
            open.pinned = true;
        }
    }

    /// The entry ends its run.
    pub(crate) fn ends(&mut self, sequence: u64) {
        if let Some(open) = self.open.get_mut(&sequence) {
            open.ended = true;
        }
    }

    /// One thing less is to be done for the entry.
    pub(crate) fn release(&mut self, sequence: u64) {
        if let Some(open) = self.open.get_mut(&sequence) {
            open.holds -= 1;
            if open.holds == 0 {
                self.open.remove(&sequence);
            }
        }
    }

    /// The position, the runs exempt from it as far as they can be named, and whether there are more.
    pub(crate) fn position(&self, now: Instant) -> (u64, BTreeSet<RunId>, bool) {
        let mut exempt = BTreeSet::new();
        let mut more = false;
        for (sequence, open) in &self.open {
            if open.pinned || !open.parked && now.since(open.since) < OPEN_MAX {
                return (sequence - 1, exempt, more);
            }
            if exempt.contains(&open.run) {
                continue;
            }
            if exempt.len() < EXEMPT_MAX {
                exempt.insert(open.run.clone());
            } else if open.ended {
                return (sequence - 1, exempt, more);
            } else {
                more = true;
            }
        }
        (self.newest, exempt, more)
    }

    /// Whether the entry was brought, or passed by a predecessor, and nothing is to be done for it any more.
    pub(crate) fn has_passed(&self, sequence: u64) -> bool {
        sequence <= self.newest && !self.open.contains_key(&sequence)
    }

    /// The newest sequence the feed has brought.
    pub(crate) fn newest(&self) -> u64 {
        self.newest
    }

    /// How many entries are open.
    pub(crate) fn open(&self) -> usize {
        self.open.len()
    }
}

#[cfg(test)]
mod tests {
    use everstep_common::ids::hex;
    use everstep_common::wire;

    use super::*;

    fn run(number: u32) -> RunId {
        format!("0-{number:032x}").parse().unwrap()
    }

    fn at(seconds: u64) -> Instant {
        Instant(Duration::from_secs(seconds))
    }

    #[test]
    fn the_position_stops_before_the_first_open_entry() {
        let mut watermark = Watermark::new(10);
        watermark.arrived(11, run(1), at(0));
        watermark.arrived(12, run(2), at(0));
        watermark.hold(11);
        watermark.release(12);
        assert_eq!(watermark.position(at(0)), (10, BTreeSet::new(), false));
        watermark.release(11);
        assert_eq!(
            watermark.position(at(0)),
            (10, BTreeSet::new(), false),
            "an effect is still open"
        );
        watermark.release(11);
        assert_eq!(watermark.position(at(0)), (12, BTreeSet::new(), false));
    }

    #[test]
    fn an_entry_is_passed_when_it_was_brought_and_nothing_follows_from_it_any_more() {
        let mut watermark = Watermark::new(10);
        let check = |watermark: &Watermark, sequence, passed| assert_eq!(watermark.has_passed(sequence), passed, "{sequence}");
        check(&watermark, 10, true);
        check(&watermark, 11, false);
        watermark.arrived(11, run(1), at(0));
        watermark.passed(12);
        check(&watermark, 11, false);
        check(&watermark, 12, true);
        watermark.release(11);
        check(&watermark, 11, true);
    }

    #[test]
    fn what_stays_open_is_exempt_by_name() {
        let mut watermark = Watermark::new(0);
        watermark.arrived(1, run(1), at(0));
        watermark.arrived(2, run(2), at(4));
        assert_eq!(watermark.position(at(6)), (1, BTreeSet::from([run(1)]), false));
    }

    #[test]
    fn more_exempt_runs_than_can_be_named_ask_for_a_scan_and_hold_nothing_back() {
        let runs = EXEMPT_MAX as u64;
        let mut watermark = Watermark::new(0);
        for sequence in 1..=runs {
            watermark.arrived(sequence, run(sequence as u32), at(0));
        }
        let (position, exempt, scan) = watermark.position(at(60));
        assert_eq!((position, exempt.len(), scan), (runs, EXEMPT_MAX, false));
        watermark.park(runs + 1, &run(runs as u32 + 1), at(0));
        watermark.arrived(runs + 2, run(1), at(60));
        let (position, exempt, scan) = watermark.position(at(60));
        assert_eq!((position, exempt.len(), scan), (runs + 1, EXEMPT_MAX, true));
    }

    #[test]
    fn a_run_that_has_ended_is_named_or_holds_the_cursor_back() {
        let runs = EXEMPT_MAX as u64;
        let mut watermark = Watermark::new(0);
        for sequence in 1..=runs + 2 {
            watermark.arrived(sequence, run(sequence as u32), at(0));
        }
        watermark.ends(1);
        watermark.ends(runs + 2);
        let (position, exempt, scan) = watermark.position(at(60));
        assert_eq!((position, exempt.len(), scan), (runs + 1, EXEMPT_MAX, true));
        watermark.release(1);
        watermark.release(2);
        assert_eq!(watermark.position(at(60)).0, runs + 2);
    }

    #[test]
    fn what_a_journal_does_not_tell_is_never_exempt() {
        let mut watermark = Watermark::new(0);
        watermark.arrived(1, run(1), at(0));
        watermark.arrived(2, run(2), at(0));
        watermark.pin(2);
        assert_eq!(watermark.position(at(60)), (1, BTreeSet::from([run(1)]), false));
    }

    /// Bytes once written are read for ever, and are written so today.
    fn check<T: Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug>(value: &T, golden: &str) {
        let bytes = wire::encode(value).unwrap();
        assert_eq!(hex(&bytes), golden);
        assert_eq!(wire::decode::<T>(&bytes).unwrap(), *value);
    }

    #[test]
    fn cursors_once_written_are_read_for_ever() {
        let time: Timestamp = "2026-02-03T04:05:06.000000789Z".parse().unwrap();
        let full = CursorRecord {
            epoch: 7,
            position: 70_000,
            exempt: BTreeSet::from([run(1), run(2)]),
            scan: true,
            created: Some(time),
            newest: Some(Newest {
                sequence: 70_001,
                time,
                subject: format!("$KV.checkpoints_0.{}.end", run(1)),
            }),
            marks: BTreeMap::from([(QueueName::default_queue(), "7f0c".to_owned())]),
        };
        check(
            &CursorRecord::default(),
            "0187a565706f636800a8706f736974696f6e00a66578656d707490a47363616ec2a763726561746564c0a66e6577657374c0a56d61726b7380",
        );
        check(
            &full,
            "0187a565706f636807a8706f736974696f6ece00011170a66578656d707492d922302d3030303030303030303030303030303030303030303030303030303030303031d922302d3030303030303030303030303030303030303030303030303030303030303032a47363616ec3a763726561746564be323032362d30322d30335430343a30353a30362e3030303030303738395aa66e657765737483a873657175656e6365ce00011171a474696d65be323032362d30322d30335430343a30353a30362e3030303030303738395aa77375626a656374d938244b562e636865636b706f696e74735f302e302d30303030303030303030303030303030303030303030303030303030303030312e656e64a56d61726b7381a764656661756c74a437663063",
        );
    }
}
