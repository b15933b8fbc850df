//! A refusal is a question: whoever creates an entry learns whose it is.

use std::time::Duration;

use everstep_common::journal::{Ended, Entry, EntryKey, InboundId, RunOutcome};
use everstep_common::payload::Payload;
use everstep_common::ports::PublishError;
use everstep_common::store::{CreateError, Created};
use everstep_memory::{Faults, Nodes, Span};

use crate::bench::{local, on, on_one, process, run, start, step};

#[test]
fn a_lost_acknowledgement_after_the_write_is_found_to_be_ours() -> anyhow::Result<()> {
    for nodes in [Nodes::One, Nodes::Three] {
        on(nodes, async |bench| {
            let store = bench.store("writer");
            store.create(&run(9), step(9), &local("earlier")).await?;
            bench.lose_answers();
            let creation = tokio::spawn(store.create(&run(1), step(1), &local("mine")));
            bench.until(|| bench.journal().len() == 2).await?;
            store
                .broker()
                .publish(everstep_common::ports::Publish::new("nowhere", ""))
                .await
                .ok();
            bench.lose_nothing();
            assert_eq!(creation.await??, Created::Ours { sequence: 2 });
            assert_eq!(bench.journal().len(), 2);
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn a_request_that_never_arrived_is_sent_again() -> anyhow::Result<()> {
    on_one(async |bench| {
        let store = bench.store("writer");
        bench.lose_requests();
        let creation = store.create(&run(1), step(1), &local("mine"));
        bench.lose_nothing();
        assert_eq!(creation.await?, Created::Ours { sequence: 1 });
        Ok(())
    })
}

#[test]
fn who_comes_second_is_told_what_the_first_one_wrote() -> anyhow::Result<()> {
    on_one(async |bench| {
        let (first, second) = (bench.store("first"), bench.store("second"));
        first.create(&run(1), step(1), &local("first")).await?;
        let Created::Theirs(message) = second.create(&run(1), step(1), &local("second")).await? else {
            panic!("the key was taken");
        };
        assert_eq!(message.sequence, 1);
        assert_eq!(second.decode_entry(&run(1), *message)?.entry, local("first"));
        assert_eq!(bench.journal().len(), 1);
        Ok(())
    })
}

#[test]
fn the_same_process_writing_a_key_twice_is_told_apart() -> anyhow::Result<()> {
    on_one(async |bench| {
        let store = bench.store("writer");
        store.create(&run(1), step(1), &local("same")).await?;
        let again = store.create(&run(1), step(1), &local("same")).await?;
        assert!(
            matches!(again, Created::Theirs(_)),
            "a nonce is for one create, not for one process"
        );
        Ok(())
    })
}

#[test]
fn a_run_starts_once() -> anyhow::Result<()> {
    on_one(async |bench| {
        let store = bench.store("client");
        assert_eq!(
            store.create(&run(1), EntryKey::Start, &start()).await?,
            Created::Ours { sequence: 1 }
        );
        store.create(&run(1), step(1), &local("")).await?;
        let Created::Theirs(earlier) = store.create(&run(1), EntryKey::Start, &start()).await? else {
            panic!("the run was started");
        };
        assert_eq!(earlier.sequence, 1);
        Ok(())
    })
}

#[test]
fn a_start_into_a_run_that_holds_something_else_is_an_error_that_names_it() -> anyhow::Result<()> {
    on_one(async |bench| {
        let store = bench.store("client");
        let key = EntryKey::In(InboundId::new("cancel")?);
        store.create(&run(1), key, &local("before the start")).await?;
        let error = store.create(&run(1), EntryKey::Start, &start()).await.unwrap_err();
        assert!(matches!(error, CreateError::Rejected { .. }), "{error:?}");
        assert!(error.to_string().contains("in.cancel"), "{error}");
        assert_eq!(bench.journal().len(), 1);
        Ok(())
    })
}

#[test]
fn a_start_into_a_purged_run_finds_the_tombstone() -> anyhow::Result<()> {
    on_one(async |bench| {
        let store = bench.store("client");
        store.create(&run(1), EntryKey::Start, &start()).await?;
        store
            .broker()
            .purge("KV_checkpoints_0", &store.names().run_filter(&run(1)))
            .await?;
        store.create(&run(1), EntryKey::Gone, &Entry::Gone).await?;
        let error = store.create(&run(1), EntryKey::Start, &start()).await.unwrap_err();
        assert!(matches!(error, CreateError::Gone { .. }), "{error:?}");
        Ok(())
    })
}

#[test]
fn a_missing_stream_is_an_error_after_ten_seconds_of_patience() -> anyhow::Result<()> {
    on_one(async |bench| {
        let store = bench.store("writer");
        bench.server.delete_stream("KV_checkpoints_0");
        let began = store.clock().now();
        let error = store.create(&run(1), step(1), &local("")).await.unwrap_err();
        assert!(matches!(error, CreateError::NoStream { .. }), "{error:?}");
        assert!(error.to_string().contains("everstep provision"), "{error}");
        let waited = store.clock().now().since(began);
        assert!((9..=12).contains(&waited.as_secs()), "{waited:?}");
        Ok(())
    })
}

#[test]
fn a_stream_that_comes_back_in_time_takes_the_entry() -> anyhow::Result<()> {
    on_one(async |bench| {
        let store = bench.store("writer");
        bench.server.delete_stream("KV_checkpoints_0");
        let creation = tokio::spawn(store.create(&run(1), step(1), &local("")));
        store.clock().sleep(Duration::from_secs(5)).await;
        bench.deployment.provision(store.broker(), store.clock().as_ref()).await?;
        assert_eq!(creation.await??, Created::Ours { sequence: 1 });
        Ok(())
    })
}

#[test]
fn a_create_outlasts_a_server_that_is_away_for_long() -> anyhow::Result<()> {
    on_one(async |bench| {
        let store = bench.store("writer");
        bench.server.set_faults(Faults {
            restart_for: Span::milliseconds(600_000, 600_000),
            ..Faults::none()
        });
        let before = store.create(&run(1), step(1), &local(""));
        bench.server.restart();
        let during = store.create(&run(1), step(2), &local(""));
        let (before, during) = futures::try_join!(before, during)?;
        assert!(matches!(before, Created::Ours { .. }) && matches!(during, Created::Ours { .. }));
        assert_eq!(bench.journal().len(), 2);
        Ok(())
    })
}

#[test]
fn a_full_disk_holds_a_create_up_and_loses_nothing() -> anyhow::Result<()> {
    on_one(async |bench| {
        let store = bench.store("writer");
        bench.server.fill_disk(true);
        let creation = tokio::spawn(store.create(&run(1), step(1), &local("")));
        store.clock().sleep(Duration::from_secs(60)).await;
        assert!(!creation.is_finished());
        bench.server.fill_disk(false);
        assert_eq!(creation.await??, Created::Ours { sequence: 1 });
        Ok(())
    })
}

#[test]
fn an_entry_over_what_the_server_takes_is_rejected_at_once() -> anyhow::Result<()> {
    on_one(async |bench| {
        let store = bench.store("writer");
        let end = Entry::End(Ended {
            outcome: RunOutcome::Completed(Payload::Inline(vec![0; 2 << 20].into())),
            by: process("owner"),
        });
        let error = store.create(&run(1), EntryKey::End, &end).await.unwrap_err();
        let CreateError::Rejected { source, .. } = &error else {
            panic!("{error:?}");
        };
        assert_eq!(*source, PublishError::TooLarge);
        assert!(error.to_string().contains(run(1).as_str()), "{error}");
        Ok(())
    })
}

#[test]
fn on_a_cluster_a_stale_read_back_does_not_make_our_entry_somebody_elses() -> anyhow::Result<()> {
    on(Nodes::Three, async |bench| {
        let store = bench.store("writer");
        for number in 0..40 {
            bench.server.set_faults(Faults {
                answer_lost: 0.4,
                stale_read: 0.6,
                stale_leader_read: 0.3,
                ..Faults::none()
            });
            let created = store.create(&run(1), step(number), &local("")).await?;
            let sequence = number as u64 + 1;
            assert_eq!(created, Created::Ours { sequence });
        }
        assert_eq!(bench.journal().len(), 40);
        Ok(())
    })
}
