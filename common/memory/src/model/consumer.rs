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
use everstep_common::topology::ConsumerSpec;
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
    /// Delivered and not answered; with the time at which it is delivered again, unless that has come.
    pending: BTreeMap<u64, Option<Timestamp>>,
    /// The same by time.
    deadlines: BTreeSet<(Timestamp, u64)>,
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
            deadlines: BTreeSet::new(),
            redeliver: BTreeSet::new(),
            counts: BTreeMap::new(),
        }
    }

    /// The message was removed: it is delivered no more.
    pub(super) fn forget(&mut self, sequence: u64) {
        if let Some(Some(deadline)) = self.pending.remove(&sequence) {
            self.deadlines.remove(&(deadline, sequence));
        }
        self.redeliver.remove(&sequence);
        self.counts.remove(&sequence);
    }

    /// The stream was rolled back to `sequence`: what came after it never was.
    pub(super) fn roll_back(&mut self, sequence: u64) {
        self.next = self.next.min(sequence + 1);
        let later: Vec<u64> = self.counts.range(sequence + 1..).map(|(later, _)| *later).collect();
        for sequence in later {
            self.forget(sequence);
        }
    }

    /// Delivers a pending message again now; `forget_count` as a new leader does that was never told of the delivery.
    pub(crate) fn redeliver_now(&mut self, sequence: u64, forget_count: bool) {
        if !self.pending.contains_key(&sequence) {
            return;
        }
        self.queue_again(sequence);
        if forget_count {
            self.counts.insert(sequence, 0);
        }
    }

    /// Delivers everything pending again now.
    fn redeliver_all(&mut self) {
        let pending: Vec<u64> = self.pending.keys().copied().collect();
        for sequence in pending {
            self.queue_again(sequence);
        }
    }

    /// When the next unanswered delivery is due again.
    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    fn expire(&mut self, now: Timestamp) {
        while let Some((_, sequence)) = self.deadlines.first().filter(|(deadline, _)| *deadline <= now).copied() {
            self.queue_again(sequence);
        }
    }

    fn queue_again(&mut self, sequence: u64) {
        self.set_deadline(sequence, None);
        self.redeliver.insert(sequence);
    }

    fn set_deadline(&mut self, sequence: u64, deadline: Option<Timestamp>) {
        if let Some(Some(old)) = self.pending.insert(sequence, deadline) {
            self.deadlines.remove(&(old, sequence));
        }
        if let Some(deadline) = deadline {
            self.deadlines.insert((deadline, sequence));
        }
    }

    fn retry(&mut self, now: Timestamp, sequence: u64, delay: Duration) {
        if !self.pending.contains_key(&sequence) {
            return;
        }
        if delay.is_zero() {
            self.queue_again(sequence);
        } else {
            self.set_deadline(sequence, Some(later(now, delay)));
        }
    }

    /// Only a wait that still runs can start anew; what is about to be delivered again is.
    fn restart_wait(&mut self, now: Timestamp, sequence: u64) {
        if let Some(Some(_)) = self.pending.get(&sequence) {
            self.set_deadline(sequence, Some(later(now, self.spec.ack_wait)));
        }
    }
}

impl Stream {
    /// Hands out at most `max` messages. `None`: no such consumer.
    pub(super) fn fetch(&mut self, now: Timestamp, consumer: &str, max: usize) -> Option<Vec<Delivery>> {
        self.expire_deliveries(now);
        let mut chosen = self.choose_again(consumer, max)?;
        while chosen.len() < max {
            let Consumer { spec, next, .. } = &self.consumers[consumer];
            let found = self.next_matching(*next, &spec.filter).map(|message| message.sequence);
            chosen.extend(found);
            self.consumers.get_mut(consumer)?.next = found.unwrap_or(self.last_sequence) + 1;
            if found.is_none() {
                break;
            }
        }
        Some(
            chosen
                .into_iter()
                .filter_map(|sequence| self.deliver(now, consumer, sequence))
                .collect(),
        )
    }

    /// Takes an acknowledgement of `sequence` to `consumer`.
    pub(super) fn acknowledge(&mut self, now: Timestamp, consumer: &str, sequence: u64, ack: Ack) {
        let Some(consumer) = self.consumers.get_mut(consumer) else {
            return;
        };
        // What this consumer has not come to cannot be acknowledged to it.
        if sequence >= consumer.next {
            return;
        }
        match ack {
            Ack::Done | Ack::Terminate => {
                consumer.forget(sequence);
                if self.is_work_queue() {
                    self.remove(sequence);
                }
            }
            Ack::Retry(delay) => consumer.retry(now, sequence, delay),
            Ack::InProgress => consumer.restart_wait(now, sequence),
        }
    }

    /// Delivers everything pending again now, on every consumer.
    pub(super) fn redeliver_all(&mut self) {
        self.consumers.values_mut().for_each(Consumer::redeliver_all);
    }

    /// Queues again what has not been answered in time.
    pub(super) fn expire_deliveries(&mut self, now: Timestamp) {
        self.consumers.values_mut().for_each(|consumer| consumer.expire(now));
    }

    /// When something happens of itself: a delivery expires, a schedule is due.
    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        let expiry = self.consumers.values().filter_map(Consumer::next_deadline).min();
        [expiry, self.next_firing()].into_iter().flatten().min()
    }

    /// What is to be delivered again comes before anything new.
    fn choose_again(&mut self, consumer: &str, max: usize) -> Option<Vec<u64>> {
        let consumer = self.consumers.get_mut(consumer)?;
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
        consumer.set_deadline(sequence, Some(later(now, consumer.spec.ack_wait)));
        Some(delivery_of(
            &message,
            &stream,
            &consumer.spec.name,
            count,
            consumer.deliveries,
        ))
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
        ack: AckToken(format!(
            "$JS.ACK.{stream}.{consumer}.{count}.{sequence}.{delivery}.{nanoseconds}.0"
        )),
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
        Some(Self {
            stream,
            consumer,
            sequence,
        })
    }
}
