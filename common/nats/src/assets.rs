//! Streams and consumers: made, compared, described, emptied.
//!
//! What exists is never changed: a difference is the operator's to resolve, and is named field by field.

use std::time::Duration;

use everstep_common::ports::{Ensured, ReadError, StreamInfo, TopologyError};
use everstep_common::topology::{ConsumerSpec, StreamSpec};
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use crate::api::{Api, Failure};
use crate::clock::pause;
use crate::refusal::{CONSUMER_NOT_FOUND, STREAM_NOT_FOUND, is_transient};
use crate::replies::ANSWER_TIMEOUT;
use crate::wire_config;

/// How soon a stream or consumer that cannot be created just now is asked for again.
const CREATE_INTERVAL: Duration = Duration::from_millis(100);

/// What `STREAM.INFO` and `STREAM.CREATE` answer, as far as it matters.
#[derive(Deserialize)]
pub(crate) struct StreamAnswer {
    config: Map<String, Value>,
    pub(crate) created: Timestamp,
    pub(crate) state: StreamState,
    /// How many subjects match the filter of the question.
    #[serde(default)]
    pub(crate) total: usize,
}

impl StreamAnswer {
    /// Whether it is kept on disk; the two stores differ in what their answers prove.
    pub(crate) fn file_backed(&self) -> bool {
        self.config.get("storage").and_then(Value::as_str) == Some("file")
    }

    /// Whether more than one node keeps it, so that an answer may come from one that is behind or deposed.
    pub(crate) fn replicated(&self) -> bool {
        self.config
            .get("num_replicas")
            .and_then(Value::as_u64)
            .is_some_and(|replicas| replicas > 1)
    }
}

#[derive(Deserialize)]
pub(crate) struct StreamState {
    messages: u64,
    bytes: u64,
    first_seq: u64,
    pub(crate) last_seq: u64,
    /// Subjects that match the filter of the question.
    #[serde(default)]
    pub(crate) subjects: Map<String, Value>,
}

#[derive(Deserialize)]
struct ConsumerAnswer {
    config: Map<String, Value>,
}

/// The stream as its leader sees it.
pub(crate) async fn stream(api: &Api, stream: &str) -> Result<StreamAnswer, Failure> {
    api.ask(&format!("STREAM.INFO.{stream}"), &json!({})).await
}

pub(crate) async fn stream_info(api: Api, name: String) -> Result<Option<StreamInfo>, ReadError> {
    match stream(&api, &name).await {
        Ok(answer) => Ok(Some(StreamInfo {
            created: answer.created,
            first_sequence: answer.state.first_seq,
            last_sequence: answer.state.last_seq,
            messages: answer.state.messages,
            bytes: answer.state.bytes,
        })),
        Err(failure) if failure.is(STREAM_NOT_FOUND) => Ok(None),
        Err(failure) => Err(failure.of_read()),
    }
}

pub(crate) async fn ensure_stream(api: Api, spec: StreamSpec) -> Result<Ensured, TopologyError> {
    let name = spec.name.as_str();
    let wanted = wire_config::of_stream(&spec);
    match stream(&api, name).await {
        Ok(answer) => compared(name, &wanted, &answer.config),
        Err(failure) if failure.is(STREAM_NOT_FOUND) => create_stream(&api, name, wanted).await,
        Err(failure) => Err(failure.of_topology(name)),
    }
}

async fn create_stream(api: &Api, name: &str, wanted: Map<String, Value>) -> Result<Ensured, TopologyError> {
    // Another process may have been quicker, perhaps with other ideas. The server answers "in use" to those, and to the same
    // configuration as if it had made it, so what counts as made by us is not worth telling apart.
    match create::<StreamAnswer>(api, &format!("STREAM.CREATE.{name}"), &wanted).await {
        Ok(_) => Ok(Ensured::Created),
        Err(failure) => match stream(api, name).await {
            Ok(answer) => compared(name, &wanted, &answer.config),
            Err(_) => Err(failure.of_topology(name)),
        },
    }
}

