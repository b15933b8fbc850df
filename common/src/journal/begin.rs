//! How a run began, and which runs it belongs to.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::StartTerms;
use crate::digest::InputDigest;
use crate::ids::{RunId, WorkflowName};
use crate::key::StepKey;
use crate::payload::Payload;

/// A run begins.
///
/// ```
/// use everstep_common::journal::Start;
///
/// /// Who ordered it, as the tags of the start say.
/// fn customer(start: &Start) -> Option<&str> {
///     start.tags.get("customer").map(String::as_str)
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Start {
    /// Which workflow.
    pub workflow: WorkflowName,
    /// Which version of it the run is pinned to; `None`: the newest that the first owner knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u32>,
    /// Its input.
    pub input: Payload,
    /// The digest of the input, by which a second start under the same key is told from a repeated one.
    pub digest: InputDigest,
    /// The caller's name for this run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_key: Option<String>,
    /// The session whose state the run shares.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// The run and step that started it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Parent>,
    /// Labels for people and filters.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// W3C trace context of the starter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// When it begins, by when it must be over, and what goes first.
    #[serde(default, skip_serializing_if = "StartTerms::is_usual")]
    pub terms: StartTerms,
    /// The run that goes on in this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub continues: Option<Continued>,
    /// Events that it waits for count from right behind this time: that of the event that started it, or of the last entry of the run that
    /// goes on in it. Absent, they count from its own start on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listens_from: Option<Timestamp>,
}

/// The step of another run that started a run. A run that continues a child has the child's.
///
/// ```
/// use everstep_common::journal::Start;
///
/// fn origin(start: &Start) -> String {
///     match &start.parent {
///         Some(parent) => format!("step {} of run {}", parent.step, parent.run),
///         None => "from outside".to_owned(),
///     }
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parent {
    /// The other run.
    pub run: RunId,
    /// Its step.
    pub step: StepKey,
    /// The other run does not wait for it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub detached: bool,
    /// The digest of the input that the child was asked for with, which is not that of a run that continues it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<InputDigest>,
    /// How many children are nested here, this one included.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub depth: u32,
}

/// The place of a run among those that continue one another.
///
/// ```
/// use everstep_common::journal::Start;
///
/// fn is_first(start: &Start) -> bool {
///     start.continues.as_ref().is_none_or(|continued| continued.number == 0)
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Continued {
    /// The run before it.
    pub from: RunId,
    /// The first one.
    pub first: RunId,
    /// How many came before it.
    pub number: u32,
    /// When the first one was started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
}

/// A run was, or is about to be, started by a step of this one.
///
/// ```
/// use everstep_common::journal::{Entry, JournalEntry};
///
/// /// The runs that a run has started.
/// fn started(history: &[JournalEntry]) -> Vec<String> {
///     let children = history.iter().filter_map(|stored| match &stored.entry {
///         Entry::Child(child) => Some(format!("{} {}", child.workflow, child.run)),
///         _ => None,
///     });
///     children.collect()
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Child {
    /// Which workflow.
    pub workflow: WorkflowName,
    /// The digest of its input.
    pub digest: InputDigest,
    /// The run.
    pub run: RunId,
    /// This run does not wait for it, and it is started already. Otherwise it is started after this is recorded.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub detached: bool,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}
