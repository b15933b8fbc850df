//! A courier's day: a run for each parcel, and a van that goes on for ever, a day in each run.

use everstep::prelude::*;

/// Hands a parcel over.
#[function(name = "fleet.hand_over")]
pub async fn hand_over(ctx: FunctionContext, address: String) -> Result<String, StepError> {
    if address.is_empty() {
        return Err(StepError::fatal("there is no address on it"));
    }
    ctx.log(format_args!("at the door of {address}"));
    Ok(format!("handed over at {address}"))
}

/// One parcel: a run of its own, that can be looked at and cancelled by itself.
#[workflow]
pub async fn parcel(ctx: WorkflowContext, address: String) -> Result<String, WorkflowError> {
    ctx.sleep(Duration::from_millis(200)).named("drive").await?;
    ctx.step(hand_over, address).await
}

/// Delivers all parcels of a day; says how each went.
#[workflow]
pub async fn tour(ctx: WorkflowContext, addresses: Vec<String>) -> Result<Vec<String>, WorkflowError> {
    let parcels = addresses
        .into_iter()
        .enumerate()
        .map(|(number, address)| (number.to_string(), ctx.child(parcel, address)));
    let delivered = ctx.gather_settled(parcels.collect::<Vec<_>>()).await?;
    let told = delivered.into_values().map(|parcel| match parcel {
        Ok(done) => done,
        Err(error) => format!(
            "back in the van: {}",
            error.failure().map_or_else(String::new, ToString::to_string)
        ),
    });
    Ok(told.collect())
}

/// A van for so many days: each day is a run, and the next day follows it.
#[workflow]
pub async fn van(ctx: WorkflowContext, day: u32, days: u32, delivered: u32) -> Result<u32, WorkflowError> {
    let addresses = (1..=day).map(|house| format!("{house} High Street")).collect();
    let told = ctx.child(tour, addresses).await?;
    let delivered = delivered + u32::try_from(told.len())?;
    if day < days {
        return ctx.continue_as_new((day + 1, days, delivered));
    }
    Ok(delivered)
}

/// The application.
pub fn app() -> App {
    App::new().workflow(parcel).workflow(tour).workflow(van).function(hand_over)
}
