//! What starts runs by events: which ones, and what a run is known by and given.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::filter::Filter;
use super::input::{Input, NoRun, fixed};
use super::path::Path;
use super::terms::{RunTerms, text_of};
use crate::event::{Event, EventName};
use crate::ids::hex;
use crate::limits::{EVENT_BATCH_MAX, EVENT_WINDOW_MAX, RUN_TERM_MAX};

/// The longest start key that stands as it is; a longer one is a digest.
const START_KEY_CHARS_MAX: usize = 200;

/// Starts a run for each event.
///
/// ```
/// use everstep_common::trigger::{EventTrigger, Input, Trigger};
///
/// let trigger = EventTrigger {
///     filter: Some("data.country == 'de'".to_owned()),
///     input: Input::Path("data.id".to_owned()),
///     ..Trigger::event("user.*")
/// };
/// assert_eq!(trigger.event, "user.*");
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EventTrigger {
    /// The event's name; `*` stands for any one word, `>` at the end for any words.
    pub event: String,
    /// Only events that this holds for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// What the run is given.
    #[serde(default, skip_serializing_if = "Input::is_data")]
    pub input: Input,
    /// Where in the event its identity stands, if not in its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dedupe: Option<String>,
    /// How long after the event the run starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay: Option<Duration>,
    /// Events of a window of time go to one run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<Batch>,
    /// Under which terms its runs are started.
    #[serde(default, skip_serializing_if = "RunTerms::is_usual")]
    pub terms: RunTerms,
}

/// Several events for one run: those of a stretch of time. The stretches follow one another, each as long as the window.
///
/// ```
/// use std::time::Duration;
/// use everstep_common::trigger::{Batch, Trigger};
///
/// let batch = Batch { window: Duration::from_secs(60), max: 100 };
/// let trigger = Trigger::Event(everstep_common::trigger::EventTrigger { batch: Some(batch), ..Trigger::event("page.viewed") });
/// assert_eq!(trigger.check(), Ok(()));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// How long a window is.
    pub window: Duration,
    /// Events of one run at most; a window with more of them makes several runs.
    pub max: u32,
}

impl EventTrigger {
    pub(super) fn check(&self) -> Result<(), String> {
        check_pattern(&self.event)?;
        if let Some(filter) = &self.filter {
            Filter::parse(filter)?;
        }
        if let Some(dedupe) = &self.dedupe {
            Path::parse(dedupe)?;
        }
        if self.delay.is_some_and(|delay| delay > RUN_TERM_MAX) {
            return Err(format!("a delay is at most {} days", days(RUN_TERM_MAX)));
        }
        match self.batch {
            Some(batch) if batch.max == 0 || batch.max > EVENT_BATCH_MAX => {
                return Err(format!("a batch has 1 to {EVENT_BATCH_MAX} events"));
            }
            Some(_) if matches!(self.input, Input::Fixed(_) | Input::Nothing) => {
                return Err("a batch gives its run a list of events, so its workflow takes one".to_owned());
            }
            Some(_) if self.delay.is_some() => {
                return Err("a batch waits for its window; it takes no `delay` beside it".to_owned());
            }
            Some(batch) if batch.window < Duration::from_secs(1) => {
                return Err("a batch's window is at least a second: the server's schedules are that coarse".to_owned());
            }
            Some(batch) if batch.window > EVENT_WINDOW_MAX => {
                return Err(format!(
                    "a batch's window is at most {} days: events are kept for seven",
                    days(EVENT_WINDOW_MAX)
                ));
            }
            _ => {}
        }
        if let (Some(_), Some(term)) = (self.batch, self.terms.looked_up()) {
            return Err(format!(
                "a batch gives its run a list of events, which have no one `{term}` together; leave out `{term}` or `batch`"
            ));
        }
        self.terms.check()?;
        self.input.check()
    }

    /// Whether it listens to events of that name.
    ///
    /// ```
    /// use everstep_common::event::EventName;
    /// use everstep_common::trigger::Trigger;
    ///
    /// let trigger = Trigger::event("user.*");
    /// assert!(trigger.listens_to(&EventName::new("user.signed_up").unwrap()));
    /// assert!(!trigger.listens_to(&EventName::new("order.paid").unwrap()));
    /// ```
    pub fn listens_to(&self, event: &EventName) -> bool {
        let mut words = event.as_str().split('.');
        for pattern in self.event.split('.') {
            match (pattern, words.next()) {
                (">", Some(_)) => return true,
                ("*", Some(_)) => {}
                (pattern, Some(word)) if pattern == word => {}
                _ => return false,
            }
        }
        words.next().is_none()
    }

