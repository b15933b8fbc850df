//! Core NATS beside the streams: who hears what.

use std::time::Duration;

use anyhow::ensure;
use everstep_common::ports::{CoreMessage, Headers, PublishError};
use everstep_common::topology::{Republish, StreamSpec};
use futures::StreamExt;
use futures::stream::BoxStream;

use super::harness::{Harness, bodies, refused};

super::behaviours![
    who_listens_hears_what_is_sent_from_then_on,
    a_subscription_stands_before_any_later_publish,
    an_answer_goes_to_who_asked_and_all_answers_are_gathered,
    a_question_that_nobody_hears_ends_at_once,
    listeners_of_a_streams_subjects_hear_refused_writes_too,
    a_stream_republishes_what_it_stores_and_nothing_else,
    a_stream_republishes_bodies_unless_told_not_to,
    a_core_message_on_a_streams_subject_is_stored,
];

async fn who_listens_hears_what_is_sent_from_then_on(h: &Harness) -> anyhow::Result<()> {
    let other = h.server.connect("other").await?;
    h.broker.send(core(h, "live.a", "before"));
    let mut exact = h.broker.subscribe(&h.subject("live.a")).await;
    let mut wide = h.broker.subscribe(&h.subject("live.>")).await;
    settle(h, &mut wide).await?;
    other.send(CoreMessage {
        headers: Headers::new().with("Own", "kept"),
        ..core(h, "live.a", "1")
    });
    other.send(core(h, "live.b", "2"));
    let heard = hear(h, &mut exact).await?;
    ensure!(heard.payload == "1" && heard.headers.get("Own") == Some("kept"), "{heard:?}");
    ensure!(hear(h, &mut wide).await?.payload == "1");
    ensure!(hear(h, &mut wide).await?.subject == h.subject("live.b"));
    h.silent(&mut exact).await
}

async fn a_subscription_stands_before_any_later_publish(h: &Harness) -> anyhow::Result<()> {
    for number in 0..20 {
        let subject = format!("live.{number}");
        let mut listening = h.broker.subscribe(&h.subject(&subject)).await;
        h.broker.send(core(h, &subject, "at once"));
        ensure!(hear(h, &mut listening).await?.payload == "at once");
    }
    Ok(())
}

async fn an_answer_goes_to_who_asked_and_all_answers_are_gathered(h: &Harness) -> anyhow::Result<()> {
    let mut answering = Vec::new();
    for number in 0..3 {
        let broker = h.server.connect(&format!("answering-{number}")).await?;
        let mut questions = broker.subscribe(&h.subject("question")).await;
        let (listening, ready) = tokio::sync::oneshot::channel();
        let probe = h.subject("question");
        answering.push(tokio::spawn(async move {
            // The first question is one's own, to know that the subscription stands.
            broker.send(CoreMessage {
                subject: probe,
                headers: Headers::new(),
                payload: "probe".into(),
                reply: None,
            });
            let mut listening = Some(listening);
            while let Some(question) = questions.next().await {
                if let Some(listening) = listening.take() {
                    let _ = listening.send(());
                }
                let Some(subject) = question.reply else { continue };
                let payload = format!("{number} heard {}", String::from_utf8_lossy(&question.payload));
                broker.send(CoreMessage {
                    subject,
                    headers: Headers::new(),
                    payload: payload.into(),
                    reply: None,
                });
            }
        }));
        ready.await?;
    }
    // In a cluster our node may hear of a subscription on another one a moment later.
    h.until("an answer of everybody", || async {
        let answers = h
            .broker
            .ask(&h.subject("question"), "who?".into(), Duration::from_secs(1))
            .await;
        let mut told: Vec<_> = answers
            .iter()
            .map(|answer| String::from_utf8_lossy(&answer.payload))
            .collect();
        told.sort();
        Ok(told == ["0 heard who?", "1 heard who?", "2 heard who?"])
    })
    .await?;
    answering.iter().for_each(tokio::task::JoinHandle::abort);
    Ok(())
}

async fn a_question_that_nobody_hears_ends_at_once(h: &Harness) -> anyhow::Result<()> {
    let before = h.server.clock().now();
    let answers = h.broker.ask(&h.subject("question"), "".into(), Duration::from_secs(30)).await;
    ensure!(answers.is_empty() && h.server.clock().now().since(before) < Duration::from_secs(10));
    Ok(())
}

