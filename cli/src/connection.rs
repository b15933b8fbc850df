//! The deployment that the command line names, and the run in it that a person means.

use std::sync::Arc;

use everstep::{Client, ClientError, ListFilter, RunId};
use everstep_common::ports::{Broker, ReadError};
use everstep_nats::{NatsBroker, TokioClock};

use crate::arguments::Global;
use crate::problem::{Exit, Problem};

/// How many of several runs that are meant are named.
const CANDIDATES_MAX: usize = 5;

/// A connection, and the client over it.
pub(crate) struct Connection {
    pub broker: Arc<NatsBroker>,
    pub client: Client,
}

/// Connects, without asking whether anything is provisioned there.
pub(crate) async fn connect(global: &Global) -> Result<Arc<NatsBroker>, Problem> {
    let options = global.server.connect().named("everstep-cli");
    Ok(NatsBroker::connect(options).await?)
}

/// Connects to the deployment.
pub(crate) async fn open(global: &Global) -> Result<Connection, Problem> {
    let broker = connect(global).await?;
    let client = Client::over(broker.clone(), Arc::new(TokioClock), &global.server.prefix).await?;
    Ok(Connection { broker, client })
}

impl Connection {
    /// The run that `text` names: its id, or the beginning of it, with or without the partition in front.
    pub(crate) async fn find_run(&self, text: &str) -> Result<RunId, Problem> {
        if let Ok(run) = text.parse() {
            return Ok(run);
        }
        if text.is_empty() {
            return Err(Problem::new(Exit::Usage, "a run id is not empty"));
        }
        let mut found = self.in_summaries(text).await?;
        if found.is_empty() {
            found = self.in_journals(text).await?;
        }
        match found.as_slice() {
            [run] => Ok(run.clone()),
            [] => Err(
                Problem::new(Exit::NotFound, format_args!("there is no run whose id begins with {text}"))
                    .hint("`everstep runs ls` lists the runs that there are"),
            ),
            several => Err(ambiguous(text, several)),
        }
    }

    async fn in_summaries(&self, text: &str) -> Result<Vec<RunId>, Problem> {
        let all = ListFilter {
            limit: usize::MAX,
            ..ListFilter::default()
        };
        let listed = match self.client.list(&all).await {
            // Lost, and made again by `everstep provision`; the journals know better anyway.
            Err(ClientError::List(ReadError::NoStream)) => return Ok(Vec::new()),
            listed => listed?,
        };
        Ok(listed
            .into_iter()
            .map(|one| one.run)
            .filter(|run| is_meant(run, text))
            .collect())
    }

    /// A run that no orchestrator has seen yet has no summary.
    async fn in_journals(&self, text: &str) -> Result<Vec<RunId>, Problem> {
        let store = self.client.store();
        let names = store.names();
        let mut found = Vec::new();
        for partition in store.deployment().all_partitions() {
            let starts = names.kind_filter(partition, "start");
            let starts = self.broker.subjects(&names.journal_stream(partition), &starts).await?;
            let runs = starts.iter().filter_map(|start| Some(names.parse_entry(start)?.0));
            found.extend(runs.filter(|run| is_meant(run, text)));
        }
        Ok(found)
    }
}

fn is_meant(run: &RunId, text: &str) -> bool {
    let id = run.as_str();
    let unique = id.split_once('-').map_or(id, |(_, unique)| unique);
    id.starts_with(text) || unique.starts_with(text)
}

fn ambiguous(text: &str, several: &[RunId]) -> Problem {
    let mut named: Vec<&str> = several.iter().take(CANDIDATES_MAX).map(RunId::as_str).collect();
    if several.len() > CANDIDATES_MAX {
        named.push("…");
    }
    let message = format!("{} runs begin with {text}: {}", several.len(), named.join(", "));
    Problem::new(Exit::Usage, message).hint("give more of the id")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_meant_by_the_beginning_of_its_id_or_of_its_unique_part() {
        let run: RunId = "3-0123456789abcdef0123456789abcdef".parse().unwrap();
        assert!(["3-01", "0123", "3"].iter().all(|text| is_meant(&run, text)));
        assert!(["3-1", "123", "4"].iter().all(|text| !is_meant(&run, text)));
    }
}
