//! Up to where events are taken up, and whether their stream is still the one of which that was said.
//!
//! A stream that was rolled back has other events where those were that had been taken up, perhaps more of them. So the cursor knows the
//! last one by its time, too; what was stored after that time is new, wherever it stands.

use everstep_common::ports::ReadError;
use everstep_common::ports::{Followed, From, GetLast, Message, StreamInfo};
use everstep_common::store::{LEASES, Store, TriggerError};
use everstep_common::wire;
use futures::StreamExt;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::router::Stop;

/// The key of the cursor in KV `leases`.
const CURSOR_KEY: &str = "events";

/// What comes after a time is stored so much later, or more.
const NEXT: SignedDuration = SignedDuration::from_nanos(1);

/// Up to where events are taken up, on record.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Cursor {
    /// The last event that is.
    sequence: u64,
    /// When its stream was created: another stream begins anew.
    created: Option<Timestamp>,
    /// How often somebody began to route: a write of its own, by which the server's time is learnt.
    takeovers: u64,
    /// How the last event is known again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last: Option<Last>,
}

/// How an event is known again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Last {
    subject: String,
    time: Timestamp,
}

/// The cursor as whoever routes holds it.
#[derive(Debug)]
pub(super) struct Progress {
    cursor: Cursor,
    /// Its revision.
    revision: u64,
}

/// Where a stream that is not what it was is to be read anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Anew {
    /// From behind this sequence.
    after: u64,
    /// A trigger that began to listen later than here listens from here.
    since: u64,
}

impl Progress {
    /// Takes the cursor over, in the stream as it stands; also the server's time.
    pub(super) async fn take_over(store: &Store, info: &StreamInfo) -> Result<(Self, Timestamp), Stop> {
        let found = store.get_record(LEASES, CURSOR_KEY).await.map_err(Stop::Cursor)?;
        let revision = found.as_ref().map_or(0, |record| record.revision);
        let mut cursor: Cursor = match found {
            Some(record) => wire::decode(&record.value).map_err(Stop::Undecodable)?,
            None => Cursor::default(),
        };
        if let Some(anew) = cursor.anew(store, info).await? {
            if cursor.created.is_some() {
                tracing::warn!(
                    from = anew.after + 1,
                    was = cursor.sequence,
                    last = info.last_sequence,
                    "the stream of events was replaced or rolled back: it is read anew"
                );
            }
            cursor.sequence = anew.after;
            cursor.last = None;
            cursor.created = Some(info.created);
            listen_again(store, anew.since).await?;
        }
        if info.first_sequence > cursor.sequence + 1 && cursor.sequence > 0 {
            tracing::warn!(
                from = cursor.sequence + 1,
                to = info.first_sequence - 1,
                "events were dropped for their age before anyone looked at them"
            );
        }
        cursor.takeovers += 1;
        let mut progress = Self { cursor, revision };
        progress.write(store).await?;
        let written = store.get_record(LEASES, CURSOR_KEY).await.map_err(Stop::Cursor)?;
        let time = written.map_or(info.created, |record| record.time);
        Ok((progress, time))
    }

    /// The last event that is taken up.
    pub(super) fn sequence(&self) -> u64 {
        self.cursor.sequence
    }

    /// Everything up to this event is taken up, for good.
    pub(super) async fn pass(&mut self, store: &Store, event: &Message) -> Result<(), Stop> {
        self.cursor.sequence = event.sequence;
        self.cursor.last = Some(Last {
            subject: event.subject.clone(),
            time: event.time,
        });
        self.write(store).await
    }

    async fn write(&mut self, store: &Store) -> Result<(), Stop> {
        let value = wire::encode(&self.cursor).map_err(Stop::Undecodable)?;
        let written = store.put_record(LEASES, CURSOR_KEY, value, self.revision).await;
        self.revision = written.map_err(Stop::CursorWrite)?;
        Ok(())
    }
}

