//! Publishing: conditions, limits, and what is the same in every read.

use std::time::Duration;

use anyhow::ensure;
use everstep_common::ports::{Expect, From, GetLast, PublishError};
use everstep_common::topology::{Discard, StreamSpec};
use futures::future::join_all;

use super::harness::{Harness, Nodes, bodies, refused, rejected, sequences};

super::behaviours![
    a_create_is_stored_once_and_the_first_stays,
    of_parallel_creates_one_is_stored,
    a_write_passes_only_at_the_expected_sequence,
    a_write_once_subject_refuses_everything_after_the_first,
    a_create_after_a_purge_is_stored,
    a_guard_with_wildcards_looks_at_all_it_names,
    a_guard_on_everything_sees_the_last_sequence_or_nothing,
    parallel_writes_under_one_guard_pass_on_one_node_and_hinder_each_other_on_three,
    a_subject_without_a_stream_is_said_so,
    a_message_over_the_limit_is_too_large_and_the_connection_lives,
    a_full_stream_takes_nothing_until_there_is_room,
    a_stream_that_discards_old_drops_the_oldest,
    the_last_message_of_a_subject_replaces_the_one_before,
    publishes_are_stored_in_the_order_of_their_calls,
    a_message_is_the_same_in_every_read,
    sequences_have_no_gaps_and_times_never_go_back,
    a_message_id_is_remembered_and_the_condition_is_checked_before_or_after,
    a_roll_up_is_for_streams_with_schedules_only,
];

async fn a_create_is_stored_once_and_the_first_stays(h: &Harness) -> anyhow::Result<()> {
    let stream = h.make(h.plain("s")).await?;
    h.broker.publish(h.create("s.a", "first")).await?;
    refused(h.broker.publish(h.create("s.a", "second")).await)?;
    ensure!(bodies(&h.scan(&stream).await?) == ["first"]);
    Ok(())
}

async fn of_parallel_creates_one_is_stored(h: &Harness) -> anyhow::Result<()> {
    let stream = h.make(h.write_once("s")).await?;
    let results = join_all((0..20).map(|number| h.broker.publish(h.create("s.a", &number.to_string())))).await;
    let stored = results.iter().filter(|result| result.is_ok()).count();
    ensure!(stored == 1, "{stored} of 20 were stored");
    for result in results.into_iter().filter(Result::is_err) {
        refused(result)?;
    }
    ensure!(h.scan(&stream).await?.len() == 1);
    Ok(())
}

async fn a_write_passes_only_at_the_expected_sequence(h: &Harness) -> anyhow::Result<()> {
    let stream = h.make(h.latest("s")).await?;
    let first = h.broker.publish(h.create("s.a", "1")).await?.sequence;
    h.store(h.message("s.b", "other")).await?;
    let at = |sequence| h.message("s.a", "2").expecting(Expect::LastSequence(sequence));
    refused(h.broker.publish(at(0)).await)?;
    refused(h.broker.publish(at(first + 1)).await)?;
    let second = h.broker.publish(at(first)).await?.sequence;
    ensure!(
        second == first + 2,
        "the sequences of refused writes are not used up: {second}"
    );
    refused(h.broker.publish(at(first)).await)?;
    ensure!(bodies(&h.scan(&stream).await?) == ["other", "2"]);
    Ok(())
}

async fn a_write_once_subject_refuses_everything_after_the_first(h: &Harness) -> anyhow::Result<()> {
    let stream = h.make(h.write_once("s")).await?;
    let first = h.broker.publish(h.message("s.a", "first")).await?.sequence;
    refused(h.broker.publish(h.message("s.a", "blind")).await)?;
    refused(h.broker.publish(h.create("s.a", "create")).await)?;
    let right = h.message("s.a", "right").expecting(Expect::LastSequence(first));
    refused(h.broker.publish(right).await)?;
    h.broker.publish(h.create("s.b", "other")).await?;
    ensure!(bodies(&h.scan(&stream).await?) == ["first", "other"]);
    Ok(())
}

async fn a_create_after_a_purge_is_stored(h: &Harness) -> anyhow::Result<()> {
    let stream = h.make(h.write_once("s")).await?;
    h.broker.publish(h.create("s.r.a", "1")).await?;
    h.broker.publish(h.create("s.r.b", "1")).await?;
    h.broker.publish(h.create("s.q.a", "1")).await?;
    ensure!(h.broker.purge(&stream, &h.subject("s.r.>")).await? == 2);
    let again = h.broker.publish(h.create("s.r.a", "2")).await?.sequence;
    ensure!(again == 4, "sequences are never used twice: {again}");
    ensure!(sequences(&h.scan(&stream).await?) == [3, 4]);
    Ok(())
}

