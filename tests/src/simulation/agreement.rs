//! The scenarios' workflows on a real server: what they record there is what they record on the simulated one.

use std::collections::BTreeMap;
use std::sync::Arc;

use everstep::{App, AppOptions, Client, ConnectOptions, IntoWorkflow, Prefix, QueueName, Workflow};
use everstep_common::ids::RunId;
use everstep_common::journal::EntryKey;
use everstep_common::ports::{Broker, Clock};
use everstep_common::store::Deployment;
use everstep_common::summary::RunStatus;
use everstep_nats::{NatsBroker, TokioClock};
use futures::future::LocalBoxFuture;
use futures::{FutureExt, future::join_all};

use super::ledger::Ledger;
use super::scenarios::scenarios;
use super::settings::Settings;
use super::{driver, shop, story};
use crate::processes::{DEADLINE, until};

/// How each run ended and what it recorded, by start key.
type Ends = BTreeMap<String, Vec<String>>;

/// What the scenarios record on the simulated server.
pub fn recorded_on_the_simulated_server() -> Ends {
    let played = scenarios().into_iter();
    played
        .flat_map(|scenario| driver::play(&scenario, Settings::default()).ends)
        .collect()
}

/// What the same runs record on the server at `url`, driven by an orchestrator and a worker in this process.
pub async fn recorded_on(url: &str, replicas: usize) -> anyhow::Result<Ends> {
    let connect = ConnectOptions::to(url);
    let broker: Arc<dyn Broker> = NatsBroker::connect(connect.clone()).await?;
    let deployment = Deployment::single_node(Prefix::none()).with_replicas(replicas);
    deployment.provision(&broker, &TokioClock).await?;
    let mut options = AppOptions::new(connect.clone());
    options.queues = vec![QueueName::default_queue(), QueueName::new("gpu")?];
    let ledger = Ledger::default();
    let clock = shop::FunctionClock(Arc::new(TokioClock) as Arc<dyn Clock>);
    let app = shop::application(App::new().resource(ledger.clone()).resource(clock));
    let running = app.start(options).await?;
    let client = Client::connect(connect).await?;
    let ends = join_all(all(&client)).await.into_iter().collect();
    running.stop().await?;
    for (effect, keys) in ledger.effects() {
        assert_eq!(keys, 1, "{effect:?} was asked for under {keys} idempotency keys");
    }
    Ok(ends)
}

/// The runs, under the keys that the scenarios give them.
fn all(client: &Client) -> Vec<LocalBoxFuture<'_, (String, Vec<String>)>> {
    vec![
        end_of(client, shop::order, "o-1".to_owned(), "order").boxed_local(),
        end_of(client, shop::fan_out, 20, "fan-out").boxed_local(),
        end_of(client, shop::retried, (2, false), "retried").boxed_local(),
        end_of(client, shop::retried, (1, true), "panicking").boxed_local(),
        end_of(client, shop::retried, (9, false), "used up").boxed_local(),
        end_of(client, shop::compensated, (), "compensated").boxed_local(),
        end_of(client, shop::local, (), "closures").boxed_local(),
        end_of(client, shop::overtime, (), "overtime").boxed_local(),
        end_of(client, shop::sleeper, (), "sleeper").boxed_local(),
        end_of(client, shop::race, (), "race").boxed_local(),
        end_of(client, shop::large, shop::large_input(), "large").boxed_local(),
        end_of(client, shop::two_queues, (), "two queues").boxed_local(),
        end_of(client, shop::endless, (), "endless").boxed_local(),
        end_of(client, shop::stuck, (), "stuck").boxed_local(),
    ]
}

/// Starts a run and waits for its end; those that would never end are cancelled as in their scenarios.
async fn end_of<W, Marker>(
    client: &Client,
    workflow: W,
    input: <W::Workflow as Workflow>::Input,
    key: &str,
) -> (String, Vec<String>)
where
    W: IntoWorkflow<Marker>,
{
    let start = client.start(workflow, input).key(key).await.expect("a start");
    let run = start.id().clone();
    match key {
        "endless" => until("its first step", async || has_step(client, &run).await).await,
        "stuck" => until("it to park", async || is_parked(client, &run).await).await,
        _ => {}
    }
    if ["endless", "stuck"].contains(&key) {
        client.cancel(&run, "enough").await.expect("a cancel");
    }
    let ended = tokio::time::timeout(DEADLINE, client.run::<()>(run.clone()).outcome()).await;
    ended.expect("the run is not lost").expect("an outcome");
    let journal = client.history(&run).await.expect("a journal");
    (key.to_owned(), story::lines(&journal))
}

async fn has_step(client: &Client, run: &RunId) -> bool {
    let journal = client.history(run).await.expect("a journal");
    journal.iter().any(|entry| matches!(entry.key, EntryKey::Step(_)))
}

async fn is_parked(client: &Client, run: &RunId) -> bool {
    client
        .status(run)
        .await
        .is_ok_and(|summary| summary.status == RunStatus::Parked)
}