async fn listeners_of_a_streams_subjects_hear_refused_writes_too(h: &Harness) -> anyhow::Result<()> {
    h.make(h.write_once("s")).await?;
    let mut listening = h.broker.subscribe(&h.subject("s.>")).await;
    h.broker.publish(h.create("s.a", "stored").with_header("Own", "kept")).await?;
    refused(h.broker.publish(h.create("s.a", "refused")).await)?;
    let heard = hear(h, &mut listening).await?;
    ensure!(heard.payload == "stored" && heard.headers.get("Own") == Some("kept"));
    ensure!(hear(h, &mut listening).await?.payload == "refused");
    let nowhere = h.broker.publish(h.create("elsewhere", "")).await;
    ensure!(nowhere == Err(PublishError::NoStream));
    Ok(())
}

async fn a_stream_republishes_what_it_stores_and_nothing_else(h: &Harness) -> anyhow::Result<()> {
    h.make(StreamSpec {
        republish: Some(republish(h, true)),
        ..h.write_once("s")
    })
    .await?;
    let mut listening = h.broker.subscribe(&h.subject("done.>")).await;
    settle(h, &mut listening).await?;
    h.broker.publish(h.create("s.r1.start", "")).await?;
    h.broker
        .publish(h.create("s.r1.end", "result").with_header("Own", "kept"))
        .await?;
    refused(h.broker.publish(h.create("s.r1.end", "again")).await)?;
    refused(
        h.broker
            .publish_batch(vec![h.create("s.r3.end", ""), h.create("s.r1.end", "")])
            .await,
    )?;
    h.broker
        .publish_batch(vec![h.create("s.r2.end", ""), h.create("s.r2.other", "")])
        .await?;
    let first = hear(h, &mut listening).await?;
    ensure!(first.subject == h.subject("done.r1") && first.payload.is_empty(), "{first:?}");
    ensure!(first.headers.get("Own") == Some("kept"), "{first:?}");
    ensure!(
        first.headers.get("Nats-Subject") == Some(h.subject("s.r1.end").as_str()),
        "{first:?}"
    );
    ensure!(
        first.headers.get("Nats-Sequence") == Some("2") && first.headers.get("Nats-Msg-Size") == Some("6"),
        "{first:?}"
    );
    ensure!(hear(h, &mut listening).await?.subject == h.subject("done.r2"));
    h.silent(&mut listening).await
}

async fn a_stream_republishes_bodies_unless_told_not_to(h: &Harness) -> anyhow::Result<()> {
    h.make(StreamSpec {
        republish: Some(republish(h, false)),
        ..h.plain("s")
    })
    .await?;
    let mut listening = h.broker.subscribe(&h.subject("done.>")).await;
    settle(h, &mut listening).await?;
    h.broker.publish(h.create("s.r1.end", "result")).await?;
    ensure!(hear(h, &mut listening).await?.payload == "result");
    Ok(())
}

async fn a_core_message_on_a_streams_subject_is_stored(h: &Harness) -> anyhow::Result<()> {
    let stream = h.make(h.write_once("s")).await?;
    h.broker.send(core(h, "s.a", "unconditional"));
    h.until("the message", || async { Ok(!h.scan(&stream).await?.is_empty()) })
        .await?;
    h.broker.send(core(h, "s.a", "again"));
    refused(h.broker.publish(h.create("s.a", "create")).await)?;
    ensure!(bodies(&h.scan(&stream).await?) == ["unconditional"]);
    Ok(())
}

fn core(h: &Harness, subject: &str, payload: &str) -> CoreMessage {
    let (subject, payload) = (h.subject(subject), payload.to_owned().into());
    CoreMessage {
        subject,
        headers: Headers::new(),
        payload,
        reply: None,
    }
}

fn republish(h: &Harness, headers_only: bool) -> Republish {
    Republish {
        source: h.subject("s.*.end"),
        destination: h.subject("done.{{wildcard(1)}}"),
        headers_only,
    }
}

async fn hear(h: &Harness, listening: &mut BoxStream<'static, CoreMessage>) -> anyhow::Result<CoreMessage> {
    h.soon("the message", listening.next())
        .await?
        .ok_or_else(|| anyhow::anyhow!("the subscription has ended"))
}

/// Waits until a subscription stands on whatever node it is, by hearing oneself. It must cover `live.settle` or `done.settle`.
async fn settle(h: &Harness, listening: &mut BoxStream<'static, CoreMessage>) -> anyhow::Result<()> {
    for area in ["live", "done"] {
        h.broker.send(core(h, &format!("{area}.settle"), "settle"));
    }
    ensure!(hear(h, listening).await?.payload == "settle");
    // On a cluster the other nodes are told a moment later.
    h.sleep(Duration::from_millis(300)).await;
    Ok(())
}
