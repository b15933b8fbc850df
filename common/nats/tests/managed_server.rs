//! A single managed server: what survives a kill, what does not outlive its owner, and what it says when it cannot start.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use async_nats::jetstream;
use async_nats::jetstream::stream::{Config, StorageType};
use everstep_common::topology::Durability;
use everstep_nats::managed::{Error, ManagedServer, Options};

/// Ample for anything here, short enough to notice.
const WITHIN: Duration = Duration::from_secs(20);

async fn start() -> ManagedServer {
    ManagedServer::start(Options::default()).await.unwrap()
}

async fn connect(server: &ManagedServer) -> jetstream::Context {
    jetstream::new(async_nats::connect(server.url()).await.unwrap())
}

async fn create_stream(jetstream: &jetstream::Context, storage: StorageType) {
    let config = Config {
        name: "S".to_owned(),
        subjects: vec!["s".to_owned()],
        storage,
        ..Config::default()
    };
    jetstream.create_stream(config).await.unwrap();
    jetstream.publish("s", "kept?".into()).await.unwrap().await.unwrap();
}

/// How many messages that stream holds.
async fn stored(server: &ManagedServer) -> u64 {
    let stream = connect(server).await.get_stream("S").await.unwrap();
    stream.cached_info().state.messages
}

/// Waits until a process is gone, by its entry in the process table.
async fn gone(pid: u32) {
    let gone = async {
        let mut poll = tokio::time::interval(Duration::from_millis(5));
        while is_running(pid) {
            poll.tick().await;
        }
    };
    tokio::time::timeout(WITHIN, gone)
        .await
        .unwrap_or_else(|_| panic!("process {pid} is still there"));
}

/// Whether a process runs; one that ended and was not collected yet does not.
fn is_running(pid: u32) -> bool {
    let state = Command::new("ps")
        .args(["-o", "stat=", "-p", &pid.to_string()])
        .output()
        .unwrap();
    let state = String::from_utf8(state.stdout).unwrap();
    !state.trim().is_empty() && !state.starts_with('Z')
}

#[tokio::test]
async fn restart_keeps_port_and_store() {
    let mut server = start().await;
    let (url, pid) = (server.url(), server.pid());
    create_stream(&connect(&server).await, StorageType::File).await;

    server.restart().await.unwrap();

    assert_eq!(server.url(), url);
    assert_ne!(server.pid(), pid);
    assert_eq!(stored(&server).await, 1);
}

#[tokio::test]
async fn a_kill_loses_memory_streams_and_nothing_that_was_acknowledged_on_disk() {
    for (storage, survives) in [(StorageType::File, true), (StorageType::Memory, false)] {
        let mut server = start().await;
        create_stream(&connect(&server).await, storage).await;

        server.kill();
        assert_eq!(server.pid(), None);
        server.restart().await.unwrap();

        let found = connect(&server).await.get_stream("S").await.is_ok();
        assert_eq!(found, survives, "{storage:?}");
    }
}

#[tokio::test]
async fn a_connected_client_comes_back_by_itself_after_a_restart() {
    let mut server = start().await;
    let jetstream = connect(&server).await;
    create_stream(&jetstream, StorageType::File).await;

    server.kill();
    server.restart().await.unwrap();

    let published = async {
        while async { jetstream.publish("s", "again".into()).await?.await }.await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(WITHIN, published)
        .await
        .expect("the client reconnects to the same address");
}

#[tokio::test]
async fn a_stopped_server_is_gone_and_can_be_started_again() {
    let mut server = start().await;
    let pid = server.pid().unwrap();
    create_stream(&connect(&server).await, StorageType::File).await;

    server.stop().await.unwrap();
    gone(pid).await;
    server.restart().await.unwrap();

    assert_eq!(stored(&server).await, 1);
}

#[tokio::test]
async fn dropping_a_server_ends_it_and_wipes_a_temporary_store() {
    let server = start().await;
    let (pid, store) = (server.pid().unwrap(), server.store().to_path_buf());
    assert!(store.join("jetstream").is_dir());

    drop(server);

    gone(pid).await;
    assert!(!store.exists());
}

#[tokio::test]
async fn a_given_store_is_left_in_place_and_read_by_the_next_server() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options {
        store: Some(folder.path().join("made/if/missing")),
        ..Options::default()
    };

    let first = ManagedServer::start(options.clone()).await.unwrap();
    create_stream(&connect(&first).await, StorageType::File).await;
    drop(first);

    let second = ManagedServer::start(options).await.unwrap();
    assert!(connect(&second).await.get_stream("S").await.is_ok());
}

