//! Whatever goes wrong, and whoever else writes. `EVERSTEP_SEED` plays one seed again.
//!
//! 1. A key is stored once, one writer calls it his own, and all others are told of that very entry.
//! 2. A record holds every change that was acknowledged, and none twice.
//! 3. A large value that was stored comes back whole.
//! 4. Owners agree on one mark and one consumer.
//! 5. Every reader reads the same run, and all of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, ensure};
use bytes::Bytes;
use everstep_common::ids::QueueName;
use everstep_common::payload::Payload;
use everstep_common::ports::Clock;
use everstep_common::store::{Created, LEASES, PutError, ReadAt, Store};
use everstep_memory::{Faults, Nodes, simulate};
use futures::future::{join_all, try_join_all};

use crate::bench::{Bench, local, run, step};

/// Keys that all writers compete for.
const KEYS: usize = 150;

/// Creates that a writer has under way at a time.
const AT_ONCE: usize = 50;

/// Changes of the record by each writer.
const LINES: usize = 15;

/// When every pause and cut has passed.
const CALM: Duration = Duration::from_secs(60);

#[test]
fn the_store_keeps_its_promises_whatever_goes_wrong() -> anyhow::Result<()> {
    let given: Option<u64> = std::env::var("EVERSTEP_SEED").ok().and_then(|seed| seed.parse().ok());
    let seeds = given.map_or(1..13, |seed| seed..seed + 1);
    for seed in seeds {
        for nodes in [Nodes::One, Nodes::Three] {
            simulate(play(nodes, seed)).with_context(|| format!("EVERSTEP_SEED={seed} {nodes:?}"))?;
        }
    }
    Ok(())
}

async fn play(nodes: Nodes, seed: u64) -> anyhow::Result<()> {
    let bench = Bench::start(nodes, seed).await?;
    bench.server.set_faults(Faults::swarm(seed));
    let writers = ["one", "two", "three"].map(|name| tokio::spawn(write(bench.store(name), name)));
    for _ in 0..2 {
        bench.server.clock().sleep(Duration::from_secs(3)).await;
        bench.server.restart();
    }
    let mut written = Vec::new();
    for writer in join_all(writers).await {
        written.push(writer??);
    }
    bench.server.set_faults(Faults::none());
    bench.server.clock().sleep(CALM).await;
    let reader = bench.store("reader");
    has_one_writer(&bench, &reader, &written)?;
    holds_each_line_once(&reader, &written).await?;
    for writer in &written {
        let value = reader.get_payload(&run(1), &writer.payload).await?;
        ensure!(value == large(), "promise 3: another value came back");
    }
    agree_on_a_mark(&bench, &reader).await?;
    read_the_same(&bench, &reader).await
}

/// What a writer has done and been told.
struct Written {
    created: Vec<Created>,
    lines: Vec<String>,
    payload: Payload,
}

async fn write(store: Store, name: &'static str) -> anyhow::Result<Written> {
    let create_all = async {
        let mut created = Vec::new();
        for first in (0..KEYS).step_by(AT_ONCE) {
            let creations = (first..first + AT_ONCE).map(|number| store.create(&run(1), step(number), &local(name)));
            created.extend(try_join_all(creations).await?);
        }
        anyhow::Ok(created)
    };
    let put_payload = async { anyhow::Ok(store.put_payload(&run(1), "charge", large()).await?) };
    let ensure_queue = async {
        for _ in 0..5 {
            // An owner asks again when it likes; here only what is left at the end counts.
            let _ = store.ensure_queue(&QueueName::default_queue()).await;
        }
        Ok(())
    };
    let (created, lines, payload, ()) = futures::try_join!(create_all, add_lines(&store, name), put_payload, ensure_queue)?;
    Ok(Written { created, lines, payload })
}

fn large() -> Bytes {
    (0..700_000_u32).map(|at| (at / 999) as u8).collect::<Vec<_>>().into()
}

