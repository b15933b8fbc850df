//! When a failed attempt is made again: a pure function of policy, attempt and entropy.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::ids::RunId;
use crate::key::StepKey;

/// How often and after what delay a step is tried again. Exponential backoff with full jitter.
///
/// The delay before attempt n + 1 is uniformly random between zero and `initial × multiplier^(n - 1)`, capped at `max`.
/// Full jitter spreads retries best (AWS Architecture Blog, "Exponential Backoff And Jitter", 2015).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RetryPolicy {
    /// Attempts in all, the first included; at least 1.
    pub max_attempts: u32,
    /// The cap of the first delay.
    pub initial: Duration,
    /// How the cap grows from one attempt to the next; at least 1.
    pub multiplier: f64,
    /// What the cap never exceeds.
    pub max: Duration,
}

impl Default for RetryPolicy {
    /// 5 attempts, 1 s, doubling, up to 60 s.
    fn default() -> Self {
        Self {
            max_attempts: 5,
            initial: Duration::from_secs(1),
            multiplier: 2.0,
            max: Duration::from_secs(60),
        }
    }
}

impl RetryPolicy {
    /// One attempt only.
    pub fn never() -> Self {
        Self {
            max_attempts: 1,
            ..Self::default()
        }
    }

    /// The delay after the failure of `attempt` (from 1), or `None` if it was the last.
    ///
    /// `entropy` is uniformly random; the same value gives the same delay.
    pub fn delay_after(&self, attempt: u32, entropy: u64) -> Option<Duration> {
        if attempt >= self.max_attempts {
            return None;
        }
        let exponent = i32::try_from(attempt.saturating_sub(1)).unwrap_or(i32::MAX);
        let cap = self.initial.as_secs_f64() * self.multiplier.max(1.0).powi(exponent);
        let cap = cap.min(self.max.as_secs_f64());
        let fraction = entropy as f64 / u64::MAX as f64;
        Some(Duration::from_secs_f64(cap * fraction))
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

    #[test]
    fn the_last_attempt_has_no_delay() {
        let policy = RetryPolicy {
            max_attempts: 3,
            ..RetryPolicy::default()
        };
        assert!(policy.delay_after(2, 0).is_some());
        assert_eq!(policy.delay_after(3, 0), None);
        assert_eq!(RetryPolicy::never().delay_after(1, 0), None);
    }

    #[test]
    fn delays_are_fully_jittered_and_capped() {
        let policy = RetryPolicy {
            max_attempts: u32::MAX,
            ..RetryPolicy::default()
        };
        assert_eq!(policy.delay_after(1, 0), Some(Duration::ZERO));
        assert_eq!(policy.delay_after(1, u64::MAX), Some(Duration::from_secs(1)));
        assert_eq!(policy.delay_after(3, u64::MAX), Some(Duration::from_secs(4)));
        assert_eq!(policy.delay_after(1_000_000, u64::MAX), Some(Duration::from_secs(60)));
    }
}
