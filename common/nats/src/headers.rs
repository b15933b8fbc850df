//! Headers between the ports and the wire.
//!
//! The server and this crate keep house in headers that begin with `Nats-` (expectations, batch numbers, stream coordinates).
//! They depend on how a message was written and how it is read, so a stored message is shown without them: what a reader sees
//! is what the writer put into [`Publish::headers`](everstep_common::ports::Publish), whichever way it is read.

use async_nats::{HeaderMap, HeaderName, HeaderValue};
use everstep_common::ports::{Headers, header};

/// Headers that async-nats has no constant for.
pub(crate) const EXPECTED_LAST_SUBJECT_SEQUENCE_SUBJECT: HeaderName =
    HeaderName::from_static("Nats-Expected-Last-Subject-Sequence-Subject");
/// How many more messages match, in an answer to a batched direct get.
pub(crate) const NUM_PENDING: HeaderName = HeaderName::from_static("Nats-Num-Pending");
/// The delivery that a heartbeat stands behind.
pub(crate) const LAST_CONSUMER: HeaderName = HeaderName::from_static("Nats-Last-Consumer");
/// Where to answer that we keep up, in the heartbeat of a consumer that waits for it.
pub(crate) const CONSUMER_STALLED: HeaderName = HeaderName::from_static("Nats-Consumer-Stalled");
/// How much of a pull request was left when it ended.
pub(crate) const PENDING_MESSAGES: HeaderName = HeaderName::from_static("Nats-Pending-Messages");
/// The sequence that such an answer speaks of.
pub(crate) const UP_TO_SEQUENCE: HeaderName = HeaderName::from_static("Nats-UpTo-Sequence");

/// What every header of the server's own begins with.
const SERVER_PREFIX: &str = "Nats-";

/// Whether a stored message is shown with this header: the sender's own ones and, of those that begin like the server's, the id that he
/// gave the message.
fn is_shown(name: &str) -> bool {
    !name.starts_with(SERVER_PREFIX) || name == everstep_common::event::MESSAGE_ID
}

/// A header that cannot be sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("header {0:?} has a name or value that NATS cannot carry")]
pub(crate) struct BadHeader(String);

/// Adds the caller's headers to `map`.
pub(crate) fn add_user_headers(map: &mut HeaderMap, headers: &Headers) -> Result<(), BadHeader> {
    for (name, value) in &headers.0 {
        let bad = || BadHeader(name.clone());
        map.append(
            header_name(name).ok_or_else(bad)?,
            value.parse::<HeaderValue>().map_err(|_| bad())?,
        );
    }
    Ok(())
}

/// A header value, if NATS can carry it.
pub(crate) fn value(text: &str) -> Result<HeaderValue, BadHeader> {
    text.parse().map_err(|_| BadHeader(text.to_owned()))
}

/// The headers of a stored message, without the server's own.
/// async-nats forgets the order between different names, so they come sorted by name: the same in every read.
pub(crate) fn user_headers(map: Option<&HeaderMap>) -> Headers {
    from_map(map, is_shown)
}

/// All headers of a core message.
pub(crate) fn all_headers(map: Option<&HeaderMap>) -> Headers {
    from_map(map, |_| true)
}

/// The headers of a stored message as `STREAM.MSG.GET` gives them: the raw block that stands before the body on the wire.
pub(crate) fn user_headers_of_block(block: &str) -> Headers {
    let pairs = block.lines().skip(1).filter_map(|line| line.split_once(':'));
    let pairs = pairs.filter(|(name, _)| is_shown(name));
    let mut headers: Vec<_> = pairs
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect();
    headers.sort_by(|(one, _), (other, _)| one.cmp(other));
    Headers(headers)
}

/// The two names on the hot path without copying them or checking their letters.
fn header_name(name: &str) -> Option<HeaderName> {
    match name {
        header::NONCE => Some(const { HeaderName::from_static(header::NONCE) }),
        header::TRACEPARENT => Some(const { HeaderName::from_static(header::TRACEPARENT) }),
        other => other.parse().ok(),
    }
}

fn from_map(map: Option<&HeaderMap>, wanted: impl Fn(&str) -> bool) -> Headers {
    let Some(map) = map else { return Headers::new() };
    let mut headers = Vec::new();
    for (name, values) in map.iter().filter(|(name, _)| wanted(name.as_ref())) {
        let name: &str = name.as_ref();
        headers.extend(values.iter().map(|value| (name.to_owned(), value.as_str().to_owned())));
    }
    headers.sort_by(|(one, _): &(String, String), (other, _)| one.cmp(other));
    Headers(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_headers_are_hidden_and_the_rest_sorted_in_both_forms() {
        let block = "NATS/1.0\r\nZ: 1\r\nNats-Expected-Last-Subject-Sequence: 0\r\nA: two words\r\nA: 3\r\n\r\n";
        let mut map = HeaderMap::new();
        map.append("Z", "1");
        map.append("Nats-Expected-Last-Subject-Sequence", "0");
        map.append("A", "two words");
        map.append("A", "3");
        let expected = Headers::new().with("A", "two words").with("A", "3").with("Z", "1");
        assert_eq!(user_headers(Some(&map)), expected);
        assert_eq!(user_headers_of_block(block), expected);
    }

    #[test]
    fn a_header_that_would_break_the_protocol_is_refused() {
        let mut map = HeaderMap::new();
        assert!(add_user_headers(&mut map, &Headers::new().with("A", "x\r\nB: y")).is_err());
        assert!(add_user_headers(&mut map, &Headers::new().with("A b:", "x")).is_err());
    }
}
