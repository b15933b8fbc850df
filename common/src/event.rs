//! Events: what happened elsewhere, as messages of the stream `EVENTS`.
//!
//! ```text
//! event.<name…>                      the event: CloudEvents 1.0 in binary mode, or a body of plain JSON
//! emitted.<run>.<step key>           create-only, written together with what a workflow emits: it stands once
//! member.<workflow>.<trigger>.<…>    the event belongs to that batch window; create-only over all windows
//! refused.<workflow>.<sequence>      a trigger could not make a run of the event with that sequence
//! ```
//!
//! What a trigger makes of an event is in [`crate::trigger`].

use std::fmt::Write as _;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::failure::bounded;
use crate::ids::{InvalidId, WorkflowName};
use crate::key::{escape, unescape};
use crate::limits::NAME_CHARS_MAX;
use crate::ports::{Message, Publish, header};
use crate::subject::Names;

/// Headers of CloudEvents in binary mode, as the NATS binding writes them.
pub mod ce {
    /// The version of the specification: `1.0`.
    pub const SPEC_VERSION: &str = "ce-specversion";
    /// What tells the event from all others of its source.
    pub const ID: &str = "ce-id";
    /// Where it happened.
    pub const SOURCE: &str = "ce-source";
    /// What sort of event it is.
    pub const TYPE: &str = "ce-type";
    /// When it happened, as its source says.
    pub const TIME: &str = "ce-time";
    /// What the body is; absent it is JSON.
    pub const CONTENT_TYPE: &str = "content-type";
}

/// By which the sender of a plain message names it; the server drops a second one within two minutes by itself.
pub const MESSAGE_ID: &str = "Nats-Msg-Id";

/// What an event is called: words with dots between them, such as `user.signed_up`. As a subject it stands behind `event.`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EventName(String);

impl EventName {
    /// Checks the name: 1 to 128 characters, no empty word, no word that is `*` or `>`, nothing that is invisible.
    pub fn new(text: impl AsRef<str>) -> Result<Self, InvalidId> {
        let text = text.as_ref();
        let plain = |word: &str| {
            !word.is_empty() && word != "*" && word != ">" && !word.chars().any(|c| c.is_control() || c.is_whitespace())
        };
        if text.chars().count() <= NAME_CHARS_MAX && text.split('.').all(plain) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidId::new(
                "event name",
                text,
                "it has 1 to 128 characters and no word between its dots that is empty, `*`, `>` or has blanks",
            ))
        }
    }

    /// The name of what the sender of a webhook calls `event`.
    pub fn webhook(source: &str, event: &str) -> Result<Self, InvalidId> {
        Self::new(format!("webhook.{source}.{event}"))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name as tokens of a subject.
    fn tokens(&self) -> String {
        tokens(&self.0)
    }
}

/// A name or pattern as tokens of a subject; `*` and `>` stay what they are.
pub(crate) fn tokens(name: &str) -> String {
    let mut subject = String::with_capacity(name.len());
    for word in name.split('.') {
        if !subject.is_empty() {
            subject.push('.');
        }
        match word {
            "*" | ">" => subject.push_str(word),
            word => subject.push_str(&escape(word)),
        }
    }
    subject
}

impl TryFrom<String> for EventName {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<Self, InvalidId> {
        Self::new(text)
    }
}

impl From<EventName> for String {
    fn from(name: EventName) -> Self {
        name.0
    }
}

impl std::fmt::Display for EventName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// An event as it was read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// What it is called, by its subject.
    pub name: EventName,
    /// What its sender calls it; absent for a plain message without `Nats-Msg-Id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Where it happened, if the sender says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// When the server stored it.
    pub time: Timestamp,
    /// Where it stands in the stream.
    pub sequence: u64,
    /// W3C trace context of the sender.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// Its body.
    pub data: Value,
}

/// Why a message is no event that anything can be started by.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// The subject is none of an event.
    #[error("its subject {0} names no event")]
    Subject(String),
    /// The body is something else than JSON, and says so.
    #[error("its body is {0}, and triggers read JSON")]
    ContentType(String),
    /// The body is not JSON.
    #[error("its body is not JSON: {0}")]
    Body(String),
}

