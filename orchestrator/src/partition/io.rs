//! The partition's side towards tokio: everything that is awaited, and nothing that decides.
//!
//! Workflow code must never run inside a tokio context, so the partition's thread alternates: [`Io::ready`] inside `block_on` gathers
//! what has come, then the core runs outside on what was gathered, and leaves effects behind that the next `ready` performs.

use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::Duration;

use everstep_common::event::EventName;
use everstep_common::ids::RunId;
use everstep_common::ports::{ConnectionEvent, CoreMessage, Delivery, Followed};
use futures::channel::mpsc;
use futures::future::BoxFuture;
use futures::stream::{BoxStream, FuturesUnordered};
use futures::{FutureExt, StreamExt};

use super::closures::Finished;
use super::effect::Performed;
use super::events::{Heard, Looked};
use super::flow::Written;
use super::reads::Read;
use super::upkeep::UpkeepDone;
use crate::limits::Change;
use crate::ownership::Noted;

/// How much of one kind is gathered in one turn, so that the others get theirs.
const GATHERED_MAX: usize = 512;

/// Something that came in.
pub(crate) enum Input {
    /// The feed brought an entry, or says how it stands.
    Feed(Followed),
    /// An effect is done; the entry it followed from, if the cursor waits for it.
    Performed(Option<(RunId, u64)>, Performed),
    /// The same for a run that stands in the lease until this is dealt with.
    Noted(Noted, Performed),
    /// Journals have been read.
    Read(Vec<Read>),
    /// A closure is done.
    Closure(Finished),
    /// Something about a limit is new.
    Limit(Change),
    /// A limit's record was written, or not.
    LimitWritten(Written),
    /// Somebody asks how a run looks from inside, or a function sends a heartbeat.
    Told(CoreMessage),
    /// Following events of that name, which runs wait for, has brought something.
    Heard(EventName, Heard),
    /// The deadline of a wait for an event has come, and it is known which events were stored before.
    Looked(Looked),
    /// Schedules have fired.
    Fired(Vec<Delivery>),
    /// A piece of upkeep is done.
    Upkeep(UpkeepDone),
    /// The connection went or came.
    Connection(ConnectionEvent),
    /// Stop driving the partition.
    Stop,
}

pub(crate) struct Io {
    /// The journal's feed.
    pub feed: BoxStream<'static, Followed>,
    /// Schedules that fire, batch by batch.
    pub fired: BoxStream<'static, Vec<Delivery>>,
    /// The connection's ups and downs.
    pub connection: BoxStream<'static, ConnectionEvent>,
    /// Told to stop.
    pub stop: mpsc::UnboundedReceiver<()>,
    /// Results of closures, which run elsewhere.
    pub closures: mpsc::UnboundedReceiver<Finished>,
    /// What is new about limits.
    pub limits: mpsc::UnboundedReceiver<Change>,
    /// Questions about how runs look from inside, and heartbeats of functions.
    pub told: BoxStream<'static, CoreMessage>,
    /// Events that runs wait for, by name.
    pub events: BTreeMap<EventName, BoxStream<'static, Heard>>,
    /// Effects and upkeep under way.
    pub under_way: FuturesUnordered<BoxFuture<'static, Input>>,
    /// What has come and is not handled yet.
    pub inbox: VecDeque<Input>,
}

impl Io {
    /// Returns when something has come, or `pause` is over.
    ///
    /// Without tokio's cooperative budget: a future that it cuts off is woken by the runtime's next turn only, and that wake is lost when
    /// this returns before it, which ends the runtime's turn for the core. What is gathered at once is bounded here.
    pub(crate) async fn ready(&mut self, pause: BoxFuture<'static, ()>) {
        let mut pause = pause;
        tokio::task::unconstrained(poll_fn(|context| {
            self.gather(context);
            if !self.inbox.is_empty() || pause.poll_unpin(context).is_ready() {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        }))
        .await;
    }

    /// Begins something; it makes progress only inside [`Io::ready`].
    pub(crate) fn begin(&self, work: BoxFuture<'static, Input>) {
        self.under_way.push(work);
    }

    fn gather(&mut self, context: &mut Context<'_>) {
        if let Poll::Ready(Some(())) = self.stop.poll_next_unpin(context) {
            self.inbox.push_back(Input::Stop);
        }
        if let Poll::Ready(Some(event)) = self.connection.poll_next_unpin(context) {
            self.inbox.push_back(Input::Connection(event));
        }
        for _ in 0..GATHERED_MAX {
            let Poll::Ready(Some(followed)) = self.feed.poll_next_unpin(context) else {
                break;
            };
            self.inbox.push_back(Input::Feed(followed));
        }
        for _ in 0..GATHERED_MAX {
            let Poll::Ready(Some(input)) = self.under_way.poll_next_unpin(context) else {
                break;
            };
            self.inbox.push_back(input);
        }
        for _ in 0..GATHERED_MAX {
            let Poll::Ready(Some(finished)) = self.closures.poll_next_unpin(context) else {
                break;
            };
            self.inbox.push_back(Input::Closure(finished));
        }
        for _ in 0..GATHERED_MAX {
            let Poll::Ready(Some(change)) = self.limits.poll_next_unpin(context) else {
                break;
            };
            self.inbox.push_back(Input::Limit(change));
        }
        for _ in 0..GATHERED_MAX {
            let Poll::Ready(Some(message)) = self.told.poll_next_unpin(context) else {
                break;
            };
            self.inbox.push_back(Input::Told(message));
        }
        for (name, events) in &mut self.events {
            for _ in 0..GATHERED_MAX {
                let Poll::Ready(Some(heard)) = events.poll_next_unpin(context) else {
                    break;
                };
                self.inbox.push_back(Input::Heard(name.clone(), heard));
            }
        }
        if let Poll::Ready(Some(deliveries)) = self.fired.poll_next_unpin(context) {
            self.inbox.push_back(Input::Fired(deliveries));
        }
    }
}

/// The longest pause without a look at the clock.
pub(crate) const PAUSE_MAX: Duration = Duration::from_millis(500);
