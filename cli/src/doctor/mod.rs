//! `everstep doctor`: whether the server and the deployment on it are as they should be, and how to mend what is not.
//!
//! It changes nothing. `checks` looks at server, deployment and streams, `durability` at what acknowledged writes survive,
//! `permissions` at what these credentials may do, `report` prints.

mod checks;
mod durability;
mod permissions;
mod report;

use std::process::ExitCode;
use std::sync::Arc;

use everstep_common::ports::Broker;
use everstep_common::store::Deployment;

use crate::arguments::{Doctor, Global};
use crate::connection::connect;
use crate::problem::{Exit, Problem, chain};

use report::{Check, Verdict};

/// Runs every check, prints them, and ends in 1 if one of them found something wrong.
pub(crate) async fn doctor(global: &Global, arguments: Doctor) -> Result<ExitCode, Problem> {
    let checks = examine(global, &arguments).await;
    report::print(global, &checks)?;
    let is_wrong = checks.iter().any(|check| check.verdict == Verdict::Wrong);
    Ok(if is_wrong { Exit::Failed.into() } else { ExitCode::SUCCESS })
}

async fn examine(global: &Global, arguments: &Doctor) -> Vec<Check> {
    let broker = match connect(global).await {
        Ok(broker) => broker,
        // The error says what to do.
        Err(problem) => return vec![Check::wrong("server", problem.message())],
    };
    let mut checks = vec![checks::server(&broker), checks::jetstream(&broker).await];
    let port: Arc<dyn Broker> = broker.clone();
    match Deployment::load(&port, &global.server.prefix).await {
        Ok(deployment) => {
            checks.push(checks::deployment(&deployment));
            // What these credentials may not ask is not answered, so each of these may take seconds.
            let (durability, streams, queues, orchestrators, clock, permissions) = futures::join!(
                durability::check(&broker, &deployment, arguments.monitor.as_deref()),
                checks::streams(&port, &deployment),
                checks::queues(&port, &deployment, &arguments.queues),
                checks::orchestrators(&broker, &deployment),
                checks::clock(&broker, &deployment),
                permissions::check(&port, &deployment),
            );
            checks.push(durability);
            checks.extend(streams);
            checks.extend(queues);
            checks.extend([orchestrators, clock]);
            checks.extend(permissions);
        }
        Err(error) => checks.push(Check::wrong("deployment", chain(&error))),
    }
    checks
}
