//! Provisioning: made once, found again, and different ones named.

use std::time::Duration;

use anyhow::{Context, ensure};
use everstep_common::ports::{Ensured, TopologyError};
use everstep_common::topology::{ConsumerSpec, Republish, Storage, StreamSpec};

use super::harness::{Harness, Nodes};

super::behaviours![
    what_is_provisioned_again_is_found_as_it_was,
    what_differs_is_named_and_left_as_it_is,
    streams_may_not_share_subjects,
    what_the_server_cannot_do_is_rejected,
    consumers_are_listed_and_deleted,
    the_state_of_a_stream_is_told,
];

async fn what_is_provisioned_again_is_found_as_it_was(h: &Harness) -> anyhow::Result<()> {
    for spec in [
        h.plain("a"),
        h.write_once("b"),
        h.latest("c"),
        h.scheduling("d"),
        h.queue("e"),
        republishing(h),
    ] {
        ensure!(h.broker.ensure_stream(&spec).await? == Ensured::Created);
        let again = h.broker.ensure_stream(&spec).await.with_context(|| spec.name.clone())?;
        ensure!(again == Ensured::Existed);
        let described = StreamSpec {
            description: "in other words".into(),
            ..spec
        };
        ensure!(h.broker.ensure_stream(&described).await? == Ensured::Existed);
    }
    let (stream, consumer) = (h.queue("e").name, h.workers("e", Duration::from_secs(30)));
    ensure!(h.broker.ensure_consumer(&stream, &consumer).await? == Ensured::Created);
    ensure!(h.broker.ensure_consumer(&stream, &consumer).await? == Ensured::Existed);
    Ok(())
}

async fn what_differs_is_named_and_left_as_it_is(h: &Harness) -> anyhow::Result<()> {
    let spec = h.write_once("s");
    h.make(spec.clone()).await?;
    let other = StreamSpec {
        storage: Storage::Memory,
        max_bytes: 1_000,
        ..spec.clone()
    };
    match h.broker.ensure_stream(&other).await {
        Err(TopologyError::Differs { name, differences }) => {
            ensure!(name == spec.name && differences.len() == 2, "{differences:?}");
            ensure!(
                differences.iter().any(|one| one.starts_with("storage: wanted")),
                "{differences:?}"
            );
            ensure!(
                differences.iter().any(|one| one.starts_with("max_bytes: wanted")),
                "{differences:?}"
            );
        }
        result => anyhow::bail!("{result:?}"),
    }
    ensure!(h.broker.ensure_stream(&spec).await? == Ensured::Existed);
    let (stream, consumer) = (h.make(h.queue("q")).await?, h.workers("q", Duration::from_secs(30)));
    h.broker.ensure_consumer(&stream, &consumer).await?;
    let other = ConsumerSpec {
        ack_wait: Duration::from_secs(31),
        ..consumer
    };
    match h.broker.ensure_consumer(&stream, &other).await {
        Err(TopologyError::Differs { differences, .. }) => {
            ensure!(
                differences.len() == 1 && differences[0].starts_with("ack_wait: wanted"),
                "{differences:?}"
            );
        }
        result => anyhow::bail!("{result:?}"),
    }
    Ok(())
}

async fn streams_may_not_share_subjects(h: &Harness) -> anyhow::Result<()> {
    h.make(h.plain("s")).await?;
    let overlapping = StreamSpec {
        subjects: vec![h.subject("*.a")],
        ..h.plain("t")
    };
    is_rejected(h, &overlapping).await
}

async fn what_the_server_cannot_do_is_rejected(h: &Harness) -> anyhow::Result<()> {
    is_rejected(
        h,
        &StreamSpec {
            discard_new_per_subject: true,
            ..h.plain("a")
        },
    )
    .await?;
    let cycle = Republish {
        source: ">".into(),
        destination: h.subject("a.again"),
        headers_only: true,
    };
    is_rejected(
        h,
        &StreamSpec {
            republish: Some(cycle),
            ..h.plain("a")
        },
    )
    .await?;
    if h.server.nodes() == Nodes::One {
        is_rejected(
            h,
            &StreamSpec {
                replicas: 3,
                ..h.plain("a")
            },
        )
        .await?;
    }
    let unknown = h
        .broker
        .ensure_consumer("nowhere", &h.workers("a", Duration::from_secs(30)))
        .await;
    ensure!(matches!(unknown, Err(TopologyError::Rejected { .. })), "{unknown:?}");
    Ok(())
}

async fn consumers_are_listed_and_deleted(h: &Harness) -> anyhow::Result<()> {
    let stream = h.make(h.queue("q")).await?;
    ensure!(h.broker.consumers(&stream).await?.is_empty());
    for name in ["one", "two"] {
        let filter = h.subject(&format!("q.{name}.>"));
        let spec = ConsumerSpec {
            name: name.into(),
            filter,
            ack_wait: Duration::from_secs(30),
        };
        h.broker.ensure_consumer(&stream, &spec).await?;
    }
    let mut names = h.broker.consumers(&stream).await?;
    names.sort();
    ensure!(names == ["one", "two"]);
    h.broker.delete_consumer(&stream, "one").await?;
    h.broker.delete_consumer(&stream, "one").await?;
    h.broker.delete_consumer("nowhere", "one").await?;
    ensure!(h.broker.consumers(&stream).await? == ["two"]);
    Ok(())
}

async fn the_state_of_a_stream_is_told(h: &Harness) -> anyhow::Result<()> {
    let stream = h.make(h.plain("s")).await?;
    let info = async || h.broker.stream_info(&stream).await?.context("the stream exists");
    let empty = info().await?;
    ensure!(
        (empty.first_sequence, empty.last_sequence, empty.messages, empty.bytes) == (0, 0, 0, 0),
        "{empty:?}"
    );
    h.store_each(&["s.a", "s.b", "s.c"]).await?;
    let full = info().await?;
    ensure!(
        (full.first_sequence, full.last_sequence, full.messages) == (1, 3, 3),
        "{full:?}"
    );
    ensure!(full.created == empty.created);
    h.store(h.message("s.d", &"x".repeat(1_000)).create_only().with_header("Own", "kept"))
        .await?;
    let grown = info().await?.bytes - full.bytes;
    ensure!((1_000..1_200).contains(&grown), "{grown} bytes for a message of 1,000");
    h.broker.purge(&stream, &h.subject("s.a")).await?;
    ensure!(info().await?.first_sequence == 2);
    h.broker.purge(&stream, ">").await?;
    let purged = info().await?;
    ensure!(
        (purged.first_sequence, purged.last_sequence, purged.messages, purged.bytes) == (5, 4, 0, 0),
        "{purged:?}"
    );
    Ok(())
}

fn republishing(h: &Harness) -> StreamSpec {
    let rule = Republish {
        source: h.subject("f.*.end"),
        destination: h.subject("done.{{wildcard(1)}}"),
        headers_only: true,
    };
    StreamSpec {
        republish: Some(rule),
        ..h.plain("f")
    }
}

async fn is_rejected(h: &Harness, spec: &StreamSpec) -> anyhow::Result<()> {
    let result = h.broker.ensure_stream(spec).await;
    ensure!(
        matches!(result, Err(TopologyError::Rejected { .. })),
        "{}: {result:?}",
        spec.name
    );
    Ok(())
}
