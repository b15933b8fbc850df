//! A trip: what is booked is cancelled again if the trip cannot be paid, or the run is cancelled.

use everstep::prelude::*;
use serde::{Deserialize, Serialize};

/// Who travels, and for how much at most.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trip {
    /// Who.
    pub traveller: String,
    /// At most, in cents.
    pub budget: u64,
}

impl Trip {
    /// A trip of somebody.
    pub fn new(traveller: &str, budget: u64) -> Self {
        let traveller = traveller.to_owned();
        Self { traveller, budget }
    }
}

/// What was booked, and for how much.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Booking {
    /// What cancels it.
    pub id: String,
    /// Its price in cents.
    pub price: u64,
}

/// Books a flight.
#[function(timeout = "30s")]
pub async fn book_flight(ctx: FunctionContext, traveller: String) -> Result<Booking, StepError> {
    // A real one passes this on, so that a repeated request books no second seat.
    let id = format!("flight of {traveller} by {}", ctx.idempotency_key());
    Ok(Booking { id, price: 23_900 })
}

/// Cancels a flight; one that is cancelled already stays so.
#[function(retries(max_attempts = 20, total = "1h"))]
pub async fn cancel_flight(ctx: FunctionContext, flight: Booking) -> Result<(), StepError> {
    ctx.log(format_args!("cancelled {}", flight.id));
    Ok(())
}

/// Books a hotel.
#[function(timeout = "30s")]
pub async fn book_hotel(ctx: FunctionContext, traveller: String) -> Result<Booking, StepError> {
    let id = format!("hotel of {traveller} by {}", ctx.idempotency_key());
    Ok(Booking { id, price: 41_000 })
}

/// Cancels a hotel by its id.
#[function(retries(max_attempts = 20, total = "1h"))]
pub async fn cancel_hotel(ctx: FunctionContext, id: String) -> Result<(), StepError> {
    ctx.log(format_args!("cancelled {id}"));
    Ok(())
}

/// Takes the money, if there is as much.
#[function(timeout = "30s", retries(never("NoFunds")))]
pub async fn pay(_ctx: FunctionContext, trip: Trip, price: u64) -> Result<String, StepError> {
    if price > trip.budget {
        let refused = StepError::retryable(format!("{} cannot spend {price} cents", trip.traveller));
        return Err(refused.named("NoFunds"));
    }
    Ok(format!("{} paid {price} cents", trip.traveller))
}

/// Books everything and pays it; or nothing.
#[workflow(on_failure = "rollback")]
pub async fn trip_workflow(ctx: WorkflowContext, trip: Trip) -> Result<String, WorkflowError> {
    let flight = ctx
        .step(book_flight, trip.traveller.clone())
        .compensate(cancel_flight)
        .await?;
    let hotel = ctx
        .step(book_hotel, trip.traveller.clone())
        .compensate_with(cancel_hotel, |hotel| hotel.id)
        .await?;
    ctx.step(pay, (trip, flight.price + hotel.price)).await
}

/// The application.
pub fn app() -> App {
    App::new()
        .workflow(trip_workflow)
        .function(book_flight)
        .function(cancel_flight)
        .function(book_hotel)
        .function(cancel_hotel)
        .function(pay)
}
