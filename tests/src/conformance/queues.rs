//! Work queues: who gets which task, how often, and what an acknowledgement does.

use std::time::Duration;

use anyhow::ensure;
use everstep_common::ports::{Ack, Delivery, PullError, ReadError, TopologyError};
use everstep_common::topology::ConsumerSpec;

use super::harness::{A_WHILE, Harness, Nodes, Queue, SOON, consumer_of, refused};

super::behaviours![
    a_task_is_created_once_while_it_is_queued_or_running,
    a_finished_task_may_be_created_again,
    a_purge_takes_queued_and_running_tasks,
    an_unanswered_task_comes_again_after_the_wait_and_not_before,
    a_task_that_is_worked_on_does_not_come_again,
    a_task_handed_back_comes_again_at_once_or_after_the_delay,
    a_task_handed_back_is_overtaken,
    a_terminated_task_never_comes_again_and_is_gone,
    the_ack_of_a_former_holder_takes_the_task_from_the_present_one,
    thousands_of_unanswered_tasks_stall_nothing,
    a_pull_of_no_consumer_says_that_it_is_gone,
    a_pull_that_waits_is_told_when_its_consumer_goes,
    each_task_comes_to_one_of_several_workers,
    a_pull_brings_no_more_than_asked_and_waits_no_longer,
    a_second_consumer_on_the_same_tasks_is_rejected,
    acks_to_a_deleted_consumer_reach_nothing,
    what_no_consumer_names_stays,
    a_work_queue_is_not_scanned,
    a_worker_that_leaves_gives_back_what_it_had_not_read,
    a_consumer_made_late_brings_everything_from_the_beginning,
];

/// Longer than any test of it takes.
const LONG_WAIT: Duration = Duration::from_secs(60);

async fn a_task_is_created_once_while_it_is_queued_or_running(h: &Harness) -> anyhow::Result<()> {
    let mut queue = h.make_queue("q", LONG_WAIT).await?;
    h.broker.publish(h.create("q.task.a", "1")).await?;
    refused(h.broker.publish(h.create("q.task.a", "2")).await)?;
    let delivery = queue.one().await?;
    ensure!(delivery.payload == "1" && delivery.delivery == 1 && delivery.subject == h.subject("q.task.a"));
    refused(h.broker.publish(h.create("q.task.a", "2")).await)?;
    Ok(())
}

async fn a_finished_task_may_be_created_again(h: &Harness) -> anyhow::Result<()> {
    let mut queue = h.make_queue("q", LONG_WAIT).await?;
    h.broker.publish(h.create("q.task.a", "1")).await?;
    let delivery = queue.one().await?;
    h.broker.ack(&delivery.ack, Ack::Done);
    is_empty(h, &queue).await?;
    h.broker.publish(h.create("q.task.a", "2")).await?;
    let again = queue.one().await?;
    ensure!(again.payload == "2" && again.delivery == 1 && again.sequence == 2);
    Ok(())
}

async fn a_purge_takes_queued_and_running_tasks(h: &Harness) -> anyhow::Result<()> {
    let mut queue = h.make_queue("q", Duration::from_secs(1)).await?;
    h.store_each(&["q.task.fn.r1.a", "q.task.fn.r1.b", "q.task.fn.r2.a"]).await?;
    let running = queue.one().await?;
    ensure!(h.broker.purge(&queue.stream, &h.subject("q.task.*.r1.>")).await? == 2);
    let mut left = queue.one().await?;
    // The node that leads the consumer may not have heard of the purge when it sends the next task (seen on 2.15.1).
    if h.server.nodes() == Nodes::Three && left.subject == h.subject("q.task.fn.r1.b") {
        left = queue.one().await?;
    }
    ensure!(left.subject == h.subject("q.task.fn.r2.a"));
    h.broker.publish(h.create("q.task.fn.r1.a", "again")).await?;
    h.broker.ack(&running.ack, Ack::Done);
    let again = queue.one().await?;
    ensure!(
        again.payload == "again" && again.delivery == 1,
        "the late ack named the purged one: {again:?}"
    );
    Ok(())
}

