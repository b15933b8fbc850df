//! Runs that wait for a place under the limit of their workflow.

use everstep_common::flow::{LimitName, RunFlow, Slot};
use everstep_common::ids::{RunId, WorkflowName};
use everstep_common::journal::{Entry, EntryKey, Fired, RunTimer};

use super::Partition;
use super::drive::Origin;
use super::effect::Effect;
use super::flow::{Passing, What};
use super::slots::About;

impl Partition {
    /// How runs of the workflow take part, if they are limited at all.
    pub(super) fn limits_of(&self, workflow: &WorkflowName, version: Option<u32>) -> Option<RunFlow> {
        let flow = self.workflows.find(workflow, version)?.flow;
        let set = self.gate.setting(&LimitName::Workflow(workflow.clone()));
        (!flow.limit(set).is_none()).then_some(flow)
    }

    /// What a run that has just begun, or waits for its place, has to do with the limit of its workflow. Whether it has to wait is recorded
    /// before anything that it asks for is done.
    pub(super) fn see_to_place(&mut self, run: &RunId, origin: &Origin) {
        let Some(live) = self.slots.live(run) else { return };
        let (about, version) = (live.about.clone(), live.run.definition().version);
        if live.run.wants_place() {
            live.held = false;
            return self.enter_gate(run, &about);
        }
        if !live.run.may_wait() || live.held {
            return;
        }
        if self.limits_of(&about.workflow, Some(version)).is_none() {
            return;
        }
        if let (Some(live), Some(due)) = (self.slots.live(run), self.server_clock.at(self.store.clock().now())) {
            live.held = true;
            let wait = Effect::Create {
                run: run.clone(),
                key: EntryKey::Timer(RunTimer::Wait.key()),
                entry: Entry::Timer(Fired { due }),
            };
            let Some((_, sequence)) = origin else {
                return self.perform(None, wait);
            };
            // A run whose beginning is passed has begun for good.
            self.hold_open(run, *sequence);
            self.perform(origin.clone(), wait);
            self.watermark.release(*sequence);
        }
    }

    fn enter_gate(&mut self, run: &RunId, about: &About) {
        let Some(live) = self.slots.live(run) else { return };
        let flow = live.run.definition().flow;
        let passing = Passing {
            slot: slot_of(run, about, &flow),
            priority: i16::from(about.priority),
            what: What::Run {
                when_busy: flow.singleton.unwrap_or_default(),
                continues: about.continues.clone(),
            },
        };
        let name = LimitName::Workflow(about.workflow.clone());
        let now = self.store.clock().now();
        if let Some(passing) = self.gate.enter(passing, [(name, flow)], now) {
            self.gate.let_pass(passing);
        }
    }

    /// The run was given a place when somebody else owned the partition.
    pub(super) fn claim_place(&mut self, run: &RunId) {
        let Some(live) = self.slots.live(run) else { return };
        let (about, flow) = (live.about.clone(), live.run.definition().flow);
        let name = LimitName::Workflow(about.workflow.clone());
        let now = self.store.clock().now();
        self.gate.claim((name, flow), slot_of(run, &about, &flow), now);
    }
}

fn slot_of(run: &RunId, about: &About, flow: &RunFlow) -> Slot {
    Slot {
        run: run.clone(),
        step: RunTimer::Place.key(),
        attempt: 0,
        // Without a key of its own a singleton is one of its workflow.
        key: about.limit_key.clone().or_else(|| flow.singleton.map(|_| String::new())),
        started: Some(about.since),
    }
}
