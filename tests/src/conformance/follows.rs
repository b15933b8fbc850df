//! Following a stream: order, catching up, and knowing when it is no longer the same stream.

use anyhow::ensure;
use everstep_common::ports::{Followed, From};
use futures::StreamExt;
use futures::stream::BoxStream;

use super::harness::{Harness, SOON};

super::behaviours![
    a_follow_brings_what_is_stored_then_says_so_then_brings_what_comes,
    a_follow_of_nothing_has_caught_up_at_once,
    a_follow_from_the_last_of_each_subject_begins_with_those,
    a_follow_from_now_on_brings_nothing_earlier,
    a_follow_from_a_sequence_begins_there,
    a_follow_from_a_time_begins_with_what_was_stored_then,
    a_follow_passes_over_what_was_purged,
    a_follow_of_no_stream_is_lost,
    a_follow_from_beyond_the_next_sequence_is_lost,
    a_follow_is_lost_with_its_stream,
    a_follow_is_lost_to_another_stream_of_the_same_name,
];

async fn a_follow_brings_what_is_stored_then_says_so_then_brings_what_comes(h: &Harness) -> anyhow::Result<()> {
    let stream = h.make(h.plain("s")).await?;
    h.store_each(&["s.a", "s.other", "s.a"]).await?;
    let mut followed = h.broker.follow(&stream, &h.subject("s.a"), From::Sequence(1));
    ensure!(h.next_message(&mut followed).await?.sequence == 1);
    ensure!(h.next_message(&mut followed).await?.sequence == 3);
    h.caught_up(&mut followed).await?;
    h.store_each(&["s.other", "s.a", "s.a"]).await?;
    ensure!(h.next_message(&mut followed).await?.sequence == 5);
    ensure!(h.next_message(&mut followed).await?.sequence == 6);
    h.silent(&mut followed).await
}

async fn a_follow_of_nothing_has_caught_up_at_once(h: &Harness) -> anyhow::Result<()> {
    let stream = h.make(h.plain("s")).await?;
    let mut empty = h.broker.follow(&stream, ">", From::Sequence(1));
    h.caught_up(&mut empty).await?;
    h.store_each(&["s.a"]).await?;
    ensure!(h.next_message(&mut empty).await?.sequence == 1);
    let mut unmatched = h.broker.follow(&stream, &h.subject("s.none"), From::Sequence(1));
    h.caught_up(&mut unmatched).await?;
    let mut at_the_end = h.broker.follow(&stream, ">", From::Sequence(2));
    h.caught_up(&mut at_the_end).await
}

async fn a_follow_from_the_last_of_each_subject_begins_with_those(h: &Harness) -> anyhow::Result<()> {
    let stream = h.make(h.plain("s")).await?;
    h.store_each(&["s.a", "s.b", "s.a", "s.c"]).await?;
    let mut followed = h.broker.follow(&stream, ">", From::LastPerSubject);
    for sequence in [2, 3, 4] {
        ensure!(h.next_message(&mut followed).await?.sequence == sequence);
    }
    h.caught_up(&mut followed).await?;
    h.store_each(&["s.a"]).await?;
    ensure!(h.next_message(&mut followed).await?.sequence == 5);
    Ok(())
}

async fn a_follow_from_now_on_brings_nothing_earlier(h: &Harness) -> anyhow::Result<()> {
    let stream = h.make(h.plain("s")).await?;
    h.store_each(&["s.a", "s.a"]).await?;
    let mut followed = h.broker.follow(&stream, ">", From::New);
    h.caught_up(&mut followed).await?;
    h.store_each(&["s.a"]).await?;
    ensure!(h.next_message(&mut followed).await?.sequence == 3);
    Ok(())
}

async fn a_follow_from_a_sequence_begins_there(h: &Harness) -> anyhow::Result<()> {
    let stream = h.make(h.plain("s")).await?;
    h.store_each(&["s.a", "s.b", "s.a", "s.b"]).await?;
    let mut followed = h.broker.follow(&stream, &h.subject("s.a"), From::Sequence(2));
    ensure!(h.next_message(&mut followed).await?.sequence == 3);
    h.caught_up(&mut followed).await
}

