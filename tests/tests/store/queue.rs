//! Task queues: one mark and one consumer in each life of the stream, and tasks that are queued once.

use std::time::Duration;

use everstep_common::ids::QueueName;
use everstep_common::ports::{Ack, Broker, Clock, Publish};
use everstep_common::store::{Mark, Store, TaskPublished};
use everstep_common::topology::ConsumerSpec;
use everstep_memory::{Faults, MemoryServer, Nodes, Span};
use futures::future::join_all;

use crate::bench::{Bench, on, on_one, port, task};

const STREAM: &str = "TASKS_default";

fn queue() -> QueueName {
    QueueName::default_queue()
}

async fn consumers(server: &MemoryServer) -> anyhow::Result<Vec<String>> {
    Ok(server.connect("onlooker").consumers(STREAM).await?)
}

async fn ensured(store: &Store) -> Mark {
    loop {
        if let Ok(mark) = store.ensure_queue(&queue()).await {
            return mark;
        }
        store.clock().sleep(Duration::from_millis(20)).await;
    }
}

#[test]
fn a_queue_is_made_ready_once() -> anyhow::Result<()> {
    on_one(async |bench| {
        let store = bench.store("owner");
        assert_eq!(store.read_mark(&queue()).await?, None);
        let mark = store.ensure_queue(&queue()).await?;
        assert_eq!(store.ensure_queue(&queue()).await?, mark);
        assert_eq!(store.read_mark(&queue()).await?, Some(mark.clone()));
        assert_eq!(consumers(&bench.server).await?, [mark.consumer()]);
        Ok(())
    })
}

#[test]
fn owners_that_come_at_once_agree_on_one_mark_and_one_consumer() -> anyhow::Result<()> {
    on_one(async |bench| {
        let owners: Vec<Store> = (0..5).map(|number| bench.store(&format!("owner-{number}"))).collect();
        let marks = join_all(owners.iter().map(ensured)).await;
        assert!(marks.iter().all(|mark| *mark == marks[0]), "{marks:?}");
        assert_eq!(consumers(&bench.server).await?, [marks[0].consumer()]);
        Ok(())
    })
}