impl Event {
    /// Reads a message of the stream.
    pub fn read(names: &Names, message: &Message) -> Result<Self, Unreadable> {
        let no_event = || Unreadable::Subject(message.subject.clone());
        let name = names.parse_event(&message.subject).ok_or_else(no_event)?;
        // What is empty says nothing.
        let given = |name: &str| header_value(message, name).filter(|value| !value.is_empty());
        let attribute = |name: &str| given(name).map(|value| percent_decoded(&value));
        let content_type = header_value(message, ce::CONTENT_TYPE).or_else(|| header_value(message, "ce-datacontenttype"));
        if let Some(other) = content_type.filter(|content_type| !is_json(content_type)) {
            return Err(Unreadable::ContentType(other));
        }
        let data = match message.payload.len() {
            0 => Value::Null,
            _ => serde_json::from_slice(&message.payload).map_err(|error| Unreadable::Body(error.to_string()))?,
        };
        Ok(Self {
            name,
            id: attribute(ce::ID).or_else(|| given(MESSAGE_ID)),
            source: attribute(ce::SOURCE),
            time: message.time,
            sequence: message.sequence,
            traceparent: header_value(message, header::TRACEPARENT).or_else(|| attribute("ce-traceparent")),
            data,
        })
    }

    /// What tells it from every other event, however often it is delivered. An id is that of its source; without one, of the events of its
    /// name. One that its sender gave no id is known by its place in the stream and the time it was stored at, so that delivering it again
    /// is another event.
    pub fn identity(&self) -> String {
        match (&self.source, &self.id) {
            (Some(source), Some(id)) => format!("{}|{id}", whole(source)),
            (None, Some(id)) => format!("|{}|{id}", whole(self.name.as_str())),
            (_, None) => format!("@{}|{}", self.sequence, self.time.as_nanosecond()),
        }
    }

    /// All that is known of it, for triggers that take the whole.
    pub fn envelope(&self) -> Value {
        json!({
            "id": self.id.clone().unwrap_or_else(|| self.identity()),
            "name": self.name.as_str(),
            "source": self.source,
            "time": self.time,
            "data": self.data,
        })
    }
}

/// An event that is to be published, in the binary mode of CloudEvents.
#[derive(Clone, Debug, PartialEq)]
pub struct NewEvent {
    /// What it is called.
    pub name: EventName,
    /// What tells it from all others of its source.
    pub id: String,
    /// Where it happened.
    pub source: String,
    /// Its body.
    pub data: Value,
    /// W3C trace context.
    pub traceparent: Option<String>,
}

impl NewEvent {
    /// What is wrong with it, if anything: an id that is empty tells it from nothing.
    pub fn check(&self) -> Result<(), InvalidId> {
        match self.id.is_empty() {
            true => Err(InvalidId::new("event id", &self.id, "it has at least one character")),
            false => Ok(()),
        }
    }

    /// The message that it is.
    pub fn publish(&self, names: &Names) -> Publish {
        let mut publish = Publish::new(names.event(&self.name), self.data.to_string())
            .with_header(ce::SPEC_VERSION, "1.0")
            .with_header(ce::ID, percent_encoded(&self.id))
            .with_header(ce::SOURCE, percent_encoded(&self.source))
            .with_header(ce::TYPE, percent_encoded(self.name.as_str()))
            .with_header(ce::CONTENT_TYPE, "application/json");
        if let Some(traceparent) = &self.traceparent {
            publish = publish.with_header(header::TRACEPARENT, traceparent);
        }
        publish
    }
}

/// An event by which a workflow that listens to it could not be started.
///
/// ```
/// use everstep_common::event::RefusedEvent;
///
/// fn line(refused: &RefusedEvent) -> String {
///     format!("{} was not started by {}: {}", refused.workflow, refused.event, refused.reason)
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedEvent {
    /// The workflow.
    pub workflow: WorkflowName,
    /// What the event is called, as far as its subject says.
    pub event: String,
    /// Where it stands in the stream.
    pub sequence: u64,
    /// What was wrong.
    pub reason: String,
}