async fn a_follow_from_a_time_begins_with_what_was_stored_then(h: &Harness) -> anyhow::Result<()> {
    let stream = h.make(h.plain("s")).await?;
    h.store_each(&["s.a", "s.b", "s.a", "s.b", "s.a"]).await?;
    let mut all = h.broker.follow(&stream, ">", From::Sequence(1));
    let mut times = Vec::new();
    for _ in 0..5 {
        times.push(h.next_message(&mut all).await?.time);
    }
    // The simulated clock may stand still meanwhile.
    let expected = [1, 3, 5].into_iter().filter(|sequence| times[sequence - 1] >= times[1]);
    let mut followed = h.broker.follow(&stream, &h.subject("s.a"), From::Time(times[1]));
    for sequence in expected {
        ensure!(h.next_message(&mut followed).await?.sequence == sequence as u64);
    }
    h.caught_up(&mut followed).await?;
    let after_all = times[4] + std::time::Duration::from_nanos(1);
    let mut followed = h.broker.follow(&stream, &h.subject("s.a"), From::Time(after_all));
    h.caught_up(&mut followed).await?;
    h.store_each(&["s.b", "s.a"]).await?;
    ensure!(h.next_message(&mut followed).await?.sequence == 7);
    Ok(())
}

async fn a_follow_passes_over_what_was_purged(h: &Harness) -> anyhow::Result<()> {
    let stream = h.make(h.plain("s")).await?;
    h.store_each(&["s.a", "s.b", "s.b", "s.a", "s.b"]).await?;
    h.broker.purge(&stream, &h.subject("s.b")).await?;
    let mut followed = h.broker.follow(&stream, ">", From::Sequence(1));
    ensure!(h.next_message(&mut followed).await?.sequence == 1);
    ensure!(h.next_message(&mut followed).await?.sequence == 4);
    h.caught_up(&mut followed).await?;
    h.broker.purge(&stream, ">").await?;
    h.store_each(&["s.a"]).await?;
    ensure!(h.next_message(&mut followed).await?.sequence == 6);
    Ok(())
}

async fn a_follow_of_no_stream_is_lost(h: &Harness) -> anyhow::Result<()> {
    let mut followed = h.broker.follow("nowhere", ">", From::Sequence(1));
    is_lost(h, &mut followed).await
}

async fn a_follow_from_beyond_the_next_sequence_is_lost(h: &Harness) -> anyhow::Result<()> {
    let stream = h.make(h.plain("s")).await?;
    h.store_each(&["s.a"]).await?;
    let mut followed = h.broker.follow(&stream, ">", From::Sequence(3));
    is_lost(h, &mut followed).await
}

async fn a_follow_is_lost_with_its_stream(h: &Harness) -> anyhow::Result<()> {
    let mut followed = followed_until_deleted(h).await?;
    is_lost(h, &mut followed).await
}

async fn a_follow_is_lost_to_another_stream_of_the_same_name(h: &Harness) -> anyhow::Result<()> {
    let mut followed = followed_until_deleted(h).await?;
    // On a real server the time of creation is what tells the two apart.
    h.sleep(std::time::Duration::from_millis(5)).await;
    h.make(h.plain("s")).await?;
    h.store_each(&["s.a", "s.a", "s.a"]).await?;
    is_lost(h, &mut followed).await
}

/// The follow ends with the news that it is lost.
/// A follow of a stream that was caught up with before the stream was deleted.
async fn followed_until_deleted(h: &Harness) -> anyhow::Result<BoxStream<'static, Followed>> {
    let stream = h.make(h.plain("s")).await?;
    h.store_each(&["s.a"]).await?;
    let mut followed = h.broker.follow(&stream, ">", From::Sequence(1));
    h.next_message(&mut followed).await?;
    h.caught_up(&mut followed).await?;
    h.server.delete_stream(&stream).await?;
    Ok(followed)
}

async fn is_lost(h: &Harness, followed: &mut BoxStream<'static, Followed>) -> anyhow::Result<()> {
    let item = h.soon("the loss", followed.next()).await?;
    ensure!(matches!(item, Some(Followed::Lost(_))), "{item:?}");
    let end = tokio::time::timeout(SOON, followed.next()).await;
    ensure!(matches!(end, Ok(None)), "after the loss came {end:?}");
    Ok(())
}
