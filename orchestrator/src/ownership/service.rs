//! The loop that renews leases and hears what their partitions say. Who takes and gives which is found in [`balance`](super::balance).

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use everstep_common::ids::{Partition, ProcessId};
use everstep_common::ports::{ConnectionEvent, Followed, From, Instant};
use everstep_common::store::{LEASES, PutError, Store};
use everstep_common::wire;
use futures::channel::mpsc;
use futures::future::{join_all, select};
use futures::{FutureExt, StreamExt};

use super::code::Code;
use super::handle::{Change, Handle, Request, Said};
use super::held::Held;
use super::record::{LeaseRecord, lease_key};
use super::watch::Watch;

/// How often in a lease's time the loop looks around: a takeover is late by at most a fifteenth of it.
const TICKS_PER_TTL: u32 = 15;

/// How ownership is held.
///
/// ```
/// use std::time::Duration;
/// use everstep_orchestrator::LeaseOptions;
///
/// // A slow network: leases are taken over later, and not for every hiccup.
/// let leases = LeaseOptions { ttl: Duration::from_secs(5) };
/// assert!(leases.ttl > LeaseOptions::default().ttl);
/// ```
#[derive(Clone, Debug)]
pub struct Options {
    /// How long a lease stands without renewal before others take it. Default 1.5 s: takeover costs this plus half a second.
    pub ttl: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            ttl: Duration::from_millis(1_500),
        }
    }
}

/// The loop.
#[derive(Debug)]
pub struct Ownership {
    pub(super) store: Store,
    pub(super) process: ProcessId,
    /// The code that this process has.
    pub(super) code: Code,
    pub(super) options: Options,
    changes: mpsc::UnboundedSender<Change>,
    requests: mpsc::UnboundedReceiver<Request>,
    /// Told when it is to leave.
    leave: mpsc::UnboundedReceiver<()>,
    pub(super) watch: Watch,
    pub(super) held: BTreeMap<Partition, Held>,
    /// Partitions that stopped here by themselves, and when: others have the first word.
    pub(super) stopped: BTreeMap<Partition, Instant>,
    /// When a partition was last left to another process for its code.
    pub(super) offered: BTreeMap<Partition, Instant>,
    /// The revision of our own member record, 0 before it is written.
    pub(super) member: u64,
    pub(super) renewed: Option<Instant>,
}

impl Ownership {
    /// A loop that is yet to run, what it will tell, and a handle on it.
    pub fn new(store: Store, process: ProcessId, code: Code, options: Options) -> (Self, mpsc::UnboundedReceiver<Change>, Handle) {
        let (changes, told) = mpsc::unbounded();
        let (requests, requested) = mpsc::unbounded();
        let (leave, leaves) = mpsc::unbounded();
        let watch = Watch::new(store.clock().now());
        let ownership = Self {
            store,
            process,
            code,
            options,
            changes,
            requests: requested,
            leave: leaves,
            watch,
            held: BTreeMap::new(),
            stopped: BTreeMap::new(),
            offered: BTreeMap::new(),
            member: 0,
            renewed: None,
        };
        let noting = Arc::default();
        (ownership, told, Handle { requests, leave, noting })
    }

    /// Takes and renews leases until it is told to leave and everything is handed over. If the server is away then, nothing can be handed
    /// over: it ends at once, and its leases run out.
    pub async fn run(mut self) {
        let leaving = AtomicBool::new(false);
        let leave = std::mem::replace(&mut self.leave, mpsc::unbounded().1);
        let cut_off = pin!(cut_off(self.store.clone(), leave, &leaving));
        // Whichever comes first.
        let _ = select(pin!(self.hold(&leaving)), cut_off).await;
    }

    async fn hold(&mut self, leaving: &AtomicBool) {
        let stream = self.store.names().bucket_stream(LEASES);
        let filter = self.store.names().bucket_key(LEASES, ">");
        let prefix = self.store.names().bucket_key(LEASES, "");
        let mut follow = self.store.broker().follow(&stream, &filter, From::LastPerSubject).fuse();
        let mut connection = self.store.broker().connection_events().fuse();
        let mut caught_up = false;
        loop {
            // Before anything is judged by the time it has stood.
            while let Some(Some(event)) = connection.next().now_or_never() {
                self.watch.connection(event, self.store.clock().now(), self.options.ttl);
            }
            let is_leaving = leaving.load(Ordering::Relaxed);
            if caught_up {
                self.tick(is_leaving).await;
            }
            if is_leaving && self.held.is_empty() {
                return self.say_good_bye().await;
            }
            let mut pause = self.store.clock().sleep(self.options.ttl / TICKS_PER_TTL).fuse();
            futures::select_biased! {
                request = self.requests.next() => match request {
                    Some(Request::Said(partition, epoch, said)) => self.hear(partition, epoch, said).await,
                    Some(Request::Leave) | None => leaving.store(true, Ordering::Relaxed),
                },
                followed = follow.next() => match followed {
                    Some(Followed::Message(message)) => self.watch.note(&prefix, message, self.store.clock().now()),
                    Some(Followed::CaughtUp) => caught_up = true,
                    Some(Followed::Lost(_)) | None => {
                        self.store.clock().sleep(self.options.ttl / TICKS_PER_TTL).await;
                        follow = self.store.broker().follow(&stream, &filter, From::LastPerSubject).fuse();
                    }
                },
                () = pause => {}
            }
        }
    }

