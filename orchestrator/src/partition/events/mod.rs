//! Events that runs wait for: looked for in `EVENTS` for every run of the partition, in memory or not, and recorded as `in` entries.
//!
//! ```text
//!   Await ──▶ Searches of its name ◀── one follow for each name ◀── EVENTS
//!                 └── the next event ──▶ Hear: `in.event.<subscription>.<event>` ──feed──▶ the run, read back if need be
//! ```
//!
//! Nothing of this is kept anywhere but in the journals: a new owner reads every open run back, and they ask again. How far the events have
//! been read need not be known, since each search says after which event it begins. [`searches`] says who has found what, [`follow`] brings
//! the events, [`record`] writes down what was found.

mod follow;
mod record;
mod searches;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use everstep_common::event::{Event, EventName};
use everstep_common::ids::RunId;
use everstep_common::key::StepKey;
use everstep_common::ports::{Followed, GetLast};
use everstep_common::store::Store;
use everstep_common::subscription::{EventPlace, Subscription};
use jiff::Timestamp;

use self::searches::{Searches, Sought};
use super::Partition;
use super::effect::Effect;
use super::io::Input;
use crate::metrics::metrics;

pub(crate) use follow::Heard;
pub(crate) use searches::Found;

/// How long a deadline waits before it is looked again whether the events before it have been read.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// What is looked for.
#[derive(Debug, Default)]
pub(crate) struct Events {
    by_name: BTreeMap<EventName, Searches>,
    /// Names whose follow may have to begin anew, or to end.
    changed: BTreeSet<EventName>,
    /// Waits for events that have a deadline.
    deadlines: BTreeMap<RunId, BTreeMap<StepKey, Arc<Subscription>>>,
}

/// A deadline of a wait for an event has come, and the last event of that name stands there.
#[derive(Debug)]
pub(crate) struct Looked {
    run: RunId,
    key: StepKey,
    due: Timestamp,
    /// Its sequence and when it was stored, if there is one; nothing if the server did not say.
    last: Option<Option<(u64, Timestamp)>>,
}

impl Events {
    /// Whether the timer of that key is the deadline of a wait for an event.
    pub(super) fn has_deadline(&self, run: &RunId, key: &StepKey) -> bool {
        self.deadline(run, key).is_some()
    }

    fn deadline(&self, run: &RunId, key: &StepKey) -> Option<&Arc<Subscription>> {
        self.deadlines.get(run)?.get(key)
    }

    /// The wait is over.
    pub(super) fn forget_deadline(&mut self, run: &RunId, key: &StepKey) {
        if let Some(of_run) = self.deadlines.get_mut(run) {
            of_run.remove(key);
            if of_run.is_empty() {
                self.deadlines.remove(run);
            }
        }
    }

    /// The run was read back and is about to say what it waits for.
    pub(super) fn doubt(&mut self, run: &RunId) {
        self.deadlines.remove(run);
        self.by_name.values_mut().for_each(|searches| searches.doubt(run));
    }

    /// It has said so.
    pub(super) fn forget_doubted(&mut self, run: &RunId) {
        self.by_name.values_mut().for_each(|searches| searches.forget_doubted(run));
        self.look_for_unused();
    }

    /// The run waits for nothing any more.
    pub(super) fn forget_run(&mut self, run: &RunId) {
        self.deadlines.remove(run);
        self.by_name.values_mut().for_each(|searches| searches.forget_run(run));
        self.look_for_unused();
    }

    fn look_for_unused(&mut self) {
        let unused = self.by_name.iter().filter(|(_, searches)| searches.is_empty());
        self.changed.extend(unused.map(|(name, _)| name.clone()));
    }
}

impl Partition {
    /// A run looks for the next event of a subscription.
    pub(super) fn await_event(
        &mut self,
        run: &RunId,
        what: Arc<Subscription>,
        number: u32,
        after: Option<EventPlace>,
        since: Timestamp,
    ) {
        let name = what.event.clone();
        let sought = Sought {
            what,
            number,
            after,
            since,
            before: self.slots.live(run).and_then(|live| live.about.continues.clone()),
        };
        let found = self.events.by_name.entry(name.clone()).or_default().ask(run, sought);
        self.events.changed.insert(name);
        found.into_iter().for_each(|found| self.found(found));
    }

