//! Taking a partition over: the cursor is claimed, the feed begins after it, and what it exempts is read back.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use everstep_common::ids::{Partition as PartitionId, ProcessId, RunId};
use everstep_common::ports::{Delivery, PullError, Puller, StreamInfo};
use everstep_common::store::{Backoff, LEASES, PutError, Store};
use everstep_common::trace::TraceLinks;
use everstep_common::wire;
use futures::StreamExt;
use futures::channel::mpsc;
use futures::stream::{BoxStream, FuturesUnordered};

use super::backlog::Backlog;
use super::clock::ServerClock;
use super::closures::Closures;
use super::cursor::{CursorRecord, Watermark, cursor_key};
use super::effect::Performer;
use super::inflight::InFlight;
use super::io::Io;
use super::queues::Queues;
use super::slots::Slots;
use super::summary::Summaries;
use super::upkeep::{ScanReason, Upkeep};
use super::wheel::Wheel;
use super::{Options, Partition, scan};
use crate::metrics::metrics;
use crate::watchdog::{Polled, STRIKES_MAX};
use crate::workflows::Workflows;

/// Fired timers taken at once.
const FIRED_MAX: usize = 256;

/// How long a pull for fired timers stands.
const FIRED_WAIT: Duration = Duration::from_secs(30);

/// Everything that a partition is started with.
pub(crate) struct Starting {
    pub id: PartitionId,
    /// The lease's revision when it was taken.
    pub epoch: u64,
    /// Runs that owners died over.
    pub strikes: Vec<(RunId, u32)>,
    pub options: Options,
    pub process: ProcessId,
    pub trace: TraceLinks,
    pub store: Store,
    pub workflows: Arc<Workflows>,
    /// Where closures run.
    pub runtime: tokio::runtime::Handle,
    pub polled: Polled,
    pub stop: mpsc::UnboundedReceiver<()>,
}

/// Why a partition was not taken over.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    /// Somebody with a newer lease writes the cursor.
    #[error("a newer owner has the cursor")]
    Superseded,
    /// The server refuses.
    #[error("claiming the cursor: {0}")]
    Cursor(PutError),
    /// The record is of a newer version.
    #[error("the cursor is unreadable: {0}")]
    Unreadable(everstep_common::wire::Error),
}

/// The cursor as found, before it is claimed.
struct Found {
    record: CursorRecord,
    /// Whether there was one at all.
    fresh: bool,
}

impl Starting {
    /// Claims the cursor and builds the actor. Inside tokio.
    pub(crate) async fn start(self) -> Result<Partition, StartError> {
        let info = scan::stream_info(&self.store, self.id).await;
        let (found, revision) = self.claim(&info).await?;
        let lost = self.lost(&found.record).await;
        let record = found.record;
        let position = if lost { info.last_sequence } else { record.position };
        metrics().takeovers.add(1, &[]);
        tracing::info!(partition = %self.id, epoch = self.epoch, position, last = info.last_sequence, "partition taken over");

        let server_clock = self.server_clock().await;
        let now = self.store.clock().now();
        let (results, closures) = mpsc::unbounded();
        let io = Io {
            feed: scan::feed(&self.store, self.id, position + 1),
            fired: fired(&self.store, self.id),
            connection: self.store.broker().connection_events(),
            stop: self.stop,
            closures,
            under_way: FuturesUnordered::new(),
            inbox: Default::default(),
        };
        let poison: BTreeSet<RunId> = self
            .strikes
            .into_iter()
            .filter(|(_, count)| *count >= STRIKES_MAX)
            .map(|(run, _)| run)
            .collect();
        let exempt = record.exempt.clone();
        let mut partition = Partition {
            id: self.id,
            options: self.options,
            performer: Performer {
                store: self.store.clone(),
                queues: Queues::new(self.store.clone(), &record.marks),
                process: self.process,
                trace: self.trace,
            },
            workflows: self.workflows,
            io,
            backlog: Backlog::default(),
            slots: Slots::default(),
            watermark: Watermark::new(position),
            server_clock,
            wheel: Wheel::default(),
            in_flight: InFlight::default(),
            closures: Closures::new(self.runtime, self.store.clone(), results),
            summaries: Summaries::default(),
            upkeep: Upkeep::new(self.id, record, revision, &info, poison, now),
            polled: self.polled,
            rederiving: 0,
            stopping: false,
            store: self.store,
        };
        partition.upkeep.load_first(exempt);
        if !found.fresh || info.last_sequence > 0 {
            partition.scan(if lost { ScanReason::Rollback } else { ScanReason::Takeover });
        }
        Ok(partition)
    }

