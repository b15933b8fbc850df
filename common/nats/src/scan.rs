//! Reading everything that matches, up to a point, however much it is.

use everstep_common::ports::{Message, ReadError};
use futures::StreamExt;
use futures::stream::{self, BoxStream};

use crate::broker::Link;
use crate::last_match::last_match;
use crate::ordered::{Item, OpenError, Reader, Start};
use crate::{api::Failure, assets};

/// Scans `stream`; see [`Broker::scan`](everstep_common::ports::Broker::scan).
pub(crate) fn scan(
    link: Link,
    stream: String,
    filter: String,
    up_to: Option<u64>,
) -> BoxStream<'static, Result<Message, ReadError>> {
    let begin = Begin {
        link,
        stream,
        filter,
        up_to,
    };
    stream::unfold(State::Begin(Box::new(begin)), |state| async {
        let step = match state {
            State::Begin(begin) => match begin.open().await {
                Ok(None) => Ok(None),
                Ok(Some(scanning)) => scanning.next().await,
                Err(error) => Err(error),
            },
            State::Running(scanning) => scanning.next().await,
            State::Ended => return None,
        };
        match step {
            Ok(Some((message, scanning))) => Some((Ok(message), State::Running(scanning))),
            Ok(None) => None,
            Err(error) => Some((Err(error), State::Ended)),
        }
    })
    .boxed()
}

enum State {
    Begin(Box<Begin>),
    Running(Box<Scanning>),
    Ended,
}

/// What to scan.
struct Begin {
    link: Link,
    stream: String,
    filter: String,
    up_to: Option<u64>,
}

/// A scan under way.
struct Scanning {
    reader: Reader,
    link: Link,
    stream: String,
    filter: String,
    /// No message after this is wanted.
    up_to: u64,
    /// The last match that the leader knew of; behind it the scan ends.
    last: u64,
}

impl Begin {
    async fn open(self) -> Result<Option<Box<Scanning>>, ReadError> {
        let Self {
            link,
            stream,
            filter,
            up_to,
        } = self;
        // The end is fixed before the reading begins, so a scan of a growing stream ends.
        let end = assets::stream(&link.api, &stream)
            .await
            .map_err(Failure::of_read)?
            .state
            .last_seq;
        let up_to = up_to.unwrap_or(end);
        if end < up_to {
            return Err(ReadError::Unavailable(format!(
                "the leader knows the stream up to {end}, not {up_to}"
            )));
        }
        let last = last_match(&link.api, &stream, &filter).await.map_err(Failure::of_read)?;
        if last == 0 {
            return Ok(None);
        }
        let reader = match Reader::open(link.clone(), &stream, &filter, Start::At(1)).await {
            Ok(reader) => reader,
            Err(OpenError::Lost(_)) => return Err(ReadError::NoStream),
            Err(OpenError::Failed(failure)) => return Err(failure.of_read()),
        };
        Ok(Some(Box::new(Scanning {
            reader,
            link,
            stream,
            filter,
            up_to,
            last,
        })))
    }
}

impl Scanning {
    async fn next(mut self: Box<Self>) -> Result<Option<(Message, Box<Self>)>, ReadError> {
        loop {
            if self.reader.sequence() >= self.last.min(self.up_to) {
                return Ok(None);
            }
            match self.reader.next().await {
                Item::Message(message) if message.sequence > self.up_to => return Ok(None),
                Item::Message(message) => return Ok(Some((message, self))),
                Item::Lost(reason) => return Err(ReadError::Unavailable(reason)),
                Item::Idle => {
                    self.last = last_match(&self.link.api, &self.stream, &self.filter)
                        .await
                        .map_err(Failure::of_read)?
                }
            }
        }
    }
}
