//! What is recorded and was not asked for yet.
//!
//! In an honest replay this is empty: an entry follows from an ask before it. What stays here when the journal is applied to
//! its head shows that the code has changed.

use std::collections::HashMap;

use everstep_common::key::StepKey;
use jiff::Timestamp;

use crate::event::Record;
use crate::parked::RecordedKey;

/// Records by key.
#[derive(Default)]
pub(super) struct Kept {
    by_key: HashMap<StepKey, KeptKey>,
}

#[derive(Default)]
struct KeptKey {
    records: Vec<KeptRecord>,
    /// The operator said that it need not be asked for.
    accepted: bool,
}

/// A record and the entry it came by.
pub(super) struct KeptRecord {
    pub(super) record: Record,
    pub(super) sequence: u64,
    pub(super) time: Timestamp,
}

impl Kept {
    pub(super) fn keep(&mut self, key: StepKey, record: Record, sequence: u64, time: Timestamp) {
        self.by_key
            .entry(key)
            .or_default()
            .records
            .push(KeptRecord { record, sequence, time });
    }

    /// What is recorded under a key, now that it is asked for.
    pub(super) fn take(&mut self, key: &StepKey) -> Vec<KeptRecord> {
        self.by_key.remove(key).map(|kept| kept.records).unwrap_or_default()
    }

    /// Nothing that is here now need be asked for.
    pub(super) fn accept(&mut self) {
        self.by_key.values_mut().for_each(|kept| kept.accepted = true);
    }

    /// What should have been asked for, in the order recorded. Attempts count: a task was made for them.
    pub(super) fn unasked(&self) -> Vec<RecordedKey> {
        let pending = self.by_key.iter().filter(|(_, kept)| !kept.accepted);
        let mut unasked: Vec<_> = pending.filter_map(|(key, kept)| kept.describe(key)).collect();
        unasked.sort_by_key(|recorded| recorded.sequence);
        unasked
    }
}

impl KeptKey {
    fn describe(&self, key: &StepKey) -> Option<RecordedKey> {
        let first = self.records.iter().find(|kept| !kept.record.is_from_outside())?;
        let function = self.records.iter().find_map(|kept| kept.record.function()).cloned();
        Some(RecordedKey {
            key: key.clone(),
            kind: first.record.kind(),
            function,
            sequence: first.sequence,
        })
    }
}