    /// Rewrites the cursor with our epoch, so that a predecessor's writes fail from now on.
    async fn claim(&self, info: &StreamInfo) -> Result<(Found, u64), StartError> {
        let key = cursor_key(self.id);
        let mut backoff = Backoff::new();
        loop {
            let (revision, found) = match self.store.get_record(LEASES, &key).await {
                Ok(Some(record)) => (
                    record.revision,
                    Found {
                        record: wire::decode(&record.value).map_err(StartError::Unreadable)?,
                        fresh: false,
                    },
                ),
                Ok(None) => (
                    0,
                    Found {
                        record: CursorRecord::default(),
                        fresh: true,
                    },
                ),
                Err(error) => {
                    tracing::debug!(partition = %self.id, %error, "cursor not read yet");
                    self.store.clock().sleep(backoff.delay()).await;
                    continue;
                }
            };
            if found.record.epoch > self.epoch {
                return Err(StartError::Superseded);
            }
            let created = found.record.created.or(Some(info.created));
            let claimed = CursorRecord {
                epoch: self.epoch,
                created,
                ..found.record
            };
            let value = wire::encode(&claimed).map_err(StartError::Unreadable)?;
            match self.store.put_record(LEASES, &key, value, revision).await {
                Ok(revision) => {
                    return Ok((
                        Found {
                            record: claimed,
                            fresh: found.fresh,
                        },
                        revision,
                    ));
                }
                Err(PutError::Conflict | PutError::Unknown(_)) => self.store.clock().sleep(backoff.delay()).await,
                Err(error) => return Err(StartError::Cursor(error)),
            }
        }
    }

    /// What the server's clock says, by the cursor that has just been written. The feed of an idle partition brings no time stamp, and what
    /// only memory keeps (the deadline of a step that hangs) would never be due.
    async fn server_clock(&self) -> ServerClock {
        let mut backoff = Backoff::new();
        loop {
            match self.store.get_record(LEASES, &cursor_key(self.id)).await {
                Ok(Some(claimed)) => {
                    let mut server_clock = ServerClock::default();
                    server_clock.observe(claimed.time, self.store.clock().now());
                    return server_clock;
                }
                Ok(None) => tracing::debug!(partition = %self.id, "the cursor just claimed is not there yet"),
                Err(error) => tracing::debug!(partition = %self.id, %error, "cursor not read yet"),
            }
            self.store.clock().sleep(backoff.delay()).await;
        }
    }

    /// Whether the stream is another one, or shorter, than when the cursor was written.
    async fn lost(&self, record: &CursorRecord) -> bool {
        loop {
            match scan::rolled_back(&self.store, self.id, record.created, record.newest.clone()).await {
                Ok(None) => return false,
                Ok(Some(how)) => {
                    tracing::error!(partition = %self.id, how, "the journal stream was rolled back or replaced; reading the partition anew");
                    metrics().rollbacks.add(1, &[]);
                    return true;
                }
                Err(error) => tracing::debug!(partition = %self.id, error, "journal stream not checked yet"),
            }
            self.store.clock().sleep(Backoff::MAX).await;
        }
    }
}

/// Schedules that fire, batch by batch, for as long as it is polled.
fn fired(store: &Store, partition: PartitionId) -> BoxStream<'static, Vec<Delivery>> {
    let store = store.clone();
    let pulls = futures::stream::unfold((store, None::<Box<dyn Puller>>), move |(store, puller)| async move {
        let mut puller = match puller {
            Some(puller) => puller,
            None => bind(&store, partition).await,
        };
        match puller.next(FIRED_MAX, FIRED_WAIT).await {
            Ok(deliveries) => Some((deliveries, (store, Some(puller)))),
            Err(error) => {
                tracing::debug!(%partition, %error, "timers not pulled; binding again");
                store.clock().sleep(Backoff::MAX).await;
                Some((Vec::new(), (store, None)))
            }
        }
    });
    pulls
        .filter(|deliveries| futures::future::ready(!deliveries.is_empty()))
        .boxed()
}

async fn bind(store: &Store, partition: PartitionId) -> Box<dyn Puller> {
    let (names, deployment) = (store.names(), store.deployment());
    let stream = names.timer_stream(partition);
    let consumer = deployment.timer_consumer(names, partition);
    loop {
        if let Err(error) = store.broker().ensure_consumer(&stream, &consumer).await {
            tracing::debug!(%partition, %error, "timer consumer not there yet");
        } else {
            match store.broker().pull(&stream, &consumer.name).await {
                Ok(puller) => return puller,
                Err(PullError::Gone | PullError::Unavailable(_)) => {}
            }
        }
        store.clock().sleep(Backoff::MAX).await;
    }
}
