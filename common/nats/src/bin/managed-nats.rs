//! Runs a private nats-server until Ctrl-C or SIGTERM, for trying things by hand and as the owner in tests.
//!
//! Prints the address and the process id, one line each: `cargo run -p everstep-nats --bin managed-nats`.

use everstep_nats::managed::{Error, ManagedServer, Options};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    // Listened for before anybody knows of this process.
    let asked_to_end = asked_to_end();
    let server = ManagedServer::start(Options::default()).await?;
    println!("{}", server.url());
    println!("{}", server.pid().expect("a started server has a process"));
    asked_to_end.await;
    Ok(())
}

fn asked_to_end() -> impl Future<Output = ()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt()).expect("SIGINT can be listened for");
    let mut terminate = signal(SignalKind::terminate()).expect("SIGTERM can be listened for");
    async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    }
}