pub(crate) async fn ensure_consumer(api: Api, stream: String, spec: ConsumerSpec) -> Result<Ensured, TopologyError> {
    let name = format!("{stream}/{}", spec.name);
    let wanted = wire_config::of_consumer(&spec);
    let info = format!("CONSUMER.INFO.{stream}.{}", spec.name);
    match api.ask::<ConsumerAnswer>(&info, &json!({})).await {
        Ok(answer) => return compared(&name, &wanted, &answer.config),
        Err(failure) if failure.is(CONSUMER_NOT_FOUND) => {}
        Err(failure) => return Err(failure.of_topology(&name)),
    }
    let verb = format!("CONSUMER.CREATE.{stream}.{}", spec.name);
    let question = json!({ "stream_name": stream, "config": wanted, "action": "create" });
    match create::<ConsumerAnswer>(&api, &verb, &question).await {
        Ok(_) => Ok(Ensured::Created),
        Err(failure) => match api.ask::<ConsumerAnswer>(&info, &json!({})).await {
            Ok(answer) => compared(&name, &wanted, &answer.config),
            Err(_) => Err(failure.of_topology(&name)),
        },
    }
}

/// Asks to create something, again while the server says that it cannot just now, as long as any answer is waited for. A cluster that
/// has just come up refuses streams for some milliseconds: its leader has not heard of every node.
async fn create<A: DeserializeOwned>(api: &Api, verb: &str, wanted: &impl Serialize) -> Result<A, Failure> {
    let until = Instant::now() + ANSWER_TIMEOUT;
    loop {
        match api.ask::<A>(verb, wanted).await {
            Err(Failure::Refused(error)) if is_transient(&error) && Instant::now() < until => pause(CREATE_INTERVAL).await,
            answer => return answer,
        }
    }
}

fn compared(name: &str, wanted: &Map<String, Value>, found: &Map<String, Value>) -> Result<Ensured, TopologyError> {
    let differences = wire_config::differences(wanted, found);
    if differences.is_empty() {
        Ok(Ensured::Existed)
    } else {
        Err(TopologyError::Differs {
            name: name.to_owned(),
            differences,
        })
    }
}

pub(crate) async fn delete_consumer(api: Api, stream: String, name: String) -> Result<(), TopologyError> {
    match api
        .ask::<serde::de::IgnoredAny>(&format!("CONSUMER.DELETE.{stream}.{name}"), &json!({}))
        .await
    {
        Ok(_) => Ok(()),
        Err(failure) if failure.is(CONSUMER_NOT_FOUND) || failure.is(STREAM_NOT_FOUND) => Ok(()),
        Err(failure) => Err(failure.of_topology(&format!("{stream}/{name}"))),
    }
}

pub(crate) async fn consumers(api: Api, stream: String) -> Result<Vec<String>, ReadError> {
    #[derive(Deserialize)]
    struct Page {
        total: usize,
        #[serde(default)]
        consumers: Option<Vec<Listed>>,
    }
    #[derive(Deserialize)]
    struct Listed {
        name: String,
        config: Map<String, Value>,
    }
    let mut names = Vec::new();
    let mut seen = 0;
    loop {
        let page: Page = api
            .ask(&format!("CONSUMER.LIST.{stream}"), &json!({ "offset": seen }))
            .await
            .map_err(Failure::of_read)?;
        let listed = page.consumers.unwrap_or_default();
        seen += listed.len();
        let done = listed.is_empty() || seen >= page.total;
        names.extend(
            listed
                .into_iter()
                .filter(|one| one.config.contains_key("durable_name"))
                .map(|one| one.name),
        );
        if done {
            return Ok(names);
        }
    }
}

pub(crate) async fn purge(api: Api, stream: String, filter: String) -> Result<u64, ReadError> {
    #[derive(Deserialize)]
    struct Purged {
        purged: u64,
    }
    let purged: Result<Purged, _> = api.ask(&format!("STREAM.PURGE.{stream}"), &json!({ "filter": filter })).await;
    Ok(purged.map_err(Failure::of_read)?.purged)
}
