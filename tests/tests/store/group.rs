//! Writes that share an fsync: stored once each, in few batches, and everyone is told of his own.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use everstep_common::journal::EntryKey;
use everstep_common::limits::{BATCH_BYTES_MAX, BATCH_MESSAGES_MAX};
use everstep_common::ports::PublishError;
use everstep_common::store::{CreateError, Created, LEASES, PutError, Store};
use everstep_memory::{Call, MAX_PAYLOAD};
use futures::future::{join_all, try_join_all};

use crate::bench::{Bench, local, on_one, run, start, step};

/// Creates `s0` … of run 1 at once, each saying who wrote it.
async fn create_all(store: &Store, count: usize, says: &str) -> anyhow::Result<Vec<Created>> {
    let creations: Vec<_> = (0..count)
        .map(|number| store.create(&run(1), step(number), &local(says.to_owned())))
        .collect();
    Ok(try_join_all(creations).await?)
}

/// Every sequence told is that of the key it was told for.
fn assert_sequences_are_right(bench: &Bench, store: &Store, created: &[Created]) {
    let stored: BTreeMap<String, u64> = bench.journal().into_iter().map(|m| (m.subject, m.sequence)).collect();
    for (number, created) in created.iter().enumerate() {
        let told = match created {
            Created::Ours { sequence } => *sequence,
            Created::Theirs(message) => message.sequence,
        };
        assert_eq!(told, stored[&store.names().entry(&run(1), &step(number))], "s{number}");
    }
}

fn is_ours(created: &Created) -> bool {
    matches!(created, Created::Ours { .. })
}

#[test]
fn two_thousand_creates_are_stored_once_in_few_batches() -> anyhow::Result<()> {
    on_one(async |bench| {
        let store = bench.store("writer");
        let created = create_all(&store, 2_000, "mine").await?;
        assert!(created.iter().all(is_ours));
        assert_eq!(bench.journal().len(), 2_000);
        assert_sequences_are_right(&bench, &store, &created);
        let batches = bench.batches();
        assert!((2..=4).contains(&batches.len()), "{batches:?}");
        assert!(batches.iter().all(|size| *size <= BATCH_MESSAGES_MAX), "{batches:?}");
        assert!(bench.server.calls("writer")[&Call::Publish] <= 16);
        Ok(())
    })
}

#[test]
fn fewer_than_eight_at_a_time_go_one_by_one() -> anyhow::Result<()> {
    on_one(async |bench| {
        let store = bench.store("writer");
        let created = create_all(&store, 7, "mine").await?;
        assert_sequences_are_right(&bench, &store, &created);
        assert!(bench.batches().is_empty());
        Ok(())
    })
}

#[test]
fn a_server_that_groups_by_itself_or_does_not_sync_gets_no_batches() -> anyhow::Result<()> {
    on_one(async |bench| {
        let store = bench.ungrouped("writer");
        let created = create_all(&store, 100, "mine").await?;
        assert_sequences_are_right(&bench, &store, &created);
        assert!(bench.batches().is_empty());
        Ok(())
    })
}

#[test]
fn a_few_that_come_while_others_are_under_way_do_not_wait_for_more() -> anyhow::Result<()> {
    on_one(async |bench| {
        let store = bench.store("writer");
        let created = create_all(&store, 11, "mine").await?;
        assert_sequences_are_right(&bench, &store, &created);
        Ok(())
    })
}

#[test]
fn creates_that_nobody_polls_hold_nobody_up() -> anyhow::Result<()> {
    on_one(async |bench| {
        let store = bench.store("writer");
        let unpolled: Vec<_> = (0..8).map(|number| store.create(&run(1), step(number), &local(""))).collect();
        let polled = store.create(&run(1), step(8), &local("")).await?;
        assert!(is_ours(&polled));
        let unpolled = try_join_all(unpolled).await?;
        assert!(unpolled.iter().all(is_ours));
        Ok(())
    })
}

#[test]
fn creates_that_are_dropped_hold_nobody_up() -> anyhow::Result<()> {
    on_one(async |bench| {
        let store = bench.store("writer");
        let kept = {
            let mut creations: Vec<_> = (0..30)
                .map(|number| store.create(&run(1), step(number), &local("")))
                .collect();
            creations.split_off(25)
        };
        assert!(try_join_all(kept).await?.iter().all(is_ours));
        let later = create_all(&store, 40, "later").await?;
        assert_sequences_are_right(&bench, &store, &later);
        Ok(())
    })
}

