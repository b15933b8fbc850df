//! What authors may write: it compiles, and the names, types and options are what was written.
//!
//! What they may not write is in `tests/refused`.

use std::cell::Cell;
use std::rc::Rc;

use everstep::prelude::*;
use everstep::{StepFuture, WorkflowBody};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Order {
    total: u64,
    valid: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Charge {
    receipt: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct OrderDone {
    receipt: Option<String>,
}

impl OrderDone {
    fn invalid(_: Order) -> Self {
        Self { receipt: None }
    }
}

struct Payments;

impl Payments {
    async fn charge(&self, _cents: u64, key: &str) -> Result<Charge, StepError> {
        Ok(Charge { receipt: key.to_owned() })
    }
}

#[function]
async fn validate_order(_ctx: FunctionContext, order_id: String) -> Result<Order, StepError> {
    Ok(Order {
        total: order_id.parse()?,
        valid: true,
    })
}

#[function(retries(max_attempts = 3, initial = "1s", max = "60s"), timeout = "10s")]
async fn charge_customer(ctx: FunctionContext, order: Order) -> Result<Charge, StepError> {
    let payments = ctx.resource::<Payments>();
    payments.charge(order.total, ctx.idempotency_key()).await
}

#[function]
async fn send_confirmation(_: FunctionContext, _order: Order, charge: Charge) -> Result<OrderDone, StepError> {
    Ok(OrderDone {
        receipt: Some(charge.receipt),
    })
}

#[workflow]
async fn order_workflow(ctx: WorkflowContext, order_id: String) -> Result<OrderDone, WorkflowError> {
    let order = ctx.step(validate_order, order_id).await?;
    if !order.valid {
        return Ok(OrderDone::invalid(order));
    }
    let charge = ctx.step(charge_customer, order.clone()).await?;
    ctx.sleep(Duration::from_secs(2)).named("settle").await?;
    ctx.step(send_confirmation, (order, charge)).await
}

#[function]
async fn none(_ctx: FunctionContext) -> Result<(), StepError> {
    Ok(())
}

#[function]
async fn one(_ctx: FunctionContext, mut number: u64) -> Result<u64, StepError> {
    number += 1;
    Ok(number)
}

#[function]
async fn pair(_ctx: FunctionContext, (left, right): (u8, u8)) -> Result<u16, StepError> {
    Ok(u16::from(left) + u16::from(right))
}

#[function]
async fn three(_ctx: FunctionContext, ctx: String, input: Option<u16>, _: Vec<f32>) -> Result<String, StepError> {
    Ok(format!("{ctx}{input:?}"))
}

/// Lives in another binary.
#[function(name = "mail.send", queue = "mail-1", total_timeout = "1h 30m", at_most_once)]
pub async fn send_mail(ctx: FunctionContext, to: String) -> Result<(), StepError>;

#[function(retries(multiplier = 3))]
async fn r#match(_ctx: FunctionContext) -> Result<(), StepError> {
    Ok(())
}

#[workflow]
async fn with_literals(ctx: WorkflowContext) -> Result<String, WorkflowError> {
    ctx.step(none, ()).await?;
    let _: u64 = ctx.step(one, 1).await?;
    let _: u16 = ctx.step(pair, (1, 2)).await?;
    ctx.step(send_mail, "a@example.com".into()).await?;
    ctx.step(r#match, ()).await?;
    ctx.step(three, ("x".to_owned(), None, vec![1.0])).await
}

#[workflow]
async fn shadows_the_name(ctx: WorkflowContext) -> Result<u64, WorkflowError> {
    let one = ctx.step(one, 1);
    let none = ctx.step(none, ());
    none.await?;
    one.await
}

#[workflow]
async fn holds_an_rc_across_an_await(ctx: WorkflowContext) -> Result<u64, WorkflowError> {
    let seen = Rc::new(Cell::new(0));
    for number in 0..3 {
        seen.set(seen.get() + ctx.step(one, number).await?);
    }
    Ok(seen.get())
}

async fn borrows(ctx: &WorkflowContext, number: u64) -> Result<u64, WorkflowError> {
    ctx.step(one, number).await
}

#[workflow]
async fn borrows_the_context_in_branches(ctx: WorkflowContext) -> Result<u64, WorkflowError> {
    let (left, right) = join!(borrows(&ctx, 1), borrows(&ctx, 2));
    let (first, second) = try_join!(borrows(&ctx, 3), ctx.step(one, 4))?;
    let raced = select! {
        number = borrows(&ctx, 5) => number?,
        slept = ctx.sleep(Duration::from_secs(1)) => { slept?; 0 }
    };
    let mut all: FuturesUnordered<StepFuture<u64>> = (0..3).map(|number| ctx.step(one, number)).collect();
    let mut sum = left? + right? + first + second + raced;
    while let Some(number) = all.next().await {
        sum += number?;
    }
    Ok(sum)
}

#[workflow]
async fn awaits_the_same_step_again_in_a_loop(ctx: WorkflowContext) -> Result<u64, WorkflowError> {
    let mut step = ctx
        .step(one, 1)
        .key("only")
        .queue("slow")
        .retries(3)
        .timeout(Duration::from_secs(5))
        .total_timeout(Duration::from_secs(60));
    loop {
        select! {
            biased;
            number = &mut step => return number,
            slept = ctx.sleep(Duration::from_secs(1)).named("tick") => slept?,
        }
    }
}

#[workflow(name = "shop.everything", version = 2)]
async fn uses_the_rest(ctx: WorkflowContext, due: Timestamp, retries: u32) -> Result<String, WorkflowError> {
    ctx.sleep_until(due).key("due").await?;
    let drawn: u64 = ctx
        .run("draw", move || async move { Ok(u64::from(retries)) })
        .timeout(Duration::from_secs(1))
        .await?;
    let text = ctx
        .run("read", || async { Ok(std::fs::read_to_string("/etc/hostname")?) })
        .await?;
    let _ = ctx.step(one, drawn).retries(RetryPolicy::once()).at_most_once().await?;
    let doubled = one(ctx.inline(), drawn).await?;
    if doubled == 0 {
        Err("nothing drawn")?;
    }
    let parsed: u32 = "7".parse()?;
    ctx.log(format_args!("{parsed} at {}", ctx.now()));
    ctx.log_at(LogLevel::DEBUG, text);
    with_literals(ctx.clone()).await.map_err(|error| error.context("inside"))?;
    Ok(format!("{} {} {}", ctx.run_id(), ctx.uuid(), ctx.random()))
}

/// Driven by another binary.
#[workflow]
async fn elsewhere(ctx: WorkflowContext, input: Order) -> Result<Charge, WorkflowError>;

mod inner {
    use everstep::prelude::*;

    /// Imported by its name, a function comes as type and as value.
    #[function]
    pub(crate) async fn visible(_ctx: FunctionContext) -> Result<(), StepError> {
        Ok(())
    }
}

use inner::visible;

#[workflow]
async fn imports(ctx: WorkflowContext) -> Result<(), WorkflowError> {
    ctx.step(visible, ()).await
}

/// Documented, and there only under its condition.
#[function]
#[cfg(not(test))]
async fn conditional(_ctx: FunctionContext) -> Result<u8, StepError> {
    Ok(0)
}

#[function]
#[cfg(test)]
#[allow(unused_variables, reason = "attributes are those of the code")]
#[tracing::instrument(skip_all)]
async fn conditional(ctx: FunctionContext, input: u8) -> Result<u8, StepError> {
    let unused = 1;
    Ok(input)
}

#[workflow]
async fn deprecated_steps(ctx: WorkflowContext) -> Result<u8, WorkflowError> {
    #[deprecated = "use another"]
    #[function]
    async fn local(_ctx: FunctionContext) -> Result<u8, StepError> {
        Ok(1)
    }
    #[expect(deprecated)]
    let one = ctx.step(local, ()).await?;
    Ok(one + ctx.step(conditional, 1).await?)
}

fn input_of<F: Function>() -> &'static str {
    std::any::type_name::<F::Input>()
}

#[test]
fn one_argument_is_the_input_several_are_a_tuple_none_is_unit() {
    assert_eq!(input_of::<none>(), "()");
    assert_eq!(input_of::<one>(), "u64");
    assert_eq!(input_of::<pair>(), "(u8, u8)");
    assert_eq!(input_of::<conditional>(), "u8");
    assert!(input_of::<three>().starts_with("(alloc::string::String, core::option::Option<u16>, "));
}

#[function(
    max_crashes = 2,
    timeout = "1m",
    start_timeout = "5s",
    heartbeat_timeout = "10s",
    retries(
        max_attempts = 9,
        backoff = "linear",
        initial = "2s",
        max = "30s",
        jitter = false,
        total = "10m",
        never("NotFound", "panic")
    )
)]
async fn import(ctx: FunctionContext) -> Result<(), StepError>;