#[tokio::test]
async fn a_store_serves_one_server_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options {
        store: Some(folder.path().to_path_buf()),
        ..Options::default()
    };
    let _first = ManagedServer::start(options.clone()).await.unwrap();

    let second = ManagedServer::start(options).await;

    assert!(matches!(second, Err(Error::StoreInUse { .. })), "{second:?}");
}

#[tokio::test]
async fn servers_started_at_once_do_not_collide() {
    let servers = futures::future::join_all((0..6).map(|_| start())).await;
    for server in &servers {
        create_stream(&connect(server).await, StorageType::Memory).await;
    }
}

#[tokio::test]
async fn durability_is_what_the_server_reports() {
    for (durability, sync_always) in [(Durability::Strict, true), (Durability::Relaxed, false)] {
        let server = ManagedServer::start(Options::with_durability(durability)).await.unwrap();
        let jetstream = server_figures(&server, "/jsz").await;
        assert_eq!(
            jetstream["config"]["sync_always"].as_bool().unwrap_or(false),
            sync_always,
            "{durability:?}"
        );
        if durability == Durability::Relaxed {
            assert_eq!(jetstream["config"]["sync_interval"], 100_000_000, "nanoseconds");
        }
        server.flush_store().await.unwrap();
    }
}

#[tokio::test]
async fn it_listens_on_loopback_only_and_takes_payloads_of_8_megabytes() {
    let server = start().await;
    let variables = server_figures(&server, "/varz").await;
    assert_eq!(variables["host"], "127.0.0.1");
    assert_eq!(variables["http_host"], "127.0.0.1");
    assert_eq!(variables["max_payload"], 8 * 1024 * 1024);
}

/// What the monitoring port says.
async fn server_figures(server: &ManagedServer, path: &str) -> serde_json::Value {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let address = server.monitor_url().replace("http://", "");
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream
        .write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes())
        .await
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
}

/// A real owner process, which keeps its temporary folders below `folder`, and the server it started.
fn start_owner(folder: &Path) -> (Child, u32) {
    let mut owner = Command::new(env!("CARGO_BIN_EXE_managed-nats"));
    let mut owner = owner.env("TMPDIR", folder).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(owner.stdout.take().unwrap()).lines();
    let url = lines.next().unwrap().unwrap();
    assert!(url.starts_with("nats://127.0.0.1:"), "{url}");
    let pid = lines.next().unwrap().unwrap().parse().unwrap();
    (owner, pid)
}

#[tokio::test]
async fn the_server_and_its_temporary_store_go_with_an_owner_that_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let (mut owner, server_pid) = start_owner(folder.path());
    assert!(is_running(server_pid));
    assert_eq!(entries(folder.path()), 1);

    owner.kill().unwrap();
    owner.wait().unwrap();

    gone(server_pid).await;
    let wiped = async {
        let mut poll = tokio::time::interval(Duration::from_millis(5));
        while entries(folder.path()) > 0 {
            poll.tick().await;
        }
    };
    tokio::time::timeout(WITHIN, wiped)
        .await
        .expect("the watchdog wipes the temporary store");
}

fn entries(folder: &Path) -> usize {
    std::fs::read_dir(folder).unwrap().count()
}

