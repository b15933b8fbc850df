//! What the shell is to look for among the events: the next one of each subscription that has a wait with nothing to take.
//!
//! ```text
//!   a wait with nothing to take ──▶ Await number n ──`in` entry──▶ mailbox ──▶ Await number n + 1, or StopAwaiting
//! ```
//!
//! One after another, each after the one before it, so that a subscription misses none and has none twice, whoever looks and however often.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use everstep_common::subscription::{EventPlace, Subscription};
use jiff::Timestamp;

use crate::Command;

/// The subscriptions of a run, by their text, which is the name of their address.
#[derive(Default)]
pub(super) struct Subscriptions {
    by_name: BTreeMap<Box<str>, Subscribed>,
    /// Those of which something else may be wanted than was said.
    touched: BTreeSet<Box<str>>,
}

struct Subscribed {
    what: Arc<Subscription>,
    /// How many of its events have come.
    heard: u32,
    /// Where the last of them stood.
    last: Option<EventPlace>,
    /// The number that the shell was told to look for.
    told: Option<u32>,
}

impl Subscriptions {
    /// There is a wait for them.
    pub(super) fn ask(&mut self, what: &Arc<Subscription>) {
        let name: Box<str> = what.to_string().into();
        self.subscribed(&name, || what.clone());
        self.touched.insert(name);
    }

    /// The next of them has come.
    pub(super) fn heard(&mut self, what: Subscription, place: EventPlace) {
        let name: Box<str> = what.to_string().into();
        let subscribed = self.subscribed(&name, || Arc::new(what));
        subscribed.heard += 1;
        subscribed.last = Some(place);
        self.touched.insert(name);
    }

    /// Something changed for its waits.
    pub(super) fn touch(&mut self, name: &str) {
        if self.by_name.contains_key(name) {
            self.touched.insert(name.into());
        }
    }

    /// What is to be looked for now and was not said, or was and is not any more.
    pub(super) fn commands(&mut self, since: Timestamp, mut is_wanted: impl FnMut(&str) -> bool, commands: &mut Vec<Command>) {
        for name in std::mem::take(&mut self.touched) {
            let subscribed = self.by_name.get_mut(&name).expect("only those are touched");
            let wanted = is_wanted(&name).then_some(subscribed.heard + 1);
            let told = std::mem::replace(&mut subscribed.told, wanted);
            match wanted {
                Some(number) if told != wanted => commands.push(Command::Await {
                    what: subscribed.what.clone(),
                    number,
                    after: subscribed.last,
                    since,
                }),
                None if told.is_some() => commands.push(Command::StopAwaiting {
                    what: subscribed.what.clone(),
                }),
                _ => {}
            }
        }
    }

    fn subscribed(&mut self, name: &str, what: impl FnOnce() -> Arc<Subscription>) -> &mut Subscribed {
        self.by_name.entry(name.into()).or_insert_with(|| Subscribed {
            what: what(),
            heard: 0,
            last: None,
            told: None,
        })
    }
}
