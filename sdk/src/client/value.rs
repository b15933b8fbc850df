//! Values as people read them: what the journal holds as MessagePack, as JSON.

use everstep_common::ids::RunId;
use everstep_common::limits::VALUE_DEPTH_MAX;
use everstep_common::payload::Payload;
use everstep_common::wire;
use rmpv::Value;
use serde_json::{Map, Value as Json, json};

use super::{Client, ClientError};

impl Client {
    /// A value that an entry of `run` holds, as JSON; a large one is fetched first.
    ///
    /// JSON is poorer than MessagePack: bytes become an array of numbers, a key that is no text becomes its JSON text, and what is no
    /// finite number becomes null.
    ///
    /// # Errors
    ///
    /// [`ClientError::Payload`] if a large value cannot be fetched, [`ClientError::Value`] if it is not MessagePack, or nested more than 64 deep
    /// (`VALUE_DEPTH_MAX`).
    ///
    /// ```no_run
    /// use everstep::journal::Entry;
    ///
    /// # async fn example(client: everstep::Client, run: everstep::RunId) -> anyhow::Result<()> {
    /// for entry in client.history(&run).await? {
    ///     if let Entry::Start(start) = entry.entry {
    ///         println!("it was started with {}", client.value(&run, &start.input).await?);
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn value(&self, run: &RunId, payload: &Payload) -> Result<Json, ClientError> {
        let bytes = self.store.get_payload(run, payload).await?;
        json(&bytes, || format!("a value of run {run} is not MessagePack"))
    }
}

/// A user's value as JSON; `what` says which one it is.
pub(super) fn json(bytes: &[u8], what: impl FnOnce() -> String) -> Result<Json, ClientError> {
    // Each value may cost the decoder two levels, as in `wire`.
    let value = rmpv::decode::read_value_with_max_depth(&mut &bytes[..], 2 * VALUE_DEPTH_MAX);
    value.map(json_of).map_err(|error| ClientError::Value {
        what: what(),
        source: wire::Error::Malformed(error.to_string()),
    })
}

fn json_of(value: Value) -> Json {
    match value {
        Value::Nil => Json::Null,
        Value::Boolean(value) => value.into(),
        Value::Integer(number) => match (number.as_u64(), number.as_i64()) {
            (Some(number), _) => number.into(),
            (_, Some(number)) => number.into(),
            _ => Json::Null,
        },
        Value::F32(number) => f64::from(number).into(),
        Value::F64(number) => number.into(),
        Value::String(text) => String::from_utf8_lossy(text.as_bytes()).into(),
        Value::Binary(bytes) => bytes.into(),
        Value::Array(items) => items.into_iter().map(json_of).collect(),
        Value::Map(fields) => fields
            .into_iter()
            .map(|(key, value)| (key_of(key), json_of(value)))
            .collect::<Map<_, _>>()
            .into(),
        Value::Ext(kind, bytes) => json!({ "ext": kind, "bytes": bytes }),
    }
}

fn key_of(key: Value) -> String {
    match json_of(key) {
        Json::String(text) => text,
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_messagepack_value_has_a_json() {
        let check = |value: Value, expected: Json| assert_eq!(json_of(value), expected);
        check(Value::from(u64::MAX), json!(u64::MAX));
        check(Value::from(-1), json!(-1));
        check(Value::F64(f64::NAN), Json::Null);
        check(Value::Binary(vec![1, 255]), json!([1, 255]));
        check(
            Value::Map(vec![(1.into(), "one".into()), ("a".into(), Value::Nil)]),
            json!({ "1": "one", "a": null }),
        );
        check(Value::Ext(5, vec![7]), json!({ "ext": 5, "bytes": [7] }));
    }
}
