//! How a run looks from inside: what whoever drives it answers when it is asked. Stored by nobody; replay makes it again.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::key::StepKey;

/// The answer to a question on [`crate::subject::Names::view`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ViewAnswer {
    /// It is being driven, or waits.
    Live(RunView),
    /// It stands still, so nothing computes its state.
    Parked,
    /// It is over, and its state is gone with it.
    Ended,
    /// There is no such run.
    Unknown,
}

/// The state of a run as of an entry of its journal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunView {
    /// The entry.
    pub sequence: u64,
    /// What the workflow published of itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub view: Option<Bytes>,
    /// What the workflow keeps in its state, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub state: BTreeMap<String, Bytes>,
    /// What of it waits for a place under a limit; at most [`GATE_WAITS_MAX`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub at_gates: Vec<GateWait>,
}

/// So many waits at gates are told of a run.
pub const GATE_WAITS_MAX: usize = 20;

/// A step that waits for its place under a limit, and is published when it has one.
///
/// ```
/// use everstep_common::key::StepKey;
/// use everstep_common::view::GateWait;
///
/// let wait = GateWait {
///     step: StepKey::from_path("sync"),
///     limit: "function.sync".to_owned(),
///     why: "20 of 20 places are taken".to_owned(),
/// };
/// assert_eq!(format!("{} waits at {}: {}", wait.step, wait.limit, wait.why), "sync waits at function.sync: 20 of 20 places are taken");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateWait {
    /// The step.
    pub step: StepKey,
    /// The limit, as operators name it: `function.sync`, `queue.gpu`.
    pub limit: String,
    /// Why it waits, for people to read.
    pub why: String,
}
