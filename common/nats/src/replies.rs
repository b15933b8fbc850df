//! Requests and their answers, multiplexed over one inbox subscription.
//!
//! ```text
//! Replies::request ──▶ Slot (Waiting) ──▶ outbox, reply-to `<inbox>.<token>`
//!        ▲                                          │
//!   Pending::poll ◀── Slot (Done) ◀── dispatch task ◀┘ one subscription for all
//! ```
//!
//! async-nats has a multiplexer of its own; it costs a timer, a random token and three allocations per request. Here a request is
//! a slot in a slab: its token names slot and generation, one sweep a quarter of a second serves all deadlines, and a lost
//! connection fails what was on its way at once instead of after the deadline. It must not know what is asked.

use std::fmt::Write as _;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use async_nats::message::OutboundMessage;
use async_nats::{HeaderMap, Message, Subject, Subscriber};
use bytes::Bytes;
use futures::StreamExt;
use tokio::task::AbortHandle;

use crate::outbox::{EnqueueError, Outbox};

/// How long an answer is waited for. A leader that steps down takes seconds to be replaced; the caller then asks again.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// How often deadlines are looked at, and so how late a timeout may be.
const SWEEP_INTERVAL: Duration = Duration::from_millis(250);

/// [`ANSWER_TIMEOUT`] in sweeps.
const SWEEPS_MAX: u64 = (ANSWER_TIMEOUT.as_millis() / SWEEP_INTERVAL.as_millis()) as u64;

/// Why a request has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoAnswer {
    #[error("no answer within {} s", ANSWER_TIMEOUT.as_secs())]
    TimedOut,
    #[error("the connection was lost")]
    Disconnected,
    #[error("{0:?}")]
    NotSent(EnqueueError),
}

/// How an answer ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ends {
    /// With its first message.
    AtOnce,
    /// With the first message that carries a status.
    WithStatus,
}

/// The requests under way on one connection.
#[derive(Debug)]
pub(crate) struct Replies {
    /// Where requests go out.
    outbox: Outbox,
    /// `<inbox>.`; a token follows.
    prefix: String,
    /// The slab; held for nanoseconds at a time.
    slots: Mutex<Slots>,
    /// The tasks that feed this; they hold it weakly and end with it.
    tasks: Mutex<Vec<AbortHandle>>,
}

#[derive(Debug, Default)]
struct Slots {
    all: Vec<Slot>,
    free: Vec<u32>,
    /// Counts [`SWEEP_INTERVAL`]s.
    sweep: u64,
}

#[derive(Debug)]
struct Slot {
    /// Rises each time the slot is freed, so that a late answer finds nobody.
    generation: u32,
    state: State,
}

#[derive(Debug)]
enum State {
    Free,
    Waiting {
        ends: Ends,
        since: u64,
        waker: Option<Waker>,
        gathered: Vec<Message>,
    },
    Done(Result<Message, NoAnswer>),
    Gathered(Result<Vec<Message>, NoAnswer>),
}

impl Replies {
    /// Starts multiplexing over `subscriber`, which listens on `<inbox>.*`.
    pub(crate) fn start(outbox: Outbox, inbox: &str, subscriber: Subscriber) -> Arc<Self> {
        let replies = Arc::new(Self {
            outbox,
            prefix: format!("{inbox}."),
            slots: Mutex::default(),
            tasks: Mutex::default(),
        });
        let dispatch = tokio::spawn(dispatch(Arc::downgrade(&replies), subscriber));
        let sweep = tokio::spawn(sweep(Arc::downgrade(&replies)));
        *replies.tasks.lock().unwrap_or_else(PoisonError::into_inner) = vec![dispatch.abort_handle(), sweep.abort_handle()];
        replies
    }

    /// Sends a request now; the future brings its one answer.
    pub(crate) fn request(self: &Arc<Self>, subject: Subject, headers: Option<HeaderMap>, payload: Bytes) -> Pending {
        Pending(self.ask(Ends::AtOnce, subject, headers, payload))
    }

    /// Sends a request now; the future brings its answer's messages, the last of which carries a status.
    pub(crate) fn gather(self: &Arc<Self>, subject: Subject, payload: Bytes) -> Gathering {
        Gathering(self.ask(Ends::WithStatus, subject, None, payload))
    }

    /// Gives up on everything asked so far: its answers cannot come any more.
    pub(crate) fn disconnected(&self) {
        let wakers = self.lock().fail(|_| true, NoAnswer::Disconnected);
        wakers.into_iter().for_each(Waker::wake);
    }

    fn ask(self: &Arc<Self>, ends: Ends, subject: Subject, headers: Option<HeaderMap>, payload: Bytes) -> Ticket {
        let (index, generation) = self.lock().take(ends);
        let mut reply = String::with_capacity(self.prefix.len() + 16);
        reply.push_str(&self.prefix);
        let _ = write!(reply, "{:x}", u64::from(generation) << 32 | u64::from(index));
        let message = OutboundMessage {
            subject,
            reply: Some(reply.into()),
            payload,
            headers,
        };
        if let Err(error) = self.outbox.enqueue(message) {
            // Nobody waits yet, so there is nobody to wake.
            let _ = self.lock().all[index as usize].fail(NoAnswer::NotSent(error));
        }
        Ticket {
            replies: Arc::clone(self),
            index,
        }
    }

