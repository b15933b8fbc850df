//! The loop that renews, takes and gives leases.

use std::collections::BTreeMap;
use std::time::Duration;

use everstep_common::ids::{Partition, ProcessId, RunId};
use everstep_common::ports::{Followed, From, Instant, ReadError};
use everstep_common::store::{LEASES, PutError, Store};
use everstep_common::wire;
use futures::StreamExt;
use futures::channel::{mpsc, oneshot};
use futures::future::join_all;

use super::record::{LeaseRecord, MemberRecord, lease_key, member_key};
use super::watch::Watch;

/// How often in a lease's time the loop looks around: a takeover is late by at most a fifteenth of it.
const TICKS_PER_TTL: u32 = 15;

/// How ownership is held.
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

/// What the partitions' threads are told.
#[derive(Debug)]
pub enum Change {
    /// Start driving it.
    Acquired {
        /// Which.
        partition: Partition,
        /// The fence: the lease's revision when it was taken.
        epoch: u64,
        /// Runs found under poll when earlier owners died, and how often.
        strikes: Vec<(RunId, u32)>,
    },
    /// Somebody else drives it: stop at once.
    Lost {
        /// Which.
        partition: Partition,
    },
    /// Stop driving it, and say so through the answer: it is to be handed over.
    Release {
        /// Which.
        partition: Partition,
        /// To be dropped or sent when it has stopped.
        stopped: oneshot::Sender<Released>,
    },
}

/// A partition has stopped.
#[derive(Debug)]
pub struct Released;

/// Talks to the loop.
#[derive(Clone, Debug)]
pub struct Handle {
    requests: mpsc::UnboundedSender<Request>,
}

#[derive(Debug)]
enum Request {
    Polling(Partition, Option<RunId>, oneshot::Sender<()>),
    /// Nobody drives the partition that was acquired with this epoch, although nobody asked for that.
    Stopped(Partition, u64),
    Leave,
}

impl Handle {
    /// Notes in the lease that a run is being polled for very long; returns when it is written (or the loop is gone).
    pub async fn note_polling(&self, partition: Partition, run: Option<RunId>) {
        let (done, written) = oneshot::channel();
        if self.requests.unbounded_send(Request::Polling(partition, run, done)).is_ok() {
            // A dropped answer means that the loop has ended, and there is nothing left to note it in.
            let _ = written.await;
        }
    }

    /// The partition that was acquired with this epoch is not driven any more: its lease is handed over, and left to others for a while.
    pub fn stopped(&self, partition: Partition, epoch: u64) {
        // If the loop is gone its leases run out.
        let _ = self.requests.unbounded_send(Request::Stopped(partition, epoch));
    }

    /// Hands every partition over and ends the loop.
    pub fn leave(&self) {
        // If the loop is gone it has left.
        let _ = self.requests.unbounded_send(Request::Leave);
    }
}

/// The loop.
#[derive(Debug)]
pub struct Ownership {
    store: Store,
    process: ProcessId,
    options: Options,
    changes: mpsc::UnboundedSender<Change>,
    requests: mpsc::UnboundedReceiver<Request>,
    watch: Watch,
    held: BTreeMap<Partition, Held>,
    /// Partitions that stopped here by themselves, and when: others have the first word.
    stopped: BTreeMap<Partition, Instant>,
    /// The revision of our own member record, 0 before it is written.
    member: u64,
    renewed: Option<Instant>,
}

#[derive(Debug)]
struct Held {
    /// The revision it was taken with.
    epoch: u64,
    revision: u64,
    record: LeaseRecord,
    renewed: Instant,
    /// Set while its thread is asked to stop.
    releasing: Option<oneshot::Receiver<Released>>,
}

impl Ownership {
    /// A loop that is yet to run, what it will tell, and a handle on it.
    pub fn new(store: Store, process: ProcessId, options: Options) -> (Self, mpsc::UnboundedReceiver<Change>, Handle) {
        let (changes, told) = mpsc::unbounded();
        let (handle, requests) = mpsc::unbounded();
        let ownership = Self {
            store,
            process,
            options,
            changes,
            requests,
            watch: Watch::default(),
            held: BTreeMap::new(),
            stopped: BTreeMap::new(),
            member: 0,
            renewed: None,
        };
        (ownership, told, Handle { requests: handle })
    }

