//! What a scenario measured.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use super::Summary;
use super::usage::Usage;

/// One line of output.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Which scenario.
    pub scenario: String,
    /// `strict` or `relaxed`.
    pub durability: String,
    /// How many runs there were.
    pub runs: u64,
    /// How many steps each run had.
    pub steps: u64,
    /// How many runs were under way at once.
    pub concurrency: u64,
    /// From the first start to the last result.
    pub wall_s: f64,
    /// Runs a second.
    pub runs_per_s: f64,
    /// Steps a second.
    pub steps_per_s: f64,
    /// What the scenario calls a latency: start to result of a run, unless it says otherwise.
    #[serde(flatten)]
    pub latency: Summary,
    /// Runs (in `floor`: steps) that did not end well.
    pub failed: u64,
    /// CPU seconds of each process while the scenario ran.
    pub cpu_s: PerRole,
    /// Resident memory of each process at its end, in MiB.
    pub rss_mb: PerRole,
    /// The disk's own speed at the time; absent if the store is not on this machine.
    pub fdatasync_p50_us: Option<f64>,
    /// The machine's load average of the minute before the end: what else ran beside.
    pub load_1m: Option<f64>,
    /// What only this scenario measures.
    #[serde(flatten)]
    pub more: BTreeMap<String, Value>,
}

/// One figure for each process; absent where there is none, or where it is not ours to look at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct PerRole {
    /// nats-server.
    pub server: Option<f64>,
    /// The orchestrator.
    pub orchestrator: Option<f64>,
    /// The worker.
    pub worker: Option<f64>,
    /// Whoever starts runs and waits for them.
    pub client: Option<f64>,
}

/// What each process used.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usages {
    /// nats-server.
    pub server: Option<Usage>,
    /// The orchestrator.
    pub orchestrator: Option<Usage>,
    /// The worker.
    pub worker: Option<Usage>,
    /// Whoever starts runs and waits for them.
    pub client: Option<Usage>,
}

impl Usages {
    /// What was used since `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        self.zip(earlier, |now, earlier| now.since(earlier.unwrap_or_default()))
    }

    /// Together with what earlier processes in the same places had used.
    #[must_use]
    pub fn and(&self, earlier: &Self) -> Self {
        self.zip(earlier, |now, earlier| now.and(earlier.unwrap_or_default()))
    }

    fn zip(&self, other: &Self, merge: impl Fn(Usage, Option<Usage>) -> Usage) -> Self {
        let merged = |one: Option<Usage>, other| one.map(|one| merge(one, other));
        Self {
            server: merged(self.server, other.server),
            orchestrator: merged(self.orchestrator, other.orchestrator),
            worker: merged(self.worker, other.worker),
            client: merged(self.client, other.client),
        }
    }

    fn each(&self, figure: impl Fn(Usage) -> f64) -> PerRole {
        let rounded = |usage: Option<Usage>| usage.map(|usage| round(figure(usage), 2));
        PerRole {
            server: rounded(self.server),
            orchestrator: rounded(self.orchestrator),
            worker: rounded(self.worker),
            client: rounded(self.client),
        }
    }

    /// CPU seconds.
    pub fn cpu_s(&self) -> PerRole {
        self.each(|usage| usage.cpu.as_secs_f64())
    }

    /// Resident memory in MiB.
    pub fn rss_mb(&self) -> PerRole {
        self.each(Usage::rss_mib)
    }
}

/// How much work a scenario did, and how long it took.
#[derive(Clone, Copy, Debug)]
pub struct Work {
    /// Runs.
    pub runs: u64,
    /// Steps of each.
    pub steps: u64,
    /// Runs under way at once.
    pub concurrency: u64,
    /// From the first start to the last result.
    pub wall: Duration,
}

impl Report {
    /// A report without anything that only one scenario measures.
    pub fn new(scenario: &str, durability: &str, work: Work, latency: Summary, usages: &Usages) -> Self {
        let wall_s = work.wall.as_secs_f64();
        let rate = |count: u64| if wall_s > 0.0 { round(count as f64 / wall_s, 1) } else { 0.0 };
        Self {
            scenario: scenario.to_owned(),
            durability: durability.to_owned(),
            runs: work.runs,
            steps: work.steps,
            concurrency: work.concurrency,
            wall_s: round(wall_s, 4),
            runs_per_s: rate(work.runs),
            steps_per_s: rate(work.runs * work.steps),
            latency,
            failed: 0,
            cpu_s: usages.cpu_s(),
            rss_mb: usages.rss_mb(),
            fdatasync_p50_us: None,
            load_1m: super::usage::load_1m(),
            more: BTreeMap::new(),
        }
    }

    /// With one more figure that only this scenario measures.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.more.insert(name.to_owned(), value.into());
        self
    }
}

/// To so many digits behind the point: no figure here is better than that.
pub fn round(value: f64, digits: i32) -> f64 {
    let scale = 10f64.powi(digits);
    (value * scale).round() / scale
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_has_every_promised_field_at_the_top() {
        let work = Work {
            runs: 20,
            steps: 10,
            concurrency: 4,
            wall: Duration::from_millis(500),
        };
        let report = Report::new("floor", "strict", work, Summary::default(), &Usages::default()).with("ratio", 0.7);
        let line = serde_json::to_value(&report).unwrap();
        for field in [
            "scenario",
            "durability",
            "runs",
            "steps",
            "concurrency",
            "wall_s",
            "runs_per_s",
            "steps_per_s",
            "p50_ms",
            "p90_ms",
            "p99_ms",
            "max_ms",
            "failed",
            "cpu_s",
            "rss_mb",
            "fdatasync_p50_us",
            "ratio",
        ] {
            assert!(line.get(field).is_some(), "{field} in {line}");
        }
        assert_eq!(
            (line["runs_per_s"].as_f64(), line["steps_per_s"].as_f64()),
            (Some(40.0), Some(400.0))
        );
        for role in ["server", "orchestrator", "worker", "client"] {
            assert!(line["cpu_s"].get(role).is_some(), "{role}");
        }
    }

    #[test]
    fn no_time_gives_no_rate() {
        let work = Work {
            runs: 1,
            steps: 1,
            concurrency: 1,
            wall: Duration::ZERO,
        };
        let report = Report::new("x", "strict", work, Summary::default(), &Usages::default());
        assert_eq!(report.runs_per_s.to_bits(), 0f64.to_bits());
    }
}
