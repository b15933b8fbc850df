//! Values as they stand in entries and tasks: whole, or by reference if they are large.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::limits::{PAYLOAD_BYTES_MAX, PAYLOAD_CHUNK_BYTES, PAYLOAD_INLINE_BYTES_MAX};

/// An encoded user value ([`crate::wire::encode_value`]), or where it is.
///
/// ```
/// use bytes::Bytes;
/// use everstep_common::payload::Payload;
///
/// let small = Payload::inline(Bytes::from_static(b"\x07")).unwrap();
/// assert_eq!(small.len(), 1);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Payload {
    /// The value itself, at most 256 KiB.
    Inline(Bytes),
    /// A larger value, in chunks in the payload stream.
    Stored(StoredPayload),
}

/// Names a value in the payload stream: chunks `payload.<run>.<owner>.<digest>.<n>`, n from 0.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredPayload {
    /// The step (or `start`, `end`) that the value belongs to, as a subject token.
    pub owner: String,
    /// SHA-256 of the whole value, hex.
    pub digest: String,
    /// The length of the whole value in bytes.
    pub bytes: u64,
}

impl StoredPayload {
    /// How many chunks there are.
    pub fn chunks(&self) -> usize {
        usize::try_from(self.bytes)
            .unwrap_or(usize::MAX)
            .div_ceil(PAYLOAD_CHUNK_BYTES)
    }
}

/// A value over 64 MiB.
///
/// ```
/// use everstep_common::payload::TooLarge;
///
/// let error = TooLarge { bytes: 100_000_000 };
/// assert!(error.to_string().ends_with("put it into a store of your own and pass its name"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a value of {bytes} bytes is over the limit of {PAYLOAD_BYTES_MAX}; put it into a store of your own and pass its name")]
pub struct TooLarge {
    /// Its size.
    pub bytes: usize,
}

impl Payload {
    /// The value itself, if it is small enough to stand in an entry.
    pub fn inline(value: Bytes) -> Result<Self, Bytes> {
        if value.len() <= PAYLOAD_INLINE_BYTES_MAX {
            Ok(Self::Inline(value))
        } else {
            Err(value)
        }
    }

    /// The nothing that `()` encodes to.
    pub fn unit() -> Self {
        Self::Inline(Bytes::from_static(&[0xc0]))
    }

    /// The size of the value in bytes.
    pub fn len(&self) -> u64 {
        match self {
            Self::Inline(value) => value.len() as u64,
            Self::Stored(stored) => stored.bytes,
        }
    }

    /// Whether the value has no bytes at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
