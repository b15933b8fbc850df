//! Triggers: what a workflow listens to, and what a run is started with when it happens.
//!
//! Data only. Who reads the events and the clock is in the orchestrator; [`registration`] says how it knows what is to be listened to.

pub mod cron;
pub mod filter;
pub mod path;
pub mod registration;

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::event::{Event, EventName};
use crate::ids::hex;
use crate::limits::{EVENT_BATCH_MAX, EVENT_WINDOW_MAX, NAME_CHARS_MAX, RUN_TERM_MAX, TRIGGERS_MAX};
use crate::wire;
use cron::Cron;
use filter::Filter;
use path::Path;

/// The longest start key that stands as it is; a longer one is a digest.
const START_KEY_CHARS_MAX: usize = 200;

/// Something that starts runs of a workflow.
///
/// ```
/// use everstep_common::trigger::Trigger;
///
/// let trigger = Trigger::Event(Trigger::event("user.signed_up"));
/// assert_eq!(trigger.check(), Ok(()));
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// Events by name.
    Event(EventTrigger),
    /// Times of the clock.
    Cron(CronTrigger),
}

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

/// Starts a run at each time that an expression names.
///
/// ```
/// use everstep_common::trigger::{CronTrigger, Overlap, Trigger};
///
/// let trigger = CronTrigger {
///     time_zone: "Europe/Berlin".to_owned(),
///     overlap: Overlap::Skip,
///     ..Trigger::cron("morning", "0 9 * * *")
/// };
/// assert_eq!(Trigger::Cron(trigger).check(), Ok(()));
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CronTrigger {
    /// Tells the schedules of one workflow apart.
    pub name: String,
    /// When.
    pub expression: String,
    /// In which time zone of the IANA database.
    pub time_zone: String,
    /// What becomes of a time at which the run before is still open.
    #[serde(default)]
    pub overlap: Overlap,
    /// What becomes of times at which nobody was there to start a run.
    #[serde(default)]
    pub misfire: Misfire,
    /// What the run is given; [`Input::Data`] is the schedule's name and the time.
    #[serde(default, skip_serializing_if = "Input::is_data")]
    pub input: Input,
}

/// What becomes of a time at which the schedule's run before is still open.
///
/// ```
/// use everstep_common::trigger::Overlap;
///
/// assert_eq!(Overlap::default(), Overlap::Allow);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overlap {
    /// It starts a run all the same.
    #[default]
    Allow,
    /// It starts none.
    Skip,
    /// It starts one, and the open one is asked to cancel.
    Cancel,
}

/// What becomes of the times that have passed when the schedule is looked at again after an outage.
///
/// ```
/// use everstep_common::trigger::{CronTrigger, Misfire, Trigger};
///
/// let every_hour = CronTrigger { misfire: Misfire::FireAll, ..Trigger::cron("hourly", "0 * * * *") };
/// assert_ne!(every_hour.misfire, Misfire::default());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Misfire {
    /// The latest of them starts a run.
    #[default]
    FireOnce,
    /// Each of them does.
    FireAll,
    /// None does.
    Skip,
}

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
    /// The value cannot be an input.
    #[error("its value cannot be an input: {0}")]
    Value(String),
    /// The registration holds what this version does not understand.
    #[error("the trigger is not understood here: {0}")]
    Trigger(String),
}

impl Trigger {
    /// A trigger by events of that name or pattern.
    ///
    /// ```
    /// use everstep_common::trigger::Trigger;
    ///
    /// assert_eq!(Trigger::event("order.>").event, "order.>");
    /// ```
    pub fn event(event: impl Into<String>) -> EventTrigger {
        EventTrigger {
            event: event.into(),
            filter: None,
            input: Input::Data,
            dedupe: None,
            delay: None,
            batch: None,
        }
    }

    /// A trigger by verified deliveries of a webhook; of all events of the source if none is named.
    ///
    /// ```
    /// use everstep_common::trigger::Trigger;
    ///
    /// assert_eq!(Trigger::webhook("stripe", Some("payment_intent.succeeded")).event, "webhook.stripe.payment_intent.succeeded");
    /// assert_eq!(Trigger::webhook("stripe", None).event, "webhook.stripe.>");
    /// ```
    pub fn webhook(source: &str, event: Option<&str>) -> EventTrigger {
        Self::event(format!("webhook.{source}.{}", event.unwrap_or(">")))
    }

