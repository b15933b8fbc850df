//! Runs a private nats-server until Ctrl-C or SIGTERM, for trying things by hand and as the owner in tests.
//!
//! Prints the address and the process id, one line each: `cargo run -p everstep-nats --bin managed-nats`.

use everstep_nats::managed::{Error, ManagedServer, Options};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let server = ManagedServer::start(Options::default()).await?;
    println!("{}", server.url());
    println!("{}", server.pid().expect("a started server has a process"));
    until_asked_to_end().await;
    Ok(())
}

async fn until_asked_to_end() {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).expect("SIGTERM can be listened for");
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}
