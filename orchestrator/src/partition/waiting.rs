//! What summaries tell of the signals, updates, events and answers that a run waits for, so that a list of them needs no journal.

use everstep_common::ids::RunId;
use everstep_common::summary::{WAIT_TEXT_CHARS_MAX, WAITS_MAX, WaitSummary, WaitedFor};
use everstep_core::{OpenKind, OpenWait};

use super::{Partition, lifespan};

impl Partition {
    /// Tells what a run waits for, if that has changed. Nobody waits for this, and a run that goes on within a second costs no write.
    pub(super) fn tell_waits(&mut self, run: &RunId) {
        let Some(live) = self.slots.live(run) else { return };
        let changes = live.run.outside_changes();
        if std::mem::replace(&mut live.told_waits, changes) == changes {
            return;
        }
        let (about, sequence) = (live.about.clone(), live.run.applied());
        let (status, why, since) = lifespan::status_of(&live.run, about.started);
        self.summarise(run, &about, status, why, sequence, since);
    }

    /// What a run in memory waits for.
    pub(super) fn waits_of(&mut self, run: &RunId) -> Vec<WaitSummary> {
        let live = self.slots.live(run);
        let open = live.map(|live| live.run.waits_outside()).unwrap_or_default();
        open.into_iter().filter_map(told).take(WAITS_MAX).collect()
    }
}

fn told(wait: OpenWait) -> Option<WaitSummary> {
    let (kind, text, deadline) = match wait.kind {
        OpenKind::Signal { name, deadline } => (WaitedFor::Signal, name, deadline),
        OpenKind::Awaited { what, deadline } => (WaitedFor::Event, what.to_string(), deadline),
        OpenKind::Update { name, deadline } => (WaitedFor::Update, name, deadline),
        OpenKind::Question {
            text,
            is_approval: true,
            deadline,
        } => (WaitedFor::Approval, text, deadline),
        OpenKind::Question { text, deadline, .. } => (WaitedFor::Question, text, deadline),
        OpenKind::Step { .. }
        | OpenKind::Child { .. }
        | OpenKind::Timer { .. }
        | OpenKind::Closure
        | OpenKind::Session
        | OpenKind::Event => return None,
    };
    Some(WaitSummary {
        key: wait.key,
        kind,
        text: text.chars().take(WAIT_TEXT_CHARS_MAX).collect(),
        since: wait.since,
        deadline,
    })
}
