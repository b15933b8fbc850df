//! Operations on the values that the runs of a session share. They run off the partition's thread and outlive the eviction of their run,
//! like closures, which is what they are to the rest of the partition.
//!
//! ```text
//!  Command::Session ──▶ Sessions::perform ──reads──▶ record
//!                            │ writes
//!                            ▼
//!               one Writer for each value being written ──Group: many writes in one CAS──▶ record ──▶ told one by one
//! ```
//!
//! The owner of a partition so serialises the writes of one value, and as many as wait go together: the number of compare-and-sets does
//! not grow with the number of runs. Owners of other partitions are met at the record. How a write is applied once is in [`group`].

mod group;

use std::collections::BTreeMap;
use std::fmt;
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use everstep_common::failure::{Failure, FailureKind};
use everstep_common::ids::RunId;
use everstep_common::journal::LocalKind;
use everstep_common::key::StepKey;
use everstep_common::ports::ReadError;
use everstep_common::store::{Backoff, SessionError, Store};
use everstep_common::wire;
use everstep_core::{SessionChange, SessionRequest};
use futures::FutureExt;
use futures::channel::oneshot;
use futures::future::BoxFuture;

use self::group::Writer;
use super::Partition;
use super::closures::Work;
use super::drive::Origin;

/// How long the server may be away before an operation fails. Nothing else ends one that is waited for: what was applied and not told would
/// be lost.
pub(super) const AWAY_MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// How often a bucket that is missing is looked for again: about ten seconds, for a server that has just been started answers so as well.
const MISSING_TRIES_MAX: u32 = 45;

/// A value: the session's id and its name.
type Name = (String, String);

/// What an operation brings.
type Outcome = Result<Bytes, Failure>;

/// A write that waits for its turn.
pub(super) struct Write {
    run: RunId,
    step: StepKey,
    change: Change,
    told: oneshot::Sender<Outcome>,
}

/// What a write makes of a value.
pub(super) enum Change {
    Set(Bytes),
    Update(SessionChange),
    Delete,
}

/// The operations under way of one partition. A cheap handle.
#[derive(Clone)]
pub(crate) struct Sessions {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    /// Where writers run.
    runtime: tokio::runtime::Handle,
    /// The writes that wait. A value that stands here has a writer at work.
    waiting: Mutex<BTreeMap<Name, Vec<Write>>>,
}

impl Sessions {
    pub(crate) fn new(runtime: tokio::runtime::Handle, store: Store) -> Self {
        Self {
            inner: Arc::new(Inner {
                store,
                runtime,
                waiting: Mutex::default(),
            }),
        }
    }

    /// Performs an operation, for as long as it takes. May be dropped; a write may then be applied or not.
    fn perform(self, run: RunId, step: StepKey, session: String, request: SessionRequest) -> BoxFuture<'static, Outcome> {
        match request {
            SessionRequest::Get { key } => async move { self.get(&session, &key).await }.boxed(),
            SessionRequest::Keys => async move { self.keys(&session).await }.boxed(),
            SessionRequest::Set { value: Err(failure), .. } => async move { Err(failure) }.boxed(),
            SessionRequest::Set { key, value: Ok(value) } => self.write(run, step, (session, key), Change::Set(value)).boxed(),
            SessionRequest::Update { key, change } => self.write(run, step, (session, key), Change::Update(change)).boxed(),
            SessionRequest::Delete { key } => self.write(run, step, (session, key), Change::Delete).boxed(),
        }
    }

    async fn get(&self, session: &str, key: &str) -> Outcome {
        let store = &self.inner.store;
        let found = patiently(store, || store.session_value(session, key)).await?;
        // An array of one value, or of none: the value may be anything, nil included.
        let mut array = vec![0x90];
        if let Some(value) = found.record.value {
            array[0] = 0x91;
            array.extend_from_slice(&value);
        }
        Ok(array.into())
    }

    async fn keys(&self, session: &str) -> Outcome {
        let store = &self.inner.store;
        let found = patiently(store, || store.session_values(session)).await?;
        let keys: Vec<_> = found.into_iter().map(|value| value.record.key).collect();
        wire::encode_value(&keys).map_err(|error| Failure::new(FailureKind::Invalid, error.to_string()))
    }

    /// Has the value's writer apply it, and begins one if none is at work.
    async fn write(self, run: RunId, step: StepKey, name: Name, change: Change) -> Outcome {
        let (told, outcome) = oneshot::channel();
        let write = Write { run, step, change, told };
        let begin = {
            let mut waiting = self.inner.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            let is_idle = !waiting.contains_key(&name);
            waiting.entry(name.clone()).or_default().push(write);
            is_idle
        };
        if begin {
            let inner = self.inner.clone();
            drop(self.inner.runtime.spawn(inner.write_all(name)));
        }
        match outcome.await {
            Ok(outcome) => outcome,
            // The run is over, so nobody waits for this.
            Err(oneshot::Canceled) => futures::future::pending().await,
        }
    }
}

impl Inner {
    /// Applies what waits, and what comes meanwhile, until nothing does.
    async fn write_all(self: Arc<Self>, name: Name) {
        let mut writer = Writer::new(self.store.clone(), &name);
        loop {
            let writes = {
                let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
                match waiting.get_mut(&name) {
                    Some(writes) if !writes.is_empty() => mem::take(writes),
                    _ => {
                        waiting.remove(&name);
                        return;
                    }
                }
            };
            writer.apply(writes).await;
        }
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sessions")
    }
}

impl Partition {
    /// The entry stays open until the result is recorded: nothing else brings it back after a crash.
    pub(super) fn run_session(&mut self, run: RunId, key: StepKey, session: String, request: SessionRequest, origin: &Origin) {
        let (sessions, of, step) = (self.sessions.clone(), run.clone(), key.clone());
        let work = Work {
            kind: LocalKind::Session,
            closure: Box::new(move || sessions.perform(of, step, session, request)),
            timeout: Some(AWAY_MAX),
        };
        self.run_closure(run, key, work, origin);
    }
}

/// What a read brings, however long the server is away; a failure says that it is not to be had.
async fn patiently<T, F>(store: &Store, read: impl Fn() -> F) -> Result<T, Failure>
where
    F: Future<Output = Result<T, SessionError>>,
{
    let mut backoff = Backoff::new();
    let mut missing = 0;
    loop {
        let error = match read().await {
            Ok(found) => return Ok(found),
            Err(error) => error,
        };
        match &error {
            SessionError::Read { source, .. } => match source {
                ReadError::Unavailable(_) | ReadError::TooMany => {}
                ReadError::NoStream if missing < MISSING_TRIES_MAX => missing += 1,
                ReadError::NoStream => return Err(no_bucket()),
                ReadError::Rejected(_) => return Err(Failure::new(FailureKind::Fatal, error.to_string())),
            },
            SessionError::Undecodable { .. } => return Err(Failure::new(FailureKind::Invalid, error.to_string())),
        }
        tracing::debug!(%error, "session not read yet");
        store.clock().sleep(backoff.delay()).await;
    }
}

fn no_bucket() -> Failure {
    Failure::new(
        FailureKind::Fatal,
        "the bucket of sessions does not exist: `everstep provision` makes it",
    )
}