/// Adds lines to the record, each attempt one of its own; those acknowledged.
async fn add_lines(store: &Store, name: &str) -> anyhow::Result<Vec<String>> {
    let mut acknowledged = Vec::new();
    let mut attempt = 0;
    while acknowledged.len() < LINES {
        let Ok(record) = store.get_record(LEASES, "lines").await else {
            continue;
        };
        let (revision, lines) = record.map_or((0, Bytes::new()), |record| (record.revision, record.value));
        attempt += 1;
        let line = format!("{name} {attempt}");
        let more = [&lines, line.as_bytes(), b"\n"].concat();
        match store.put_record(LEASES, "lines", more.into(), revision).await {
            Ok(_) => acknowledged.push(line),
            // A node of a cluster may not have heard of the bucket yet.
            Err(PutError::Unknown(_) | PutError::Conflict | PutError::NoBucket) => {}
            Err(error) => anyhow::bail!(error),
        }
    }
    Ok(acknowledged)
}

fn has_one_writer(bench: &Bench, store: &Store, written: &[Written]) -> anyhow::Result<()> {
    let journal = bench.journal();
    let stored: BTreeMap<&str, u64> = journal.iter().map(|m| (m.subject.as_str(), m.sequence)).collect();
    ensure!(
        journal.len() == KEYS && stored.len() == KEYS,
        "promise 1: {} are stored",
        journal.len()
    );
    for number in 0..KEYS {
        let subject = store.names().entry(&run(1), &step(number));
        let told = written.iter().map(|writer| &writer.created[number]);
        let (ours, theirs): (Vec<_>, Vec<_>) = told.partition(|created| matches!(created, Created::Ours { .. }));
        ensure!(ours.len() == 1, "promise 1: s{number} has {} writers", ours.len());
        for created in ours.into_iter().chain(theirs) {
            let sequence = match created {
                Created::Ours { sequence } => *sequence,
                Created::Theirs(message) => message.sequence,
            };
            ensure!(
                stored[subject.as_str()] == sequence,
                "promise 1: s{number} is not at {sequence}"
            );
        }
    }
    Ok(())
}

async fn holds_each_line_once(store: &Store, written: &[Written]) -> anyhow::Result<()> {
    let record = store.get_record(LEASES, "lines").await?.context("promise 2: no record")?;
    let text = String::from_utf8(record.value.to_vec())?;
    let lines: BTreeSet<&str> = text.lines().collect();
    ensure!(lines.len() == text.lines().count(), "promise 2: a line stands twice: {text}");
    for line in written.iter().flat_map(|writer| &writer.lines) {
        ensure!(
            lines.contains(line.as_str()),
            "promise 2: {line} was acknowledged and is lost: {text}"
        );
    }
    Ok(())
}

async fn agree_on_a_mark(bench: &Bench, store: &Store) -> anyhow::Result<()> {
    let queue = QueueName::default_queue();
    let other = bench.store("other");
    let (mark, same) = futures::try_join!(store.ensure_queue(&queue), other.ensure_queue(&queue))?;
    ensure!(mark == same, "promise 4: two marks");
    let consumers = store.broker().consumers(&store.names().task_stream(&queue)).await?;
    ensure!(consumers == [mark.consumer()], "promise 4: {consumers:?}");
    Ok(())
}

async fn read_the_same(bench: &Bench, store: &Store) -> anyhow::Result<()> {
    let stale = Faults {
        stale_read: 0.6,
        stale_leader_read: 0.2,
        ..Faults::none()
    };
    bench.server.set_faults(stale);
    let last = bench.journal().last().map_or(0, |message| message.sequence);
    let whole = store.read_run(&run(1), ReadAt::Entry(last)).await?;
    ensure!(whole.len() == KEYS, "promise 5: {} entries", whole.len());
    for _ in 0..20 {
        let again = bench.store("again").read_run(&run(1), ReadAt::AtLeast(last)).await?;
        ensure!(again == whole, "promise 5: two answers differ");
    }
    Ok(())
}
