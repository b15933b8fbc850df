//! Latencies and what is said of them.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Three digits: 1.23 ms is told from 1.24 ms, and no more is needed.
const SIGNIFICANT_DIGITS: u8 = 3;

/// Every latency seen, in microseconds.
#[derive(Debug)]
pub struct Latencies(Histogram<u64>);

/// Percentiles in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The median.
    pub p50_ms: f64,
    /// Nine of ten are as fast.
    pub p90_ms: f64,
    /// All but one in a hundred are as fast.
    pub p99_ms: f64,
    /// The slowest.
    pub max_ms: f64,
}

impl Latencies {
    /// None yet.
    pub fn new() -> Self {
        Self(Histogram::new(SIGNIFICANT_DIGITS).expect("three digits are supported"))
    }

    /// Counts one more.
    pub fn record(&mut self, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        // The histogram grows as it needs to.
        let _ = self.0.record(micros.max(1));
    }

    /// The percentiles; zeros if nothing was recorded.
    pub fn summary(&self) -> Summary {
        let millis = |micros: u64| micros as f64 / 1e3;
        if self.0.is_empty() {
            return Summary::default();
        }
        Summary {
            p50_ms: millis(self.0.value_at_quantile(0.5)),
            p90_ms: millis(self.0.value_at_quantile(0.9)),
            p99_ms: millis(self.0.value_at_quantile(0.99)),
            max_ms: millis(self.0.max()),
        }
    }
}

/// The middle value, or the mean of the two in the middle; `None` of nothing.
pub fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(values[middle]),
        _ => Some(f64::midpoint(values[middle - 1], values[middle])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_what_was_recorded() {
        let mut latencies = Latencies::new();
        for millis in 1..=1_000 {
            latencies.record(Duration::from_millis(millis));
        }
        let summary = latencies.summary();
        let close = |found: f64, wanted: f64| (found - wanted).abs() / wanted < 0.002;
        assert!(close(summary.p50_ms, 500.0) && close(summary.p90_ms, 900.0), "{summary:?}");
        assert!(close(summary.p99_ms, 990.0) && close(summary.max_ms, 1_000.0), "{summary:?}");
    }

    #[test]
    fn nothing_recorded_gives_zeros_and_hours_still_fit() {
        assert_eq!(Latencies::new().summary(), Summary::default());
        let mut latencies = Latencies::new();
        latencies.record(Duration::from_secs(7_200));
        assert!(latencies.summary().max_ms > 7_190_000.0);
    }

    #[test]
    fn the_median_does_not_mind_order_or_outliers() {
        assert_eq!(median([]), None);
        assert_eq!(median([9.0, 1.0, 1_000.0]), Some(9.0));
        assert_eq!(median([4.0, 1.0, 2.0, 100.0]), Some(3.0));
    }
}
