//! Real processes on a real server, to be killed: an application, its ledger, and the means to wait for what they do.

mod app;
mod examples;
mod fleet;
mod kills;
mod ledger;
mod triggered;

pub use app::{
    LEDGER_VARIABLE, application, blockade, bulk_order, charge_placed, confirm_charged, consignment, crowd, frozen, hundred_cents,
    misbehave, order, paid_into, plunge, refund, reviewed_order, unpaid_trip, visit,
};
pub use examples::soon_followed_up;
pub use fleet::{Fleet, Seed, Victim};
pub use ledger::Ledger;
pub use triggered::{Moved, delivery, every_second, triggered_application};

use std::time::Duration;

use everstep::{Client, RunError, RunHandle, RunId};
use serde::de::DeserializeOwned;
use tokio::time::Instant;

/// How long anything in these tests may take before it counts as lost.
pub const DEADLINE: Duration = Duration::from_secs(120);

/// Waits until `condition` holds; panics with `what` if it never does.
///
/// # Panics
///
/// After [`DEADLINE`].
pub async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + DEADLINE;
    let mut look = tokio::time::interval(Duration::from_millis(20));
    while !condition().await {
        assert!(Instant::now() < end, "waited {DEADLINE:?} for this: {what}");
        look.tick().await;
    }
}

/// What comes of the run.
///
/// # Panics
///
/// After [`DEADLINE`].
pub async fn result_of<T: DeserializeOwned>(run: RunHandle<T>) -> Result<T, RunError> {
    let id = run.id().clone();
    let result = tokio::time::timeout(DEADLINE, run.result()).await;
    result.unwrap_or_else(|_| panic!("run {id} is lost"))
}

/// What the run returns, however often its server has to be asked.
///
/// # Panics
///
/// If it returns nothing.
pub async fn returned<T: DeserializeOwned>(client: &Client, run: &RunId) -> T {
    loop {
        match client.run::<T>(run.clone()).result().await {
            Ok(value) => return value,
            Err(RunError::Client(error)) => eprintln!("asking for {run} again: {error}"),
            Err(error) => panic!("{error}"),
        }
    }
}
