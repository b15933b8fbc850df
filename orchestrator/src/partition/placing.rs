//! Runs that wait for a place under the limit of their workflow, and what becomes of those whose key is taken.

use everstep_common::flow::{LimitName, RunFlow, Slot, WhenBusy};
use everstep_common::ids::{RunId, WorkflowName};
use everstep_common::journal::{Entry, EntryKey, Inbound, InboundId, InboundKind, RunTimer, Start};

use super::Partition;
use super::effect::Effect;
use super::flow::{Passing, What};
use super::journal::Journal;
use super::slots::About;

impl Partition {
    /// How runs of the workflow take part, if they are limited at all.
    pub(super) fn limits_of(&self, workflow: &WorkflowName, version: Option<u32>) -> Option<RunFlow> {
        let flow = self.workflows.find(workflow, version)?.flow;
        let set = self.gate.setting(&LimitName::Workflow(workflow.clone()));
        (!flow.limit(set).is_none()).then_some(flow)
    }

    /// Whether a run that is read back had to have a place before it began: it got one, or nothing was done for it yet and it would have to.
    pub(super) fn had_to_wait(&self, start: &Start, journal: &Journal) -> bool {
        let mut keys = journal.entries.iter().map(|(entry, _)| &entry.key);
        let is_untouched = keys.all(|key| match key {
            EntryKey::Start | EntryKey::In(_) => true,
            EntryKey::Timer(timer) => *timer == RunTimer::Begin.key(),
            _ => false,
        });
        journal.has_place() || is_untouched && self.limits_of(&start.workflow, start.version).is_some()
    }

    /// The run waits for its place from now on, if it has come so far.
    pub(super) fn see_to_place(&mut self, run: &RunId) {
        let Some(live) = self.slots.live(run) else { return };
        if !live.run.wants_place() {
            return;
        }
        let (about, flow) = (live.about.clone(), live.run.definition().flow);
        let passing = Passing {
            slot: slot_of(run, &about, &flow),
            priority: i16::from(about.priority),
            what: What::Run,
        };
        let name = LimitName::Workflow(about.workflow.clone());
        let now = self.store.clock().now();
        self.gate.enter(passing, [(name, flow.limit(None))], now);
    }

    /// The run was given a place when somebody else owned the partition.
    pub(super) fn claim_place(&mut self, run: &RunId) {
        let Some(live) = self.slots.live(run) else { return };
        let (about, flow) = (live.about.clone(), live.run.definition().flow);
        let name = LimitName::Workflow(about.workflow.clone());
        let now = self.store.clock().now();
        self.gate.claim((name, flow.limit(None)), slot_of(run, &about, &flow), now);
    }

    /// What workflows say of runs whose key is taken is done.
    pub(super) fn make_way(&mut self) {
        let busy: Vec<(LimitName, WhenBusy)> = self
            .workflows
            .all()
            .filter_map(|definition| match definition.flow.singleton {
                Some(when @ (WhenBusy::CancelInProgress | WhenBusy::Reject)) => {
                    Some((LimitName::Workflow(definition.name.clone()), when))
                }
                _ => None,
            })
            .collect();
        for (name, when) in busy {
            for (waiting, holder) in self.gate.kept_waiting(&name) {
                if waiting.run == holder {
                    continue;
                }
                match when {
                    WhenBusy::CancelInProgress => self.send_cancel(&holder, &waiting.run, "takes its place"),
                    WhenBusy::Reject => {
                        self.gate.leave(&waiting.run, &waiting.step, None);
                        self.send_cancel(&waiting.run, &holder, "is at work for the same key");
                    }
                    WhenBusy::Queue => {}
                }
            }
        }
    }

    /// Cancels a run because of another one, once.
    fn send_cancel(&mut self, run: &RunId, because_of: &RunId, what: &str) {
        let Ok(id) = InboundId::new(&format!("busy-{because_of}")) else {
            return;
        };
        if !self.told_to_make_way.insert((run.clone(), because_of.clone())) {
            return;
        }
        let entry = Entry::In(Inbound {
            kind: InboundKind::Cancel,
            by: None,
            reason: Some(format!("run {because_of} {what}")),
        });
        let create = Effect::Create {
            run: run.clone(),
            key: EntryKey::In(id),
            entry,
        };
        self.perform(None, create);
    }
}

fn slot_of(run: &RunId, about: &About, flow: &RunFlow) -> Slot {
    Slot {
        run: run.clone(),
        step: RunTimer::Place.key(),
        attempt: 0,
        // Without a key of its own a singleton is one of its workflow.
        key: about.limit_key.clone().or_else(|| flow.singleton.map(|_| String::new())),
    }
}
