//! Markers: which code a run goes by, where that is not a matter of the code alone. The version of a run that was started without one, and
//! on which side of each patch it is.
//!
//! ```text
//!   met at the head of the journal ──▶ chosen ──RecordMarker──▶ its own entry ──▶ settled
//!   met where the journal goes on ───▶ chosen: as before             └──another one's entry──▶ Decision::Replay
//!   met, and recorded somewhere ─────▶ settled
//! ```
//!
//! Markers are the one thing that is read ahead. Nothing that follows from a choice is done before the choice is recorded, so a choice
//! that was lost has changed nothing, and of two owners that choose differently the first one's stands.

use std::collections::BTreeMap;
use std::hash::Hash as _;

use bytes::Bytes;
use everstep_common::journal::LocalKind;
use everstep_common::key::StepKey;

use super::State;
use crate::Command;

/// What the markers of a run say.
#[derive(Default)]
pub(crate) struct Markers {
    by_key: BTreeMap<StepKey, Marker>,
    /// How many are not settled: as long as there are any, nothing else is done.
    unsettled: usize,
    /// A choice was made, and another one is recorded.
    diverged: bool,
}

struct Marker {
    kind: LocalKind,
    value: Bytes,
    stage: Stage,
}

#[derive(PartialEq)]
enum Stage {
    /// Chosen by this run in memory.
    Chosen,
    /// And the shell knows.
    Told,
    /// It stands in the journal.
    Settled,
}

impl Markers {
    /// What is recorded under the key, known before its entry is applied.
    pub(super) fn foresee(&mut self, key: StepKey, kind: LocalKind, value: Bytes) {
        let stage = Stage::Settled;
        self.by_key.entry(key).or_insert(Marker { kind, value, stage });
    }

    /// What the marker says, chosen now unless it is known.
    pub(super) fn meet(&mut self, key: StepKey, kind: LocalKind, choose: impl FnOnce() -> Bytes) -> Bytes {
        let unsettled = &mut self.unsettled;
        let marker = self.by_key.entry(key).or_insert_with(|| {
            *unsettled += 1;
            Marker {
                kind,
                value: choose(),
                stage: Stage::Chosen,
            }
        });
        marker.value.clone()
    }

    /// The entry of a marker has come.
    pub(super) fn recorded(&mut self, key: StepKey, kind: LocalKind, value: Bytes) {
        match self.by_key.get_mut(&key) {
            None => self.foresee(key, kind, value),
            Some(marker) if marker.stage == Stage::Settled => {}
            Some(marker) => {
                marker.stage = Stage::Settled;
                self.unsettled -= 1;
                self.diverged |= marker.value != value;
            }
        }
    }

    /// Whether nothing may be done until a marker is recorded.
    pub(super) fn is_holding(&self) -> bool {
        self.unsettled > 0
    }

    /// Whether the run has gone another way than is recorded.
    pub(super) fn has_diverged(&self) -> bool {
        self.diverged
    }

    /// What of it is of the run, and not of what it did in memory so far: what is recorded somewhere, and which version it is.
    fn lasting(mut self) -> Self {
        self.by_key
            .retain(|_, marker| marker.stage == Stage::Settled || marker.kind == LocalKind::Version);
        let unsettled = self.by_key.values_mut().filter(|marker| marker.stage != Stage::Settled);
        self.unsettled = unsettled.map(|marker| marker.stage = Stage::Chosen).count();
        self
    }

    /// Those that are to be recorded and have not been told.
    pub(super) fn commands(&mut self) -> Vec<Command> {
        let chosen = self.by_key.iter_mut().filter(|(_, marker)| marker.stage == Stage::Chosen);
        chosen
            .map(|(key, marker)| {
                marker.stage = Stage::Told;
                Command::RecordMarker {
                    key: key.clone(),
                    kind: marker.kind,
                    value: marker.value.clone(),
                }
            })
            .collect()
    }
}

impl State {
    /// A marker that is recorded somewhere in the journal.
    pub(crate) fn foresee(&mut self, key: StepKey, kind: LocalKind, value: Bytes) {
        self.markers.foresee(key, kind, value);
    }

    /// What a marker says. Unless it is known it is chosen now, from whether the journal goes on after the entry being applied.
    pub(crate) fn meet(&mut self, key: StepKey, kind: LocalKind, choose: impl FnOnce(bool) -> Bytes) -> Bytes {
        let goes_on = self.sequence < self.known_until;
        let value = self.markers.meet(key.clone(), kind, || choose(goes_on));
        (self.sequence, &key, &value).hash(&mut self.fingerprint);
        value
    }

    /// The markers that stay when the run begins once more.
    pub(crate) fn take_lasting_markers(&mut self) -> Markers {
        std::mem::take(&mut self.markers).lasting()
    }

    /// The markers of a run that begins once more.
    pub(crate) fn set_markers(&mut self, markers: Markers) {
        self.markers = markers;
    }

    /// Whether nothing but markers may be recorded for now.
    pub(crate) fn is_holding(&self) -> bool {
        self.markers.is_holding()
    }

    /// Whether the run in memory has gone another way than a marker in the journal says.
    pub(crate) fn has_diverged(&self) -> bool {
        self.markers.has_diverged()
    }
}