    /// Takes and renews leases until it is told to leave and everything is handed over.
    pub async fn run(mut self) {
        let stream = self.store.names().bucket_stream(LEASES);
        let filter = self.store.names().bucket_key(LEASES, ">");
        let prefix = self.store.names().bucket_key(LEASES, "");
        let mut follow = self.store.broker().follow(&stream, &filter, From::LastPerSubject).fuse();
        let mut caught_up = false;
        let mut leaving = false;
        loop {
            if caught_up {
                self.tick(leaving).await;
            }
            if leaving && self.held.is_empty() {
                self.say_good_bye().await;
                return;
            }
            let mut pause = self.store.clock().sleep(self.options.ttl / TICKS_PER_TTL);
            futures::select_biased! {
                request = self.requests.next() => match request {
                    Some(Request::Polling(partition, run, done)) => self.note_polling(partition, run, done).await,
                    Some(Request::Stopped(partition, epoch)) => self.stopped(partition, epoch),
                    Some(Request::Leave) | None => leaving = true,
                },
                followed = follow.next() => match followed {
                    Some(Followed::Message(message)) => self.watch.note(&prefix, message, self.store.clock().now()),
                    Some(Followed::CaughtUp) => caught_up = true,
                    Some(Followed::Lost(_)) | None => {
                        self.store.clock().sleep(self.options.ttl / TICKS_PER_TTL).await;
                        follow = self.store.broker().follow(&stream, &filter, From::LastPerSubject).fuse();
                    }
                },
                () = futures::FutureExt::fuse(&mut pause) => {}
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
            held.into_iter().for_each(|partition| self.release(partition));
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
        let writes: Vec<_> = due
            .map(|(partition, held)| self.write(*partition, held.record.clone(), held.revision))
            .collect();
        for (partition, record, written) in join_all(writes).await {
            self.written(partition, record, written).await;
        }
    }

    /// Writes a lease that we hold.
    fn write(
        &self,
        partition: Partition,
        record: LeaseRecord,
        revision: u64,
    ) -> impl Future<Output = (Partition, LeaseRecord, Result<u64, PutError>)> + use<> {
        let store = self.store.clone();
        async move {
            let written = match wire::encode(&record) {
                Ok(value) => store.put_record(LEASES, &lease_key(partition), value, revision).await,
                Err(error) => Err(PutError::Rejected(error.to_string())),
            };
            (partition, record, written)
        }
    }

    /// A lease that we hold was written, or not.
    async fn written(&mut self, partition: Partition, record: LeaseRecord, written: Result<u64, PutError>) {
        match written {
            Ok(revision) => {
                if let Some(held) = self.held.get_mut(&partition) {
                    held.revision = revision;
                    held.record = record;
                    held.renewed = self.store.clock().now();
                }
            }
            Err(PutError::Conflict) => self.conflict(partition).await,
            Err(error) => tracing::warn!(%partition, %error, "lease not renewed yet"),
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

    fn stopped(&mut self, partition: Partition, epoch: u64) {
        let Some(held) = self.held.get_mut(&partition) else { return };
        if held.epoch != epoch || held.releasing.is_some() {
            return;
        }
        tracing::error!(%partition, "the partition stopped by itself; its lease is handed over");
        // The other end is dropped here: there is nothing to wait for.
        held.releasing = Some(oneshot::channel().1);
        self.stopped.insert(partition, self.store.clock().now());
    }

    fn tell(&self, change: Change) {
        // The receiver is gone only while the process ends.
        let _ = self.changes.unbounded_send(change);
    }

    /// Takes free partitions up to a fair share, and gives one away above it.
    async fn balance(&mut self, partitions: &[Partition], now: Instant) {
        // As long as a lease stands: who is dead has no share in what he left.
        let members = self.watch.members(now, self.options.ttl);
        let others = members.iter().filter(|member| **member != self.process).count();
        let share = partitions.len().div_ceil(others + 1);
        for partition in partitions {
            if self.held.contains_key(partition) || !self.watch.is_free(*partition, now, self.options.ttl) {
                continue;
            }
            if self
                .stopped
                .get(partition)
                .is_some_and(|since| now.since(*since) < self.options.ttl * 2)
            {
                continue;
            }
            // Above our share a free lease, one that we have just handed over too, is left to others for a while, then taken all the same.
            let abandoned = self.watch.stands_still(*partition, now, self.options.ttl * 2);
            if self.held.len() < share || abandoned {
                self.take(*partition).await;
            }
        }
        let hungry = members.iter().any(|member| {
            *member != self.process && self.watch.held(member, partitions.iter().copied()) < partitions.len() / (others + 1)
        });
        let releasing = self.held.values().any(|held| held.releasing.is_some());
        if hungry
            && !releasing
            && self.held.len() > partitions.len() / (others + 1)
            && let Some(partition) = self.held.keys().next_back().copied()
        {
            self.release(partition);
        }
    }

    async fn take(&mut self, partition: Partition) {
        let (seen, _) = self.watch.lease(partition);
        // Read again after the wait: what the watch last brought may be old.
        let found = match self.store.get_record(LEASES, &lease_key(partition)).await {
            Ok(found) => found,
            Err(ReadError::NoStream) => return tracing::error!(%partition, "the leases bucket is gone: run `everstep provision`"),
            Err(error) => return tracing::debug!(%partition, %error, "lease not read"),
        };
        let revision = found.as_ref().map_or(0, |record| record.revision);
        if revision != seen {
            return self.watch.found(partition, found, self.store.clock().now());
        }
        let predecessor = found.and_then(|record| wire::decode::<LeaseRecord>(&record.value).ok());
        let record = LeaseRecord::successor(predecessor, self.process.clone());
        let Ok(value) = wire::encode(&record) else { return };
        match self.store.put_record(LEASES, &lease_key(partition), value, revision).await {
            Ok(epoch) => {
                tracing::info!(%partition, epoch, "lease taken");
                let strikes = record.strikes.clone();
                self.held.insert(
                    partition,
                    Held {
                        epoch,
                        revision: epoch,
                        record,
                        renewed: self.store.clock().now(),
                        releasing: None,
                    },
                );
                self.tell(Change::Acquired {
                    partition,
                    epoch,
                    strikes,
                });
            }
            Err(PutError::Conflict) => tracing::debug!(%partition, "lease taken by somebody else"),
            Err(error) => tracing::warn!(%partition, %error, "lease not taken"),
        }
    }

    fn release(&mut self, partition: Partition) {
        let Some(held) = self.held.get_mut(&partition) else { return };
        if held.releasing.is_some() {
            return;
        }
        let (stopped, released) = oneshot::channel();
        held.releasing = Some(released);
        self.tell(Change::Release { partition, stopped });
    }

    async fn finish_releases(&mut self) {
        let mut stopped = Vec::new();
        for (partition, held) in &mut self.held {
            // An error means that the thread is gone, which is as good as stopped.
            if held
                .releasing
                .as_mut()
                .is_some_and(|released| !matches!(released.try_recv(), Ok(None)))
            {
                stopped.push(*partition);
            }
        }
        for partition in stopped {
            let Some(held) = self.held.remove(&partition) else { continue };
            let record = LeaseRecord {
                owner: None,
                polling: None,
                ..held.record
            };
            let Ok(value) = wire::encode(&record) else { continue };
            match self
                .store
                .put_record(LEASES, &lease_key(partition), value, held.revision)
                .await
            {
                Ok(_) => tracing::info!(%partition, "lease handed over"),
                Err(error) => tracing::warn!(%partition, %error, "lease not handed over; it runs out by itself"),
            }
        }
    }

    async fn note_polling(&mut self, partition: Partition, run: Option<RunId>, done: oneshot::Sender<()>) {
        if let Some(held) = self.held.get(&partition) {
            let record = LeaseRecord {
                polling: run,
                ..held.record.clone()
            };
            let (partition, record, written) = self.write(partition, record, held.revision).await;
            self.written(partition, record, written).await;
        }
        // Whoever asked may have given up waiting.
        let _ = done.send(());
    }

    async fn renew_membership(&mut self, now: Instant) {
        if self.renewed.is_some_and(|renewed| now.since(renewed) < self.options.ttl / 3) {
            return;
        }
        match self.write_membership(false).await {
            Ok(revision) => {
                self.member = revision;
                self.renewed = Some(now);
            }
            Err(PutError::Conflict) => self.find_membership().await,
            Err(error) => tracing::debug!(%error, "membership not renewed yet"),
        }
    }

    /// Nobody else writes our record, so the bucket was rolled back: go on from what stands there now.
    async fn find_membership(&mut self) {
        match self.store.get_record(LEASES, &member_key(&self.process)).await {
            Ok(record) => self.member = record.map_or(0, |record| record.revision),
            Err(error) => tracing::debug!(%error, "membership not found yet"),
        }
    }

    async fn write_membership(&self, left: bool) -> Result<u64, PutError> {
        let value = wire::encode(&MemberRecord { left }).map_err(|error| PutError::Rejected(error.to_string()))?;
        self.store
            .put_record(LEASES, &member_key(&self.process), value, self.member)
            .await
    }

    async fn say_good_bye(&self) {
        if self.member == 0 {
            return;
        }
        if let Err(error) = self.write_membership(true).await {
            tracing::debug!(%error, "good-bye not written; others find out by themselves");
        }
    }
}
