//! What a program asks for: steps and what undoes them, timers, values, what comes from outside, children, chance.

use std::future::poll_fn;
use std::mem;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use everstep_common::event::EventName;
use everstep_common::failure::{Failure, FailureKind};
use everstep_common::ids::WorkflowName;
use everstep_common::question::{PayloadHash, Question, Terms};
use everstep_common::retry::RetryPolicy;
use everstep_common::subscription::{Matching, Subscription};
use everstep_common::task::StepOptions;
use futures::FutureExt;

use super::machine::{Machine, Seen, and, caught};
use super::{Node, SIGNALS, number};
use crate::tests::kit::{function, mix};
use crate::{Due, SessionRequest, Undo, Update, WaitError};

/// Events of one name: all of them, and by what they are about.
fn subscription(which: u64) -> Subscription {
    Subscription {
        event: EventName::new("paid").expect("a name"),
        matching: (which > 0).then(|| Matching {
            path: "order".to_owned(),
            value: which.into(),
        }),
    }
}

/// The answer tells what was seen, so that its digest does. Only in a journal that no honest world writes does it find its place taken.
fn answer(update: Update, seen: u64) {
    let _ = update.answer(Ok(Bytes::copy_from_slice(&seen.to_be_bytes())));
}

/// What somebody outside said, or that nobody did in time.
fn outside(seen: u64, said: Result<Bytes, WaitError>) -> Seen {
    match said {
        Ok(value) => Ok(and(seen, number(&value))),
        Err(WaitError::Failed(_)) => Ok(and(seen, 17)),
        Err(error) => Err(error),
    }
}

