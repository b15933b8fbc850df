//! The broker port over the simulated server.

use std::collections::BTreeSet;
use std::fmt;
use std::future::pending;
use std::time::Duration;

use bytes::Bytes;
use everstep_common::ports::{
    Ack, AckToken, Broker, ConnectionEvent, CoreMessage, Ensured, Followed, From, GetLast, Headers, Message, Publish, PublishError,
    PullError, Puller, ReadError, ServerInfo, Snapshot, Stored, StreamInfo, TopologyError,
};
use everstep_common::topology::{ConsumerSpec, StreamSpec};
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream, StreamExt};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::timeout;

use crate::clock::SimClock;
use crate::model::{MAX_PAYLOAD, wire_headers};
use crate::puller::MemoryPuller;
use crate::server::{ANSWER_WAIT, Call, FeedRequest, Kind, Link, State};

/// One client of a [`MemoryServer`](crate::MemoryServer): a process with a connection of its own.
#[derive(Clone)]
pub struct MemoryBroker {
    name: String,
    link: Link,
}

impl fmt::Debug for MemoryBroker {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("MemoryBroker").field(&self.name).finish()
    }
}

impl MemoryBroker {
    pub(crate) fn new(name: &str, link: Link) -> Self {
        Self {
            name: name.to_owned(),
            link,
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The clock of the same process.
    pub fn clock(&self) -> SimClock {
        SimClock::new(self.link.shared.clone(), self.link.life.clone())
    }

    /// Whether the client has made its last call.
    pub fn is_dead(&self) -> bool {
        self.link.life.is_dead()
    }

    fn note(&self) -> impl Fn(&mut State, fmt::Arguments<'_>) + Send + 'static {
        let name = self.name.clone();
        move |state, line| state.note(format_args!("{name} {line}"))
    }

    fn scan_all(&self, name: String, filter: String, up_to: Option<u64>) -> BoxFuture<'static, Result<Vec<Message>, ReadError>> {
        let (request, unanswered) = ((Call::Scan, Kind::Api), Err(unanswered()));
        self.link.ask(request, ANSWER_WAIT, unanswered, move |state| {
            let stream = state.model.stream(&name).ok_or(ReadError::NoStream)?;
            if stream.is_work_queue() {
                return Err(ReadError::Rejected("workqueue stream requires explicit ack".into()));
            }
            let last = stream.last_sequence();
            match up_to {
                Some(up_to) if up_to > last => Err(ReadError::Unavailable(format!("the leader knows the stream up to {last}"))),
                up_to => Ok(stream.all_matching(&filter, up_to.unwrap_or(last))),
            }
        })
    }

    fn begin_follow(&self, stream: String, filter: String, from: From) -> BoxStream<'static, Followed> {
        let (outlet, inlet) = unbounded_channel();
        let client = self.link.client;
        let id = self.link.shared.enter(|state| {
            state.add_feed(FeedRequest {
                client,
                stream,
                filter,
                from,
                outlet,
            })
        });
        self.link.tell(Call::Follow, Kind::Any, move |state| state.attach_feed(id));
        self.incoming(inlet)
    }

    /// What comes in, one by one; a dead client waits for more for ever, another is told when there is no more.
    fn incoming<T: Send + 'static>(&self, receiver: UnboundedReceiver<T>) -> BoxStream<'static, T> {
        let life = self.link.life.clone();
        let next = move |mut receiver: UnboundedReceiver<T>| {
            let life = life.clone();
            async move {
                let item = receiver.recv().await;
                if life.is_dead() {
                    pending::<()>().await;
                }
                Some((item?, receiver))
            }
        };
        stream::unfold(receiver, next).boxed()
    }
}

impl Broker for MemoryBroker {
    fn publish(&self, message: Publish) -> BoxFuture<'static, Result<Stored, PublishError>> {
        let note = self.note();
        let request = (Call::Publish, Kind::Publish);
        self.link.ask(request, ANSWER_WAIT, Err(unacknowledged()), move |state| {
            hear_publish(state, &message);
            let time = state.time();
            let result = match state.draw_unheard(&message.subject) {
                true => Err(PublishError::NoStream),
                false => state.model.publish(time, &message),
            };
            note(state, format_args!("publishes {}: {}", message.subject, outcome(&result)));
            result
        })
    }

