//! Followers: each is brought the stream's messages in order, once each, also over reconnects; and told when the stream is no
//! longer the one it follows.
//!
//! A stream that was rolled back, has grown again past the follower's place and no longer holds the last message it brought looks
//! like the old one. That is so on a real server too.

use std::collections::VecDeque;

use everstep_common::ports::{Followed, From, Message};
use jiff::Timestamp;
use tokio::sync::mpsc::UnboundedSender;

use super::client::ClientId;
use super::state::State;
use crate::model::Stream;

/// What a follower asks for.
pub(crate) struct FeedRequest {
    pub(crate) client: ClientId,
    pub(crate) stream: String,
    pub(crate) filter: String,
    pub(crate) from: From,
    /// Where its messages go.
    pub(crate) outlet: UnboundedSender<Followed>,
}

/// A follower: what it asked for, and how far it has come.
pub(crate) struct Feed {
    request: FeedRequest,
    /// The stream it follows and when that was created; none before it has begun.
    followed: Option<Timestamp>,
    /// The incarnation it is attached to; none between two connections.
    attached: Option<u64>,
    /// Single messages to bring first ([`From::LastPerSubject`]).
    first: VecDeque<u64>,
    /// The next sequence to look at.
    next: u64,
    /// The next sequence after what has arrived.
    arrived: u64,
    /// The newest message that has arrived, by sequence and time: a stream that holds another one there is another stream.
    newest: Option<(u64, Timestamp)>,
    /// [`Followed::CaughtUp`] comes once this has been brought; none when it has come.
    caught_up_at: Option<u64>,
    /// Whether it is under way.
    caught_up_sent: bool,
}

impl State {
    /// Takes a follower in; it is fed from when it is attached.
    pub(crate) fn add_feed(&mut self, request: FeedRequest) -> u64 {
        let id = self.take_id();
        let feed = Feed {
            request,
            followed: None,
            attached: None,
            first: VecDeque::new(),
            next: 0,
            arrived: 0,
            newest: None,
            caught_up_at: None,
            caught_up_sent: false,
        };
        self.feeds.insert(id, feed);
        id
    }

    /// Brings every follower what there is.
    pub(crate) fn feed_all(&mut self) {
        let ids: Vec<u64> = self.feeds.keys().copied().collect();
        for id in ids {
            self.feed(id);
        }
    }

    /// The connection of a client is gone; what was under way to its followers is lost.
    pub(crate) fn detach_feeds(&mut self, client: ClientId) {
        for feed in self.feeds.values_mut().filter(|feed| feed.request.client == client) {
            feed.attached = None;
        }
    }

    /// The connection is back: its followers go on where they were, if the stream is still the one they followed.
    pub(crate) fn attach_feeds(&mut self, client: ClientId) {
        let ids: Vec<u64> = self
            .feeds
            .iter()
            .filter(|(_, feed)| feed.request.client == client)
            .map(|(id, _)| *id)
            .collect();
        for id in ids {
            self.attach_feed(id);
        }
    }

    /// Begins to feed a follower, or goes on, or tells it that it must start anew.
    pub(crate) fn attach_feed(&mut self, id: u64) {
        let Some(feed) = self.feeds.get_mut(&id) else { return };
        let stream = self.model.stream(&feed.request.stream);
        // The server makes no ordered consumer on a work queue, and the client tries again for ever.
        if stream.is_some_and(Stream::is_work_queue) {
            return;
        }
        let Err(reason) = feed.attach(stream) else { return };
        feed.attached = None;
        let (client, name) = (feed.request.client, feed.request.stream.clone());
        self.note(format_args!("{} loses {name}: {reason}", self.name(client).to_owned()));
        let lost = Box::new(move |state: &mut State| {
            let Some(feed) = state.feeds.remove(&id) else { return };
            // A follower that is gone need not be told.
            let _ = feed.request.outlet.send(Followed::Lost(reason));
        });
        self.reply(client, lost);
    }

