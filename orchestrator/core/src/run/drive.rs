//! What an entry does to a run: it is taken in, what it wakes is polled until nothing more happens, and what comes of that is kept.

use std::task::{Context as TaskContext, Poll};

use bytes::Bytes;
use everstep_common::failure::{Failure, FailureKind};
use everstep_common::journal::{Inbound, InboundKind, RunTimer};
use everstep_common::limits::PAYLOAD_BYTES_MAX;
use everstep_common::payload::TooLarge;

use super::lifespan::Word;
use super::{Run, Stage};
use crate::aftermath::Aftermath;
use crate::event::Record;
use crate::guard::guarded;
use crate::parked::Parked;
use crate::state::{DomainId, State};
use crate::{Context, Event, EventBody, RunEnd, WorkflowFailure};

/// What is said of a run that returns that it is cancelled, and is not.
const CANCELLED_BY_ITSELF: &str = "the workflow returned that it was cancelled, and only a part of it was";

impl Run {
    /// Takes an entry in without polling; what is to be woken is handed back.
    pub(crate) fn note(&mut self, event: Event) -> Option<Aftermath> {
        if event.sequence <= self.applied {
            return None;
        }
        self.applied = event.sequence;
        self.entries += 1;
        self.shared.change(|state| state.turn(event.sequence, event.time));
        match (event.body, &self.stage) {
            (_, Stage::Ended) => None,
            (EventBody::End, _) => self.end(),
            (EventBody::Start(start, input), Stage::New) => self.create(start, input),
            (EventBody::Start(..), _) | (_, Stage::New) => None,
            (EventBody::About(key, Record::Timer), _) if key.is_own() => RunTimer::of(&key).and_then(|timer| self.struck(timer)),
            (EventBody::About(key, record), _) => {
                self.touch();
                Some(self.shared.change(|state| state.record(key, record)))
            }
            (EventBody::In(inbound), _) => self.inbound(inbound),
            (EventBody::Signal(name, value), _) => Some(self.told(Word::Signal { name, value })),
            (EventBody::Update { key, name, input }, _) => Some(self.told(Word::Update { key, name, input })),
            (EventBody::Event(what, place, value), _) => Some(self.told(Word::Event { what, place, value })),
        }
    }

    /// Wakes what is to be woken, and polls the workflow to quiescence.
    pub(crate) fn drive(&mut self, aftermath: Aftermath) {
        if let Stage::Parked(_) = self.stage {
            return;
        }
        let driving = self.root.drive();
        let settled = guarded(|| self.settle(aftermath));
        drop(driving);
        let parked = settled.map_err(|message| Parked::Panicked { message });
        match parked {
            Err(parked) | Ok(Some(parked)) => self.park(parked),
            Ok(None) => {}
        }
    }

    pub(super) fn begin(&mut self, input: Bytes) -> Option<Aftermath> {
        let (listens_from, start) = (self.listens_from, self.shared.start.get());
        let listened = start.map_or(&[][..], |start| &start.listened);
        self.shared.change(|state| state.begin(listens_from, listened));
        let context = Context::new(self.shared.clone());
        match guarded(|| (self.definition.factory)(context, input)) {
            Ok(future) => {
                self.stage = Stage::Running(future);
                Some(Aftermath::waking(self.waker.clone()))
            }
            Err(message) => {
                self.park(Parked::Panicked { message });
                None
            }
        }
    }

    fn inbound(&mut self, inbound: Inbound) -> Option<Aftermath> {
        match inbound.kind {
            InboundKind::Cancel => {
                self.cancelled.get_or_insert(inbound.reason.unwrap_or_default());
                self.cancel_scheduled();
                Some(self.shared.change(|state| state.cancel(DomainId::RUN)))
            }
            InboundKind::Terminate => {
                self.terminate(inbound.reason.unwrap_or_default());
                None
            }
            InboundKind::Resume { accept_unasked } => {
                if accept_unasked {
                    self.shared.change(State::accept_unasked);
                }
                None
            }
            // What is for a wait comes as an event of its own.
            InboundKind::Signal { .. }
            | InboundKind::Update { .. }
            | InboundKind::Event { .. }
            | InboundKind::Answer { .. }
            | InboundKind::Withdrawn { .. } => None,
        }
    }

