//! What the server's error codes mean.
//!
//! One table, since the codes are many and their HTTP-like classes mislead: 10077 says "503" and is final, 10008 says the same
//! and passes. The codes are those of nats-server's `errors.json`.

use everstep_common::ports::{PublishError, ReadError, TopologyError};
use serde::Deserialize;

pub(crate) const CONSUMER_NOT_FOUND: u64 = 10_014;
pub(crate) const NO_MESSAGE_FOUND: u64 = 10_037;
pub(crate) const STREAM_NOT_FOUND: u64 = 10_059;

/// The error in an answer of the JetStream API.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct ApiError {
    #[serde(default)]
    pub(crate) code: u16,
    #[serde(default)]
    pub(crate) err_code: u64,
    #[serde(default)]
    pub(crate) description: String,
}

impl std::fmt::Display for ApiError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} ({})", self.description, self.err_code)
    }
}

/// Why a publish was refused.
pub(crate) fn of_publish(error: ApiError) -> PublishError {
    match error.err_code {
        // Wrong last sequence; on several nodes also "another write to this subject is on its way".
        10_071 | 10_164 => PublishError::Refused,
        // One code for all that the store may object to, told apart by its text alone.
        10_077 => of_store(error),
        // Insufficient resources, memory, storage, account or stream limits.
        10_002 | 10_023 | 10_028 | 10_047 | 10_122 => PublishError::Full,
        10_054 => PublishError::TooLarge,
        // An unfinished batch, too many open ones, too many requests: nothing is stored, and the same may pass later.
        10_167 | 10_176 | 10_210 => PublishError::Unknown(error.to_string()),
        _ if is_transient(&error) => PublishError::Unknown(error.to_string()),
        _ => PublishError::Rejected(error.to_string()),
    }
}

fn of_store(error: ApiError) -> PublishError {
    match error.description.as_str() {
        "maximum messages per subject exceeded" => PublishError::Refused,
        "maximum messages exceeded" | "maximum bytes exceeded" => PublishError::Full,
        _ => PublishError::Unknown(error.to_string()),
    }
}

/// Why a read was refused.
pub(crate) fn of_read(error: ApiError) -> ReadError {
    match error.err_code {
        STREAM_NOT_FOUND => ReadError::NoStream,
        _ if is_transient(&error) => ReadError::Unavailable(error.to_string()),
        _ => ReadError::Rejected(error.to_string()),
    }
}

/// Why provisioning `name` was refused.
pub(crate) fn of_topology(name: &str, error: ApiError) -> TopologyError {
    let (name, reason) = (name.to_owned(), error.to_string());
    if is_transient(&error) {
        TopologyError::Unavailable { name, reason }
    } else {
        TopologyError::Rejected { name, reason }
    }
}

/// Whether the same request may succeed a moment later: the server is starting, electing, or short of something for a while.
pub(crate) fn is_transient(error: &ApiError) -> bool {
    // JetStream not enabled, for the account or at all: a 503 that stays.
    let stays = matches!(error.err_code, 10_039 | 10_076);
    // "error creating store for stream": a large stream of the same name is still being deleted.
    let store_busy = error.err_code == 10_049;
    // "no suitable peers for placement": there are enough nodes, and the leader has not heard of one for a moment.
    let peer_away = error.err_code == 10_005 && error.description.contains("offline");
    store_busy || peer_away || (matches!(error.code, 408 | 429 | 503) && !stays)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: u16, err_code: u64, description: &str) -> PublishError {
        of_publish(ApiError {
            code,
            err_code,
            description: description.to_owned(),
        })
    }

    #[test]
    fn publish_refusals_are_told_apart_by_code_and_not_by_class() {
        assert_eq!(refused(400, 10_071, "wrong last sequence: 3"), PublishError::Refused);
        assert_eq!(refused(400, 10_164, "wrong last sequence"), PublishError::Refused);
        assert_eq!(
            refused(503, 10_077, "maximum messages per subject exceeded"),
            PublishError::Refused
        );
        assert_eq!(refused(503, 10_077, "maximum bytes exceeded"), PublishError::Full);
        assert_eq!(
            refused(500, 10_047, "insufficient storage resources available"),
            PublishError::Full
        );
        assert!(matches!(
            refused(503, 10_008, "JetStream system temporarily unavailable"),
            PublishError::Unknown(_)
        ));
        assert!(matches!(
            refused(503, 10_039, "JetStream not enabled for account"),
            PublishError::Rejected(_)
        ));
        assert!(matches!(
            refused(400, 10_060, "expected stream does not match"),
            PublishError::Rejected(_)
        ));
    }
}
