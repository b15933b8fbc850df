//! Applying entries to runs, one at a time, in stream order.

use bytes::Bytes;
use everstep_common::ids::RunId;
use everstep_common::journal::{Entry, EntryKey, JournalEntry};
use everstep_common::key::StepKey;
use everstep_common::limits::{JOURNAL_ENTRIES_MAX, JOURNAL_ENTRIES_WARN};
use everstep_common::payload::Payload;
use everstep_common::ports::Instant;
use everstep_common::subject::TimerSort;
use everstep_core::Event;

use super::Partition;
use super::backlog::Arrived;
use super::effect::{Effect, Performed};
use super::slots::Live;
use crate::metrics::metrics;

/// The entry that something follows from: what keeps the cursor back until it is acknowledged.
pub(super) type Origin = Option<(RunId, u64)>;

impl Partition {
    /// Takes the next entry of a run.
    pub(super) fn drive(&mut self, run: RunId, arrived: Arrived, now: Instant) {
        let sequence = arrived.sequence;
        self.note_lag(arrived.time, now);
        if self.slots.has_ended(&run) {
            self.watermark.release(sequence);
        } else if self.slots.parked(&run).is_some() {
            self.drive_parked(run, arrived);
        } else if self.slots.is_live(&run) {
            self.drive_live(run, arrived, now);
        } else if self.is_new(&arrived) {
            self.drive_new(run, arrived, now);
        } else {
            self.backlog.push_back(&run, arrived);
            self.load_for(&run, sequence);
        }
    }

    /// Whether an entry begins a run that nobody has acted on. One that a predecessor may have driven is read whole first: what follows
    /// from it is decided at the head of its journal, or changed code would send things out before it is found out.
    fn is_new(&self, arrived: &Arrived) -> bool {
        let is_start = arrived.key == EntryKey::Start && !arrived.payload.is_empty();
        is_start && arrived.sequence > self.upkeep.known_until && !self.caution.is_on()
    }

    fn drive_new(&mut self, run: RunId, arrived: Arrived, now: Instant) {
        let Some((entry, stored)) = self.decode(&run, arrived) else {
            return;
        };
        let Entry::Start(start) = &entry.entry else {
            return self.watermark.release(entry.sequence);
        };
        let sequence = entry.sequence;
        let must_wait = self.limits_of(&start.workflow, start.version).is_some();
        let (status, why) = super::lifespan::status_at_start(start, entry.time, must_wait);
        let (code, about) = self.begin_run(&run, start, entry.time, self.upkeep.known_until, &[]);
        match code {
            Ok(code) => {
                let live = Live {
                    run: code,
                    about: about.clone(),
                    effects: 0,
                    active: now,
                    told_waits: 0,
                    read_back: false,
                    held: false,
                    begun: false,
                };
                self.slots.insert(run.clone(), live);
            }
            Err(parked) => {
                self.park(&run, sequence, &parked, about, false);
                return self.watermark.release(sequence);
            }
        }
        metrics().started.add(1, &[]);
        self.summarise(&run, &about, status, why, sequence, about.started);
        self.apply(run, entry, stored, now);
    }

    fn drive_live(&mut self, run: RunId, arrived: Arrived, now: Instant) {
        let applied = self.slots.live(&run).map_or(0, |live| live.run.applied());
        if arrived.sequence <= applied {
            // A read brought it already; what it ends is over all the same.
            self.settle(&run, &arrived.key, now);
            return self.watermark.release(arrived.sequence);
        }
        let Some((entry, stored)) = self.decode(&run, arrived) else {
            return;
        };
        self.apply(run, entry, stored, now);
    }

    /// The entry and its large value. `None`: the value is being fetched and the entry waits, or the run is parked for it.
    fn decode(&mut self, run: &RunId, arrived: Arrived) -> Option<(JournalEntry, Option<Bytes>)> {
        let sequence = arrived.sequence;
        match arrived.entry(run) {
            Ok(entry) => match entry.entry.payload() {
                Some(payload @ Payload::Stored(_)) => match self.slots.take_fetched(run, sequence) {
                    Some(value) => Some((entry, Some(value))),
                    None => {
                        self.perform(
                            None,
                            Effect::Fetch {
                                run: run.clone(),
                                sequence,
                                payload: payload.clone(),
                            },
                        );
                        self.backlog.push_back(run, arrived);
                        None
                    }
                },
                _ => Some((entry, None)),
            },
            Err(error) => {
                if self.slots.is_live(run) {
                    self.watermark.release(sequence);
                } else {
                    self.backlog.push_back(run, arrived);
                }
                self.unreadable(run, &error);
                None
            }
        }
    }

