//! What each role may publish and subscribe to, for any prefix and queues.
//!
//! A test holds this against the server configuration that the project ships.

use everstep::{Prefix, QueueName};
use serde_json::{Value, json};

/// The permissions of every role, as nats-server and `nsc` know them.
pub(super) fn by_role(prefix: &Prefix, queues: &[QueueName]) -> Value {
    let words = Words::new(prefix);
    json!({
        "orchestrator": orchestrator(&words),
        "worker": worker(&words, queues),
        "client": client(&words),
    })
}

/// The beginnings of names under a prefix.
struct Words {
    /// `shop.` or nothing.
    subject: String,
    /// `SHOP_` or nothing.
    stream: String,
    /// `shop_` or nothing.
    bucket: String,
}

impl Words {
    fn new(prefix: &Prefix) -> Self {
        match prefix.as_str() {
            "" => Self {
                subject: String::new(),
                stream: String::new(),
                bucket: String::new(),
            },
            text => Self {
                subject: format!("{text}."),
                stream: format!("{}_", text.to_ascii_uppercase()),
                bucket: format!("{text}_"),
            },
        }
    }

    fn subjects(&self, subjects: &[&str]) -> Vec<String> {
        subjects.iter().map(|subject| format!("{}{subject}", self.subject)).collect()
    }

    /// The buckets that have the shape of a journal and are none.
    fn no_journals(&self, buckets: &[&str]) -> Vec<String> {
        buckets
            .iter()
            .map(|bucket| format!("$KV.{}{bucket}.>", self.bucket))
            .collect()
    }
}

/// Subjects as they stand.
fn plain(subjects: &[&str]) -> Vec<String> {
    subjects.iter().map(|subject| (*subject).to_owned()).collect()
}

fn permissions(publish: Vec<String>, deny: Vec<String>, subscribe: Vec<String>) -> Value {
    json!({
        "publish": { "allow": publish, "deny": deny },
        "subscribe": { "allow": subscribe },
        "allow_responses": { "max": 1, "expires": "1m" },
    })
}

fn orchestrator(words: &Words) -> Value {
    let mut publish = plain(&["$JS.API.>", "$JS.ACK.>", "$JS.FC.>", "$KV.>"]);
    publish.extend(words.subjects(&[
        "task.>",
        "mark.>",
        "timer.>",
        "payload.>",
        "live.>",
        "cancel.>",
        "running.>",
        "event.>",
        "emitted.>",
        "member.>",
        "refused.>",
        "later.>",
    ]));
    let mut subscribe = plain(&["_INBOX.>", "$SRV.>", "everstep.status.*"]);
    subscribe.extend(words.subjects(&["done.>", "view.>", "beat.>"]));
    permissions(publish, plain(&["$JS.API.STREAM.DELETE.*"]), subscribe)
}

fn worker(words: &Words, queues: &[QueueName]) -> Value {
    let mut publish = plain(&["$KV.*.*.step.*", "$KV.*.*.try.*.*", "$KV.*.*.begun.*.*.*"]);
    publish.extend(words.subjects(&["payload.>", "live.>", "beat.>"]));
    let mut subscribe = plain(&["_INBOX.>", "$SRV.>", "everstep.status.*"]);
    for queue in queues {
        let stream = format!("{}TASKS_{queue}", words.stream);
        publish.extend([
            format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.*"),
            format!("$JS.API.CONSUMER.INFO.{stream}.*"),
            format!("$JS.API.CONSUMER.LIST.{stream}"),
            format!("$JS.API.CONSUMER.NAMES.{stream}"),
            format!("$JS.ACK.{stream}.>"),
            format!("$JS.ACK.*.*.{stream}.>"),
        ]);
        subscribe.extend(words.subjects(&[&format!("cancel.{queue}"), &format!("running.{queue}")]));
    }
    publish.extend(plain(&READING));
    permissions(
        publish,
        words.no_journals(&["leases", "limits", "runs", "sessions", "triggers"]),
        subscribe,
    )
}

fn client(words: &Words) -> Value {
    let mut publish = plain(&["$KV.*.*.start", "$KV.*.*.in.>"]);
    publish.extend(words.subjects(&["payload.>", "view.>", "event.>"]));
    // Pausing and resuming schedules, and having a workflow listen to nothing any more.
    publish.push(format!("$KV.{}triggers.>", words.bucket));
    // Lists: of runs, and of limits and who uses them.
    for bucket in ["runs", "limits"] {
        let stream = format!("KV_{}{bucket}", words.bucket);
        publish.extend([
            format!("$JS.API.CONSUMER.CREATE.{stream}.>"),
            format!("$JS.API.CONSUMER.DELETE.{stream}.*"),
            format!("$JS.FC.{stream}.>"),
        ]);
    }
    // Which queues there are, to look for what a run waits for.
    publish.push("$JS.API.STREAM.NAMES".to_owned());
    publish.extend(plain(&READING));
    let mut subscribe = plain(&["_INBOX.>", "$SRV.>"]);
    subscribe.extend(words.subjects(&["done.>", "live.>"]));
    subscribe.extend(plain(&["$KV.*.*.>"]));
    subscribe.push(format!("$KV.{}runs.*", words.bucket));
    permissions(
        publish,
        words.no_journals(&["leases", "limits", "runs", "sessions"]),
        subscribe,
    )
}

/// Reading streams, for everyone.
const READING: [&str; 4] = [
    "$JS.API.INFO",
    "$JS.API.STREAM.INFO.*",
    "$JS.API.STREAM.MSG.GET.*",
    "$JS.API.DIRECT.GET.>",
];

#[cfg(test)]
mod tests {
    use super::*;

    /// The quoted words of each user's block, in order.
    fn shipped(role: &str) -> Vec<String> {
        let file = include_str!("../../../deploy/permissions.conf");
        let code: String = file
            .lines()
            .map(|line| line.split('#').next().unwrap_or_default())
            .collect::<Vec<_>>()
            .join("\n");
        let block = code
            .split("user: ")
            .find(|block| block.starts_with(role))
            .expect("a block for the role");
        let quoted = block.split('"').skip(1).step_by(2);
        quoted.map(str::to_owned).collect()
    }

    fn printed(role: &str) -> Vec<String> {
        fn texts(value: &Value, into: &mut Vec<String>) {
            match value {
                Value::String(text) => into.push(text.clone()),
                Value::Array(items) => items.iter().for_each(|item| texts(item, into)),
                Value::Object(fields) => fields.values().for_each(|field| texts(field, into)),
                _ => {}
            }
        }
        let all = by_role(&Prefix::none(), &[QueueName::default_queue()]);
        let mut into = Vec::new();
        texts(&all[role], &mut into);
        into
    }

    #[test]
    fn what_is_printed_is_what_the_shipped_configuration_says() {
        for role in ["orchestrator", "worker", "client"] {
            let (mut shipped, mut printed) = (shipped(role), printed(role));
            shipped.sort();
            printed.sort();
            assert_eq!(printed, shipped, "{role}");
        }
    }

    #[test]
    fn a_prefix_is_in_every_name_of_ours() {
        let all = by_role(&Prefix::new("shop").unwrap(), &[QueueName::default_queue()]);
        let text = all.to_string();
        assert!(text.contains("$KV.shop_leases.>") && text.contains("shop.cancel.default") && text.contains("SHOP_TASKS_default"));
        assert!(!text.contains("\"task.>\"") && !text.contains("\"done.>\""));
    }
}
