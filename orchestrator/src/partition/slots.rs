//! The runs that the partition knows: in memory, being loaded, parked, lately ended.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use everstep_common::ids::{RunId, WorkflowName};
use everstep_common::journal::{Parent, Start};
use everstep_common::ports::Instant;
use everstep_common::summary::RunSummary;
use everstep_core::Run;
use jiff::Timestamp;

/// Lately ended runs that are remembered, so that a late entry costs no read.
const ENDED_MAX: usize = 10_000;

/// A run in memory.
pub(crate) struct Live {
    pub run: Run,
    /// What is repeated of its start.
    pub about: Arc<About>,
    /// Effects that are not acknowledged: it stays in memory while there are any.
    pub effects: u32,
    /// When something last happened to it.
    pub active: Instant,
    /// Which of its waits on the outside its summary tells, as [`Run::outside_changes`] counts them.
    pub told_waits: u64,
    /// It was read from its journal: there may be schedules of it that this memory does not know.
    pub read_back: bool,
    /// It has begun, and whether it has to wait for a place is being recorded: nothing that it asks for is done meanwhile.
    pub held: bool,
}

impl Live {
    /// Whether nothing of it is on its way to the server.
    fn is_settled(&self) -> bool {
        self.effects == 0 && !self.held
    }
}

/// What summaries and tasks repeat of a run's start; not its input, which may be large.
#[derive(Clone, Debug)]
pub(crate) struct About {
    pub workflow: WorkflowName,
    /// The version that it is pinned to, or that its code here has; unknown without both.
    pub version: Option<u32>,
    pub started: Timestamp,
    /// When the first of the runs was started that go on in one another up to this one.
    pub since: Timestamp,
    pub tags: BTreeMap<String, String>,
    pub traceparent: Option<String>,
    /// Of tasks that wait for the same.
    pub priority: i8,
    /// Whose work it is, where its workflow limits runs of one key.
    pub limit_key: Option<String>,
    /// The run that goes on in it.
    pub continues: Option<RunId>,
    /// The step that started it.
    pub parent: Option<Parent>,
}

impl About {
    pub(crate) fn new(start: &Start, version: Option<u32>, started: Timestamp) -> Self {
        Self {
            workflow: start.workflow.clone(),
            version,
            started,
            since: start.continues.as_ref().and_then(|before| before.since).unwrap_or(started),
            tags: start.tags.clone(),
            traceparent: start.traceparent.clone(),
            priority: start.terms.priority,
            limit_key: start.terms.key.clone(),
            continues: start.continues.as_ref().map(|before| before.from.clone()),
            parent: start.parent.clone(),
        }
    }

    /// What the summary that stands of it says.
    pub(crate) fn of(summary: RunSummary) -> Self {
        Self {
            workflow: summary.workflow,
            version: summary.version,
            started: summary.started,
            since: summary.started,
            tags: summary.tags,
            traceparent: None,
            priority: 0,
            limit_key: None,
            continues: None,
            parent: None,
        }
    }
}

/// A run that stands still.
#[derive(Clone, Debug)]
pub(crate) struct ParkedRun {
    /// The entry that keeps it exempt from the cursor.
    pub sequence: u64,
    /// What its summary says of its start.
    pub about: Arc<About>,
    /// Why it stands still.
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
    /// It may go on elsewhere, where its code is.
    pub lacks_code: bool,
}

/// A read of a run's journal that is under way. Only the newest one of a run counts: an older one may not hold what has been taken in since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Load(u64);

#[derive(Default)]
pub(crate) struct Slots {
    live: HashMap<RunId, Live>,
    loading: HashMap<RunId, Load>,
    /// How many loads were ever begun.
    loads_begun: u64,
    parked: BTreeMap<RunId, ParkedRun>,
    /// Large values fetched for the next entry of a run.
    fetched: HashMap<RunId, (u64, Bytes)>,
    /// Each with its number among all that ended.
    ended: HashMap<RunId, u64>,
    /// The same by number. A run that was forgotten may stand here still.
    ended_order: VecDeque<(u64, RunId)>,
    ended_count: u64,
}

impl Slots {
    pub(crate) fn insert(&mut self, id: RunId, live: Live) {
        self.loading.remove(&id);
        self.live.insert(id, live);
    }

