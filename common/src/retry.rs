//! When a failed attempt is made again: a pure function of policy, attempt and entropy.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::ids::RunId;
use crate::key::StepKey;

/// How often and after what delay a step is tried again.
///
/// The delay after attempt n is at most `initial` (constant), `n × initial` (linear) or `initial × multiplier^(n - 1)` (exponential),
/// and never more than `max`. With jitter it is uniformly random between zero and that, which spreads retries best (AWS Architecture
/// Blog, "Exponential Backoff And Jitter", 2015); without, it is exactly that.
///
/// ```
/// use std::time::Duration;
/// use everstep_common::retry::RetryPolicy;
///
/// let policy = RetryPolicy::linear(Duration::from_secs(2)).attempts(4).cap(Duration::from_secs(5)).without_jitter();
/// let delays: Vec<_> = (1..=4).map(|attempt| policy.delay_after(attempt, 0)).collect();
/// let seconds = |seconds| Some(Duration::from_secs(seconds));
/// assert_eq!(delays, [seconds(2), seconds(4), seconds(5), None]);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RetryPolicy {
    /// Attempts in all, the first included; at least 1.
    pub max_attempts: u32,
    /// The first delay, or its bound.
    pub initial: Duration,
    /// How it grows from one attempt to the next.
    pub growth: Growth,
    /// What no delay exceeds.
    pub max: Duration,
    /// Whether the delay is random below its bound.
    pub jitter: bool,
    /// From when on, after the step was asked for, no attempt is begun any more.
    pub total: Option<Duration>,
    /// Names of errors that are never retried; `timeout`, `heartbeat` and `panic` stand for those kinds of failed attempt.
    pub never: Vec<String>,
}

/// How the delay grows from one attempt to the next.
///
/// ```
/// use std::time::Duration;
/// use everstep_common::retry::{Growth, RetryPolicy};
///
/// let policy = RetryPolicy::exponential(Duration::from_secs(1)).multiplier(3.0);
/// assert_eq!(policy.growth, Growth::Exponential(3.0));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Growth {
    /// Not at all.
    Constant,
    /// By the first delay each time.
    Linear,
    /// By this factor each time; at least 1.
    Exponential(f64),
}

impl Default for RetryPolicy {
    /// 5 attempts, exponential from 1 s, doubling, up to 60 s, with jitter.
    fn default() -> Self {
        Self {
            max_attempts: 5,
            initial: Duration::from_secs(1),
            growth: Growth::Exponential(2.0),
            max: Duration::from_secs(60),
            jitter: true,
            total: None,
            never: Vec::new(),
        }
    }
}

impl RetryPolicy {
    /// One attempt only.
    ///
    /// ```
    /// use everstep_common::retry::RetryPolicy;
    ///
    /// assert_eq!(RetryPolicy::once().delay_after(1, 0), None);
    /// ```
    pub fn once() -> Self {
        Self::default().attempts(1)
    }

    /// The same delay each time.
    ///
    /// ```
    /// use std::time::Duration;
    /// use everstep_common::retry::RetryPolicy;
    ///
    /// let policy = RetryPolicy::constant(Duration::from_secs(10)).without_jitter();
    /// assert_eq!(policy.delay_after(1, 0), policy.delay_after(4, 0));
    /// ```
    pub fn constant(delay: Duration) -> Self {
        Self::growing(delay, Growth::Constant)
    }

    /// A delay that grows by `initial` each time.
    ///
    /// ```
    /// use std::time::Duration;
    /// use everstep_common::retry::RetryPolicy;
    ///
    /// let policy = RetryPolicy::linear(Duration::from_secs(10)).without_jitter();
    /// assert_eq!(policy.delay_after(3, 0), Some(Duration::from_secs(30)));
    /// ```
    pub fn linear(initial: Duration) -> Self {
        Self::growing(initial, Growth::Linear)
    }