async fn a_guard_with_wildcards_looks_at_all_it_names(h: &Harness) -> anyhow::Result<()> {
    h.make(h.write_once("s")).await?;
    let guarded = |subject: &str, sequence| {
        let filter = h.subject("s.run.>");
        h.message(subject, "").expecting(Expect::LastSequenceOf { filter, sequence })
    };
    h.broker.publish(h.create("s.elsewhere", "")).await?;
    h.broker.publish(guarded("s.run.start", 0)).await?;
    refused(h.broker.publish(guarded("s.run.other", 0)).await)?;
    refused(h.broker.publish(guarded("s.run.other", 1)).await)?;
    let stored = h.broker.publish(guarded("s.run.other", 2)).await?;
    ensure!(stored.sequence == 3);
    Ok(())
}

async fn a_guard_on_everything_sees_the_last_sequence_or_nothing(h: &Harness) -> anyhow::Result<()> {
    let stream = h.make(h.plain("s")).await?;
    h.store_each(&["s.a", "s.b"]).await?;
    let guarded = |sequence| {
        h.message("s.c", "").expecting(Expect::LastSequenceOf {
            filter: ">".into(),
            sequence,
        })
    };
    refused(h.broker.publish(guarded(1)).await)?;
    ensure!(h.broker.publish(guarded(2)).await?.sequence == 3);
    h.broker.purge(&stream, &h.subject("s.c")).await?;
    refused(h.broker.publish(guarded(2)).await)?;
    ensure!(
        h.broker.publish(guarded(0)).await?.sequence == 4,
        "with the last message purged it sees nothing"
    );
    Ok(())
}

async fn parallel_writes_under_one_guard_pass_on_one_node_and_hinder_each_other_on_three(h: &Harness) -> anyhow::Result<()> {
    h.make(h.plain("s")).await?;
    let filter = h.subject("s.guard.>");
    let sequence = h.store(h.message("s.guard.lease", "")).await?;
    let writes = (0..50).map(|number| {
        let expect = Expect::LastSequenceOf {
            filter: filter.clone(),
            sequence,
        };
        h.broker.publish(h.message(&format!("s.{number}"), "").expecting(expect))
    });
    let results = join_all(writes).await;
    let stored = results.iter().filter(|result| result.is_ok()).count();
    match h.server.nodes() {
        Nodes::One => ensure!(stored == 50, "{stored} of 50 were stored"),
        Nodes::Three => ensure!(stored >= 1, "none was stored"),
    }
    for result in results.into_iter().filter(Result::is_err) {
        refused(result)?;
    }
    Ok(())
}

async fn a_subject_without_a_stream_is_said_so(h: &Harness) -> anyhow::Result<()> {
    let result = h.broker.publish(h.create("nowhere", "")).await;
    ensure!(result == Err(PublishError::NoStream), "{result:?}");
    Ok(())
}

async fn a_message_over_the_limit_is_too_large_and_the_connection_lives(h: &Harness) -> anyhow::Result<()> {
    let stream = h.make(h.plain("s")).await?;
    let limit = h.broker.server().max_payload;
    let result = h.broker.publish(h.message("s.a", &"x".repeat(limit + 1))).await;
    ensure!(result == Err(PublishError::TooLarge), "{result:?}");
    let headers = h
        .message("s.a", &"x".repeat(limit - 20))
        .with_header("Filler", "x".repeat(100));
    let result = h.broker.publish(headers).await;
    ensure!(result == Err(PublishError::TooLarge), "headers count too: {result:?}");
    h.broker.publish(h.message("s.a", &"x".repeat(limit))).await?;
    ensure!(h.scan(&stream).await?.len() == 1);
    Ok(())
}

async fn a_full_stream_takes_nothing_until_there_is_room(h: &Harness) -> anyhow::Result<()> {
    let spec = h.write_once("s");
    let stream = h
        .make(StreamSpec {
            max_bytes: 3_000,
            ..spec
        })
        .await?;
    h.broker.publish(h.create("s.a", &"x".repeat(1_200))).await?;
    h.broker.publish(h.create("s.b", &"x".repeat(1_200))).await?;
    let full = h.broker.publish(h.create("s.c", &"x".repeat(1_200))).await;
    ensure!(full == Err(PublishError::Full), "{full:?}");
    refused(h.broker.publish(h.create("s.a", &"x".repeat(1_200))).await)?;
    h.broker.publish(h.create("s.d", "small")).await?;
    h.broker.purge(&stream, &h.subject("s.a")).await?;
    h.broker.publish(h.create("s.c", &"x".repeat(1_200))).await?;
    Ok(())
}

async fn a_stream_that_discards_old_drops_the_oldest(h: &Harness) -> anyhow::Result<()> {
    let spec = h.plain("s");
    let spec = StreamSpec {
        max_bytes: 3_000,
        discard: Discard::Old,
        ..spec
    };
    let stream = h.make(spec).await?;
    for subject in ["s.a", "s.b", "s.c"] {
        h.store(h.message(subject, &"x".repeat(1_200))).await?;
    }
    ensure!(sequences(&h.scan(&stream).await?) == [2, 3]);
    Ok(())
}

