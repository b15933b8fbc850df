//! `sleepers`: many runs that only sleep. All must wake, none early, and the orchestrator must not grow with them.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use everstep::RunId;
use everstep::journal::{Entry, EntryKey};
use everstep_common::ids::Partition;
use everstep_common::ports::Broker;
use everstep_common::subject::Names;
use futures::StreamExt;
use jiff::Timestamp;
use tokio::time::Instant;

use crate::engine::load::{Load, Workflow};
use crate::engine::memory::Memory;
use crate::engine::{Engine, SLOTS};
use crate::harness::report::round;
use crate::harness::{Latencies, Output, Server};

/// How much to do.
#[derive(Clone, Copy, Debug, Args)]
pub struct Settings {
    /// How many runs.
    #[arg(long, default_value_t = 10_000)]
    pub runs: u64,
    /// How long each sleeps.
    #[arg(long, default_value_t = 60)]
    pub seconds: u64,
}

/// Runs the scenario and prints the report, whose latencies are how late the timers were.
pub async fn run(settings: &Settings, server: &Server, output: &Output) -> anyhow::Result<()> {
    let engine = Engine::start(server, SLOTS).await?;
    engine.warm_up().await?;
    // Before the load, for the server may be too busy afterwards to take a new connection's requests in time.
    let broker = server.connect().await?;
    let rss_before = engine.orchestrator_rss_mib(server)?;
    let load = Load {
        workflow: Workflow::Sleeper,
        size: settings.seconds,
        runs: settings.runs,
        concurrency: settings.runs,
    };
    let mut memory = Memory::until(Instant::now() + Duration::from_secs(settings.seconds));
    let measured = engine.measure("sleepers", load, server, output);
    let mut report = memory.watch(&engine, server, measured).await?;
    let ended = Instant::now();
    let woken = Woken::read_in_time(&engine, &*broker, Duration::from_secs(settings.seconds)).await?;
    let readable = ended.elapsed();
    report.latency = woken.lateness.summary();
    let report = report
        .with("woken", woken.timers)
        .with("early", woken.early)
        .with("journal_read_s", round(readable.as_secs_f64(), 3))
        .with("orchestrator_rss_before_mb", rss_before)
        .with("orchestrator_rss_asleep_mb", memory.early_mib)
        .with("orchestrator_rss_peak_mb", memory.peak_mib)
        .with("orchestrator_rss_after_mb", engine.orchestrator_rss_mib(server)?);
    output.print(&report)?;
    engine.end().await
}

/// How long the server may take to come to itself after the load.
const READ_WITHIN: Duration = Duration::from_secs(60);

/// What the journal says of the sleeps.
struct Woken {
    timers: u64,
    early: u64,
    lateness: Latencies,
}

impl Woken {
    /// Reads the journal, again and again while the server is too busy to answer.
    async fn read_in_time(engine: &Engine, broker: &dyn Broker, slept: Duration) -> anyhow::Result<Self> {
        let until = Instant::now() + READ_WITHIN;
        loop {
            match Self::read(engine, broker, slept).await {
                Err(error) if Instant::now() < until => eprintln!("the journal cannot be read yet: {error:#}"),
                read => return read,
            }
        }
    }

    /// Reads every timer entry, and compares when it was stored to when it was due, and to the run's start besides.
    async fn read(engine: &Engine, broker: &dyn Broker, slept: Duration) -> anyhow::Result<Self> {
        let names = Names::new(engine.part().prefix.clone());
        let partition = Partition(0);
        let mut entries = broker.scan(&names.journal_stream(partition), &names.journal_filter(partition), None);
        let mut woken = Self {
            timers: 0,
            early: 0,
            lateness: Latencies::new(),
        };
        let mut started: HashMap<RunId, Timestamp> = HashMap::new();
        while let Some(message) = entries.next().await {
            let message = message?;
            let Some((run, key)) = names.parse_entry(&message.subject) else {
                continue;
            };
            match key {
                EntryKey::Start => drop(started.insert(run, message.time)),
                EntryKey::Timer(_) => {
                    let Entry::Timer(fired) = Entry::decode(&key, &message.payload)? else {
                        continue;
                    };
                    let started = started.get(&run).with_context(|| format!("the start of {run}"))?;
                    woken.count(message.time, fired.due, *started + slept);
                }
                _ => {}
            }
        }
        Ok(woken)
    }

    fn count(&mut self, fired: Timestamp, due: Timestamp, earliest: Timestamp) {
        self.timers += 1;
        if fired < due || fired < earliest {
            self.early += 1;
        }
        let late = Duration::try_from(fired.duration_since(due)).unwrap_or_default();
        self.lateness.record(late);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_before_its_due_time_or_before_the_sleep_can_be_over_is_early() {
        let at = |millis: i64| Timestamp::from_millisecond(1_700_000_000_000 + millis).unwrap();
        let mut woken = Woken {
            timers: 0,
            early: 0,
            lateness: Latencies::new(),
        };
        woken.count(at(10), at(10), at(10));
        woken.count(at(500), at(10), at(10));
        assert_eq!((woken.timers, woken.early), (2, 0));
        woken.count(at(9), at(10), at(9));
        woken.count(at(10), at(9), at(11));
        assert_eq!((woken.timers, woken.early), (4, 2));
        assert!((woken.lateness.summary().max_ms - 490.0).abs() < 1.0);
    }
}
