//! Large values: by reference from one byte over the limit, whole or not at all.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use everstep_common::limits::{PAYLOAD_BYTES_MAX, PAYLOAD_CHUNK_BYTES, PAYLOAD_INLINE_BYTES_MAX};
use everstep_common::payload::{Payload, StoredPayload};
use everstep_common::ports::{Clock, Publish};
use everstep_common::store::{PayloadError, Store};
use everstep_common::topology::{Discard, StreamSpec};
use everstep_memory::{Faults, Nodes};

use crate::bench::{Bench, on, on_one, run};

/// How long the server is away: far longer than any number of tries.
const OUTAGE: Duration = Duration::from_secs(600);

/// Within what time things must go on after it.
const AFTERWARDS: Duration = Duration::from_secs(30);

/// Ways of being away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outage {
    /// No connection.
    Cut,
    /// Nobody answers.
    Silent,
    /// Nobody may write.
    Leaderless,
}

impl Outage {
    fn begin(self, bench: &Bench) {
        match self {
            Self::Cut => ["worker", "another"].iter().for_each(|name| bench.server.disconnect(name)),
            Self::Silent => bench.lose_answers(),
            Self::Leaderless => bench.server.lose_leader(OUTAGE),
        }
    }

    fn end(self, bench: &Bench) {
        match self {
            Self::Cut => ["worker", "another"].iter().for_each(|name| bench.server.reconnect(name)),
            Self::Silent => bench.lose_nothing(),
            Self::Leaderless => {}
        }
    }
}

/// What was logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no panic").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn value(bytes: usize) -> Bytes {
    (0..bytes).map(|at| (at / 1_000) as u8).collect::<Vec<_>>().into()
}

async fn put(store: &Store, value: Bytes) -> anyhow::Result<StoredPayload> {
    match store.put_payload(&run(1), "charge", value).await? {
        Payload::Stored(stored) => Ok(stored),
        Payload::Inline(_) => anyhow::bail!("it stands inline"),
    }
}

async fn why_not(store: &Store, stored: StoredPayload) -> String {
    let error = store.get_payload(&run(1), &Payload::Stored(stored)).await.unwrap_err();
    assert!(matches!(error, PayloadError::Fetch { .. }), "{error:?}");
    assert!(error.to_string().contains(run(1).as_str()), "{error}");
    error.to_string()
}

#[test]
fn a_value_of_exactly_the_limit_stands_inline() -> anyhow::Result<()> {
    on_one(async |bench| {
        let store = bench.store("worker");
        let value = value(PAYLOAD_INLINE_BYTES_MAX);
        let payload = store.put_payload(&run(1), "charge", value.clone()).await?;
        assert_eq!(payload, Payload::Inline(value.clone()));
        assert!(bench.server.messages("PAYLOADS").is_empty());
        assert_eq!(store.get_payload(&run(1), &payload).await?, value);
        Ok(())
    })
}

