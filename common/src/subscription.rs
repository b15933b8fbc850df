//! Events that a run waits for: which they are, and where they are recorded.
//!
//! ```text
//!   EVENTS ──the next one that matches──▶ in.event.<subscription>.<event>
//! ```
//!
//! All waits of a run for events of one name and correlation are one subscription. Its events reach the run in the order of their stream, from
//! the start of the run on, and each is recorded once in the run, under its identity, however often it was published.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::event::{Event, EventName};
use crate::journal::InboundId;
use crate::key::StepKey;
use crate::limits::EVENT_MATCH_BYTES_MAX;
use crate::trigger::path::Path;

/// Which events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscription {
    /// What they are called.
    pub event: EventName,
    /// Only those for which this holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub matching: Option<Matching>,
}

/// What stands at a path of an event equals a value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Matching {
    /// The path, as in triggers: into the body, or with `@` into the event itself.
    pub path: String,
    /// The value as JSON.
    pub value: Value,
}

/// Where an event stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventPlace {
    /// When its stream was created: sequences of another stream say nothing.
    pub stream: Timestamp,
    /// Its sequence there.
    pub sequence: u64,
    /// When it was stored.
    pub time: Timestamp,
}

/// From where on a run hears of events for which the run that goes on in it has waited.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listened {
    /// Which events.
    pub what: Subscription,
    /// The last of them that is dealt with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<EventPlace>,
    /// If none is, or its stream is another by now: what was stored then or later.
    pub since: Timestamp,
}

impl Matching {
    /// Whether it holds for the event.
    pub fn holds(&self, event: &Event) -> bool {
        Path::parse(&self.path).is_ok_and(|path| path.of(event).is_some_and(|found| found == self.value))
    }

    /// What is wrong with it, if anything.
    pub fn check(&self) -> Result<(), String> {
        Path::parse(&self.path)?;
        let bytes = self.path.len() + self.value.to_string().len();
        if bytes > EVENT_MATCH_BYTES_MAX {
            return Err(format!(
                "what an event is told by has {bytes} bytes, and {EVENT_MATCH_BYTES_MAX} at most; match an id"
            ));
        }
        Ok(())
    }
}

impl Subscription {
    /// Whether the event is one of them.
    pub fn takes(&self, event: &Event) -> bool {
        self.event == event.name && self.matching.as_ref().is_none_or(|matching| matching.holds(event))
    }

    /// The id under which a run records the event of that [identity](Event::identity).
    pub fn slot(&self, identity: &str) -> InboundId {
        let (what, event) = (StepKey::from_path(&self.to_string()), StepKey::from_path(identity));
        InboundId::new(&format!("event.{}.{}", what.token(), event.token())).expect("the tokens of keys are tokens")
    }
}

/// `order.paid`, or `order.paid(order="o-1")`.
impl fmt::Display for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.matching {
            None => write!(f, "{}", self.event),
            Some(Matching { path, value }) => write!(f, "{}({path}={value})", self.event),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(name: &str, data: Value) -> Event {
        Event {
            name: EventName::new(name).unwrap(),
            id: Some("e-1".into()),
            source: None,
            time: Timestamp::UNIX_EPOCH,
            sequence: 1,
            traceparent: None,
            data,
        }
    }

    fn paid(path: &str, value: Value) -> Subscription {
        Subscription {
            event: EventName::new("order.paid").unwrap(),
            matching: Some(Matching {
                path: path.into(),
                value,
            }),
        }
    }

    #[test]
    fn an_event_is_taken_by_its_name_and_by_what_stands_at_the_path() {
        let given = event("order.paid", json!({ "order": { "id": "o-1", "number": 7 } }));
        for (path, value, taken) in [
            ("order.id", json!("o-1"), true),
            ("order.id", json!("o-2"), false),
            ("order.number", json!(7), true),
            ("order.number", json!("7"), false),
            ("order", json!({ "number": 7, "id": "o-1" }), true),
            ("order.nothing", json!(null), false),
            ("@.id", json!("e-1"), true),
        ] {
            assert_eq!(paid(path, value.clone()).takes(&given), taken, "{path} = {value}");
        }
        let other = event("order.sent", given.data.clone());
        assert!(!paid("order.id", json!("o-1")).takes(&other));
        let any = Subscription {
            matching: None,
            ..paid("order.id", json!(1))
        };
        assert!(any.takes(&given) && !any.takes(&other));
    }

    #[test]
    fn each_subscription_has_slots_of_its_own_whatever_its_values_hold() {
        let slots = [
            paid("id", json!("a")).slot("|1"),
            paid("id", json!("a")).slot("@1|a>b"),
            paid("id", json!("a.1")).slot("|1"),
            paid("id", json!("ä > *")).slot("|1"),
            paid("id", json!("x".repeat(1_000))).slot("|1"),
        ];
        let told_apart: std::collections::BTreeSet<_> = slots.iter().map(InboundId::as_str).collect();
        assert_eq!(told_apart.len(), slots.len());
    }

    #[test]
    fn what_is_told_by_too_much_or_by_no_path_is_refused() {
        let refused = |subscription: Subscription| subscription.matching.unwrap().check().unwrap_err();
        assert!(refused(paid("a..b", json!(1))).contains("no path"));
        assert!(refused(paid("a", json!("x".repeat(2_000)))).contains("match an id"));
        assert_eq!(paid("a.b", json!("o-1")).matching.unwrap().check(), Ok(()));
    }
}
