//! What runs look for among the events of one name, and how far that has been read. Data and rules: the stream is followed elsewhere.
//!
//! ```text
//!   ask ──▶ behind ──the follow begins early enough──▶ ──an event that it takes──▶ Found
//!    ▲                                                                              │
//!    └──── the next one, after that event ◀── the run has it in its journal ◀───────┘
//! ```
//!
//! A follow brings each event once, in order, and begins anew further back when a search asks for what it has passed. What a search was
//! brought twice it knows by its place.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use everstep_common::event::Event;
use everstep_common::ids::RunId;
use everstep_common::subscription::{EventPlace, Subscription};
use everstep_common::trigger::path::Path;
use jiff::Timestamp;

/// Events that a search keeps while the one before is being recorded. Further ones are read again.
const KEPT_MAX: usize = 32;

/// How far the clocks of a stream's leaders may be apart: a follow begins so much earlier than what is looked for.
const MARGIN: Duration = Duration::from_secs(2);

/// A search: the run, and its subscription as text.
type SearchId = (RunId, String);

/// An event that is the next one of its subscription.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Found {
    pub run: RunId,
    pub what: Arc<Subscription>,
    pub place: EventPlace,
    pub event: Arc<Event>,
    /// The run that goes on in it, which may have heard of the same event from another place.
    pub before: Option<RunId>,
}

/// What a run looks for.
#[derive(Clone, Debug)]
pub(super) struct Sought {
    pub what: Arc<Subscription>,
    pub number: u32,
    pub after: Option<EventPlace>,
    pub since: Timestamp,
    /// The run that goes on in it.
    pub before: Option<RunId>,
}

/// The searches for events of one name.
#[derive(Debug, Default)]
pub(super) struct Searches {
    all: BTreeMap<SearchId, Search>,
    /// By path; those that take any event under none.
    index: BTreeMap<Option<String>, AtPath>,
    /// Those that ask for what the follow has passed.
    behind: BTreeSet<SearchId>,
    follow: Option<Follow>,
}

/// Searches for what stands at a path.
#[derive(Debug)]
struct AtPath {
    /// The path, read once; nothing if any event will do, or no event can.
    path: Option<Path>,
    by_value: HashMap<String, BTreeSet<SearchId>>,
}

#[derive(Debug)]
struct Search {
    sought: Sought,
    /// The first of what is kept is being recorded.
    found: bool,
    /// Events that it takes, in order.
    kept: VecDeque<(EventPlace, Arc<Event>)>,
    /// There may be more of them than are kept.
    overflowed: bool,
    /// The run was read back and has not asked for it again.
    doubted: bool,
}

/// How far the events have been read.
#[derive(Debug)]
struct Follow {
    /// What was stored then or later is brought.
    from: Timestamp,
    /// When the stream was created, once that is known.
    stream: Option<Timestamp>,
    /// The last event brought, and when it was stored.
    last: Option<(u64, Timestamp)>,
    /// What stood when it began has been brought.
    caught_up: bool,
}

impl Sought {
    /// Where to begin to look.
    fn floor(&self) -> Timestamp {
        self.after.map_or(self.since, |place| place.time)
    }

    /// Whether what stands there comes after what was looked at.
    fn is_behind(&self, place: &EventPlace) -> bool {
        match self.after {
            Some(after) if after.stream == place.stream => comes_after(&after, place),
            _ => self.since <= place.time,
        }
    }
}

impl Search {
    fn takes(&self, place: &EventPlace) -> bool {
        let is_new = self
            .kept
            .back()
            .is_none_or(|(kept, _)| kept.stream != place.stream || comes_after(kept, place));
        is_new && !self.overflowed && self.sought.is_behind(place)
    }

    /// The next event, if it is known and not being recorded.
    fn offer(&mut self, run: &RunId) -> Option<Found> {
        if self.found {
            return None;
        }
        let (place, event) = self.kept.front()?.clone();
        self.found = true;
        Some(Found {
            run: run.clone(),
            what: self.sought.what.clone(),
            place,
            event,
            before: self.sought.before.clone(),
        })
    }
}

