//! The application under test: every step books in the ledger under its idempotency key.

use std::net::SocketAddr;

use everstep::App;
use everstep::prelude::*;

use super::examples::with_examples;
use super::ledger::{book, hold};

/// Names the ledger's address to the application's processes.
pub const LEDGER_VARIABLE: &str = "EVERSTEP_TEST_LEDGER";

struct LedgerAt(SocketAddr);

/// Books one charge.
#[function(retries(max_attempts = 10, initial = "50ms", max = "500ms"), timeout = "5s")]
pub async fn charge(ctx: FunctionContext, cents: u64) -> Result<u64, StepError> {
    book(ctx.resource::<LedgerAt>().0, "charge", ctx.idempotency_key()).await?;
    Ok(cents)
}

/// Fails at its first attempt, books at its second.
#[function(retries(max_attempts = 10, initial = "50ms", max = "500ms"))]
pub async fn confirm(ctx: FunctionContext, cents: u64) -> Result<u64, StepError> {
    if ctx.attempt() == 1 {
        return Err(StepError::retryable("not yet"));
    }
    book(ctx.resource::<LedgerAt>().0, "confirm", ctx.idempotency_key()).await?;
    Ok(cents)
}

/// Panics at its first attempt, takes longer than its timeout at its second, books at its third.
#[function(retries(max_attempts = 10, initial = "10ms", max = "20ms"), timeout = "1s")]
pub async fn stumble(ctx: FunctionContext, cents: u64) -> Result<u64, StepError> {
    match ctx.attempt() {
        1 => panic!("stumbled"),
        2 => std::future::pending().await,
        _ => book(ctx.resource::<LedgerAt>().0, "stumble", ctx.idempotency_key()).await?,
    }
    Ok(cents)
}

/// Books, then blocks its thread for longer than a task may be silent.
#[function]
#[expect(clippy::disallowed_methods, reason = "what a careless author does")]
pub async fn block(ctx: FunctionContext, cents: u64) -> Result<u64, StepError> {
    book(ctx.resource::<LedgerAt>().0, "block", ctx.idempotency_key()).await?;
    std::thread::sleep(Duration::from_secs(5));
    Ok(cents)
}

/// At work for a while, five at a time in the whole deployment.
#[function(limit(concurrency = 5))]
#[expect(clippy::disallowed_methods, reason = "a function may sleep as it likes")]
pub async fn narrow(ctx: FunctionContext) -> Result<(), StepError> {
    let ledger = ctx.resource::<LedgerAt>().0;
    let present = hold(ledger, "narrow").await?;
    tokio::time::sleep(Duration::from_millis(20)).await;
    drop(present);
    book(ledger, "narrow", ctx.idempotency_key()).await?;
    Ok(())
}

/// So many of them.
#[workflow]
pub async fn crowd(ctx: WorkflowContext, width: u64) -> Result<(), WorkflowError> {
    let steps = (0..width).map(|_| ctx.step(narrow, ()));
    futures::future::join_all(steps).await.into_iter().collect()
}

/// Functions that misbehave, one after the other.
#[workflow]
pub async fn misbehave(ctx: WorkflowContext, cents: u64) -> Result<u64, WorkflowError> {
    let cents = ctx.step(stumble, cents).await?;
    ctx.step(block, cents).await
}

/// Three charges at once, a nap, a closure, a confirmation that needs two attempts: five mutations less the closure's none.
#[workflow]
pub async fn order(ctx: WorkflowContext, cents: u64) -> Result<u64, WorkflowError> {
    let (one, two, three) = futures::join!(ctx.step(charge, cents), ctx.step(charge, cents), ctx.step(charge, cents));
    ctx.sleep(Duration::from_millis(200)).named("settle").await?;
    let sum = one? + two? + three?;
    let sum = ctx.run("round", move || async move { Ok(sum.next_multiple_of(100)) }).await?;
    ctx.step(confirm, sum).await
}

/// One charge after a nap that outlasts a restart.
#[workflow]
pub async fn refund(ctx: WorkflowContext, cents: u64) -> Result<u64, WorkflowError> {
    ctx.sleep(Duration::from_secs(1)).named("cool off").await?;
    ctx.step(charge, cents).await
}