    pub(super) fn stop_awaiting(&mut self, run: &RunId, what: &Subscription) {
        if let Some(searches) = self.events.by_name.get_mut(&what.event) {
            searches.forget(run, what);
            self.events.changed.insert(what.event.clone());
        }
    }

    /// Follows what is looked for, from where it is.
    pub(super) fn follow_events(&mut self) {
        if self.stopping {
            return;
        }
        for name in std::mem::take(&mut self.events.changed) {
            let Some(searches) = self.events.by_name.get_mut(&name) else {
                continue;
            };
            if searches.is_empty() {
                self.events.by_name.remove(&name);
                self.io.events.remove(&name);
            } else if let Some(from) = searches.follow_anew() {
                let followed = follow::follow(&self.store, &name, from);
                self.io.events.insert(name, followed);
            }
        }
    }

    /// Following events of that name has brought something.
    pub(super) fn heard(&mut self, name: EventName, heard: Heard) {
        let Some(searches) = self.events.by_name.get_mut(&name) else {
            return;
        };
        let found = match heard {
            Heard::Opened(stream) => {
                searches.opened(stream);
                Vec::new()
            }
            Heard::Followed(Followed::CaughtUp) => {
                searches.caught_up();
                self.events.changed.insert(name);
                Vec::new()
            }
            Heard::Followed(Followed::Lost(reason)) => {
                tracing::warn!(event = %name, reason, "events are followed anew");
                searches.lost();
                self.events.changed.insert(name);
                Vec::new()
            }
            Heard::Followed(Followed::Message(message)) => {
                let event = Event::read(self.store.names(), &message).ok();
                searches.heard(message.sequence, message.time, event)
            }
        };
        found.into_iter().for_each(|found| self.found(found));
    }

    fn found(&mut self, found: Found) {
        metrics().heard.add(1, &[]);
        self.perform(None, Effect::Hear(found));
    }

    /// What stands there is none that the run has not heard: the next one is looked for.
    pub(super) fn heard_before(&mut self, run: &RunId, what: &Subscription, place: &EventPlace) {
        let searches = self.events.by_name.get_mut(&what.event);
        let found = searches.and_then(|searches| searches.pass_over(run, what, place));
        self.events.changed.insert(what.event.clone());
        found.into_iter().for_each(|found| self.found(found));
    }

    /// A wait for an event has a deadline.
    pub(super) fn event_deadline(&mut self, run: &RunId, key: &StepKey, what: Arc<Subscription>) {
        self.events
            .deadlines
            .entry(run.clone())
            .or_default()
            .insert(key.clone(), what);
    }

    /// The deadline of a wait for an event has come: it passes once every event that was stored before has been looked at.
    pub(super) fn event_deadline_due(&mut self, run: RunId, key: StepKey, due: Timestamp, pause: Duration) {
        let Some(what) = self.events.deadline(&run, &key) else {
            return;
        };
        let (store, subject) = (self.store.clone(), self.store.names().event(&what.event));
        self.io.begin(Box::pin(async move {
            store.clock().sleep(pause).await;
            let last = last_event(&store, subject).await;
            Input::Looked(Looked { run, key, due, last })
        }));
    }

    pub(super) fn looked(&mut self, looked: Looked) {
        let Looked { run, key, due, last } = looked;
        let Some(what) = self.events.deadline(&run, &key) else {
            return;
        };
        let searches = self.events.by_name.get(&what.event);
        let has_looked = last.is_some_and(|last| searches.is_some_and(|searches| searches.has_looked(&run, what, last)));
        if has_looked {
            self.events.forget_deadline(&run, &key);
            self.create_timer(&run, key, due);
        } else if !self.stopping {
            self.event_deadline_due(run, key, due, LOOK_AGAIN);
        }
    }
}

/// Where the last event of that subject stands, if there is one; nothing if the server does not say.
async fn last_event(store: &Store, subject: String) -> Option<Option<(u64, Timestamp)>> {
    let request = GetLast {
        stream: store.names().event_stream(),
        subjects: vec![subject],
        up_to: None,
        leader: true,
    };
    match store.broker().get_last(request).await {
        Ok(snapshot) => Some(snapshot.messages.first().map(|message| (message.sequence, message.time))),
        Err(error) => {
            tracing::debug!(%error, "the last event was not read yet");
            None
        }
    }
}
