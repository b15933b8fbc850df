//! Applying entries to runs, and turning what the core decides into effects.

use bytes::Bytes;
use everstep_common::digest::InputDigest;
use everstep_common::failure::{Failure, FailureKind};
use everstep_common::ids::{FunctionName, QueueName, RunId};
use everstep_common::journal::{Entry, EntryKey, Fired, InboundKind, JournalEntry, Start, StepOutcome, StepResult};
use everstep_common::key::StepKey;
use everstep_common::limits::{JOURNAL_ENTRIES_MAX, JOURNAL_ENTRIES_WARN};
use everstep_common::payload::Payload;
use everstep_common::ports::Instant;
use everstep_common::subject::TimerSort;
use everstep_common::summary::RunStatus;
use everstep_common::task::Task;
use everstep_core::{Command, Decision, Event, Limits, Parked, Run, RunEnd};
use jiff::Timestamp;

use super::Partition;
use super::backlog::Arrived;
use super::effect::{Effect, Performed};
use super::slots::{About, Live, ParkedRun};
use super::wheel::WakeUp;
use crate::metrics::metrics;

/// The entry that something follows from: what keeps the cursor back until it is acknowledged.
pub(super) type Origin = Option<(RunId, u64)>;

impl Partition {
    /// Takes the next entry of a run.
    pub(super) fn drive(&mut self, run: RunId, arrived: Arrived, now: Instant) {
        let sequence = arrived.message.sequence;
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
        let is_start = arrived.key == EntryKey::Start && !arrived.message.payload.is_empty();
        is_start && arrived.message.sequence > self.upkeep.known_until
    }

    fn drive_new(&mut self, run: RunId, arrived: Arrived, now: Instant) {
        let Some((entry, stored)) = self.decode(&run, arrived) else {
            return;
        };
        let Entry::Start(start) = &entry.entry else {
            return self.watermark.release(entry.sequence);
        };
        let sequence = entry.sequence;
        let about = match self.begin_run(&run, start, entry.time, self.upkeep.known_until) {
            Ok((code, about)) => {
                let live = Live {
                    run: code,
                    about: about.clone(),
                    effects: 0,
                    active: now,
                    read_back: false,
                };
                self.slots.insert(run.clone(), live);
                about
            }
            Err(unfit) => {
                let (parked, about) = *unfit;
                self.park(&run, sequence, &parked, &about);
                return self.watermark.release(sequence);
            }
        };
        metrics().started.add(1, &[]);
        self.summarise(&run, &about, RunStatus::Running, None, sequence, about.started);
        self.apply(run, entry, stored, now);
    }

    fn drive_live(&mut self, run: RunId, arrived: Arrived, now: Instant) {
        let applied = self.slots.live(&run).map_or(0, |live| live.run.applied());
        if arrived.message.sequence <= applied {
            return self.watermark.release(arrived.message.sequence);
        }
        let Some((entry, stored)) = self.decode(&run, arrived) else {
            return;
        };
        self.apply(run, entry, stored, now);
    }

    /// A parked run takes no entry in: they stand in the journal for when it goes on. Only a word from outside moves it.
    fn drive_parked(&mut self, run: RunId, arrived: Arrived) {
        let sequence = arrived.message.sequence;
        let inbound = match Entry::decode(&arrived.key, &arrived.message.payload) {
            Ok(Entry::In(inbound)) => inbound,
            Ok(Entry::End(ended)) => {
                self.parked_run_ended(&run, ended.outcome, sequence, arrived.message.time);
                return self.watermark.release(sequence);
            }
            _ => return self.watermark.release(sequence),
        };
        match inbound.kind {
            InboundKind::Cancel => {
                let failure = Failure::new(FailureKind::Cancelled, inbound.reason.unwrap_or_default());
                self.perform(
                    Some((run.clone(), sequence)),
                    Effect::End {
                        run,
                        outcome: RunEnd::Cancelled(failure),
                    },
                );
                self.watermark.release(sequence);
            }
            // The replay that parked it has seen this word already.
            InboundKind::Resume { .. } if self.slots.parked(&run).is_some_and(|parked| parked.sequence >= sequence) => {
                self.watermark.release(sequence);
            }
            InboundKind::Resume { .. } => {
                drop(self.forget_parked(&run));
                self.backlog.push_back(&run, arrived);
                self.load_for(&run, sequence);
            }
        }
    }

