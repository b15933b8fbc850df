//! A read counts only if it proves itself complete.

use std::time::Duration;

use bytes::Bytes;
use everstep_common::journal::{EntryKey, JournalEntry};
use everstep_common::ports::{Publish, ReadError};
use everstep_common::store::{Created, ReadAt, ReadRunError, Store};
use everstep_memory::{Call, Faults, Nodes};
use futures::future::try_join_all;

use crate::bench::{local, on, on_one, run, start, step};

/// A start and so many entries; the sequence of the last.
async fn write(store: &Store, count: usize) -> anyhow::Result<u64> {
    store.create(&run(1), EntryKey::Start, &start()).await?;
    let creations: Vec<_> = (0..count)
        .map(|number| store.create(&run(1), step(number), &local("")))
        .collect();
    try_join_all(creations).await?;
    Ok(count as u64 + 1)
}

fn sequences(entries: &[JournalEntry]) -> Vec<u64> {
    entries.iter().map(|entry| entry.sequence).collect()
}

fn stale(rate: f64) -> Faults {
    Faults {
        stale_read: rate,
        stale_leader_read: rate / 2.0,
        ..Faults::none()
    }
}

#[test]
fn a_run_reads_as_it_stood_at_the_entry_however_stale_the_replicas() -> anyhow::Result<()> {
    on(Nodes::Three, async |bench| {
        let store = bench.store("owner");
        bench.server.set_faults(stale(0.8));
        store.create(&run(1), EntryKey::Start, &start()).await?;
        for number in 0..60 {
            let Created::Ours { sequence } = store.create(&run(1), step(number), &local("")).await? else {
                panic!("nobody else writes");
            };
            let entries = store.read_run(&run(1), ReadAt::Entry(sequence)).await?;
            assert_eq!(sequences(&entries), (1..=sequence).collect::<Vec<_>>());
            assert_eq!(entries.last().map(|entry| entry.key.clone()), Some(step(number)));
        }
        Ok(())
    })
}

#[test]
fn a_read_for_an_entry_shows_nothing_later_than_it() -> anyhow::Result<()> {
    on_one(async |bench| {
        let store = bench.store("owner");
        write(&store, 30).await?;
        let entries = store.read_run(&run(1), ReadAt::Entry(10)).await?;
        assert_eq!(sequences(&entries), (1..=10).collect::<Vec<_>>());
        Ok(())
    })
}

#[test]
fn a_read_at_least_as_new_as_a_position_is_never_older() -> anyhow::Result<()> {
    on(Nodes::Three, async |bench| {
        let store = bench.store("owner");
        bench.server.set_faults(stale(0.8));
        store.create(&run(1), EntryKey::Start, &start()).await?;
        for number in 0..60 {
            store.create(&run(1), step(number), &local("")).await?;
            let known = number as u64 + 2;
            let entries = store.read_run(&run(1), ReadAt::AtLeast(known)).await?;
            assert_eq!(sequences(&entries), (1..=known).collect::<Vec<_>>());
            assert!(store.read_run(&run(2), ReadAt::AtLeast(known)).await?.is_empty());
        }
        Ok(())
    })
}

#[test]
fn several_runs_are_read_by_one_question_and_each_is_whole() -> anyhow::Result<()> {
    on(Nodes::Three, async |bench| {
        let store = bench.store("owner");
        let runs: Vec<_> = (1..=5).map(run).collect();
        let mut known = 0;
        for number in 0..20 {
            // The last one has nothing.
            for run in &runs[..4] {
                let (key, entry) = match number {
                    0 => (EntryKey::Start, start()),
                    number => (step(number), local("")),
                };
                store.create(run, key, &entry).await?;
                known += 1;
            }
        }
        bench.server.set_faults(stale(0.5));
        let journals = store.read_runs(&runs, known).await?;
        for (place, journal) in journals.into_iter().enumerate() {
            let whole: Vec<u64> = (0..20).map(|number| number * 4 + place as u64 + 1).collect();
            let expected = if place < 4 { whole } else { Vec::new() };
            assert_eq!(sequences(&journal?), expected, "run {place}");
        }
        Ok(())
    })
}

#[test]
fn more_runs_than_one_answer_holds_are_refused_at_once() -> anyhow::Result<()> {
    on_one(async |bench| {
        let store = bench.store("owner");
        let last = write(&store, 1_200).await?;
        let asked = bench.server.calls("owner").get(&Call::GetLast).copied().unwrap_or_default();
        let error = store.read_runs(&[run(1), run(2)], last).await.unwrap_err();
        assert_eq!(error, ReadError::TooMany);
        assert_eq!(bench.server.calls("owner")[&Call::GetLast], asked + 1);
        Ok(())
    })
}

