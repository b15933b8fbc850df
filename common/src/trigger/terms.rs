//! Under which terms a trigger starts its runs: what a client says with its start, said once for all of them.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::input::NoRun;
use super::path::Path;
use crate::event::Event;
use crate::journal::StartTerms;
use crate::session::check_id;

/// Tags that triggers give their runs by themselves.
const TAGS_OF_ORIGIN: [&str; 5] = ["event", "event_id", "window", "schedule", "scheduled_at"];

/// The terms of all runs of a trigger.
///
/// ```
/// use everstep_common::trigger::{EventTrigger, RunTerms, TermText, Trigger};
///
/// let terms = RunTerms {
///     limit_key: Some(TermText::Path("shop".to_owned())),
///     priority: 3,
///     ..RunTerms::default()
/// };
/// let trigger = EventTrigger { terms, ..Trigger::event("order.placed") };
/// assert_eq!(Trigger::Event(trigger).check(), Ok(()));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunTerms {
    /// Whose work the run is, where its workflow limits runs of one key. If nothing stands at a path, or `null`, it has no key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit_key: Option<TermText>,
    /// The session whose values the run shares. If nothing stands at a path, there is no run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<TermText>,
    /// Of what waits for the same, runs with a higher one go first.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub priority: i8,
    /// How long the run may take from when it begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Duration>,
    /// Labels, beside those that say where the run came from.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
}

/// A text of a run's terms.
///
/// ```
/// use everstep_common::trigger::{CronTrigger, RunTerms, TermText, Trigger};
///
/// let terms = RunTerms { session: Some(TermText::Fixed("nightly".to_owned())), ..RunTerms::default() };
/// let trigger = CronTrigger { terms, ..Trigger::cron("nightly", "0 3 * * *") };
/// assert_eq!(Trigger::Cron(trigger).check(), Ok(()));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TermText {
    /// The text or number that stands at that path of the event.
    Path(String),
    /// This one, whatever happened.
    Fixed(String),
}

impl TermText {
    /// What it is for this event; nothing if nothing stands there.
    fn of(&self, event: Option<&Event>) -> Result<Option<Value>, NoRun> {
        match self {
            Self::Fixed(text) => Ok(Some(Value::String(text.clone()))),
            Self::Path(path) => {
                let path = Path::parse(path).map_err(NoRun::Trigger)?;
                Ok(event.and_then(|event| path.of(event)).filter(|value| !value.is_null()))
            }
        }
    }
}

impl RunTerms {
    pub(super) fn is_usual(&self) -> bool {
        *self == Self::default()
    }

    pub(super) fn check(&self) -> Result<(), String> {
        for text in [&self.limit_key, &self.session].into_iter().flatten() {
            if let TermText::Path(path) = text {
                Path::parse(path)?;
            }
        }
        for tag in self.tags.keys() {
            if tag.is_empty() {
                return Err("a tag has a name".to_owned());
            }
            if TAGS_OF_ORIGIN.contains(&tag.as_str()) {
                return Err(format!(
                    "the tag `{tag}` says where a run came from, and every run has its own; take another name"
                ));
            }
        }
        // What stands at a path shows with each event.
        let fixed = |text: &Option<TermText>| match text {
            Some(TermText::Fixed(text)) => Some(text.clone()),
            Some(TermText::Path(_)) | None => None,
        };
        self.start_terms(fixed(&self.limit_key))
            .and_then(|_| checked_session(fixed(&self.session)))
            .map(drop)
            .map_err(|error| error.to_string())
    }

    /// What of it is to be looked up in an event, by the name of its argument.
    pub(super) fn looked_up(&self) -> Option<&'static str> {
        let is_path = |text: &Option<TermText>| matches!(text, Some(TermText::Path(_)));
        match self {
            _ if is_path(&self.limit_key) => Some("limit_key"),
            _ if is_path(&self.session) => Some("session"),
            _ => None,
        }
    }

    /// The session and the terms of the run that the event makes; of a schedule's or batch's run, which no single event makes, without one.
    ///
    /// ```
    /// use everstep_common::trigger::RunTerms;
    ///
    /// let terms = RunTerms { priority: -1, ..RunTerms::default() };
    /// let (session, terms) = terms.of(None).unwrap();
    /// assert_eq!((session, terms.priority), (None, -1));
    /// ```
    pub fn of(&self, event: Option<&Event>) -> Result<(Option<String>, StartTerms), NoRun> {
        let limit_key = match &self.limit_key {
            None => None,
            Some(text) => match text.of(event)? {
                None => None,
                Some(value) => Some(text_of(value).ok_or_else(|| NoRun::NoKey(text.to_string()))?),
            },
        };
        let session = match &self.session {
            None => None,
            Some(text) => {
                let found = text.of(event)?.and_then(text_of);
                Some(found.ok_or_else(|| NoRun::NoSession(text.to_string()))?)
            }
        };
        Ok((checked_session(session)?, self.start_terms(limit_key)?))
    }

    fn start_terms(&self, key: Option<String>) -> Result<StartTerms, NoRun> {
        let terms = StartTerms {
            delay: None,
            deadline: self.deadline,
            priority: self.priority,
            key,
        };
        terms.check()?;
        Ok(terms)
    }
}

