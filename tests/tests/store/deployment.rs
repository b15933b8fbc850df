//! Provisioning: as often as one likes, and never over something that is another one.

use std::sync::Arc;
use std::time::Duration;

use everstep_common::ids::Prefix;
use everstep_common::ports::{Broker, Ensured, Publish};
use everstep_common::store::{Deployment, DeploymentError};
use everstep_common::topology::Durability;
use everstep_memory::{Faults, MemoryServer, Nodes, simulate};
use everstep_nats::TokioClock;

use crate::bench::port;

fn shop() -> Deployment {
    Deployment::single_node(Prefix::new("shop").expect("a prefix")).with_partitions(2)
}

/// Runs a test on a server that holds nothing yet.
fn on_empty(test: impl AsyncFnOnce(&MemoryServer, Arc<dyn Broker>) -> anyhow::Result<()>) -> anyhow::Result<()> {
    simulate(async {
        let server = MemoryServer::start(Nodes::One, 1, Faults::none());
        let broker = port(server.connect("operator"));
        test(&server, broker).await
    })
}

#[test]
fn provisioning_twice_changes_nothing() -> anyhow::Result<()> {
    on_empty(async |_, broker| {
        let first = shop().provision(&broker, &TokioClock).await?;
        assert!(first.iter().all(|(_, did)| *did == Ensured::Created));
        let names: Vec<&str> = first.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(
            names,
            [
                "KV_shop_leases",
                "KV_shop_runs",
                "KV_shop_limits",
                "KV_shop_sessions",
                "KV_shop_triggers",
                "SHOP_EVENTS",
                "SHOP_TRIGGERS",
                "SHOP_PAYLOADS",
                "KV_shop_checkpoints_0",
                "SHOP_TIMERS_0",
                "KV_shop_checkpoints_1",
                "SHOP_TIMERS_1",
            ]
        );
        let second = shop().provision(&broker, &TokioClock).await?;
        assert!(second.iter().all(|(_, did)| *did == Ensured::Existed));
        assert_eq!(Deployment::load(&broker, &shop().prefix).await?, shop());
        Ok(())
    })
}

#[test]
fn nothing_provisioned_is_told_with_what_to_do() -> anyhow::Result<()> {
    on_empty(async |server, broker| {
        let missing = |error: DeploymentError| {
            assert!(matches!(error, DeploymentError::Missing { .. }), "{error:?}");
            let told = error.to_string();
            assert!(
                told.contains("prefix \"shop\"") && told.contains("`everstep provision`"),
                "{told}"
            );
        };
        missing(Deployment::load(&broker, &shop().prefix).await.unwrap_err());
        let bucket = shop().streams().remove(0);
        broker.ensure_stream(&bucket).await?;
        missing(Deployment::load(&broker, &shop().prefix).await.unwrap_err());
        assert!(server.messages(&bucket.name).is_empty());
        Ok(())
    })
}

#[test]
fn deployments_of_other_prefixes_do_not_meet() -> anyhow::Result<()> {
    on_empty(async |_, broker| {
        shop().provision(&broker, &TokioClock).await?;
        let plain = Deployment::single_node(Prefix::none());
        plain.provision(&broker, &TokioClock).await?;
        assert_eq!(Deployment::load(&broker, &plain.prefix).await?, plain);
        assert_eq!(Deployment::load(&broker, &shop().prefix).await?, shop());
        Ok(())
    })
}

#[test]
fn a_stream_that_differs_is_named_field_by_field() -> anyhow::Result<()> {
    on_empty(async |_, broker| {
        let mut journal = shop()
            .streams()
            .into_iter()
            .find(|stream| stream.name == "KV_shop_checkpoints_1")
            .expect("it is one");
        journal.max_messages_per_subject = 5;
        journal.deny_delete = false;
        broker.ensure_stream(&journal).await?;
        let error = shop().provision(&broker, &TokioClock).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "KV_shop_checkpoints_1 exists with another configuration: \
             max_messages_per_subject: wanted 1, found 5; deny_delete: wanted true, found false"
        );
        Ok(())
    })
}