#[test]
fn a_batch_with_taken_keys_stores_the_others_and_tells_those() -> anyhow::Result<()> {
    for taken in [&[50][..], &[8, 9, 99], &[0, 8, 20, 60]] {
        on_one(async |bench| {
            let (first, second) = (bench.store("first"), bench.store("second"));
            for number in taken {
                first.create(&run(1), step(*number), &local("first")).await?;
            }
            let created = create_all(&second, 100, "second").await?;
            assert_sequences_are_right(&bench, &second, &created);
            let theirs: Vec<usize> = (0..100).filter(|number| !is_ours(&created[*number])).collect();
            assert_eq!(theirs, taken);
            assert_eq!(bench.journal().len(), 100);
            assert!(bench.batches().iter().sum::<usize>() > 80, "the rest goes as a batch again");
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn a_key_twice_in_one_go_is_ours_once() -> anyhow::Result<()> {
    on_one(async |bench| {
        let store = bench.store("writer");
        let both: Vec<_> = (0..60)
            .map(|number| store.create(&run(1), step(number % 30), &local(number.to_string())))
            .collect();
        let both = try_join_all(both).await?;
        assert!(both[..30].iter().all(is_ours));
        assert!(!both[30..].iter().any(is_ours));
        assert_sequences_are_right(&bench, &store, &both[..30]);
        Ok(())
    })
}

#[test]
fn starts_with_their_guards_share_a_batch() -> anyhow::Result<()> {
    on_one(async |bench| {
        let store = bench.store("client");
        let creations: Vec<_> = (0..100_u128)
            .map(|number| store.create(&run(number), EntryKey::Start, &start()))
            .collect();
        assert!(try_join_all(creations).await?.iter().all(is_ours));
        assert_eq!(bench.journal().len(), 100);
        assert!(!bench.batches().is_empty());
        Ok(())
    })
}

#[test]
fn a_start_refused_by_its_guard_leaves_the_others_of_its_batch_alone() -> anyhow::Result<()> {
    on_one(async |bench| {
        let store = bench.store("client");
        for started in [20, 40] {
            store.create(&run(started), EntryKey::Start, &start()).await?;
            store.create(&run(started), step(1), &local("")).await?;
        }
        let creations: Vec<_> = (0..50_u128)
            .flat_map(|number| {
                [
                    store.create(&run(number), EntryKey::Start, &start()),
                    store.create(&run(1_000 + number), step(2), &local("")),
                ]
            })
            .collect();
        let created = try_join_all(creations).await?;
        let theirs: Vec<usize> = (0..100).filter(|at| !is_ours(&created[*at])).collect();
        assert_eq!(theirs, [40, 80]);
        assert_eq!(bench.journal().len(), 102);
        Ok(())
    })
}

#[test]
fn a_batch_whose_acknowledgement_is_lost_is_found_to_be_ours() -> anyhow::Result<()> {
    on_one(async |bench| {
        let store = bench.store("writer");
        bench.lose_answers();
        let writing = tokio::spawn({
            let store = store.clone();
            async move { create_all(&store, 300, "mine").await }
        });
        bench.until(|| bench.journal().len() > 100).await?;
        bench.lose_nothing();
        let created = writing.await??;
        assert!(created.iter().all(is_ours));
        assert_eq!(bench.journal().len(), 300);
        assert_sequences_are_right(&bench, &store, &created);
        Ok(())
    })
}

#[test]
fn a_batch_stays_below_its_limit_in_bytes() -> anyhow::Result<()> {
    on_one(async |bench| {
        let store = bench.store("writer");
        let big = Bytes::from(vec![7; 200 * 1024]);
        let creations: Vec<_> = (0..60)
            .map(|number| store.create(&run(1), step(number), &local(big.clone())))
            .collect();
        let created = try_join_all(creations).await?;
        assert_sequences_are_right(&bench, &store, &created);
        let batches = bench.batches();
        assert!(batches.len() >= 2, "{batches:?}");
        assert!(batches.iter().all(|size| size * big.len() <= BATCH_BYTES_MAX), "{batches:?}");
        Ok(())
    })
}

#[test]
fn one_too_large_for_the_server_is_told_to_its_writer_alone() -> anyhow::Result<()> {
    on_one(async |bench| {
        let store = bench.store("writer");
        let creations = (0..100).map(|number| {
            let bytes = if number == 50 { MAX_PAYLOAD } else { 1 };
            store.create(&run(1), step(number), &local(vec![7; bytes]))
        });
        let created = join_all(creations.collect::<Vec<_>>()).await;
        for (number, created) in created.iter().enumerate() {
            match created {
                Ok(created) => assert!(number != 50 && is_ours(created), "s{number}"),
                Err(CreateError::Rejected { key, source, .. }) => {
                    assert_eq!((number, key, source), (50, &step(50), &PublishError::TooLarge));
                }
                Err(error) => panic!("s{number}: {error}"),
            }
        }
        assert_eq!(bench.journal().len(), 99);
        Ok(())
    })
}

#[test]
fn a_missing_stream_is_told_to_everyone_of_a_batch() -> anyhow::Result<()> {
    on_one(async |bench| {
        let store = bench.store("writer");
        bench.server.delete_stream("KV_checkpoints_0");
        let creations = (0..100).map(|number| store.create(&run(1), step(number), &local("")));
        for created in join_all(creations).await {
            assert!(created.is_err(), "{created:?}");
        }
        Ok(())
    })
}

#[test]
fn two_writers_of_the_same_keys_learn_of_the_same_winners() -> anyhow::Result<()> {
    on_one(async |bench| {
        let (one, two) = (bench.store("one"), bench.store("two"));
        let (of_one, of_two) = futures::try_join!(create_all(&one, 500, "one"), create_all(&two, 500, "two"))?;
        assert_eq!(bench.journal().len(), 500);
        assert_sequences_are_right(&bench, &one, &of_one);
        assert_sequences_are_right(&bench, &two, &of_two);
        for number in 0..500 {
            assert_ne!(is_ours(&of_one[number]), is_ours(&of_two[number]), "s{number} has one winner");
            let entry = one.read_entry(&run(1), &step(number)).await?.expect("it is stored").entry;
            let winner = if is_ours(&of_one[number]) { "one" } else { "two" };
            assert_eq!(entry, local(winner));
        }
        Ok(())
    })
}

#[test]
fn records_written_together_have_the_revisions_they_are_told() -> anyhow::Result<()> {
    on_one(async |bench| {
        let store = bench.store("owner");
        let put = |number: usize, revision: u64| {
            let (store, key) = (store.clone(), format!("r{number}"));
            async move {
                store
                    .put_record(LEASES, &key, Bytes::from(revision.to_string()), revision)
                    .await
            }
        };
        // Half of them exist; then all are written together, twice, so that each revision told is put to the proof.
        let mut revisions = try_join_all((0..50).map(|number| put(number, 0))).await?;
        revisions.resize(100, 0);
        for _ in 0..2 {
            revisions = try_join_all((0..100).map(|number| put(number, revisions[number]))).await?;
        }
        assert_eq!(revisions.iter().collect::<BTreeSet<_>>().len(), 100);
        for (number, revision) in revisions.iter().enumerate() {
            let record = store
                .get_record(LEASES, &format!("r{number}"))
                .await?
                .expect("it was written");
            assert_eq!(record.revision, *revision);
        }
        assert!(bench.batches().len() >= 3, "{:?}", bench.batches());
        Ok(())
    })
}

#[test]
fn of_records_written_together_only_the_stale_one_conflicts() -> anyhow::Result<()> {
    on_one(async |bench| {
        let store = bench.store("owner");
        let mut revisions = Vec::new();
        for number in 0..60 {
            revisions.push(store.put_record(LEASES, &format!("r{number}"), Bytes::new(), 0).await?);
        }
        store.put_record(LEASES, "r30", Bytes::new(), revisions[30]).await?;
        let puts = (0..60).map(|number| {
            let (store, revision) = (store.clone(), revisions[number]);
            async move { store.put_record(LEASES, &format!("r{number}"), Bytes::new(), revision).await }
        });
        for (number, put) in join_all(puts).await.into_iter().enumerate() {
            match number {
                30 => assert_eq!(put, Err(PutError::Conflict)),
                _ => assert!(put.is_ok(), "r{number}: {put:?}"),
            }
        }
        Ok(())
    })
}
