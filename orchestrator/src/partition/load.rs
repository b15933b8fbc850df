//! Bringing runs back from their journals, dropping them from memory, and seeing them off.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use everstep_common::ids::RunId;
use everstep_common::journal::RunOutcome;
use everstep_common::key::StepKey;
use everstep_common::ports::Instant;
use everstep_common::store::{PayloadError, ReadAt, TaskPublished};
use everstep_common::subject::TimerSort;
use everstep_common::summary::{RunStatus, RunSummary};
use everstep_core::Event;
use jiff::Timestamp;

use super::Partition;
use super::closures::{Finished, Work};
use super::drive::Origin;
use super::effect::{Effect, Scheduled};
use super::journal::{Journal, Unread};
use super::lifespan;
use super::reads::Asked;
use super::relatives::children;
use super::slots::{About, Live, Load};
use super::upkeep::Orphan;
use crate::metrics::{Found, metrics};

/// How long eviction rests when it found too little that is idle.
const EVICTION_PAUSE: Duration = Duration::from_millis(100);

impl Partition {
    /// Reads a run's journal; once is enough.
    fn load(&mut self, run: &RunId, at: ReadAt) {
        if let Some(load) = self.slots.begin_load(run) {
            metrics().loaded.add(1, &[]);
            let run = run.clone();
            if self.caution.is_on() {
                self.load_noted(self.performer.clone(), run.clone(), Effect::Load { run, load, at });
            } else {
                self.reads.ask(Asked { run, load, at });
            }
        }
    }

    /// Reads a run's journal for one of its entries, but never to a point that a predecessor has gone beyond.
    pub(super) fn load_for(&mut self, run: &RunId, sequence: u64) {
        if sequence > self.upkeep.known_until {
            self.load(run, ReadAt::Entry(sequence));
        } else {
            self.load_newest(run);
        }
    }

    /// Reads a run's journal as far as anybody may have acted on it.
    pub(super) fn load_newest(&mut self, run: &RunId) {
        let known = self.watermark.newest().max(self.upkeep.known_until);
        self.load(run, ReadAt::AtLeast(known));
    }

    /// A journal has been read: replay it, and do what is open.
    pub(super) fn loaded(&mut self, run: RunId, load: Load, journal: Result<Journal, Unread>, now: Instant) {
        if !self.slots.end_load(&run, load) {
            return;
        }
        match journal {
            Ok(journal) => self.replay(&run, journal, now),
            Err(Unread::Unavailable(error)) => {
                tracing::warn!(%run, %error, source = super::queues::error_source(&error), "journal not read; trying again");
                return self.load_newest(&run);
            }
            Err(Unread::Unreadable(error, about)) => self.park_unreadable(&run, self.watermark.newest(), &error, Arc::new(*about)),
        }
        self.upkeep.inherited.remove(&run);
        self.answer_waiting(&run);
        self.backlog.unblock(&run);
    }

    fn replay(&mut self, run: &RunId, journal: Journal, now: Instant) {
        let Some(head) = journal.head() else {
            return self.nothing_left(run, journal.until);
        };
        let Some((start, started)) = journal.start() else {
            return self.orphaned(run, head);
        };
        let (begun, about) = self.begin_run(run, start, started, head, &journal.entries);
        if let Some((outcome, sequence, time)) = journal.end() {
            // A predecessor may have died before it took the run's schedules back.
            self.perform(None, Effect::UnscheduleRun { run: run.clone() });
            let has_children = !children(journal.entries.iter().map(|(entry, _)| entry)).is_empty();
            self.tell_relatives(run, &about, &outcome, sequence, has_children);
            return self.see_off(run, &about, &outcome, sequence, time);
        }
        let mut code = match begun {
            Ok(code) => code,
            Err(parked) => return self.park(run, head, &parked, about, journal.is_cancelling()),
        };
        let span = tracing::debug_span!("replay", partition = %self.id, %run, entries = journal.entries.len());
        self.performer.trace.link(&span, about.traceparent.as_deref());
        let _span = span.entered();
        let (has_place, was_passed) = (journal.has_place(), self.was_passed(run, &journal));
        let began = journal.began().map(|sequence| (run.clone(), sequence));
        for (entry, stored) in journal.entries {
            let sequence = entry.sequence;
            let event = match Event::new(entry, stored) {
                Ok(event) => event,
                Err(error) => return self.park_unreadable(run, sequence, &error, about),
            };
            let _polled = self.polled.enter(run);
            code.apply(event);
        }
        if let Some(at) = self.server_clock.at(now) {
            code.listen_from(at);
        }
        let mut live = Live {
            run: code,
            about: about.clone(),
            effects: 0,
            active: now,
            told_waits: 0,
            read_back: true,
            held: false,
        };
        if was_passed {
            live.run.go_ahead();
        }
        let (status, why, since) = lifespan::status_of(&live.run, about.started);
        self.slots.insert(run.clone(), live);
        self.summarise(run, &about, status, why, head, since);
        if has_place {
            self.claim_place(run);
        }
        self.see_to_place(run, &began);
        self.events.doubt(run);
        self.decide(run, None);
        self.events.forget_doubted(run);
    }

