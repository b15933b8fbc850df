//! Stream and consumer configurations as the JetStream API writes them, and how two of them are compared.
//!
//! Only what the specifications name is written, and only that is compared: the rest is the server's default or the operator's choice.

use everstep_common::topology::{ConsumerSpec, Discard, Retention, Storage, StreamSpec};
use serde_json::{Map, Value, json};

/// The stream configuration that `spec` asks for.
pub(crate) fn of_stream(spec: &StreamSpec) -> Map<String, Value> {
    let mut config = Map::new();
    let mut set = |field: &str, value: Value| config.insert(field.to_owned(), value);
    set("name", json!(spec.name));
    set("description", json!(spec.description));
    set("subjects", json!(spec.subjects));
    set("retention", json!(retention(spec.retention)));
    set("storage", json!(storage(spec.storage)));
    set("num_replicas", json!(spec.replicas));
    set("max_msgs_per_subject", json!(spec.max_messages_per_subject));
    set("max_bytes", json!(spec.max_bytes));
    set("discard", json!(discard(spec.discard)));
    set("discard_new_per_subject", json!(spec.discard_new_per_subject));
    set("allow_direct", json!(spec.allow_direct));
    set("allow_atomic", json!(spec.allow_atomic));
    set("allow_msg_schedules", json!(spec.allow_schedules));
    set("deny_delete", json!(spec.deny_delete));
    let republish = spec.republish.as_ref();
    set(
        "republish",
        republish.map_or(Value::Null, |republish| {
            let mut value = json!({ "src": republish.source, "dest": republish.destination });
            if republish.headers_only {
                value["headers_only"] = json!(true);
            }
            value
        }),
    );
    if let Some(age) = spec.max_age {
        set("max_age", json!(nanoseconds(age)));
    }
    config
}

/// The consumer configuration that `spec` asks for.
pub(crate) fn of_consumer(spec: &ConsumerSpec) -> Map<String, Value> {
    let mut config = Map::new();
    let mut set = |field: &str, value: Value| config.insert(field.to_owned(), value);
    set("name", json!(spec.name));
    set("durable_name", json!(spec.name));
    set("filter_subject", json!(spec.filter));
    set("ack_policy", json!("explicit"));
    set("ack_wait", json!(nanoseconds(spec.ack_wait)));
    set("max_deliver", json!(-1));
    set("max_ack_pending", json!(-1));
    set("deliver_policy", json!("all"));
    set("replay_policy", json!("instant"));
    config
}

/// A duration as the API writes it.
pub(crate) fn nanoseconds(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// `field: wanted A, found B` for each field of `wanted` that `found` has otherwise.
/// The description is for people, and may be reworded by them or by a later version.
pub(crate) fn differences(wanted: &Map<String, Value>, found: &Map<String, Value>) -> Vec<String> {
    let differing = wanted
        .iter()
        .filter(|(field, value)| *field != "description" && !same(value, found.get(*field)));
    differing
        .map(|(field, value)| format!("{field}: wanted {value}, found {}", found.get(field).unwrap_or(&Value::Null)))
        .collect()
}

/// Whether two values mean the same. The server leaves out what is empty, false or zero.
fn same(wanted: &Value, found: Option<&Value>) -> bool {
    match (wanted, found) {
        (Value::Array(wanted), Some(Value::Array(found))) => {
            wanted.len() == found.len() && wanted.iter().all(|one| found.contains(one))
        }
        (wanted, Some(found)) => wanted == found,
        (Value::Null | Value::Bool(false), None) => true,
        (Value::String(wanted), None) => wanted.is_empty(),
        (Value::Number(wanted), None) => wanted.as_i64() == Some(0),
        (Value::Array(wanted), None) => wanted.is_empty(),
        _ => false,
    }
}

fn retention(retention: Retention) -> &'static str {
    match retention {
        Retention::Limits => "limits",
        Retention::WorkQueue => "workqueue",
    }
}

fn storage(storage: Storage) -> &'static str {
    match storage {
        Storage::File => "file",
        Storage::Memory => "memory",
    }
}

fn discard(discard: Discard) -> &'static str {
    match discard {
        Discard::Old => "old",
        Discard::New => "new",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_server_leaves_out_is_no_difference_and_what_differs_is_named() {
        let spec = StreamSpec::new("S", ["b.>".to_owned(), "a.>".to_owned()], 1);
        let wanted = of_stream(&spec);
        let mut found = json!({
            "name": "S", "subjects": ["a.>", "b.>"], "retention": "limits", "storage": "file", "num_replicas": 1,
            "max_msgs_per_subject": -1, "max_bytes": -1, "discard": "old", "allow_direct": true, "max_age": 5,
        });
        assert_eq!(differences(&wanted, found.as_object().unwrap()), Vec::<String>::new());
        found["storage"] = json!("memory");
        assert_eq!(
            differences(&wanted, found.as_object().unwrap()),
            [r#"storage: wanted "file", found "memory""#]
        );
    }
}