    /// A trigger by the clock.
    ///
    /// ```
    /// use everstep_common::trigger::Trigger;
    ///
    /// assert_eq!(Trigger::cron("nightly", "0 3 * * *").time_zone, "UTC");
    /// ```
    pub fn cron(name: impl Into<String>, expression: impl Into<String>) -> CronTrigger {
        CronTrigger {
            name: name.into(),
            expression: expression.into(),
            time_zone: "UTC".to_owned(),
            overlap: Overlap::default(),
            misfire: Misfire::default(),
            input: Input::Data,
        }
    }

    /// What is wrong with it, if anything.
    ///
    /// ```
    /// use everstep_common::trigger::Trigger;
    ///
    /// let error = Trigger::Cron(Trigger::cron("nightly", "at three")).check();
    /// assert!(error.is_err());
    /// ```
    pub fn check(&self) -> Result<(), String> {
        match self {
            Self::Event(trigger) => trigger.check(),
            Self::Cron(trigger) => trigger.check(),
        }
    }
}

/// What is wrong with the triggers of a workflow together, if anything.
///
/// ```
/// use everstep_common::trigger::{Trigger, check_all};
///
/// let nightly = Trigger::Cron(Trigger::cron("nightly", "0 3 * * *"));
/// assert!(check_all(&[nightly.clone()]).is_ok());
/// assert!(check_all(&[nightly.clone(), nightly]).is_err(), "two schedules of one name");
/// ```
pub fn check_all(triggers: &[Trigger]) -> Result<(), String> {
    if triggers.len() > TRIGGERS_MAX {
        return Err(format!(
            "a workflow has at most {TRIGGERS_MAX} triggers, and this one {}",
            triggers.len()
        ));
    }
    let mut names = std::collections::BTreeSet::new();
    for (place, trigger) in triggers.iter().enumerate() {
        trigger.check()?;
        if let Trigger::Event(event) = trigger
            && triggers[..place].contains(trigger)
        {
            return Err(format!(
                "two triggers listen to {:?} in the same way; an event starts a workflow once however many triggers it has",
                event.event
            ));
        }
        if let Trigger::Cron(cron) = trigger
            && !names.insert(&cron.name)
        {
            return Err(format!(
                "two schedules are called {:?}; give them names of their own",
                cron.name
            ));
        }
    }
    Ok(())
}