    pub(crate) fn live(&mut self, id: &RunId) -> Option<&mut Live> {
        self.live.get_mut(id)
    }

    pub(crate) fn is_live(&self, id: &RunId) -> bool {
        self.live.contains_key(id)
    }

    /// Changes every run in memory.
    pub(crate) fn each_live(&mut self, mut change: impl FnMut(&mut Run)) {
        self.live.values_mut().for_each(|live| change(&mut live.run));
    }

    /// Something happened to the run.
    pub(crate) fn touch(&mut self, id: &RunId, now: Instant) {
        if let Some(live) = self.live.get_mut(id) {
            live.active = now;
        }
    }

    /// Drops the run from memory, with what is on its way for it.
    pub(crate) fn remove(&mut self, id: &RunId) -> Option<Live> {
        self.loading.remove(id);
        self.fetched.remove(id);
        self.live.remove(id)
    }

    /// A journal is about to be read; nothing if a read of it is under way.
    pub(crate) fn begin_load(&mut self, id: &RunId) -> Option<Load> {
        if self.loading.contains_key(id) {
            return None;
        }
        self.loads_begun += 1;
        let load = Load(self.loads_begun);
        self.loading.insert(id.clone(), load);
        Some(load)
    }

    /// A journal was read; whether that still counts.
    pub(crate) fn end_load(&mut self, id: &RunId, load: Load) -> bool {
        let counts = self.loading.get(id) == Some(&load);
        if counts {
            self.loading.remove(id);
        }
        counts
    }

    pub(crate) fn is_loading(&self, id: &RunId) -> bool {
        self.loading.contains_key(id)
    }

    pub(crate) fn park(&mut self, id: RunId, parked: ParkedRun) -> Option<ParkedRun> {
        self.parked.insert(id, parked)
    }

    pub(crate) fn parked(&self, id: &RunId) -> Option<&ParkedRun> {
        self.parked.get(id)
    }

    pub(crate) fn parked_mut(&mut self, id: &RunId) -> Option<&mut ParkedRun> {
        self.parked.get_mut(id)
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
        if self.ended.contains_key(&id) {
            return;
        }
        self.ended_count += 1;
        self.ended.insert(id.clone(), self.ended_count);
        self.ended_order.push_back((self.ended_count, id));
        if self.ended_order.len() > ENDED_MAX
            && let Some((number, oldest)) = self.ended_order.pop_front()
            && self.ended.get(&oldest) == Some(&number)
        {
            self.ended.remove(&oldest);
        }
    }

    /// The run may begin anew, or its end be looked at again.
    pub(crate) fn forget_ended(&mut self, id: &RunId) {
        self.ended.remove(id);
    }

    pub(crate) fn has_ended(&self, id: &RunId) -> bool {
        self.ended.contains_key(id)
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

    /// Whether nothing has happened to a live run since then and nothing of it is unacknowledged; nothing if it is not live.
    pub(crate) fn is_idle_since(&self, id: &RunId, since: Instant) -> Option<bool> {
        self.live.get(id).map(|live| live.active < since && live.is_settled())
    }

    pub(crate) fn len(&self) -> usize {
        self.live.len()
    }

    /// The live runs that have nothing unacknowledged, and when something last happened to them.
    pub(crate) fn idle(&self) -> impl Iterator<Item = (&RunId, Instant)> {
        let idle = self.live.iter().filter(|(_, live)| live.is_settled());
        idle.map(|(id, live)| (id, live.active))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_runs_that_ended_are_remembered_unless_they_are_forgotten() {
        let run = |number: usize| -> RunId { format!("0-{number:032x}").parse().unwrap() };
        let mut slots = Slots::default();
        slots.ended(run(0));
        slots.ended(run(1));
        slots.forget_ended(&run(0));
        assert!(!slots.has_ended(&run(0)) && slots.has_ended(&run(1)));
        slots.ended(run(0));
        for number in 2..ENDED_MAX {
            slots.ended(run(number));
        }
        assert!(
            slots.has_ended(&run(0)),
            "what stands of its first end does not make it forgotten"
        );
        slots.ended(run(ENDED_MAX));
        slots.ended(run(ENDED_MAX + 1));
        assert!(!slots.has_ended(&run(1)));
        assert!(slots.has_ended(&run(ENDED_MAX + 1)));
        assert!(slots.ended_order.len() <= ENDED_MAX);
    }
}