    /// Whether somebody has gone ahead with a run that nothing is recorded of since it began. Who passes the beginning of a run has done what it
    /// asks for, or its journal says that it has to wait: a limit that comes later is for runs that begin later. A predecessor who died at
    /// the beginning may have done either, and then the limit holds.
    fn was_passed(&self, run: &RunId, journal: &Journal) -> bool {
        let Some(began) = journal.began() else { return false };
        // The name of an exempt run does not tell which of its entries is open; its newest is.
        let may_be_open = self.upkeep.inherited.contains(run) && journal.head() == Some(began);
        self.closures.has_any(run) || self.watermark.has_passed(began) && !may_be_open
    }

    /// There is nothing of the run: it was purged, or a rollback took it. What the feed brought of it before that is over, nobody is to be
    /// woken, and it is no longer listed.
    fn nothing_left(&mut self, run: &RunId, until: u64) {
        self.perform(None, Effect::UnscheduleRun { run: run.clone() });
        self.perform(None, Effect::Unlist { run: run.clone() });
        self.events.forget_run(run);
        for sequence in self.backlog.drop_until(run, until) {
            self.watermark.release(sequence);
        }
    }

    /// Entries of a run without a start: late ones of a purged run, or of one whose start a rollback took. They are never applied. As long as
    /// they stand the run cannot be started, so the sweep takes them away.
    fn orphaned(&mut self, run: &RunId, head: u64) {
        self.slots.ended(run.clone());
        if self.upkeep.orphans.contains_key(run) {
            return;
        }
        tracing::warn!(%run, sequence = head, "entries of a run without a start; left alone until a sweep");
        metrics().orphaned.add(1, &[]);
        let now = self.store.clock().now();
        self.watermark.park(head, run, now);
        let orphan = Orphan {
            sequence: head,
            since: now,
        };
        self.upkeep.orphans.insert(run.clone(), orphan);
    }

    /// The large value of the run's next entry has come.
    pub(super) fn fetched(&mut self, run: &RunId, sequence: u64, value: Result<Bytes, PayloadError>) {
        match value {
            Ok(value) => self.slots.keep_fetched(run, sequence, value),
            Err(error) => {
                self.unreadable(run, &error);
                if self.slots.is_loading(run) {
                    return;
                }
            }
        }
        self.backlog.unblock(run);
    }

    /// The run's end has been applied.
    pub(super) fn run_ended(&mut self, run: &RunId, outcome: RunOutcome, sequence: u64, time: Timestamp) {
        let Some(live) = self.slots.remove(run) else { return };
        metrics().ended.add(1, &[]);
        self.tell_relatives(run, &live.about, &outcome, sequence, live.run.has_children());
        self.see_off(run, &live.about, &outcome, sequence, time);
        self.compare(run, live.run.fingerprint(), sequence);
        if live.read_back {
            self.perform(None, Effect::UnscheduleRun { run: run.clone() });
        }
    }

    /// The end of a run that stood still has come: it was cancelled.
    pub(super) fn parked_run_ended(&mut self, run: &RunId, outcome: RunOutcome, sequence: u64, time: Timestamp) {
        match self.forget_parked(run) {
            Some(parked) => {
                // Its children are found in its journal, if there are any.
                self.tell_relatives(run, &parked.about, &outcome, sequence, true);
                self.see_off(run, &parked.about, &outcome, sequence, time);
            }
            None => self.slots.ended(run.clone()),
        }
        // What was armed for it is no longer known.
        self.perform(None, Effect::UnscheduleRun { run: run.clone() });
    }

    fn see_off(&mut self, run: &RunId, about: &About, outcome: &RunOutcome, sequence: u64, time: Timestamp) {
        let (status, reason) = match outcome {
            RunOutcome::Completed(_) => (RunStatus::Completed, None),
            RunOutcome::Failed(failure) => (RunStatus::Failed, Some(failure.to_string())),
            RunOutcome::Cancelled(failure) => (RunStatus::Cancelled, Some(failure.message.clone())),
            RunOutcome::Terminated(failure) => (RunStatus::Terminated, Some(failure.message.clone())),
            RunOutcome::Continued(next) => (RunStatus::Continued, Some(format!("goes on in run {}", next.run))),
        };
        self.summarise(run, about, status, reason, sequence, time);
        self.forgive(run);
        let now = self.store.clock().now();
        match outcome {
            RunOutcome::Continued(_) => self.gate.run_goes_on(run, now),
            _ => self.gate.run_over(run, now),
        }
        for (key, step) in self.in_flight.run_ended(run) {
            self.perform(
                None,
                Effect::TakeBack {
                    queue: step.queue,
                    run: run.clone(),
                    key,
                    attempt: None,
                    entry: None,
                    under_way: false,
                },
            );
        }
        if self.wheel.disarm_run(run) {
            self.perform(None, Effect::UnscheduleRun { run: run.clone() });
        }
        self.events.forget_run(run);
        self.closures
            .cancel_run(run)
            .into_iter()
            .for_each(|held| self.watermark.release(held));
        self.slots.ended(run.clone());
    }

