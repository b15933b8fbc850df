//! Atomic batches.

use anyhow::ensure;
use everstep_common::ports::{Expect, PublishError};
use everstep_common::topology::StreamSpec;

use super::harness::{Harness, bodies, refused, rejected, sequences};

super::behaviours![
    a_batch_is_stored_whole_under_consecutive_sequences,
    a_batch_with_one_refused_message_is_not_stored_at_all,
    a_batch_may_not_expect_anything_of_a_subject_it_has_written,
    a_batch_may_write_a_subject_twice_where_nothing_is_expected,
    creates_and_swaps_mix_in_a_batch,
    a_guard_with_wildcards_works_in_a_batch,
    a_batch_onto_a_taken_write_once_subject_is_refused,
    a_batch_that_would_overfill_is_not_stored_at_all,
    a_batch_holds_a_thousand_messages_and_no_more,
    a_stream_without_batches_rejects_them,
    a_batch_over_two_streams_is_stored_in_neither,
    a_batch_of_which_no_stream_takes_anything_says_so,
];

async fn a_batch_is_stored_whole_under_consecutive_sequences(h: &Harness) -> anyhow::Result<()> {
    let stream = h.make(h.write_once("s")).await?;
    h.store(h.create("s.before", "")).await?;
    let batch = ["s.a", "s.b", "s.c"].map(|subject| h.create(subject, subject).with_header("Own", "kept"));
    let stored = h.broker.publish_batch(batch.to_vec()).await?;
    ensure!(stored.sequence == 4, "the sequence is that of the last: {stored:?}");
    let messages = h.scan(&stream).await?;
    ensure!(bodies(&messages) == ["", "s.a", "s.b", "s.c"]);
    ensure!(sequences(&messages) == [1, 2, 3, 4]);
    ensure!(
        messages[1].headers.0 == [("Own".into(), "kept".into())],
        "{:?}",
        messages[1].headers
    );
    Ok(())
}

async fn a_batch_with_one_refused_message_is_not_stored_at_all(h: &Harness) -> anyhow::Result<()> {
    let stream = h.make(h.write_once("s")).await?;
    h.store(h.create("s.taken", "")).await?;
    for position in 0..3 {
        let mut batch = vec![h.create("s.a", ""), h.create("s.b", "")];
        batch.insert(position, h.create("s.taken", "again"));
        refused(h.broker.publish_batch(batch).await)?;
    }
    ensure!(h.scan(&stream).await?.len() == 1);
    let stored = h.broker.publish_batch(vec![h.create("s.a", ""), h.create("s.b", "")]).await?;
    ensure!(stored.sequence == 3, "refused batches use up no sequences: {stored:?}");
    Ok(())
}

async fn a_batch_may_not_expect_anything_of_a_subject_it_has_written(h: &Harness) -> anyhow::Result<()> {
    let stream = h.make(h.plain("s")).await?;
    refused(h.broker.publish_batch(vec![h.create("s.a", "1"), h.create("s.a", "2")]).await)?;
    refused(
        h.broker
            .publish_batch(vec![h.message("s.a", "1"), h.create("s.a", "2")])
            .await,
    )?;
    ensure!(h.scan(&stream).await?.is_empty());
    Ok(())
}

async fn a_batch_may_write_a_subject_twice_where_nothing_is_expected(h: &Harness) -> anyhow::Result<()> {
    let stream = h.make(h.plain("s")).await?;
    h.broker
        .publish_batch(vec![h.create("s.a", "1"), h.message("s.a", "2")])
        .await?;
    ensure!(bodies(&h.scan(&stream).await?) == ["1", "2"]);
    h.make(h.write_once("w")).await?;
    refused(
        h.broker
            .publish_batch(vec![h.message("w.a", "1"), h.message("w.a", "2")])
            .await,
    )?;
    Ok(())
}

