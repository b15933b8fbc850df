//! Writes that share an fsync.
//!
//! On one node with `sync_interval: always` each publish costs an fsync and the server does not group them. So while one atomic batch
//! of a stream is being committed the next one fills; a few writes alone go one by one, for a batch costs about 2 ms whatever it holds.
//!
//! ```text
//! publish ──▶ Stream { singles < 8, no batch } ──▶ broker.publish            (alone)
//!        └──▶ Stream { waiting: [Request…] } ──kick──▶ Groups' driver ──▶ broker.publish_batch
//! ```

use std::collections::{BTreeMap, HashSet};
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::channel::{mpsc, oneshot};
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};

use crate::limits::{BATCH_BYTES_MAX, BATCH_MESSAGES_MAX, BATCH_MESSAGES_MIN, READ_SUBJECTS_MAX};
use crate::ports::{Broker, Clock, Expect, GetLast, Publish, PublishError, Stored};

/// How long a few writes wait for those under way one by one, at most: these take about 2 ms together on a single node (measured).
const WAIT_MAX: Duration = Duration::from_millis(20);

type Answer = Result<Stored, PublishError>;

/// The streams written to, each with what waits for its next batch.
#[derive(Debug)]
pub(super) struct Groups {
    broker: Arc<dyn Broker>,
    streams: Mutex<BTreeMap<String, Arc<Stream>>>,
    /// Wakes the driver for a stream that has something to send.
    kick: mpsc::UnboundedSender<Kick>,
}

/// What the driver is told of a stream.
#[derive(Debug)]
enum Kick {
    /// It is marked busy: send what waits.
    Send(Arc<Stream>),
    /// Something has begun to wait for those under way; should they not be heard of (a future that nobody polls), it is sent all the same.
    Waits(Arc<Stream>),
}

#[derive(Debug)]
struct Stream {
    name: String,
    state: Mutex<State>,
    kick: mpsc::UnboundedSender<Kick>,
}

#[derive(Debug, Default)]
struct State {
    waiting: Vec<Request>,
    /// Writes under way one by one.
    singles: usize,
    /// Whether the driver has been told, or is committing a batch.
    busy: bool,
}

#[derive(Debug)]
struct Request {
    publish: Publish,
    answer: oneshot::Sender<Answer>,
}

impl Groups {
    /// The groups and their driver.
    pub(super) fn new(broker: Arc<dyn Broker>, clock: Arc<dyn Clock>) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (kick, kicks) = mpsc::unbounded();
        let groups = Self {
            broker: broker.clone(),
            streams: Mutex::default(),
            kick,
        };
        (groups, drive(broker, clock, kicks))
    }

    /// Writes alone or with others; sent, or queued behind the batch under way, when this returns.
    pub(super) fn publish(&self, stream: &str, publish: Publish) -> BoxFuture<'static, Answer> {
        let stream = self.stream(stream);
        let mut state = lock(&stream.state);
        if !state.busy && state.waiting.is_empty() && state.singles < BATCH_MESSAGES_MIN {
            state.singles += 1;
            drop(state);
            let single = Single(stream);
            let published = self.broker.publish(publish);
            return async move {
                let answer = published.await;
                drop(single);
                answer
            }
            .boxed();
        }
        let (answer, answered) = oneshot::channel();
        state.waiting.push(Request { publish, answer });
        if !state.busy && state.waiting.len() >= BATCH_MESSAGES_MIN {
            state.busy = true;
            stream.tell(Kick::Send);
        } else if !state.busy && state.waiting.len() == 1 {
            stream.tell(Kick::Waits);
        }
        drop(state);
        answered
            .map(|answer| answer.unwrap_or_else(|_| Err(PublishError::Unknown("the writer stopped".into()))))
            .boxed()
    }

    fn stream(&self, name: &str) -> Arc<Stream> {
        let mut streams = lock(&self.streams);
        if let Some(stream) = streams.get(name) {
            return stream.clone();
        }
        let stream = Arc::new(Stream {
            name: name.to_owned(),
            state: Mutex::default(),
            kick: self.kick.clone(),
        });
        streams.insert(name.to_owned(), stream.clone());
        stream
    }
}

impl Stream {
    fn tell(self: &Arc<Self>, kick: fn(Arc<Self>) -> Kick) {
        // The driver is gone only when the process is going down; the waiting requests are then dropped with it and answer so.
        let _ = self.kick.unbounded_send(kick(self.clone()));
    }

    /// Whether something waits that the driver is not sending already; from now on it is.
    fn take_up(&self) -> bool {
        let mut state = lock(&self.state);
        let idle = !state.busy && !state.waiting.is_empty();
        state.busy |= idle;
        idle
    }
}

/// A write under way by itself; when the last one ends, whatever waits goes.
struct Single(Arc<Stream>);

impl Drop for Single {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        state.singles -= 1;
        let last = state.singles == 0;
        drop(state);
        if last && self.0.take_up() {
            self.0.tell(Kick::Send);
        }
    }
}

