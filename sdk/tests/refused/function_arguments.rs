use everstep::prelude::*;

#[function(retry = 3)]
async fn unknown(ctx: FunctionContext) -> Result<(), StepError>;

#[function(retries(attempts = 3))]
async fn unknown_within(ctx: FunctionContext) -> Result<(), StepError>;

#[function(retries = 3)]
async fn without_parentheses(ctx: FunctionContext) -> Result<(), StepError>;

#[function(queue = "a", queue = "b")]
async fn twice(ctx: FunctionContext) -> Result<(), StepError>;

#[function(timeout = 10)]
async fn without_unit(ctx: FunctionContext) -> Result<(), StepError>;

#[function(timeout = "10 parsecs")]
async fn without_known_unit(ctx: FunctionContext) -> Result<(), StepError>;

#[function(timeout = "0s")]
async fn without_time(ctx: FunctionContext) -> Result<(), StepError>;

#[function(timeout)]
async fn without_value(ctx: FunctionContext) -> Result<(), StepError>;

#[function(timeout = "25h")]
async fn longer_than_the_whole(ctx: FunctionContext) -> Result<(), StepError>;

#[function(retries(max_attempts = 0))]
async fn never(ctx: FunctionContext) -> Result<(), StepError>;

#[function(retries(initial = "2m", max = "1m"))]
async fn capped_below(ctx: FunctionContext) -> Result<(), StepError>;

#[function(retries(initial = "2m"))]
async fn capped_below_unless_given(ctx: FunctionContext) -> Result<(), StepError>;

#[function(name = 3)]
async fn numbered(ctx: FunctionContext) -> Result<(), StepError>;

#[function(retries(multiplier = 0.5))]
async fn shrinking(ctx: FunctionContext) -> Result<(), StepError>;

#[function(at_most_once, retries(max_attempts = 3))]
async fn at_most_three_times(ctx: FunctionContext) -> Result<(), StepError>;

#[function(queue = "a.b")]
async fn queue_that_is_no_token(ctx: FunctionContext) -> Result<(), StepError>;

#[function(name = "")]
async fn without_name(ctx: FunctionContext) -> Result<(), StepError>;

fn main() {}
