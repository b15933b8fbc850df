//! What becomes of a publish when it is stored: the headers that readers see, and the bytes it counts for.
//!
//! The server keeps house in headers that begin with `Nats-` (conditions, schedules, batches). They count, they are republished,
//! and the ports hide them from readers, who see the writer's own headers, sorted by name.

use everstep_common::ports::{Expect, Headers, Publish};
use everstep_common::topology::Storage;

/// What every header of the server's own begins with.
const SERVER_PREFIX: &str = "Nats-";

/// The one of them that is the sender's own word, and so is shown.
const MESSAGE_ID: &str = "Nats-Msg-Id";

/// The headers that a reader sees.
pub(super) fn visible_headers(headers: &Headers) -> Headers {
    let mut visible: Vec<_> = headers
        .0
        .iter()
        .filter(|(name, _)| !name.starts_with(SERVER_PREFIX) || name == MESSAGE_ID)
        .cloned()
        .collect();
    visible.sort_by(|(one, _), (other, _)| one.cmp(other));
    Headers(visible)
}

/// All headers of a publish as they stand on the wire.
pub(crate) fn wire_headers(message: &Publish) -> Headers {
    let mut headers = Headers::new();
    match &message.expect {
        None => {}
        Some(Expect::LastSequence(sequence)) => headers = headers.with("Nats-Expected-Last-Subject-Sequence", sequence.to_string()),
        Some(Expect::LastSequenceOf { filter, sequence }) => {
            headers = headers
                .with("Nats-Expected-Last-Subject-Sequence", sequence.to_string())
                .with("Nats-Expected-Last-Subject-Sequence-Subject", filter);
        }
    }
    if let Some(schedule) = &message.schedule {
        headers = headers
            .with("Nats-Schedule", format!("@at {}", schedule.at))
            .with("Nats-Schedule-Target", &schedule.target);
    }
    headers.0.extend(message.headers.0.iter().cloned());
    headers
}

/// The bytes that a stored publish counts for; file and memory stores differ in their overhead.
pub(super) fn stored_size(message: &Publish, storage: Storage) -> u64 {
    let headers = headers_size(&wire_headers(message));
    let overhead = match (storage, headers) {
        (Storage::Memory, _) => 16,
        (Storage::File, 0) => 30,
        (Storage::File, _) => 34,
    };
    (message.subject.len() + headers + message.payload.len() + overhead) as u64
}

/// The bytes of a header block on the wire.
pub(super) fn headers_size(headers: &Headers) -> usize {
    if headers.is_empty() {
        return 0;
    }
    let lines: usize = headers.0.iter().map(|(name, value)| name.len() + value.len() + 4).sum();
    "NATS/1.0\r\n\r\n".len() + lines
}
