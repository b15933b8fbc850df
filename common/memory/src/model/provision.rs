//! What may be created and what is found to differ; and what happens to streams from outside: restarts, deletion, roll-back.

use everstep_common::ports::{Ensured, TopologyError};
use everstep_common::topology::{ConsumerSpec, Discard, Retention, Storage, StreamSpec};
use jiff::Timestamp;

use super::consumer::Consumer;
use super::store::Stream;
use super::{Model, Nodes};
use crate::subject;

/// Durable consumers of one stream at most, when its configuration does not say.
const CONSUMERS_MAX: usize = 1_000;

impl Model {
    /// Creates the stream, or compares it with the one that is there.
    pub(crate) fn ensure_stream(&mut self, now: Timestamp, spec: &StreamSpec) -> Result<Ensured, TopologyError> {
        if let Some(found) = self.streams.get(&spec.name) {
            return compare(&spec.name, stream_differences(spec, &found.spec));
        }
        self.check_stream(spec).map_err(|reason| rejected(&spec.name, reason))?;
        let stream = Stream::new(spec.clone(), self.take_incarnation(), now);
        self.streams.insert(spec.name.clone(), stream);
        Ok(Ensured::Created)
    }

    /// Creates the consumer, or compares it with the one that is there.
    pub(crate) fn ensure_consumer(&mut self, stream: &str, spec: &ConsumerSpec) -> Result<Ensured, TopologyError> {
        let name = format!("{stream}/{}", spec.name);
        let stream = self
            .streams
            .get_mut(stream)
            .ok_or_else(|| rejected(&name, "stream not found".into()))?;
        if let Some(found) = stream.consumers.get(&spec.name) {
            return compare(&name, consumer_differences(spec, &found.spec));
        }
        stream.check_consumer(spec).map_err(|reason| rejected(&name, reason))?;
        stream.consumers.insert(spec.name.clone(), Consumer::new(spec.clone()));
        Ok(Ensured::Created)
    }

    /// Deletes a stream with everything in it; whether it was there.
    pub(crate) fn delete_stream(&mut self, name: &str) -> bool {
        self.streams.remove(name).is_some()
    }

    /// Deletes a consumer; whether it was there.
    pub(crate) fn delete_consumer(&mut self, stream: &str, name: &str) -> bool {
        self.streams
            .get_mut(stream)
            .is_some_and(|stream| stream.consumers.remove(name).is_some())
    }

    /// What the server remembers after having been killed: everything on disk. Memory streams of one replica are forgotten;
    /// replicated ones come back empty, named and dated as before, with their consumers.
    pub(crate) fn restart(&mut self) {
        let memory: Vec<String> = self
            .streams
            .values()
            .filter(|s| s.spec.storage == Storage::Memory)
            .map(|s| s.spec.name.clone())
            .collect();
        for name in memory {
            self.wipe(&name);
        }
    }

    /// Empties a stream as a restart does with one in memory; whether it was there.
    pub(crate) fn wipe(&mut self, name: &str) -> bool {
        let incarnation = self.take_incarnation();
        let Some(old) = self.streams.remove(name) else { return false };
        if self.nodes == Nodes::Three && old.spec.replicas > 1 {
            let mut again = Stream::new(old.spec, incarnation, old.created);
            again.consumers = old
                .consumers
                .into_iter()
                .map(|(name, consumer)| (name, Consumer::new(consumer.spec)))
                .collect();
            self.streams.insert(name.to_owned(), again);
        }
        true
    }

    /// Sets a stream back to what it held when `sequence` was its last; whether it was there.
    pub(crate) fn roll_back(&mut self, name: &str, sequence: u64) -> bool {
        let incarnation = self.take_incarnation();
        let Some(stream) = self.streams.get_mut(name) else {
            return false;
        };
        stream.roll_back(sequence);
        stream.incarnation = incarnation;
        true
    }

    fn take_incarnation(&mut self) -> u64 {
        self.next_incarnation += 1;
        self.next_incarnation
    }

