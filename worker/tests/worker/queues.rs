//! Where tasks come from: slots, several queues, lost streams, and tasks that are not for this worker.

use std::time::Duration;

use everstep_common::ids::QueueName;
use everstep_common::journal::{AttemptError, Entry};
use everstep_common::wire;
use everstep_memory::simulate;
use everstep_worker::{Functions, Options, Worker};

use crate::bench::{Bench, Counter, Registry, echo, queue, slow};

#[test]
fn no_more_tasks_are_pulled_than_there_are_slots() {
    simulate(async {
        let bench = Bench::new().await;
        for number in 0..7 {
            bench.queue_step("f", &format!("s{number}")).await;
        }
        let calls = Counter::default();
        let worker = bench.worker_with(
            "worker",
            slow(&bench.server, Duration::from_secs(60), calls.clone()),
            |options| options.slots = 3,
        );
        bench.pass(Duration::from_secs(50)).await;
        assert_eq!((calls.get(), bench.happened(&["delivered", "task."])), (3, 3));
        bench.drained().await;
        assert_eq!(bench.keys().len(), 7);
        worker.stop().await;
    });
}

#[test]
fn a_busy_queue_neither_waits_for_an_empty_one_nor_starves_another() {
    simulate(async {
        let bench = Bench::new().await;
        let [empty, busy, other] = ["empty", "busy", "other"].map(|name| QueueName::new(name).unwrap());
        for queue in [&empty, &busy, &other] {
            bench.owner.ensure_queue(queue).await.unwrap();
        }
        let calls = Counter::default();
        let worker = bench.worker_with(
            "worker",
            slow(&bench.server, Duration::from_secs(1), calls.clone()),
            |options| {
                options.slots = 16;
                options.queues = vec![empty.clone(), busy.clone(), other.clone()];
            },
        );
        bench.pass(Duration::from_secs(60)).await;
        for number in 0..200 {
            bench
                .owner
                .publish_task(&busy, &bench.task("f", &format!("b{number}")))
                .await
                .unwrap();
        }
        let begin = bench.now();
        bench.pass(Duration::from_secs(5)).await;
        bench.owner.publish_task(&other, &bench.task("f", "lone")).await.unwrap();
        bench.outcome("lone").await;
        // A slot comes free every moment, and the queues take them in turn.
        assert!(bench.now() - begin < Duration::from_secs(8), "{:?}", bench.now() - begin);
        bench.until("all are done", || bench.queued_in(&busy) == 0).await;
        let took = bench.now() - begin;
        assert!(took < Duration::from_secs(200 / 12), "{took:?}");
        worker.stop().await;
    });
}

#[test]
fn queues_that_outnumber_the_slots_are_all_served() {
    simulate(async {
        let bench = Bench::new().await;
        let queues: Vec<_> = (0..5).map(|number| QueueName::new(format!("q{number}")).unwrap()).collect();
        for queue in &queues {
            bench.owner.ensure_queue(queue).await.unwrap();
        }
        let worker = bench.worker_with("worker", echo(), |options| {
            options.slots = 2;
            options.queues = queues.clone();
        });
        for queue in &queues {
            bench
                .owner
                .publish_task(queue, &bench.task("f", queue.as_str()))
                .await
                .unwrap();
            bench.outcome(queue.as_str()).await;
        }
        worker.stop().await;
    });
}

#[test]
fn a_lost_stream_is_bound_to_again_under_its_new_mark() {
    simulate(async {
        let bench = Bench::new().await;
        let worker = bench.worker(echo());
        bench.queue_step("f", "a").await;
        bench.outcome("a").await;
        bench.server.wipe(&bench.owner.names().task_stream(&queue()));
        bench.pass(Duration::from_secs(3)).await;
        bench.owner.ensure_queue(&queue()).await.unwrap();
        bench.queue_step("f", "b").await;
        let begin = bench.now();
        bench.outcome("b").await;
        assert!(bench.now() - begin <= Duration::from_millis(500), "{:?}", bench.now() - begin);
        worker.stop().await;
    });
}

