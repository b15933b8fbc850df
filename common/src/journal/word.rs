//! What is said to a run from outside.

use serde::{Deserialize, Serialize};

use crate::key::StepKey;
use crate::payload::Payload;
use crate::question::Reply;
use crate::subscription::{EventPlace, Subscription};

/// Something reached the run from outside.
///
/// ```
/// use everstep_common::journal::Inbound;
///
/// fn who(inbound: &Inbound) -> String {
///     let (by, why) = (inbound.by.as_deref().unwrap_or("somebody"), inbound.reason.as_deref().unwrap_or("no reason given"));
///     format!("{by}: {why}")
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Inbound {
    /// What.
    pub kind: InboundKind,
    /// Who asked, for people to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Why, for people to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What can reach a run from outside.
///
/// ```
/// use everstep_common::journal::{Inbound, InboundKind};
///
/// let cancel = Inbound { kind: InboundKind::Cancel, by: Some("ada".to_owned()), reason: None };
/// assert!(!matches!(cancel.kind, InboundKind::Terminate));
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InboundKind {
    /// End the run as cancelled; open steps are cancelled first.
    Cancel,
    /// End the run as it stands, at once.
    Terminate,
    /// Try a parked run again.
    Resume {
        /// Go on although recorded steps are no longer asked for.
        #[serde(default)]
        accept_unasked: bool,
    },
    /// A value under a name, for whichever wait takes it.
    Signal {
        /// The name.
        name: String,
        /// The value.
        value: Payload,
    },
    /// The next event of those that the run waits for; its id is [`Subscription::slot`](crate::subscription::Subscription::slot).
    Event {
        /// Which events.
        what: Subscription,
        /// Where it stands.
        place: EventPlace,
        /// The [`Event`](crate::event::Event).
        value: Payload,
    },
    /// A request that the workflow is to answer; its id is [`update_slot`](crate::update::update_slot).
    Update {
        /// The name under which the workflow takes it.
        name: String,
        /// What is asked for.
        input: Payload,
    },
    /// A reply to a question; its id is [`Question::slot`](crate::question::Question::slot).
    Answer {
        /// The question's key.
        wait: StepKey,
        /// What is replied.
        reply: Reply,
        /// The groups in which whoever took the reply knows its author to be.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        groups: Vec<String>,
    },
    /// The run no longer asks a question; its id is that of the answer, so that nobody is told that one was taken.
    Withdrawn {
        /// The question's key.
        wait: StepKey,
    },
}