impl Cursor {
    /// Where the stream is to be read anew, if it is not the one that was read.
    async fn anew(&self, store: &Store, info: &StreamInfo) -> Result<Option<Anew>, Stop> {
        if self.created != Some(info.created) {
            return Ok(Some(Anew {
                after: 0,
                since: info.last_sequence,
            }));
        }
        if self.stands(store, info).await? {
            return Ok(None);
        }
        let after = match &self.last {
            Some(last) => before_what_follows(store, last.time, info).await?,
            None => self.sequence.min(info.last_sequence),
        };
        Ok(Some(Anew { after, since: after }))
    }

    /// Whether the last event stands where it stood, as far as can be told.
    async fn stands(&self, store: &Store, info: &StreamInfo) -> Result<bool, Stop> {
        if self.sequence > info.last_sequence {
            return Ok(false);
        }
        let Some(last) = self.last.as_ref().filter(|_| self.sequence >= info.first_sequence) else {
            return Ok(true);
        };
        let request = GetLast {
            stream: store.names().event_stream(),
            subjects: vec![last.subject.clone()],
            up_to: Some(self.sequence),
            leader: false,
        };
        let found = store.broker().get_last(request).await.map_err(Stop::Cursor)?;
        let is_it = |message: &Message| (message.sequence, message.time) == (self.sequence, last.time);
        Ok(found.messages.iter().any(is_it))
    }
}

/// The sequence before the first event that was stored after that time.
async fn before_what_follows(store: &Store, time: Timestamp, info: &StreamInfo) -> Result<u64, Stop> {
    let (stream, filter) = (store.names().event_stream(), store.names().event_filter());
    let from = From::Time(time.checked_add(NEXT).unwrap_or(time));
    match store.broker().follow(&stream, &filter, from).next().await {
        Some(Followed::Message(message)) => Ok(message.sequence - 1),
        Some(Followed::CaughtUp) => Ok(info.last_sequence),
        Some(Followed::Lost(reason)) => Err(Stop::Lost(reason)),
        None => Err(Stop::Lost("the follow ended".to_owned())),
    }
}

/// The stream is not the one in which a trigger began to listen: what is behind this sequence is new to it.
async fn listen_again(store: &Store, since: u64) -> Result<(), TriggerError> {
    for kept in store.registrations().await? {
        let mut registration = kept.value;
        let ahead = registration.listens.iter_mut().filter(|listening| listening.since > since);
        let ahead = ahead.map(|listening| listening.since = since).count();
        if ahead > 0 {
            store.put_registration(&registration, kept.revision).await?;
        }
    }
    Ok(())
}

/// The stream of events.
pub(super) async fn stream_info(store: &Store) -> Result<StreamInfo, Stop> {
    let info = store.broker().stream_info(&store.names().event_stream()).await;
    info.map_err(Stop::Cursor)?.ok_or(Stop::Cursor(ReadError::NoStream))
}

#[cfg(test)]
mod tests {
    use everstep_common::ids::hex;

    use super::*;

    #[test]
    fn cursors_once_written_are_read_for_ever() {
        let mut cursor = Cursor {
            sequence: 70_000,
            created: Some("2026-02-03T04:05:06.000000789Z".parse().unwrap()),
            takeovers: 3,
            last: None,
        };
        let bytes = wire::encode(&cursor).unwrap();
        assert_eq!(
            hex(&bytes),
            "0183a873657175656e6365ce00011170a763726561746564be323032362d30322d30335430343a30353a30362e3030303030303738395aa974616b656f7665727303"
        );
        assert_eq!(wire::decode::<Cursor>(&bytes).unwrap(), cursor);
        cursor.last = Some(Last {
            subject: "event.a".to_owned(),
            time: Timestamp::UNIX_EPOCH,
        });
        assert_eq!(wire::decode::<Cursor>(&wire::encode(&cursor).unwrap()).unwrap(), cursor);
    }
}
