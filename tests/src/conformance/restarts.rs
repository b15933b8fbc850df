//! What survives a server that is killed with SIGKILL, all nodes of it, and started again.

use std::time::Duration;

use anyhow::{Context, ensure};
use everstep_common::ports::{Ack, ConnectionEvent, CoreMessage, Followed, From, Publish, PublishError, PullError, Schedule};
use everstep_common::topology::{Retention, Storage, StreamSpec};
use futures::StreamExt;
use futures::future::{Either, select};
use jiff::SignedDuration;

use super::harness::{Harness, Nodes, SOON, bodies};

super::behaviours![
    what_was_acknowledged_on_disk_is_there_and_sequences_go_on,
    a_memory_stream_is_forgotten_by_one_node_and_empty_on_three,
    acks_of_before_name_tasks_of_after,
    a_follow_goes_on_over_a_restart,
    a_follow_of_a_memory_stream_is_lost,
    schedules_fire_after_a_restart,
    a_pull_goes_on_and_unanswered_tasks_come_again,
    a_client_is_told_of_the_loss_and_the_return,
    a_subscription_goes_on_over_a_restart,
];

async fn what_was_acknowledged_on_disk_is_there_and_sequences_go_on(h: &Harness) -> anyhow::Result<()> {
    let stream = h.make(h.write_once("s")).await?;
    for number in 0..50 {
        h.broker
            .publish(h.create(&format!("s.{number}"), &number.to_string()))
            .await?;
    }
    h.broker
        .publish_batch(vec![h.create("s.x", "x"), h.create("s.y", "y")])
        .await?;
    let before = h.scan(&stream).await?;
    let created = h.broker.stream_info(&stream).await?.context("the stream")?.created;
    h.server.restart().await?;
    is_back(h, &stream).await?;
    ensure!(h.scan(&stream).await? == before);
    ensure!(h.broker.stream_info(&stream).await?.context("the stream")?.created == created);
    ensure!(h.store(h.create("s.after", "")).await? == 53);
    Ok(())
}

async fn a_memory_stream_is_forgotten_by_one_node_and_empty_on_three(h: &Harness) -> anyhow::Result<()> {
    let queue = h.make_queue("q", Duration::from_secs(30)).await?;
    h.store_each(&["q.task.a", "q.mark"]).await?;
    let before = h.broker.stream_info(&queue.stream).await?.context("the stream")?;
    h.server.restart().await?;
    match h.server.nodes() {
        Nodes::One => {
            h.until("the news that there is no stream", || async {
                Ok(h.broker.stream_info(&queue.stream).await.is_ok_and(|info| info.is_none()))
            })
            .await?;
            let publish = h.broker.publish(h.create("q.task.a", "")).await;
            ensure!(publish == Err(PublishError::NoStream), "{publish:?}");
            let mut queue = queue;
            let pulled = queue.puller.next(1, SOON).await;
            ensure!(matches!(pulled, Err(PullError::Gone)), "{pulled:?}");
        }
        Nodes::Three => {
            is_back(h, &queue.stream).await?;
            let after = h.broker.stream_info(&queue.stream).await?.context("the stream")?;
            ensure!((after.messages, after.last_sequence) == (0, 0), "{after:?}");
            ensure!(after.created == before.created, "{after:?}");
            ensure!(h.broker.consumers(&queue.stream).await? == ["workers"]);
            ensure!(h.store(h.create("q.task.a", "")).await? == 1);
        }
    }
    Ok(())
}

async fn acks_of_before_name_tasks_of_after(h: &Harness) -> anyhow::Result<()> {
    let mut queue = h.make_queue("q", Duration::from_secs(30)).await?;
    h.store_each(&["q.task.before"]).await?;
    let before = queue.one().await?;
    h.server.restart().await?;
    // On one node whoever comes first makes the stream and its consumer again, under the same names.
    h.until("the provisioning", || async {
        let stream = h.broker.ensure_stream(&h.queue("q")).await;
        let consumer = h
            .broker
            .ensure_consumer(&queue.stream, &h.workers("q", Duration::from_secs(30)))
            .await;
        Ok(stream.is_ok() && consumer.is_ok())
    })
    .await?;
    h.store(h.create("q.task.after", "")).await?;
    let mut queue = h.bind(&queue.stream, "workers").await?;
    let after = queue.one().await?;
    ensure!(after.subject == h.subject("q.task.after") && after.sequence == before.sequence);
    h.broker.ack(&before.ack, Ack::Done);
    h.until("the loss of the new task", || async {
        Ok(h.broker
            .stream_info(&queue.stream)
            .await?
            .is_some_and(|info| info.messages == 0))
    })
    .await
}

async fn a_follow_goes_on_over_a_restart(h: &Harness) -> anyhow::Result<()> {
    let stream = h.make(h.plain("s")).await?;
    h.store_each(&["s.a", "s.a", "s.a"]).await?;
    let mut followed = h.broker.follow(&stream, ">", From::Sequence(2));
    ensure!(h.next_message(&mut followed).await?.sequence == 2);
    ensure!(h.next_message(&mut followed).await?.sequence == 3);
    h.caught_up(&mut followed).await?;
    h.server.restart().await?;
    is_back(h, &stream).await?;
    h.store_each(&["s.a", "s.a"]).await?;
    ensure!(h.next_message(&mut followed).await?.sequence == 4);
    ensure!(h.next_message(&mut followed).await?.sequence == 5);
    h.silent(&mut followed).await
}

