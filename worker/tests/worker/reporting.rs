//! What a running function says, and what a worker answers.

use std::time::Duration;

use bytes::Bytes;
use everstep_common::ids::RunId;
use everstep_common::key::StepKey;
use everstep_common::ports::Clock;
use everstep_common::trace::TraceLinks;
use everstep_common::wire;
use everstep_memory::simulate;
use everstep_worker::{Live, LiveKind};
use futures::StreamExt;
use tracing::Span;

use crate::bench::{Bench, Counter, Notes, decode, function, key, queue, slow};

#[test]
fn heartbeats_and_logs_are_told_to_whoever_watches() {
    simulate(async {
        let bench = Bench::new().await;
        let mut live = bench
            .owner
            .broker()
            .subscribe(&bench.owner.names().live(&bench.run, &key("a")))
            .await;
        bench.queue_step("f", "a").await;
        let worker = bench.worker(function(|context, _| async move {
            context.heartbeat(("rows", 40));
            context.log("half way");
            context.log_at(tracing::Level::WARN, "slow");
            Ok(Bytes::new())
        }));
        bench.outcome("a").await;
        let mut said = Vec::new();
        for _ in 0..3 {
            let live: Live = decode(&live.next().await.unwrap().payload);
            assert_eq!(live.attempt, 1);
            said.push(live.kind);
        }
        let log = |level: &str, message: &str| LiveKind::Log {
            level: level.into(),
            message: message.into(),
        };
        let progress = LiveKind::Progress(wire::encode_value(&("rows", 40)).unwrap());
        assert_eq!(said, [progress, log("info", "half way"), log("warn", "slow")]);
        worker.stop().await;
    });
}

#[test]
fn heartbeats_in_a_tight_loop_acknowledge_once_a_second() {
    simulate(async {
        let bench = Bench::new().await;
        bench.queue_step("f", "a").await;
        let clock = bench.server.clock();
        let worker = bench.worker(function(move |context, _| {
            let clock = clock.clone();
            async move {
                for beat in 0..500 {
                    context.heartbeat(beat);
                    clock.sleep(Duration::from_millis(10)).await;
                }
                Ok(Bytes::new())
            }
        }));
        bench.outcome("a").await;
        assert_eq!(bench.happened(&["acks", "InProgress"]), 5);
        worker.stop().await;
    });
}

#[test]
fn a_worker_tells_what_it_holds() {
    simulate(async {
        let bench = Bench::new().await;
        let calls = Counter::default();
        let worker = bench.worker(slow(&bench.server, Duration::from_secs(60), calls.clone()));
        bench.queue_step("f", "a").await;
        let mut second = bench.task("f", "b");
        second.attempt = 2;
        bench.queue(&second).await;
        bench.until("both run", || calls.get() == 2).await;
        let subject = bench.owner.names().running(&queue());
        let answers = bench
            .owner
            .broker()
            .ask(&subject, Bytes::new(), Duration::from_millis(250))
            .await;
        let held: Vec<(RunId, StepKey, u32)> = decode(&answers[0].payload);
        assert_eq!(
            (answers.len(), held),
            (1, vec![(bench.run.clone(), key("a"), 1), (bench.run.clone(), key("b"), 2)])
        );
        bench.drained().await;
        let answers = bench
            .owner
            .broker()
            .ask(&subject, Bytes::new(), Duration::from_millis(250))
            .await;
        assert!(decode::<Vec<(RunId, StepKey, u32)>>(&answers[0].payload).is_empty());
        worker.stop().await;
    });
}

#[test]
fn the_span_of_a_step_is_linked_to_its_trace_parent_by_whoever_knows_how() {
    const OWN: &str = "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01";
    static LINKED: std::sync::Mutex<Vec<String>> = std::sync::Mutex::new(Vec::new());
    let _subscriber = tracing::subscriber::set_default(tracing_subscriber::registry());
    simulate(async {
        let bench = Bench::new().await;
        let mut task = bench.task("f", "a");
        task.traceparent = Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into());
        bench.queue(&task).await;
        bench.queue_step("f", "without").await;
        let seen = Notes::default();
        let notes = seen.clone();
        let tell = function(move |context, _| {
            notes.add(context.traceparent().unwrap_or_default());
            async { Ok(Bytes::new()) }
        });
        let worker = bench.worker_with("worker", tell, |options| {
            let link = |_: &Span, traceparent: &str| LINKED.lock().unwrap().push(traceparent.to_owned());
            options.trace = TraceLinks::new(link, |_| Some(OWN.to_owned()));
        });
        bench.drained().await;
        assert_eq!(*LINKED.lock().unwrap(), [task.traceparent.unwrap()]);
        assert_eq!(seen.all(), [OWN, OWN], "services that are called come below the step");
        worker.stop().await;
    });
}
