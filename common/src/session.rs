//! The value that runs of a session share under one name, as its record holds it.
//!
//! ```text
//! write ──CAS──▶ record { value, mark of the write } ──▶ `local` entry in the run's journal ──a later write──▶ mark removed
//! ```
//!
//! A write and the mark of it are one record, so it is applied once however often it is asked for: as long as the run's journal does not
//! hold its result, the mark does. How records are written and read is in [`crate::store`].

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::ids::RunId;
use crate::key::StepKey;
use crate::limits::SESSION_ID_CHARS_MAX;
use crate::payload::Payload;

/// A text that cannot be the id of a session.
///
/// ```
/// use everstep_common::session::{BadSessionId, check_id};
///
/// assert_eq!(check_id(""), Err(BadSessionId { characters: 0 }));
/// assert_eq!(check_id("customer 7"), Ok(()));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the id of a session has 1 to {SESSION_ID_CHARS_MAX} characters (SESSION_ID_CHARS_MAX), and this one has {characters}; \
     use a shorter text, such as a digest of this one, or no session"
)]
pub struct BadSessionId {
    /// How long it is.
    pub characters: usize,
}

/// Whether a text can be the id of a session: any that is not empty and not too long.
///
/// ```
/// use everstep_common::session::check_id;
///
/// assert!(check_id(&"x".repeat(256)).is_ok() && check_id(&"x".repeat(257)).is_err());
/// ```
pub fn check_id(session: &str) -> Result<(), BadSessionId> {
    match session.chars().count() {
        1..=SESSION_ID_CHARS_MAX => Ok(()),
        characters => Err(BadSessionId { characters }),
    }
}

/// One value of a session. Its key in the bucket says which, but shortened if it is long; hence both are told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionRecord {
    /// The session's id.
    pub session: String,
    /// The value's name.
    pub key: String,
    /// The value; nothing once it was deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Bytes>,
    /// Writes that are applied and may be asked for again, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub marks: Vec<SessionMark>,
}

/// A write that is applied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionMark {
    /// Whose it is.
    pub run: RunId,
    /// Its key in the run's journal.
    pub step: StepKey,
    /// What the run is told.
    pub result: Payload,
}

impl SessionRecord {
    /// A value that was never set.
    pub fn absent(session: &str, key: &str) -> Self {
        Self {
            session: session.to_owned(),
            key: key.to_owned(),
            value: None,
            marks: Vec::new(),
        }
    }

    /// The mark of a write, if it stands here.
    pub fn mark(&self, run: &RunId, step: &StepKey) -> Option<&SessionMark> {
        self.marks.iter().find(|mark| mark.run == *run && mark.step == *step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_of_a_session_is_measured_in_characters() {
        let check = |id: String| check_id(&id).err().map(|bad| bad.characters);
        assert_eq!(check(String::new()), Some(0));
        assert_eq!(check("ü".to_owned()), None);
        assert_eq!(check("ü".repeat(SESSION_ID_CHARS_MAX)), None);
        assert_eq!(check("ü".repeat(SESSION_ID_CHARS_MAX + 1)), Some(257));
    }
}