/// Adds one to what the runs of its session count together; what it then was.
#[workflow]
pub async fn visit(ctx: WorkflowContext) -> Result<u64, WorkflowError> {
    ctx.session().state().update("visit_count", 0, |visits: u64| visits + 1).await
}

/// One charge, then a recursion without end: no guard in the process can catch that.
#[workflow]
pub async fn plunge(ctx: WorkflowContext, cents: u64) -> Result<u64, WorkflowError> {
    let cents = ctx.step(charge, cents).await?;
    Ok(deeper(cents))
}

fn deeper(depth: u64) -> u64 {
    if depth == u64::MAX {
        return depth;
    }
    std::hint::black_box(deeper(depth + 1)) - 1
}

/// One charge, then a call that blocks the partition's thread.
#[workflow]
pub async fn blockade(ctx: WorkflowContext, cents: u64) -> Result<u64, WorkflowError> {
    let cents = ctx.step(charge, cents).await?;
    wait_for_ever();
    Ok(cents)
}

fn wait_for_ever() {
    loop {
        std::thread::park();
    }
}

/// One charge for each event of its name that is worth one, known by the order it speaks of.
#[workflow(on(event(
    "order.placed",
    filter = "cents > 0",
    input = "cents",
    dedupe = "order",
    delay = "500ms",
    limit_key = "order",
    session = "order",
    tags("shop=north")
)))]
pub async fn charge_placed(ctx: WorkflowContext, cents: u64) -> Result<u64, WorkflowError> {
    let cents = ctx.step(charge, cents).await?;
    ctx.emit("order.charged", &cents).await?;
    Ok(cents)
}

/// One confirmation for each charge that the other workflow tells of.
#[workflow(on(event("order.charged")))]
pub async fn confirm_charged(ctx: WorkflowContext, cents: u64) -> Result<u64, WorkflowError> {
    ctx.step(confirm, cents).await
}

/// Items charged four at a time, then a race that a charge wins, then a confirmation that is given a minute: one mutation for each item,
/// and two.
#[workflow]
pub async fn bulk_order(ctx: WorkflowContext, items: Vec<u64>) -> Result<u64, WorkflowError> {
    let charged = ctx.batch(charge, items).max_concurrency(4).await?;
    let sum: u64 = charged.outputs().map(|(_, cents)| cents).sum();
    let bored = async {
        ctx.sleep(Duration::from_secs(600)).await?;
        Ok(0)
    };
    let won = ctx.race((bored, async { ctx.step(charge, sum).await })).await?;
    let given_time = ctx.timeout(Duration::from_secs(600), async { ctx.step(confirm, won).await });
    let (confirmed, ()) = ctx.parallel((given_time, ctx.sleep(Duration::from_millis(200)))).await?;
    Ok(confirmed)
}

/// Books one part of a trip.
#[function(retries(max_attempts = 50, backoff = "constant", initial = "50ms"), timeout = "5s")]
pub async fn book_part(ctx: FunctionContext, part: u64) -> Result<u64, StepError> {
    book(ctx.resource::<LedgerAt>().0, "book", ctx.idempotency_key()).await?;
    Ok(part)
}

/// Cancels it again.
#[function(retries(max_attempts = 50, backoff = "constant", initial = "50ms"), timeout = "5s")]
pub async fn cancel_part(ctx: FunctionContext, _part: u64) -> Result<(), StepError> {
    book(ctx.resource::<LedgerAt>().0, "cancel", ctx.idempotency_key()).await?;
    Ok(())
}

/// Books three parts, two of them at once, and cannot be paid: six mutations.
#[workflow(on_failure = "rollback")]
pub async fn unpaid_trip(ctx: WorkflowContext) -> Result<(), WorkflowError> {
    let part = |number| ctx.step(book_part, number).compensate(cancel_part);
    ctx.parallel((part(1), part(2))).await?;
    ctx.sleep(Duration::from_millis(100)).await?;
    part(3).await?;
    Err(WorkflowError::new("it cannot be paid"))
}

