//! A private server, an application on it, and the command as a user runs it.

use std::process::{Output, Stdio};
use std::time::Duration;

use everstep::prelude::*;
use everstep::{App, AppOptions, Client, DevOptions, DevServer, RunningApp};
use everstep_examples::approval::{approval_workflow, fulfil_order, prepare_order_summary};
use everstep_examples::onboarding::{onboard_customer, reach_out, research_customer};
use everstep_examples::order::{
    Charge, PaymentService, Payments, charge_customer, order_workflow, send_confirmation, validate_order,
};
use everstep_examples::stateful::stateful_workflow;
use everstep_examples::welcome::{send_welcome_email, welcome_workflow};
use futures::FutureExt;
use futures::future::BoxFuture;
use serde_json::Value;
use tokio::process::Command;

/// No command of these tests takes as long, on a slow machine too.
pub(crate) const ENDS_WITHIN: Duration = Duration::from_secs(60);

/// Charges by making up an id.
struct Pretend;

impl PaymentService for Pretend {
    fn charge<'a>(&'a self, total: u64, idempotency_key: &'a str) -> BoxFuture<'a, Result<Charge, StepError>> {
        let id = format!("ch_{idempotency_key}");
        std::future::ready(Ok(Charge { id, total })).boxed()
    }
}

/// Returns what it is sent.
#[workflow]
async fn paid(ctx: WorkflowContext) -> Result<u64, WorkflowError> {
    ctx.signal::<u64>("paid").await
}

/// Takes one name, of a friend, and never one for whom it waits in vain.
#[workflow]
async fn guest(ctx: WorkflowContext) -> Result<String, WorkflowError> {
    let invite = ctx.update::<String, usize>("invite");
    let is_friend = |name: &String| if name == "eve" { Err("not eve") } else { Ok(()) };
    let invite = invite.validate(is_friend).await?;
    let name = invite.input().clone();
    invite.reply(&name.len())?;
    ctx.signal::<()>("go").await?;
    Ok(name)
}

/// Asks two people at once, under one name in two branches.
#[workflow]
async fn outfit(ctx: WorkflowContext) -> Result<Vec<String>, WorkflowError> {
    let ask = async || {
        let question = Question {
            name: Some("which".to_owned()),
            ..Question::default()
        };
        Ok(ctx.wait_for_user::<String>(question).await?.value)
    };
    let (hat, coat) = ctx.parallel((ask(), ask())).await?;
    Ok(vec![hat, coat])
}

/// A server with a deployment on it.
pub(crate) struct World {
    pub server: DevServer,
}

/// How a command ended, and what it printed.
#[derive(Debug)]
pub(crate) struct Ended {
    pub code: i32,
    pub output: String,
    pub errors: String,
}

impl Ended {
    /// What it printed, as one JSON value.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.output).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// What it printed, as JSON values line by line.
    pub(crate) fn json_lines(&self) -> Vec<Value> {
        let lines = self.output.lines();
        lines
            .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {self:?}")))
            .collect()
    }

    /// The only line it printed.
    pub(crate) fn line(&self) -> String {
        assert_eq!((self.code, self.output.lines().count()), (0, 1), "{self:?}");
        self.output.trim_end().to_owned()
    }
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().expect("it was not killed"),
            output: String::from_utf8(output.stdout).unwrap(),
            errors: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl World {
    pub(crate) async fn start() -> Self {
        let server = DevServer::start(DevOptions::default()).await.unwrap();
        Self { server }
    }

    /// The order pipeline, in this process.
    pub(crate) async fn application(&self) -> RunningApp {
        application().start(AppOptions::new(self.server.connect())).await.unwrap()
    }

    pub(crate) async fn client(&self) -> Client {
        Client::connect(self.server.connect()).await.unwrap()
    }

    /// The command, told of the server as users tell it.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = command(arguments);
        command.env("NATS_URL", self.server.connect().servers.join(","));
        command
    }

    /// Runs the command to its end.
    pub(crate) async fn run(&self, arguments: &[&str]) -> Ended {
        ended(self.command(arguments)).await
    }
}

/// Limited by its code.
#[workflow(limit(concurrency = 50, per_key_rate = "5/min"))]
async fn limited(_ctx: WorkflowContext) -> Result<(), WorkflowError> {
    Ok(())
}

/// Shows how far it is, and waits.
#[workflow]
async fn lingering(ctx: WorkflowContext) -> Result<(), WorkflowError> {
    ctx.publish_view(&["half", "way"])?;
    ctx.state().set("phase", "waiting")?;
    ctx.sleep(Duration::from_secs(3_600)).await
}

/// Runs once a year.
#[workflow(on(cron("@yearly")))]
async fn yearly(ctx: WorkflowContext) -> Result<i32, WorkflowError> {
    ctx.sleep(Duration::from_millis(1)).await?;
    Ok(1)
}

/// A child for an hour.
#[workflow]
async fn guardian(ctx: WorkflowContext) -> Result<(), WorkflowError> {
    ctx.child(lingering, ()).key("ward").await
}

/// Goes on as new so many times.
#[workflow]
async fn hopping(ctx: WorkflowContext, hops: u32) -> Result<u32, WorkflowError> {
    if hops > 0 {
        return ctx.continue_as_new(hops - 1);
    }
    Ok(hops)
}

/// The examples, and workflows that linger, wait for each other, go on, and start by themselves.
pub(crate) fn application() -> App {
    App::new()
        .resource(Payments::new(Pretend))
        .workflow(order_workflow)
        .workflow(stateful_workflow)
        .workflow(lingering)
        .workflow(welcome_workflow)
        .workflow(yearly)
        .function(send_welcome_email)
        .workflow(guardian)
        .workflow(hopping)
        .workflow(limited)
        .function(validate_order)
        .function(charge_customer)
        .function(send_confirmation)
        .workflow(approval_workflow)
        .function(prepare_order_summary)
        .function(fulfil_order)
        .workflow(onboard_customer)
        .function(research_customer)
        .function(reach_out)
        .workflow(paid)
        .workflow(guest)
        .workflow(outfit)
}

/// The command, which knows of no server.
pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_everstep"));
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    for variable in [
        "NATS_URL",
        "NATS_CREDS",
        "NATS_CONTEXT",
        "EVERSTEP_PREFIX",
        "EVERSTEP_LOG",
        "EVERSTEP_QUEUES",
    ] {
        command.env_remove(variable);
    }
    command
}

/// Runs a command to its end.
pub(crate) async fn ended(mut command: Command) -> Ended {
    within(command.output()).await.unwrap().into()
}

/// What a command is to do in good time.
pub(crate) async fn within<T>(done: impl Future<Output = T>) -> T {
    let done = tokio::time::timeout(ENDS_WITHIN, done).await;
    done.expect("it is done in good time")
}