    fn feed(&mut self, id: u64) {
        let Some(feed) = self.feeds.get(&id) else { return };
        if feed.request.outlet.is_closed() {
            self.feeds.remove(&id);
            return;
        }
        let Some(attached) = feed.attached else { return };
        if self.model.stream(&feed.request.stream).map(Stream::incarnation) != Some(attached) {
            return self.attach_feed(id);
        }
        while let Some(followed) = self.next_followed(id) {
            self.send_followed(id, followed);
        }
    }

    fn next_followed(&mut self, id: u64) -> Option<Followed> {
        let feed = self.feeds.get_mut(&id)?;
        let stream = self.model.stream(&feed.request.stream)?;
        feed.take_next(stream)
    }

    fn send_followed(&mut self, id: u64, followed: Followed) {
        let Some(feed) = self.feeds.get(&id) else { return };
        let arrive = Box::new(move |state: &mut State| {
            let Some(feed) = state.feeds.get_mut(&id) else { return };
            feed.note_arrival(&followed);
            // A follower that is gone is removed at the next round.
            let _ = feed.request.outlet.send(followed);
        });
        self.reply(feed.request.client, arrive);
    }
}

impl Feed {
    /// Whose it is.
    pub(crate) fn client(&self) -> ClientId {
        self.request.client
    }

    fn attach(&mut self, stream: Option<&Stream>) -> Result<(), String> {
        let stream = stream.ok_or("the stream does not exist")?;
        match self.followed {
            None => self.begin(stream)?,
            Some(created) => self.go_on(stream, created)?,
        }
        self.attached = Some(stream.incarnation());
        Ok(())
    }

    fn begin(&mut self, stream: &Stream) -> Result<(), String> {
        let last = stream.last_sequence();
        let (first, next) = match self.request.from {
            From::Sequence(sequence) => (VecDeque::new(), sequence.max(1)),
            From::LastPerSubject => (stream.last_per_subject(&self.request.filter).into(), last + 1),
            From::New => (VecDeque::new(), last + 1),
            From::Time(time) => (
                VecDeque::new(),
                stream.first_since(time, &self.request.filter).unwrap_or(last + 1),
            ),
        };
        if next > last + 1 {
            return Err(format!("the stream ends at {last}, before {next}"));
        }
        self.arrived = first.front().copied().unwrap_or(next);
        (self.first, self.next, self.caught_up_at) = (first, next, Some(last));
        self.followed = Some(stream.created());
        Ok(())
    }

    fn go_on(&mut self, stream: &Stream, created: Timestamp) -> Result<(), String> {
        if stream.created() != created {
            return Err(format!("another stream of that name was created at {}", stream.created()));
        }
        if stream.last_sequence() + 1 < self.arrived {
            return Err(format!(
                "the stream ends at {}, before {}",
                stream.last_sequence(),
                self.arrived
            ));
        }
        if let Some((sequence, time)) = self.newest
            && stream.get(sequence).is_some_and(|message| message.time != time)
        {
            return Err(format!("another message stands at sequence {sequence} than was read there"));
        }
        self.first.clear();
        self.next = self.arrived;
        self.caught_up_sent = false;
        Ok(())
    }

    fn take_next(&mut self, stream: &Stream) -> Option<Followed> {
        while let Some(sequence) = self.first.pop_front() {
            if let Some(message) = stream.get(sequence) {
                return Some(Followed::Message(message.as_ref().clone()));
            }
        }
        let found = stream.next_matching(self.next, &self.request.filter);
        let reached = found.map_or(stream.last_sequence() + 1, |message| message.sequence);
        if !self.caught_up_sent && self.caught_up_at.is_some_and(|target| reached > target) {
            self.caught_up_sent = true;
            return Some(Followed::CaughtUp);
        }
        self.next = found.map_or(reached, |message| message.sequence + 1);
        found.map(|message| Followed::Message(message.as_ref().clone()))
    }

    fn note_arrival(&mut self, followed: &Followed) {
        match followed {
            Followed::Message(Message { sequence, time, .. }) => {
                self.arrived = sequence + 1;
                self.newest = Some((*sequence, *time));
            }
            Followed::CaughtUp => self.caught_up_at = None,
            Followed::Lost(_) => {}
        }
    }
}
