//! `@at` schedules: when they fire, what they fire, and how they are called off.

use std::time::Duration;

use anyhow::ensure;
use everstep_common::ports::{Followed, From, Message, Publish, Schedule, TopologyError};
use everstep_common::topology::{Discard, StreamSpec};
use futures::StreamExt;
use jiff::{SignedDuration, Timestamp};

use super::harness::{Harness, SOON, bodies, refused, rejected};

super::behaviours![
    a_schedule_fires_once_at_its_time_and_not_before,
    a_schedule_of_the_past_fires_at_once,
    a_purged_schedule_does_not_fire,
    a_schedule_is_replaced_by_the_next_on_its_subject,
    a_schedule_can_be_created_once,
    schedules_of_one_moment_all_fire,
    a_target_must_be_another_subject_of_the_stream,
    a_stream_without_schedules_rejects_them,
    a_schedule_may_be_part_of_a_batch,
    a_fired_message_replaces_what_its_target_holds,
    a_schedule_is_ended_early_by_a_message_that_names_it,
    schedules_and_refusing_when_full_exclude_each_other,
];

/// By how much a schedule may be late: a quarter of a second by itself, more on three nodes and on a busy machine.
const LATE_MAX: Duration = Duration::from_secs(3);

async fn a_schedule_fires_once_at_its_time_and_not_before(h: &Harness) -> anyhow::Result<()> {
    let stream = h.make(h.scheduling("s")).await?;
    let at = in_milliseconds(h, 1_500);
    let message = scheduled(h, "s.timer.a", at, "s.fired.a").with_header("Own", "kept");
    h.broker.publish(message).await?;
    ensure!(h.scan(&stream).await?.len() == 1, "the schedule itself is stored");
    let fired = fired(h, &stream).await?;
    ensure!(fired.time >= at, "early: {} before {at}", fired.time);
    ensure!(fired.time <= at + LATE_MAX, "late: {} after {at}", fired.time);
    ensure!(fired.payload == "body" && fired.subject == h.subject("s.fired.a"));
    ensure!(fired.headers.0 == [("Own".into(), "kept".into())], "{:?}", fired.headers);
    h.sleep(Duration::from_secs(1)).await;
    ensure!(
        bodies(&h.scan(&stream).await?) == ["body"],
        "the schedule is gone and nothing fires again"
    );
    Ok(())
}

async fn a_schedule_of_the_past_fires_at_once(h: &Harness) -> anyhow::Result<()> {
    let stream = h.make(h.scheduling("s")).await?;
    let published = h.server.clock().wall();
    h.broker
        .publish(scheduled(h, "s.timer.a", in_milliseconds(h, -3_600_000), "s.fired.a"))
        .await?;
    let fired = fired(h, &stream).await?;
    ensure!(fired.time <= published + LATE_MAX, "{} after {published}", fired.time);
    Ok(())
}

async fn a_purged_schedule_does_not_fire(h: &Harness) -> anyhow::Result<()> {
    let stream = h.make(h.scheduling("s")).await?;
    h.broker
        .publish(scheduled(h, "s.timer.a", in_milliseconds(h, 1_000), "s.fired.a"))
        .await?;
    ensure!(h.broker.purge(&stream, &h.subject("s.timer.a")).await? == 1);
    h.sleep(Duration::from_millis(2_500)).await;
    ensure!(h.scan(&stream).await?.is_empty());
    Ok(())
}

async fn a_schedule_is_replaced_by_the_next_on_its_subject(h: &Harness) -> anyhow::Result<()> {
    let stream = h.make(h.scheduling("s")).await?;
    h.broker
        .publish(scheduled(h, "s.timer.a", in_milliseconds(h, 1_000), "s.fired.first"))
        .await?;
    h.broker
        .publish(scheduled(h, "s.timer.a", in_milliseconds(h, 1_500), "s.fired.second"))
        .await?;
    ensure!(h.scan(&stream).await?.len() == 1);
    ensure!(fired(h, &stream).await?.subject == h.subject("s.fired.second"));
    Ok(())
}

async fn a_schedule_can_be_created_once(h: &Harness) -> anyhow::Result<()> {
    let stream = h.make(h.scheduling("s")).await?;
    let create = |milliseconds| scheduled(h, "s.timer.a", in_milliseconds(h, milliseconds), "s.fired.a").create_only();
    h.broker.publish(create(1_000)).await?;
    refused(h.broker.publish(create(60_000)).await)?;
    fired(h, &stream).await?;
    h.until("the schedule's end", || async { Ok(h.scan(&stream).await?.len() == 1) })
        .await?;
    h.broker.publish(create(60_000)).await?;
    Ok(())
}

