//! Following a stream without end.

use std::time::Duration;

use everstep_common::ports::{Followed, From};
use futures::StreamExt;
use futures::stream::{self, BoxStream};

use crate::broker::Link;
use crate::clock::pause;
use crate::last_match::last_match;
use crate::ordered::{Item, OpenError, Reader, Start, complain};

/// The pause between attempts to begin.
const BEGIN_DELAY: Duration = Duration::from_millis(50);

/// Follows `stream`; see [`Broker::follow`](everstep_common::ports::Broker::follow).
pub(crate) fn follow(link: Link, stream: String, filter: String, from: From) -> BoxStream<'static, Followed> {
    let begin = Begin {
        link,
        stream,
        filter,
        from,
    };
    stream::unfold(State::Begin(Box::new(begin)), |state| async {
        let (item, next) = match state {
            State::Begin(begin) => begin.first().await,
            State::Running(running) => running.next().await,
            State::Ended => return None,
        };
        Some((item, next))
    })
    .boxed()
}

/// What to follow.
struct Begin {
    link: Link,
    stream: String,
    filter: String,
    from: From,
}

enum State {
    Begin(Box<Begin>),
    Running(Box<Running>),
    Ended,
}

/// A follow under way.
struct Running {
    reader: Reader,
    link: Link,
    stream: String,
    filter: String,
    /// Until it has been told: the sequence that everything stored when the follow began ends with.
    caught_up_at: Option<u64>,
}

impl Begin {
    async fn first(self) -> (Followed, State) {
        let start = match self.from {
            From::Sequence(sequence) => Start::At(sequence),
            From::LastPerSubject => Start::LastPerSubject,
            From::New => Start::New,
            From::Time(time) => Start::Since(time),
        };
        let mut attempts = 0;
        loop {
            let last = last_match(&self.link.api, &self.stream, &self.filter).await;
            let opened = Reader::open(self.link.clone(), &self.stream, &self.filter, start).await;
            match (opened, last) {
                (Ok(reader), Ok(last)) => {
                    let Self {
                        link, stream, filter, ..
                    } = self;
                    let running = Running {
                        reader,
                        link,
                        stream,
                        filter,
                        caught_up_at: Some(last),
                    };
                    return Box::new(running).next().await;
                }
                (Err(OpenError::Lost(reason)), _) => return (Followed::Lost(reason), State::Ended),
                (Err(OpenError::Failed(failure)), _) | (Ok(_), Err(failure)) => {
                    attempts += 1;
                    complain(&self.stream, &failure, attempts);
                    pause(BEGIN_DELAY).await;
                }
            }
        }
    }
}

impl Running {
    async fn next(mut self: Box<Self>) -> (Followed, State) {
        loop {
            if self.caught_up_at.is_some_and(|last| last <= self.reader.sequence()) {
                self.caught_up_at = None;
                return (Followed::CaughtUp, State::Running(self));
            }
            match self.reader.next().await {
                Item::Message(message) => return (Followed::Message(message), State::Running(self)),
                Item::Lost(reason) => return (Followed::Lost(reason), State::Ended),
                Item::Idle => self.look_again().await,
            }
        }
    }

    /// Nothing comes, and the end is not reached: what stood there may have been purged since.
    async fn look_again(&mut self) {
        if self.caught_up_at.is_some()
            && let Ok(last) = last_match(&self.link.api, &self.stream, &self.filter).await
        {
            self.caught_up_at = Some(last);
        }
    }
}
