//! A table at a restaurant: guests order and change their minds, and are told each time whether that will do.

use std::cell::RefCell;
use std::pin::pin;

use everstep::prelude::*;
use serde::{Deserialize, Serialize};

/// What a guest wants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// The dish.
    pub dish: String,
    /// How many of it.
    pub portions: u32,
}

/// What a guest is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The number of the order at this table.
    pub number: usize,
    /// What all orders together cost, in cents.
    pub total: u64,
}

/// Cooks it, and says what it costs.
#[function(name = "table.cook")]
pub async fn cook(ctx: FunctionContext, order: Order) -> Result<u64, StepError> {
    ctx.log(format_args!("{} portions of {}", order.portions, order.dish));
    Ok(u64::from(order.portions) * 1_200)
}

/// What the kitchen does not do.
fn on_the_menu(order: &Order) -> Result<(), String> {
    match order.portions {
        0 => Err("order at least one portion".to_owned()),
        1..=20 => Ok(()),
        many => Err(format!("the kitchen cannot make {many} portions of {}", order.dish)),
    }
}

/// Takes orders until the guests ask for the bill, which is what it returns.
#[workflow]
pub async fn table_workflow(ctx: WorkflowContext) -> Result<u64, WorkflowError> {
    let served = RefCell::new(Vec::new());
    let orders = ctx.update::<Order, Receipt>("order").validate(on_the_menu);
    let orders = pin!(orders.serve(async |order| {
        let price = ctx.step(cook, order).await?;
        served.borrow_mut().push(price);
        let served = served.borrow();
        Ok(Receipt {
            number: served.len(),
            total: served.iter().sum(),
        })
    }));
    select! {
        failed = orders => match failed? {},
        bill = ctx.signal::<()>("bill") => bill?,
    }
    Ok(served.borrow().iter().sum())
}

/// The application.
pub fn app() -> App {
    App::new().workflow(table_workflow).function(cook)
}