impl RefusedEvent {
    /// An event that was refused, with the reason cut to 16 KiB: it may quote what somebody sent.
    pub fn new(workflow: WorkflowName, event: String, sequence: u64, reason: String) -> Self {
        Self {
            workflow,
            event,
            sequence,
            reason: bounded(reason),
        }
    }
}

impl Names {
    /// The stream of events.
    pub fn event_stream(&self) -> String {
        self.stream_name("EVENTS")
    }

    /// All that it holds: events, and what is kept beside them.
    pub fn event_stream_filter(&self) -> String {
        self.subject_name(">")
    }

    /// All events.
    pub fn event_filter(&self) -> String {
        self.subject_name("event.>")
    }

    /// The subject of an event.
    pub fn event(&self, name: &EventName) -> String {
        self.subject_name(&format!("event.{}", name.tokens()))
    }

    /// The event that a subject names.
    pub fn parse_event(&self, subject: &str) -> Option<EventName> {
        let rest = subject.strip_prefix(self.subject_name("event.").as_str())?;
        let words: Vec<_> = rest.split('.').map(unescape).collect();
        EventName::new(words.join(".")).ok()
    }

    /// The mark that stands beside an event which a workflow emitted.
    pub fn emitted(&self, run: &crate::ids::RunId, key: &crate::key::StepKey) -> String {
        self.subject_name(&format!("emitted.{run}.{}", key.token()))
    }

    /// All such marks.
    pub fn emitted_filter(&self) -> String {
        self.subject_name("emitted.>")
    }

    /// That the event with this key belongs to a batch window of a trigger; the window may be `*`.
    pub fn batch_member(&self, trigger: &str, window: &str, key: &str) -> String {
        self.subject_name(&format!("member.{trigger}.{window}.{key}"))
    }

    /// All members of batch windows.
    pub fn member_filter(&self) -> String {
        self.subject_name("member.>")
    }

    /// That a workflow could not be started by the event at `sequence`.
    pub fn refused_event(&self, workflow: &WorkflowName, sequence: u64) -> String {
        self.subject_name(&format!("refused.{}.{sequence}", escape(workflow.as_str())))
    }

    /// All of those.
    pub fn refused_filter(&self) -> String {
        self.subject_name("refused.>")
    }
}

/// A text as a part of an identity, which it neither ends nor begins as another sort of one.
fn whole(part: &str) -> String {
    let part = part.replace('%', "%25").replace('|', "%7C");
    match part.strip_prefix('@') {
        Some(rest) => format!("%40{rest}"),
        None => part,
    }
}

/// Header names are compared as HTTP does: senders write `Ce-Id` and `Content-Type` too.
fn header_value(message: &Message, name: &str) -> Option<String> {
    let found = message
        .headers
        .0
        .iter()
        .find(|(candidate, _)| candidate.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value.clone())
}

fn is_json(content_type: &str) -> bool {
    let kind = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind.is_empty() || kind == "application/json" || kind == "text/json" || kind.ends_with("+json")
}

/// As the bindings of CloudEvents write header values: what is not a visible ASCII character, `"` and `%` as `%XX`.
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'"' | b'%' => write!(encoded, "%{byte:02X}").expect("writing to a string"),
            0x21..=0x7e => encoded.push(char::from(byte)),
            _ => write!(encoded, "%{byte:02X}").expect("writing to a string"),
        }
    }
    encoded
}

