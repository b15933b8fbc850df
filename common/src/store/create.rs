//! Creating an entry, once, and knowing afterwards whose it is.
//!
//! A publish that timed out may be stored, and a refusal may be our own earlier write. Both are resolved by reading the key back
//! and comparing the nonce, one per create.

use std::sync::atomic::{AtomicU64, Ordering};

use futures::FutureExt;
use futures::future::BoxFuture;
use uuid::Uuid;

use super::{Backoff, Store};
use crate::ids::RunId;
use crate::journal::{Entry, EntryKey};
use crate::ports::{Expect, GetLast, Message, Publish, PublishError, ReadError, header};
use crate::wire;

/// How often a missing stream is tried again: about ten seconds, for a server that has just been started answers so as well.
pub(super) const NO_STREAM_TRIES_MAX: u32 = 45;

/// How often an answered contradiction (refused, yet absent) is read from replicas before the leader is asked.
const REPLICA_READS: u32 = 2;

/// A create that ended: the key holds an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Created {
    /// It is the one we wrote.
    Ours {
        /// Its sequence.
        sequence: u64,
    },
    /// Somebody else's was there first; ours is not stored.
    Theirs(Box<Message>),
}

/// Why a create came to nothing. The entry is not stored unless said otherwise.
///
/// ```
/// use everstep_common::store::CreateError;
///
/// /// What an operator can do about it.
/// fn hint(error: &CreateError) -> Option<&'static str> {
///     match error {
///         CreateError::NoStream { .. } => Some("run `everstep provision`"),
///         CreateError::Gone { .. } => Some("the run was purged: start another"),
///         _ => None,
///     }
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CreateError {
    /// The value cannot be expressed.
    #[error("creating {key} of run {run}")]
    Encode {
        /// The run.
        run: RunId,
        /// The entry.
        key: EntryKey,
        /// What is wrong with it.
        source: wire::Error,
    },
    /// The run was purged; only its tombstone is left.
    #[error("creating {key} of run {run}: the run is gone (finished and purged)")]
    Gone {
        /// The run.
        run: RunId,
        /// The entry.
        key: EntryKey,
    },
    /// The journal's stream does not exist.
    #[error(
        "creating {key} of run {run}: its journal stream does not exist; `everstep provision` makes it, a backup brings back what it held"
    )]
    NoStream {
        /// The run.
        run: RunId,
        /// The entry.
        key: EntryKey,
    },
    /// The server refuses for good.
    #[error("creating {key} of run {run}: {source}")]
    Rejected {
        /// The run.
        run: RunId,
        /// The entry.
        key: EntryKey,
        /// What the server says.
        source: PublishError,
    },
}

/// A create under way. It is sent when this is made, and may be stored even if it is dropped.
pub type Create = BoxFuture<'static, Result<Created, CreateError>>;

/// Makes nonces: one per create.
#[derive(Debug)]
pub(super) struct Nonces {
    process: u64,
    next: AtomicU64,
}

impl Nonces {
    pub(super) fn new() -> Self {
        let (process, _) = Uuid::new_v4().as_u64_pair();
        Self {
            process,
            next: AtomicU64::new(0),
        }
    }

    pub(super) fn next(&self) -> String {
        format!("{:016x}{:x}", self.process, self.next.fetch_add(1, Ordering::Relaxed))
    }
}

impl Store {
    /// Creates an entry under its key. It is sent at once; the future resolves when the key is known to hold an entry, however long
    /// the server is away.
    pub fn create(&self, run: &RunId, key: EntryKey, entry: &Entry) -> Create {
        let payload = match entry.encode() {
            Ok(payload) => payload,
            Err(source) => {
                let error = CreateError::Encode {
                    run: run.clone(),
                    key,
                    source,
                };
                return futures::future::ready(Err(error)).boxed();
            }
        };
        let expect = match key {
            EntryKey::Start => Expect::LastSequenceOf {
                filter: self.names().run_filter(run),
                sequence: 0,
            },
            _ => Expect::LastSequence(0),
        };
        let nonce = self.inner.nonces.next();
        let subject = self.names().entry(run, &key);
        let publish = Publish::new(subject, payload)
            .expecting(expect)
            .with_header(header::NONCE, nonce);
        let stream = self.names().journal_stream(run.partition());
        let first = self.publish(&stream, publish.clone());
        let creation = Creation {
            store: self.clone(),
            run: run.clone(),
            key,
            stream,
            publish,
        };
        async move {
            match first.await {
                Ok(stored) => Ok(Created::Ours {
                    sequence: stored.sequence,
                }),
                // Boxed: what is hardly ever needed must not make every create large.
                Err(error) => Box::pin(creation.resolve(error)).await,
            }
        }
        .boxed()
    }

