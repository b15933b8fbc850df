//! One partition: one actor on one thread.
//!
//! ```text
//!            ┌────────────── Io::ready (inside tokio) ─────────────┐
//!  feed ────▶│ inbox: Feed │ Performed │ Closure │ Fired │ Upkeep  │
//!            └──────────────────────────┬──────────────────────────┘
//!                                       ▼  Partition::turn (outside)
//!   Backlog ──▶ Slot::Live(Run).apply ──▶ decide ──▶ Command ──▶ Effect ──▶ Io::begin
//!        ▲ unknown run: Reads::ask                        │
//!        └────────────── Performed::Loaded ◀─────────────┘        Watermark ──▶ CursorRecord
//! ```
//!
//! One motion: load the journal, replay it to a `Run`, decide, create entries, perform effects, move the cursor. A crash anywhere is
//! healed by deriving the same effects again. Files: [`drive`] applies entries, [`decide`] begins what follows, [`park`] is about runs that stand still, [`sessions`] is about what runs share, [`views`] about who asks, [`events`] about what runs wait for in `EVENTS`, [`relatives`] and [`children`] about what runs do for each other, [`load`] brings runs back and drops them,
//! [`reads`] asks for their journals, [`wake`] is about time, [`upkeep`] about cursor, marks and scans; the rest are parts.

mod backlog;
mod caution;
mod children;
mod clock;
mod closures;
mod compare;
mod cursor;
mod cursor_keeping;
mod decide;
mod dispatch;
mod drive;
mod effect;
mod emit;
mod events;
mod flow;
mod flowing;
mod heartbeats;
mod inflight;
mod io;
mod journal;
mod lifespan;
mod load;
mod making_way;
mod park;
mod placing;
mod queue_check;
mod queue_keeping;
mod queues;
mod reads;
mod relatives;
mod scan;
mod scanning;
mod schedule;
mod sessions;
mod slots;
mod small_map;
mod start;
mod summary;
mod sweep;
mod take_back;
mod upkeep;
mod views;
mod waiting;
mod wake;
mod wheel;

use std::sync::Arc;
use std::time::Duration;

use everstep_common::ids::{Partition as PartitionId, ProcessId, RunId};
use everstep_common::journal::EntryKey;
use everstep_common::ports::{ConnectionEvent, Followed, Instant, Message};
use everstep_common::store::Store;

use self::backlog::{Arrived, Backlog};
use self::caution::Caution;
use self::clock::ServerClock;
use self::closures::Closures;
use self::cursor::{Newest, Watermark};
use self::effect::{Effect, Performer};
use self::events::Events;
use self::flow::Gate;
use self::inflight::InFlight;
use self::io::{Input, Io, PAUSE_MAX};
use self::making_way::LatelyTold;
use self::reads::Reads;
use self::sessions::Sessions;
use self::slots::Slots;
use self::summary::Summaries;
use self::upkeep::Upkeep;
use self::wheel::Wheel;
use crate::watchdog::Polled;
use crate::workflows::Workflows;

pub(crate) use start::{StartError, Starting, unless_stopped};

/// How many entries are applied before effects are sent and the feed is read again.
const APPLIED_PER_TURN_MAX: usize = 256;

/// How a partition is driven.
///
/// ```
/// use everstep_orchestrator::PartitionOptions;
///
/// // A small machine.
/// let partitions = PartitionOptions { live_runs_max: 2_000, ..PartitionOptions::default() };
/// assert_eq!(partitions.compare_one_in, 1_000);
/// ```
#[derive(Clone, Debug)]
pub struct Options {
    /// Runs kept in memory; beyond it those needed last are dropped and come back by a read. Default 20,000, at up to 4 KB each.
    pub live_runs_max: usize,
    /// How often everything open is derived again, to find what should not be missing. Default one hour.
    pub sweep_every: Duration,
    /// How often the cursor is written and the task streams' marks are looked at. Default 1 s and 5 s.
    pub cursor_every: Duration,
    /// See `cursor_every`.
    pub marks_every: Duration,
    /// One in so many runs is replayed when it has ended, and compared with how it was driven; 0: none. Default 1,000; `dev` compares every run.
    pub compare_one_in: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            live_runs_max: 20_000,
            sweep_every: Duration::from_secs(60 * 60),
            cursor_every: Duration::from_secs(1),
            marks_every: Duration::from_secs(5),
            compare_one_in: 1_000,
        }
    }
}