impl Searches {
    /// Whether nobody looks for anything.
    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// A run looks for the next event of a subscription; what it is if that is known already.
    pub(super) fn ask(&mut self, run: &RunId, sought: Sought) -> Option<Found> {
        let id = (run.clone(), sought.what.to_string());
        match self.all.get_mut(&id) {
            Some(search) if search.sought.number == sought.number => {
                // One that was read back may not have got what was found for it; a second record of it is refused.
                if std::mem::take(&mut search.doubted) {
                    search.found = false;
                }
                search.offer(run)
            }
            Some(search) if search.sought.number < sought.number => {
                search.kept.retain(|(place, _)| sought.is_behind(place));
                search.sought = sought;
                search.doubted = false;
                self.go_on(&id)
            }
            _ => {
                self.add(id, sought);
                None
            }
        }
    }

    /// What was found is an event that the run has heard before, from another place.
    pub(super) fn pass_over(&mut self, run: &RunId, what: &Subscription, place: &EventPlace) -> Option<Found> {
        let id = (run.clone(), what.to_string());
        let search = self.all.get_mut(&id)?;
        search.kept.pop_front_if(|(first, _)| first == place)?;
        search.sought.after = Some(*place);
        self.go_on(&id)
    }

    /// The event that was found is dealt with; the next one if it is known.
    fn go_on(&mut self, id: &SearchId) -> Option<Found> {
        let search = self.all.get_mut(id)?;
        search.found = false;
        if std::mem::take(&mut search.overflowed) {
            self.behind.insert(id.clone());
        }
        search.offer(&id.0)
    }

    fn add(&mut self, id: SearchId, sought: Sought) {
        self.forget(&id.0, &sought.what);
        let since = earlier(sought.floor());
        let is_passed = |follow: &Follow| since < follow.from || follow.last.is_some_and(|(_, time)| since <= time);
        if self.follow.as_ref().is_none_or(is_passed) {
            self.behind.insert(id.clone());
        }
        let (path, value) = indexed(&sought.what);
        let at_path = self.index.entry(path).or_insert_with_key(|path| AtPath {
            path: path.as_ref().and_then(|path| Path::parse(path).ok()),
            by_value: HashMap::new(),
        });
        at_path.by_value.entry(value).or_default().insert(id.clone());
        let search = Search {
            sought,
            found: false,
            kept: VecDeque::new(),
            overflowed: false,
            doubted: false,
        };
        self.all.insert(id, search);
    }

    /// The run looks for no more of them.
    pub(super) fn forget(&mut self, run: &RunId, what: &Subscription) {
        let id = (run.clone(), what.to_string());
        if self.all.remove(&id).is_none() {
            return;
        }
        self.behind.remove(&id);
        let (path, value) = indexed(what);
        if let Some(AtPath { by_value, .. }) = self.index.get_mut(&path) {
            if let Some(ids) = by_value.get_mut(&value) {
                ids.remove(&id);
                if ids.is_empty() {
                    by_value.remove(&value);
                }
            }
            if by_value.is_empty() {
                self.index.remove(&path);
            }
        }
    }

    /// The run was read back: what it does not ask for again is over.
    pub(super) fn doubt(&mut self, run: &RunId) {
        self.of_run(run).for_each(|search| search.doubted = true);
    }

    /// It has asked for what it looks for.
    pub(super) fn forget_doubted(&mut self, run: &RunId) {
        let doubted: Vec<_> = self
            .of_run(run)
            .filter(|search| search.doubted)
            .map(|search| search.sought.what.clone())
            .collect();
        doubted.iter().for_each(|what| self.forget(run, what));
    }

    /// The run has ended.
    pub(super) fn forget_run(&mut self, run: &RunId) {
        self.doubt(run);
        self.forget_doubted(run);
    }

    fn of_run(&mut self, run: &RunId) -> impl Iterator<Item = &mut Search> {
        let of_run = self.all.range_mut((run.clone(), String::new())..);
        of_run.take_while(move |((of, _), _)| of == run).map(|(_, search)| search)
    }

