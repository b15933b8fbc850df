//! Reading: the last message of each subject as of a position, and scans.

use std::collections::BTreeSet;

use anyhow::{Context, ensure};
use everstep_common::ports::{Broker, GetLast, Message, ReadError};
use futures::StreamExt;

use super::harness::{Harness, Nodes, bodies, sequences};

super::behaviours![
    the_last_of_each_subject_comes_in_stream_order,
    a_read_as_of_a_position_knows_nothing_later,
    a_read_that_finds_nothing_is_empty_and_names_its_position,
    a_read_past_the_end_is_not_answered,
    an_answer_as_of_a_position_holds_what_was_acknowledged_there,
    a_thousand_subjects_are_read_at_once_and_more_are_too_many,
    an_answer_over_64_mib_is_too_many,
    a_read_of_no_stream_says_so,
    a_purged_message_is_gone_from_the_leaders_reads,
    a_scan_brings_what_matches_in_stream_order_up_to_its_end,
    a_scan_of_everything_ends_before_what_was_purged,
    a_scan_is_as_long_as_the_stream,
    a_scan_past_the_end_is_not_answered,
    subjects_are_listed_each_once_without_their_messages,
];

async fn the_last_of_each_subject_comes_in_stream_order(h: &Harness) -> anyhow::Result<()> {
    let stream = h.make(h.plain("s")).await?;
    let last = h.store_each(&["s.r.b", "s.r.a", "s.r.b", "s.q.a", "s.r.c", "s.r.a"]).await?;
    let snapshot = h.read(&stream, &["s.r.*"], Some(last)).await?;
    ensure!(sequences(&snapshot.messages) == [3, 5, 6], "{:?}", snapshot.messages);
    ensure!(bodies(&snapshot.messages) == ["2", "4", "5"]);
    let several = h.read(&stream, &["s.q.a", "s.r.c", "s.r.none"], Some(last)).await?;
    ensure!(sequences(&several.messages) == [4, 5]);
    let overlapping = h.read(&stream, &["s.>", "s.r.c"], Some(last)).await?;
    ensure!(sequences(&overlapping.messages) == [3, 4, 5, 6]);
    Ok(())
}

async fn a_read_as_of_a_position_knows_nothing_later(h: &Harness) -> anyhow::Result<()> {
    let stream = h.make(h.plain("s")).await?;
    h.store_each(&["s.a", "s.b", "s.a", "s.c"]).await?;
    for leader in [false, true] {
        let request = GetLast {
            leader,
            ..h.get_last(&stream, &["s.>"], Some(2))
        };
        let snapshot = h.soon("the read", patiently(h, request)).await??;
        ensure!(sequences(&snapshot) == [1, 2], "leader {leader}: {snapshot:?}");
    }
    Ok(())
}

async fn a_read_that_finds_nothing_is_empty_and_names_its_position(h: &Harness) -> anyhow::Result<()> {
    let stream = h.make(h.plain("s")).await?;
    let empty = h.read(&stream, &["s.>"], None).await?;
    ensure!(empty.messages.is_empty() && empty.up_to == 0, "{empty:?}");
    let last = h.store_each(&["s.a", "s.b"]).await?;
    let nothing = h.read(&stream, &["s.none.>"], Some(last)).await?;
    ensure!(nothing.messages.is_empty() && nothing.up_to == last, "{nothing:?}");
    let all = h.read(&stream, &["s.>"], Some(last)).await?;
    ensure!(all.up_to == last, "{all:?}");
    Ok(())
}

async fn a_read_past_the_end_is_not_answered(h: &Harness) -> anyhow::Result<()> {
    let stream = h.make(h.plain("s")).await?;
    let last = h.store_each(&["s.a", "s.b"]).await?;
    for leader in [false, true] {
        let request = GetLast {
            leader,
            ..h.get_last(&stream, &["s.>"], Some(last + 1))
        };
        let answer = h.broker.get_last(request).await;
        ensure!(
            matches!(answer, Err(ReadError::Unavailable(_))),
            "leader {leader}: {answer:?}"
        );
    }
    Ok(())
}

