//! The simulated server and the real ones agree on what the engine does: the same runs record the same, on one node and on three.

use everstep_nats::managed::{ManagedCluster, ManagedServer, NODES, Options};
use everstep_tests::simulation::{recorded_on, recorded_on_the_simulated_server};
use tokio::runtime::Runtime;

/// Runs of every kind, each compared with its twin.
const RUNS: usize = 14;

async fn agrees(url: &str, replicas: usize, simulated: &std::collections::BTreeMap<String, Vec<String>>) {
    let real = recorded_on(url, replicas).await.expect("a story");
    assert_eq!(real.len(), RUNS);
    for (key, recorded) in &real {
        assert_eq!(
            Some(recorded),
            simulated.get(key),
            "{key:?}: left on the real server, right on the simulated one"
        );
    }
}

#[test]
fn runs_record_the_same_on_one_node() {
    let simulated = recorded_on_the_simulated_server();
    Runtime::new().expect("a runtime").block_on(async {
        let server = ManagedServer::start(Options::default()).await.expect("a server");
        agrees(&server.url(), 1, &simulated).await;
    });
}

#[test]
fn runs_record_the_same_on_three_nodes() {
    let simulated = recorded_on_the_simulated_server();
    Runtime::new().expect("a runtime").block_on(async {
        let cluster = ManagedCluster::start(Options::default()).await.expect("a cluster");
        agrees(&cluster.url(), NODES, &simulated).await;
    });
}
