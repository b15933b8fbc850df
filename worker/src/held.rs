//! Every execution of this worker, and when which of them is to be stopped.
//!
//! One table and one alarm list for all, so that a task costs no timer and no task of its own beside the one it runs in.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use everstep_common::ports::{AckToken, Instant};
use everstep_common::task::Task;
use tokio::sync::Notify;

use crate::execution::{Execution, Stage};

/// The executions of a worker, in the order in which they came.
#[derive(Default)]
pub(crate) struct Held {
    table: Mutex<Table>,
    /// An alarm is due sooner than the one that is waited for.
    sooner: Notify,
    next_serial: AtomicU64,
}

#[derive(Default)]
struct Table {
    entries: BTreeMap<u64, Entry>,
    alarms: BTreeSet<(Instant, u64, Alarm)>,
    /// What [`Held::ring`] was last told to wait for.
    awaited: Option<Instant>,
}

struct Entry {
    execution: Arc<Execution>,
    /// Its alarms, so that they can be found when it leaves.
    timeout: Option<Instant>,
    grace: Option<Instant>,
    announce: Option<Instant>,
}

/// What is to be done with an execution at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Alarm {
    /// One attempt may not take longer.
    Timeout,
    /// The grace of a cancelled function ends.
    Grace,
    /// It has taken so long that its owner should know that it began.
    Announce,
}

impl Alarm {
    /// How it stops the execution, if it does.
    fn stop(self) -> Option<Stage> {
        match self {
            Self::Timeout => Some(Stage::TimedOut),
            Self::Grace => Some(Stage::Abandoned),
            Self::Announce => None,
        }
    }
}

impl Held {
    /// A number for the next execution; they order it and its alarms.
    pub(crate) fn serial(&self) -> u64 {
        self.next_serial.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn insert(&self, execution: Arc<Execution>) {
        self.lock().entries.insert(
            execution.serial,
            Entry {
                execution,
                timeout: None,
                grace: None,
                announce: None,
            },
        );
    }

    pub(crate) fn remove(&self, serial: u64) {
        let mut table = self.lock();
        let Some(entry) = table.entries.remove(&serial) else { return };
        let alarms = [
            (entry.timeout, Alarm::Timeout),
            (entry.grace, Alarm::Grace),
            (entry.announce, Alarm::Announce),
        ];
        for (at, alarm) in alarms {
            if let Some(at) = at {
                table.alarms.remove(&(at, serial, alarm));
            }
        }
    }

    /// All of them.
    pub(crate) fn all(&self) -> Vec<Arc<Execution>> {
        self.lock().entries.values().map(|entry| entry.execution.clone()).collect()
    }

    /// Hands one more delivery to whoever works on that very task already; whether somebody does.
    pub(crate) fn join(&self, task: &Task, token: &AckToken) -> bool {
        let same = |other: &Task| other.attempt == task.attempt && other.key == task.key && other.run == task.run;
        self.lock()
            .entries
            .values()
            .any(|entry| same(&entry.execution.task) && entry.execution.holding().join(token))
    }

    /// Sets an alarm for that time, unless the execution has ended by then.
    pub(crate) fn set_alarm(&self, serial: u64, at: Instant, alarm: Alarm) {
        let mut table = self.lock();
        let Some(entry) = table.entries.get_mut(&serial) else { return };
        let place = match alarm {
            Alarm::Timeout => &mut entry.timeout,
            Alarm::Grace => &mut entry.grace,
            Alarm::Announce => &mut entry.announce,
        };
        if place.is_some() {
            return;
        }
        *place = Some(at);
        table.alarms.insert((at, serial, alarm));
        if table.awaited.is_none_or(|awaited| at < awaited) {
            self.sooner.notify_one();
        }
    }

    /// Stops what is due; which executions are to be announced, and when to ring again.
    pub(crate) fn ring(&self, now: Instant) -> (Vec<Arc<Execution>>, Option<Instant>) {
        let mut to_announce = Vec::new();
        let mut table = self.lock();
        while let Some((at, serial, alarm)) = table.alarms.first().copied().filter(|(at, ..)| *at <= now) {
            table.alarms.remove(&(at, serial, alarm));
            let Some(entry) = table.entries.get(&serial) else { continue };
            match alarm.stop() {
                Some(stop) => drop(entry.execution.stop(stop)),
                None => to_announce.push(entry.execution.clone()),
            }
        }
        table.awaited = table.alarms.first().map(|(at, ..)| *at);
        (to_announce, table.awaited)
    }

    /// Returns when the time that [`Held::ring`] told is too late.
    pub(crate) async fn sooner(&self) {
        self.sooner.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