async fn an_answer_as_of_a_position_holds_what_was_acknowledged_there(h: &Harness) -> anyhow::Result<()> {
    let stream = h.make(h.write_once("s")).await?;
    for number in 0..100 {
        let subject = format!("s.{number}");
        let sequence = h.store(h.create(&subject, "")).await?;
        let snapshot = h.read(&stream, &[&subject], Some(sequence)).await?;
        ensure!(sequences(&snapshot.messages) == [sequence], "{snapshot:?}");
        // Without a position any replica may answer, and may be behind: it has the entry or it does not.
        let loose = h.broker.get_last(h.get_last(&stream, &[&subject], None)).await;
        ensure!(loose.is_ok() || matches!(loose, Err(ReadError::Unavailable(_))), "{loose:?}");
    }
    Ok(())
}

async fn a_thousand_subjects_are_read_at_once_and_more_are_too_many(h: &Harness) -> anyhow::Result<()> {
    let stream = h.make(h.write_once("s")).await?;
    let last = h
        .publish_all((0..1_000).map(|number| h.create(&format!("s.{number}"), "")))
        .await?;
    let snapshot = h.read(&stream, &["s.*"], Some(last)).await?;
    ensure!(sequences(&snapshot.messages) == (1..=1_000).collect::<Vec<u64>>());
    let one_more = h.store(h.create("s.one-more", "")).await?;
    for leader in [false, true] {
        let request = GetLast {
            leader,
            ..h.get_last(&stream, &["s.*"], Some(one_more))
        };
        h.until("the answer that it is too much", || async {
            match h.broker.get_last(request.clone()).await {
                Err(ReadError::TooMany) => Ok(true),
                Err(ReadError::Unavailable(_)) => Ok(false),
                other => anyhow::bail!("leader {leader}: {other:?}"),
            }
        })
        .await?;
    }
    let subjects: Vec<String> = (0..1_001).map(|number| format!("s.{number}")).collect();
    let subjects: Vec<&str> = subjects.iter().map(String::as_str).collect();
    let answer = h.broker.get_last(h.get_last(&stream, &subjects, None)).await;
    ensure!(matches!(answer, Err(ReadError::Rejected(_))), "{answer:?}");
    Ok(())
}

async fn an_answer_over_64_mib_is_too_many(h: &Harness) -> anyhow::Result<()> {
    let stream = h.make(h.plain("s")).await?;
    let body = "x".repeat(1_000_000);
    let mut last = 0;
    for number in 0..70 {
        last = h.store(h.message(&format!("s.{number}"), &body)).await?;
    }
    h.until("the answer that it is too much", || async {
        match h.broker.get_last(h.get_last(&stream, &["s.*"], Some(last))).await {
            Err(ReadError::TooMany) => Ok(true),
            Err(ReadError::Unavailable(_)) => Ok(false),
            Err(error) => Err(error.into()),
            Ok(snapshot) => anyhow::bail!("{} messages came, and no word of more", snapshot.messages.len()),
        }
    })
    .await?;
    ensure!(h.scan(&stream).await?.len() == 70);
    Ok(())
}

async fn a_read_of_no_stream_says_so(h: &Harness) -> anyhow::Result<()> {
    let request = h.get_last("nowhere", &["s.>"], None);
    for leader in [false, true] {
        let answer = h
            .broker
            .get_last(GetLast {
                leader,
                ..request.clone()
            })
            .await;
        ensure!(answer == Err(ReadError::NoStream), "leader {leader}: {answer:?}");
    }
    let scanned = h.broker.scan("nowhere", ">", None).next().await;
    ensure!(scanned == Some(Err(ReadError::NoStream)), "{scanned:?}");
    ensure!(h.broker.purge("nowhere", ">").await == Err(ReadError::NoStream));
    ensure!(h.broker.stream_info("nowhere").await? == None);
    let consumers = h.broker.consumers("nowhere").await;
    match h.server.nodes() {
        Nodes::One => ensure!(consumers == Err(ReadError::NoStream), "{consumers:?}"),
        // The node that answers for all looks among the consumers it knows, and finds none.
        Nodes::Three => ensure!(consumers == Ok(Vec::new()), "{consumers:?}"),
    }
    Ok(())
}

async fn a_purged_message_is_gone_from_the_leaders_reads(h: &Harness) -> anyhow::Result<()> {
    let stream = h.make(h.plain("s")).await?;
    let last = h.store_each(&["s.a", "s.a", "s.b"]).await?;
    ensure!(h.broker.purge(&stream, &h.subject("s.a")).await? == 2);
    let request = GetLast {
        leader: true,
        ..h.get_last(&stream, &["s.>"], Some(last))
    };
    ensure!(sequences(&h.broker.get_last(request).await?.messages) == [3]);
    ensure!(sequences(&h.scan(&stream).await?) == [3]);
    Ok(())
}