#[test]
fn a_wiped_stream_gets_a_new_mark_and_loses_its_old_consumer() -> anyhow::Result<()> {
    for nodes in [Nodes::One, Nodes::Three] {
        on(nodes, async |bench| {
            let store = bench.store("owner");
            let before = store.ensure_queue(&queue()).await?;
            assert!(bench.server.wipe(STREAM));
            assert_eq!(store.read_mark(&queue()).await?, None);
            let after = ensured(&store).await;
            assert_ne!(before, after);
            assert_eq!(consumers(&bench.server).await?, [after.consumer()]);
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn consumers_of_earlier_lives_are_dropped() -> anyhow::Result<()> {
    on_one(async |bench| {
        let store = bench.store("owner");
        let stream = bench.deployment.task_stream(store.names(), &queue());
        store.broker().ensure_stream(&stream).await?;
        let stale = ConsumerSpec {
            name: "workers_of_yore".into(),
            filter: store.names().task_filter(&queue()),
            ack_wait: Duration::from_secs(30),
        };
        store.broker().ensure_consumer(STREAM, &stale).await?;
        let mark = store.ensure_queue(&queue()).await?;
        assert_eq!(consumers(&bench.server).await?, [mark.consumer()]);
        Ok(())
    })
}

#[test]
fn an_owner_that_has_slept_through_a_wipe_does_not_bring_the_old_life_back() -> anyhow::Result<()> {
    for nodes in [Nodes::One, Nodes::Three] {
        for milliseconds in 0..70 {
            let asleep_after = Duration::from_millis(milliseconds);
            on(nodes, async |bench| sleep_through_wipe(bench, asleep_after).await)?;
        }
    }
    Ok(())
}

/// One owner stops in the midst of making the queue ready; until it goes on, the stream is wiped and another makes it ready.
async fn sleep_through_wipe(bench: Bench, asleep_after: Duration) -> anyhow::Result<()> {
    let (slow, quick) = (bench.store("slow"), bench.store("quick"));
    ensured(&quick).await;
    bench.server.set_faults(Faults {
        latency: Span::milliseconds(5, 5),
        ..Faults::none()
    });
    let sleeping = tokio::spawn(async move { ensured(&slow).await });
    bench.server.clock().sleep(asleep_after).await;
    bench.server.freeze("slow");
    bench.server.wipe(STREAM);
    let mark = ensured(&quick).await;
    bench.server.thaw("slow");
    sleeping.await?;
    assert_eq!(quick.read_mark(&queue()).await?, Some(mark.clone()), "{asleep_after:?}");
    assert_eq!(consumers(&bench.server).await?, [mark.consumer()], "{asleep_after:?}");
    Ok(())
}

#[test]
fn a_mark_that_cannot_be_read_is_an_error_that_names_the_queue() -> anyhow::Result<()> {
    on_one(async |bench| {
        let store = bench.store("owner");
        let stream = bench.deployment.task_stream(store.names(), &queue());
        store.broker().ensure_stream(&stream).await?;
        store.broker().publish(Publish::new("mark.default", "garbage")).await?;
        let error = store.ensure_queue(&queue()).await.unwrap_err();
        assert_eq!(error.to_string(), "reading the mark of queue default");
        Ok(())
    })
}

#[test]
fn a_stream_that_is_another_one_is_an_error_that_names_the_difference() -> anyhow::Result<()> {
    on_one(async |bench| {
        let store = bench.store("owner");
        let mut stream = bench.deployment.task_stream(store.names(), &queue());
        stream.max_bytes = 1_000;
        store.broker().ensure_stream(&stream).await?;
        let error = store.ensure_queue(&queue()).await.unwrap_err();
        let source = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        assert!(
            source.contains("max_bytes: wanted 1073741824, found 1000"),
            "{error}: {source}"
        );
        Ok(())
    })
}

#[test]
fn a_task_is_queued_once_until_it_is_done() -> anyhow::Result<()> {
    on_one(async |bench| {
        let (owner, other) = (bench.store("owner"), bench.store("other"));
        let mark = owner.ensure_queue(&queue()).await?;
        assert_eq!(owner.publish_task(&queue(), &task(1)).await?, TaskPublished::Stored);
        assert_eq!(other.publish_task(&queue(), &task(1)).await?, TaskPublished::Queued, "queued");
        let worker = bench.server.connect("worker");
        let mut puller = worker.pull(STREAM, &mark.consumer()).await?;
        let delivered = puller.next(10, Duration::from_secs(1)).await?;
        assert_eq!(delivered.len(), 1, "the mark is no task");
        assert_eq!(
            owner.publish_task(&queue(), &task(1)).await?,
            TaskPublished::Queued,
            "running"
        );
        assert_eq!(
            owner.publish_task(&queue(), &task(2)).await?,
            TaskPublished::Stored,
            "another attempt"
        );
        worker.ack(&delivered[0].ack, Ack::Done);
        bench.until(|| bench.server.messages(STREAM).len() == 2).await?;
        assert_eq!(owner.publish_task(&queue(), &task(1)).await?, TaskPublished::Stored, "done");
        Ok(())
    })
}

#[test]
fn a_task_whose_acknowledgement_was_lost_is_queued_already_when_published_again() -> anyhow::Result<()> {
    on_one(async |bench| {
        let store = bench.store("owner");
        store.ensure_queue(&queue()).await?;
        bench.lose_answers();
        assert!(store.publish_task(&queue(), &task(1)).await.is_err());
        bench.lose_nothing();
        assert_eq!(store.publish_task(&queue(), &task(1)).await?, TaskPublished::Queued);
        Ok(())
    })
}

#[test]
fn acknowledgements_of_an_earlier_life_reach_nothing() -> anyhow::Result<()> {
    for nodes in [Nodes::One, Nodes::Three] {
        on(nodes, async |bench| {
            let store = bench.store("owner");
            let mark = store.ensure_queue(&queue()).await?;
            store.publish_task(&queue(), &task(1)).await?;
            let worker = bench.server.connect("worker");
            let mut puller = worker.pull(STREAM, &mark.consumer()).await?;
            let before = puller.next(1, Duration::from_secs(1)).await?.remove(0);
            bench.server.wipe(STREAM);
            let mark = ensured(&store).await;
            store.publish_task(&queue(), &task(2)).await?;
            let mut puller = worker.pull(STREAM, &mark.consumer()).await?;
            let after = puller.next(1, Duration::from_secs(1)).await?.remove(0);
            assert_eq!(before.sequence, after.sequence, "or this would prove nothing");
            worker.ack(&before.ack, Ack::Done);
            assert_eq!(
                port(worker.clone()).stream_info(STREAM).await?.map(|info| info.messages),
                Some(2)
            );
            Ok(())
        })?;
    }
    Ok(())
}