#[test]
fn a_deployment_that_differs_is_named_field_by_field() -> anyhow::Result<()> {
    on_empty(async |_, broker| {
        shop().provision(&broker, &TokioClock).await?;
        let other = Deployment {
            keyed_partitions: 1,
            ..shop().with_durability(Durability::Relaxed)
        };
        let error = other.provision(&broker, &TokioClock).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "the deployment exists with other settings: keyed_partitions: wanted 1, found 2; durability: wanted Relaxed, found Strict"
        );
        assert_eq!(Deployment::load(&broker, &shop().prefix).await?, shop());
        Ok(())
    })
}

#[test]
fn settings_out_of_range_are_refused_before_anything_is_made() -> anyhow::Result<()> {
    let cases = [
        (shop().with_partitions(0), "partitions is 0, and must be from 1 to 1024"),
        (shop().with_partitions(1_025), "partitions is 1025"),
        (
            Deployment {
                keyed_partitions: 3,
                ..shop()
            },
            "keyed_partitions is 3, and must be from 1 to partitions (2)",
        ),
        (
            Deployment {
                keyed_partitions: 0,
                ..shop()
            },
            "keyed_partitions is 0",
        ),
        (shop().with_replicas(0), "replicas is 0, and must be from 1 to 5"),
        (shop().with_replicas(6), "replicas is 6"),
        (
            shop().with_ack_wait(Duration::from_millis(999)),
            "ack_wait is 999ms, and must be at least 1s",
        ),
    ];
    for (deployment, told) in cases {
        on_empty(async |server, broker| {
            let error = deployment.provision(&broker, &TokioClock).await.unwrap_err();
            assert!(matches!(error, DeploymentError::Invalid(_)), "{error:?}");
            assert!(error.to_string().contains(told), "{error}");
            assert!(server.stream_info("KV_shop_leases").is_none());
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn more_replicas_than_nodes_is_the_servers_refusal() -> anyhow::Result<()> {
    on_empty(async |_, broker| {
        let error = shop().with_replicas(3).provision(&broker, &TokioClock).await.unwrap_err();
        assert!(error.to_string().contains("KV_shop_leases"), "{error}");
        Ok(())
    })
}

#[test]
fn a_record_of_a_later_version_says_to_upgrade() -> anyhow::Result<()> {
    on_empty(async |_, broker| {
        broker.ensure_stream(&shop().streams().remove(0)).await?;
        broker
            .publish(Publish::new("$KV.shop_leases.deployment", &b"\x02anything"[..]))
            .await?;
        let error = Deployment::load(&broker, &shop().prefix).await.unwrap_err();
        assert!(matches!(error, DeploymentError::Undecodable(_)), "{error:?}");
        assert!(error.to_string().contains("upgrade it"), "{error}");
        Ok(())
    })
}

#[test]
fn provisioning_is_done_again_after_any_lost_answer() -> anyhow::Result<()> {
    for seed in 0..50 {
        simulate(async {
            let faults = Faults {
                answer_lost: 0.1,
                request_lost: 0.1,
                ..Faults::none()
            };
            let server = MemoryServer::start(Nodes::One, seed, faults);
            let broker = port(server.connect("operator"));
            while let Err(error) = shop().provision(&broker, &TokioClock).await {
                let is_passing = matches!(
                    error,
                    DeploymentError::Topology(_) | DeploymentError::Read(_) | DeploymentError::Write(_)
                );
                assert!(is_passing, "EVERSTEP_SEED={seed}: {error:?}");
            }
            server.set_faults(Faults::none());
            assert_eq!(Deployment::load(&broker, &shop().prefix).await?, shop());
            anyhow::Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn a_record_that_never_arrived_is_not_called_a_missing_deployment() -> anyhow::Result<()> {
    on_empty(async |server, broker| {
        shop().provision(&broker, &TokioClock).await?;
        broker.purge("KV_shop_leases", "$KV.shop_leases.deployment").await?;
        server.fill_disk(true);
        let error = shop().provision(&broker, &TokioClock).await.unwrap_err();
        assert!(matches!(error, DeploymentError::Write(_)), "{error:?}");
        server.fill_disk(false);
        shop().provision(&broker, &TokioClock).await?;
        Ok(())
    })
}
