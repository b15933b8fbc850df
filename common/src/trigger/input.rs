//! What a run is started with, and why an event may start none.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::path::Path;
use crate::journal::BadTerms;
use crate::session::BadSessionId;
use crate::wire;

/// What a run that a trigger starts is given.
///
/// ```
/// use everstep_common::trigger::{EventTrigger, Input, Trigger};
///
/// let whole = EventTrigger { input: Input::Path("@".to_owned()), ..Trigger::event("user.signed_up") };
/// assert_ne!(whole.input, Input::default());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Input {
    /// The event's body; for a schedule its name and the time.
    #[default]
    Data,
    /// What stands at that path of the event.
    Path(String),
    /// This JSON, whatever happened.
    Fixed(String),
    /// Nothing: the workflow takes no argument.
    Nothing,
}

/// Why a trigger makes no run of an event.
///
/// ```
/// use everstep_common::trigger::NoRun;
///
/// assert_eq!(NoRun::NoInput("data.id".to_owned()).to_string(), "nothing stands at \"data.id\", which is to be the input");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoRun {
    /// The input's path leads nowhere in it.
    #[error("nothing stands at {0:?}, which is to be the input")]
    NoInput(String),
    /// The dedupe path leads nowhere in it, or to something that names nothing.
    #[error("neither text nor a number stands at {0:?}, by which it is to be known")]
    NoIdentity(String),
    /// What the path of the limit key leads to names nobody.
    #[error("what stands at {0:?}, which is to be its limit key, is neither text nor a number")]
    NoKey(String),
    /// The session's path leads nowhere in it, or to something that names none.
    #[error("neither text nor a number stands at {0:?}, which is to be its session")]
    NoSession(String),
    /// A limit key or deadline that no start may have.
    #[error(transparent)]
    Terms(#[from] BadTerms),
    /// A session that no start may have.
    #[error(transparent)]
    Session(#[from] BadSessionId),
    /// The value cannot be an input.
    #[error("its value cannot be an input: {0}")]
    Value(String),
    /// The registration holds what this version does not understand.
    #[error("the trigger is not understood here: {0}")]
    Trigger(String),
}

impl Input {
    pub(super) fn is_data(&self) -> bool {
        *self == Self::Data
    }

    pub(super) fn check(&self) -> Result<(), String> {
        match self {
            Self::Path(path) => Path::parse(path).map(drop),
            Self::Fixed(json) => read_fixed(json).map(drop),
            Self::Data | Self::Nothing => Ok(()),
        }
    }
}

/// JSON that stands in a trigger itself.
pub(crate) fn fixed(json: &str) -> Result<Value, NoRun> {
    read_fixed(json).map_err(NoRun::Trigger)
}

fn read_fixed(json: &str) -> Result<Value, String> {
    serde_json::from_str(json).map_err(|error| format!("its input is not JSON: {error}"))
}

/// A value as the input of a run.
pub fn encoded(value: &Value) -> Result<Bytes, NoRun> {
    wire::encode_value(value).map_err(|error| NoRun::Value(error.to_string()))
}