async fn an_unanswered_task_comes_again_after_the_wait_and_not_before(h: &Harness) -> anyhow::Result<()> {
    let mut queue = h.make_queue("q", Duration::from_secs(2)).await?;
    h.broker.publish(h.create("q.task.a", "")).await?;
    let first = queue.one().await?;
    let delivered = h.server.clock().now();
    let second = queue.one().await?;
    let waited = h.server.clock().now().since(delivered);
    // The server's wait began when it sent the task, a little before it came.
    ensure!(waited > Duration::from_millis(1_500), "after {waited:?}");
    ensure!((second.delivery, second.sequence) == (2, first.sequence) && second.time == first.time);
    ensure!(second.ack != first.ack);
    h.broker.ack(&second.ack, Ack::Done);
    queue.none_for(Duration::from_secs(3)).await
}

async fn a_task_that_is_worked_on_does_not_come_again(h: &Harness) -> anyhow::Result<()> {
    let mut queue = h.make_queue("q", Duration::from_secs(2)).await?;
    h.broker.publish(h.create("q.task.a", "")).await?;
    let task = queue.one().await?;
    for _ in 0..5 {
        queue.none_for(A_WHILE).await?;
        h.broker.ack(&task.ack, Ack::InProgress);
    }
    ensure!(queue.one().await?.delivery == 2, "once nobody says so, it comes again");
    Ok(())
}

async fn a_task_handed_back_comes_again_at_once_or_after_the_delay(h: &Harness) -> anyhow::Result<()> {
    let mut queue = h.make_queue("q", LONG_WAIT).await?;
    h.broker.publish(h.create("q.task.a", "")).await?;
    let first = queue.one().await?;
    h.broker.ack(&first.ack, Ack::Retry(Duration::ZERO));
    let second = queue.one().await?;
    ensure!(second.delivery == 2);
    let before = h.server.clock().now();
    h.broker.ack(&second.ack, Ack::Retry(Duration::from_secs(1)));
    let third = queue.one().await?;
    let waited = h.server.clock().now().since(before);
    ensure!(third.delivery == 3 && waited >= Duration::from_secs(1), "after {waited:?}");
    Ok(())
}

async fn a_task_handed_back_is_overtaken(h: &Harness) -> anyhow::Result<()> {
    let mut queue = h.make_queue("q", LONG_WAIT).await?;
    h.store_each(&["q.task.a", "q.task.b", "q.task.c"]).await?;
    let first = queue.one().await?;
    h.broker.ack(&first.ack, Ack::Retry(Duration::from_secs(1)));
    let order: Vec<u64> = queue.some(3).await?.iter().map(|delivery| delivery.sequence).collect();
    ensure!(order == [2, 3, 1], "{order:?}");
    Ok(())
}

async fn a_terminated_task_never_comes_again_and_is_gone(h: &Harness) -> anyhow::Result<()> {
    let mut queue = h.make_queue("q", Duration::from_secs(1)).await?;
    h.broker.publish(h.create("q.task.a", "")).await?;
    let task = queue.one().await?;
    h.broker.ack(&task.ack, Ack::Terminate);
    is_empty(h, &queue).await?;
    queue.none_for(Duration::from_secs(2)).await
}

async fn the_ack_of_a_former_holder_takes_the_task_from_the_present_one(h: &Harness) -> anyhow::Result<()> {
    let mut queue = h.make_queue("q", Duration::from_secs(1)).await?;
    h.broker.publish(h.create("q.task.a", "")).await?;
    let former = queue.one().await?;
    let present = queue.one().await?;
    ensure!(present.delivery == 2);
    h.broker.ack(&former.ack, Ack::Done);
    is_empty(h, &queue).await?;
    h.broker.ack(&present.ack, Ack::InProgress);
    queue.none_for(Duration::from_secs(2)).await
}