    pub(super) fn forget_parked(&mut self, run: &RunId) -> Option<ParkedRun> {
        let parked = self.slots.unpark(run)?;
        self.watermark.release(parked.sequence);
        Some(parked)
    }

    /// The entry and its large value. `None`: the value is being fetched and the entry waits, or the run is parked for it.
    fn decode(&mut self, run: &RunId, arrived: Arrived) -> Option<(JournalEntry, Option<Bytes>)> {
        let sequence = arrived.message.sequence;
        match self.store.decode_entry(run, arrived.message.clone()) {
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
                self.park_unreadable(run, sequence, &error);
                self.watermark.release(sequence);
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
                self.park_unreadable(&run, sequence, &error);
                return self.watermark.release(sequence);
            }
        };
        self.settle(&run, &key);
        if let Some(live) = self.slots.live(&run) {
            let _span = tracing::debug_span!("apply", partition = %self.id, %run, entry = %key, sequence).entered();
            let _polled = self.polled.enter(&run);
            live.run.apply(event);
            if live.run.entries() == JOURNAL_ENTRIES_WARN {
                let limit = JOURNAL_ENTRIES_MAX;
                tracing::warn!(%run, entries = JOURNAL_ENTRIES_WARN, limit, "the run is near its limit of entries, where it parks: split the work over several runs");
            }
        }
        self.slots.touch(&run, now);
        match ended {
            Some(outcome) => self.run_ended(&run, outcome, sequence, time),
            None => self.decide(&run, Some((run.clone(), sequence))),
        }
        self.watermark.release(sequence);
    }

    /// What an entry says is over is no longer in flight, armed or running.
    fn settle(&mut self, run: &RunId, key: &EntryKey) {
        match key {
            EntryKey::Step(key) => {
                metrics().recorded.add(1, &[]);
                self.in_flight.ended(run, key);
                self.wheel.disarm(&WakeUp {
                    run: run.clone(),
                    sort: TimerSort::Deadline,
                    key: key.clone(),
                });
                let retry = WakeUp {
                    run: run.clone(),
                    sort: TimerSort::Retry,
                    key: key.clone(),
                };
                if self.wheel.disarm(&retry) {
                    self.perform(
                        None,
                        Effect::Unschedule {
                            run: run.clone(),
                            sort: TimerSort::Retry,
                            key: key.clone(),
                        },
                    );
                }
            }
            EntryKey::Timer(key) => drop(self.wheel.disarm(&WakeUp {
                run: run.clone(),
                sort: TimerSort::Sleep,
                key: key.clone(),
            })),
            EntryKey::Local(key) => {
                if let Some(held) = self.closures.recorded(run, key) {
                    self.watermark.release(held);
                }
            }
            _ => {}
        }
    }

    /// Asks the core what follows, and begins it.
    pub(super) fn decide(&mut self, run: &RunId, origin: Origin) {
        let Some(live) = self.slots.live(run) else { return };
        let decision = {
            let _polled = self.polled.enter(run);
            live.run.decide()
        };
        match decision {
            Decision::Go(commands) => commands.into_iter().for_each(|command| self.command(run, command, &origin)),
            Decision::Parked(parked) => {
                let (sequence, about) = (live.run.applied(), live.about.clone());
                self.park(run, sequence, &parked, &about);
            }
        }
    }

    fn command(&mut self, run: &RunId, command: Command, origin: &Origin) {
        let id = run.clone();
        let wake_up = |sort, key| WakeUp {
            run: run.clone(),
            sort,
            key,
        };
        match command {
            Command::Dispatch {
                key,
                attempt,
                function,
                input,
                digest,
                options,
                deadline,
                fresh,
            } => {
                if self.in_flight.is_running(run, &key) {
                    return;
                }
                let traceparent = self.slots.live(run).and_then(|live| live.about.start.traceparent.clone());
                self.in_flight.dispatched(run, &key, &options.queue, attempt);
                let at_most_once = options.at_most_once;
                let timeout = options.timeout;
                let payload = Payload::unit();
                let task = Task {
                    run: id,
                    key,
                    attempt,
                    function,
                    input: payload,
                    digest,
                    timeout,
                    deadline,
                    at_most_once,
                    check: !fresh,
                    traceparent,
                };
                metrics().dispatched.add(1, &[]);
                if attempt > 1 {
                    metrics().retries.add(1, &[]);
                }
                self.perform(
                    origin.clone(),
                    Effect::Dispatch {
                        queue: options.queue,
                        task,
                        input,
                    },
                );
            }
            Command::RetryAt { key, attempt, at } => {
                self.wheel.arm(at, wake_up(TimerSort::Retry, key.clone()), attempt);
                self.perform(
                    origin.clone(),
                    Effect::Schedule {
                        run: id,
                        sort: TimerSort::Retry,
                        key,
                        at,
                        attempt,
                    },
                );
            }
            // In memory only: a schedule is made when the run is dropped from memory, and a successor arms it anew.
            Command::Deadline { key, at } => self.wheel.arm(at, wake_up(TimerSort::Deadline, key), 0),
            Command::RunLocal { key, closure, timeout } => self.run_closure(id, key, closure, timeout, origin),
            Command::StartTimer { key, due } => {
                self.wheel.arm(due, wake_up(TimerSort::Sleep, key.clone()), 0);
                self.perform(
                    origin.clone(),
                    Effect::Schedule {
                        run: id,
                        sort: TimerSort::Sleep,
                        key,
                        at: due,
                        attempt: 0,
                    },
                );
            }
            Command::CancelStep {
                key,
                function,
                digest,
                attempt,
                queue,
            } => {
                let failure = Failure::new(FailureKind::Cancelled, "the workflow no longer waits for it");
                let outcome = self.failed_step(function, digest, attempt, failure);
                self.record_step(run, origin, queue, key, outcome);
            }
            Command::CancelTimer { key } => {
                self.wheel.disarm(&wake_up(TimerSort::Sleep, key.clone()));
                self.perform(
                    origin.clone(),
                    Effect::Unschedule {
                        run: id,
                        sort: TimerSort::Sleep,
                        key,
                    },
                );
            }
            Command::CancelLocal { key } => self.cancel_closure(run, &key),
            Command::Record {
                key,
                function,
                digest,
                attempt,
                queue,
                failure,
            } => {
                let outcome = self.failed_step(function, digest, attempt, failure);
                self.record_step(run, origin, queue, key, outcome);
            }
            Command::End { outcome } => self.perform(origin.clone(), Effect::End { run: id, outcome }),
        }
    }

    fn failed_step(&self, function: FunctionName, digest: InputDigest, attempt: u32, failure: Failure) -> StepOutcome {
        StepOutcome {
            function,
            digest,
            result: StepResult::Failure(failure),
            attempt,
            by: self.process().clone(),
            began: None,
        }
    }

    /// The orchestrator's own word on a step; whatever task it still has is taken back.
    fn record_step(&mut self, run: &RunId, origin: &Origin, queue: QueueName, key: StepKey, outcome: StepOutcome) {
        let entry = Effect::Create {
            run: run.clone(),
            key: EntryKey::Step(key.clone()),
            entry: Entry::Step(outcome),
        };
        self.perform(origin.clone(), entry);
        self.perform(
            None,
            Effect::CancelTask {
                queue,
                run: run.clone(),
                key,
            },
        );
    }

    /// Creates a timer's entry; whoever comes first.
    pub(super) fn fire_timer(&mut self, run: &RunId, key: StepKey, due: Timestamp) {
        let entry = Entry::Timer(Fired { due });
        self.perform(
            None,
            Effect::Create {
                run: run.clone(),
                key: EntryKey::Timer(key),
                entry,
            },
        );
    }

    /// A run with its code, or why it cannot be driven.
    pub(super) fn begin_run(
        &mut self,
        run: &RunId,
        start: &Start,
        started: Timestamp,
        known_until: u64,
    ) -> Result<(Run, About), Box<(Parked, About)>> {
        let definition = self.workflows.find(&start.workflow, start.version);
        let version = definition
            .as_ref()
            .map_or(start.version.unwrap_or(0), |definition| definition.version);
        let about = About {
            start: Box::new(start.clone()),
            version,
            started,
        };
        if self.upkeep.is_poison(run) {
            return Err(Box::new((Parked::Poison, about)));
        }
        match definition {
            Some(definition) => Ok((Run::new(run.clone(), definition, Limits::default(), known_until), about)),
            None => Err(Box::new((
                Parked::NoCode {
                    workflow: start.workflow.clone(),
                    version: start.version,
                },
                about,
            ))),
        }
    }

    /// The run stands still from here on, exempt from the cursor, until someone acts.
    pub(super) fn park(&mut self, run: &RunId, sequence: u64, parked: &Parked, about: &About) {
        tracing::warn!(%run, workflow = %about.start.workflow, reason = %parked, "run parked");
        metrics().parked.add(1, &[]);
        self.discard(run);
        self.hold_parked(run, sequence, Some(about.clone()));
        let since = self.server_clock.at(self.store.clock().now()).unwrap_or(about.started);
        self.summarise(run, about, RunStatus::Parked, Some(parked.to_string()), sequence, since);
    }

    pub(super) fn park_unreadable(&mut self, run: &RunId, sequence: u64, error: &dyn std::error::Error) {
        let source = super::queues::error_source(error);
        self.park_because(
            run,
            sequence,
            format!("its journal cannot be read by this build: {error}: {source}"),
        );
    }

    /// Parks a run for a reason that is not the core's.
    fn park_because(&mut self, run: &RunId, sequence: u64, reason: String) {
        tracing::error!(%run, reason, "run parked");
        metrics().parked.add(1, &[]);
        let about = self.slots.live(run).map(|live| live.about.clone());
        self.discard(run);
        self.hold_parked(run, sequence, about.clone());
        if let Some(about) = about {
            let since = self.server_clock.at(self.store.clock().now()).unwrap_or(about.started);
            self.summarise(run, &about, RunStatus::Parked, Some(reason), sequence, since);
        }
    }

    fn hold_parked(&mut self, run: &RunId, sequence: u64, about: Option<About>) {
        let now = self.store.clock().now();
        self.watermark.park(sequence, run, now);
        if let Some(before) = self.slots.park(run.clone(), ParkedRun { sequence, about }) {
            self.watermark.release(before.sequence);
        }
    }

    /// Drops a run from memory together with what only memory held for it.
    pub(super) fn discard(&mut self, run: &RunId) {
        drop(self.slots.remove(run));
        self.wheel.disarm_run(run);
        self.summaries.forget(run);
    }

    /// What the run asked for cannot be done as things are: it stands still, visibly, until an operator has mended that.
    fn refused(&mut self, run: &RunId, reason: &str) {
        if let Some(live) = self.slots.live(run) {
            let sequence = live.run.applied();
            self.park_because(run, sequence, format!("refused by the server: {reason}"));
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
            Performed::Dispatched { run, key, published } => self.dispatched(&run, &key, published),
            Performed::Refused { run, reason } => self.refused(&run, &reason),
            Performed::Loaded { run, journal } => self.loaded(run, journal, now),
            Performed::Fetched { run, sequence, value } => self.fetched(&run, sequence, value),
        }
    }
}
