//! A managed cluster of three: it has a leader when it says so, and goes on without any one node.

use std::collections::HashSet;
use std::time::Duration;

use async_nats::ServerAddr;
use async_nats::jetstream;
use everstep_common::ports::{Broker, Ensured};
use everstep_common::topology::StreamSpec;
use everstep_nats::managed::{ManagedCluster, NODES, Options};
use everstep_nats::{ConnectOptions, NatsBroker};

async fn connect(cluster: &ManagedCluster) -> jetstream::Context {
    let addresses: Vec<ServerAddr> = cluster.url().split(',').map(|url| url.parse().unwrap()).collect();
    jetstream::new(async_nats::connect(addresses).await.unwrap())
}

/// Makes the stream `S` on all nodes.
async fn make_stream(cluster: &ManagedCluster) {
    let broker = NatsBroker::connect(ConnectOptions::to(cluster.url())).await.unwrap();
    let made = broker.ensure_stream(&StreamSpec::new("S", ["s".to_owned()], NODES)).await;
    assert_eq!(made, Ok(Ensured::Created));
}

/// Publishes until it is acknowledged: a node may not have heard yet where a new leader listens.
async fn publish(client: &jetstream::Context) {
    let published = async {
        let mut poll = tokio::time::interval(Duration::from_millis(5));
        while async { client.publish("s", "x".into()).await?.await }.await.is_err() {
            poll.tick().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), published)
        .await
        .expect("the stream has a leader");
}

/// How many messages the stream holds, once its leader answers.
async fn stored(client: &jetstream::Context) -> u64 {
    let answered = async {
        let mut poll = tokio::time::interval(Duration::from_millis(50));
        loop {
            match client.get_stream("S").await {
                Ok(stream) => return stream.cached_info().state.messages,
                Err(_) => poll.tick().await,
            };
        }
    };
    tokio::time::timeout(Duration::from_secs(60), answered)
        .await
        .expect("the stream has a leader")
}

#[tokio::test]
async fn a_started_cluster_takes_a_replicated_stream_at_once() {
    let cluster = ManagedCluster::start(Options::default()).await.unwrap();

    make_stream(&cluster).await;

    let mut stream = connect(&cluster).await.get_stream("S").await.unwrap();
    let replicas = stream.info().await.unwrap().cluster.clone().unwrap().replicas;
    assert_eq!(1 + replicas.len(), NODES);
    assert!(cluster.leader().await.is_some());
    let pids: HashSet<_> = (0..NODES).map(|node| cluster.pid(node).unwrap()).collect();
    assert_eq!(pids.len(), NODES);
}

#[tokio::test]
async fn acknowledged_writes_survive_the_death_of_each_node_in_turn() {
    let mut cluster = ManagedCluster::start(Options::default()).await.unwrap();
    make_stream(&cluster).await;
    for node in 0..NODES {
        cluster.kill(node);
        assert_eq!(cluster.pid(node), None);
        cluster.ready().await.unwrap();
        publish(&connect(&cluster).await).await;

        cluster.restart(node).await.unwrap();
        assert!(cluster.pid(node).is_some());
    }
    assert!(stored(&connect(&cluster).await).await >= NODES as u64);
}

#[tokio::test]
async fn a_cluster_killed_as_a_whole_comes_back_with_what_it_stored() {
    let mut cluster = ManagedCluster::start(Options::default()).await.unwrap();
    let url = cluster.url();
    let client = connect(&cluster).await;
    make_stream(&cluster).await;
    publish(&client).await;

    cluster.restart_all().await.unwrap();

    assert_eq!(cluster.url(), url);
    assert!(stored(&connect(&cluster).await).await >= 1);
}
