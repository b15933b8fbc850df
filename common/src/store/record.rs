//! Small records under compare-and-set: leases, cursors, summaries.

use bytes::Bytes;
use jiff::Timestamp;

use super::Store;
use crate::ports::{Expect, GetLast, Publish, PublishError, ReadError, header};

/// A record as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its revision, which the next write names.
    pub revision: u64,
    /// When it was written, by the server's clock.
    pub time: Timestamp,
    /// What it holds.
    pub value: Bytes,
}

/// Why a record was not written.
///
/// ```
/// use everstep_common::store::PutError;
///
/// /// Whether to read it again and say the same of what it is now.
/// fn lost_a_race(error: &PutError) -> bool {
///     matches!(error, PutError::Conflict)
/// }
/// assert!(!lost_a_race(&PutError::NoBucket));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PutError {
    /// Somebody else wrote it since: before ours, which is then not stored, or over ours before its acknowledgement came.
    #[error("the record was changed by somebody else")]
    Conflict,
    /// It may be written or not, and could not be read back.
    #[error("not acknowledged: {0}")]
    Unknown(String),
    /// The bucket does not exist.
    #[error("the bucket does not exist; `everstep provision` makes it")]
    NoBucket,
    /// The server refuses for good.
    #[error("rejected: {0}")]
    Rejected(String),
}

impl Store {
    /// Reads a record of a KV bucket, from the leader.
    pub async fn get_record(&self, bucket: &str, key: &str) -> Result<Option<Record>, ReadError> {
        let stream = self.names().bucket_stream(bucket);
        let subjects = vec![self.names().bucket_key(bucket, key)];
        let snapshot = self
            .broker()
            .get_last(GetLast {
                stream,
                subjects,
                up_to: None,
                leader: true,
            })
            .await?;
        let message = snapshot.messages.into_iter().next();
        Ok(message.map(|message| Record {
            revision: message.sequence,
            time: message.time,
            value: message.payload,
        }))
    }

    /// Writes a record if its revision is still `expected` (0: it does not exist); its new revision.
    ///
    /// A refusal or a lost acknowledgement is read back first: it may be our own write.
    pub async fn put_record(&self, bucket: &str, key: &str, value: Bytes, expected: u64) -> Result<u64, PutError> {
        let nonce = self.inner.nonces.next();
        let stream = self.names().bucket_stream(bucket);
        let subject = self.names().bucket_key(bucket, key);
        let publish = Publish::new(subject.clone(), value)
            .expecting(Expect::LastSequence(expected))
            .with_header(header::NONCE, nonce.clone());
        let refused = match self.publish(&stream, publish).await {
            Ok(stored) => return Ok(stored.sequence),
            Err(PublishError::Refused) => true,
            Err(PublishError::NoStream) => return Err(PutError::NoBucket),
            // There will be room again.
            Err(error @ PublishError::Full) => {
                self.tell_full(&stream);
                return Err(PutError::Unknown(error.to_string()));
            }
            Err(PublishError::Unknown(_)) => false,
            Err(error) => return Err(PutError::Rejected(error.to_string())),
        };
        let request = GetLast {
            stream,
            subjects: vec![subject],
            up_to: None,
            leader: true,
        };
        let found = self
            .broker()
            .get_last(request)
            .await
            .map_err(|error| PutError::Unknown(error.to_string()))?;
        match found.messages.into_iter().next() {
            Some(message) if message.headers.get(header::NONCE) == Some(&nonce) => Ok(message.sequence),
            // An older one than we know of is the answer of a leader that was deposed.
            Some(message) if message.sequence > expected => Err(PutError::Conflict),
            _ if refused => Err(PutError::Conflict),
            _ => Err(PutError::Unknown("the write was not acknowledged and is not there".into())),
        }
    }
}