impl EventTrigger {
    fn check(&self) -> Result<(), String> {
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
        let identity = match path.of(event) {
            Some(Value::String(text)) if !text.is_empty() => text,
            Some(Value::Number(number)) => number.to_string(),
            _ => return Err(NoRun::NoIdentity(dedupe.clone())),
        };
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

impl CronTrigger {
    fn check(&self) -> Result<(), String> {
        let length = self.name.chars().count();
        if length == 0 || length > NAME_CHARS_MAX || self.name.chars().any(char::is_control) {
            return Err(format!(
                "the name of a schedule has 1 to {NAME_CHARS_MAX} characters, none of them a control character"
            ));
        }
        self.times()?;
        match &self.input {
            Input::Path(_) => Err("a schedule has no body that a path could lead into".to_owned()),
            input => input.check(),
        }
    }

    /// The times that it names.
    ///
    /// ```
    /// use everstep_common::trigger::Trigger;
    ///
    /// assert!(Trigger::cron("nightly", "0 3 * * *").times().is_ok());
    /// ```
    pub fn times(&self) -> Result<Cron, String> {
        Cron::parse(&self.expression, &self.time_zone)
    }
}

impl Input {
    fn is_data(&self) -> bool {
        *self == Self::Data
    }

    fn check(&self) -> Result<(), String> {
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
    use jiff::Timestamp;
    use serde_json::json;

    use super::*;

    pub(super) fn event(data: Value) -> Event {
        Event {
            name: EventName::new("user.signed_up").unwrap(),
            id: Some("e-1".into()),
            source: Some("crm".into()),
            time: Timestamp::UNIX_EPOCH,
            sequence: 1,
            traceparent: None,
            data,
        }
    }

    #[test]
    fn patterns_name_events_as_subjects_do() {
        let check = |pattern: &str, event: &str, wanted: bool| {
            let found = Trigger::event(pattern).listens_to(&EventName::new(event).unwrap());
            assert_eq!(found, wanted, "{pattern} {event}");
        };
        check("user.signed_up", "user.signed_up", true);
        check("user.signed_up", "user.signed_up.late", false);
        check("user.*", "user.signed_up", true);
        check("user.*", "user", false);
        check("user.>", "user.signed_up.late", true);
        check("user.>", "user", false);
        check(">", "user", true);
        let webhook = Trigger::webhook("stripe", Some("payment_intent.succeeded"));
        assert!(webhook.listens_to(&EventName::webhook("stripe", "payment_intent.succeeded").unwrap()));
        assert!(Trigger::webhook("stripe", None).listens_to(&EventName::webhook("stripe", "charge").unwrap()));
    }

    #[test]
    fn a_run_is_known_by_the_event_or_by_what_the_trigger_says() {
        let event = event(json!({ "id": 7, "object": { "amount": 3 }, "no": [] }));
        let plain = Trigger::event("user.*");
        assert_eq!(plain.start_key(&event).unwrap(), "event:crm|e-1");
        let own = |path: &str| EventTrigger {
            dedupe: Some(path.to_owned()),
            ..plain.clone()
        };
        assert_eq!(own("id").start_key(&event).unwrap(), "event:user.signed_up#7");
        assert_eq!(own("no").start_key(&event), Err(NoRun::NoIdentity("no".into())));
        let of = |path: &str| EventTrigger {
            input: Input::Path(path.to_owned()),
            ..plain.clone()
        };
        assert_eq!(of("object").input(&event).unwrap(), json!({ "amount": 3 }));
        assert_eq!(of("objects").input(&event), Err(NoRun::NoInput("objects".into())));
    }

    #[test]
    fn a_long_key_stays_distinct_and_short() {
        let (one, other) = (format!("{}1", "x".repeat(500)), format!("{}2", "x".repeat(500)));
        assert_ne!(bounded(one.clone()), bounded(other));
        assert!(bounded(one).chars().count() <= START_KEY_CHARS_MAX);
    }

    #[test]
    fn what_cannot_be_listened_to_is_refused() {
        let check = |trigger: Trigger, wanted: &str| {
            let reason = trigger.check().unwrap_err();
            assert!(reason.contains(wanted), "{reason}");
        };
        check(Trigger::Event(Trigger::event("user..x")), "is no event");
        check(Trigger::Event(Trigger::event("user.>.x")), "is no event");
        let batch = Batch {
            window: Duration::from_secs(1),
            max: 0,
        };
        check(
            Trigger::Event(EventTrigger {
                batch: Some(batch),
                ..Trigger::event("a")
            }),
            "1 to 1000",
        );
        let week = Batch {
            window: Duration::from_secs(7 * 24 * 60 * 60),
            max: 1,
        };
        check(
            Trigger::Event(EventTrigger {
                batch: Some(week),
                ..Trigger::event("a")
            }),
            "at most 6 days",
        );
        check(
            Trigger::Event(EventTrigger {
                delay: Some(Duration::from_secs(400 * 24 * 60 * 60)),
                ..Trigger::event("a")
            }),
            "at most 366 days",
        );
        check(Trigger::Cron(Trigger::cron("", "0 9 * * *")), "name of a schedule");
        let cron = CronTrigger {
            input: Input::Fixed("{".into()),
            ..Trigger::cron("daily", "0 9 * * *")
        };
        check(Trigger::Cron(cron), "not JSON");
        let twice = vec![
            Trigger::Cron(Trigger::cron("a", "0 9 * * *")),
            Trigger::Cron(Trigger::cron("a", "0 8 * * *")),
        ];
        assert!(check_all(&twice).unwrap_err().contains("two schedules"));
    }
}
