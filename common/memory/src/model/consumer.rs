//! Durable pull consumers with explicit acknowledgements: who has been given what, and when it is given again.
//!
//! ```text
//! waiting ── fetch ──▶ pending ── Done, Terminate ──▶ gone (and removed from a work queue)
//!                      │   ▲  │
//!     ack_wait over,   │   │  └── InProgress: ack_wait starts anew
//!     Retry            ▼   │
//!                 redelivery (before anything new)
//! ```
//!
//! An acknowledgement names stream, consumer and sequence, and nothing else counts: not who sends it, not which delivery it
//! answers, not which incarnation of the stream it was made for.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use everstep_common::ports::{Ack, AckToken, Delivery, Message};
use everstep_common::topology::{ConsumerSpec, Retention};
use jiff::Timestamp;

use super::later;
use super::store::Stream;

/// A durable consumer of the simulated server.
#[derive(Debug)]
pub(crate) struct Consumer {
    /// Its configuration.
    pub(super) spec: ConsumerSpec,
    /// The next sequence it has not looked at.
    next: u64,
    /// Deliveries made so far; part of the token.
    deliveries: u64,
    /// Delivered and not answered, with the time at which each is delivered again.
    pending: BTreeMap<u64, Timestamp>,
    /// To be delivered again, in this order.
    redeliver: BTreeSet<u64>,
    /// How often each has been delivered.
    counts: BTreeMap<u64, u64>,
}

impl Consumer {
    pub(super) fn new(spec: ConsumerSpec) -> Self {
        Self {
            spec,
            next: 1,
            deliveries: 0,
            pending: BTreeMap::new(),
            redeliver: BTreeSet::new(),
            counts: BTreeMap::new(),
        }
    }

    /// The message was removed: it is delivered no more.
    pub(super) fn forget(&mut self, sequence: u64) {
        self.pending.remove(&sequence);
        self.redeliver.remove(&sequence);
        self.counts.remove(&sequence);
    }

    /// The stream was rolled back to `sequence`: what came after it never was.
    pub(super) fn roll_back(&mut self, sequence: u64) {
        self.next = self.next.min(sequence + 1);
        let later = sequence + 1;
        self.pending.split_off(&later);
        self.redeliver.split_off(&later);
        self.counts.split_off(&later);
    }

    /// Delivers a pending message again now; `forget_count` as a new leader does that was never told of the delivery.
    pub(crate) fn redeliver_now(&mut self, sequence: u64, forget_count: bool) {
        if self.pending.contains_key(&sequence) {
            self.redeliver.insert(sequence);
            if forget_count {
                self.counts.remove(&sequence);
            }
        }
    }

    /// Delivers everything pending again now.
    pub(crate) fn redeliver_all(&mut self) {
        self.redeliver.extend(self.pending.keys().copied());
    }

    /// When the next unanswered delivery is due again.
    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        self.pending.iter().filter(|(sequence, _)| !self.redeliver.contains(sequence)).map(|(_, deadline)| *deadline).min()
    }

    fn expire(&mut self, now: Timestamp) {
        let expired = self.pending.iter().filter(|(_, deadline)| **deadline <= now).map(|(sequence, _)| *sequence);
        self.redeliver.extend(expired);
    }
}

impl Stream {
    /// Hands out at most `max` messages. `None`: no such consumer.
    pub(super) fn fetch(&mut self, now: Timestamp, consumer: &str, max: usize) -> Option<Vec<Delivery>> {
        let mut chosen = self.choose_again(now, consumer, max)?;
        while chosen.len() < max {
            let consumer = &self.consumers[consumer];
            let Some(message) = self.next_matching(consumer.next, &consumer.spec.filter) else { break };
            let sequence = message.sequence;
            chosen.push(sequence);
            self.consumers.get_mut(&consumer.spec.name.clone())?.next = sequence + 1;
        }
        Some(chosen.into_iter().filter_map(|sequence| self.deliver(now, consumer, sequence)).collect())
    }