async fn thousands_of_unanswered_tasks_stall_nothing(h: &Harness) -> anyhow::Result<()> {
    let mut queue = h.make_queue("q", LONG_WAIT).await?;
    h.publish_all((0..2_500).map(|number| h.create(&format!("q.task.{number}"), "")))
        .await?;
    let mut sequences: Vec<u64> = queue.some(2_500).await?.iter().map(|delivery| delivery.sequence).collect();
    sequences.sort_unstable();
    ensure!(sequences == (1..=2_500).collect::<Vec<u64>>());
    Ok(())
}

async fn a_pull_of_no_consumer_says_that_it_is_gone(h: &Harness) -> anyhow::Result<()> {
    let stream = h.make(h.queue("q")).await?;
    for (stream, consumer) in [(stream.as_str(), "nobody"), ("nowhere", "workers")] {
        let mut puller = h.broker.pull(stream, consumer).await?;
        let result = h.soon("the answer", puller.next(1, SOON)).await?;
        ensure!(matches!(result, Err(PullError::Gone)), "{stream} {consumer}: {result:?}");
    }
    Ok(())
}

async fn a_pull_that_waits_is_told_when_its_consumer_goes(h: &Harness) -> anyhow::Result<()> {
    let mut queue = h.make_queue("q", LONG_WAIT).await?;
    queue.none_for(A_WHILE).await?;
    h.broker.delete_consumer(&queue.stream, "workers").await?;
    let result = h.soon("the answer", queue.next(1, SOON)).await?;
    ensure!(matches!(result, Err(PullError::Gone)), "{result:?}");
    Ok(())
}

async fn each_task_comes_to_one_of_several_workers(h: &Harness) -> anyhow::Result<()> {
    let mut one = h.make_queue("q", LONG_WAIT).await?;
    let mut other = h.bind(&one.stream, "workers").await?;
    h.publish_all((0..100).map(|number| h.create(&format!("q.task.{number}"), "")))
        .await?;
    let (left, right) = futures::join!(one.some(50), other.some(50));
    let mut sequences: Vec<u64> = left?.iter().chain(&right?).map(|delivery| delivery.sequence).collect();
    sequences.sort_unstable();
    ensure!(sequences == (1..=100).collect::<Vec<u64>>());
    Ok(())
}

async fn a_pull_brings_no_more_than_asked_and_waits_no_longer(h: &Harness) -> anyhow::Result<()> {
    let mut queue = h.make_queue("q", LONG_WAIT).await?;
    let before = h.server.clock().now();
    queue.none_for(Duration::from_millis(500)).await?;
    let waited = h.server.clock().now().since(before);
    ensure!(
        waited >= Duration::from_millis(500) && waited < Duration::from_secs(5),
        "{waited:?}"
    );
    h.store_each(&["q.task.a", "q.task.b", "q.task.c", "q.task.d", "q.task.e"])
        .await?;
    let mut sequences = Vec::new();
    while sequences.len() < 5 {
        let deliveries = queue.next(2, SOON).await?;
        ensure!((1..=2).contains(&deliveries.len()), "{} came", deliveries.len());
        sequences.extend(deliveries.iter().map(|delivery| delivery.sequence));
    }
    ensure!(sequences == [1, 2, 3, 4, 5], "{sequences:?}");
    Ok(())
}

async fn a_second_consumer_on_the_same_tasks_is_rejected(h: &Harness) -> anyhow::Result<()> {
    let queue = h.make_queue("q", LONG_WAIT).await?;
    let other = ConsumerSpec {
        name: "others".into(),
        filter: h.subject("q.task.a.>"),
        ack_wait: LONG_WAIT,
    };
    let result = h.broker.ensure_consumer(&queue.stream, &other).await;
    ensure!(matches!(result, Err(TopologyError::Rejected { .. })), "{result:?}");
    let elsewhere = ConsumerSpec {
        filter: h.subject("q.other.>"),
        ..other
    };
    h.broker.ensure_consumer(&queue.stream, &elsewhere).await?;
    Ok(())
}

