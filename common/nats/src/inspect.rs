//! For operators' tools: questions to the JetStream API that no port asks, and configurations as the `nats` command takes them.
//!
//! Nothing of the engine's work goes this way.

use everstep_common::ports::ReadError;
use everstep_common::topology::{ConsumerSpec, StreamSpec};
use serde_json::Value;

use crate::api::Failure;
use crate::broker::NatsBroker;
use crate::wire_config;

impl NatsBroker {
    /// The JetStream API's answer to `verb` (such as `STREAM.NAMES`), as it stands.
    pub async fn ask_jetstream(&self, verb: &str, question: &Value) -> Result<Value, ReadError> {
        self.link.api.ask(verb, question).await.map_err(Failure::of_read)
    }
}

/// The stream as `nats stream add --config` takes it.
pub fn stream_config(spec: &StreamSpec) -> Value {
    without_null(wire_config::of_stream(spec).into())
}

/// The consumer as `nats consumer add --config` takes it.
pub fn consumer_config(spec: &ConsumerSpec) -> Value {
    without_null(wire_config::of_consumer(spec).into())
}

fn without_null(config: Value) -> Value {
    match config {
        Value::Object(fields) => fields.into_iter().filter(|(_, value)| !value.is_null()).collect(),
        other => other,
    }
}