    async fn tick(&mut self, leaving: bool) {
        let now = self.store.clock().now();
        let count = self.store.deployment().partitions.max(self.watch.partitions());
        let partitions: Vec<_> = (0..count).map(Partition).collect();
        self.finish_releases().await;
        self.renew(now).await;
        if leaving {
            let held: Vec<_> = self.held.keys().copied().collect();
            held.into_iter().for_each(|partition| self.release(partition, None));
            return;
        }
        self.renew_membership(now).await;
        self.balance(&partitions, now).await;
    }

    /// Renews what is due, all at once: one after the other would take longer on a slow disk than a lease stands.
    async fn renew(&mut self, now: Instant) {
        let due = self
            .held
            .iter()
            .filter(|(_, held)| now.since(held.renewed) >= self.options.ttl / 3);
        let writes: Vec<_> = due.map(|(partition, held)| self.write(*partition, held)).collect();
        for (partition, written) in join_all(writes).await {
            self.written(partition, written).await;
        }
    }

    /// Writes a lease that we hold.
    fn write(&self, partition: Partition, held: &Held) -> impl Future<Output = (Partition, Result<u64, PutError>)> + use<> {
        let (store, record, revision) = (self.store.clone(), held.record.clone(), held.revision);
        async move { (partition, put(&store, partition, &record, revision).await) }
    }

    /// A lease that we hold was written, or not.
    async fn written(&mut self, partition: Partition, written: Result<u64, PutError>) {
        match written {
            Ok(revision) => {
                let Some(held) = self.held.get_mut(&partition) else { return };
                held.revision = revision;
                held.renewed = self.store.clock().now();
                held.failing = false;
                for noted in held.noted.drain(..) {
                    // Whoever asked may have given up waiting.
                    let _ = noted.send(());
                }
            }
            Err(PutError::Conflict) => self.conflict(partition).await,
            Err(error) => {
                let Some(held) = self.held.get_mut(&partition) else { return };
                if !std::mem::replace(&mut held.failing, true) {
                    tracing::warn!(%partition, %error, "lease not renewed; tried again until it is");
                }
            }
        }
    }

    /// A refusal is a question: an earlier write of ours may stand whose acknowledgement was lost, or the bucket was rolled back to one. If
    /// a leader that is behind says so, the next write is refused too and asks again.
    async fn conflict(&mut self, partition: Partition) {
        let found = self.store.get_record(LEASES, &lease_key(partition)).await;
        let Some(held) = self.held.get_mut(&partition) else { return };
        match found {
            Ok(Some(found)) => match wire::decode::<LeaseRecord>(&found.value) {
                Ok(record) if record.owner.as_ref() == Some(&self.process) => held.revision = found.revision,
                _ => self.lose(partition),
            },
            Ok(None) => self.lose(partition),
            Err(error) => tracing::warn!(%partition, %error, "lease not read; asked again"),
        }
    }

    fn lose(&mut self, partition: Partition) {
        if self.held.remove(&partition).is_some() {
            tracing::warn!(%partition, "lease lost to another orchestrator");
            self.tell(Change::Lost { partition });
        }
    }

    /// A partition says something of its lease.
    async fn hear(&mut self, partition: Partition, epoch: u64, said: Said) {
        let held = self.held.get_mut(&partition);
        let Some(held) = held.filter(|held| held.epoch == epoch && held.releasing.is_none()) else {
            return;
        };
        if matches!(said, Said::Stopped) {
            tracing::error!(%partition, "the partition stopped by itself; its lease is handed over");
            self.stopped.insert(partition, self.store.clock().now());
        }
        if held.hear(said) {
            let write = self.write(partition, &self.held[&partition]);
            let (partition, written) = write.await;
            self.written(partition, written).await;
        }
    }

    pub(super) fn tell(&self, change: Change) {
        // The receiver is gone only while the process ends.
        let _ = self.changes.unbounded_send(change);
    }
}

/// Returns once we are to leave and the server cannot be told so.
async fn cut_off(store: Store, mut leave: mpsc::UnboundedReceiver<()>, leaving: &AtomicBool) {
    let mut connection = store.broker().connection_events().fuse();
    let mut away = false;
    while !(away && leaving.load(Ordering::Relaxed)) {
        futures::select_biased! {
            () = leave.select_next_some() => leaving.store(true, Ordering::Relaxed),
            event = connection.select_next_some() => away = event == ConnectionEvent::Disconnected,
            complete => return std::future::pending().await,
        }
    }
    tracing::warn!("the server is away: leases are not handed over, they run out by themselves");
}

/// Writes a lease if its revision is still `revision`.
pub(super) async fn put(store: &Store, partition: Partition, record: &LeaseRecord, revision: u64) -> Result<u64, PutError> {
    let value = wire::encode(record).map_err(|error| PutError::Rejected(error.to_string()))?;
    store.put_record(LEASES, &lease_key(partition), value, revision).await
}
