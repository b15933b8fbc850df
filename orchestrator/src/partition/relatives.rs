//! What the end of a run means for its relatives: its parent is told, the run in which it goes on is started, its children end too.
//!
//! ```text
//!   parent ──`child.<key>`, then `start`──▶ child ──`end`──▶ TellParent ──`step.<key>`──▶ parent
//!     └──`in.parent.cancel`──▶ child ──continued──▶ its successor, and so on
//! ```
//!
//! Relatives may live in other partitions, so each word is an entry that is created once, and the entry it follows from keeps the cursor back
//! until it is. Whoever drives a parent looks for the ends of its children himself, too, whenever he reads it back. How the words are said is
//! in [`super::children`].

use std::collections::BTreeMap;
use std::sync::Arc;

use everstep_common::ids::RunId;
use everstep_common::journal::{Child, Entry, EntryKey, InboundKind, JournalEntry, RunOutcome};

use super::Partition;
use super::effect::Effect;
use super::slots::About;

impl Partition {
    /// Tells whoever is to hear of a run's end. The end keeps the cursor back until they know.
    pub(super) fn tell_relatives(
        &mut self,
        run: &RunId,
        about: &Arc<About>,
        outcome: &RunOutcome,
        sequence: u64,
        has_children: bool,
    ) {
        if let RunOutcome::Continued(_) = outcome {
            self.tell(run, sequence, Effect::Continue { run: run.clone() });
        } else if let Some(parent) = about.parent.clone().filter(|parent| !parent.detached) {
            let tell_parent = Effect::TellParent {
                run: run.clone(),
                about: about.clone(),
                parent,
                outcome: outcome.clone(),
            };
            self.tell(run, sequence, tell_parent);
        }
        if has_children {
            let how = match outcome {
                RunOutcome::Terminated(_) => InboundKind::Terminate,
                _ => InboundKind::Cancel,
            };
            self.tell(run, sequence, Effect::EndChildren { run: run.clone(), how });
        }
    }

    fn tell(&mut self, run: &RunId, sequence: u64, effect: Effect) {
        self.hold_end(run, sequence);
        self.perform(Some((run.clone(), sequence)), effect);
        self.watermark.release(sequence);
    }

    /// Something is still to be done for the end of a run. If a predecessor passed its entry, who exempted the run by name, it stays exempt
    /// until that is done.
    pub(super) fn hold_end(&mut self, run: &RunId, sequence: u64) {
        if !self.hold_open(run, sequence) {
            self.watermark.ends(sequence);
        }
    }

    /// Holds an entry open, also one that a predecessor passed: the run is exempt then, until it is released. Whether it was open.
    pub(super) fn hold_open(&mut self, run: &RunId, sequence: u64) -> bool {
        let was_open = self.watermark.hold(sequence);
        if !was_open {
            let now = self.store.clock().now();
            self.watermark.park(sequence, run, now);
        }
        was_open
    }
}

/// The children in a journal that were to be waited for and have not ended, as far as it knows.
pub(super) fn children<'a>(journal: impl IntoIterator<Item = &'a JournalEntry>) -> Vec<Child> {
    let mut children = BTreeMap::new();
    for entry in journal {
        match (&entry.key, &entry.entry) {
            (EntryKey::Child(key), Entry::Child(child)) if !child.detached => drop(children.insert(key, child)),
            (EntryKey::Step(key), _) => drop(children.remove(key)),
            _ => {}
        }
    }
    children.into_values().cloned().collect()
}
