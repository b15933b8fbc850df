//! Updates: requests to a run that its workflow answers, and where request and answer stand in the journal.
//!
//! ```text
//!   `in.update.<key>` holds the request ──▶ the workflow takes it ──▶ `local.answer:<key>` holds what it answered
//! ```
//!
//! The key is the caller's name for this one request. The place of the answer follows from it, so whoever has the key finds the answer, and
//! no second one can be recorded.

use crate::failure::FailureKind;
use crate::journal::{InboundId, StepResult};
use crate::key::StepKey;

/// What the ids of updates begin with: an id of a signal is one token, so none is that of an update.
const SLOT: &str = "update.";

/// What the keys of answers begin with.
const ANSWER: &str = "answer:";

/// The id under which the request with that key is written.
pub fn update_slot(key: &str) -> InboundId {
    let id = format!("{SLOT}{}", StepKey::from_path(key).token());
    InboundId::new(&id).expect("two tokens are an id")
}

/// The key of the update that is written under the id, if it is the id of one.
pub fn update_key(id: &InboundId) -> Option<StepKey> {
    StepKey::from_token(id.as_str().strip_prefix(SLOT)?).ok()
}

/// Under which key the update's answer is recorded.
pub fn answer_key(update: &StepKey) -> StepKey {
    StepKey::from_path(&format!("{ANSWER}{update}"))
}

/// What became of an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UpdateVerdict {
    /// It was done, and brought a value.
    Done,
    /// It was refused, and changed nothing.
    Rejected,
    /// It was begun, and did not come to its end.
    Failed,
}

impl UpdateVerdict {
    /// The one that a recorded answer says.
    pub fn of(answer: &StepResult) -> Self {
        match answer {
            StepResult::Value(_) => Self::Done,
            StepResult::Failure(failure) => Self::of_failure(failure.kind),
        }
    }

    /// The one that a failure of that kind says.
    pub fn of_failure(kind: FailureKind) -> Self {
        match kind {
            FailureKind::Rejected => Self::Rejected,
            _ => Self::Failed,
        }
    }
}

impl std::fmt::Display for UpdateVerdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Done => "done",
            Self::Rejected => "rejected",
            Self::Failed => "failed",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_of_an_answer_follows_from_the_key_of_its_update() {
        let check = |key: &str, slot: &str, answer: &str| {
            let id = update_slot(key);
            assert_eq!(id.as_str(), slot);
            let update = update_key(&id).unwrap();
            assert_eq!(update, StepKey::from_path(key));
            assert_eq!(answer_key(&update).token(), answer);
        };
        check("order-7", "update.order-7", "answer=3Aorder-7");
        check("a/b ü", "update.a=2Fb=20=C3=BC", "answer=3Aa=2Fb=20=C3=BC");
    }

    #[test]
    fn long_keys_have_places_of_their_own() {
        let of = |last: char| answer_key(&update_key(&update_slot(&format!("{}{last}", "ü".repeat(127)))).unwrap());
        assert_ne!(of('a'), of('b'));
    }

    #[test]
    fn the_id_of_a_signal_is_none_of_an_update() {
        for id in ["update", "order-7", "answer.order-7", "update.a.b"] {
            assert_eq!(update_key(&InboundId::new(id).unwrap()), None, "{id}");
        }
    }
}
