//! The configurations in `deploy/`: a real server takes them, and each role may do its work and not another's.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use everstep_nats::managed::{ManagedServer, Options, find_server};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

fn deploy(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy").join(file)
}

/// What the configurations take from the environment.
const ENVIRONMENT: [(&str, &str); 4] = [
    ("EVERSTEP_NODE", "node-1"),
    ("EVERSTEP_ORCHESTRATOR_PASSWORD", "orchestrator-secret"),
    ("EVERSTEP_WORKER_PASSWORD", "worker-secret"),
    ("EVERSTEP_CLIENT_PASSWORD", "client-secret"),
];

#[test]
fn the_server_takes_each_configuration() {
    for file in ["single-node.conf", "three-nodes.conf"] {
        let output = Command::new(find_server(None).unwrap())
            .arg("-t")
            .arg("-c")
            .arg(deploy(file))
            .envs(ENVIRONMENT)
            .output()
            .unwrap();
        let printed = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && printed.contains("is valid"), "{file}: {printed}");
    }
}

#[test]
fn a_configuration_without_passwords_is_refused() {
    let mut check = Command::new(find_server(None).unwrap());
    check.arg("-t").arg("-c").arg(deploy("single-node.conf"));
    for (name, _) in ENVIRONMENT {
        check.env_remove(name);
    }
    let output = check.output().unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("EVERSTEP_ORCHESTRATOR_PASSWORD"));
}

#[test]
fn both_levels_of_durability_are_spelled_out_and_strict_is_on() {
    let text = std::fs::read_to_string(deploy("jetstream.conf")).unwrap();
    assert!(text.contains("\n    sync_interval: always\n"));
    assert!(text.contains("relaxed: write 100ms instead"));
}

const RUN: &str = "$KV.checkpoints_3.3-0123456789abcdef0123456789abcdef";

#[tokio::test]
async fn a_worker_writes_how_steps_went_and_nothing_else() {
    let may = [
        format!("{RUN}.step.charge"),
        format!("{RUN}.try.charge.1"),
        format!("{RUN}.begun.charge.1.2"),
        "payload.r.step=2Echarge.d.0".to_owned(),
        "live.r.charge".to_owned(),
        "$JS.API.CONSUMER.MSG.NEXT.TASKS_default.workers_1".to_owned(),
        "$JS.ACK.TASKS_default.workers_1.1.1.1.1.0".to_owned(),
        "$JS.API.DIRECT.GET.KV_checkpoints_3".to_owned(),
    ];
    let may_not = [
        format!("{RUN}.start"),
        format!("{RUN}.in.x"),
        format!("{RUN}.end"),
        format!("{RUN}.timer.t"),
        format!("{RUN}.local.l"),
        format!("{RUN}.gone"),
        "$KV.leases.step.x".to_owned(),
        "$KV.leases.lease.0".to_owned(),
        "$KV.runs.r.step.x".to_owned(),
        "timer.3.r.sleep.t".to_owned(),
        "task.default.f.r.charge.1".to_owned(),
        "$JS.API.CONSUMER.MSG.NEXT.TASKS_other.workers_1".to_owned(),
        "$JS.ACK.TASKS_other.workers_1.1.1.1.1.0".to_owned(),
        "$JS.API.STREAM.PURGE.TASKS_default".to_owned(),
        "$JS.API.STREAM.UPDATE.KV_checkpoints_3".to_owned(),
        "$JS.API.CONSUMER.CREATE.KV_checkpoints_3.x".to_owned(),
    ];
    check(
        "worker",
        &may,
        &may_not,
        &["_INBOX.x", "cancel.default", "running.default"],
        &["$KV.checkpoints_3.>", "task.>", ">"],
    )
    .await;
}

#[tokio::test]
async fn a_client_starts_runs_and_speaks_to_them_and_never_says_how_a_step_went() {
    let may = [
        format!("{RUN}.start"),
        format!("{RUN}.in.x"),
        format!("{RUN}.in.answer.wait.somebody"),
        "payload.r.start.d.0".to_owned(),
        "view.3.r".to_owned(),
        "$JS.API.DIRECT.GET.KV_sessions".to_owned(),
        "$JS.API.CONSUMER.CREATE.KV_runs.x".to_owned(),
        "$JS.API.CONSUMER.CREATE.KV_limits.x".to_owned(),
        "$JS.API.DIRECT.GET.KV_runs".to_owned(),
    ];
    let may_not = [
        format!("{RUN}.step.charge"),
        format!("{RUN}.try.charge.1"),
        format!("{RUN}.begun.charge.1.1"),
        format!("{RUN}.end"),
        "$KV.runs.r.start".to_owned(),
        "$KV.leases.r.in.x".to_owned(),
        "$KV.sessions.r.start".to_owned(),
        "$KV.limits.set.start".to_owned(),
        "task.default.f.r.charge.1".to_owned(),
        "live.r.charge".to_owned(),
        "$JS.API.CONSUMER.MSG.NEXT.TASKS_default.workers_1".to_owned(),
        "$JS.API.CONSUMER.CREATE.TASKS_default.x".to_owned(),
        "$JS.API.STREAM.PURGE.KV_runs".to_owned(),
        "$JS.API.STREAM.DELETE.KV_runs".to_owned(),
    ];
    check(
        "client",
        &may,
        &may_not,
        &["_INBOX.x", "done.3.*", "live.r.*"],
        &["task.>", "running.default", ">"],
    )
    .await;
}

