//! Recording the event that was found in the run that looks for it: once, wherever the event stands and however often.

use everstep_common::event::Event;
use everstep_common::ids::RunId;
use everstep_common::journal::{Entry, EntryKey, Inbound, InboundId, InboundKind};
use everstep_common::payload::Payload;
use everstep_common::store::Created;
use everstep_common::subscription::EventPlace;
use everstep_common::wire;

use super::searches::Found;
use crate::partition::effect::{Performed, Performer};

impl Performer {
    /// Creates the `in` entry of the next event of a subscription, unless the run has heard of it before, or the run that goes on in it.
    pub(in crate::partition) async fn hear(&self, found: Found) -> Performed {
        let slot = found.what.slot(&found.event.identity());
        let key = EntryKey::In(slot.clone());
        if let Some(before) = &found.before
            && self.has_heard(before, &key, found.place).await
        {
            return heard_before(found);
        }
        let value = match self.value_of(&found.run, &slot, &found.event).await {
            Ok(value) => value,
            Err(reason) => {
                return Performed::Refused {
                    reason: format!("event {}: {reason}", found.what),
                    run: found.run,
                };
            }
        };
        let entry = Entry::In(Inbound {
            kind: InboundKind::Event {
                what: (*found.what).clone(),
                place: found.place,
                value,
            },
            by: None,
            reason: None,
        });
        match self.store.create(&found.run, key.clone(), &entry).await {
            Ok(Created::Theirs(standing)) if place_in(Entry::decode(&key, &standing.payload).ok()) != Some(found.place) => {
                heard_before(found)
            }
            created => self.created(found.run, created),
        }
    }

    /// Whether the run has heard of the event, and it stood elsewhere: it was published twice. What stands in the same place it heard of and
    /// left for the run in which it goes on.
    async fn has_heard(&self, run: &RunId, key: &EntryKey, there: EventPlace) -> bool {
        // What cannot be read is not known to be the same event.
        let found = self.patiently(|| self.store.find_entry(run, key)).await;
        let place = found.ok().flatten().and_then(|found| place_in(Some(found.entry)));
        place.is_some_and(|place| place != there)
    }

    async fn value_of(&self, run: &RunId, slot: &InboundId, event: &Event) -> Result<Payload, String> {
        let value = wire::encode_value(event).map_err(|error| error.to_string())?;
        let stored = self.store.put_payload(run, slot.as_str(), value).await;
        stored.map_err(|error| error.to_string())
    }
}

fn heard_before(found: Found) -> Performed {
    let Found { run, what, place, .. } = found;
    Performed::HeardBefore { run, what, place }
}

/// Where the event stood that an entry records.
fn place_in(entry: Option<Entry>) -> Option<EventPlace> {
    match entry? {
        Entry::In(Inbound {
            kind: InboundKind::Event { place, .. },
            ..
        }) => Some(place),
        _ => None,
    }
}