    /// From when on the events are to be followed anew, if they are: what stood when they were last followed is brought first, so that many
    /// searches are caught up with together.
    pub(super) fn follow_anew(&mut self) -> Option<Timestamp> {
        if self.behind.is_empty() || self.follow.as_ref().is_some_and(|follow| !follow.caught_up) {
            return None;
        }
        let floors = self
            .behind
            .iter()
            .filter_map(|id| self.all.get(id))
            .map(|search| search.sought.floor());
        let from = earlier(floors.min()?);
        self.behind.clear();
        self.follow = Some(Follow {
            from,
            stream: None,
            last: None,
            caught_up: false,
        });
        Some(from)
    }

    /// The follow has begun, in the stream that was created then.
    pub(super) fn opened(&mut self, stream: Timestamp) {
        if let Some(follow) = &mut self.follow {
            follow.stream = Some(stream);
        }
    }

    /// What stood when the follow began has been brought.
    pub(super) fn caught_up(&mut self) {
        if let Some(follow) = &mut self.follow {
            follow.caught_up = true;
        }
    }

    /// The follow is over: everything is looked for anew.
    pub(super) fn lost(&mut self) {
        self.follow = None;
        self.behind = self.all.keys().cloned().collect();
    }

    /// The next message is there, with the event that it is if it can be read; who has found what.
    pub(super) fn heard(&mut self, sequence: u64, time: Timestamp, event: Option<Event>) -> Vec<Found> {
        let Some(follow) = &mut self.follow else { return Vec::new() };
        follow.last = Some((sequence, time));
        let (Some(stream), Some(event)) = (follow.stream, event) else {
            return Vec::new();
        };
        let (place, event) = (EventPlace { stream, sequence, time }, Arc::new(event));
        let mut found = Vec::new();
        for id in self.takers(&event) {
            let Some(search) = self.all.get_mut(&id) else { continue };
            if search.takes(&place) {
                search.kept.push_back((place, event.clone()));
                search.overflowed = search.kept.len() >= KEPT_MAX;
                found.extend(search.offer(&id.0));
            }
        }
        found
    }

    /// The searches whose subscriptions take the event.
    fn takers(&self, event: &Event) -> Vec<SearchId> {
        let mut takers = Vec::new();
        for (written, AtPath { path, by_value }) in &self.index {
            let value = match written {
                None => Some(String::new()),
                Some(_) => path.as_ref().and_then(|path| path.of(event)).map(|value| value.to_string()),
            };
            let ids = value.and_then(|value| by_value.get(&value));
            takers.extend(ids.into_iter().flatten().cloned());
        }
        takers
    }

    /// Whether everything up to the last event, which stands there, has been looked at for the search and it has found nothing.
    pub(super) fn has_looked(&self, run: &RunId, what: &Subscription, last: Option<(u64, Timestamp)>) -> bool {
        let id = (run.clone(), what.to_string());
        let (Some(search), Some(follow)) = (self.all.get(&id), &self.follow) else {
            return false;
        };
        let is_read =
            last.is_none_or(|(sequence, time)| time < follow.from || follow.last.is_some_and(|(read, _)| sequence <= read));
        follow.caught_up && is_read && search.kept.is_empty() && !self.behind.contains(&id)
    }
}

fn earlier(time: Timestamp) -> Timestamp {
    time.checked_sub(MARGIN).unwrap_or(Timestamp::MIN)
}

/// Whether one place comes after another of the same stream. One that was rolled back goes on with sequences that it had before, at a later
/// time: by more than the clocks of its leaders may be apart.
fn comes_after(before: &EventPlace, place: &EventPlace) -> bool {
    before.sequence < place.sequence || before.time < earlier(place.time)
}

/// Under which path and value a subscription is found.
fn indexed(what: &Subscription) -> (Option<String>, String) {
    match &what.matching {
        None => (None, String::new()),
        Some(matching) => (Some(matching.path.clone()), matching.value.to_string()),
    }
}

#[cfg(test)]
mod tests;
