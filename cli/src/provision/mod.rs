//! `everstep provision`: makes what a deployment needs on the server, or prints it for an administrator to make.

mod permissions;

use std::process::ExitCode;
use std::sync::Arc;

use everstep::QueueName;
use everstep_common::ports::{Broker, Ensured, TopologyError};
use everstep_common::store::{Deployment, DeploymentError, QueueError, Store};
use everstep_common::subject::Names;
use everstep_common::topology::Durability;
use everstep_nats::TokioClock;
use serde_json::{Value, json};

use crate::arguments::{Global, Provision};
use crate::connection::connect;
use crate::output::{self, count};
use crate::problem::{Exit, Problem, chain};

/// How many partitions a deployment gets unless it is told otherwise: room for as many orchestrators.
const PARTITIONS: u32 = 8;

/// Makes what is missing, and grows what may grow; what is there and otherwise is named, and left alone.
pub(crate) async fn provision(global: &Global, arguments: Provision) -> Result<ExitCode, Problem> {
    let fresh = Deployment::single_node(global.server.prefix.clone()).with_partitions(PARTITIONS);
    if arguments.print {
        return print(&wanted(fresh, None, &arguments), &arguments);
    }
    let broker: Arc<dyn Broker> = connect(global).await?;
    let known = match Deployment::load(&broker, &global.server.prefix).await {
        Ok(known) => Some(known),
        Err(DeploymentError::Missing { .. }) => None,
        Err(error) => return Err(problem(&error)),
    };
    let deployment = wanted(fresh, known.clone(), &arguments);
    let changes = match &known {
        Some(known) => changes(known, &deployment)?,
        None => Vec::new(),
    };
    if arguments.dry_run {
        return dry_run(global, &broker, &deployment, &changes, &arguments.queues).await;
    }
    let mut ensured = deployment
        .provision(&broker, &TokioClock)
        .await
        .map_err(|error| problem(&error))?;
    ensured.extend(make_queues(broker, &deployment, &arguments.queues).await?);
    report(global, &deployment, &changes, &ensured)?;
    for change in &changes {
        eprintln!("{change}");
    }
    if let Some(known) = &known {
        explain(known, &deployment);
    }
    let has_new_files = ensured.iter().any(|(_, did)| *did == Ensured::Created);
    if has_new_files && deployment.durability == Durability::Relaxed {
        eprintln!("hint: run `sync` on the server's machine now: a power cut before new streams are on the disk loses them whole");
    }
    Ok(ExitCode::SUCCESS)
}

/// Makes the task queues ahead, which orchestrators would do at the first task.
async fn make_queues(
    broker: Arc<dyn Broker>,
    deployment: &Deployment,
    queues: &[QueueName],
) -> Result<Vec<(String, Ensured)>, Problem> {
    let (store, _) = Store::new(broker, Arc::new(TokioClock), deployment.clone());
    let mut ensured = Vec::new();
    for queue in queues {
        let stream = store.names().task_stream(queue);
        let did = match store.broker().stream_info(&stream).await? {
            Some(_) => Ensured::Existed,
            None => Ensured::Created,
        };
        store.ensure_queue(queue).await.map_err(|error| match error {
            QueueError::Topology { source, .. } => problem(&source.into()),
            error => Problem::new(Exit::Failed, chain(&error)),
        })?;
        ensured.push((stream, did));
    }
    Ok(ensured)
}

/// What was asked for, and for the rest what is there already, else what is `fresh`.
fn wanted(fresh: Deployment, known: Option<Deployment>, arguments: &Provision) -> Deployment {
    let base = match (known, arguments.partitions) {
        (Some(known), Some(partitions)) => known.grown_to(partitions),
        (Some(known), None) => known,
        (None, Some(partitions)) => fresh.with_partitions(partitions),
        (None, None) => fresh,
    };
    let durability = arguments.durability.map_or(base.durability, Into::into);
    let replicas = arguments.replicas.map_or(base.replicas, usize::from);
    let ack_wait = arguments.ack_wait.unwrap_or(base.ack_wait);
    base.with_durability(durability)
        .with_replicas(replicas)
        .with_ack_wait(ack_wait)
}

/// What will be another in the record.
fn changes(known: &Deployment, wanted: &Deployment) -> Result<Vec<String>, Problem> {
    if (1..known.partitions).contains(&wanted.partitions) {
        let message = format_args!(
            "the deployment has {}, and cannot have fewer",
            count(known.partitions, "partition")
        );
        return Err(
            Problem::new(Exit::Conflict, message).hint("runs live in all of them; leave --partitions out to keep what is there")
        );
    }
    known.changes_to(wanted).map_err(|error| problem(&error))
}