    fn answered(&self, message: Message) {
        let Some(token) = message.subject.strip_prefix(self.prefix.as_str()) else {
            return;
        };
        let Ok(token) = u64::from_str_radix(token, 16) else { return };
        let (index, generation) = (token as u32 as usize, (token >> 32) as u32);
        let waker = {
            let mut slots = self.lock();
            let Some(slot) = slots.all.get_mut(index).filter(|slot| slot.generation == generation) else {
                return;
            };
            slot.answered(message)
        };
        // Outside the lock, since the woken task may run on another thread at once.
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Replies {
    fn drop(&mut self) {
        for task in self.tasks.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            task.abort();
        }
    }
}

impl Slots {
    fn take(&mut self, ends: Ends) -> (u32, u32) {
        let index = self.free.pop().unwrap_or_else(|| {
            self.all.push(Slot {
                generation: 0,
                state: State::Free,
            });
            (self.all.len() - 1) as u32
        });
        let slot = &mut self.all[index as usize];
        slot.state = State::Waiting {
            ends,
            since: self.sweep,
            waker: None,
            gathered: Vec::new(),
        };
        (index, slot.generation)
    }

    fn free(&mut self, index: u32) {
        let slot = &mut self.all[index as usize];
        slot.generation = slot.generation.wrapping_add(1);
        slot.state = State::Free;
        self.free.push(index);
    }

    /// Fails each waiting slot whose begin satisfies `which`; whom to wake, outside the lock.
    fn fail(&mut self, which: impl Fn(u64) -> bool, why: NoAnswer) -> Vec<Waker> {
        let late = |slot: &&mut Slot| matches!(slot.state, State::Waiting { since, .. } if which(since));
        self.all.iter_mut().filter(late).filter_map(|slot| slot.fail(why)).collect()
    }
}

impl Slot {
    /// Takes one message; whom to wake if the answer is complete.
    fn answered(&mut self, message: Message) -> Option<Waker> {
        let State::Waiting {
            ends, waker, gathered, ..
        } = &mut self.state
        else {
            return None;
        };
        match ends {
            Ends::AtOnce => {
                let waker = waker.take();
                self.state = State::Done(Ok(message));
                waker
            }
            Ends::WithStatus => {
                let last = message.status.is_some();
                gathered.push(message);
                if !last {
                    return None;
                }
                let (waker, gathered) = (waker.take(), std::mem::take(gathered));
                self.state = State::Gathered(Ok(gathered));
                waker
            }
        }
    }

    fn fail(&mut self, why: NoAnswer) -> Option<Waker> {
        let State::Waiting { ends, waker, .. } = &mut self.state else {
            return None;
        };
        let (ends, waker) = (*ends, waker.take());
        self.state = match ends {
            Ends::AtOnce => State::Done(Err(why)),
            Ends::WithStatus => State::Gathered(Err(why)),
        };
        waker
    }
}

/// Owns a slot until dropped.
#[derive(Debug)]
struct Ticket {
    replies: Arc<Replies>,
    index: u32,
}

impl Ticket {
    /// The slot's result, or the waker left in it.
    fn poll<T>(&self, context: &mut Context<'_>, take: impl Fn(State) -> Option<T>) -> Poll<T> {
        let mut slots = self.replies.lock();
        let state = &mut slots.all[self.index as usize].state;
        if let State::Waiting { waker, .. } = state {
            match waker {
                Some(waker) => waker.clone_from(context.waker()),
                None => *waker = Some(context.waker().clone()),
            }
            return Poll::Pending;
        }
        let taken = take(std::mem::replace(state, State::Free));
        Poll::Ready(taken.expect("a request's future is polled after its end"))
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.replies.lock().free(self.index);
    }
}

/// The answer to come of a [`Replies::request`].
#[derive(Debug)]
pub(crate) struct Pending(Ticket);

impl Future for Pending {
    type Output = Result<Message, NoAnswer>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll(context, |state| match state {
            State::Done(result) => Some(result),
            _ => None,
        })
    }
}

/// The answer to come of a [`Replies::gather`].
#[derive(Debug)]
pub(crate) struct Gathering(Ticket);

impl Future for Gathering {
    type Output = Result<Vec<Message>, NoAnswer>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll(context, |state| match state {
            State::Gathered(result) => Some(result),
            _ => None,
        })
    }
}

/// Brings answers to their slots.
async fn dispatch(replies: Weak<Replies>, mut subscriber: Subscriber) {
    while let Some(message) = subscriber.next().await {
        let Some(replies) = replies.upgrade() else { return };
        replies.answered(message);
    }
}

/// Fails what has waited too long.
async fn sweep(replies: Weak<Replies>) {
    let mut ticks = tokio::time::interval(SWEEP_INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(replies) = replies.upgrade() else { return };
        let wakers = {
            let mut slots = replies.lock();
            slots.sweep += 1;
            let sweep = slots.sweep;
            slots.fail(|since| sweep - since > SWEEPS_MAX, NoAnswer::TimedOut)
        };
        wakers.into_iter().for_each(Waker::wake);
    }
}
