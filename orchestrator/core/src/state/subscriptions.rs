//! What the shell is to look for among the events: the next one of each subscription that has a wait with nothing to take.
//!
//! ```text
//!   a wait with nothing to take ──▶ Await number n ──`in` entry──▶ mailbox ──▶ Await number n + 1, or StopAwaiting
//! ```
//!
//! One after another, each after the one before it, so that a subscription misses none and has none twice, whoever looks and however often.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use everstep_common::limits::LISTENED_MAX;
use everstep_common::subscription::{EventPlace, Listened, Subscription};
use jiff::Timestamp;

use crate::Command;

/// Events that have come of one subscription and whose places are remembered. Few can be kept for waits to come: none is looked for unless it
/// is waited for.
const RECENT_MAX: usize = 16;

/// The subscriptions of a run, by their text, which is the name of their address.
#[derive(Default)]
pub(super) struct Subscriptions {
    by_name: BTreeMap<Box<str>, Subscribed>,
    /// Those of which something else may be wanted than was said.
    touched: BTreeSet<Box<str>>,
    /// How many waits there were.
    asked: u64,
}

struct Subscribed {
    what: Arc<Subscription>,
    /// How many of its events have come.
    heard: u32,
    /// Where the last of them stood.
    last: Option<EventPlace>,
    /// The number that the shell was told to look for.
    told: Option<u32>,
    /// From when on they count, if another run has waited for them before.
    since: Option<Timestamp>,
    /// Which of the run's waits the last one for them was, if there was one.
    asked: Option<u64>,
    /// The last few that have come: the entry, and where it stood.
    recent: VecDeque<(u64, EventPlace)>,
}

impl Subscriptions {
    /// There is a wait for them.
    pub(super) fn ask(&mut self, what: &Arc<Subscription>) {
        let name: Box<str> = what.to_string().into();
        self.asked += 1;
        let asked = self.asked;
        self.subscribed(&name, || what.clone()).asked = Some(asked);
        self.touched.insert(name);
    }

    /// The run that goes on in this one had got so far with them.
    pub(super) fn go_on(&mut self, listened: &[Listened]) {
        for Listened { what, after, since } in listened {
            let subscribed = self.subscribed(&what.to_string(), || Arc::new(what.clone()));
            // What came before this begins, and was taken back with its beginning, stands further on.
            subscribed.last = subscribed.last.or(*after);
            subscribed.since = Some(*since);
        }
    }

    /// How far it has got with those that it waited for itself; with the last of them, if they are many. A subscription that is only handed on
    /// would be for ever. `first_kept` is the entry of the first event that nobody has taken.
    pub(super) fn listened(&self, since: Timestamp, first_kept: impl Fn(&str) -> Option<u64>) -> Vec<Listened> {
        let asked = self.by_name.iter().filter_map(|(name, own)| Some((own.asked?, name, own)));
        let mut asked: Vec<_> = asked.collect();
        asked.sort_unstable_by_key(|(asked, ..)| Reverse(*asked));
        asked.truncate(LISTENED_MAX);
        let listened = asked.into_iter().map(|(_, name, own)| Listened {
            what: (*own.what).clone(),
            after: own.dealt_with(first_kept(name)),
            since: own.since.unwrap_or(since),
        });
        listened.collect()
    }

    /// The next of them has come.
    pub(super) fn heard(&mut self, what: Subscription, place: EventPlace, entry: u64) {
        let name: Box<str> = what.to_string().into();
        let subscribed = self.subscribed(&name, || Arc::new(what));
        subscribed.heard += 1;
        subscribed.last = Some(place);
        subscribed.recent.truncate(RECENT_MAX - 1);
        subscribed.recent.push_front((entry, place));
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
                    since: subscribed.since.unwrap_or(since),
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
            since: None,
            asked: None,
            recent: VecDeque::new(),
        })
    }
}

impl Subscribed {
    /// Where the last of them stood that somebody has taken, all before it being taken, too.
    fn dealt_with(&self, first_kept: Option<u64>) -> Option<EventPlace> {
        let kept = first_kept.and_then(|first| self.recent.iter().find(|(entry, _)| *entry == first));
        match kept {
            Some((_, place)) => Some(EventPlace {
                sequence: place.sequence.saturating_sub(1),
                ..*place
            }),
            None => self.last,
        }
    }
}
