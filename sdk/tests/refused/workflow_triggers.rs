//! Triggers that could never start anything, or not what their author means.

use everstep::prelude::*;

#[workflow(on(cron("61 * * * *")))]
async fn no_such_minute(ctx: WorkflowContext) -> Result<(), WorkflowError> {
    Ok(())
}

#[workflow(on(cron("every day")))]
async fn no_expression(ctx: WorkflowContext) -> Result<(), WorkflowError> {
    Ok(())
}

#[workflow(on(cron("0 9 * * *", tz = "Europe/Atlantis")))]
async fn no_such_zone(ctx: WorkflowContext) -> Result<(), WorkflowError> {
    Ok(())
}

#[workflow(on(cron("0 9 * * *", overlap = "queue")))]
async fn no_such_overlap(ctx: WorkflowContext) -> Result<(), WorkflowError> {
    Ok(())
}

#[workflow(on(cron("0 9 * * *", misfire = "always")))]
async fn no_such_misfire(ctx: WorkflowContext) -> Result<(), WorkflowError> {
    Ok(())
}

#[workflow(on(cron("0 9 * * *", input = "{")))]
async fn no_json(ctx: WorkflowContext, region: String) -> Result<(), WorkflowError> {
    Ok(())
}

#[workflow(on(event("order.placed", input = "order..id")))]
async fn no_path(ctx: WorkflowContext, id: String) -> Result<(), WorkflowError> {
    Ok(())
}

#[workflow(on(event("order.placed", filter = "cents >")))]
async fn no_filter(ctx: WorkflowContext, id: String) -> Result<(), WorkflowError> {
    Ok(())
}

#[workflow(on(event("order placed")))]
async fn no_name(ctx: WorkflowContext, id: String) -> Result<(), WorkflowError> {
    Ok(())
}

#[workflow(on(event("order.placed", batch(max = 10))))]
async fn no_window(ctx: WorkflowContext, ids: Vec<String>) -> Result<(), WorkflowError> {
    Ok(())
}

#[workflow(on(event("order.placed", tz = "UTC")))]
async fn not_of_an_event(ctx: WorkflowContext, id: String) -> Result<(), WorkflowError> {
    Ok(())
}

#[workflow(on(event("order.placed", input = "id")), on(event("order.placed", input = "id")))]
async fn twice_the_same_event(ctx: WorkflowContext, id: String) -> Result<(), WorkflowError> {
    Ok(())
}

#[workflow(on(cron("0 9 * * *", name = "daily")), on(cron("0 10 * * *", name = "daily")))]
async fn twice_the_same_name(ctx: WorkflowContext) -> Result<(), WorkflowError> {
    Ok(())
}

#[workflow(on(timer("1h")))]
async fn no_such_trigger(ctx: WorkflowContext) -> Result<(), WorkflowError> {
    Ok(())
}

#[workflow(on())]
async fn on_nothing(ctx: WorkflowContext) -> Result<(), WorkflowError> {
    Ok(())
}

#[workflow(on(event("order.placed", batch(window = "10s"))))]
async fn batch_as_two(ctx: WorkflowContext, first: String, second: String) -> Result<(), WorkflowError> {
    Ok(())
}

#[workflow(on(event("order.placed", batch(window = "10s"))))]
async fn batch_as_nothing(ctx: WorkflowContext) -> Result<(), WorkflowError> {
    Ok(())
}

#[workflow(on(event("order.placed", batch())))]
async fn batch_of_no_window(ctx: WorkflowContext, ids: Vec<String>) -> Result<(), WorkflowError> {
    Ok(())
}

#[workflow(on(event("order.placed", input = "@")))]
async fn event_as_two(ctx: WorkflowContext, name: String, id: String) -> Result<(), WorkflowError> {
    Ok(())
}

#[workflow(on(event("order.placed", input = "id")))]
async fn input_for_nobody(ctx: WorkflowContext) -> Result<(), WorkflowError> {
    Ok(())
}

#[workflow(on(cron("0 9 * * *", input = "7")))]
async fn number_for_nobody(ctx: WorkflowContext) -> Result<(), WorkflowError> {
    Ok(())
}

#[workflow(on(cron("0 9 * * *")))]
async fn time_as_two(ctx: WorkflowContext, schedule: String, time: Timestamp) -> Result<(), WorkflowError> {
    Ok(())
}

#[workflow(on(cron("0 9 * * *", input = "[1, 2, 3]")))]
async fn three_for_two(ctx: WorkflowContext, first: u64, second: u64) -> Result<(), WorkflowError> {
    Ok(())
}

#[workflow(on(cron("0 9 * * *", overlap = "cancel", misfire = "fire_all")))]
async fn all_at_once_but_one(ctx: WorkflowContext) -> Result<(), WorkflowError> {
    Ok(())
}

#[workflow(on(event("order.placed", batch(window = "10s"), limit_key = "shop")))]
async fn a_list_has_no_one_key(ctx: WorkflowContext, ids: Vec<String>) -> Result<(), WorkflowError> {
    Ok(())
}

#[workflow(on(webhook("stripe", session = "customer", batch(window = "10s"))))]
async fn nor_a_session(ctx: WorkflowContext, ids: Vec<String>) -> Result<(), WorkflowError> {
    Ok(())
}

#[workflow(on(event("order.placed", limit_key = "shop..id")))]
async fn no_path_to_its_key(ctx: WorkflowContext, id: String) -> Result<(), WorkflowError> {
    Ok(())
}

#[workflow(on(event("order.placed", priority = 128)))]
async fn too_urgent(ctx: WorkflowContext, id: String) -> Result<(), WorkflowError> {
    Ok(())
}

#[workflow(on(event("order.placed", deadline = "400d")))]
async fn in_no_hurry(ctx: WorkflowContext, id: String) -> Result<(), WorkflowError> {
    Ok(())
}

#[workflow(on(event("order.placed", tags("tenant"))))]
async fn no_value(ctx: WorkflowContext, id: String) -> Result<(), WorkflowError> {
    Ok(())
}

#[workflow(on(event("order.placed", tags("a=1", "a=2"))))]
async fn two_values(ctx: WorkflowContext, id: String) -> Result<(), WorkflowError> {
    Ok(())
}

#[workflow(on(event("order.placed", tags("event=mine"))))]
async fn not_its_tag(ctx: WorkflowContext, id: String) -> Result<(), WorkflowError> {
    Ok(())
}

#[workflow(on(cron("0 9 * * *", limit_key = "")))]
async fn an_empty_key(ctx: WorkflowContext) -> Result<(), WorkflowError> {
    Ok(())
}

fn main() {}
