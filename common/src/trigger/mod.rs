//! Triggers: what a workflow listens to, and what a run is started with when it happens.
//!
//! Data only. Who reads the events and the clock is in the orchestrator; [`registration`] says how it knows what is to be listened to.

mod by_clock;
mod by_event;
pub mod cron;
pub mod filter;
mod input;
pub mod path;
pub mod registration;
mod terms;

use serde::{Deserialize, Serialize};

use crate::limits::TRIGGERS_MAX;

pub use by_clock::{CronTrigger, Misfire, Overlap};
pub use by_event::{Batch, EventTrigger};
pub(crate) use input::fixed;
pub use input::{Input, NoRun, encoded};
pub use terms::{RunTerms, TermText};

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
            terms: RunTerms::default(),
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
            terms: RunTerms::default(),
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::Timestamp;
    use serde_json::{Value, json};

    use super::*;
    use crate::event::{Event, EventName};

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
