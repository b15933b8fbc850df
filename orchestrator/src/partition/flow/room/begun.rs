//! What began here lately, as far as others have to wait for it: a record that has lost it (a bucket that was restored) is told again.

use everstep_common::flow::{KeyMark, Limit, Paces, Slot, Usage};
use jiff::Timestamp;

#[derive(Debug, Default)]
pub(super) struct Begun {
    /// When the next one may begin.
    next: Option<Timestamp>,
    /// When the next one of each key may.
    paces: Paces,
}

impl Begun {
    /// They begin, as the record says.
    pub(super) fn note(&mut self, slots: &[Slot], usage: &Usage) {
        if !slots.is_empty() {
            self.next = usage.next;
        }
        if !usage.paces.is_empty() {
            let keys = slots.iter().filter_map(|slot| slot.key.as_deref());
            keys.for_each(|key| self.paces.note(KeyMark::of(key), &usage.paces));
        }
    }

    /// The record lets nobody begin earlier than what began here allows.
    pub(super) fn hold_back(&mut self, usage: &mut Usage, limit: &Limit, time: Timestamp) {
        if let Some(rate) = limit.rate {
            let due = rate.due(self.next, time);
            if due > time && due > rate.due(usage.next, time) {
                usage.next = Some(due);
            }
        }
        self.paces.forget(limit.per_key_rate, time);
        usage.paces.hold_back(&self.paces, time);
    }
}