    /// A delay that doubles each time; [`multiplier`](Self::multiplier) says otherwise.
    ///
    /// ```
    /// use std::time::Duration;
    /// use everstep_common::retry::RetryPolicy;
    ///
    /// let policy = RetryPolicy::exponential(Duration::from_secs(1)).without_jitter();
    /// assert_eq!(policy.delay_after(4, 0), Some(Duration::from_secs(8)));
    /// ```
    pub fn exponential(initial: Duration) -> Self {
        Self::growing(initial, Growth::Exponential(2.0))
    }

    fn growing(initial: Duration, growth: Growth) -> Self {
        let default = Self::default();
        Self {
            initial,
            growth,
            max: default.max.max(initial),
            ..default
        }
    }

    /// With so many attempts in all, at least one.
    ///
    /// ```
    /// use everstep_common::retry::RetryPolicy;
    ///
    /// assert_eq!(RetryPolicy::default().attempts(2).delay_after(2, 0), None, "the second was the last");
    /// ```
    #[must_use]
    pub fn attempts(self, attempts: u32) -> Self {
        Self {
            max_attempts: attempts.max(1),
            ..self
        }
    }

    /// Growing exponentially by this factor, at least 1.
    ///
    /// ```
    /// use std::time::Duration;
    /// use everstep_common::retry::RetryPolicy;
    ///
    /// let policy = RetryPolicy::exponential(Duration::from_secs(1)).multiplier(3.0).without_jitter();
    /// assert_eq!(policy.delay_after(3, 0), Some(Duration::from_secs(9)));
    /// ```
    #[must_use]
    pub fn multiplier(self, multiplier: f64) -> Self {
        Self {
            growth: Growth::Exponential(multiplier),
            ..self
        }
    }

    /// With no delay longer than that.
    ///
    /// ```
    /// use std::time::Duration;
    /// use everstep_common::retry::RetryPolicy;
    ///
    /// let policy = RetryPolicy::exponential(Duration::from_secs(1)).cap(Duration::from_secs(5)).without_jitter();
    /// assert_eq!(policy.delay_after(4, 0), Some(Duration::from_secs(5)));
    /// ```
    #[must_use]
    pub fn cap(self, max: Duration) -> Self {
        Self { max, ..self }
    }

    /// With delays exactly as long as they may be.
    ///
    /// ```
    /// use std::time::Duration;
    /// use everstep_common::retry::RetryPolicy;
    ///
    /// let policy = RetryPolicy::constant(Duration::from_secs(10)).without_jitter();
    /// assert_eq!(policy.delay_after(1, 17), Some(Duration::from_secs(10)));
    /// ```
    #[must_use]
    pub fn without_jitter(self) -> Self {
        Self { jitter: false, ..self }
    }

    /// With no attempt begun later than that after the step was asked for.
    ///
    /// ```
    /// use std::time::Duration;
    /// use everstep_common::retry::RetryPolicy;
    ///
    /// let an_hour = RetryPolicy::default().attempts(100).total(Duration::from_secs(60 * 60));
    /// assert_eq!(an_hour.total, Some(Duration::from_secs(60 * 60)));
    /// ```
    #[must_use]
    pub fn total(self, total: Duration) -> Self {
        Self {
            total: Some(total),
            ..self
        }
    }

    /// Never after an error of that name; `timeout`, `heartbeat` and `panic` stand for those kinds of failed attempt.
    ///
    /// ```
    /// use everstep_common::retry::RetryPolicy;
    ///
    /// let policy = RetryPolicy::default().never("CardDeclined").never("panic");
    /// assert!(policy.is_final("CardDeclined"));
    /// ```
    #[must_use]
    pub fn never(mut self, error: impl Into<String>) -> Self {
        self.never.push(error.into());
        self
    }

    /// Whether an error of that name is one that no retry mends.
    ///
    /// ```
    /// use everstep_common::retry::RetryPolicy;
    ///
    /// assert!(!RetryPolicy::default().is_final("CardDeclined"));
    /// ```
    pub fn is_final(&self, error: &str) -> bool {
        self.never.iter().any(|name| name == error)
    }

