//! `throughput`: many runs at once, against the bare loop doing as many steps.
//!
//! Both are measured in turn on the same server, several times, since no machine stays as fast as it was a minute ago. The ratio is
//! the median of the rounds'.

use anyhow::Context;
use clap::Args;

use crate::engine::load::{Load, Workflow};
use crate::engine::{Engine, SLOTS};
use crate::harness::latency::median;
use crate::harness::report::round;
use crate::harness::{Output, Report, Server};
use crate::scenarios::floor;

/// How many runs of how many steps.
#[derive(Clone, Copy, Debug, Args)]
pub struct Size {
    /// How many runs.
    #[arg(long, default_value_t = 2_000)]
    pub runs: u64,
    /// How many steps each has, one after the other.
    #[arg(long, default_value_t = 10)]
    pub steps: u64,
    /// How many runs are under way at once.
    #[arg(long, default_value_t = 500)]
    pub concurrency: u64,
}

/// How much to do.
#[derive(Clone, Copy, Debug, Args)]
pub struct Settings {
    /// In each round.
    #[command(flatten)]
    pub size: Size,
    /// How often both are measured.
    #[arg(long, default_value_t = 3)]
    pub rounds: u64,
}

impl Size {
    /// As a load on the engine.
    pub fn of(&self, workflow: Workflow) -> Load {
        Load {
            workflow,
            size: self.steps,
            runs: self.runs,
            concurrency: self.concurrency,
        }
    }
}

/// Runs the scenario and prints a report for each half of each round, then the median round again with the ratio of all.
pub async fn run(settings: &Settings, server: &Server, output: &Output) -> anyhow::Result<()> {
    let engine = Engine::start(server, SLOTS).await?;
    engine.warm_up().await?;
    let mut reports = Vec::new();
    for number in 1..=settings.rounds {
        let floor = floor::measure(&settings.size.into(), server, output)
            .await?
            .with("round", number);
        output.print_round(&floor)?;
        let load = settings.size.of(Workflow::Chain);
        let ours = engine
            .measure("throughput", load, server, output)
            .await?
            .with("round", number);
        output.print_round(&ours)?;
        reports.push((round(ours.steps_per_s / floor.steps_per_s, 3), ours));
    }
    engine.end().await?;
    output.print(&summary(reports).context("no rounds were asked for")?)
}

/// The round with the median ratio (of two in the middle, the worse), and the ratios of all.
pub(super) fn summary(mut rounds: Vec<(f64, Report)>) -> Option<Report> {
    let ratios: Vec<f64> = rounds.iter().map(|(ratio, _)| *ratio).collect();
    let ratio = median(ratios.iter().copied())?;
    rounds.sort_by(|(one, _), (other, _)| one.total_cmp(other));
    let failed = rounds.iter().map(|(_, report)| report.failed).sum();
    let (_, mut middle) = rounds.swap_remove((rounds.len() - 1) / 2);
    middle.failed = failed;
    Some(middle.with("ratio", round(ratio, 3)).with("ratios", ratios))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::harness::Summary;
    use crate::harness::report::{Usages, Work};

    fn round_of(ratio: f64, failed: u64) -> (f64, Report) {
        let work = Work {
            runs: 1,
            steps: 1,
            concurrency: 1,
            wall: Duration::from_secs(1),
        };
        let mut report = Report::new("throughput", "strict", work, Summary::default(), &Usages::default());
        report.failed = failed;
        (ratio, report.with("was", ratio))
    }

    #[test]
    fn the_ratio_is_the_median_and_no_failure_is_left_out() {
        let summary = summary(vec![round_of(0.9, 1), round_of(0.2, 0), round_of(0.6, 2)]).unwrap();
        assert_eq!(summary.more["ratio"], 0.6);
        assert_eq!(summary.more["was"], 0.6);
        assert_eq!(summary.more["ratios"], serde_json::json!([0.9, 0.2, 0.6]));
        assert_eq!(summary.failed, 3);
    }

    #[test]
    fn no_rounds_have_no_ratio() {
        assert!(summary(Vec::new()).is_none());
    }
}
