//! Turning what the core decides into effects: one arm for each command, and a straight line for each arm that needs one.

use std::time::Duration;

use bytes::Bytes;
use everstep_common::digest::InputDigest;
use everstep_common::failure::{Failure, FailureKind};
use everstep_common::ids::{FunctionName, QueueName, RunId};
use everstep_common::journal::{
    Attempt, AttemptError, Begun, Entry, EntryKey, Fired, Inbound, InboundKind, Local, LocalKind, StepOutcome, StepResult,
};
use everstep_common::key::StepKey;
use everstep_common::payload::Payload;
use everstep_common::question::{Question, answer_slot};
use everstep_common::subject::TimerSort;
use everstep_common::task::Task;
use everstep_common::wire;
use everstep_core::{Command, Decision};
use jiff::Timestamp;

use super::Partition;
use super::closures::Work;
use super::drive::Origin;
use super::effect::Effect;
use super::schedule::Scheduled;
use super::wheel::WakeUp;

impl Partition {
    /// Asks the core what follows, and begins it.
    pub(super) fn decide(&mut self, run: &RunId, origin: Origin) {
        let Some(live) = self.slots.live(run) else { return };
        if live.held {
            return;
        }
        live.run.go_ahead();
        let decision = {
            let _polled = self.polled.enter(run);
            live.run.decide()
        };
        match decision {
            Decision::Go(commands) => {
                commands.into_iter().for_each(|command| self.command(run, command, &origin));
                self.tell_waits(run);
            }
            // A predecessor's choice was recorded before ours: the journal's counts.
            Decision::Replay => {
                self.discard(run);
                self.load_newest(run);
            }
            Decision::Parked(parked) => {
                let (sequence, about, cancelling) = (live.run.applied(), live.about.clone(), live.run.is_cancelling());
                if let Some(timer) = live.run.timer_though_parked() {
                    self.command(run, timer, &origin);
                }
                self.park(run, sequence, &parked, about, cancelling);
            }
        }
    }

    fn command(&mut self, run: &RunId, command: Command, origin: &Origin) {
        match command {
            Command::Dispatch {
                key,
                attempt,
                function,
                input,
                digest,
                options,
                details,
                deadline,
                fresh,
            } => {
                let announce = options.is_announced();
                let task = Task {
                    run: run.clone(),
                    key,
                    attempt,
                    function,
                    input: Payload::unit(),
                    digest,
                    timeout: options.timeout,
                    heartbeat_timeout: options.heartbeat_timeout,
                    details,
                    announce,
                    deadline,
                    at_most_once: options.at_most_once,
                    check: !fresh,
                    traceparent: self.traceparent_of(run),
                };
                self.admit(options.queue, task, input, options.flow, origin);
            }
            Command::RetryAt { key, attempt, at } => self.schedule(run, TimerSort::Retry, key, at, attempt, origin),
            Command::StartTimer { key, due, event } => {
                if let Some(what) = event {
                    self.event_deadline(run, &key, what);
                }
                self.schedule(run, TimerSort::Sleep, key, due, 0, origin);
            }
            Command::Await {
                what,
                number,
                after,
                since,
            } => self.await_event(run, what, number, after, since),
            Command::StopAwaiting { what } => self.stop_awaiting(run, &what),
            // In memory only: a schedule is made when the run is dropped from memory, and a successor arms it anew.
            Command::Deadline { key, at } => self.wheel.arm(at, WakeUp::new(run, TimerSort::Deadline, &key), 0),
            Command::Fence { key, attempt } => {
                let fence = Begun {
                    by: self.process().clone(),
                    incarnation: String::new(),
                    fence: true,
                };
                let create = Effect::Create {
                    run: run.clone(),
                    // That of the one execution that there may be.
                    key: EntryKey::Begun(key, attempt, 1),
                    entry: Entry::Begun(fence),
                };
                self.perform(origin.clone(), create);
            }
            Command::FailAttempt {
                key,
                attempt,
                function,
                digest,
                queue,
                message,
                name,
                details,
                began,
            } => {
                let failed = Attempt {
                    function,
                    digest,
                    error: AttemptError::Timeout,
                    message,
                    name,
                    details,
                    retry_after: None,
                    by: self.process().clone(),
                    began,
                };
                self.fail_attempt(run, key, attempt, queue, failed, origin);
            }
            Command::CancelTimer { key } => self.unschedule(run, TimerSort::Sleep, key, origin),
            Command::AskUser { key, question } => self.ask_user(run, key, &question, origin),
            Command::CloseWait { key, deadline, withdraw } => {
                if withdraw {
                    self.withdraw(run, &key, origin);
                }
                if deadline {
                    self.events.forget_deadline(run, &key);
                    self.unschedule(run, TimerSort::Sleep, key, origin);
                }
            }
            Command::RunLocal { key, closure, timeout } => {
                let work = Work {
                    kind: LocalKind::Closure,
                    closure,
                    timeout,
                };
                self.run_closure(run.clone(), key, work, origin);
            }
            Command::Session { key, session, request } => self.run_session(run.clone(), key, session, request, origin),
            Command::Emit { key, event, data, .. } => self.run_emit(run.clone(), key, event, data, origin),
            Command::StartChild { key, child } => {
                let traceparent = self.traceparent_of(run);
                let run = run.clone();
                self.perform(
                    origin.clone(),
                    Effect::StartChild {
                        run,
                        key,
                        child,
                        traceparent,
                    },
                );
            }
            Command::CancelChild { key, child } => {
                let traceparent = self.traceparent_of(run);
                let run = run.clone();
                self.perform(
                    origin.clone(),
                    Effect::CancelChild {
                        run,
                        key,
                        child,
                        traceparent,
                    },
                );
            }
            Command::CancelLocal { key } => self.cancel_closure(run, &key),
            Command::RecordAnswer { key, answer } => {
                let record = Effect::RecordLocal {
                    run: run.clone(),
                    key,
                    kind: LocalKind::Update,
                    result: answer,
                };
                self.perform(origin.clone(), record);
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
                self.record_step(run, key, queue, outcome, origin);
            }
            Command::Record {
                key,
                function,
                digest,
                attempt,
                queue,
                failure,
            } => {
                let outcome = self.failed_step(function, digest, attempt, failure);
                self.record_step(run, key, queue, outcome, origin);
            }
            Command::RecordMarker { key, kind, value } => {
                let result = StepResult::Value(Payload::Inline(value));
                let create = Effect::Create {
                    run: run.clone(),
                    key: EntryKey::Local(key),
                    entry: Entry::Local(Local { kind, result }),
                };
                self.perform(origin.clone(), create);
            }
            Command::End { outcome } => self.perform(
                origin.clone(),
                Effect::End {
                    run: run.clone(),
                    outcome,
                },
            ),
        }
    }