#[test]
fn one_byte_more_goes_by_reference_and_comes_back() -> anyhow::Result<()> {
    for (bytes, chunks) in [
        (PAYLOAD_INLINE_BYTES_MAX + 1, 2),
        (3 * PAYLOAD_CHUNK_BYTES, 3),
        (5_000_000, 20),
    ] {
        on_one(async |bench| {
            let store = bench.store("worker");
            let value = value(bytes);
            let stored = put(&store, value.clone()).await?;
            assert_eq!((stored.bytes, stored.chunks()), (bytes as u64, chunks));
            let subjects: Vec<String> = bench.server.messages("PAYLOADS").into_iter().map(|m| m.subject).collect();
            let expected = |chunk| format!("payload.{}.charge.{}.{chunk}", run(1), stored.digest);
            assert_eq!(subjects, (0..chunks).map(expected).collect::<Vec<_>>());
            assert_eq!(store.get_payload(&run(1), &Payload::Stored(stored)).await?, value);
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn storing_a_value_again_stores_nothing_more() -> anyhow::Result<()> {
    on_one(async |bench| {
        let store = bench.store("worker");
        let first = put(&store, value(600_000)).await?;
        let second = put(&bench.store("another"), value(600_000)).await?;
        assert_eq!(first, second);
        assert_eq!(bench.server.messages("PAYLOADS").len(), 3);
        Ok(())
    })
}

#[test]
fn a_value_over_sixty_four_mebibytes_is_refused_before_anything_is_stored() -> anyhow::Result<()> {
    on_one(async |bench| {
        let store = bench.store("worker");
        let value = Bytes::from(vec![0; PAYLOAD_BYTES_MAX + 1]);
        let error = store.put_payload(&run(1), "charge", value).await.unwrap_err();
        assert!(matches!(error, PayloadError::TooLarge(_)), "{error:?}");
        assert!(
            error.to_string().contains("67108865 bytes is over the limit of 67108864"),
            "{error}"
        );
        assert!(bench.server.messages("PAYLOADS").is_empty());
        Ok(())
    })
}

#[test]
fn a_missing_chunk_is_told() -> anyhow::Result<()> {
    on_one(async |bench| {
        let store = bench.store("worker");
        let stored = put(&store, value(600_000)).await?;
        let second = store.names().payload(&run(1), "charge", &stored.digest, 1);
        store.broker().purge("PAYLOADS", &second).await?;
        let told = why_not(&store, stored).await;
        assert!(told.contains("a chunk is not there"), "{told}");
        Ok(())
    })
}

#[test]
fn a_value_with_another_digest_is_told() -> anyhow::Result<()> {
    on_one(async |bench| {
        let store = bench.store("worker");
        let stored = put(&store, value(600_000)).await?;
        let forged = StoredPayload {
            digest: "0".repeat(64),
            ..stored
        };
        for chunk in 0..forged.chunks() {
            let subject = store.names().payload(&run(1), "charge", &forged.digest, chunk);
            store.broker().publish(Publish::new(subject, "something else")).await?;
        }
        let told = why_not(&store, forged).await;
        assert!(told.contains("another digest"), "{told}");
        Ok(())
    })
}

#[test]
fn a_reference_that_claims_too_much_is_not_even_fetched() -> anyhow::Result<()> {
    on_one(async |bench| {
        let store = bench.store("worker");
        let claim = StoredPayload {
            owner: "charge".into(),
            digest: "0".repeat(64),
            bytes: u64::MAX,
        };
        let told = why_not(&store, claim).await;
        assert!(told.contains("64 MiB"), "{told}");
        Ok(())
    })
}

#[test]
fn a_missing_stream_is_told_when_fetching_and_after_patience_when_storing() -> anyhow::Result<()> {
    on_one(async |bench| {
        let store = bench.store("worker");
        let stored = put(&store, value(600_000)).await?;
        bench.server.delete_stream("PAYLOADS");
        why_not(&store, stored).await;
        let error = put(&store, value(700_000)).await.unwrap_err();
        assert!(error.to_string().contains("no stream takes the subject"), "{error}");
        Ok(())
    })
}

#[test]
fn an_outage_of_ten_minutes_delays_a_value_on_its_way_in_or_out_and_harms_it_not() -> anyhow::Result<()> {
    for outage in [Outage::Cut, Outage::Silent, Outage::Leaderless] {
        on(Nodes::Three, async |bench| {
            let (store, other) = (bench.store("worker"), bench.store("another"));
            let known = put(&store, value(600_000)).await?;
            let clock = bench.server.clock();
            outage.begin(&bench);
            let storing = tokio::spawn(async move { put(&store, value(700_000)).await });
            let fetching = tokio::spawn(async move { other.get_payload(&run(1), &Payload::Stored(known)).await });
            clock.sleep(OUTAGE).await;
            let given_up = storing.is_finished() || (outage != Outage::Leaderless && fetching.is_finished());
            assert!(!given_up, "{outage:?}: an outage says nothing of a value");
            outage.end(&bench);
            let stored = tokio::time::timeout(AFTERWARDS, storing).await???;
            assert_eq!(stored.bytes, 700_000, "{outage:?}");
            let fetched = tokio::time::timeout(AFTERWARDS, fetching).await???;
            assert_eq!(fetched, value(600_000), "{outage:?}");
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn a_value_waits_for_room_and_the_log_says_now_and_then_what_to_do() -> anyhow::Result<()> {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(move || writer.clone())
        .with_ansi(false)
        .finish();
    let _told = tracing::subscriber::set_default(subscriber);
    on_one(async |bench| {
        let store = bench.store("worker");
        bench.server.delete_stream("PAYLOADS");
        let small = StreamSpec {
            max_bytes: 1_000_000,
            discard: Discard::New,
            ..StreamSpec::new("PAYLOADS", ["payload.>".to_owned()], 1)
        };
        store.broker().ensure_stream(&small).await?;
        put(&store, value(600_000)).await?;
        let storing = tokio::spawn({
            let store = store.clone();
            async move { put(&store, value(700_000)).await }
        });
        bench.server.clock().sleep(OUTAGE).await;
        assert!(!storing.is_finished());
        store.broker().purge("PAYLOADS", "payload.>").await?;
        tokio::time::timeout(AFTERWARDS, storing).await???;
        Ok(())
    })?;
    let log = String::from_utf8(log.0.lock().expect("no panic").clone())?;
    let told = log
        .lines()
        .filter(|line| line.contains("raise the limit") && line.contains("PAYLOADS"));
    assert_eq!(told.count(), 20, "once in half a minute:\n{log}");
    Ok(())
}

#[test]
fn lost_acknowledgements_and_stale_replicas_harm_no_value() -> anyhow::Result<()> {
    on(Nodes::Three, async |bench| {
        let store = bench.store("worker");
        bench.server.set_faults(Faults {
            answer_lost: 0.2,
            request_lost: 0.2,
            stale_read: 0.5,
            stale_leader_read: 0.3,
            ..Faults::none()
        });
        for megabytes in 1..=4 {
            let value = value(megabytes * 1_000_000);
            let stored = put(&store, value.clone()).await?;
            assert_eq!(store.get_payload(&run(1), &Payload::Stored(stored)).await?, value);
        }
        Ok(())
    })
}
