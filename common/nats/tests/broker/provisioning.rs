//! Streams and consumers: made once, compared for ever, never changed.

use std::time::Duration;

use everstep_common::ports::{Broker, Ensured, TopologyError};
use everstep_common::store::TASK_STREAM_BYTES_MAX;
use everstep_common::topology::{ConsumerSpec, Discard, Republish, Retention, Storage, StreamSpec};

use crate::support::{connected, consumer_spec, server, tasks_spec};

fn bucket() -> StreamSpec {
    StreamSpec {
        description: "what it is for".to_owned(),
        max_messages_per_subject: 1,
        discard: Discard::New,
        discard_new_per_subject: true,
        max_bytes: 1 << 20,
        allow_atomic: true,
        deny_delete: true,
        republish: Some(Republish {
            source: "$KV.b.*.end".into(),
            destination: "done.{{wildcard(1)}}".into(),
            headers_only: true,
        }),
        ..StreamSpec::new("KV_b", ["$KV.b.>".to_owned()], 1)
    }
}

#[tokio::test]
async fn a_managed_server_has_room_for_many_queues() {
    let (_server, broker) = server().await;
    for number in 0..50 {
        let queue = StreamSpec {
            name: format!("TASKS_{number}"),
            subjects: vec![format!("task.{number}.>")],
            max_bytes: TASK_STREAM_BYTES_MAX,
            ..tasks_spec(Storage::Memory)
        };
        assert_eq!(broker.ensure_stream(&queue).await, Ok(Ensured::Created), "queue {number}");
    }
}

#[tokio::test]
async fn a_stream_is_made_once_and_then_found_as_wanted() {
    let (_server, broker) = server().await;
    let schedules = StreamSpec {
        allow_schedules: true,
        ..StreamSpec::new("TIMERS", ["a.>".to_owned(), "b.>".to_owned()], 1)
    };
    for spec in [bucket(), tasks_spec(Storage::Memory), schedules] {
        assert_eq!(broker.ensure_stream(&spec).await, Ok(Ensured::Created));
        assert_eq!(broker.ensure_stream(&spec).await, Ok(Ensured::Existed));
        let reworded = StreamSpec {
            description: "other words".to_owned(),
            ..spec
        };
        assert_eq!(broker.ensure_stream(&reworded).await, Ok(Ensured::Existed));
    }
}

#[tokio::test]
async fn each_field_that_differs_is_named_and_nothing_is_changed() {
    let (_server, broker) = server().await;
    broker.ensure_stream(&bucket()).await.unwrap();
    let others = [
        (
            "subjects",
            StreamSpec {
                subjects: vec!["$KV.c.>".into()],
                ..bucket()
            },
        ),
        (
            "retention",
            StreamSpec {
                retention: Retention::WorkQueue,
                ..bucket()
            },
        ),
        (
            "storage",
            StreamSpec {
                storage: Storage::Memory,
                ..bucket()
            },
        ),
        ("num_replicas", StreamSpec { replicas: 3, ..bucket() }),
        (
            "max_msgs_per_subject",
            StreamSpec {
                max_messages_per_subject: -1,
                ..bucket()
            },
        ),
        (
            "max_bytes",
            StreamSpec {
                max_bytes: -1,
                ..bucket()
            },
        ),
        (
            "discard",
            StreamSpec {
                discard: Discard::Old,
                ..bucket()
            },
        ),
        (
            "discard_new_per_subject",
            StreamSpec {
                discard_new_per_subject: false,
                ..bucket()
            },
        ),
        (
            "allow_direct",
            StreamSpec {
                allow_direct: false,
                ..bucket()
            },
        ),
        (
            "allow_atomic",
            StreamSpec {
                allow_atomic: false,
                ..bucket()
            },
        ),
        (
            "allow_msg_schedules",
            StreamSpec {
                allow_schedules: true,
                ..bucket()
            },
        ),
        (
            "deny_delete",
            StreamSpec {
                deny_delete: false,
                ..bucket()
            },
        ),
        (
            "republish",
            StreamSpec {
                republish: None,
                ..bucket()
            },
        ),
    ];
    for (field, other) in others {
        let Err(TopologyError::Differs { name, differences }) = broker.ensure_stream(&other).await else {
            panic!("{field}")
        };
        assert_eq!(name, "KV_b");
        let [difference] = &differences[..] else {
            panic!("{differences:?}")
        };
        assert!(
            difference.starts_with(&format!("{field}: wanted ")) && difference.contains(", found "),
            "{difference}"
        );
    }
    assert_eq!(broker.ensure_stream(&bucket()).await, Ok(Ensured::Existed));
}