/// What a change means for those who are at work.
fn explain(known: &Deployment, deployment: &Deployment) {
    if deployment.partitions > known.partitions {
        eprintln!(
            "hint: orchestrators notice the new partitions and share them; clients start runs there once they connect anew; \
             runs with a start key stay in the first {}",
            match deployment.keyed_partitions {
                1 => "partition".to_owned(),
                several => count(several, "partition"),
            }
        );
    }
    if deployment.durability != known.durability {
        eprintln!(
            "hint: this changes the record only: `everstep doctor --monitor` tells whether the server does so; \
             orchestrators, workers and clients go by it once they are restarted"
        );
    }
}

fn report(global: &Global, deployment: &Deployment, changes: &[String], ensured: &[(String, Ensured)]) -> std::io::Result<()> {
    let did = |ensured: &Ensured| match ensured {
        Ensured::Created => "created",
        Ensured::Existed => "existed",
    };
    if global.json {
        let streams: Vec<_> = ensured
            .iter()
            .map(|(name, ensured)| json!({ "stream": name, "did": did(ensured) }))
            .collect();
        return output::json_pretty(&json!({ "deployment": deployment, "changes": changes, "streams": streams }));
    }
    let mut table = output::table(["STREAM", "DID"]);
    for (name, ensured) in ensured {
        table.add_row([name.as_str(), did(ensured)]);
    }
    output::print_table(&table)
}

async fn dry_run(
    global: &Global,
    broker: &Arc<dyn Broker>,
    deployment: &Deployment,
    changes: &[String],
    queues: &[QueueName],
) -> Result<ExitCode, Problem> {
    let names = Names::new(deployment.prefix.clone());
    let task_streams = queues.iter().map(|queue| deployment.task_stream(&names, queue));
    let mut missing = Vec::new();
    for stream in deployment.streams().into_iter().chain(task_streams) {
        if broker.stream_info(&stream.name).await?.is_none() {
            missing.push(stream.name);
            continue;
        }
        // It exists, so this compares and makes nothing.
        broker.ensure_stream(&stream).await.map_err(|error| problem(&error.into()))?;
    }
    if global.json {
        output::json(&json!({ "dry_run": true, "deployment": deployment, "would_change": changes, "would_create": missing }))?;
    } else if missing.is_empty() && changes.is_empty() {
        eprintln!("would do nothing");
    } else {
        let created = missing.iter().map(|stream| format!("would create {stream}"));
        let changed = changes.iter().map(|change| format!("would change {change}"));
        created.chain(changed).for_each(|line| eprintln!("{line}"));
    }
    Ok(ExitCode::SUCCESS)
}

/// Everything that an administrator must create where our own credentials may not.
fn print(deployment: &Deployment, arguments: &Provision) -> Result<ExitCode, Problem> {
    let names = Names::new(deployment.prefix.clone());
    let mut streams: Vec<Value> = deployment.streams().iter().map(everstep_nats::stream_config).collect();
    for queue in &arguments.queues {
        streams.push(everstep_nats::stream_config(&deployment.task_stream(&names, queue)));
    }
    let consumers: Vec<Value> = deployment
        .all_partitions()
        .map(|partition| {
            let config = everstep_nats::consumer_config(&deployment.timer_consumer(&names, partition));
            json!({ "stream": names.timer_stream(partition), "config": config })
        })
        .collect();
    output::json_pretty(&json!({
        "streams": streams,
        "consumers": consumers,
        "permissions": permissions::by_role(&deployment.prefix, &arguments.queues),
    }))?;
    eprintln!(
        "hint: each of `streams` is a file for `nats stream add --config`, each `config` of `consumers` one for `nats consumer add`"
    );
    eprintln!("hint: then `everstep provision` with the same options, as the orchestrator, records the deployment");
    Ok(ExitCode::SUCCESS)
}

fn problem(error: &DeploymentError) -> Problem {
    let message = chain(error);
    match error {
        DeploymentError::Differs { .. } => Problem::new(Exit::Conflict, message)
            .hint("leave the option out to keep what is there, or take another --prefix for another deployment"),
        DeploymentError::Topology(TopologyError::Differs { .. }) => Problem::new(Exit::Conflict, message)
            .hint("`nats stream edit` can mend what the server lets change; Everstep never changes a stream"),
        DeploymentError::Topology(TopologyError::Unavailable { .. }) => Problem::new(Exit::TimedOut, message),
        DeploymentError::Topology(TopologyError::Rejected { .. }) => Problem::new(Exit::Failed, message)
            .hint("if these credentials may not create streams, `everstep provision --print` is for someone whose may"),
        DeploymentError::Invalid(_) => Problem::new(Exit::Usage, message),
        _ => Problem::new(Exit::Failed, message),
    }
}
