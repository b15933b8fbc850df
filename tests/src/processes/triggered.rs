//! The application of tests about events and schedules: the examples that are started by events, and workflows that wait for events or run
//! every second.

use everstep::App;
use everstep::prelude::*;
use everstep_examples::payment::{payment_workflow, record_payment};
use everstep_examples::welcome::{send_welcome_email, welcome_workflow};
use serde::{Deserialize, Serialize};

use super::app::{charge, with_ledger};

/// Where a parcel is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Moved {
    /// Which parcel.
    pub parcel: u64,
    /// How often it has moved.
    pub step: u64,
}

/// Three moves of a parcel, a charge for each, then it is delivered: or not, in time.
#[workflow]
pub async fn delivery(ctx: WorkflowContext, parcel: u64) -> Result<Vec<u64>, WorkflowError> {
    let mut steps = Vec::new();
    for _ in 0..3 {
        let moved = ctx
            .wait_for_event::<Moved>("parcel.moved", matching("parcel", &parcel))
            .await?;
        steps.push(ctx.step(charge, moved.data.step).await?);
    }
    let lost = ctx.wait_for_event::<Moved>("parcel.lost", matching("parcel", &parcel));
    match lost.deadline(Duration::from_secs(1)).await {
        Err(error) if error.is_timed_out() => Ok(steps),
        Ok(lost) => Err(WorkflowError::new(format!("{lost:?}"))),
        Err(error) => Err(error),
    }
}

/// Runs at every second, and makes up for all that were missed.
#[workflow(on(cron("* * * * * *", name = "all", misfire = "fire_all")))]
pub async fn every_second(ctx: WorkflowContext) -> Result<(), WorkflowError> {
    let _ = ctx;
    Ok(())
}

/// The application, with the ledger that the environment names.
///
/// # Panics
///
/// If [`LEDGER_VARIABLE`](super::LEDGER_VARIABLE) does not hold an address.
pub fn triggered_application() -> App {
    with_ledger(App::new())
        .workflow(payment_workflow)
        .workflow(welcome_workflow)
        .workflow(delivery)
        .workflow(every_second)
        .function(record_payment)
        .function(send_welcome_email)
        .function(charge)
}
