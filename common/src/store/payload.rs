//! Large values: chunks in the payload stream, written before the entry that names them.

use bytes::{Bytes, BytesMut};
use sha2::{Digest, Sha256};

use super::create::NO_STREAM_TRIES_MAX;
use super::{Backoff, Store};
use crate::ids::{RunId, hex};
use crate::limits::{PAYLOAD_BYTES_MAX, PAYLOAD_CHUNK_BYTES};
use crate::payload::{Payload, StoredPayload, TooLarge};
use crate::ports::{GetLast, Publish, PublishError, ReadError};

/// How often a chunk is asked of replicas, which may not have it yet, before the leader is.
const REPLICA_READS: u32 = 3;

/// How often the leader has to say that a chunk is not there: for about ten seconds, longer than a deposed one was seen to answer.
const LEADER_READS: u32 = 45;

/// Why a large value could not be stored or fetched.
///
/// ```
/// use everstep_common::payload::TooLarge;
/// use everstep_common::store::PayloadError;
///
/// let error = PayloadError::from(TooLarge { bytes: 100_000_000 });
/// assert!(matches!(error, PayloadError::TooLarge(_)));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PayloadError {
    /// Over 64 MiB.
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
    /// A chunk could not be written.
    #[error("storing a value of run {run}: {source}")]
    Store {
        /// The run.
        run: RunId,
        /// Why.
        source: PublishError,
    },
    /// A chunk is missing, or could not be read.
    #[error("fetching value {digest} of run {run}: {reason}")]
    Fetch {
        /// The run.
        run: RunId,
        /// Its digest.
        digest: String,
        /// Why.
        reason: String,
    },
}

impl Store {
    /// The value as it may stand in an entry or task of `run`; a large one is stored first, however long the server is away. `owner` is a
    /// subject token: the step's key, `start` or `end`.
    pub async fn put_payload(&self, run: &RunId, owner: &str, value: Bytes) -> Result<Payload, PayloadError> {
        let value = match Payload::inline(value) {
            Ok(payload) => return Ok(payload),
            Err(value) if value.len() > PAYLOAD_BYTES_MAX => return Err(TooLarge { bytes: value.len() }.into()),
            Err(value) => value,
        };
        self.put_stored(run, owner, value).await
    }

    /// The same for a value that is to stand in the payload stream whatever its size.
    pub(super) async fn put_stored(&self, run: &RunId, owner: &str, value: Bytes) -> Result<Payload, PayloadError> {
        let digest = hex(&Sha256::digest(&value));
        for (number, start) in (0..value.len()).step_by(PAYLOAD_CHUNK_BYTES).enumerate() {
            let chunk = value.slice(start..value.len().min(start + PAYLOAD_CHUNK_BYTES));
            let subject = self.names().payload(run, owner, &digest, number);
            self.put_chunk(subject, chunk).await.map_err(|source| PayloadError::Store {
                run: run.clone(),
                source,
            })?;
        }
        Ok(Payload::Stored(StoredPayload {
            owner: owner.to_owned(),
            digest,
            bytes: value.len() as u64,
        }))
    }

    /// The subject holds the digest, so whatever is stored there is the same chunk.
    async fn put_chunk(&self, subject: String, chunk: Bytes) -> Result<(), PublishError> {
        let stream = self.names().payload_stream();
        let mut backoff = Backoff::new();
        let mut missing = 0;
        loop {
            let publish = Publish::new(subject.clone(), chunk.clone()).create_only();
            match self.publish(&stream, publish).await {
                Ok(_) | Err(PublishError::Refused) => return Ok(()),
                Err(error @ (PublishError::TooLarge | PublishError::Rejected(_))) => return Err(error),
                Err(error @ PublishError::NoStream) if missing >= NO_STREAM_TRIES_MAX && self.is_gone(&stream).await => {
                    return Err(error);
                }
                Err(PublishError::NoStream) => missing += 1,
                // An outage is no reason for a failure that is then recorded for ever.
                Err(PublishError::Full) => self.tell_full(&stream),
                Err(PublishError::Unknown(_)) => {}
            }
            self.clock().sleep(backoff.delay()).await;
        }
    }

    /// The value itself, however long the server is away; an error says that it is not to be had.
    pub async fn get_payload(&self, run: &RunId, payload: &Payload) -> Result<Bytes, PayloadError> {
        let stored = match payload {
            Payload::Inline(value) => return Ok(value.clone()),
            Payload::Stored(stored) => stored,
        };
        let failed = |reason: String| PayloadError::Fetch {
            run: run.clone(),
            digest: stored.digest.clone(),
            reason,
        };
        if stored.bytes > PAYLOAD_BYTES_MAX as u64 {
            return Err(failed("its entry claims more than the limit of 64 MiB".into()));
        }
        let mut value = BytesMut::with_capacity(usize::try_from(stored.bytes).unwrap_or(0));
        for number in 0..stored.chunks() {
            let subject = self.names().payload(run, &stored.owner, &stored.digest, number);
            value.extend_from_slice(&self.get_chunk(subject).await.map_err(|error| failed(error.to_string()))?);
        }
        if hex(&Sha256::digest(&value)) != stored.digest {
            return Err(failed("what is stored has another digest".into()));
        }
        Ok(value.freeze())
    }

    async fn get_chunk(&self, subject: String) -> Result<Bytes, ReadError> {
        let stream = self.names().payload_stream();
        let mut backoff = Backoff::new();
        let (mut reads, mut missing) = (0, 0);
        loop {
            // A replica may not have it yet; the leader has it unless it is gone, or the leader is none any more.
            let leader = reads >= REPLICA_READS;
            let request = GetLast {
                stream: stream.clone(),
                subjects: vec![subject.clone()],
                up_to: None,
                leader,
            };
            match self.broker().get_last(request).await {
                Ok(snapshot) => match snapshot.messages.into_iter().next() {
                    Some(message) => return Ok(message.payload),
                    None if reads >= REPLICA_READS + LEADER_READS => {
                        return Err(ReadError::Rejected("a chunk is not there".into()));
                    }
                    None => reads += 1,
                },
                Err(error @ ReadError::Rejected(_)) => return Err(error),
                // A server that has just been started answers so as well.
                Err(error @ ReadError::NoStream) if missing >= NO_STREAM_TRIES_MAX && self.is_gone(&stream).await => {
                    return Err(error);
                }
                Err(ReadError::NoStream) => missing += 1,
                Err(ReadError::Unavailable(_) | ReadError::TooMany) => {}
            }
            self.clock().sleep(backoff.delay()).await;
        }
    }
}
