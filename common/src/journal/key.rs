//! What entries are called: the part of the KV key after `<run>.`.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::key::{StepKey, is_token};

/// The name of an entry within its run.
///
/// ```
/// use everstep_common::journal::EntryKey;
/// use everstep_common::key::StepKey;
///
/// let key = EntryKey::Try(StepKey::from_path("parallel/0/charge"), 2);
/// assert_eq!(key.to_string(), "try.parallel=2F0=2Fcharge.2");
/// assert_eq!(key.to_string().parse(), Ok(key));
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EntryKey {
    /// The run's first entry.
    Start,
    /// The outcome of a step.
    Step(StepKey),
    /// A failed attempt of a step.
    Try(StepKey, u32),
    /// An execution of an attempt has begun: attempt and delivery.
    Begun(StepKey, u32, u64),
    /// What the workflow saw that is not a step.
    Local(StepKey),
    /// A timer fired.
    Timer(StepKey),
    /// A step starts a run.
    Child(StepKey),
    /// What reached the run from outside.
    In(InboundId),
    /// The run's outcome.
    End,
    /// What is left of a purged keyed run.
    Gone,
}

/// The kinds of [`EntryKey`], without what they name.
///
/// ```
/// use everstep_common::journal::{EntryKey, EntryKind};
///
/// assert_eq!(EntryKey::End.kind(), EntryKind::End);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each is documented at the variant of EntryKey of the same name")]
pub enum EntryKind {
    Start,
    Step,
    Try,
    Begun,
    Local,
    Timer,
    Child,
    In,
    End,
    Gone,
}

/// The caller-given id of an inbound entry: one or more subject tokens (`cancel`, `answer.<wait>`).
///
/// ```
/// use everstep_common::journal::InboundId;
///
/// assert_eq!(InboundId::new("answer.colour").unwrap().to_string(), "answer.colour");
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InboundId(Arc<str>);

/// A text that names no entry.
///
/// ```
/// use everstep_common::journal::EntryKey;
///
/// let error = "middle".parse::<EntryKey>().unwrap_err();
/// assert_eq!(error.to_string(), "\"middle\" is not the key of a journal entry");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not the key of a journal entry")]
pub struct InvalidEntryKey(String);

impl InboundId {
    /// Checks the text and takes it.
    ///
    /// ```
    /// use everstep_common::journal::InboundId;
    ///
    /// assert!(InboundId::new("cancel").is_ok());
    /// assert!(InboundId::new("a b").is_err(), "it stands in a subject");
    /// ```
    pub fn new(text: &str) -> Result<Self, InvalidEntryKey> {
        if text.split('.').all(is_token) {
            Ok(Self(text.into()))
        } else {
            Err(InvalidEntryKey(text.to_owned()))
        }
    }