async fn a_follow_of_a_memory_stream_is_lost(h: &Harness) -> anyhow::Result<()> {
    let stream = h
        .make(StreamSpec {
            storage: Storage::Memory,
            ..h.plain("s")
        })
        .await?;
    h.store_each(&["s.a", "s.a"]).await?;
    let mut followed = h.broker.follow(&stream, ">", From::Sequence(1));
    for _ in 0..2 {
        h.next_message(&mut followed).await?;
    }
    h.caught_up(&mut followed).await?;
    h.server.restart().await?;
    let item = h.soon("the loss", followed.next()).await?;
    ensure!(matches!(item, Some(Followed::Lost(_))), "{item:?}");
    Ok(())
}

async fn schedules_fire_after_a_restart(h: &Harness) -> anyhow::Result<()> {
    let stream = h.make(h.scheduling("s")).await?;
    let in_seconds = |seconds| h.server.clock().wall() + SignedDuration::from_secs(seconds);
    let far = in_seconds(12);
    for (subject, at) in [("s.timer.soon", in_seconds(1)), ("s.timer.far", far)] {
        let schedule = Schedule {
            at,
            target: h.subject(&subject.replace("timer", "fired")),
        };
        h.store(Publish {
            schedule: Some(schedule),
            ..h.message(subject, subject)
        })
        .await?;
    }
    h.server.restart().await?;
    is_back(h, &stream).await?;
    h.until("both", || async {
        Ok(h.scan(&stream)
            .await
            .is_ok_and(|all| all.iter().filter(|m| m.subject.contains("fired")).count() == 2))
    })
    .await?;
    let messages = h.scan(&stream).await?;
    ensure!(bodies(&messages) == ["s.timer.soon", "s.timer.far"], "{messages:?}");
    ensure!(messages[1].time >= far);
    Ok(())
}

async fn a_pull_goes_on_and_unanswered_tasks_come_again(h: &Harness) -> anyhow::Result<()> {
    let spec = StreamSpec {
        retention: Retention::WorkQueue,
        ..h.plain("q")
    };
    let stream = h.make(spec).await?;
    h.broker
        .ensure_consumer(&stream, &h.workers("q", Duration::from_secs(5)))
        .await?;
    let mut queue = h.bind(&stream, "workers").await?;
    h.store_each(&["q.task.a", "q.task.b"]).await?;
    let held = queue.some(2).await?;
    h.broker.ack(&held[1].ack, Ack::Done);
    h.until("the ack's arrival", || async {
        let info = h.broker.stream_info(&stream).await?;
        Ok(info.is_some_and(|info| info.messages == 1))
    })
    .await?;
    h.server.restart().await?;
    let again = queue.one().await?;
    ensure!(again.subject == h.subject("q.task.a"), "{again:?}");
    h.broker.ack(&again.ack, Ack::Done);
    h.store(h.create("q.task.c", "")).await?;
    loop {
        // What was delivered before the kill and not known to have been may come once more.
        let task = queue.one().await?;
        h.broker.ack(&task.ack, Ack::Done);
        if task.subject == h.subject("q.task.c") {
            return Ok(());
        }
        ensure!(task.subject == h.subject("q.task.a"), "{task:?}");
    }
}

async fn a_client_is_told_of_the_loss_and_the_return(h: &Harness) -> anyhow::Result<()> {
    let mut events = h.broker.connection_events();
    h.server.restart().await?;
    ensure!(h.soon("the loss", events.next()).await? == Some(ConnectionEvent::Disconnected));
    h.soon("the return", async {
        while events.next().await != Some(ConnectionEvent::Reconnected) {}
    })
    .await
}

async fn a_subscription_goes_on_over_a_restart(h: &Harness) -> anyhow::Result<()> {
    let mut listening = h.broker.subscribe(&h.subject("live")).await;
    h.server.restart().await?;
    let sending = async {
        loop {
            let message = CoreMessage {
                subject: h.subject("live"),
                headers: Default::default(),
                payload: "after".into(),
                reply: None,
            };
            h.broker.send(message);
            h.sleep(Duration::from_millis(200)).await;
        }
    };
    let hearing = async { listening.next().await.is_some_and(|message| message.payload == "after") };
    let (sending, hearing) = (std::pin::pin!(sending), std::pin::pin!(hearing));
    let heard = h.soon("the message", select(hearing, sending)).await?;
    ensure!(matches!(heard, Either::Left((true, _))));
    Ok(())
}

/// Waits until the stream answers again.
async fn is_back(h: &Harness, stream: &str) -> anyhow::Result<()> {
    h.until("the stream's return", || async {
        Ok(h.broker.stream_info(stream).await.is_ok_and(|info| info.is_some()))
    })
    .await
}