    /// It is over as it stands: its code is not polled again, and no cancel follows.
    fn terminate(&mut self, reason: String) {
        let outcome = RunEnd::Terminated(Failure::new(FailureKind::Terminated, reason));
        self.leave(Stage::Returned { outcome, told: false });
    }

    fn end(&mut self) -> Option<Aftermath> {
        self.leave(Stage::Ended);
        None
    }

    fn settle(&mut self, mut aftermath: Aftermath) -> Option<Parked> {
        let mut polls = 0;
        loop {
            if let Err(message) = aftermath.act() {
                return Some(Parked::Panicked { message });
            }
            while self.root.take_woken() {
                polls += 1;
                if polls > self.limits.polls_per_entry {
                    return Some(Parked::Livelock {
                        polls: self.limits.polls_per_entry,
                    });
                }
                self.poll();
            }
            // A record that fits no ask shows without a poll, too.
            if let Some(trouble) = self.shared.with(|state| state.trouble().cloned()) {
                return Some(trouble);
            }
            aftermath = self.shared.change(State::grant_next)?;
        }
    }

    fn poll(&mut self) {
        let Stage::Running(future) = &mut self.stage else { return };
        if let Poll::Ready(returned) = future.as_mut().poll(&mut TaskContext::from_waker(&self.waker)) {
            let outcome = self.outcome(returned);
            self.stage = Stage::Returned { outcome, told: false };
        }
    }

    fn outcome(&self, returned: Result<Bytes, WorkflowFailure>) -> RunEnd {
        match returned {
            Ok(value) | Err(WorkflowFailure::Continued(value)) if value.len() > PAYLOAD_BYTES_MAX => RunEnd::Failed(Failure::new(
                FailureKind::Invalid,
                TooLarge { bytes: value.len() }.to_string(),
            )),
            Ok(value) => RunEnd::Completed(value),
            // Whoever asked it to end asked that of the run that would follow, too.
            Err(WorkflowFailure::Continued(input)) => self.end_asked_for().unwrap_or(RunEnd::Continued {
                input,
                decided: self.now(),
                listened: self.shared.with(State::listened),
            }),
            Err(WorkflowFailure::Failed(failure)) => RunEnd::Failed(failure),
            // Otherwise nobody asked the run to: it returned what a branch that it had cancelled itself brought.
            Err(WorkflowFailure::Cancelled) => self
                .end_asked_for()
                .unwrap_or_else(|| RunEnd::Failed(Failure::new(FailureKind::Cancelled, CANCELLED_BY_ITSELF))),
        }
    }

    /// How it ends if it ends because it was asked to: its time was up, or somebody cancelled it.
    fn end_asked_for(&self) -> Option<RunEnd> {
        let overdue = self.lifespan.overdue().cloned().map(RunEnd::Failed);
        let cancelled = |reason: &String| RunEnd::Cancelled(Failure::new(FailureKind::Cancelled, reason.clone()));
        overdue.or_else(|| self.cancelled.as_ref().map(cancelled))
    }

    fn park(&mut self, parked: Parked) {
        self.leave(Stage::Parked(parked));
    }

    /// Drops the future for good. Whatever its drop does, no cancel follows, and no panic gets out.
    pub(super) fn leave(&mut self, stage: Stage) {
        let foreign = self.shared.change(State::close);
        let left = std::mem::replace(&mut self.stage, stage);
        // That it panics while it is dropped tells nobody anything: it is not polled again, and its journal is whole.
        let _ = guarded(|| drop(left));
        let _ = foreign.scrap();
    }
}