fn percent_decoded(text: &str) -> String {
    let (bytes, mut decoded, mut at) = (text.as_bytes(), Vec::with_capacity(text.len()), 0);
    while at < bytes.len() {
        let hex = (bytes[at] == b'%').then(|| text.get(at + 1..at + 3)).flatten();
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                decoded.push(byte);
                at += 3;
            }
            None => {
                decoded.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::ids::Prefix;
    use crate::ports::Headers;

    fn names() -> Names {
        Names::new(Prefix::new("shop").unwrap())
    }

    fn stored(publish: Publish) -> Message {
        Message {
            subject: publish.subject,
            sequence: 7,
            time: Timestamp::UNIX_EPOCH,
            headers: publish.headers,
            payload: publish.payload,
        }
    }

    fn plain(subject: &str, headers: Headers, body: &'static str) -> Message {
        stored(Publish {
            headers,
            ..Publish::new(subject, Bytes::from_static(body.as_bytes()))
        })
    }

    #[test]
    fn what_is_published_is_read_again() {
        let event = NewEvent {
            name: EventName::new("user.signed=up").unwrap(),
            id: "7 % \"seven\" ü".into(),
            source: "run/1".into(),
            data: json!({ "name": "Ada" }),
            traceparent: Some("00-1-2-03".into()),
        };
        let read = Event::read(&names(), &stored(event.publish(&names()))).unwrap();
        assert_eq!(read.name, event.name);
        assert_eq!(
            (read.id.as_deref(), read.source.as_deref()),
            (Some(event.id.as_str()), Some("run/1"))
        );
        assert_eq!((read.data, read.traceparent), (event.data.clone(), event.traceparent.clone()));
        assert!(event.check().is_ok());
        let nameless = NewEvent {
            id: String::new(),
            ..event
        };
        assert!(nameless.check().is_err());
    }

    #[test]
    fn plain_json_is_an_event_known_by_its_message_id_or_its_place() {
        let named = plain(
            "shop.event.user.signed_up",
            Headers::new().with(MESSAGE_ID, "m-1"),
            "{\"a\":1}",
        );
        assert_eq!(Event::read(&names(), &named).unwrap().identity(), "|user.signed_up|m-1");
        let nameless = plain("shop.event.user.signed_up", Headers::new(), "");
        let event = Event::read(&names(), &nameless).unwrap();
        assert_eq!((event.identity().as_str(), event.data), ("@7|0", Value::Null));
    }

    #[test]
    fn events_are_told_apart_by_name_or_source_and_by_what_is_an_id_at_all() {
        let of = |name: &str, source: Option<&str>, id: &str| {
            let mut headers = Headers::new().with(ce::ID, percent_encoded(id));
            if let Some(source) = source {
                headers = headers.with(ce::SOURCE, percent_encoded(source));
            }
            let message = plain(&format!("shop.event.{name}"), headers, "{}");
            Event::read(&names(), &message).unwrap().identity()
        };
        let different = [
            of("order.paid", None, "17"),
            of("order.refunded", None, "17"),
            of("order.paid", Some("a|b"), "c"),
            of("order.paid", Some("a"), "b|c"),
            of("order.paid", Some("a%7Cb"), "c"),
            of("order.paid", Some("@7"), "0"),
            of("order.paid", Some("a"), ""),
        ];
        let told_apart: std::collections::BTreeSet<_> = different.iter().collect();
        assert_eq!(told_apart.len(), different.len(), "{different:?}");
        assert_eq!(of("order.paid", Some("a"), ""), "@7|0", "an empty id is none");
        assert_eq!(of("order.paid", Some(""), "17"), different[0], "an empty source is none");
        assert_eq!(of("order.paid", Some("crm"), "17"), of("order.sent", Some("crm"), "17"));
    }

    #[test]
    fn what_is_no_json_is_unreadable_and_says_why() {
        let check = |message: &Message, wanted: &str| {
            let error = Event::read(&names(), message).unwrap_err().to_string();
            assert!(error.contains(wanted), "{error}");
        };
        check(&plain("shop.event.a", Headers::new(), "{"), "not JSON");
        check(
            &plain("shop.event.a", Headers::new().with("Content-Type", "text/xml"), "<a/>"),
            "text/xml",
        );
        check(&plain("shop.task.a", Headers::new(), "{}"), "names no event");
    }

    #[test]
    fn a_name_has_words_that_a_subject_can_carry() {
        for good in ["a", "user.signed_up", "webhook.stripe.payment_intent.succeeded", "größe"] {
            assert!(EventName::new(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "a.", "a..b", "a.*", ">", "a b", &"x".repeat(129)] {
            assert!(EventName::new(bad).is_err(), "{bad}");
        }
    }
}