    /// The delay after the failure of `attempt` (from 1), or `None` if it was the last.
    ///
    /// `entropy` is uniformly random; the same value gives the same delay.
    ///
    /// ```
    /// use std::time::Duration;
    /// use everstep_common::retry::RetryPolicy;
    ///
    /// let policy = RetryPolicy::default();
    /// assert_eq!(policy.delay_after(1, u64::MAX), Some(Duration::from_secs(1)), "its bound");
    /// assert_eq!(policy.delay_after(1, 0), Some(Duration::ZERO));
    /// ```
    pub fn delay_after(&self, attempt: u32, entropy: u64) -> Option<Duration> {
        if attempt >= self.max_attempts {
            return None;
        }
        let before = attempt.saturating_sub(1);
        let factor = match self.growth {
            Growth::Constant => 1.0,
            Growth::Linear => f64::from(before) + 1.0,
            Growth::Exponential(multiplier) => multiplier.max(1.0).powi(i32::try_from(before).unwrap_or(i32::MAX)),
        };
        let bound = (self.initial.as_secs_f64() * factor).min(self.max.as_secs_f64());
        let fraction = if self.jitter { entropy as f64 / u64::MAX as f64 } else { 1.0 };
        Some(Duration::from_secs_f64(bound * fraction))
    }
}

/// The run's own entropy for the delay after an attempt: every owner of the run computes the same.
pub fn entropy(run: &RunId, key: &StepKey, attempt: u32) -> u64 {
    let mut hash = Sha256::new();
    hash.update(run.as_str());
    hash.update([0]);
    hash.update(key.token());
    hash.update(attempt.to_be_bytes());
    let hash = hash.finalize();
    u64::from_be_bytes(hash[..8].try_into().expect("eight bytes of thirty-two"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: Duration = Duration::from_millis(1);

    fn check(policy: RetryPolicy, entropy: u64, milliseconds: [u64; 4]) {
        let delays = (1..=4).map(|attempt| policy.delay_after(attempt, entropy).expect("not the last"));
        let delays: Vec<_> = delays.map(|delay| delay.as_millis()).collect();
        assert_eq!(delays, milliseconds.map(u128::from), "{policy:?}");
    }

    #[test]
    fn the_last_attempt_has_no_delay() {
        let policy = RetryPolicy::default().attempts(3);
        assert!(policy.delay_after(2, 0).is_some());
        assert_eq!(policy.delay_after(3, 0), None);
        assert_eq!(RetryPolicy::once().delay_after(1, 0), None);
        assert_eq!(RetryPolicy::default().attempts(0).max_attempts, 1);
    }

    #[test]
    fn delays_grow_as_their_kind_says_and_never_beyond_the_cap() {
        let check = |policy: RetryPolicy, milliseconds| check(policy.attempts(9).without_jitter(), 0, milliseconds);
        check(RetryPolicy::constant(5 * MILLISECOND), [5, 5, 5, 5]);
        check(RetryPolicy::linear(5 * MILLISECOND), [5, 10, 15, 20]);
        check(RetryPolicy::exponential(5 * MILLISECOND), [5, 10, 20, 40]);
        check(
            RetryPolicy::exponential(5 * MILLISECOND)
                .multiplier(3.0)
                .cap(40 * MILLISECOND),
            [5, 15, 40, 40],
        );
        check(RetryPolicy::constant(100_000 * MILLISECOND), [100_000; 4]);
    }

    #[test]
    fn jitter_spreads_delays_between_nothing_and_their_bound() {
        let policy = RetryPolicy::default().attempts(u32::MAX);
        check(policy.clone(), 0, [0; 4]);
        check(policy.clone(), u64::MAX, [1_000, 2_000, 4_000, 8_000]);
        assert_eq!(policy.delay_after(1_000_000, u64::MAX), Some(Duration::from_secs(60)));
    }

    #[test]
    fn errors_are_final_by_their_name() {
        let policy = RetryPolicy::default().never("CardDeclined").never("panic");
        assert!(policy.is_final("CardDeclined") && policy.is_final("panic"));
        assert!(!policy.is_final("CardDeclinedSoftly") && !RetryPolicy::default().is_final("panic"));
    }
}