#[test]
fn a_stream_that_came_back_with_another_mark_is_noticed_within_a_pull() {
    simulate(async {
        let bench = Bench::new().await;
        let worker = bench.worker(echo());
        bench.pass(Duration::from_secs(1)).await;
        let stream = bench.owner.names().task_stream(&queue());
        // The old consumer stays, as after a wipe that the owner has not mended to the end.
        bench
            .owner
            .broker()
            .purge(&stream, &bench.owner.names().mark(&queue()))
            .await
            .unwrap();
        bench.pass(Duration::from_secs(6)).await;
        bench.owner.ensure_queue(&queue()).await.unwrap();
        bench.queue_step("f", "a").await;
        let begin = bench.now();
        bench.outcome("a").await;
        assert!(bench.now() - begin <= Duration::from_millis(500), "{:?}", bench.now() - begin);
        worker.stop().await;
    });
}

#[test]
fn a_queue_that_does_not_exist_yet_is_waited_for_without_haste() {
    simulate(async {
        let bench = Bench::new().await;
        let later = QueueName::new("later").unwrap();
        let worker = bench.worker_with("worker", echo(), |options| options.queues = vec![later.clone()]);
        bench.pass(Duration::from_secs(60)).await;
        assert!(
            bench.server.port_calls("worker") < 300,
            "{}",
            bench.server.port_calls("worker")
        );
        bench.owner.ensure_queue(&later).await.unwrap();
        bench.owner.publish_task(&later, &bench.task("f", "a")).await.unwrap();
        bench.outcome("a").await;
        worker.stop().await;
    });
}

#[test]
fn an_idle_worker_asks_little() {
    simulate(async {
        let bench = Bench::new().await;
        let worker = bench.worker(echo());
        bench.pass(Duration::from_secs(300)).await;
        let calls = bench.server.calls("worker");
        assert!(calls.values().sum::<u64>() < 300, "{calls:?}");
        worker.stop().await;
    });
}

#[test]
fn an_unknown_function_is_handed_back_with_growing_delay_and_the_queue_goes_on() {
    simulate(async {
        let bench = Bench::new().await;
        bench.queue_step("unknown", "a").await;
        bench.queue_step("f", "b").await;
        let worker = bench.worker(echo());
        bench.outcome("b").await;
        bench.pass(Duration::from_secs(200)).await;
        // After 1, 2, 4, 8, 16 and then every 30 seconds.
        assert_eq!(
            bench.happened(&["delivered", "task.default.unknown"]),
            11,
            "{}",
            bench.server.history()
        );
        let other = bench.worker_with(
            "other",
            Registry::default().with("unknown", |_, input| async move { Ok(input) }).0,
            |_| {},
        );
        bench.outcome("a").await;
        bench.until("the queue is empty", || bench.queued() == 0).await;
        worker.stop().await;
        other.stop().await;
    });
}

#[test]
fn tasks_that_cannot_be_read_are_recorded_and_removed_and_the_queue_goes_on() {
    simulate(async {
        let bench = Bench::new().await;
        let names = bench.owner.names();
        let (task, other) = (bench.task("f", "a"), bench.task("f", "other"));
        let subject = names.task(&queue(), &task.function, &task.run, &task.key, 4);
        bench.publish_raw(&subject, "garbage").await;
        bench.publish_raw("task.default.who.knows", "garbage").await;
        // Another step's body.
        let subject = names.task(&queue(), &task.function, &task.run, &crate::bench::key("c"), 1);
        bench.publish_raw(&subject, wire::encode(&other).unwrap()).await;
        bench.queue_step("f", "b").await;
        let worker = bench.worker(echo());
        bench.outcome("b").await;
        bench.drained().await;
        for name in ["try.a.4", "try.c.1"] {
            let Some(Entry::Try(attempt)) = bench.entry(name) else {
                panic!("{name} in {:?}", bench.keys())
            };
            assert_eq!((attempt.error, attempt.function.as_str()), (AttemptError::Invalid, "f"));
        }
        assert_eq!(bench.keys().len(), 3);
        assert_eq!(bench.happened(&["acks", "Terminate"]), 3);
        worker.stop().await;
    });
}

#[test]
fn options_that_could_do_nothing_are_refused() {
    simulate(async {
        let bench = Bench::new().await;
        let check = async |set: fn(&mut Options)| {
            let mut options = Options::new(everstep_common::ids::ProcessId::fresh("worker"));
            set(&mut options);
            let worker = Worker::new(
                bench.owner.clone(),
                Functions::new(),
                everstep_worker::Resources::new(),
                options,
            );
            worker.run(std::future::pending()).await.unwrap_err().to_string()
        };
        assert!(check(|options| options.queues.clear()).await.contains("queue"));
        assert!(check(|options| options.slots = 0).await.contains("slot"));
    });
}