async fn a_scan_brings_what_matches_in_stream_order_up_to_its_end(h: &Harness) -> anyhow::Result<()> {
    let stream = h.make(h.plain("s")).await?;
    h.store_each(&["s.a.1", "s.b.1", "s.a.2", "s.a.1", "s.b.2", "s.a.3"]).await?;
    let filter = h.subject("s.a.*");
    ensure!(scan(&*h.broker, &stream, &filter, None).await? == [1, 3, 4, 6]);
    ensure!(scan(&*h.broker, &stream, &filter, Some(4)).await? == [1, 3, 4]);
    ensure!(scan(&*h.broker, &stream, &filter, Some(5)).await? == [1, 3, 4]);
    ensure!(scan(&*h.broker, &stream, &h.subject("s.none"), None).await?.is_empty());
    h.broker.purge(&stream, &h.subject("s.a.3")).await?;
    ensure!(scan(&*h.broker, &stream, &filter, None).await? == [1, 3, 4]);
    Ok(())
}

async fn a_scan_of_everything_ends_before_what_was_purged(h: &Harness) -> anyhow::Result<()> {
    let stream = h.make(h.plain("s")).await?;
    h.store_each(&["s.a", "s.a", "s.b"]).await?;
    h.broker.purge(&stream, &h.subject("s.b")).await?;
    for filter in [">", &h.subject(">"), &h.subject("s.*")] {
        let sequences = scan(&*h.broker, &stream, filter, None).await?;
        ensure!(sequences == [1, 2], "{filter}: {sequences:?}");
    }
    Ok(())
}

async fn a_scan_is_as_long_as_the_stream(h: &Harness) -> anyhow::Result<()> {
    let stream = h.make(h.plain("s")).await?;
    h.publish_all((0..3_000).map(|number| h.message(&format!("s.{}", number % 7), "")))
        .await?;
    ensure!(scan(&*h.broker, &stream, ">", None).await? == (1..=3_000).collect::<Vec<u64>>());
    Ok(())
}

async fn a_scan_past_the_end_is_not_answered(h: &Harness) -> anyhow::Result<()> {
    let stream = h.make(h.plain("s")).await?;
    let last = h.store_each(&["s.a"]).await?;
    let first = h.broker.scan(&stream, ">", Some(last + 1)).next().await.context("an end")?;
    ensure!(matches!(first, Err(ReadError::Unavailable(_))), "{first:?}");
    Ok(())
}

async fn scan(broker: &dyn Broker, stream: &str, filter: &str, up_to: Option<u64>) -> anyhow::Result<Vec<u64>> {
    let messages: Vec<_> = broker.scan(stream, filter, up_to).collect().await;
    messages.into_iter().map(|message| Ok(message?.sequence)).collect()
}

async fn patiently(h: &Harness, request: GetLast) -> anyhow::Result<Vec<Message>> {
    loop {
        match h.broker.get_last(request.clone()).await {
            Err(ReadError::Unavailable(_)) => h.sleep(std::time::Duration::from_millis(50)).await,
            answer => return Ok(answer?.messages),
        }
    }
}

async fn subjects_are_listed_each_once_without_their_messages(h: &Harness) -> anyhow::Result<()> {
    let stream = h.make(h.plain("s")).await?;
    h.store_each(&["s.r.b", "s.r.a", "s.r.b", "s.q.a"]).await?;
    let listed = |filter: &str| h.broker.subjects(&stream, &h.subject(filter));
    let names = |names: &[&str]| names.iter().map(|name| h.subject(name)).collect::<BTreeSet<_>>();
    ensure!(listed("s.>").await? == names(&["s.q.a", "s.r.a", "s.r.b"]));
    ensure!(listed("s.r.*").await? == names(&["s.r.a", "s.r.b"]));
    ensure!(listed("s.r.b").await? == names(&["s.r.b"]));
    ensure!(listed("s.none.>").await?.is_empty());
    h.broker.purge(&stream, &h.subject("s.r.a")).await?;
    ensure!(listed("s.r.*").await? == names(&["s.r.b"]));
    ensure!(h.broker.subjects("NONE", ">").await == Err(ReadError::NoStream));
    Ok(())
}