    fn check_stream(&self, spec: &StreamSpec) -> Result<(), String> {
        if spec.name.is_empty() || spec.name.contains(['.', '*', '>', ' ', '/', '\\', '\t', '\r', '\n']) {
            return Err("invalid stream name".into());
        }
        if let Some(bad) = spec.subjects.iter().find(|filter| !subject::is_filter(filter)) {
            return Err(format!("invalid subject {bad}"));
        }
        if spec.replicas > 1 && self.nodes == Nodes::One {
            return Err("replicas > 1 not supported in non-clustered mode".into());
        }
        if spec.discard_new_per_subject && (spec.discard != Discard::New || spec.max_messages_per_subject <= 0) {
            return Err("discard new per subject requires discard new and max messages per subject".into());
        }
        if spec.allow_schedules && spec.discard == Discard::New {
            return Err("message scheduling cannot use discard new".into());
        }
        let taken = |filter: &String| {
            self.streams
                .values()
                .any(|s| s.spec.subjects.iter().any(|held| subject::overlap(held, filter)))
        };
        if spec.subjects.iter().any(taken) {
            return Err("subjects overlap with an existing stream".into());
        }
        check_republish(spec)
    }
}

impl Stream {
    fn check_consumer(&self, spec: &ConsumerSpec) -> Result<(), String> {
        if spec.name.is_empty() || spec.name.contains(['.', '*', '>', ' ', '/', '\\', '\t', '\r', '\n']) {
            return Err("invalid consumer name".into());
        }
        if !self.spec.subjects.iter().any(|held| subject::overlap(held, &spec.filter)) {
            return Err("consumer filter subject is not a valid subset of the interest subjects".into());
        }
        if self.consumers.len() >= CONSUMERS_MAX {
            return Err("maximum consumers limit reached".into());
        }
        let shared = |other: &Consumer| subject::overlap(&other.spec.filter, &spec.filter);
        if self.spec.retention == Retention::WorkQueue && self.consumers.values().any(shared) {
            return Err("filtered consumer not unique on workqueue stream".into());
        }
        Ok(())
    }
}

fn check_republish(spec: &StreamSpec) -> Result<(), String> {
    let Some(rule) = &spec.republish else { return Ok(()) };
    // Placeholders stand for any one token.
    let tokens: Vec<&str> = rule
        .destination
        .split('.')
        .map(|token| if token.starts_with("{{") { "*" } else { token })
        .collect();
    let destination = tokens.join(".");
    if spec.subjects.iter().any(|held| subject::overlap(held, &destination)) {
        return Err("stream configuration for republish destination forms a cycle".into());
    }
    Ok(())
}

fn rejected(name: &str, reason: String) -> TopologyError {
    TopologyError::Rejected {
        name: name.to_owned(),
        reason,
    }
}

fn compare(name: &str, differences: Vec<String>) -> Result<Ensured, TopologyError> {
    if differences.is_empty() {
        return Ok(Ensured::Existed);
    }
    Err(TopologyError::Differs {
        name: name.to_owned(),
        differences,
    })
}

/// Every field that matters, but not the description.
fn stream_differences(wanted: &StreamSpec, found: &StreamSpec) -> Vec<String> {
    let mut differences = Vec::new();
    let mut check = |field: &str, wanted: &dyn std::fmt::Debug, found: &dyn std::fmt::Debug| {
        let (wanted, found) = (format!("{wanted:?}"), format!("{found:?}"));
        if wanted != found {
            differences.push(format!("{field}: wanted {wanted}, found {found}"));
        }
    };
    check("subjects", &wanted.subjects, &found.subjects);
    check("retention", &wanted.retention, &found.retention);
    check("storage", &wanted.storage, &found.storage);
    check("replicas", &wanted.replicas, &found.replicas);
    check(
        "max_messages_per_subject",
        &wanted.max_messages_per_subject,
        &found.max_messages_per_subject,
    );
    check("max_bytes", &wanted.max_bytes, &found.max_bytes);
    check("max_age", &wanted.max_age, &found.max_age);
    check("discard", &wanted.discard, &found.discard);
    check(
        "discard_new_per_subject",
        &wanted.discard_new_per_subject,
        &found.discard_new_per_subject,
    );
    check("allow_direct", &wanted.allow_direct, &found.allow_direct);
    check("allow_atomic", &wanted.allow_atomic, &found.allow_atomic);
    check("allow_schedules", &wanted.allow_schedules, &found.allow_schedules);
    check("deny_delete", &wanted.deny_delete, &found.deny_delete);
    check("republish", &wanted.republish, &found.republish);
    differences
}

fn consumer_differences(wanted: &ConsumerSpec, found: &ConsumerSpec) -> Vec<String> {
    let mut differences = Vec::new();
    if wanted.filter != found.filter {
        differences.push(format!("filter: wanted {}, found {}", wanted.filter, found.filter));
    }
    if wanted.ack_wait != found.ack_wait {
        differences.push(format!("ack_wait: wanted {:?}, found {:?}", wanted.ack_wait, found.ack_wait));
    }
    differences
}