    fn traceparent_of(&mut self, run: &RunId) -> Option<String> {
        self.slots.live(run).and_then(|live| live.about.traceparent.clone())
    }

    pub(super) fn dispatch(&mut self, queue: QueueName, task: Task, input: Bytes, origin: &Origin) {
        self.in_flight.dispatched(&task.run, &task.key, &queue, task.attempt);
        // Its task is lost, but a worker says that it still runs it. It is published once none says so any more.
        if self.in_flight.is_running(&task.run, &task.key) {
            return;
        }
        self.perform(origin.clone(), Effect::Dispatch { queue, task, input });
    }

    /// Both in memory, for precision, and at the server, which fires it even if no orchestrator lives.
    fn schedule(&mut self, run: &RunId, sort: TimerSort, key: StepKey, at: Timestamp, attempt: u32, origin: &Origin) {
        self.wheel.arm(at, WakeUp::new(run, sort, &key), attempt);
        let scheduled = Scheduled {
            due: at,
            attempt,
            of_event: self.events.has_deadline(run, &key),
        };
        let run = run.clone();
        self.perform(
            origin.clone(),
            Effect::Schedule {
                run,
                sort,
                key,
                scheduled,
            },
        );
    }

    pub(super) fn unschedule(&mut self, run: &RunId, sort: TimerSort, key: StepKey, origin: &Origin) {
        self.wheel.disarm(run, sort, &key);
        let run = run.clone();
        self.perform(origin.clone(), Effect::Unschedule { run, sort, key });
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
    fn record_step(&mut self, run: &RunId, key: StepKey, queue: QueueName, outcome: StepOutcome, origin: &Origin) {
        if self.gate.holds_back(run, &key) {
            self.gate.leave(run, &key, None, self.store.clock().now());
        }
        let take_back = Effect::TakeBack {
            queue,
            run: run.clone(),
            key,
            attempt: None,
            entry: Some(Box::new(Entry::Step(outcome))),
            under_way: self.slots.live(run).is_some_and(|live| live.effects > 0 || live.read_back),
        };
        self.perform(origin.clone(), take_back);
    }

    /// The orchestrator's word on one attempt; its task is taken back, and not that of the attempt that follows.
    fn fail_attempt(&mut self, run: &RunId, key: StepKey, attempt: u32, queue: QueueName, failed: Attempt, origin: &Origin) {
        tracing::warn!(%run, %key, attempt, message = failed.message, "an attempt timed out without its worker's word");
        let take_back = Effect::TakeBack {
            queue,
            run: run.clone(),
            key,
            attempt: Some((failed.function.clone(), attempt)),
            entry: Some(Box::new(Entry::Try(failed))),
            under_way: false,
        };
        self.perform(origin.clone(), take_back);
    }

    /// People see a question by its entry, and answer what they see.
    fn ask_user(&mut self, run: &RunId, key: StepKey, question: &Question, origin: &Origin) {
        let result = wire::encode_value(question).map_err(|error| Failure::new(FailureKind::Invalid, error.to_string()));
        let record = Effect::RecordLocal {
            run: run.clone(),
            key,
            kind: LocalKind::Question,
            result,
        };
        self.perform(origin.clone(), record);
    }

    /// Takes the place of the answer, so that nobody is told that theirs was taken.
    fn withdraw(&mut self, run: &RunId, wait: &StepKey, origin: &Origin) {
        let create = Effect::Create {
            run: run.clone(),
            key: EntryKey::In(answer_slot(wait)),
            entry: Entry::In(Inbound {
                kind: InboundKind::Withdrawn { wait: wait.clone() },
                by: None,
                reason: None,
            }),
        };
        self.perform(origin.clone(), create);
    }

    /// A timer is due.
    pub(super) fn fire_timer(&mut self, run: &RunId, key: StepKey, due: Timestamp) {
        if self.events.has_deadline(run, &key) {
            self.event_deadline_due(run.clone(), key, due, Duration::ZERO);
        } else {
            self.create_timer(run, key, due);
        }
    }

    /// Creates a timer's entry; whoever comes first.
    pub(super) fn create_timer(&mut self, run: &RunId, key: StepKey, due: Timestamp) {
        let create = Effect::Create {
            run: run.clone(),
            key: EntryKey::Timer(key),
            entry: Entry::Timer(Fired { due }),
        };
        self.perform(None, create);
    }
}
