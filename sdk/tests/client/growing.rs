//! A deployment that grows: streams first, then the record, and any number of times.

use everstep_common::store::{Deployment, DeploymentError};
use everstep_memory::{Faults, Nodes, When};
use everstep_nats::TokioClock;

use crate::bench::{Bench, for_seeds};

async fn standing(bench: &Bench) -> Deployment {
    Deployment::load(&bench.port("reader"), &bench.deployment.prefix)
        .await
        .unwrap()
}

#[test]
fn whoever_reads_the_record_finds_every_stream_it_speaks_of() {
    for call in 0..40 {
        for when in [When::Before, When::After] {
            for_seeds(1, async |seed| {
                let bench = Bench::start(Nodes::Three, seed).await;
                let wanted = bench.deployment.clone().grown_to(4);
                let operator = bench.port("operator");
                bench.server.crash_at("operator", call, when);
                tokio::select! {
                    grown = wanted.provision(&operator, &TokioClock) => drop(grown.unwrap()),
                    () = bench.server.died("operator") => {}
                }
                let reader = bench.port("reader");
                for stream in standing(&bench).await.streams() {
                    let found = reader.stream_info(&stream.name).await.unwrap();
                    assert!(found.is_some(), "{} after {call}", stream.name);
                }
                wanted.provision(&bench.port("another operator"), &TokioClock).await.unwrap();
                assert_eq!(standing(&bench).await, wanted);
            });
        }
    }
}

#[test]
fn of_two_who_grow_it_at_once_the_larger_wins() {
    for_seeds(50, async |seed| {
        let bench = Bench::start(Nodes::Three, seed).await;
        bench.server.set_faults(Faults {
            latency: everstep_memory::Span::milliseconds(1, 20),
            answer_lost: 0.05,
            ..Faults::none()
        });
        let grow = async |name: &str, partitions| {
            let broker = bench.port(name);
            let wanted = bench.deployment.clone().grown_to(partitions);
            loop {
                match wanted.provision(&broker, &TokioClock).await {
                    Err(DeploymentError::Topology(_) | DeploymentError::Read(_) | DeploymentError::Write(_)) => {}
                    ended => return ended,
                }
            }
        };
        let (two, four) = futures::join!(grow("a", 2), grow("b", 4));
        assert!(four.is_ok(), "EVERSTEP_SEED={seed}: {four:?}");
        assert!(
            matches!(two, Ok(_) | Err(DeploymentError::Differs { .. })),
            "EVERSTEP_SEED={seed}: {two:?}"
        );
        bench.server.set_faults(Faults::none());
        let standing = standing(&bench).await;
        assert_eq!((standing.partitions, standing.keyed_partitions), (4, 1));
    });
}
