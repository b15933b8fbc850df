//! Values that do not fit into an entry.

use bytes::Bytes;
use everstep_common::failure::FailureKind;
use everstep_common::journal::{AttemptError, Entry, StepResult};
use everstep_common::limits::{PAYLOAD_BYTES_MAX, PAYLOAD_INLINE_BYTES_MAX};
use everstep_common::payload::{Payload, StoredPayload};
use everstep_common::task::Task;
use everstep_memory::simulate;

use crate::bench::{Bench, echo, function};

#[test]
fn large_inputs_and_outputs_go_by_reference() {
    simulate(async {
        let bench = Bench::new().await;
        let large = Bytes::from(vec![7; PAYLOAD_INLINE_BYTES_MAX * 3 + 1]);
        let input = bench.owner.put_payload(&bench.run, "start", large.clone()).await.unwrap();
        bench
            .queue(&Task {
                input,
                ..bench.task("f", "a")
            })
            .await;
        let worker = bench.worker(echo());
        let StepResult::Value(value) = bench.outcome("a").await.result else {
            panic!("a value")
        };
        assert!(matches!(&value, Payload::Stored(stored) if stored.owner == "a" && stored.chunks() == 4));
        assert_eq!(bench.owner.get_payload(&bench.run, &value).await.unwrap(), large);
        worker.stop().await;
    });
}

#[test]
fn a_value_over_the_limit_fails_the_step_and_says_so() {
    simulate(async {
        let bench = Bench::new().await;
        bench.queue_step("f", "a").await;
        let worker = bench.worker(function(|_, _| async { Ok(Bytes::from(vec![0; PAYLOAD_BYTES_MAX + 1])) }));
        let StepResult::Failure(failure) = bench.outcome("a").await.result else {
            panic!("a failure")
        };
        assert_eq!(failure.kind, FailureKind::Invalid);
        assert!(failure.message.contains("over the limit"), "{}", failure.message);
        bench.drained().await;
        worker.stop().await;
    });
}

#[test]
fn an_input_that_is_not_there_fails_the_attempt() {
    simulate(async {
        let bench = Bench::new().await;
        let stored = StoredPayload {
            owner: "start".into(),
            digest: "00".repeat(32),
            bytes: 400_000,
        };
        bench
            .queue(&Task {
                input: Payload::Stored(stored),
                ..bench.task("f", "a")
            })
            .await;
        let worker = bench.worker(echo());
        bench.drained().await;
        let Some(Entry::Try(attempt)) = bench.entry("try.a.1") else {
            panic!("a failed attempt")
        };
        assert_eq!(attempt.error, AttemptError::Invalid);
        worker.stop().await;
    });
}
