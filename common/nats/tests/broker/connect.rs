//! Connecting: what goes wrong is told with what to do.

use std::net::TcpListener;

use everstep_common::ports::Broker;
use everstep_nats::managed::{ManagedServer, Options};
use everstep_nats::{ConnectError, ConnectOptions, NatsBroker};

use crate::certificates::Certificates;
use crate::support::{lose_the_first_question, pretend_to_be_an_old_server, soon};

async fn error(options: ConnectOptions) -> ConnectError {
    soon(NatsBroker::connect(options)).await.expect_err("connected")
}

/// A server with that in its configuration.
async fn configured(extra_config: impl Into<String>) -> ManagedServer {
    let options = Options {
        extra_config: extra_config.into(),
        ..Options::default()
    };
    ManagedServer::start(options).await.unwrap()
}

#[tokio::test]
async fn an_unreachable_server_is_named() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = error(ConnectOptions::to(format!("nats://me:secret@{free}"))).await;
    let text = error.to_string();
    assert!(matches!(error, ConnectError::Unreachable { .. }), "{text}");
    assert!(
        text.contains(&free.to_string()) && text.contains("--server") && !text.contains("secret"),
        "{text}"
    );
}

#[tokio::test]
async fn wrong_credentials_and_an_unreadable_file_are_told_apart() {
    let server = configured("authorization { user: me, password: right }").await;
    let with = |password: &str| ConnectOptions {
        user: Some("me".into()),
        password: Some(password.into()),
        ..ConnectOptions::to(server.url())
    };
    assert!(matches!(error(with("wrong")).await, ConnectError::Credentials { .. }));
    let missing = ConnectOptions {
        credentials: Some("/nonexistent.creds".into()),
        ..ConnectOptions::to(server.url())
    };
    assert!(error(missing).await.to_string().contains("/nonexistent.creds"));
    let no_authority = ConnectOptions {
        tls_ca: Some("/nonexistent.pem".into()),
        ..with("right")
    };
    assert!(error(no_authority).await.to_string().contains("/nonexistent.pem"));
    assert!(NatsBroker::connect(with("right")).await.is_ok());
}

#[tokio::test]
async fn an_nkey_opens_the_door_by_option_and_by_context() {
    // Made for this test from the bytes 1 to 32.
    const SEED: &str = "SUAACAQDAQCQMBYIBEFAWDANBYHRAEISCMKBKFQXDAMRUGY4DUPB6IC5CQ";
    const USER: &str = "UB43KVROR7TFJ6KAPCYRF2FJROTZAH4FHLTJLPWX4DRZCC5NASLGJBFE";
    let server = configured(format!("authorization {{ users: [{{ nkey: {USER} }}] }}")).await;
    assert!(matches!(
        error(ConnectOptions::to(server.url())).await,
        ConnectError::Credentials { .. }
    ));
    let folder = tempfile::tempdir().unwrap();
    let (key, context) = (folder.path().join("user.nk"), folder.path().join("context.json"));
    std::fs::write(&key, format!("# the test's user\n{SEED}\n")).unwrap();
    let written = serde_json::json!({ "url": server.url(), "nkey": &key });
    std::fs::write(&context, written.to_string()).unwrap();
    let by_option = ConnectOptions {
        nkey: Some(key),
        ..ConnectOptions::to(server.url())
    };
    let by_context = ConnectOptions {
        context: Some(context.to_str().unwrap().to_owned()),
        ..ConnectOptions::default()
    };
    for options in [by_option, by_context] {
        soon(NatsBroker::connect(options)).await.expect("the key is the user's");
    }
}

#[tokio::test]
async fn a_credentials_file_opens_the_door() {
    let server = configured(include_str!("credentials/operator.conf")).await;
    assert!(matches!(
        error(ConnectOptions::to(server.url())).await,
        ConnectError::Credentials { .. }
    ));
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/broker/credentials/user.creds");
    let options = ConnectOptions {
        credentials: Some(file.into()),
        ..ConnectOptions::to(server.url())
    };
    soon(NatsBroker::connect(options)).await.expect("they are the user's");
}

#[tokio::test]
async fn who_names_an_authority_is_not_connected_in_the_clear() {
    let server = ManagedServer::start(Options::default()).await.unwrap();
    let authority = server.store().join("authority.pem");
    std::fs::write(&authority, "").unwrap();
    let options = ConnectOptions {
        tls_ca: Some(authority),
        ..ConnectOptions::to(server.url())
    };
    assert!(matches!(error(options).await, ConnectError::Tls { .. }));
}

/// A server that asks each client for a certificate, which only its own authority may have signed.
#[tokio::test]
async fn an_authority_and_a_certificate_make_a_secure_connection() {
    let files = Certificates::make();
    let server = configured(files.server_config()).await;
    let options = ConnectOptions {
        tls_ca: Some(files.path("authority.pem")),
        tls_certificate: Some(files.path("client.pem")),
        tls_key: Some(files.path("client.key")),
        ..ConnectOptions::to(server.url())
    };
    let broker = soon(NatsBroker::connect(options.clone()))
        .await
        .expect("both are who they say");
    assert_eq!(soon(broker.stream_info("NONE")).await.unwrap(), None, "it answers over TLS");

    let stranger = Certificates::make();
    let not_the_servers = ConnectOptions {
        tls_ca: Some(stranger.path("authority.pem")),
        ..options.clone()
    };
    assert!(matches!(error(not_the_servers).await, ConnectError::Tls { .. }));
    let not_the_clients = ConnectOptions {
        tls_certificate: Some(stranger.path("client.pem")),
        tls_key: Some(stranger.path("client.key")),
        ..options
    };
    error(not_the_clients).await;
}

#[tokio::test]
async fn an_account_without_jetstream_is_named() {
    let server = configured("accounts { BARE { users: [{ user: me, password: p }] } }").await;
    let options = ConnectOptions {
        user: Some("me".into()),
        password: Some("p".into()),
        ..ConnectOptions::to(server.url())
    };
    assert!(matches!(error(options).await, ConnectError::NoJetStream { .. }));
}

#[tokio::test]
async fn a_server_that_comes_later_is_waited_for_if_asked() {
    let mut server = ManagedServer::start(Options::default()).await.unwrap();
    server.kill();
    let connecting = NatsBroker::connect(ConnectOptions {
        wait_for_server: true,
        ..ConnectOptions::to(server.url())
    });
    let (connected, restarted) = soon(async { tokio::join!(connecting, server.restart()) }).await;
    restarted.unwrap();
    assert_eq!(connected.unwrap().server().version, "2.15.1");
}

#[tokio::test]
async fn a_server_that_dies_while_it_is_looked_at_is_waited_for_if_asked() {
    for wait_for_server in [true, false] {
        let server = ManagedServer::start(Options::default()).await.unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(tokio::spawn(lose_the_first_question(
            listener,
            server.url().replace("nats://", ""),
        )));
        let connecting = NatsBroker::connect(ConnectOptions {
            wait_for_server,
            ..ConnectOptions::to(address.to_string())
        });
        match soon(connecting).await {
            Ok(connected) => assert!(wait_for_server && connected.server().version == "2.15.1"),
            Err(error) => assert!(!wait_for_server && error.is_outage(), "{error}"),
        }
    }
}

#[tokio::test]
async fn an_old_server_is_refused_with_both_versions() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(pretend_to_be_an_old_server(listener));
    let error = error(ConnectOptions::to(address.to_string())).await;
    let text = error.to_string();
    assert!(text.contains("2.9.25") && text.contains("2.15.1"), "{text}");
}