    fn apply(&mut self, run: RunId, entry: JournalEntry, stored: Option<Bytes>, now: Instant) {
        let (sequence, time, key) = (entry.sequence, entry.time, entry.key.clone());
        let ended = match &entry.entry {
            Entry::End(ended) => Some(ended.outcome.clone()),
            _ => None,
        };
        let event = match Event::new(entry, stored) {
            Ok(event) => event,
            Err(error) => {
                self.unreadable(&run, &error);
                return self.watermark.release(sequence);
            }
        };
        self.settle(&run, &key, now);
        if let Some(live) = self.slots.live(&run) {
            let span = tracing::debug_span!("apply", partition = %self.id, %run, entry = %key, sequence);
            self.performer.trace.link(&span, live.about.traceparent.as_deref());
            let _span = span.entered();
            let _polled = self.polled.enter(&run);
            live.run.apply(event);
            if live.run.entries() == JOURNAL_ENTRIES_WARN {
                let limit = JOURNAL_ENTRIES_MAX;
                tracing::warn!(%run, entries = JOURNAL_ENTRIES_WARN, limit, "the run is near its limit of entries, where it parks: split the work over several runs");
            }
        }
        self.slots.touch(&run, now);
        if key.step().is_some_and(StepKey::is_own) {
            self.run_timer_applied(&run, &key, sequence, time);
        }
        match ended {
            Some(outcome) => self.run_ended(&run, outcome, sequence, time),
            None => {
                let origin = Some((run.clone(), sequence));
                self.see_to_place(&run, &origin);
                self.decide(&run, origin);
            }
        }
        self.watermark.release(sequence);
    }

    /// What an entry says is over is no longer in flight, armed or running.
    pub(super) fn settle(&mut self, run: &RunId, key: &EntryKey, now: Instant) {
        match key {
            EntryKey::Step(key) => {
                metrics().recorded.add(1, &[]);
                self.gate.leave(run, key, None, now);
                self.in_flight.ended(run, key);
                self.wheel.disarm(run, TimerSort::Deadline, key);
                if self.wheel.disarm(run, TimerSort::Retry, key) {
                    let retry = Effect::Unschedule {
                        run: run.clone(),
                        sort: TimerSort::Retry,
                        key: key.clone(),
                    };
                    self.perform(None, retry);
                }
            }
            EntryKey::Timer(key) => {
                self.wheel.disarm(run, TimerSort::Sleep, key);
                self.events.forget_deadline(run, key);
            }
            EntryKey::Try(key, attempt) => self.gate.leave(run, key, Some(*attempt), now),
            EntryKey::Local(key) => {
                if let Some(held) = self.closures.recorded(run, key) {
                    self.watermark.release(held);
                }
            }
            _ => {}
        }
    }

    /// An effect of a run is done.
    pub(super) fn performed(&mut self, origin: Origin, performed: Performed, now: Instant) {
        if let Some((run, sequence)) = origin {
            self.slots.effect_done(&run);
            self.watermark.release(sequence);
        }
        match performed {
            Performed::Done => {}
            Performed::Scheduled { run } => self.scheduled(run),
            Performed::Dispatched { run, key, published } => self.dispatched(run, key, published),
            Performed::HeardBefore { run, what, place } => self.heard_before(&run, &what, &place),
            Performed::WaitsAfterAll { run } => self.waits_after_all(&run),
            Performed::Refused { run, reason } => self.refused(&run, &reason),
            Performed::Loaded { run, load, journal } => self.loaded(run, load, journal, now),
            Performed::Reread {
                run,
                fingerprint,
                journal,
            } => self.compared(&run, fingerprint, journal),
            Performed::Fetched { run, sequence, value } => self.fetched(&run, sequence, value),
        }
    }
}