async fn creates_and_swaps_mix_in_a_batch(h: &Harness) -> anyhow::Result<()> {
    let stream = h.make(h.latest("s")).await?;
    let sequence = h.store(h.message("s.record", "1")).await?;
    let swap = |sequence| h.message("s.record", "2").expecting(Expect::LastSequence(sequence));
    refused(h.broker.publish_batch(vec![h.create("s.new", ""), swap(sequence + 1)]).await)?;
    h.broker.publish_batch(vec![h.create("s.new", ""), swap(sequence)]).await?;
    ensure!(bodies(&h.scan(&stream).await?) == ["", "2"]);
    Ok(())
}

async fn a_guard_with_wildcards_works_in_a_batch(h: &Harness) -> anyhow::Result<()> {
    h.make(h.write_once("s")).await?;
    let start = |run: &str| {
        let filter = h.subject(&format!("s.{run}.>"));
        h.message(&format!("s.{run}.start"), "")
            .expecting(Expect::LastSequenceOf { filter, sequence: 0 })
    };
    h.broker
        .publish_batch(vec![start("r1"), start("r2"), h.create("s.r3.in", "")])
        .await?;
    refused(h.broker.publish_batch(vec![start("r4"), start("r3")]).await)?;
    h.broker.publish_batch(vec![start("r4"), start("r5")]).await?;
    Ok(())
}

async fn a_batch_onto_a_taken_write_once_subject_is_refused(h: &Harness) -> anyhow::Result<()> {
    let stream = h.make(h.write_once("s")).await?;
    h.store(h.create("s.taken", "")).await?;
    refused(
        h.broker
            .publish_batch(vec![h.message("s.a", ""), h.message("s.taken", "")])
            .await,
    )?;
    ensure!(h.scan(&stream).await?.len() == 1);
    Ok(())
}

async fn a_batch_that_would_overfill_is_not_stored_at_all(h: &Harness) -> anyhow::Result<()> {
    let stream = h
        .make(StreamSpec {
            max_bytes: 3_000,
            ..h.write_once("s")
        })
        .await?;
    let batch = ["s.a", "s.b", "s.c"].map(|subject| h.create(subject, &"x".repeat(1_200)));
    let full = h.broker.publish_batch(batch.to_vec()).await;
    ensure!(full == Err(PublishError::Full), "{full:?}");
    ensure!(h.scan(&stream).await?.is_empty());
    Ok(())
}

async fn a_batch_holds_a_thousand_messages_and_no_more(h: &Harness) -> anyhow::Result<()> {
    let stream = h.make(h.write_once("s")).await?;
    let batch = |count: usize| (0..count).map(|number| h.create(&format!("s.{number}"), "")).collect();
    rejected(h.broker.publish_batch(batch(1_001)).await)?;
    ensure!(h.broker.publish_batch(batch(1_000)).await?.sequence == 1_000);
    ensure!(h.scan(&stream).await?.len() == 1_000);
    Ok(())
}

async fn a_stream_without_batches_rejects_them(h: &Harness) -> anyhow::Result<()> {
    let stream = h
        .make(StreamSpec {
            allow_atomic: false,
            ..h.plain("s")
        })
        .await?;
    rejected(h.broker.publish_batch(vec![h.create("s.a", ""), h.create("s.b", "")]).await)?;
    ensure!(h.scan(&stream).await?.is_empty());
    Ok(())
}

async fn a_batch_over_two_streams_is_stored_in_neither(h: &Harness) -> anyhow::Result<()> {
    let (one, other) = (h.make(h.plain("s")).await?, h.make(h.plain("t")).await?);
    let result = h.broker.publish_batch(vec![h.create("s.a", ""), h.create("t.a", "")]).await;
    ensure!(matches!(result, Err(PublishError::Unknown(_))), "{result:?}");
    ensure!(h.scan(&one).await?.is_empty() && h.scan(&other).await?.is_empty());
    Ok(())
}

async fn a_batch_of_which_no_stream_takes_anything_says_so(h: &Harness) -> anyhow::Result<()> {
    let result = h
        .broker
        .publish_batch(vec![h.create("nowhere.a", ""), h.create("nowhere.b", "")])
        .await;
    ensure!(result == Err(PublishError::NoStream), "{result:?}");
    Ok(())
}