/// Delays that do not grow need no cap, however long they are.
#[function(retries(backoff = "constant", initial = "2m"))]
async fn rebuild(ctx: FunctionContext) -> Result<(), StepError>;

#[test]
fn what_is_declared_is_what_is_known() {
    let charge = charge_customer::declaration();
    assert_eq!(charge.name.as_str(), "charge_customer");
    assert_eq!(
        charge.options.retries,
        RetryPolicy {
            max_attempts: 3,
            ..RetryPolicy::default()
        }
    );
    assert_eq!(charge.options.timeout, Some(Duration::from_secs(10)));

    let mail = send_mail::declaration();
    assert_eq!((mail.name.as_str(), send_mail::NAME), ("mail.send", "mail.send"));
    assert_eq!(mail.options.queue.as_str(), "mail-1");
    assert_eq!(mail.options.total_timeout, Duration::from_secs(5400));
    assert_eq!((mail.options.at_most_once, mail.options.retries.max_attempts), (true, 1));

    let import = &import::declaration().options;
    let policy = RetryPolicy::linear(Duration::from_secs(2))
        .attempts(9)
        .cap(Duration::from_secs(30))
        .without_jitter()
        .total(Duration::from_secs(600))
        .never("NotFound")
        .never("panic");
    assert_eq!((&import.retries, import.max_crashes), (&policy, 2));
    assert_eq!(
        rebuild::declaration().options.retries,
        RetryPolicy::constant(Duration::from_secs(120))
    );
    let seconds = |seconds| Some(Duration::from_secs(seconds));
    assert_eq!(
        (import.timeout, import.start_timeout, import.heartbeat_timeout),
        (seconds(60), seconds(5), seconds(10))
    );

    assert_eq!(r#match::NAME, "match");
    assert_eq!(
        r#match::declaration().options.retries.growth,
        everstep::Growth::Exponential(3.0)
    );
    assert_eq!((uses_the_rest::NAME, uses_the_rest::VERSION), ("shop.everything", 2));
    assert_eq!((elsewhere::NAME, elsewhere::VERSION), ("elsewhere", 1));
}

#[test]
fn workflows_have_their_code_here() {
    fn here<W: WorkflowBody>() -> &'static str {
        W::NAME
    }
    let names = [
        here::<order_workflow>(),
        here::<with_literals>(),
        here::<shadows_the_name>(),
        here::<holds_an_rc_across_an_await>(),
        here::<borrows_the_context_in_branches>(),
        here::<awaits_the_same_step_again_in_a_loop>(),
        here::<imports>(),
        here::<deprecated_steps>(),
    ];
    assert_eq!(names[0], "order_workflow");
}

