//! What goes wrong, and how often. One seeded generator decides everything, in the order in which things happen.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// The shortest and the longest that something takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span(pub Duration, pub Duration);

impl Span {
    /// No time at all.
    pub const ZERO: Self = Self(Duration::ZERO, Duration::ZERO);

    /// From so many to so many milliseconds.
    pub const fn milliseconds(shortest: u64, longest: u64) -> Self {
        Self(Duration::from_millis(shortest), Duration::from_millis(longest))
    }
}

/// The faults of a simulation: probabilities from 0 to 1 (each time the thing happens), and how long it lasts.
///
/// None of them breaks a promise of the ports; each has been seen of nats-server or of a network.
#[derive(Clone, Debug, PartialEq)]
pub struct Faults {
    /// How long a message travels, each way. Messages of one connection keep their order.
    pub latency: Span,
    /// A request never arrives: not done, and not answered.
    pub request_lost: f64,
    /// The answer never arrives: done, and not answered.
    pub answer_lost: f64,
    /// The answer to a task never arrives.
    pub ack_lost: f64,
    /// A delivery never arrives: delivered again after `ack_wait`.
    pub delivery_lost: f64,
    /// A task is delivered twice within `ack_wait`, the second time with a raised count.
    pub delivery_repeated: f64,
    /// A task is delivered twice within `ack_wait`, and the count does not tell (a new leader that was not told).
    pub delivery_doubled: f64,
    /// The deliveries of one pull come in any order.
    pub delivery_shuffled: f64,
    /// A core message reaches a listener not at all.
    pub core_lost: f64,
    /// A client's requests hang for a while, that one and those after it.
    pub stall: f64,
    /// For how long.
    pub stall_for: Span,
    /// A read is answered by a replica that is behind.
    pub stale_read: f64,
    /// A read at the leader is answered by a deposed one that is behind.
    pub stale_leader_read: f64,
    /// By how many changes of the stream at most.
    pub behind_max: usize,
    /// The leader is lost when a write arrives.
    pub leader_lost: f64,
    /// For how long nothing is written then.
    pub leaderless_for: Span,
    /// On a cluster, a publish onto a stream made within the last second finds nobody, for its node has not heard of it.
    pub unheard_stream: f64,
    /// A client's connection is cut when it sends a request.
    pub cut: f64,
    /// For how long.
    pub cut_for: Span,
    /// How long a restarted server is away.
    pub restart_for: Span,
    /// By how much longer than usual the scheduler rests between two rounds, at most.
    pub scheduler_late: Duration,
}

impl Faults {
    /// Nothing goes wrong, and nothing takes time.
    pub fn none() -> Self {
        Self {
            latency: Span::ZERO,
            request_lost: 0.0,
            answer_lost: 0.0,
            ack_lost: 0.0,
            delivery_lost: 0.0,
            delivery_repeated: 0.0,
            delivery_doubled: 0.0,
            delivery_shuffled: 0.0,
            core_lost: 0.0,
            stall: 0.0,
            stall_for: Span::milliseconds(1_000, 20_000),
            stale_read: 0.0,
            stale_leader_read: 0.0,
            behind_max: 16,
            leader_lost: 0.0,
            leaderless_for: Span::milliseconds(4_000, 9_000),
            unheard_stream: 0.0,
            cut: 0.0,
            cut_for: Span::milliseconds(100, 3_000),
            restart_for: Span::milliseconds(200, 1_000),
            scheduler_late: Duration::ZERO,
        }
    }

    /// Everything goes wrong now and then.
    pub fn rough() -> Self {
        Self {
            latency: Span::milliseconds(0, 5),
            request_lost: 0.01,
            answer_lost: 0.02,
            ack_lost: 0.02,
            delivery_lost: 0.01,
            delivery_repeated: 0.03,
            delivery_doubled: 0.02,
            delivery_shuffled: 0.2,
            core_lost: 0.02,
            stall: 0.002,
            stale_read: 0.13,
            stale_leader_read: 0.02,
            leader_lost: 0.001,
            unheard_stream: 0.2,
            cut: 0.003,
            scheduler_late: Duration::from_millis(750),
            ..Self::none()
        }
    }

    /// A random choice among the rough faults, so that over many seeds each is also seen without the others.
    pub fn swarm(seed: u64) -> Self {
        let mut dice = Dice::new(seed ^ 0x5377_6172_6d21);
        let rough = Self::rough();
        let mut chosen = Self::none();
        if dice.chance(0.7) {
            chosen.latency = rough.latency;
        }
        if dice.chance(0.5) {
            chosen.scheduler_late = rough.scheduler_late;
        }
        let mut pick = |rate: f64| {
            if dice.chance(0.5) {
                rate * f64::from(dice.below(5) as u32)
            } else {
                0.0
            }
        };
        chosen.request_lost = pick(rough.request_lost);
        chosen.answer_lost = pick(rough.answer_lost);
        chosen.ack_lost = pick(rough.ack_lost);
        chosen.delivery_lost = pick(rough.delivery_lost);
        chosen.delivery_repeated = pick(rough.delivery_repeated);
        chosen.delivery_doubled = pick(rough.delivery_doubled);
        chosen.delivery_shuffled = pick(rough.delivery_shuffled);
        chosen.core_lost = pick(rough.core_lost);
        chosen.stall = pick(rough.stall);
        chosen.stale_read = pick(rough.stale_read);
        chosen.stale_leader_read = pick(rough.stale_leader_read);
        chosen.leader_lost = pick(rough.leader_lost);
        chosen.unheard_stream = pick(rough.unheard_stream);
        chosen.cut = pick(rough.cut);
        chosen
    }
}

/// The one source of chance.
#[derive(Debug)]
pub(crate) struct Dice(StdRng);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(StdRng::seed_from_u64(seed))
    }

    /// True with this probability. Asks the generator only where there is a choice, so faults that are off change nothing.
    pub(crate) fn chance(&mut self, probability: f64) -> bool {
        probability > 0.0 && self.0.random_bool(probability.min(1.0))
    }

    /// A number from 0 to below `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        if bound <= 1 { 0 } else { self.0.random_range(0..bound) }
    }

    /// A duration within the span, in whole microseconds.
    pub(crate) fn within(&mut self, Span(shortest, longest): Span) -> Duration {
        if longest <= shortest {
            return shortest;
        }
        let extra = (longest - shortest).as_micros() as u64;
        shortest + Duration::from_micros(self.0.random_range(0..=extra))
    }

    /// Puts the items into a random order.
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for index in (1..items.len()).rev() {
            items.swap(index, self.below(index + 1));
        }
    }
}
