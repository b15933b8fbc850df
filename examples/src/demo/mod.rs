//! The demo: the order pipeline, with a worker and the orchestrator killed (SIGKILL) on the way, and one charge at the end.
//!
//! ```text
//! demo ── starts ──▶ nats-server · orchestrator · worker        each a process of its own
//!   └── is ──▶ the payment service, which outlives them all and counts what it is asked for
//! ```
//!
//! `story` is what happens, `process` the children, `payments` the payment service and its client, `screen` what is printed.

mod payments;
mod process;
mod screen;
mod story;

use everstep::{App, AppError, DevOptions};

pub use process::end_with_owner;

use crate::order::{Payments, charge_customer, order_workflow, send_confirmation, validate_order};

/// Where the worker finds the payment service.
const PAYMENTS_VARIABLE: &str = "EVERSTEP_DEMO_PAYMENTS";

/// Why the demo did not go as it should.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The server of our own could not be started.
    #[error("starting the server")]
    Server(#[from] AppError),
    /// The deployment could not be asked.
    #[error("asking the deployment")]
    Client(#[from] everstep::ClientError),
    /// A process or socket could not be made.
    #[error("{what}")]
    System {
        /// What was being done.
        what: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// A journal that ended before the run did.
    #[error("the journal of the run cannot be followed any further")]
    Untold,
    /// The run did not complete.
    #[error("the run did not complete")]
    Incomplete,
    /// What must never happen.
    #[error("the customer was charged {charges} times")]
    Charged {
        /// How often.
        charges: usize,
    },
    /// It stood still.
    #[error("nothing happened for {} s", after.as_secs())]
    Stuck {
        /// For how long.
        after: std::time::Duration,
    },
}

/// The application that the children run.
pub fn app() -> App {
    let address = std::env::var(PAYMENTS_VARIABLE).unwrap_or_default();
    App::new()
        .resource(Payments::new(payments::Remote::new(address)))
        .workflow(order_workflow)
        .function(validate_order)
        .function(charge_customer)
        .function(send_confirmation)
}

/// Runs the demo. It fails unless the run completes and the customer was charged exactly once.
pub async fn run() -> Result<(), Error> {
    let screen = screen::Screen::begin();
    let server = everstep::DevServer::start(DevOptions {
        // A worker that dies without a word is missed after 30 s by default, which is too long to look at a screen.
        ack_wait: Some(story::ACK_WAIT),
        ..DevOptions::default()
    })
    .await?;
    story::tell(&screen, &server).await
}