#[tokio::test]
async fn what_the_server_refuses_is_rejected_with_its_words() {
    let (_server, broker) = server().await;
    let impossible = StreamSpec {
        allow_schedules: true,
        ..bucket()
    };
    let Err(TopologyError::Rejected { name, reason }) = broker.ensure_stream(&impossible).await else {
        panic!()
    };
    assert!(name == "KV_b" && reason.contains("schedul"), "{reason}");
    broker.ensure_stream(&bucket()).await.unwrap();
    let overlapping = StreamSpec::new("OTHER", ["$KV.b.x".to_owned()], 1);
    assert!(matches!(
        broker.ensure_stream(&overlapping).await,
        Err(TopologyError::Rejected { .. })
    ));
    let homeless = broker.ensure_consumer("NONE", &consumer_spec(Duration::from_secs(30))).await;
    assert!(matches!(homeless, Err(TopologyError::Rejected { .. })), "{homeless:?}");
}

#[tokio::test]
async fn many_at_once_make_one_stream_and_one_consumer() {
    let (server, broker) = server().await;
    let others = futures::future::join_all((0..5).map(|_| connected(&server))).await;
    let ensured = futures::future::join_all(others.iter().map(|other| other.ensure_stream(&bucket()))).await;
    assert!(ensured.iter().all(Result::is_ok), "{ensured:?}");
    broker.ensure_stream(&tasks_spec(Storage::Memory)).await.unwrap();
    let consumer = consumer_spec(Duration::from_secs(30));
    let ensured = futures::future::join_all(others.iter().map(|other| other.ensure_consumer("T", &consumer))).await;
    assert!(ensured.iter().all(Result::is_ok), "{ensured:?}");
    assert_eq!(broker.consumers("T").await.unwrap(), ["c"]);
}

#[tokio::test]
async fn a_consumer_is_made_compared_listed_and_deleted() {
    let (_server, broker) = server().await;
    broker.ensure_stream(&tasks_spec(Storage::Memory)).await.unwrap();
    let spec = consumer_spec(Duration::from_secs(30));
    assert_eq!(broker.ensure_consumer("T", &spec).await, Ok(Ensured::Created));
    assert_eq!(broker.ensure_consumer("T", &spec).await, Ok(Ensured::Existed));
    let others = [
        (
            "ack_wait",
            ConsumerSpec {
                ack_wait: Duration::from_secs(5),
                ..spec.clone()
            },
        ),
        (
            "filter_subject",
            ConsumerSpec {
                filter: "t.x.>".to_owned(),
                ..spec.clone()
            },
        ),
    ];
    for (field, other) in others {
        let Err(TopologyError::Differs { differences, .. }) = broker.ensure_consumer("T", &other).await else {
            panic!("{field}")
        };
        assert!(differences.len() == 1 && differences[0].starts_with(field), "{differences:?}");
    }
    assert_eq!(broker.consumers("T").await.unwrap(), ["c"]);
    broker.delete_consumer("T", "c").await.unwrap();
    broker.delete_consumer("T", "c").await.unwrap();
    assert_eq!(broker.consumers("T").await.unwrap(), Vec::<String>::new());
}