#[function]
async fn factorial(ctx: FunctionContext, number: u64) -> Result<u64, StepError> {
    // The name means the function to its own code too, so that it can call itself.
    if number < 2 {
        Ok(1)
    } else {
        Ok(number * factorial(ctx, number - 1).await?)
    }
}

#[workflow]
async fn countdown(ctx: WorkflowContext, from: u64) -> Result<u64, WorkflowError> {
    ctx.sleep(Duration::from_secs(1)).await?;
    if from == 0 {
        Ok(ctx.step(factorial, 3).await?)
    } else {
        countdown(ctx, from - 1).await
    }
}

#[test]
fn functions_and_workflows_may_call_themselves() {
    assert_eq!((factorial::NAME, countdown::NAME), ("factorial", "countdown"));
}

#[test]
fn what_the_macros_check_arguments_against_is_what_the_engine_does() {
    let options = &none::declaration().options;
    assert_eq!(options.total_timeout, Duration::from_secs(24 * 60 * 60));
    assert_eq!(options.retries.max, Duration::from_secs(60));
    assert_eq!(everstep_common::limits::NAME_CHARS_MAX, 128);
}

#[workflow(
    on(event("order.placed")),
    on(cron("0 9 * * *")),
    on(cron("0 8 * * *", name = "early")),
    on(webhook("stripe")),
    on(cron("0 10 * * *"))
)]
async fn scheduled(ctx: WorkflowContext) -> Result<(), WorkflowError> {
    let _ = ctx;
    Ok(())
}

#[test]
fn a_schedule_without_a_name_is_called_by_its_place_among_those_alone() {
    use everstep::trigger::Trigger;

    let named = scheduled::triggers().into_iter().filter_map(|trigger| match trigger {
        Trigger::Cron(cron) => Some(cron.name),
        Trigger::Event(_) => None,
    });
    assert_eq!(named.collect::<Vec<_>>(), ["cron", "early", "cron~2"]);
}

#[workflow(
    on(event("shop.visited", limit_key = "shop.id", session = "@.source", delay = "1m")),
    on(webhook("stripe", priority = -7, deadline = "1h", tags("tenant=acme", "formula=a=b"))),
    on(cron("0 9 * * *", limit_key = "the yard", session = "yard", priority = 3))
)]
async fn under_terms(ctx: WorkflowContext) -> Result<(), WorkflowError> {
    let _ = ctx;
    Ok(())
}

#[test]
fn what_a_trigger_says_of_its_runs_is_looked_up_in_an_event_and_stands_as_it_is_at_a_schedule() {
    use everstep::trigger::{RunTerms, TermText, Trigger};

    let terms = under_terms::triggers().into_iter().map(|trigger| match trigger {
        Trigger::Event(event) => event.terms,
        Trigger::Cron(cron) => cron.terms,
    });
    let path = |text: &str| Some(TermText::Path(text.to_owned()));
    let fixed = |text: &str| Some(TermText::Fixed(text.to_owned()));
    let tag = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let expected = [
        RunTerms {
            limit_key: path("shop.id"),
            session: path("@.source"),
            ..RunTerms::default()
        },
        RunTerms {
            priority: -7,
            deadline: Some(Duration::from_secs(3_600)),
            tags: [tag("tenant", "acme"), tag("formula", "a=b")].into(),
            ..RunTerms::default()
        },
        RunTerms {
            limit_key: fixed("the yard"),
            session: fixed("yard"),
            priority: 3,
            ..RunTerms::default()
        },
    ];
    assert_eq!(terms.collect::<Vec<_>>(), expected);
}