    /// Takes an acknowledgement of `sequence` to `consumer`.
    pub(super) fn acknowledge(&mut self, now: Timestamp, consumer: &str, sequence: u64, ack: Ack) {
        let Some(consumer) = self.consumers.get_mut(consumer) else { return };
        // What this consumer has not come to cannot be acknowledged to it.
        if sequence >= consumer.next {
            return;
        }
        match ack {
            Ack::Done | Ack::Terminate => {
                consumer.forget(sequence);
                if self.spec.retention == Retention::WorkQueue {
                    self.remove(sequence);
                }
            }
            Ack::Retry(delay) => consumer.retry(now, sequence, delay),
            Ack::InProgress => consumer.restart_wait(now, sequence),
        }
    }

    /// When something happens of itself: a delivery expires, a schedule is due.
    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        let expiry = self.consumers.values().filter_map(Consumer::next_deadline).min();
        [expiry, self.next_firing()].into_iter().flatten().min()
    }

    /// What is to be delivered again comes before anything new.
    fn choose_again(&mut self, now: Timestamp, consumer: &str, max: usize) -> Option<Vec<u64>> {
        let consumer = self.consumers.get_mut(consumer)?;
        consumer.expire(now);
        let chosen: Vec<u64> = consumer.redeliver.iter().copied().take(max).collect();
        for sequence in &chosen {
            consumer.redeliver.remove(sequence);
        }
        Some(chosen)
    }

    fn deliver(&mut self, now: Timestamp, consumer: &str, sequence: u64) -> Option<Delivery> {
        let message = self.get(sequence)?.clone();
        let stream = self.spec.name.clone();
        let consumer = self.consumers.get_mut(consumer)?;
        consumer.deliveries += 1;
        let count = consumer.counts.entry(sequence).or_default();
        *count += 1;
        let count = *count;
        consumer.pending.insert(sequence, later(now, consumer.spec.ack_wait));
        Some(delivery_of(&message, &stream, &consumer.spec.name, count, consumer.deliveries))
    }
}

impl Consumer {
    fn retry(&mut self, now: Timestamp, sequence: u64, delay: Duration) {
        let Some(deadline) = self.pending.get_mut(&sequence) else { return };
        if delay.is_zero() {
            self.redeliver.insert(sequence);
        } else {
            *deadline = later(now, delay);
        }
    }

    fn restart_wait(&mut self, now: Timestamp, sequence: u64) {
        let wait = self.spec.ack_wait;
        if let Some(deadline) = self.pending.get_mut(&sequence) {
            *deadline = later(now, wait);
        }
    }
}

fn delivery_of(message: &Message, stream: &str, consumer: &str, count: u64, delivery: u64) -> Delivery {
    let sequence = message.sequence;
    let nanoseconds = message.time.as_nanosecond();
    Delivery {
        subject: message.subject.clone(),
        headers: message.headers.clone(),
        payload: message.payload.clone(),
        delivery: count,
        sequence,
        time: message.time,
        ack: AckToken(format!("$JS.ACK.{stream}.{consumer}.{count}.{sequence}.{delivery}.{nanoseconds}.0")),
    }
}

/// What an acknowledgement says about itself.
pub(super) struct Token<'a> {
    /// The stream's name.
    pub(super) stream: &'a str,
    /// The consumer's name.
    pub(super) consumer: &'a str,
    /// The message's sequence.
    pub(super) sequence: u64,
}

impl<'a> Token<'a> {
    /// Reads `$JS.ACK.<stream>.<consumer>.<count>.<sequence>.…`.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.strip_prefix("$JS.ACK.")?.split('.');
        let (stream, consumer) = (parts.next()?, parts.next()?);
        let sequence = parts.nth(1)?.parse().ok()?;
        Some(Self { stream, consumer, sequence })
    }
}