#[test]
fn one_of_several_runs_that_is_unreadable_leaves_the_others() -> anyhow::Result<()> {
    on_one(async |bench| {
        let store = bench.store("owner");
        let last = write(&store, 3).await?;
        let broken = store.names().entry(&run(2), &EntryKey::Start);
        store.broker().publish(Publish::new(broken, "?").create_only()).await?;
        let journals = store.read_runs(&[run(1), run(2)], last).await?;
        assert_eq!(sequences(journals[0].as_ref().unwrap()), (1..=last).collect::<Vec<_>>());
        assert!(matches!(&journals[1], Err(ReadRunError::Undecodable { .. })));
        Ok(())
    })
}

#[test]
fn a_run_of_fifteen_hundred_entries_reads_whole() -> anyhow::Result<()> {
    for nodes in [Nodes::One, Nodes::Three] {
        on(nodes, async |bench| {
            let store = bench.store("owner");
            let last = write(&store, 1_500).await?;
            bench.server.set_faults(stale(0.3));
            for at in [ReadAt::Entry(last), ReadAt::AtLeast(last), ReadAt::AtLeast(0)] {
                let entries = store.read_run(&run(1), at).await?;
                assert_eq!(sequences(&entries), (1..=last).collect::<Vec<_>>(), "{at:?}");
            }
            let middle = store.read_run(&run(1), ReadAt::Entry(1_200)).await?;
            assert_eq!(sequences(&middle), (1..=1_200).collect::<Vec<_>>());
            assert!(bench.server.calls("owner")[&Call::Scan] >= 4);
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn an_entry_that_was_purged_is_no_answer() -> anyhow::Result<()> {
    on_one(async |bench| {
        let store = bench.store("owner");
        let last = write(&store, 3).await?;
        store
            .broker()
            .purge("KV_checkpoints_0", &store.names().run_filter(&run(1)))
            .await?;
        let began = store.clock().now();
        let error = store.read_run(&run(1), ReadAt::Entry(last)).await.unwrap_err();
        assert!(matches!(error, ReadRunError::Unavailable { .. }), "{error:?}");
        assert!(error.to_string().contains(run(1).as_str()));
        let waited = store.clock().now().since(began);
        assert!((20..=40).contains(&waited.as_secs()), "{waited:?}");
        Ok(())
    })
}

#[test]
fn a_read_outlasts_a_cut_connection() -> anyhow::Result<()> {
    on_one(async |bench| {
        let store = bench.store("owner");
        let last = write(&store, 3).await?;
        bench.server.cut("owner", Duration::from_secs(12));
        let entries = store.read_run(&run(1), ReadAt::Entry(last)).await?;
        assert_eq!(entries.len(), 4);
        Ok(())
    })
}

#[test]
fn a_missing_stream_is_told_at_once() -> anyhow::Result<()> {
    on_one(async |bench| {
        let store = bench.store("owner");
        bench.server.delete_stream("KV_checkpoints_0");
        let error = store.read_run(&run(1), ReadAt::AtLeast(0)).await.unwrap_err();
        assert!(matches!(error, ReadRunError::Unavailable { .. }), "{error:?}");
        Ok(())
    })
}

#[test]
fn what_cannot_be_read_is_named() -> anyhow::Result<()> {
    let cases = [
        ("local.a", &b"\x09garbage"[..], "reading entry local.a of run 0-"),
        ("local.a", b"\x01\xc1", "reading entry local.a of run 0-"),
        ("local.a", b"", "reading entry local.a of run 0-"),
        ("memo.a", b"\x01\xc0", "memo.a\", which is not a journal entry"),
        ("try.a.02", b"\x01\xc0", "try.a.02\", which is not a journal entry"),
        ("local.a.b", b"\x01\xc0", "local.a.b\", which is not a journal entry"),
    ];
    for (key, body, told) in cases {
        on_one(async |bench| {
            let store = bench.store("owner");
            let subject = format!("$KV.checkpoints_0.{}.{key}", run(1));
            store
                .broker()
                .publish(Publish::new(subject, Bytes::from_static(body)))
                .await?;
            let error = store.read_run(&run(1), ReadAt::AtLeast(1)).await.unwrap_err();
            let foreign = told.contains("which is not");
            assert_eq!(matches!(error, ReadRunError::Foreign { .. }), foreign, "{error:?}");
            assert_eq!(matches!(error, ReadRunError::Undecodable { .. }), !foreign, "{error:?}");
            assert!(error.to_string().contains(told), "{error}");
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn runs_whose_ids_begin_alike_are_kept_apart() -> anyhow::Result<()> {
    on_one(async |bench| {
        let store = bench.store("owner");
        for number in [1, 16, 256] {
            store.create(&run(number), EntryKey::Start, &start()).await?;
        }
        let entries = store.read_run(&run(16), ReadAt::AtLeast(3)).await?;
        assert_eq!(sequences(&entries), [2]);
        let entry = store.read_entry(&run(16), &EntryKey::Start).await?.expect("it is stored");
        assert_eq!((entry.sequence, entry.entry), (2, start()));
        assert!(store.read_entry(&run(16), &EntryKey::End).await?.is_none());
        Ok(())
    })
}
