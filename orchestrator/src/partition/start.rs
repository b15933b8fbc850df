//! Taking a partition over: the cursor is claimed, the feed begins after it, and what it exempts is read back.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use everstep_common::ids::{Partition as PartitionId, ProcessId};
use everstep_common::ports::{CoreMessage, Delivery, PullError, Puller, StreamInfo};
use everstep_common::store::{Backoff, LEASES, PutError, Store};
use everstep_common::trace::TraceLinks;
use everstep_common::wire;
use futures::StreamExt;
use futures::channel::mpsc;
use futures::future::{Either, select};
use futures::stream::{self, BoxStream, FuturesUnordered};

use super::backlog::Backlog;
use super::caution::{Caution, poison};
use super::clock::ServerClock;
use super::closures::Closures;
use super::cursor::{CursorRecord, Watermark, cursor_key};
use super::effect::Performer;
use super::events::Events;
use super::flow::Gate;
use super::inflight::InFlight;
use super::io::Io;
use super::making_way::LatelyTold;
use super::queues::Queues;
use super::reads::Reads;
use super::sessions::Sessions;
use super::slots::Slots;
use super::summary::{Author, Summaries};
use super::upkeep::{ScanReason, Upkeep};
use super::wheel::Wheel;
use super::{Options, Partition, scan};
use crate::limits::Limits;
use crate::metrics::metrics;
use crate::ownership::{Omens, Tenure};
use crate::watchdog::Polled;
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
    /// What earlier owners left word of.
    pub omens: Omens,
    /// Our word with the leases.
    pub tenure: Tenure,
    pub options: Options,
    pub process: ProcessId,
    pub trace: TraceLinks,
    pub store: Store,
    pub workflows: Arc<Workflows>,
    /// What is known of limits.
    pub limits: Limits,
    /// Where closures run.
    pub runtime: tokio::runtime::Handle,
    pub polled: Polled,
}

/// A partition whose cursor is ours.
pub(crate) struct TakenOver {
    starting: Starting,
    info: StreamInfo,
    /// The cursor as we have written it, and its revision.
    record: CursorRecord,
    revision: u64,
    /// There was a cursor before.
    inherited: bool,
    /// The stream is not what the predecessor saw.
    lost: bool,
    server_clock: ServerClock,
    /// Questions about how runs look from inside.
    told: BoxStream<'static, CoreMessage>,
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

/// Takes a partition over, for as long as that takes, unless told to stop meanwhile: then nothing comes of it. Inside tokio.
pub(crate) async fn unless_stopped<E>(
    mut stop: mpsc::UnboundedReceiver<()>,
    take_over: impl Future<Output = Result<TakenOver, E>>,
) -> Result<Option<Partition>, E> {
    match select(stop.next(), pin!(take_over)).await {
        Either::Left(_) => Ok(None),
        Either::Right((taken, _)) => Ok(Some(taken?.drive(stop))),
    }
}

impl Starting {
    /// Claims the cursor.
    pub(crate) async fn take_over(self) -> Result<TakenOver, StartError> {
        let info = scan::stream_info(&self.store, self.id).await;
        let (found, revision) = self.claim(&info).await?;
        let lost = self.lost(&found.record).await;
        let server_clock = self.server_clock().await;
        let (broker, names) = (self.store.broker(), self.store.names());
        let asked = broker.subscribe(&names.views(self.id)).await;
        let told = stream::select(asked, broker.subscribe(&names.beats(self.id)).await).boxed();
        Ok(TakenOver {
            starting: self,
            info,
            record: found.record,
            revision,
            inherited: !found.fresh,
            lost,
            server_clock,
            told,
        })
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

impl TakenOver {
    /// Builds the actor, which begins with what the cursor exempts.
    fn drive(self, stop: mpsc::UnboundedReceiver<()>) -> Partition {
        let Self {
            starting,
            info,
            record,
            revision,
            inherited,
            lost,
            server_clock,
            told,
        } = self;
        let position = if lost { info.last_sequence } else { record.position };
        metrics().takeovers.add(1, &[]);
        tracing::info!(partition = %starting.id, epoch = starting.epoch, position, last = info.last_sequence, "partition taken over");

        let now = starting.store.clock().now();
        let (results, closures) = mpsc::unbounded();
        let io = Io {
            feed: scan::feed(&starting.store, starting.id, position + 1),
            fired: fired(&starting.store, starting.id),
            connection: starting.store.broker().connection_events(),
            stop,
            closures,
            limits: starting.limits.listen(),
            told,
            events: Default::default(),
            under_way: FuturesUnordered::new(),
            inbox: Default::default(),
        };
        let poison = poison(&starting.omens);
        let exempt = record.exempt.clone();
        let mut partition = Partition {
            id: starting.id,
            options: starting.options,
            performer: Performer {
                store: starting.store.clone(),
                queues: Queues::new(starting.store.clone(), &record.marks),
                process: starting.process,
                trace: starting.trace,
            },
            workflows: starting.workflows,
            io,
            backlog: Backlog::default(),
            slots: Slots::default(),
            reads: Reads::default(),
            watermark: Watermark::new(position),
            server_clock,
            wheel: Wheel::default(),
            in_flight: InFlight::default(),
            closures: Closures::new(starting.runtime.clone(), starting.store.clone(), results),
            gate: Gate::new(starting.id),
            told_to_make_way: LatelyTold::default(),
            sessions: Sessions::new(starting.runtime, starting.store.clone()),
            views: Vec::new(),
            events: Events::default(),
            summaries: Summaries::new(Author { epoch: starting.epoch }),
            upkeep: Upkeep::new(starting.id, record, revision, &info, poison, now),
            polled: starting.polled,
            caution: Caution::new(starting.tenure, starting.omens, now),
            stopping: false,
            store: starting.store,
        };
        partition.upkeep.load_first(exempt);
        if lost {
            // It is not there any more: looked for at the next reconnect it would tell of the same loss again.
            partition.upkeep.newest = None;
        }
        if inherited || info.last_sequence > 0 {
            partition.scan(if lost { ScanReason::Rollback } else { ScanReason::Takeover });
        }
        partition
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