#[tokio::test]
async fn an_orchestrator_drives_and_provisions_and_deletes_no_stream() {
    let may = [
        format!("{RUN}.end"),
        format!("{RUN}.timer.t"),
        "$KV.leases.lease.0".to_owned(),
        "$KV.runs.r".to_owned(),
        "$KV.sessions.s.k".to_owned(),
        "task.default.f.r.charge.1".to_owned(),
        "mark.default".to_owned(),
        "timer.3.r.sleep.t".to_owned(),
        "cancel.default".to_owned(),
        "running.default".to_owned(),
        "$JS.API.STREAM.CREATE.KV_runs".to_owned(),
        "$JS.API.STREAM.PURGE.TASKS_default".to_owned(),
        "$JS.ACK.TIMERS_3.owner.1.1.1.1.0".to_owned(),
    ];
    let may_not = ["$JS.API.STREAM.DELETE.KV_runs".to_owned(), "anything.else".to_owned()];
    check(
        "orchestrator",
        &may,
        &may_not,
        &["_INBOX.x", "done.3.*", "view.3.*"],
        &["task.>", ">"],
    )
    .await;
}

/// Not what we would like, but what `deploy/README.md` warns of: whoever is not trusted that far needs an account of his own.
#[tokio::test]
async fn an_answer_can_be_sent_where_its_asker_may_not_write() {
    let server = start().await;
    let options = async_nats::ConnectOptions::with_user_and_password("orchestrator".into(), "orchestrator-secret".into());
    let jetstream = async_nats::jetstream::new(options.connect(server.url()).await.unwrap());
    let config = async_nats::jetstream::stream::Config {
        name: "KV_checkpoints_3".into(),
        subjects: vec!["$KV.checkpoints_3.>".into()],
        ..Default::default()
    };
    let stream = jetstream.create_stream(config).await.unwrap();
    let forbidden = format!("{RUN}.end");

    let mut worker = Connection::open(&server, "worker").await;
    assert!(worker.publish(&forbidden).await.is_some());
    assert_eq!(worker.send(&format!("PUB $JS.API.INFO {forbidden} 0\r\n\r\n")).await, None);

    let stored = async {
        let mut poll = tokio::time::interval(Duration::from_millis(5));
        while stream.get_last_raw_message_by_subject(&forbidden).await.is_err() {
            poll.tick().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), stored)
        .await
        .expect("the server wrote it for the worker");
}

/// Tries every subject as this role and compares with what the server allows.
async fn check(role: &str, may_publish: &[String], may_not_publish: &[String], may_hear: &[&str], may_not_hear: &[&str]) {
    let server = start().await;
    let mut connection = Connection::open(&server, role).await;
    for subject in may_publish {
        assert_eq!(connection.publish(subject).await, None, "{role} may publish {subject}");
    }
    for subject in may_not_publish {
        let refusal = connection
            .publish(subject)
            .await
            .unwrap_or_else(|| panic!("{role} must not publish {subject}"));
        assert!(refusal.contains("Permissions Violation for Publish"), "{refusal}");
    }
    for subject in may_hear {
        assert_eq!(connection.subscribe(subject).await, None, "{role} may subscribe to {subject}");
    }
    for subject in may_not_hear {
        let refusal = connection
            .subscribe(subject)
            .await
            .unwrap_or_else(|| panic!("{role} must not subscribe to {subject}"));
        assert!(refusal.contains("Permissions Violation for Subscription"), "{refusal}");
    }
}

/// A server with the roles of `deploy/permissions.conf`.
async fn start() -> ManagedServer {
    let permissions = std::fs::read_to_string(deploy("permissions.conf")).unwrap();
    let passwords: String = ENVIRONMENT[1..]
        .iter()
        .map(|(name, value)| format!("{name}: \"{value}\"\n"))
        .collect();
    let options = Options {
        extra_config: passwords + &permissions,
        ..Options::default()
    };
    ManagedServer::start(options).await.unwrap()
}

/// A bare connection: the server answers a forbidden subject with an error line, which clients only log.
struct Connection(BufReader<TcpStream>);

impl Connection {
    async fn open(server: &ManagedServer, role: &str) -> Self {
        let stream = TcpStream::connect(server.url().replace("nats://", "")).await.unwrap();
        let mut connection = Self(BufReader::new(stream));
        let connect = format!("CONNECT {{\"user\":\"{role}\",\"pass\":\"{role}-secret\",\"verbose\":false,\"headers\":true}}\r\n");
        assert_eq!(connection.send(&connect).await, None, "{role} connects");
        connection
    }

    async fn publish(&mut self, subject: &str) -> Option<String> {
        self.send(&format!("PUB {subject} 0\r\n\r\n")).await
    }

    async fn subscribe(&mut self, subject: &str) -> Option<String> {
        self.send(&format!("SUB {subject} 1\r\nUNSUB 1\r\n")).await
    }

    /// The error that the server answers with before it answers the ping.
    async fn send(&mut self, command: &str) -> Option<String> {
        self.0.write_all(command.as_bytes()).await.unwrap();
        self.0.write_all(b"PING\r\n").await.unwrap();
        let mut error = None;
        loop {
            let mut line = String::new();
            let read = self.0.read_line(&mut line).await.unwrap();
            assert!(read > 0, "the server closed the connection: {error:?}");
            match line.trim() {
                "PONG" => return error,
                line if line.starts_with("-ERR") => error = Some(line.to_owned()),
                _ => {}
            }
        }
    }
}
