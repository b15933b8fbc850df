//! Compare-and-set records: our own write is no conflict, somebody else's is.

use bytes::Bytes;
use everstep_common::store::{LEASES, PutError};
use everstep_memory::{Faults, Nodes};

use crate::bench::{on, on_one};

#[test]
fn a_record_is_written_if_its_revision_is_still_the_expected_one() -> anyhow::Result<()> {
    on_one(async |bench| {
        let store = bench.store("owner");
        assert_eq!(store.get_record(LEASES, "a").await?, None);
        let first = store.put_record(LEASES, "a", Bytes::from("1"), 0).await?;
        let second = store.put_record(LEASES, "a", Bytes::from("2"), first).await?;
        let record = store.get_record(LEASES, "a").await?.expect("it is there");
        assert_eq!((record.revision, &*record.value), (second, &b"2"[..]));
        Ok(())
    })
}

#[test]
fn our_own_write_whose_acknowledgement_was_lost_is_no_conflict() -> anyhow::Result<()> {
    for nodes in [Nodes::One, Nodes::Three] {
        on(nodes, async |bench| {
            let store = bench.store("owner");
            let first = store.put_record(LEASES, "a", Bytes::from("1"), 0).await?;
            bench.lose_answers();
            let writing = tokio::spawn({
                let store = store.clone();
                async move { store.put_record(LEASES, "a", Bytes::from("2"), first).await }
            });
            bench
                .until(|| bench.server.messages("KV_leases").iter().any(|m| &*m.payload == b"2"))
                .await?;
            bench.lose_nothing();
            let second = writing.await??;
            assert!(second > first);
            store.put_record(LEASES, "a", Bytes::from("3"), second).await?;
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn somebody_elses_write_is_a_conflict_whether_we_are_answered_or_not() -> anyhow::Result<()> {
    on_one(async |bench| {
        let (one, other) = (bench.store("one"), bench.store("other"));
        let first = one.put_record(LEASES, "a", Bytes::from("1"), 0).await?;
        other.put_record(LEASES, "a", Bytes::from("2"), first).await?;
        assert_eq!(
            one.put_record(LEASES, "a", Bytes::from("3"), first).await,
            Err(PutError::Conflict)
        );
        assert_eq!(
            one.put_record(LEASES, "a", Bytes::from("3"), 0).await,
            Err(PutError::Conflict)
        );
        bench.lose_requests();
        let writing = one.put_record(LEASES, "a", Bytes::from("3"), first);
        let mut writing = Box::pin(writing);
        assert!(futures::poll!(&mut writing).is_pending());
        bench.lose_nothing();
        assert_eq!(writing.await, Err(PutError::Conflict));
        Ok(())
    })
}

#[test]
fn a_write_that_is_not_there_is_unknown() -> anyhow::Result<()> {
    on_one(async |bench| {
        let store = bench.store("owner");
        let mut expected = 0;
        for _ in 0..2 {
            bench.lose_requests();
            let mut writing = Box::pin(store.put_record(LEASES, "a", Bytes::from("2"), expected));
            assert!(futures::poll!(&mut writing).is_pending());
            bench.lose_nothing();
            let answer = writing.await;
            assert!(matches!(answer, Err(PutError::Unknown(_))), "{answer:?}");
            expected = store.put_record(LEASES, "a", Bytes::from("1"), expected).await?;
        }
        Ok(())
    })
}

#[test]
fn a_missing_bucket_says_what_makes_it() -> anyhow::Result<()> {
    on_one(async |bench| {
        let store = bench.store("owner");
        let error = store.put_record("attic", "a", Bytes::new(), 0).await.unwrap_err();
        assert_eq!(error, PutError::NoBucket);
        assert!(error.to_string().contains("everstep provision"));
        Ok(())
    })
}

#[test]
fn our_write_is_no_conflict_because_a_deposed_leader_has_not_seen_it() -> anyhow::Result<()> {
    on(Nodes::Three, async |bench| {
        let store = bench.store("owner");
        let mut revision = 0;
        for number in 0..60 {
            bench.server.set_faults(Faults {
                answer_lost: 0.3,
                stale_leader_read: 0.5,
                ..Faults::none()
            });
            match store.put_record(LEASES, "a", Bytes::from(number.to_string()), revision).await {
                Ok(written) => revision = written,
                Err(PutError::Unknown(_)) => {
                    bench.lose_nothing();
                    revision = store.get_record(LEASES, "a").await?.map_or(0, |record| record.revision);
                }
                Err(error) => panic!("nobody else writes it, and yet: {error}"),
            }
        }
        Ok(())
    })
}