/// Says where it is, and blocks its thread in its first attempt; goes on where that was in a later one.
#[function(heartbeat_timeout = "1s", timeout = "120s", retries(max_attempts = 20, initial = "10ms"))]
#[expect(clippy::disallowed_methods, reason = "what a careless author does")]
pub async fn freeze(ctx: FunctionContext) -> Result<u64, StepError> {
    let is_first = ctx.attempt() == 1;
    let done: u64 = if is_first { 7 } else { ctx.heartbeat_details().unwrap_or(0) };
    ctx.heartbeat(done);
    if is_first {
        std::thread::sleep(Duration::from_secs(60));
    }
    Ok(done)
}

/// A function that hangs.
#[workflow]
pub async fn frozen(ctx: WorkflowContext) -> Result<u64, WorkflowError> {
    ctx.step(freeze, ()).await
}

/// Two orders at once as runs of their own, a refund that nobody waits for, and the same again in the next run, three times in all: nine
/// mutations each time.
#[workflow]
pub async fn consignment(ctx: WorkflowContext, cents: u64, round: u64, sum: u64) -> Result<u64, WorkflowError> {
    let _refund = ctx.child(refund, cents).detached().await?;
    let (one, other) = ctx.parallel((ctx.child(order, cents), ctx.child(order, cents))).await?;
    let sum = sum + one + other;
    if round < 3 {
        return ctx.continue_as_new((cents, round + 1, sum));
    }
    Ok(sum)
}

/// A charge that somebody allows, a payment that beats boredom, a word of thanks, and a confirmation: two mutations.
#[workflow]
pub async fn reviewed_order(ctx: WorkflowContext, cents: u64) -> Result<u64, WorkflowError> {
    let decision = ctx
        .await_approval(Approval::of(format!("Charge {cents}"), &cents).named("charging"))
        .await?;
    let charged = ctx.step(charge, cents).requires(&decision).await?;
    let bored = async {
        ctx.sleep(Duration::from_secs(600)).await?;
        Ok(0)
    };
    let paid = async { ctx.signal::<u64>("paid").deadline(Duration::from_secs(600)).await };
    let thanks = async {
        let question = Question {
            name: Some("thanks".to_owned()),
            ..Question::default()
        };
        ctx.wait_for_user::<String>(question).await
    };
    let (paid, thanks) = ctx.parallel((ctx.race((bored, paid)), thanks)).await?;
    ctx.step(confirm, charged + paid + thanks.value.len() as u64).await
}

/// An account into which others pay by updates, each of them a charge, until it is closed: the sum.
#[workflow]
pub async fn paid_into(ctx: WorkflowContext) -> Result<u64, WorkflowError> {
    let mut sum = 0;
    loop {
        let pays = ctx.update::<u64, u64>("pay");
        let is_worth_it = |cents: &u64| if *cents >= 10 { Ok(()) } else { Err("less than ten cents") };
        select! {
            pay = pays.validate(is_worth_it) => {
                let pay = pay?;
                sum += ctx.step(charge, *pay.input()).await?;
                pay.reply(&sum)?;
            }
            close = ctx.signal::<u64>("close") => {
                close?;
                return Ok(sum);
            }
        }
    }
}

/// What an `order` of 100 cents returns.
pub fn hundred_cents() -> u64 {
    300
}

/// The application, with the ledger that the environment names.
///
/// # Panics
///
/// If [`LEDGER_VARIABLE`] does not hold an address.
pub fn application() -> App {
    let address = ledger_address();
    with_examples(App::new(), address)
        .resource(LedgerAt(address))
        .workflow(order)
        .workflow(refund)
        .workflow(consignment)
        .workflow(bulk_order)
        .workflow(reviewed_order)
        .workflow(paid_into)
        .workflow(misbehave)
        .workflow(plunge)
        .workflow(visit)
        .workflow(crowd)
        .function(narrow)
        .workflow(blockade)
        .workflow(charge_placed)
        .workflow(confirm_charged)
        .workflow(unpaid_trip)
        .workflow(frozen)
        .function(book_part)
        .function(cancel_part)
        .function(freeze)
        .function(stumble)
        .function(block)
        .function(charge)
        .function(confirm)
}

/// The ledger that the environment names, for the functions above.
pub(super) fn with_ledger(app: App) -> App {
    app.resource(LedgerAt(ledger_address()))
}

fn ledger_address() -> SocketAddr {
    let address = std::env::var(LEDGER_VARIABLE).expect("the address of the ledger");
    address.parse().expect("an address")
}