async fn acks_to_a_deleted_consumer_reach_nothing(h: &Harness) -> anyhow::Result<()> {
    let mut queue = h.make_queue("q", LONG_WAIT).await?;
    h.broker.publish(h.create("q.task.a", "")).await?;
    let before = queue.one().await?;
    ensure!(consumer_of(&before.ack)? == "workers", "{:?}", before.ack);
    h.broker.delete_consumer(&queue.stream, "workers").await?;
    let successor = ConsumerSpec {
        name: "successors".into(),
        ..h.workers("q", LONG_WAIT)
    };
    h.broker.ensure_consumer(&queue.stream, &successor).await?;
    let mut queue = h.bind(&queue.stream, "successors").await?;
    let task = queue.one().await?;
    ensure!(task.delivery == 1 && task.sequence == before.sequence);
    h.broker.ack(&before.ack, Ack::Done);
    h.sleep(A_WHILE).await;
    refused(h.broker.publish(h.create("q.task.a", "")).await)
}

async fn what_no_consumer_names_stays(h: &Harness) -> anyhow::Result<()> {
    let mut queue = h.make_queue("q", LONG_WAIT).await?;
    h.store_each(&["q.mark", "q.task.a"]).await?;
    let task = queue.one().await?;
    ensure!(task.sequence == 2);
    h.broker.ack(&task.ack, Ack::Done);
    queue.none_for(A_WHILE).await?;
    let mark = h.read(&queue.stream, &["q.mark"], None).await?.messages;
    ensure!(mark.len() == 1 && mark[0].sequence == 1);
    Ok(())
}

async fn a_work_queue_is_not_scanned(h: &Harness) -> anyhow::Result<()> {
    let queue = h.make_queue("q", LONG_WAIT).await?;
    h.store_each(&["q.task.a"]).await?;
    let scanned = h.scan(&queue.stream).await;
    let error = scanned.err().and_then(|error| error.downcast::<ReadError>().ok());
    ensure!(matches!(error, Some(ReadError::Rejected(_))), "{error:?}");
    Ok(())
}

async fn a_worker_that_leaves_gives_back_what_it_had_not_read(h: &Harness) -> anyhow::Result<()> {
    let mut leaving = h.make_queue("q", LONG_WAIT).await?;
    let mut staying = h.bind(&leaving.stream, "workers").await?;
    // The leaving one waits for a task, stops waiting, and so has one coming that it does not read.
    leaving.none_for(A_WHILE).await?;
    h.store_each(&["q.task.a"]).await?;
    h.sleep(A_WHILE).await;
    drop(leaving);
    let task: Delivery = staying.one().await?;
    ensure!(task.sequence == 1);
    Ok(())
}

async fn a_consumer_made_late_brings_everything_from_the_beginning(h: &Harness) -> anyhow::Result<()> {
    let stream = h.make(h.queue("q")).await?;
    h.store_each(&["q.task.a", "q.mark", "q.task.b"]).await?;
    h.broker.ensure_consumer(&stream, &h.workers("q", LONG_WAIT)).await?;
    let mut queue = h.bind(&stream, "workers").await?;
    let sequences: Vec<u64> = queue.some(2).await?.iter().map(|delivery| delivery.sequence).collect();
    ensure!(sequences == [1, 3], "{sequences:?}");
    Ok(())
}

/// Waits until the stream holds nothing.
async fn is_empty(h: &Harness, queue: &Queue) -> anyhow::Result<()> {
    h.until("the empty stream", || async {
        Ok(h.broker
            .stream_info(&queue.stream)
            .await?
            .is_some_and(|info| info.messages == 0))
    })
    .await
}