    /// Up to `count` idle runs that are needed last: those that wait for time alone, the farthest first, then those idle longest. By idleness
    /// alone the next sleeper to wake would be dropped first.
    fn least_needed(&self, count: usize) -> Vec<RunId> {
        let need = |run: &RunId, active: Instant| match self.wheel.next_of(run) {
            Some(due) if self.in_flight.of_run(run).next().is_none() => (Reverse(Some(due)), active),
            _ => (Reverse(None), active),
        };
        let mut idle: Vec<_> = self.slots.idle().map(|(run, active)| (need(run, active), run)).collect();
        if count < idle.len() {
            idle.select_nth_unstable(count);
            idle.truncate(count);
        }
        idle.into_iter().map(|(_, run)| run.clone()).collect()
    }

    /// Drops the runs needed last when there are too many, and some more, so that this is not looked at for each.
    pub(super) fn evict(&mut self, now: Instant) {
        let too_many = self.slots.len().saturating_sub(self.options.live_runs_max);
        if too_many == 0 || now < self.upkeep.next_eviction {
            return;
        }
        let idle = self.least_needed(too_many + self.options.live_runs_max / 64);
        if idle.len() < too_many {
            // The others wait for acknowledgements, which do not come any sooner for being asked about.
            self.upkeep.next_eviction = Instant(now.0 + EVICTION_PAUSE);
        }
        for run in idle {
            for (at, wake_up) in self.wheel.of_run(&run) {
                if wake_up.sort == TimerSort::Deadline {
                    let deadline = Effect::Schedule {
                        run: run.clone(),
                        sort: wake_up.sort,
                        key: wake_up.key,
                        scheduled: Scheduled::at(at),
                    };
                    self.perform(None, deadline);
                }
            }
            self.discard(&run);
        }
    }

    /// A task was published, or was there already.
    pub(super) fn dispatched(&mut self, run: RunId, key: StepKey, published: TaskPublished) {
        if self.upkeep.without_task.is_empty() {
            return;
        }
        let step = (run, key);
        if self.upkeep.without_task.remove(&step) && published == TaskPublished::Stored {
            let (run, key) = step;
            tracing::warn!(%run, %key, "the sweep found a step in flight without a task");
            metrics().sweep_found(Found::StepWithoutTask);
        }
    }

    /// The entry stays open until the closure's result is recorded: nothing else brings it back after a crash.
    pub(super) fn run_closure(&mut self, run: RunId, key: StepKey, work: Work, origin: &Origin) {
        let sequence = origin.as_ref().map(|(_, sequence)| *sequence);
        if self.closures.run(run, key, work, sequence)
            && let Some(sequence) = sequence
        {
            self.watermark.hold(sequence);
        }
    }

    pub(super) fn cancel_closure(&mut self, run: &RunId, key: &StepKey) {
        if let Some(held) = self.closures.cancel(run, key) {
            self.watermark.release(held);
        }
    }

    /// A closure has brought its result: record it.
    pub(super) fn closure_finished(&mut self, finished: Finished) {
        let Finished { run, key, kind, result } = finished;
        let held = self.closures.finished(&run, &key);
        let origin = held.map(|sequence| (run.clone(), sequence));
        self.perform(origin, Effect::RecordLocal { run, key, kind, result });
        if let Some(held) = held {
            self.watermark.release(held);
        }
    }

    /// The run's summary changed.
    pub(super) fn summarise(
        &mut self,
        run: &RunId,
        about: &About,
        status: RunStatus,
        reason: Option<String>,
        sequence: u64,
        since: Timestamp,
    ) {
        let summary = RunSummary {
            workflow: about.workflow.clone(),
            version: about.version,
            status,
            reason,
            sequence,
            epoch: 0,
            started: about.started,
            since,
            tags: about.tags.clone(),
            waits: if status == RunStatus::Running {
                self.waits_of(run)
            } else {
                Vec::new()
            },
        };
        let now = self.store.clock().now();
        let hold = status.is_final().then_some(sequence);
        if status.is_final() {
            self.hold_end(run, sequence);
        }
        self.summaries.changed(run, summary, hold, now);
    }
}