    fn publish_batch(&self, messages: Vec<Publish>) -> BoxFuture<'static, Result<Stored, PublishError>> {
        let note = self.note();
        self.link.ask(
            (Call::PublishBatch, Kind::Publish),
            ANSWER_WAIT,
            Err(unacknowledged()),
            move |state| {
                messages.iter().for_each(|message| hear_publish(state, message));
                let time = state.time();
                let result = state.model.publish_batch(time, &messages);
                note(
                    state,
                    format_args!("publishes a batch of {}: {}", messages.len(), outcome(&result)),
                );
                result
            },
        )
    }

    fn get_last(&self, request: GetLast) -> BoxFuture<'static, Result<Snapshot, ReadError>> {
        let kind = if request.leader { Kind::Api } else { Kind::Any };
        let note = self.note();
        self.link
            .ask((Call::GetLast, kind), ANSWER_WAIT, Err(unanswered()), move |state| {
                let behind = state.draw_staleness(&request.stream, request.leader);
                let stream = state.model.stream(&request.stream).ok_or(ReadError::NoStream)?;
                let result = stream.get_last(&request.subjects, request.up_to, behind);
                let found = result.as_ref().map_or(0, |snapshot| snapshot.messages.len());
                note(state, format_args!("reads {} of {}, {behind} behind", found, request.stream));
                result
            })
    }

    fn scan(&self, stream: &str, filter: &str, up_to: Option<u64>) -> BoxStream<'static, Result<Message, ReadError>> {
        let (broker, stream, filter) = (self.clone(), stream.to_owned(), filter.to_owned());
        // It begins when it is first asked for something, as it does on a real server.
        let items = async move {
            match broker.scan_all(stream, filter, up_to).await {
                Ok(messages) => stream::iter(messages.into_iter().map(Ok)).left_stream(),
                Err(error) => stream::iter([Err(error)]).right_stream(),
            }
        };
        stream::once(items).flatten().boxed()
    }

    fn follow(&self, stream: &str, filter: &str, from: From) -> BoxStream<'static, Followed> {
        let (broker, stream, filter) = (self.clone(), stream.to_owned(), filter.to_owned());
        // It begins when it is first asked for something, as it does on a real server.
        stream::once(async move { broker.begin_follow(stream, filter, from) })
            .flatten()
            .boxed()
    }

    fn pull(&self, stream: &str, consumer: &str) -> BoxFuture<'static, Result<Box<dyn Puller>, PullError>> {
        let puller = MemoryPuller::new(self.link.clone(), stream, consumer);
        let unanswered = Err(PullError::Unavailable("no answer in time".into()));
        self.link.ask((Call::Pull, Kind::Any), ANSWER_WAIT, unanswered, move |_| {
            Ok(Box::new(puller) as Box<dyn Puller>)
        })
    }

    fn ack(&self, token: &AckToken, ack: Ack) {
        let (note, token) = (self.note(), token.0.clone());
        self.link.tell(Call::Ack, Kind::Any, move |state| {
            if state.dice.chance(state.faults.ack_lost) {
                return note(state, format_args!("acks {token} in vain"));
            }
            note(state, format_args!("acks {token} as {ack:?}"));
            let time = state.time();
            state.model.acknowledge(time, &token, ack);
        });
    }

    fn purge(&self, stream: &str, filter: &str) -> BoxFuture<'static, Result<u64, ReadError>> {
        let (note, stream, filter) = (self.note(), stream.to_owned(), filter.to_owned());
        self.link
            .ask((Call::Purge, Kind::Api), ANSWER_WAIT, Err(unanswered()), move |state| {
                let purged = state.model.purge(&stream, &filter).ok_or(ReadError::NoStream)?;
                note(state, format_args!("purges {filter} of {stream}: {purged}"));
                Ok(purged)
            })
    }

    fn ensure_stream(&self, spec: &StreamSpec) -> BoxFuture<'static, Result<Ensured, TopologyError>> {
        let (note, spec) = (self.note(), spec.clone());
        let unanswered = Err(not_provisioned(&spec.name));
        self.link
            .ask((Call::EnsureStream, Kind::Api), ANSWER_WAIT, unanswered, move |state| {
                let time = state.time();
                let result = state.model.ensure_stream(time, &spec);
                note(state, format_args!("ensures stream {}: {result:?}", spec.name));
                result
            })
    }

    fn ensure_consumer(&self, stream: &str, spec: &ConsumerSpec) -> BoxFuture<'static, Result<Ensured, TopologyError>> {
        let (note, stream, spec) = (self.note(), stream.to_owned(), spec.clone());
        let unanswered = Err(not_provisioned(&spec.name));
        self.link
            .ask((Call::EnsureConsumer, Kind::Api), ANSWER_WAIT, unanswered, move |state| {
                let result = state.model.ensure_consumer(&stream, &spec);
                note(state, format_args!("ensures consumer {} of {stream}: {result:?}", spec.name));
                result
            })
    }

    fn delete_consumer(&self, stream: &str, name: &str) -> BoxFuture<'static, Result<(), TopologyError>> {
        let (note, stream, name) = (self.note(), stream.to_owned(), name.to_owned());
        let unanswered = Err(not_provisioned(&name));
        self.link
            .ask((Call::DeleteConsumer, Kind::Api), ANSWER_WAIT, unanswered, move |state| {
                let deleted = state.model.delete_consumer(&stream, &name);
                note(state, format_args!("deletes consumer {name} of {stream}: {deleted}"));
                Ok(())
            })
    }

    fn consumers(&self, stream: &str) -> BoxFuture<'static, Result<Vec<String>, ReadError>> {
        let stream = stream.to_owned();
        self.link
            .ask((Call::Consumers, Kind::Api), ANSWER_WAIT, Err(unanswered()), move |state| {
                match state.model.stream(&stream) {
                    Some(stream) => Ok(stream.consumer_names()),
                    // A cluster looks among the consumers it knows, and finds none.
                    None if state.model.is_cluster() => Ok(Vec::new()),
                    None => Err(ReadError::NoStream),
                }
            })
    }

    fn stream_info(&self, stream: &str) -> BoxFuture<'static, Result<Option<StreamInfo>, ReadError>> {
        let stream = stream.to_owned();
        self.link
            .ask((Call::StreamInfo, Kind::Api), ANSWER_WAIT, Err(unanswered()), move |state| {
                Ok(state.model.stream(&stream).map(|stream| stream.info()))
            })
    }

    fn subjects(&self, stream: &str, filter: &str) -> BoxFuture<'static, Result<BTreeSet<String>, ReadError>> {
        let (stream, filter) = (stream.to_owned(), filter.to_owned());
        self.link
            .ask((Call::Subjects, Kind::Api), ANSWER_WAIT, Err(unanswered()), move |state| {
                let stream = state.model.stream(&stream).ok_or(ReadError::NoStream)?;
                Ok(stream
                    .subjects_matching(&filter)
                    .map(|(subject, _)| subject.clone())
                    .collect())
            })
    }

    fn send(&self, message: CoreMessage) {
        self.link.tell(Call::Send, Kind::Any, move |state| state.say(&message));
    }

    fn subscribe(&self, subject: &str) -> BoxFuture<'static, BoxStream<'static, CoreMessage>> {
        let (outlet, inlet) = unbounded_channel();
        let client = self.link.client;
        let id = self.link.shared.enter(|state| state.add_listener(client, subject, outlet));
        self.link
            .tell(Call::Subscribe, Kind::Any, move |state| state.stand_listener(id));
        let messages = self.incoming(inlet);
        Box::pin(async move { messages })
    }

    fn ask(&self, subject: &str, payload: Bytes, wait: Duration) -> BoxFuture<'static, Vec<CoreMessage>> {
        let (outlet, mut inlet) = unbounded_channel();
        let client = self.link.client;
        let (id, inbox) = self.link.shared.enter(|state| {
            let inbox = format!("_INBOX.{}", state.take_id());
            (state.add_listener(client, &inbox, outlet), inbox)
        });
        let question = CoreMessage {
            subject: subject.to_owned(),
            headers: Headers::new(),
            payload,
            reply: Some(inbox),
        };
        self.link.tell(Call::Ask, Kind::Any, move |state| {
            if !state.anyone_hears(&question.subject) {
                state.listeners.remove(&id);
                return;
            }
            state.stand_listener(id);
            state.say(&question);
        });
        let life = self.link.life.clone();
        Box::pin(async move {
            let mut answers = Vec::new();
            let gather = async {
                while let Some(answer) = inlet.recv().await {
                    answers.push(answer);
                }
            };
            // Ends early only if nobody listens.
            let _ = timeout(wait, gather).await;
            life.go_on().await;
            answers
        })
    }

    fn connection_events(&self) -> BoxStream<'static, ConnectionEvent> {
        let (outlet, inlet) = unbounded_channel();
        let client = self.link.client;
        self.link.shared.enter(|state| state.watch_connection(client, outlet));
        self.incoming(inlet)
    }

    fn server(&self) -> ServerInfo {
        ServerInfo {
            version: "2.15.1".into(),
            max_payload: MAX_PAYLOAD,
        }
    }
}

/// Core subscribers of a stream's subjects hear every attempt, refused ones too.
fn hear_publish(state: &mut State, message: &Publish) {
    state.be_heard(&CoreMessage {
        subject: message.subject.clone(),
        headers: wire_headers(message),
        payload: message.payload.clone(),
        reply: Some("_INBOX.acknowledgement".into()),
    });
}

fn outcome(result: &Result<Stored, PublishError>) -> String {
    match result {
        Ok(stored) => format!("stored at {}", stored.sequence),
        Err(error) => error.to_string(),
    }
}

fn unacknowledged() -> PublishError {
    PublishError::Unknown("no acknowledgement in time".into())
}

fn unanswered() -> ReadError {
    ReadError::Unavailable("no answer in time".into())
}

fn not_provisioned(name: &str) -> TopologyError {
    TopologyError::Unavailable {
        name: name.to_owned(),
        reason: "no answer in time".into(),
    }
}