    /// Whether the event passes its filter.
    ///
    /// ```
    /// use everstep_common::event::Event;
    /// use everstep_common::trigger::{EventTrigger, NoRun};
    ///
    /// fn is_for_us(trigger: &EventTrigger, event: &Event) -> Result<bool, NoRun> {
    ///     Ok(trigger.listens_to(&event.name) && trigger.lets_pass(event)?)
    /// }
    /// ```
    pub fn lets_pass(&self, event: &Event) -> Result<bool, NoRun> {
        let Some(filter) = &self.filter else { return Ok(true) };
        let filter = Filter::parse(filter).map_err(NoRun::Trigger)?;
        Ok(filter.holds(event))
    }

    /// The key of the run that it makes of the event: the same however often the event comes.
    ///
    /// ```
    /// use everstep_common::event::Event;
    /// use everstep_common::trigger::{EventTrigger, NoRun};
    ///
    /// /// Whether both deliveries are of the same.
    /// fn is_repeated(trigger: &EventTrigger, one: &Event, other: &Event) -> Result<bool, NoRun> {
    ///     Ok(trigger.start_key(one)? == trigger.start_key(other)?)
    /// }
    /// ```
    pub fn start_key(&self, event: &Event) -> Result<String, NoRun> {
        let Some(dedupe) = &self.dedupe else {
            return Ok(bounded(format!("event:{}", event.identity())));
        };
        let path = Path::parse(dedupe).map_err(NoRun::Trigger)?;
        let identity = path.of(event).and_then(text_of).filter(|text| !text.is_empty());
        let identity = identity.ok_or_else(|| NoRun::NoIdentity(dedupe.clone()))?;
        Ok(bounded(format!("event:{}#{identity}", event.name)))
    }

    /// Tells it from triggers that say something else, in few characters.
    pub fn fingerprint(&self) -> String {
        let text = serde_json::to_vec(self).expect("texts and numbers are JSON");
        hex(&Sha256::digest(text))[..12].to_owned()
    }

    /// What the run of the event is given, as JSON.
    ///
    /// ```
    /// use everstep_common::event::Event;
    /// use everstep_common::trigger::{EventTrigger, NoRun};
    ///
    /// fn shown(trigger: &EventTrigger, event: &Event) -> Result<String, NoRun> {
    ///     Ok(trigger.input(event)?.to_string())
    /// }
    /// ```
    pub fn input(&self, event: &Event) -> Result<Value, NoRun> {
        match &self.input {
            Input::Data => Ok(event.data.clone()),
            Input::Path(path) => {
                let found = Path::parse(path).map_err(NoRun::Trigger)?.of(event);
                found.ok_or_else(|| NoRun::NoInput(path.clone()))
            }
            Input::Fixed(json) => fixed(json),
            Input::Nothing => Ok(Value::Null),
        }
    }
}

/// A start key that people can read, unless it is too long for that.
fn bounded(key: String) -> String {
    if key.chars().count() <= START_KEY_CHARS_MAX {
        return key;
    }
    let readable: String = key.chars().take(START_KEY_CHARS_MAX / 2).collect();
    format!("{readable}…{}", hex(&Sha256::digest(&key)))
}

fn days(duration: Duration) -> u64 {
    duration.as_secs() / (24 * 60 * 60)
}

fn check_pattern(pattern: &str) -> Result<(), String> {
    let words = pattern.strip_suffix(".>").unwrap_or(pattern);
    let plain: Vec<&str> = words.split('.').map(|word| if word == "*" { "any" } else { word }).collect();
    match EventName::new(plain.join(".")) {
        Ok(_) => Ok(()),
        Err(_) if pattern == ">" => Ok(()),
        Err(_) => Err(format!(
            "{pattern:?} is no event; write words with dots, such as \"user.signed_up\", with `*` for any word and `>` for any that follow"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_key_stays_distinct_and_short() {
        let (one, other) = (format!("{}1", "x".repeat(500)), format!("{}2", "x".repeat(500)));
        assert_ne!(bounded(one.clone()), bounded(other));
        assert!(bounded(one).chars().count() <= START_KEY_CHARS_MAX);
    }
}