    /// Whether there is no such stream, as who asks for it by name is told. A stream without a leader is not gone: it does not answer.
    pub(super) async fn is_gone(&self, stream: &str) -> bool {
        matches!(self.inner.broker.stream_info(stream).await, Ok(None))
    }
}

struct Creation {
    store: Store,
    run: RunId,
    key: EntryKey,
    stream: String,
    publish: Publish,
}

impl Creation {
    async fn resolve(self, mut error: PublishError) -> Result<Created, CreateError> {
        let mut backoff = Backoff::new();
        let mut missing = 0;
        let mut reads = 0;
        loop {
            match error {
                PublishError::Refused | PublishError::Unknown(_) => {
                    reads += 1;
                    let leader = reads > REPLICA_READS;
                    if let Some(created) = self.read_back(leader).await? {
                        return Ok(created);
                    }
                    if leader && self.key == EntryKey::Start && error == PublishError::Refused {
                        self.must_be_startable().await?;
                    }
                }
                // Nobody answers for a stream without a leader either: only what is not there at all is gone.
                PublishError::NoStream if missing >= NO_STREAM_TRIES_MAX && self.store.is_gone(&self.stream).await => {
                    return Err(CreateError::NoStream {
                        run: self.run,
                        key: self.key,
                    });
                }
                PublishError::NoStream => missing += 1,
                PublishError::Full => self.store.tell_full(&self.stream),
                PublishError::TooLarge | PublishError::Rejected(_) => {
                    return Err(CreateError::Rejected {
                        run: self.run,
                        key: self.key,
                        source: error,
                    });
                }
            }
            self.store.clock().sleep(backoff.delay()).await;
            match self.store.inner.broker.publish(self.publish.clone()).await {
                Ok(stored) => {
                    return Ok(Created::Ours {
                        sequence: stored.sequence,
                    });
                }
                Err(again) => error = again,
            }
        }
    }

    /// A run that holds something, but neither a start nor a tombstone, refuses every start. One answer says both, so that a start
    /// which has come meanwhile is not overlooked.
    async fn must_be_startable(&self) -> Result<(), CreateError> {
        let names = self.store.names();
        let request = GetLast {
            stream: self.stream.clone(),
            subjects: vec![names.run_filter(&self.run)],
            up_to: None,
            leader: true,
        };
        let Ok(snapshot) = self.store.inner.broker.get_last(request).await else {
            return Ok(());
        };
        let startable = [EntryKey::Start, EntryKey::Gone].map(|key| names.entry(&self.run, &key));
        let Some(first) = snapshot.messages.first() else {
            return Ok(());
        };
        if snapshot.messages.iter().any(|message| startable.contains(&message.subject)) {
            return Ok(());
        }
        Err(CreateError::Rejected {
            run: self.run.clone(),
            key: self.key.clone(),
            source: PublishError::Rejected(format!(
                "the run was never started and yet holds {}, which is left from a start that was lost; take another start key, or purge {}",
                first.subject,
                names.run_filter(&self.run)
            )),
        })
    }

    /// What the key holds, as far as a read can tell; `None`: nothing seen, which proves nothing.
    async fn read_back(&self, leader: bool) -> Result<Option<Created>, CreateError> {
        let mut subjects = vec![self.publish.subject.clone()];
        if self.key == EntryKey::Start {
            subjects.push(self.store.names().entry(&self.run, &EntryKey::Gone));
        }
        let request = GetLast {
            stream: self.stream.clone(),
            subjects,
            up_to: None,
            leader,
        };
        let messages = match self.store.inner.broker.get_last(request).await {
            Ok(snapshot) => snapshot.messages,
            Err(ReadError::Rejected(reason)) => {
                let source = PublishError::Rejected(format!("reading it back: {reason}"));
                return Err(CreateError::Rejected {
                    run: self.run.clone(),
                    key: self.key.clone(),
                    source,
                });
            }
            Err(ReadError::NoStream | ReadError::Unavailable(_) | ReadError::TooMany) => return Ok(None),
        };
        let Some(message) = messages.into_iter().next() else {
            return Ok(None);
        };
        if message.subject != self.publish.subject {
            return Err(CreateError::Gone {
                run: self.run.clone(),
                key: self.key.clone(),
            });
        }
        let ours = message.headers.get(header::NONCE) == self.publish.headers.get(header::NONCE);
        Ok(Some(if ours {
            Created::Ours {
                sequence: message.sequence,
            }
        } else {
            Created::Theirs(Box::new(message))
        }))
    }
}