async fn schedules_of_one_moment_all_fire(h: &Harness) -> anyhow::Result<()> {
    let stream = h.make(h.scheduling("s")).await?;
    let at = in_milliseconds(h, 2_000);
    let publishes = (0..300).map(|number| {
        let (schedule, target) = (format!("s.timer.{number}"), format!("s.fired.{number}"));
        scheduled(h, &schedule, at, &target).create_only()
    });
    h.publish_all(publishes).await?;
    let all_fired = || async {
        let messages = h.scan(&stream).await?;
        let fired: Vec<&Message> = messages
            .iter()
            .filter(|message| message.subject.contains(".fired."))
            .collect();
        ensure!(fired.iter().all(|message| message.time >= at), "one was early");
        Ok(fired.len() == 300 && messages.len() == 300)
    };
    h.until("all of them", all_fired).await
}

async fn a_target_must_be_another_subject_of_the_stream(h: &Harness) -> anyhow::Result<()> {
    h.make(h.scheduling("s")).await?;
    let at = in_milliseconds(h, 1_000);
    for target in ["elsewhere.a", "s.timer.a", "s.fired.*", "s.>"] {
        rejected(h.broker.publish(scheduled(h, "s.timer.a", at, target)).await)?;
    }
    Ok(())
}

async fn a_stream_without_schedules_rejects_them(h: &Harness) -> anyhow::Result<()> {
    let stream = h.make(h.plain("s")).await?;
    rejected(
        h.broker
            .publish(scheduled(h, "s.timer.a", in_milliseconds(h, 1_000), "s.fired.a"))
            .await,
    )?;
    ensure!(h.scan(&stream).await?.is_empty());
    Ok(())
}

async fn a_schedule_may_be_part_of_a_batch(h: &Harness) -> anyhow::Result<()> {
    let stream = h.make(h.scheduling("s")).await?;
    let schedule = scheduled(h, "s.timer.a", in_milliseconds(h, 1_000), "s.fired.a");
    h.broker.publish_batch(vec![h.create("s.other", ""), schedule]).await?;
    ensure!(fired(h, &stream).await?.payload == "body");
    Ok(())
}

async fn a_fired_message_replaces_what_its_target_holds(h: &Harness) -> anyhow::Result<()> {
    let stream = h
        .make(StreamSpec {
            max_messages_per_subject: 1,
            ..h.scheduling("s")
        })
        .await?;
    h.broker.publish(h.message("s.fired.a", "before")).await?;
    h.broker
        .publish(scheduled(h, "s.timer.a", in_milliseconds(h, 500), "s.fired.a").create_only())
        .await?;
    h.until("the replacement", || async {
        Ok(bodies(&h.scan(&stream).await?) == ["body"])
    })
    .await
}

async fn a_schedule_is_ended_early_by_a_message_that_names_it(h: &Harness) -> anyhow::Result<()> {
    let stream = h.make(h.scheduling("s")).await?;
    h.broker
        .publish(scheduled(h, "s.timer.a", in_milliseconds(h, 1_500), "s.fired.a"))
        .await?;
    let early = h
        .message("s.fired.a", "early")
        .with_header("Nats-Scheduler", h.subject("s.timer.a"))
        .with_header("Nats-Schedule-Next", "purge");
    h.broker.publish(early).await?;
    h.sleep(Duration::from_millis(2_500)).await;
    ensure!(bodies(&h.scan(&stream).await?) == ["early"]);
    Ok(())
}

async fn schedules_and_refusing_when_full_exclude_each_other(h: &Harness) -> anyhow::Result<()> {
    let result = h
        .broker
        .ensure_stream(&StreamSpec {
            discard: Discard::New,
            ..h.scheduling("s")
        })
        .await;
    ensure!(matches!(result, Err(TopologyError::Rejected { .. })), "{result:?}");
    Ok(())
}

fn scheduled(h: &Harness, schedule: &str, at: Timestamp, target: &str) -> Publish {
    let schedule_of = Schedule {
        at,
        target: h.subject(target),
    };
    Publish {
        schedule: Some(schedule_of),
        ..h.message(schedule, "body")
    }
}

fn in_milliseconds(h: &Harness, milliseconds: i64) -> Timestamp {
    h.server.clock().wall() + SignedDuration::from_millis(milliseconds)
}

/// The next message fired.
async fn fired(h: &Harness, stream: &str) -> anyhow::Result<Message> {
    let mut followed = h.broker.follow(stream, &h.subject("s.fired.>"), From::Sequence(1));
    loop {
        let item = tokio::time::timeout(SOON, followed.next()).await?;
        match item {
            Some(Followed::Message(message)) => return Ok(message),
            Some(Followed::CaughtUp) => {}
            other => anyhow::bail!("{other:?}"),
        }
    }
}
