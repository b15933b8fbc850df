//! The server of one's own, provisioning, and the doctor.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::sync::Arc;

use everstep::journal::{Entry, EntryKey, Local, LocalKind, StepResult};
use everstep::{AppOptions, Client, ConnectOptions, Prefix, Roles, RunId};
use everstep_common::key::StepKey;
use everstep_common::payload::Payload;
use everstep_common::ports::Broker;
use everstep_common::store::Deployment;
use everstep_nats::NatsBroker;
use everstep_nats::managed::{ManagedServer, Options};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::Command;

use crate::support::{World, application, command, ended, within};

#[tokio::test(flavor = "multi_thread")]
async fn dev_runs_a_command_against_its_server_and_ends_as_the_command_does() {
    let script = r#""$0" run w && "$0" runs ls --json && "$0" provision && exit 7"#;
    let ended = ended(command(&["dev", "--", "sh", "-c", script, env!("CARGO_BIN_EXE_everstep")])).await;
    assert_eq!(ended.code, 7, "{ended:?}");
    assert!(
        ended.output.contains("[]") && ended.output.contains("KV_checkpoints_0"),
        "{ended:?}"
    );
    assert!(ended.errors.starts_with("nats-server nats://127.0.0.1:"), "{ended:?}");
}

/// What it is doing when its server dies makes no difference.
#[tokio::test(flavor = "multi_thread")]
async fn dev_ends_with_its_servers_last_words_when_that_dies() {
    for doing in [&["dev"][..], &["dev", "--", "sh", "-c", "while :; do sleep 1; done"]] {
        let mut dev = command(doing);
        let mut dev = dev.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut told = BufReader::new(dev.stderr.take().unwrap());
        // It is ready when it says where it is, or what to do with that.
        let mut first = String::new();
        within(told.read_line(&mut first)).await.unwrap();
        // The server is its child, and so may be the command.
        let children = ["-P", &dev.id().unwrap().to_string(), "nats-server"];
        let server = Command::new("pgrep").args(children).output().await.unwrap();
        let server = String::from_utf8(server.stdout).unwrap();
        let killed = Command::new("kill").args(["-9", server.trim()]).status().await.unwrap();
        assert!(killed.success(), "{doing:?}: {server:?}");

        assert_eq!(within(dev.wait()).await.unwrap().code(), Some(1), "{doing:?}");
        let mut said = String::new();
        within(told.read_to_string(&mut said)).await.unwrap();
        let ended = format!("nats-server (process {}) has ended", server.trim());
        assert!(said.contains(&ended) && said.contains("Server is ready"), "{doing:?}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn provisioning_again_changes_nothing_and_keeps_what_was_chosen() {
    let world = World::start().await;
    let shop = |more: &[&'static str]| [&["provision", "--prefix", "shop", "--json"], more].concat();
    let would = world.run(&shop(&["--partitions", "2", "--dry-run"])).await.json();
    assert_eq!(would["would_create"].as_array().unwrap().len(), 13);
    let did = |answer: Value| -> Vec<Value> {
        answer["streams"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["did"].clone())
            .collect()
    };
    let first = world.run(&shop(&["--partitions", "2", "--ack-wait", "5s"])).await.json();
    assert_eq!(did(first.clone()), vec![json!("created"); 13]);
    let second = world.run(&shop(&[])).await.json();
    assert_eq!(did(second.clone()), vec![json!("existed"); 13]);
    assert_eq!(second["deployment"], first["deployment"]);
    assert_eq!(second["deployment"]["partitions"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_grow_under_an_application_at_work() {
    let world = World::start().await;
    let _application = world.application().await;
    let keyed = ["run", "order_workflow", "--input", "\"o\"", "--key", "k"];
    let run = world.run(&keyed).await.line();

    let would = world
        .run(&["provision", "--partitions", "3", "--dry-run", "--json"])
        .await
        .json();
    assert_eq!(would["would_change"], json!(["partitions: 1 → 3"]));
    assert_eq!(would["would_create"].as_array().unwrap().len(), 4);
    // As if an earlier attempt had been interrupted.
    let broker: Arc<dyn Broker> = NatsBroker::connect(world.server.connect()).await.unwrap();
    let grown = Deployment::single_node(Prefix::none()).grown_to(3);
    broker.ensure_stream(&grown.streams().pop().unwrap()).await.unwrap();
    let grew = world.run(&["provision", "--partitions", "3", "--json"]).await;
    assert!(
        grew.code == 0 && grew.errors.contains("start key stay in the first partition"),
        "{grew:?}"
    );
    let deployment = &grew.json()["deployment"];
    assert_eq!(
        (&deployment["partitions"], &deployment["keyed_partitions"]),
        (&json!(3), &json!(1))
    );
    let again = world.run(&["provision", "--partitions", "3", "--json"]).await;
    assert_eq!((again.json()["changes"].clone(), again.errors.as_str()), (json!([]), ""));

    assert_eq!(world.run(&keyed).await.line(), run, "one key, one run");
    let mut used = BTreeMap::new();
    while used.len() < 3 {
        let run = world.run(&["run", "order_workflow", "--input", "\"o\""]).await.line();
        used.insert(run.split_once('-').unwrap().0.to_owned(), run);
    }
    for run in used.values() {
        let tailed = world.run(&["runs", "tail", run]).await;
        assert_eq!(tailed.code, 0, "{tailed:?}");
    }

    let fewer = world.run(&["provision", "--partitions", "2"]).await;
    assert_eq!(fewer.code, 4, "{fewer:?}");
    assert!(fewer.errors.contains("has 3 partitions, and cannot have fewer"), "{fewer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_leaves_nothing_behind() {
    let world = World::start().await;
    let refused = world.run(&["provision", "--partitions", "2", "--ack-wait", "5s"]).await;
    assert_eq!(refused.code, 4, "{refused:?}");
    assert!(refused.errors.contains("ack_wait: wanted 5s, found 30s"), "{refused:?}");
    let broker = NatsBroker::connect(world.server.connect()).await.unwrap();
    assert_eq!(broker.stream_info("KV_checkpoints_1").await, Ok(None));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_recorded_durability_follows_the_servers() {
    let world = World::start().await;
    let changed = world.run(&["provision", "--durability", "relaxed"]).await;
    assert!(
        changed.code == 0 && changed.errors.contains("durability: Strict → Relaxed"),
        "{changed:?}"
    );
    let again = world.run(&["provision", "--json"]).await.json();
    assert_eq!(again["deployment"]["durability"], "relaxed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_was_used_before_keeps_what_it_was_given() {
    let store = tempfile::tempdir().unwrap();
    let store = store.path().to_str().unwrap();
    let provision = async |arguments: &[&str]| {
        let dev = ["dev", "--store", store, "--", env!("CARGO_BIN_EXE_everstep"), "provision"];
        ended(command(&[&dev[..], arguments].concat())).await
    };
    let grown = provision(&["--partitions", "2"]).await;
    assert_eq!(grown.code, 0, "{grown:?}");
    let looked = provision(&["--json"]).await;
    assert_eq!(looked.json()["deployment"]["partitions"], 2, "{looked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_printed_for_an_administrator_is_what_provisioning_would_make() {
    let world = World::start().await;
    let printed = world
        .run(&["provision", "--print", "--prefix", "shop", "--partitions", "2"])
        .await
        .json();
    let broker = NatsBroker::connect(world.server.connect()).await.unwrap();
    for stream in printed["streams"].as_array().unwrap() {
        let verb = format!("STREAM.CREATE.{}", stream["name"].as_str().unwrap());
        broker.ask_jetstream(&verb, stream).await.unwrap();
    }
    for consumer in printed["consumers"].as_array().unwrap() {
        let stream = consumer["stream"].as_str().unwrap();
        let verb = format!("CONSUMER.CREATE.{stream}.{}", consumer["config"]["name"].as_str().unwrap());
        let question = json!({ "stream_name": stream, "config": consumer["config"] });
        broker.ask_jetstream(&verb, &question).await.unwrap();
    }
    let provisioned = world
        .run(&["provision", "--prefix", "shop", "--partitions", "2", "--json"])
        .await
        .json();
    for stream in provisioned["streams"].as_array().unwrap() {
        assert_eq!(stream["did"], "existed", "{stream}");
    }
    let doctor = world.run(&["doctor", "--prefix", "shop"]).await;
    assert_eq!(doctor.code, 0, "{doctor:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_names_what_is_wrong_and_how_to_mend_it() {
    let mut world = World::start().await;
    let verdicts = async |world: &World, more: &[&str]| {
        let ended = world.run(&[&["doctor", "--json"], more].concat()).await;
        (ended.code, ended.json())
    };
    let of = |checks: &Value, name: &str| {
        checks
            .as_array()
            .unwrap()
            .iter()
            .find(|check| check["check"] == name)
            .cloned()
            .unwrap()
    };
    let monitor = world.server.server().monitor_url();
    let (code, checks) = verdicts(&world, &["--monitor", &monitor]).await;
    assert_eq!(code, 0, "{checks}");
    assert_eq!(of(&checks, "durability")["verdict"], "ok");
    assert_eq!(of(&checks, "orchestrators")["verdict"], "warning");
    assert_eq!(of(&checks, "permissions")["verdict"], "ok");

    let broker = NatsBroker::connect(world.server.connect()).await.unwrap();
    broker.ask_jetstream("STREAM.DELETE.PAYLOADS", &json!({})).await.unwrap();
    let mut runs = broker.ask_jetstream("STREAM.INFO.KV_runs", &json!({})).await.unwrap()["config"].take();
    runs["max_bytes"] = json!(1_000_000);
    broker.ask_jetstream("STREAM.UPDATE.KV_runs", &runs).await.unwrap();
    let (code, checks) = verdicts(&world, &[]).await;
    let wrong: Vec<_> = checks
        .as_array()
        .unwrap()
        .iter()
        .filter(|check| check["verdict"] == "wrong")
        .collect();
    let told = json!(wrong).to_string();
    assert_eq!((code, wrong.len()), (1, 2), "{checks}");
    assert!(
        told.contains("PAYLOADS is missing") && told.contains("max_bytes: wanted -1, found 1000000"),
        "{told}"
    );
    assert!(wrong.iter().all(|check| check["mend"].is_string()), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn completion_scripts_are_printed() {
    for shell in ["bash", "zsh", "fish"] {
        let script = ended(command(&["completions", shell])).await;
        assert!(script.code == 0 && script.output.contains("provision"), "{shell}");
    }
}

/// Roles and clients with no more than the shipped permissions; the server notes whatever they try beyond.
#[tokio::test(flavor = "multi_thread")]
async fn the_shipped_permissions_are_enough_for_every_role() {
    let mut permissions = include_str!("../../../deploy/permissions.conf").to_owned();
    for role in ["ORCHESTRATOR", "WORKER", "CLIENT"] {
        permissions = permissions.replace(&format!("$EVERSTEP_{role}_PASSWORD"), "\"pass@word\"");
    }
    let server = ManagedServer::start(Options {
        extra_config: permissions,
        ..Options::default()
    })
    .await
    .unwrap();
    let url = |role: &str| server.url().replace("nats://", &format!("nats://{role}:pass%40word@"));
    let as_role = async |role: &str, arguments: &[&str]| {
        let url = url(role);
        ended(command(&[&["--server", &url], arguments].concat())).await
    };
    let provisioned = as_role("orchestrator", &["provision", "--partitions", "1"]).await;
    assert_eq!(provisioned.code, 0, "{provisioned:?}");
    let start = async |role: &str, roles: Roles| {
        let options = AppOptions {
            roles,
            ..AppOptions::new(ConnectOptions::to(url(role)))
        };
        application().start(options).await.unwrap()
    };
    let orchestrator = start("orchestrator", Roles::ORCHESTRATOR).await;
    let worker = start("worker", Roles::WORKER).await;

    let run = ["run", "order_workflow", "--input", "\"o\"", "--key", "k", "--follow"];
    let followed = as_role("client", &run).await;
    assert_eq!(followed.code, 0, "{followed:?}");
    assert!(followed.errors.contains("step  charge_customer"), "{followed:?}");
    for look in [&["runs", "ls"][..], &["runs", "show", "0-"], &["runs", "tail", "0-"]] {
        let looked = as_role("client", look).await;
        assert_eq!(looked.code, 0, "{looked:?}");
    }
    let visit = ["run", "stateful_workflow", "--input", "\"ada\"", "--session", "s", "--follow"];
    let visited = as_role("client", &visit).await;
    assert_eq!(visited.code, 0, "{visited:?}");
    let shown = as_role("client", &["sessions", "show", "s"]).await;
    assert!(shown.output.contains("visit_count"), "{shown:?}");
    worker.stop().await.unwrap();
    orchestrator.stop().await.unwrap();

    // A run that nobody has driven yet, and more of it than one answer holds.
    let large = as_role("client", &["run", "large"]).await.line();
    let found = as_role("client", &["runs", "show", &large[..20]]).await;
    assert_eq!(found.code, 0, "{found:?}");
    let owner = Client::connect(ConnectOptions::to(url("orchestrator"))).await.unwrap();
    let closure = Entry::Local(Local {
        kind: LocalKind::Closure,
        result: StepResult::Value(Payload::unit()),
    });
    let key = |number: u32| EntryKey::Local(StepKey::from_path(&format!("closure~{number}")));
    let run: RunId = large.parse().unwrap();
    let creates = (0..1_100).map(|number| owner.store().create(&run, key(number), &closure));
    futures::future::try_join_all(creates).await.unwrap();
    let shown = as_role("client", &["runs", "show", &large, "--json"]).await.json();
    assert_eq!(shown["journal"].as_array().unwrap().len(), 1_101);

    let log = std::fs::read_to_string(server.store().join("nats-server.log")).unwrap();
    let violations: Vec<_> = log.lines().filter(|line| line.contains("Violation")).collect();
    assert!(violations.is_empty(), "{violations:#?}");
}