async fn drive(broker: Arc<dyn Broker>, clock: Arc<dyn Clock>, mut kicks: mpsc::UnboundedReceiver<Kick>) {
    let mut flushes = FuturesUnordered::new();
    let mut waits = FuturesUnordered::new();
    loop {
        futures::select_biased! {
            () = flushes.select_next_some() => {}
            kick = kicks.next() => match kick {
                Some(Kick::Send(stream)) => flushes.push(flush(broker.clone(), stream)),
                Some(Kick::Waits(stream)) => waits.push(clock.sleep(WAIT_MAX).map(|()| stream)),
                None => break,
            },
            stream = waits.select_next_some() => if stream.take_up() {
                flushes.push(flush(broker.clone(), stream));
            }
        }
    }
}

/// Sends what waits, batch after batch, until nothing does.
async fn flush(broker: Arc<dyn Broker>, stream: Arc<Stream>) {
    loop {
        let batch = {
            let mut state = lock(&stream.state);
            let batch = take_batch(&mut state.waiting);
            if batch.is_empty() {
                state.busy = false;
                return;
            }
            batch
        };
        if batch.len() < BATCH_MESSAGES_MIN {
            one_by_one(&*broker, batch).await;
        } else {
            commit(&*broker, &stream.name, batch).await;
        }
    }
}

/// As many of the waiting as fit into one batch, no subject twice, in order.
fn take_batch(waiting: &mut Vec<Request>) -> Vec<Request> {
    let mut bytes = 0;
    let mut subjects = HashSet::with_capacity(waiting.len().min(BATCH_MESSAGES_MAX));
    let fits = waiting.iter().take(BATCH_MESSAGES_MAX).take_while(|request| {
        bytes += request.publish.payload.len();
        (bytes <= BATCH_BYTES_MAX || subjects.is_empty()) && subjects.insert(request.publish.subject.as_str())
    });
    let count = fits.count();
    let rest = waiting.split_off(count);
    std::mem::replace(waiting, rest)
}

async fn one_by_one(broker: &dyn Broker, requests: Vec<Request>) {
    let sent: Vec<_> = requests
        .into_iter()
        .map(|Request { publish, answer }| (broker.publish(publish), answer))
        .collect();
    for (published, answer) in sent {
        // Whoever dropped the receiver no longer wants to know.
        let _ = answer.send(published.await);
    }
}

/// Commits a batch. If it is refused, what is stored already is told so, and the rest is sent again.
async fn commit(broker: &dyn Broker, stream: &str, mut batch: Vec<Request>) {
    loop {
        let messages = batch.iter().map(|request| request.publish.clone()).collect();
        match broker.publish_batch(messages).await {
            Err(PublishError::Refused) => {}
            // One of them may be the cause; alone, each is told what is true of itself.
            Err(PublishError::TooLarge | PublishError::Rejected(_)) => return one_by_one(broker, batch).await,
            answer => return tell(batch, answer),
        }
        let taken = taken(broker, stream, &batch).await;
        let (refused, rest): (Vec<_>, Vec<_>) = batch
            .into_iter()
            .partition(|request| taken.contains(&request.publish.subject));
        // A refusal that the read does not explain (a guard over other subjects, a stale replica) is found one by one.
        let explained = !refused.is_empty();
        for request in refused {
            let _ = request.answer.send(Err(PublishError::Refused));
        }
        let (alone, together): (Vec<_>, Vec<_>) = rest
            .into_iter()
            .partition(|request| !explained || is_guarded(&request.publish));
        one_by_one(broker, alone).await;
        batch = together;
        if batch.len() < 2 {
            return one_by_one(broker, batch).await;
        }
    }
}

/// Tells everyone of a batch what became of it. It is stored under consecutive sequences, of which the server names the last.
fn tell(batch: Vec<Request>, answer: Answer) {
    let later = (0..batch.len() as u64).rev();
    for (request, later) in batch.into_iter().zip(later) {
        let own = answer.clone().map(|last| Stored {
            sequence: last.sequence - later,
        });
        let _ = request.answer.send(own);
    }
}

fn is_guarded(publish: &Publish) -> bool {
    matches!(publish.expect, Some(Expect::LastSequenceOf { .. }))
}

/// Which of the batch's create-only subjects hold something. Compare-and-set writes are left to be refused one by one.
async fn taken(broker: &dyn Broker, stream: &str, batch: &[Request]) -> HashSet<String> {
    let creates = batch
        .iter()
        .filter(|request| request.publish.expect == Some(Expect::LastSequence(0)));
    let subjects: Vec<String> = creates
        .map(|request| request.publish.subject.clone())
        .take(READ_SUBJECTS_MAX)
        .collect();
    if subjects.is_empty() {
        return HashSet::new();
    }
    let request = GetLast {
        stream: stream.to_owned(),
        subjects,
        up_to: None,
        leader: false,
    };
    match broker.get_last(request).await {
        Ok(snapshot) => snapshot.messages.into_iter().map(|message| message.subject).collect(),
        Err(_) => HashSet::new(),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while one of these is held; a poisoned one would still be whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
