//! Runs that take their process with them: endless recursion, an abort in a library, memory without end. No guard in this process can tell of
//! it, so the lease must have told before.
//!
//! When owners die soon after they took the partition its next owner is cautious: each run stands in the lease before it is first polled,
//! and goes by a read of its journal for that, new ones too. Who dies then has left word of whom he was polling. An owner who has read
//! everything back and has driven for a minute is at ease: nothing is noted any more. A closure that was not recorded is asked for by that
//! first poll again, so the run stands in the lease for as long as its closures run, within reason.

use std::collections::BTreeSet;
use std::time::Duration;

use everstep_common::ids::RunId;
use everstep_common::ports::Instant;
use everstep_core::Parked;

use super::Partition;
use super::effect::{Effect, Performer};
use super::io::Input;
use crate::ownership::{Needed, Noted, Omens, Tenure};
use crate::watchdog::STRIKES_MAX;

/// How long an owner has to live before the deaths of earlier ones no longer count.
const CALM_AFTER: Duration = Duration::from_secs(60);

/// How long a run stays noted for its closures: others wait for their first poll meanwhile.
const KEPT_MAX: Duration = Duration::from_secs(10);

pub(crate) struct Caution {
    pub tenure: Tenure,
    /// Each run is noted before it is first polled.
    on: bool,
    /// Runs that owners died over.
    struck: BTreeSet<RunId>,
    /// A run that stays noted for its closures, and since when.
    kept: Option<(Noted, Instant)>,
    /// When earlier deaths stop counting; nothing once they have.
    calm_at: Option<Instant>,
}

/// Runs that are not polled any more.
pub(crate) fn poison(omens: &Omens) -> BTreeSet<RunId> {
    let strikes = omens.strikes.iter().filter(|(_, count)| *count >= STRIKES_MAX);
    strikes.map(|(run, _)| run.clone()).collect()
}

impl Caution {
    pub(crate) fn new(tenure: Tenure, omens: Omens, now: Instant) -> Self {
        Self {
            tenure,
            on: omens.cautious,
            struck: omens.strikes.into_iter().map(|(run, _)| run).collect(),
            kept: None,
            calm_at: Some(Instant(now.0 + CALM_AFTER)),
        }
    }

    pub(crate) fn is_on(&self) -> bool {
        self.on
    }
}

impl Partition {
    /// Reads a run's journal when the run stands in the lease. It stands there until what was read is replayed, and its closures are done.
    pub(super) fn load_noted(&self, performer: Performer, run: RunId, load: Effect) {
        let tenure = self.caution.tenure.clone();
        self.io.begin(Box::pin(async move {
            let noted = tenure.note(run).await;
            Input::Noted(noted, performer.perform(load).await)
        }));
    }

    /// The run came back from its first poll.
    pub(super) fn keep_noted(&mut self, noted: Noted, now: Instant) {
        if self.closures.has_any(noted.run()) {
            self.caution.kept = Some((noted, now));
        }
    }

    /// The run has ended, or is to be tried anew.
    pub(super) fn forgive(&mut self, run: &RunId) {
        if self.caution.struck.remove(run) {
            self.upkeep.poison.remove(run);
            self.caution.tenure.forgive(run.clone());
        }
    }

    /// A run that waits for code has its partition offered to an orchestrator that has it.
    pub(super) fn say_what_is_lacking(&self, parked: &Parked) {
        if let Parked::NoCode { workflow, version, .. } = parked {
            self.caution.tenure.lacks(Needed {
                workflow: workflow.clone(),
                version: *version,
            });
        }
    }

    /// Ends what is no longer to be feared: of a run whose closures are done, and in the end of all that were polled and did no harm.
    pub(super) fn calm_down(&mut self, now: Instant) {
        let closures = &self.closures;
        let is_over = |(noted, since): &mut (Noted, Instant)| !closures.has_any(noted.run()) || now.since(*since) >= KEPT_MAX;
        drop(self.caution.kept.take_if(is_over));
        let due = self.caution.calm_at.is_some_and(|calm_at| now >= calm_at);
        if !due || self.upkeep.scan.is_some() {
            return;
        }
        self.caution.calm_at = None;
        self.caution.on = false;
        let (slots, poison) = (&self.slots, &self.upkeep.poison);
        let is_guilty = |run: &RunId| poison.contains(run) && slots.parked(run).is_some();
        self.caution.struck.retain(is_guilty);
        self.caution.tenure.calm(self.caution.struck.clone());
    }
}