impl Machine {
    pub(super) async fn step(&self, which: u64, seen: u64) -> Seen {
        let name = ["reserve", "charge", "ship", "notify", "item"][which as usize];
        let input = Ok(Bytes::copy_from_slice(&seen.to_be_bytes()));
        // Few attempts, so that some are used up.
        let retries = RetryPolicy {
            max_attempts: 2,
            ..RetryPolicy::default()
        };
        let options = StepOptions {
            retries,
            ..StepOptions::default()
        };
        let mut step = self.ctx.step(name, function(name), input, options);
        if let Some(known) = &self.faults.known {
            let looked_up = step.step_key().and_then(|key| known.get(&key).copied());
            if let Some(result) = looked_up {
                let _asked = poll_fn(|cx| Poll::Ready(step.poll_unpin(cx).is_ready())).await;
                mem::forget(step);
                return Ok(and(seen, result));
            }
        }
        match step.await {
            Ok(value) => Ok(and(seen, number(&value))),
            Err(WaitError::Failed(_)) => Ok(and(seen, 13)),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn undoable(&self, which: u64, seen: u64) -> Seen {
        let name = ["reserve", "charge", "ship", "notify"][which as usize];
        let input = Ok(Bytes::copy_from_slice(&seen.to_be_bytes()));
        let options = StepOptions {
            timeout: seen.is_multiple_of(2).then_some(Duration::from_secs(60)),
            start_timeout: seen.is_multiple_of(3).then_some(Duration::from_secs(30)),
            heartbeat_timeout: seen.is_multiple_of(5).then_some(Duration::from_secs(20)),
            ..StepOptions::default()
        };
        let undo = Undo {
            function: function(&format!("un{name}")),
            options: StepOptions::default(),
            input: Rc::new(Ok),
        };
        let step = self.ctx.step(name, function(name), input, options).undone_by(undo);
        Ok(and(seen, caught(step.await.map(|value| number(&value)))?))
    }

    pub(super) async fn rollback(&self, seen: u64) -> Seen {
        let report = self.ctx.rollback().await;
        let undone = report.undone.iter().map(|key| number(&Bytes::from(key.to_string())));
        Ok(undone.fold(and(seen, report.failed.len() as u64), and))
    }

    pub(super) async fn sleep(&self, milliseconds: u64, seen: u64) -> Seen {
        self.ctx
            .timer("sleep", Due::After(Duration::from_millis(milliseconds)))
            .await?;
        Ok(and(seen, 1))
    }

    pub(super) async fn local(&self, seen: u64) -> Seen {
        let value = Bytes::copy_from_slice(&mix(seen).to_be_bytes());
        let value = self
            .ctx
            .local("local", Box::new(move || async move { Ok(value) }.boxed()))
            .await?;
        Ok(and(seen, number(&value)))
    }

    pub(super) async fn signal(&self, name: u64, deadline: Option<u64>, seen: u64) -> Seen {
        let mut signal = self.ctx.signal(SIGNALS[name as usize]);
        if let Some(milliseconds) = deadline {
            signal = signal.deadline(Due::After(Duration::from_millis(milliseconds)));
        }
        outside(seen, signal.await)
    }

    pub(super) async fn event(&self, which: u64, deadline: Option<u64>, seen: u64) -> Seen {
        let mut event = self.ctx.event(subscription(which));
        if let Some(milliseconds) = deadline {
            event = event.deadline(Due::After(Duration::from_millis(milliseconds)));
        }
        outside(seen, event.await)
    }

    pub(super) async fn update(&self, name: u64, deadline: Option<u64>, seen: u64) -> Seen {
        let mut next = self.ctx.update(SIGNALS[name as usize]);
        if let Some(milliseconds) = deadline {
            next = next.deadline(Due::After(Duration::from_millis(milliseconds)));
        }
        loop {
            let update = match (&mut next).await {
                Ok(update) => update,
                Err(error) => return outside(seen, Err(error)),
            };
            let input = update.input().clone();
            // One in three is refused, as validation would.
            if !number(&input).is_multiple_of(3) {
                answer(update, seen);
                return outside(seen, Ok(input));
            }
            let _ = update.answer(Err(Failure::new(FailureKind::Rejected, "one in three")));
            next.again();
        }
    }

    pub(super) async fn served(&self, name: u64, node: &Node, seen: u64) -> Seen {
        let update = match self.ctx.update(SIGNALS[name as usize]).await {
            Ok(update) => update,
            Err(error) => return outside(seen, Err(error)),
        };
        let seen = self.run(node, and(seen, number(update.input()))).await?;
        answer(update, seen);
        Ok(seen)
    }

    pub(super) async fn unread(&self, name: u64, node: &Node, seen: u64) -> Seen {
        let signal = match name {
            0 => self.ctx.event(subscription(seen % 3)),
            name => self.ctx.signal(SIGNALS[name as usize]),
        };
        let mut signal = signal.deadline(Due::After(Duration::from_secs(5)));
        let read = poll_fn(|cx| Poll::Ready(signal.poll_unpin(cx))).await;
        let seen = self.run(node, seen).await?;
        outside(seen, if let Poll::Ready(read) = read { read } else { signal.await })
    }

    pub(super) async fn ask(&self, people: u32, deadline: Option<u64>, seen: u64) -> Seen {
        let question = Question {
            text: "may it be done?".to_owned(),
            approval: (people > 1).then(|| Terms {
                hash: PayloadHash::of_canonical(&seen.to_be_bytes()),
                payload: None,
                quorum: people - 1,
                requester: None,
            }),
            ..Question::default()
        };
        let mut asked = self.ctx.question("ask", question);
        if let Some(milliseconds) = deadline {
            asked = asked.deadline(Due::After(Duration::from_millis(milliseconds)));
        }
        outside(seen, asked.await)
    }

    pub(super) async fn session(&self, seen: u64) -> Seen {
        let value = Bytes::copy_from_slice(&mix(seen).to_be_bytes());
        if seen % 4 == 3 {
            let event = EventName::new("event").expect("a name");
            let brought = self.ctx.emit(event, value).await?;
            return Ok(and(seen, number(&brought)));
        }
        let request = match seen % 3 {
            0 => SessionRequest::Get { key: "value".to_owned() },
            1 => SessionRequest::Set {
                key: "value".to_owned(),
                value: Ok(value),
            },
            _ => SessionRequest::Update {
                key: "value".to_owned(),
                change: Arc::new(move |_| Ok(value.clone())),
            },
        };
        let brought = self.ctx.session(request).await?;
        Ok(and(seen, number(&brought)))
    }

    pub(super) async fn child(&self, detached: bool, seen: u64) -> Seen {
        let input = Ok(Bytes::copy_from_slice(&seen.to_be_bytes()));
        let mut child = self.ctx.child(WorkflowName::new("parcel").unwrap(), Some(1), input);
        child.spec_mut().expect("it is not asked for").detached = detached;
        match child.await {
            Ok(value) => Ok(and(seen, number(&value))),
            Err(WaitError::Child { run, failure }) => Ok(and(and(seen, u64::from(run.is_some())), failure.message.len() as u64)),
            Err(error) => Err(error),
        }
    }

    pub(super) fn chance(&self, seen: u64) -> u64 {
        let time = self.ctx.now().as_millisecond() as u64;
        and(and(seen, self.ctx.random()), self.ctx.uuid().as_u64_pair().0 ^ time)
    }
}
