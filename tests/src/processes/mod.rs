//! Real processes on a real server, to be killed: an application, its ledger, and the means to wait for what they do.

mod app;
mod examples;
mod fleet;
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