    /// The id as text.
    ///
    /// ```
    /// use everstep_common::journal::InboundId;
    ///
    /// assert_eq!(InboundId::new("cancel").unwrap().as_str(), "cancel");
    /// ```
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for InboundId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for InboundId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl EntryKey {
    /// Which kind of entry.
    ///
    /// ```
    /// use everstep_common::journal::{EntryKey, EntryKind};
    /// use everstep_common::key::StepKey;
    ///
    /// assert_eq!(EntryKey::Timer(StepKey::from_path("sleep")).kind(), EntryKind::Timer);
    /// ```
    pub fn kind(&self) -> EntryKind {
        match self {
            Self::Start => EntryKind::Start,
            Self::Step(_) => EntryKind::Step,
            Self::Try(..) => EntryKind::Try,
            Self::Begun(..) => EntryKind::Begun,
            Self::Local(_) => EntryKind::Local,
            Self::Timer(_) => EntryKind::Timer,
            Self::Child(_) => EntryKind::Child,
            Self::In(_) => EntryKind::In,
            Self::End => EntryKind::End,
            Self::Gone => EntryKind::Gone,
        }
    }

    /// The step, timer, closure or child it speaks of.
    ///
    /// ```
    /// use everstep_common::journal::EntryKey;
    /// use everstep_common::key::StepKey;
    ///
    /// let charge = StepKey::from_path("charge");
    /// assert_eq!(EntryKey::Step(charge.clone()).step(), Some(&charge));
    /// assert_eq!(EntryKey::Start.step(), None);
    /// ```
    pub fn step(&self) -> Option<&StepKey> {
        match self {
            Self::Step(key) | Self::Try(key, _) | Self::Begun(key, ..) | Self::Local(key) | Self::Timer(key) | Self::Child(key) => {
                Some(key)
            }
            Self::Start | Self::In(_) | Self::End | Self::Gone => None,
        }
    }
}

impl fmt::Display for EntryKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start => f.write_str("start"),
            Self::Step(key) => write!(f, "step.{}", key.token()),
            Self::Try(key, attempt) => write!(f, "try.{}.{attempt}", key.token()),
            Self::Begun(key, attempt, delivery) => write!(f, "begun.{}.{attempt}.{delivery}", key.token()),
            Self::Local(key) => write!(f, "local.{}", key.token()),
            Self::Timer(key) => write!(f, "timer.{}", key.token()),
            Self::Child(key) => write!(f, "child.{}", key.token()),
            Self::In(id) => write!(f, "in.{id}"),
            Self::End => f.write_str("end"),
            Self::Gone => f.write_str("gone"),
        }
    }
}

impl fmt::Debug for EntryKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for EntryKey {
    type Err = InvalidEntryKey;

    fn from_str(text: &str) -> Result<Self, InvalidEntryKey> {
        parse(text).ok_or_else(|| InvalidEntryKey(text.to_owned()))
    }
}

fn parse(text: &str) -> Option<EntryKey> {
    let (kind, rest) = text.split_once('.').unwrap_or((text, ""));
    let step = |token: &str| StepKey::from_token(token).ok();
    Some(match kind {
        "start" if text == kind => EntryKey::Start,
        "end" if text == kind => EntryKey::End,
        "gone" if text == kind => EntryKey::Gone,
        "step" => EntryKey::Step(step(rest)?),
        "local" => EntryKey::Local(step(rest)?),
        "timer" => EntryKey::Timer(step(rest)?),
        "child" => EntryKey::Child(step(rest)?),
        "in" => EntryKey::In(InboundId::new(rest).ok()?),
        "try" => {
            let (key, attempt) = rest.split_once('.')?;
            EntryKey::Try(step(key)?, number(attempt)?)
        }
        "begun" => {
            let mut parts = rest.split('.');
            let (key, attempt, delivery) = (parts.next()?, parts.next()?, parts.next()?);
            if parts.next().is_some() {
                return None;
            }
            EntryKey::Begun(step(key)?, number(attempt)?, number(delivery)?)
        }
        _ => return None,
    })
}

/// A number as it is printed: `02` and `+2` would be second names of the entry that `2` names.
fn number<T: FromStr + fmt::Display>(text: &str) -> Option<T> {
    let number: T = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entry_keys_print_and_parse() {
        let all = [
            "start",
            "step.a=2Fb",
            "try.charge.2",
            "begun.charge.1.3",
            "local.x",
            "timer.settle",
            "child.ship=7E2",
            "in.cancel",
            "in.answer.a.b",
            "end",
            "gone",
        ];
        for text in all {
            assert_eq!(text.parse::<EntryKey>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn texts_that_name_no_entry_are_refused() {
        for text in [
            "",
            "start.",
            "end.",
            "start.x",
            "step",
            "step.",
            "step.a.b",
            "try.a",
            "try.a.b",
            "try.a.02",
            "try.a.+2",
            "begun.a.1",
            "begun.a.1.2.3",
            "in",
            "in.a..b",
            "other.x",
        ] {
            assert!(text.parse::<EntryKey>().is_err(), "{text:?}");
        }
    }
}
