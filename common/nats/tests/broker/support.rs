//! A server of its own per test, the streams that tests use, and waiting with a deadline.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use everstep_common::ports::{Broker, Publish};
use everstep_common::topology::{ConsumerSpec, Discard, Durability, Retention, Storage, StreamSpec};
use everstep_nats::managed::{ManagedServer, Options};
use everstep_nats::{ConnectOptions, NatsBroker};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// The longest that anything here may take.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// A fresh server and a connection to it. It syncs now and then, not with each write: where a sync takes 4 ms, thousands of publishes at once
/// would outlast their answers.
pub(crate) async fn server() -> (ManagedServer, Arc<NatsBroker>) {
    let server = ManagedServer::start(Options::with_durability(Durability::Relaxed))
        .await
        .unwrap();
    let broker = connected(&server).await;
    (server, broker)
}

/// One more connection to `server`.
pub(crate) async fn connected(server: &ManagedServer) -> Arc<NatsBroker> {
    NatsBroker::connect(ConnectOptions::to(server.url())).await.unwrap()
}

/// A write-once stream `J` on `j.>`, as the journal is.
pub(crate) async fn journal(broker: &NatsBroker) {
    broker.ensure_stream(&journal_spec(1)).await.unwrap();
}

pub(crate) fn journal_spec(replicas: usize) -> StreamSpec {
    StreamSpec {
        max_messages_per_subject: 1,
        discard: Discard::New,
        discard_new_per_subject: true,
        allow_atomic: true,
        deny_delete: true,
        ..StreamSpec::new("J", ["j.>".to_owned()], replicas)
    }
}

/// A stream `H` on `h.>` that keeps every message.
pub(crate) async fn history(broker: &NatsBroker) {
    broker
        .ensure_stream(&StreamSpec::new("H", ["h.>".to_owned()], 1))
        .await
        .unwrap();
}

/// A memory-backed work queue `T` on `t.>` with the consumer `c`.
pub(crate) async fn tasks(broker: &NatsBroker) {
    broker.ensure_stream(&tasks_spec(Storage::Memory)).await.unwrap();
    broker
        .ensure_consumer("T", &consumer_spec(Duration::from_secs(30)))
        .await
        .unwrap();
}

pub(crate) fn tasks_spec(storage: Storage) -> StreamSpec {
    StreamSpec {
        retention: Retention::WorkQueue,
        storage,
        ..StreamSpec::new("T", ["t.>".to_owned()], 1)
    }
}

pub(crate) fn consumer_spec(ack_wait: Duration) -> ConsumerSpec {
    ConsumerSpec {
        name: "c".to_owned(),
        filter: "t.>".to_owned(),
        ack_wait,
    }
}

/// Stores `<prefix>.<n>` for each `n`, whose body is `n`.
pub(crate) async fn fill(broker: &NatsBroker, prefix: &str, numbers: std::ops::Range<u32>) {
    let numbers: Vec<u32> = numbers.collect();
    // Not all at once: each has to be answered in its time, on a busy machine too.
    for some in numbers.chunks(500) {
        let stored = some
            .iter()
            .map(|n| broker.publish(Publish::new(format!("{prefix}.{n}"), n.to_string())));
        for stored in futures::future::join_all(stored).await {
            stored.unwrap();
        }
    }
}

/// What `future` brings, before [`DEADLINE`].
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.expect("took too long")
}

/// Asks again until the answer is `Some`.
pub(crate) async fn until<T>(mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    soon(async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::task::yield_now().await;
        }
    })
    .await
}

/// Deletes a stream, which the port does not offer.
pub(crate) async fn delete_stream(server: &ManagedServer, stream: &str) {
    request(server, &format!("STREAM.DELETE.{stream}"), &serde_json::json!({})).await;
}

/// Asks the JetStream API for what the port does not offer.
pub(crate) async fn request(server: &ManagedServer, verb: &str, question: &serde_json::Value) {
    let client = async_nats::connect(server.url()).await.unwrap();
    let answer = client
        .request(format!("$JS.API.{verb}"), question.to_string().into())
        .await
        .unwrap();
    let answer: serde_json::Value = serde_json::from_slice(&answer.payload).unwrap();
    assert!(answer.get("error").is_none(), "{verb}: {answer}");
}

/// Copies the JetStream folder of a stopped server.
pub(crate) fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").arg(from.join(".")).arg(to).status().unwrap();
    assert!(copied.success());
}

/// Greets as nats-server 2.9.25 does, and answers pings.
pub(crate) async fn pretend_to_be_an_old_server(listener: TcpListener) {
    let (mut socket, _) = listener.accept().await.unwrap();
    let info = br#"INFO {"server_id":"old","version":"2.9.25","max_payload":1048576,"headers":true,"jetstream":true}"#;
    socket.write_all(info).await.unwrap();
    socket.write_all(b"\r\n").await.unwrap();
    let mut buffer = [0; 4096];
    while let Ok(1..) = socket.read(&mut buffer).await {
        if socket.write_all(b"PONG\r\n").await.is_err() {
            return;
        }
    }
}

/// Stands before a server: it loses its first connection when that asks for JetStream, and carries the second.
pub(crate) async fn lose_the_first_question(listener: TcpListener, server: String) {
    for loses in [true, false] {
        let (mut client, _) = listener.accept().await.unwrap();
        let mut server = TcpStream::connect(&server).await.unwrap();
        if loses {
            let (mut from_client, mut to_client) = client.split();
            let (mut from_server, mut to_server) = server.split();
            let answers = tokio::io::copy(&mut from_server, &mut to_client);
            let questions = async {
                let mut said = Vec::new();
                while !String::from_utf8_lossy(&said).contains("$JS.API.INFO") {
                    let before = said.len();
                    from_client.read_buf(&mut said).await.unwrap();
                    to_server.write_all(&said[before..]).await.unwrap();
                }
            };
            tokio::select! {
                _ = answers => panic!("the server hangs up"),
                () = questions => {}
            }
        } else {
            // Until the test is over.
            let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
        }
    }
}

/// Puts back what [`copy`] saved.
pub(crate) fn restore(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from)
        .unwrap()
        .map(Result::unwrap)
        .filter(|entry| entry.path().is_dir())
    {
        let target = to.join(entry.file_name());
        std::fs::remove_dir_all(&target).unwrap();
        std::fs::create_dir(&target).unwrap();
        copy(&entry.path(), &target);
    }
}
