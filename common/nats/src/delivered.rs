//! Messages as consumers deliver them: the stream's coordinates stand in the reply subject.

use async_nats::Message;
use everstep_common::ports;
use jiff::Timestamp;

use crate::headers;

/// What the reply subject of a delivery says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Coordinates {
    /// How often it has been delivered, this time included.
    pub(crate) deliveries: u64,
    /// Its sequence in the stream.
    pub(crate) stream_sequence: u64,
    /// Its number among the consumer's deliveries, without gaps.
    pub(crate) consumer_sequence: u64,
    /// When it was stored, in nanoseconds since 1970.
    pub(crate) time: Timestamp,
}

impl Coordinates {
    /// Reads `$JS.ACK.<stream>.<consumer>.<deliveries>.<stream seq>.<consumer seq>.<time>.<pending>`, or the longer form with
    /// domain and account in front and a random token at the end.
    pub(crate) fn of(reply: &str) -> Option<Self> {
        let mut tokens = reply.strip_prefix("$JS.ACK.")?.split('.');
        let skipped = match reply.bytes().filter(|byte| *byte == b'.').count() {
            8 => 2,
            10.. => 4,
            _ => return None,
        };
        let mut number = {
            tokens.nth(skipped - 1)?;
            move || tokens.next()?.parse::<u64>().ok()
        };
        Some(Self {
            deliveries: number()?,
            stream_sequence: number()?,
            consumer_sequence: number()?,
            time: Timestamp::from_nanosecond(i128::from(number()?)).ok()?,
        })
    }
}

/// The stored message in a delivery.
pub(crate) fn stored(message: Message, at: &Coordinates) -> ports::Message {
    ports::Message {
        headers: headers::user_headers(message.headers.as_ref()),
        subject: message.subject.into_string(),
        sequence: at.stream_sequence,
        time: at.time,
        payload: message.payload,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_the_reply_subject_are_read() {
        let time = Timestamp::from_nanosecond(1_795_259_784_668_923_629).unwrap();
        let expected = Coordinates {
            deliveries: 2,
            stream_sequence: 7,
            consumer_sequence: 5,
            time,
        };
        assert_eq!(Coordinates::of("$JS.ACK.S.C.2.7.5.1795259784668923629.4"), Some(expected));
        assert_eq!(
            Coordinates::of("$JS.ACK._.hash.S.C.2.7.5.1795259784668923629.4.rnd"),
            Some(expected)
        );
        assert_eq!(Coordinates::of("$JS.ACK.S.C.2.7.5"), None);
        assert_eq!(Coordinates::of("_INBOX.x"), None);
    }
}
