//! The runs that the partition knows: in memory, being loaded, parked, lately ended.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};

use bytes::Bytes;
use everstep_common::ids::RunId;
use everstep_common::journal::Start;
use everstep_common::ports::Instant;
use everstep_core::Run;
use jiff::Timestamp;

/// Lately ended runs that are remembered, so that a late entry costs no read.
const ENDED_MAX: usize = 10_000;

/// A run in memory.
pub(crate) struct Live {
    pub run: Run,
    /// What its summary says of its start.
    pub about: About,
    /// Effects that are not acknowledged: it stays in memory while there are any.
    pub effects: u32,
    /// When something last happened to it.
    pub active: Instant,
    /// It was read from its journal: there may be schedules of it that this memory does not know.
    pub read_back: bool,
}

/// What summaries repeat of a run's start.
#[derive(Clone, Debug)]
pub(crate) struct About {
    pub start: Box<Start>,
    pub version: u32,
    pub started: Timestamp,
}

/// A run that stands still.
#[derive(Clone, Debug)]
pub(crate) struct ParkedRun {
    /// The entry that keeps it exempt from the cursor.
    pub sequence: u64,
    /// What its summary says of its start, as far as that could be read.
    pub about: Option<About>,
}

#[derive(Default)]
pub(crate) struct Slots {
    live: HashMap<RunId, Live>,
    /// Live runs by activity, the longest idle first.
    by_activity: BTreeSet<(Instant, RunId)>,
    loading: HashSet<RunId>,
    parked: BTreeMap<RunId, ParkedRun>,
    /// Large values fetched for the next entry of a run.
    fetched: HashMap<RunId, (u64, Bytes)>,
    ended: HashSet<RunId>,
    ended_order: VecDeque<RunId>,
}

impl Slots {
    pub(crate) fn insert(&mut self, id: RunId, live: Live) {
        self.loading.remove(&id);
        self.by_activity.insert((live.active, id.clone()));
        self.live.insert(id, live);
    }

    pub(crate) fn live(&mut self, id: &RunId) -> Option<&mut Live> {
        self.live.get_mut(id)
    }

    pub(crate) fn is_live(&self, id: &RunId) -> bool {
        self.live.contains_key(id)
    }

    /// Something happened to the run.
    pub(crate) fn touch(&mut self, id: &RunId, now: Instant) {
        if let Some(live) = self.live.get_mut(id)
            && live.active != now
        {
            self.by_activity.remove(&(live.active, id.clone()));
            live.active = now;
            self.by_activity.insert((now, id.clone()));
        }
    }

    /// Drops the run from memory.
    pub(crate) fn remove(&mut self, id: &RunId) -> Option<Live> {
        let live = self.live.remove(id)?;
        self.by_activity.remove(&(live.active, id.clone()));
        Some(live)
    }

    /// Drops every run from memory.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(crate) fn loading(&mut self, id: &RunId) -> bool {
        self.loading.insert(id.clone())
    }

    pub(crate) fn loads(&self) -> usize {
        self.loading.len()
    }

    pub(crate) fn loaded(&mut self, id: &RunId) {
        self.loading.remove(id);
    }

    pub(crate) fn park(&mut self, id: RunId, parked: ParkedRun) -> Option<ParkedRun> {
        self.parked.insert(id, parked)
    }

    pub(crate) fn parked(&self, id: &RunId) -> Option<&ParkedRun> {
        self.parked.get(id)
    }

    pub(crate) fn unpark(&mut self, id: &RunId) -> Option<ParkedRun> {
        self.parked.remove(id)
    }

    pub(crate) fn keep_fetched(&mut self, id: &RunId, sequence: u64, value: Bytes) {
        self.fetched.insert(id.clone(), (sequence, value));
    }

    pub(crate) fn take_fetched(&mut self, id: &RunId, sequence: u64) -> Option<Bytes> {
        let (of, value) = self.fetched.remove(id)?;
        (of == sequence).then_some(value)
    }

    /// The run is over.
    pub(crate) fn ended(&mut self, id: RunId) {
        if self.ended.insert(id.clone()) {
            self.ended_order.push_back(id);
        }
        if self.ended_order.len() > ENDED_MAX
            && let Some(oldest) = self.ended_order.pop_front()
        {
            self.ended.remove(&oldest);
        }
    }

    /// The run may begin anew: what was left of it is gone.
    pub(crate) fn may_begin(&mut self, id: &RunId) {
        if self.ended.remove(id) {
            self.ended_order.retain(|ended| ended != id);
        }
    }

    pub(crate) fn has_ended(&self, id: &RunId) -> bool {
        self.ended.contains(id)
    }

    pub(crate) fn effect_begun(&mut self, id: &RunId) {
        if let Some(live) = self.live.get_mut(id) {
            live.effects += 1;
        }
    }

    pub(crate) fn effect_done(&mut self, id: &RunId) {
        if let Some(live) = self.live.get_mut(id) {
            live.effects = live.effects.saturating_sub(1);
        }
    }

    /// How many effects of a live run are not acknowledged.
    pub(crate) fn effects(&self, id: &RunId) -> u32 {
        self.live.get(id).map_or(0, |live| live.effects)
    }

    pub(crate) fn len(&self) -> usize {
        self.live.len()
    }

    /// The run that has been idle longest and has nothing unacknowledged.
    pub(crate) fn longest_idle(&self) -> Option<RunId> {
        let idle = self
            .by_activity
            .iter()
            .find(|(_, id)| self.live.get(id).is_some_and(|live| live.effects == 0));
        idle.map(|(_, id)| id.clone())
    }
}