fn checked_session(session: Option<String>) -> Result<Option<String>, NoRun> {
    session.as_deref().map_or(Ok(()), check_id)?;
    Ok(session)
}

/// A text, or a number as one.
pub(super) fn text_of(value: Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

impl std::fmt::Display for TermText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Path(text) | Self::Fixed(text) => f.write_str(text),
        }
    }
}

fn is_zero(number: &i8) -> bool {
    *number == 0
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::event;
    use super::*;
    use crate::limits::{NAME_CHARS_MAX, SESSION_ID_CHARS_MAX};

    fn at(path: &str) -> Option<TermText> {
        Some(TermText::Path(path.to_owned()))
    }

    #[test]
    fn the_key_of_a_run_is_the_text_or_number_that_stands_in_its_event() {
        let event = event(
            json!({ "shop": "berlin", "number": 7, "none": null, "list": [], "no": "", "long": "x".repeat(NAME_CHARS_MAX + 1) }),
        );
        let key = |path: &str| {
            let terms = RunTerms {
                limit_key: at(path),
                ..RunTerms::default()
            };
            terms.of(Some(&event)).map(|(_, terms)| terms.key)
        };
        assert_eq!(key("shop"), Ok(Some("berlin".to_owned())));
        assert_eq!(key("number"), Ok(Some("7".to_owned())));
        assert_eq!(key("@.source"), Ok(Some("crm".to_owned())));
        assert_eq!((key("absent"), key("none")), (Ok(None), Ok(None)), "as if a client gave none");
        assert_eq!(key("list"), Err(NoRun::NoKey("list".to_owned())));
        for path in ["no", "long"] {
            assert!(matches!(key(path), Err(NoRun::Terms(_))), "{path}: {:?}", key(path));
        }
    }

    #[test]
    fn a_run_whose_session_is_not_told_is_none() {
        let event = event(json!({ "user": 7, "none": null, "no": "", "long": "x".repeat(SESSION_ID_CHARS_MAX + 1) }));
        let session = |path: &str| {
            let terms = RunTerms {
                session: at(path),
                ..RunTerms::default()
            };
            terms.of(Some(&event)).map(|(session, _)| session)
        };
        assert_eq!(session("user"), Ok(Some("7".to_owned())));
        for path in ["absent", "none", "@.data"] {
            assert_eq!(session(path), Err(NoRun::NoSession(path.to_owned())));
        }
        for path in ["no", "long"] {
            assert!(matches!(session(path), Err(NoRun::Session(_))), "{path}: {:?}", session(path));
        }
    }

    #[test]
    fn terms_that_no_start_may_have_are_refused_before_anything_happens() {
        let check = |terms: RunTerms, wanted: &str| {
            let reason = terms.check().unwrap_err();
            assert!(reason.contains(wanted), "{reason}");
        };
        let usual = RunTerms::default;
        let fixed = |text: String| Some(TermText::Fixed(text));
        let tagged = |name: &str| [(name.to_owned(), String::new())].into();
        check(
            RunTerms {
                limit_key: at("a..b"),
                ..usual()
            },
            "no path",
        );
        check(
            RunTerms {
                limit_key: fixed(String::new()),
                ..usual()
            },
            "the limit key",
        );
        check(
            RunTerms {
                session: fixed("x".repeat(SESSION_ID_CHARS_MAX + 1)),
                ..usual()
            },
            "id of a session",
        );
        check(
            RunTerms {
                deadline: Some(Duration::MAX),
                ..usual()
            },
            "the deadline",
        );
        check(
            RunTerms {
                tags: tagged("event"),
                ..usual()
            },
            "where a run came from",
        );
        check(
            RunTerms {
                tags: tagged(""),
                ..usual()
            },
            "has a name",
        );
    }
}
