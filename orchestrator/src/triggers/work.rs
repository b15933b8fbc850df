//! What follows from events, for each workflow that listens, and how it is done.
//!
//! ```text
//! message ──▶ each registration ──▶ filter, key, input ──▶ Work ──▶ a start, a member of a window, or a refusal
//! ```
//!
//! What cannot be done for good is one thing whatever it was: the event is refused, kept with the reason, and passed. So no event stops
//! those behind it.

use std::collections::BTreeSet;

use everstep_common::event::{Event, EventName, RefusedEvent};
use everstep_common::ids::WorkflowName;
use everstep_common::ports::Message;
use everstep_common::store::{Kept, Store, TriggerError, TriggeredRun};
use everstep_common::subject::Names;
use everstep_common::trigger::registration::{Listening, Registration};
use everstep_common::trigger::{EventTrigger, NoRun, Trigger};

use super::{start, windows};
use crate::metrics::metrics;

/// Something that is to be done for an event.
pub(super) struct Work {
    pub origin: Origin,
    pub what: What,
}

/// Which event, and for whom.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    pub workflow: WorkflowName,
    /// What the event is called, as far as that is known.
    pub event: String,
    /// Where it stands.
    pub sequence: u64,
}

/// What is to be done.
pub(super) enum What {
    Start(TriggeredRun),
    Window(windows::Member),
    Refuse(String),
}

impl What {
    /// By which the event is known to the trigger.
    fn key(&self) -> &str {
        match self {
            Self::Start(run) => &run.key,
            Self::Window(member) => member.key(),
            Self::Refuse(_) => "",
        }
    }
}

/// What follows from one message, for each workflow that listens.
pub(super) fn of_message(names: &Names, message: &Message, registrations: &[Kept<Registration>]) -> Vec<Work> {
    let Some(name) = names.parse_event(&message.subject) else {
        return Vec::new();
    };
    let mut work = Vec::new();
    for registration in registrations.iter().map(|kept| &kept.value) {
        let mut keys = BTreeSet::new();
        for listening in &registration.listens {
            let Some(trigger) = listens(listening, message, &name) else {
                continue;
            };
            let made = match Event::read(names, message) {
                Ok(event) => of_event(registration, trigger, &event).map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            };
            let what = match made {
                // Two triggers of one workflow that know the event by the same key start it once, as the first one says.
                Ok(Some(made)) if !keys.insert(made.key().to_owned()) => continue,
                Ok(Some(made)) => made,
                Ok(None) => continue,
                Err(reason) => What::Refuse(reason),
            };
            let origin = Origin {
                workflow: registration.workflow.clone(),
                event: name.to_string(),
                sequence: message.sequence,
            };
            work.push(Work { origin, what });
        }
    }
    work
}

/// The trigger, if it listens to this message.
fn listens<'a>(listening: &'a Listening, message: &Message, name: &EventName) -> Option<&'a EventTrigger> {
    match &listening.trigger {
        Trigger::Event(trigger) if listening.since < message.sequence && trigger.listens_to(name) => Some(trigger),
        _ => None,
    }
}

/// What a trigger makes of an event; nothing if its filter does not let it pass.
fn of_event(registration: &Registration, trigger: &EventTrigger, event: &Event) -> Result<Option<What>, NoRun> {
    if !trigger.lets_pass(event)? {
        return Ok(None);
    }
    let key = trigger.start_key(event)?;
    if let Some(batch) = trigger.batch {
        let value = trigger.input(event)?;
        let member = windows::Member::new(registration, trigger, batch, key, value, event);
        return Ok(Some(What::Window(member)));
    }
    let run = TriggeredRun::of_event(registration, trigger, key, event)?;
    Ok(Some(What::Start(run)))
}

/// Does it, or has the event refused if it can never be done.
pub(super) async fn perform(store: &Store, work: Work) -> Result<(), TriggerError> {
    let Work { origin, what } = work;
    let done = match what {
        What::Start(run) => start(store, &run).await.map(drop),
        What::Window(member) => windows::join(store, &member).await,
        What::Refuse(reason) => return refuse(store, origin, reason).await,
    };
    match done {
        Err(error) if error.is_final() => refuse(store, origin, error.to_string()).await,
        done => done,
    }
}

/// Says, and keeps, that nothing was started.
pub(super) async fn refuse(store: &Store, origin: Origin, reason: String) -> Result<(), TriggerError> {
    let Origin {
        workflow,
        event,
        sequence,
    } = origin;
    let refused = RefusedEvent::new(workflow, event, sequence, reason);
    metrics().events_refused.add(1, &[]);
    tracing::warn!(
        workflow = %refused.workflow,
        event = refused.event,
        sequence,
        reason = refused.reason,
        "an event could not start a workflow that listens to it"
    );
    store.refuse_event(&refused).await
}