/// The actor.
pub(crate) struct Partition {
    /// Which partition.
    id: PartitionId,
    options: Options,
    store: Store,
    /// The code.
    workflows: Arc<Workflows>,
    /// Performs effects; cloned into each.
    performer: Performer,
    io: Io,
    /// Entries brought and not applied.
    backlog: Backlog,
    /// The runs in memory, being loaded, parked, or lately ended.
    slots: Slots,
    /// Runs that wait to be read back.
    reads: Reads,
    /// What the cursor may pass.
    watermark: Watermark,
    server_clock: ServerClock,
    wheel: Wheel,
    in_flight: InFlight,
    closures: Closures,
    /// Tasks that wait for their place under a limit.
    gate: Gate,
    /// Runs that were cancelled because of others, each with the other one: once is enough.
    told_to_make_way: LatelyTold,
    /// Operations on what runs of a session share.
    sessions: Sessions,
    /// Who waits to be told how a run looks from inside.
    views: views::Waiting,
    /// Events that runs wait for.
    events: Events,
    summaries: Summaries,
    upkeep: Upkeep,
    /// What the watchdog looks at.
    polled: Polled,
    /// Runs that owners died over.
    caution: Caution,
    stopping: bool,
}

impl Partition {
    /// Waits, inside tokio, until there is something to do.
    pub(crate) async fn ready(&mut self) {
        let pause = self.store.clock().sleep(self.pause());
        self.io.ready(pause).await;
    }

    /// Does it, outside tokio. Returns whether to go on.
    pub(crate) fn turn(&mut self) -> bool {
        let now = self.store.clock().now();
        while let Some(input) = self.io.inbox.pop_front() {
            self.take(input, now);
        }
        self.apply_backlog(now);
        self.fire_due(now);
        self.evict(now);
        self.keep_up(now);
        self.keep_flowing(now);
        self.follow_events();
        self.read_back();
        !self.stopping || !self.upkeep.is_finished()
    }

    /// The process that drives it.
    fn process(&self) -> &ProcessId {
        &self.performer.process
    }

    fn take(&mut self, input: Input, now: Instant) {
        match input {
            Input::Feed(Followed::Message(message)) => self.arrived(message, now),
            Input::Feed(Followed::CaughtUp) => {}
            Input::Feed(Followed::Lost(reason)) => self.stream_lost(&reason),
            Input::Performed(origin, performed) => self.performed(origin, performed, now),
            Input::Noted(noted, performed) => {
                self.performed(None, performed, now);
                self.keep_noted(noted, now);
            }
            Input::Read(group) => self.have_read(group),
            Input::Closure(finished) => self.closure_finished(finished),
            Input::Limit(change) => self.gate.learned(change, now),
            Input::LimitWritten(written) => self.gate.written(written, now),
            Input::Told(message) => self.told(message, now),
            Input::Heard(name, heard) => self.heard(name, heard),
            Input::Looked(looked) => self.looked(looked),
            Input::Fired(deliveries) => self.schedules_fired(deliveries, now),
            Input::Upkeep(done) => self.upkept(done, now),
            Input::Connection(ConnectionEvent::Reconnected) => {
                self.listen_again(now);
                self.reconnected();
            }
            Input::Connection(ConnectionEvent::Disconnected) => {}
            Input::Stop => self.stop(),
        }
    }

    fn arrived(&mut self, message: Message, now: Instant) {
        let Message {
            subject,
            sequence,
            time,
            payload,
            ..
        } = message;
        self.server_clock.observe(time, now);
        let Some((run, key)) = self.store.names().parse_entry(&subject) else {
            tracing::warn!(subject, "not a journal entry; left alone");
            return self.watermark.passed(sequence);
        };
        self.upkeep.newest = Some(Newest { sequence, time, subject });
        self.watermark.arrived(sequence, run.clone(), now);
        if key == EntryKey::End {
            self.watermark.ends(sequence);
        }
        let arrived = Arrived {
            key,
            sequence,
            time,
            payload,
        };
        self.backlog.push(run, arrived);
    }

    fn apply_backlog(&mut self, now: Instant) {
        if self.stopping {
            return;
        }
        for _ in 0..APPLIED_PER_TURN_MAX {
            let Some((run, arrived)) = self.backlog.pop() else { break };
            self.drive(run, arrived, now);
        }
    }

    /// How long there is nothing to do, unless something comes.
    fn pause(&self) -> Duration {
        if self.stopping {
            // Only the last write of the cursor is waited for; what else is due is the successor's.
            return PAUSE_MAX;
        }
        if self.backlog.has_ready() {
            return Duration::ZERO;
        }
        let now = self.store.clock().now();
        let until_due = match (self.wheel.next_due(), self.server_clock.at(now)) {
            (Some(due), Some(at)) => Duration::try_from(due.duration_since(at)).unwrap_or(Duration::ZERO),
            _ => PAUSE_MAX,
        };
        let until_look = self.gate.look_at().map_or(PAUSE_MAX, |look_at| look_at.since(now));
        until_due
            .min(until_look)
            .min(self.upkeep.pause(now, !self.summaries.is_empty()))
            .min(PAUSE_MAX)
    }

    /// Begins an effect; the entry it follows from stays open until it is done.
    fn perform(&mut self, origin: Option<(RunId, u64)>, effect: Effect) {
        let performer = self.performer.clone();
        if let Some((run, sequence)) = &origin {
            self.watermark.hold(*sequence);
            self.slots.effect_begun(run);
        }
        self.io.begin(Box::pin(
            async move { Input::Performed(origin, performer.perform(effect).await) },
        ));
    }
}
