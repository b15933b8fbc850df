//! What functions say while they run. Core messages on `live.<run>.<step>`: seen by whoever watches, stored by nobody.

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// One message of a running function, wire-encoded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Live {
    /// Which attempt says it.
    pub attempt: u32,
    /// When, by the worker's clock.
    pub at: Timestamp,
    /// What.
    pub kind: LiveKind,
}

/// What a running function says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LiveKind {
    /// How far it is: an encoded value of the function's own.
    Progress(Bytes),
    /// A line of its log.
    Log {
        /// `error`, `warn`, `info`, `debug` or `trace`.
        level: String,
        /// The line.
        message: String,
    },
}