async fn the_last_message_of_a_subject_replaces_the_one_before(h: &Harness) -> anyhow::Result<()> {
    let stream = h.make(h.latest("s")).await?;
    h.store_each(&["s.a", "s.b", "s.a", "s.a"]).await?;
    ensure!(sequences(&h.scan(&stream).await?) == [2, 4]);
    Ok(())
}

async fn publishes_are_stored_in_the_order_of_their_calls(h: &Harness) -> anyhow::Result<()> {
    let stream = h.make(h.plain("s")).await?;
    let mut publishes: Vec<_> = (0..100)
        .map(|number| h.broker.publish(h.message("s.a", &number.to_string())))
        .collect();
    publishes.reverse();
    for result in join_all(publishes).await {
        result?;
    }
    let expected: Vec<String> = (0..100).map(|number| number.to_string()).collect();
    ensure!(bodies(&h.scan(&stream).await?) == expected);
    Ok(())
}

async fn a_message_is_the_same_in_every_read(h: &Harness) -> anyhow::Result<()> {
    let stream = h.make(h.write_once("s")).await?;
    let message = h
        .create("s.a", "body")
        .with_header("Zeta", "1")
        .with_header("Everstep-Nonce", "n")
        .with_header("Zeta", "2");
    let sequence = h.broker.publish(message).await?.sequence;
    let scanned = h.scan(&stream).await?.remove(0);
    ensure!(scanned.headers.0 == [("Everstep-Nonce", "n"), ("Zeta", "1"), ("Zeta", "2")].map(|(k, v)| (k.into(), v.into())));
    let direct = h.read(&stream, &["s.a"], Some(sequence)).await?.messages;
    ensure!(direct == std::slice::from_ref(&scanned), "{direct:?} is not {scanned:?}");
    let leader = GetLast {
        leader: true,
        ..h.get_last(&stream, &["s.>"], None)
    };
    ensure!(h.broker.get_last(leader).await?.messages == std::slice::from_ref(&scanned));
    let mut followed = h.broker.follow(&stream, ">", From::Sequence(1));
    ensure!(h.next_message(&mut followed).await? == scanned);
    Ok(())
}

async fn sequences_have_no_gaps_and_times_never_go_back(h: &Harness) -> anyhow::Result<()> {
    let stream = h.make(h.plain("s")).await?;
    for number in 0..10 {
        h.broker
            .publish(h.create("s.a", "").expecting(Expect::LastSequence(number)))
            .await?;
        refused(h.broker.publish(h.create("s.a", "")).await)?;
        h.sleep(Duration::from_millis(2)).await;
    }
    let messages = h.scan(&stream).await?;
    ensure!(sequences(&messages) == (1..=10).collect::<Vec<u64>>());
    ensure!(messages.windows(2).all(|pair| pair[0].time < pair[1].time));
    Ok(())
}

async fn a_message_id_is_remembered_and_the_condition_is_checked_before_or_after(h: &Harness) -> anyhow::Result<()> {
    let stream = h.make(h.plain("s")).await?;
    let message = h.message("s.a", "1").with_header("Nats-Msg-Id", "id");
    let first = h.broker.publish(message.clone()).await?;
    let again = h
        .broker
        .publish(h.message("s.b", "2").with_header("Nats-Msg-Id", "id"))
        .await?;
    ensure!(
        again == first,
        "another message under the same id is taken for the first: {again:?}"
    );
    let conditional = h.broker.publish(message.create_only()).await;
    match h.server.nodes() {
        Nodes::One => refused(conditional)?,
        Nodes::Three => ensure!(conditional == Ok(first), "{conditional:?}"),
    }
    ensure!(bodies(&h.scan(&stream).await?) == ["1"]);
    Ok(())
}

async fn a_roll_up_is_for_streams_with_schedules_only(h: &Harness) -> anyhow::Result<()> {
    let (plain, scheduling) = (h.make(h.plain("p")).await?, h.make(h.scheduling("s")).await?);
    h.store_each(&["p.a", "p.b", "s.a", "s.b", "s.b"]).await?;
    rejected(h.broker.publish(h.message("p.a", "").with_header("Nats-Rollup", "all")).await)?;
    ensure!(h.scan(&plain).await?.len() == 2);
    h.broker
        .publish(h.message("s.b", "").with_header("Nats-Rollup", "sub"))
        .await?;
    ensure!(sequences(&h.scan(&scheduling).await?) == [1, 4]);
    h.broker
        .publish(h.message("s.c", "").with_header("Nats-Rollup", "all"))
        .await?;
    ensure!(
        sequences(&h.scan(&scheduling).await?) == [5],
        "whoever may write here may wipe the stream"
    );
    Ok(())
}