#[tokio::test]
async fn an_owner_killed_at_any_moment_of_its_start_leaves_no_server() {
    for milliseconds in (0..60).step_by(4) {
        let folder = tempfile::tempdir().unwrap();
        let mut owner = Command::new(env!("CARGO_BIN_EXE_managed-nats"))
            .env("TMPDIR", folder.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        // Not a wait for anything: the moment of the kill is what varies.
        let never = std::future::pending::<()>();
        tokio::time::timeout(Duration::from_millis(milliseconds), never)
            .await
            .unwrap_err();

        owner.kill().unwrap();
        owner.wait().unwrap();

        for pid in processes_with(folder.path()) {
            gone(pid).await;
        }
    }
}

/// The processes whose command line names a folder.
fn processes_with(folder: &Path) -> Vec<u32> {
    let listed = Command::new("ps").args(["-eo", "pid=,args="]).output().unwrap();
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let named = listed.lines().filter(|line| line.contains(folder.to_str().unwrap()));
    named
        .map(|line| line.split_whitespace().next().unwrap().parse().unwrap())
        .collect()
}

#[tokio::test]
async fn the_server_ends_with_an_owner_that_is_asked_to_end() {
    let folder = tempfile::tempdir().unwrap();
    let (mut owner, server_pid) = start_owner(folder.path());

    let asked = Command::new("kill")
        .args(["-TERM", &owner.id().to_string()])
        .status()
        .unwrap();
    assert!(asked.success());
    assert!(owner.wait().unwrap().success());

    gone(server_pid).await;
    assert_eq!(entries(folder.path()), 0);
}

/// Written by a child: a file that this process itself had open for writing cannot be run while another thread forks.
fn write_executable(path: &Path, text: &str) {
    let write = r#"printf '%s' "$2" > "$1" && chmod +x "$1""#;
    let written = Command::new("/bin/sh")
        .args(["-c", write, "sh"])
        .arg(path)
        .arg(text)
        .status()
        .unwrap();
    assert!(written.success());
}

/// A script in the place of nats-server.
fn fake_binary(folder: &Path, script: &str) -> Options {
    let path = folder.join("nats-server");
    write_executable(&path, &format!("#!/bin/sh\n{script}\n"));
    Options {
        binary: Some(path),
        ..Options::default()
    }
}

#[tokio::test]
async fn a_server_that_is_too_old_is_refused_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let options = fake_binary(folder.path(), "echo 'nats-server: v2.9.0'");
    let message = ManagedServer::start(options).await.unwrap_err().to_string();
    assert!(
        message.contains("it is version 2.9.0, and 2.15.1 or later is needed"),
        "{message}"
    );
    assert!(
        message.contains("hint: run `make nats-server`, or set EVERSTEP_NATS_SERVER"),
        "{message}"
    );
}

#[tokio::test]
async fn a_binary_that_is_not_there_is_refused_with_what_to_do() {
    let options = Options {
        binary: Some("/nowhere/nats-server".into()),
        ..Options::default()
    };
    let message = ManagedServer::start(options).await.unwrap_err().to_string();
    assert!(
        message.contains("cannot use /nowhere/nats-server as nats-server: No such file"),
        "{message}"
    );
    assert!(message.contains("make nats-server"), "{message}");
}

#[tokio::test]
async fn a_server_that_refuses_its_configuration_shows_its_own_words() {
    let options = Options {
        extra_config: "no_such_setting: 1".to_owned(),
        ..Options::default()
    };
    let error = ManagedServer::start(options).await.unwrap_err();
    assert!(
        matches!(&error, Error::Exited { log_tail } if log_tail.contains("no_such_setting")),
        "{error}"
    );
}

#[tokio::test]
async fn a_port_lost_to_a_stranger_while_the_server_was_down_is_named() {
    let mut server = start().await;
    server.kill();
    let _stranger = std::net::TcpListener::bind(server.url().replace("nats://", "")).unwrap();

    let error = server.restart().await.unwrap_err();

    assert!(
        matches!(&error, Error::Exited { log_tail } if log_tail.contains("address already in use")),
        "{error}"
    );
}
