//! Delays that grow.

use std::time::Duration;

/// `first`, doubled so many times, at most `max`.
pub(crate) fn doubled(first: Duration, times: u64, max: Duration) -> Duration {
    let factor = 1_u32
        .checked_shl(u32::try_from(times).unwrap_or(u32::MAX))
        .unwrap_or(u32::MAX);
    first.saturating_mul(factor).min(max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_and_stay_bounded() {
        let (second, max) = (Duration::from_secs(1), Duration::from_secs(30));
        assert_eq!(
            [0, 1, 4, 5, 31, 32, u64::MAX].map(|times| doubled(second, times, max).as_secs()),
            [1, 2, 16, 30, 30, 30, 30]
        );
    }
}
