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

#[function(retries(backoff = "fibonacci"))]
async fn growing_otherwise(ctx: FunctionContext) -> Result<(), StepError>;

#[function(retries(backoff = "constant", multiplier = 2.0))]
async fn constant_and_multiplied(ctx: FunctionContext) -> Result<(), StepError>;

#[function(retries(jitter = "no"))]
async fn with_odd_jitter(ctx: FunctionContext) -> Result<(), StepError>;

#[function(retries(never = "NotFound"))]
async fn never_without_parentheses(ctx: FunctionContext) -> Result<(), StepError>;

#[function(retries(never()))]
async fn never_nothing(ctx: FunctionContext) -> Result<(), StepError>;

#[function(timeout = "10s", heartbeat_timeout = "20s")]
async fn silent_for_too_long(ctx: FunctionContext) -> Result<(), StepError>;

#[function(start_timeout = "2h", total_timeout = "1h")]
async fn waiting_for_too_long(ctx: FunctionContext) -> Result<(), StepError>;

#[function(at_most_once, at_most_once)]
async fn once_and_once(ctx: FunctionContext) -> Result<(), StepError>;

#[function(max_crashes = 3, at_most_once)]
async fn crashing_three_times_at_most_once(ctx: FunctionContext) -> Result<(), StepError>;

#[function(timeout = "10s", heartbeat_timeout = "10s")]
async fn silent_all_the_time(ctx: FunctionContext) -> Result<(), StepError>;

#[function(retries())]
async fn retried_somehow(ctx: FunctionContext) -> Result<(), StepError>;

#[function(retries(total = "2h"), total_timeout = "1h")]
async fn retried_for_too_long(ctx: FunctionContext) -> Result<(), StepError>;

#[function(retries(backoff = "constant", initial = "10s", max = "1m"))]
async fn constant_and_capped(ctx: FunctionContext) -> Result<(), StepError>;

#[function(retries(never("NotFound", "panic", "NotFound")))]
async fn never_twice(ctx: FunctionContext) -> Result<(), StepError>;

#[function(limit())]
async fn limited_somehow(ctx: FunctionContext) -> Result<(), StepError>;

#[function(limit(concurrency = 2, per_key = 2))]
async fn as_many_of_a_key_as_of_all(ctx: FunctionContext) -> Result<(), StepError>;

#[function(limit(worker_rate = "10/s"))]
async fn rate_of_workers_elsewhere(ctx: FunctionContext) -> Result<(), StepError>;

#[function(limit(per_key_rate = "often"))]
async fn at_no_rate(ctx: FunctionContext) -> Result<(), StepError>;

#[function(limit(per_key_rate = 5))]
async fn at_a_number(ctx: FunctionContext) -> Result<(), StepError>;

#[function(limit(key_rate = "5/min"))]
async fn at_an_unknown_rate(ctx: FunctionContext) -> Result<(), StepError>;

fn main() {}
