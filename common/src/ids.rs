//! Identifiers. Each is its own type and is made by parsing or deriving, never from a bare string.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::limits::{NAME_CHARS_MAX, PARTITIONS_MAX};

/// Why a text is not the identifier it was taken for.
///
/// ```
/// use everstep_common::ids::QueueName;
///
/// let error = QueueName::new("a.b").unwrap_err();
/// assert_eq!(error.to_string(), "\"a.b\" is not a queue name: it may hold only letters, digits, `_` and `-`");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a {what}: {reason}")]
pub struct InvalidId {
    what: &'static str,
    text: String,
    reason: &'static str,
}

impl InvalidId {
    pub(crate) fn new(what: &'static str, text: &str, reason: &'static str) -> Self {
        let text = text.chars().take(NAME_CHARS_MAX + 1).collect();
        Self { what, text, reason }
    }
}

/// A text that may not stand between the dots of a subject.
///
/// ```
/// use everstep_common::key::StepKey;
///
/// let error = StepKey::from_token("a.b").unwrap_err();
/// assert_eq!(error.to_string(), "\"a.b\" is not a subject token");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a subject token")]
pub struct InvalidToken(String);

impl InvalidToken {
    pub(crate) fn new(text: &str) -> Self {
        Self(text.chars().take(NAME_CHARS_MAX).collect())
    }
}

/// One of the journal's partitions.
///
/// ```
/// use everstep_common::ids::{Partition, RunId};
///
/// let run: RunId = "17-0123456789abcdef0123456789abcdef".parse().unwrap();
/// assert_eq!(run.partition(), Partition(17));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Partition(pub u32);

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Names one run: `<partition>-<32 hex digits>`. It is one subject token, and tells where the run's journal is.
///
/// ```
/// use everstep_common::ids::RunId;
///
/// let run: RunId = "0-e7b97ed98ff28fc8cea316011add4707".parse().unwrap();
/// assert_eq!(run.to_string(), "0-e7b97ed98ff28fc8cea316011add4707");
/// assert!("run 7".parse::<RunId>().is_err());
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RunId(Arc<str>);

impl RunId {
    /// A new id for an unkeyed run; `unique` is a fresh UUID (v7, so that ids of one partition sort by time).
    ///
    /// ```
    /// use everstep_common::ids::{Partition, RunId};
    ///
    /// let run = RunId::unkeyed(Partition(3), uuid::Uuid::now_v7());
    /// assert_eq!(run.partition(), Partition(3));
    /// ```
    pub fn unkeyed(partition: Partition, unique: Uuid) -> Self {
        Self(format!("{partition}-{}", unique.simple()).into())
    }

    /// The id of the one run that `workflow` has under `start_key`, in a deployment with `partitions` keyed partitions.
    ///
    /// The same arguments give the same id for ever: this is what makes a keyed start happen once.
    ///
    /// ```
    /// use everstep_common::ids::{RunId, WorkflowName};
    ///
    /// let order = WorkflowName::new("order").unwrap();
    /// assert_eq!(RunId::keyed(&order, "o-17", 8), RunId::keyed(&order, "o-17", 8));
    /// assert_ne!(RunId::keyed(&order, "o-17", 8), RunId::keyed(&order, "o-18", 8));
    /// ```
    pub fn keyed(workflow: &WorkflowName, start_key: &str, partitions: u32) -> Self {
        let mut hash = Sha256::new();
        hash.update((workflow.as_str().len() as u64).to_be_bytes());
        hash.update(workflow.as_str());
        hash.update(start_key);
        let hash = hash.finalize();
        let place = u64::from_be_bytes(hash[..8].try_into().expect("eight bytes of thirty-two"));
        let partition = (place % u64::from(partitions.max(1))) as u32;
        Self(format!("{partition}-{}", hex(&hash[8..24])).into())
    }

    /// The id of the run that goes on when this one continues as new: in the same partition, and the same for ever.
    ///
    /// ```
    /// use everstep_common::ids::RunId;
    ///
    /// let first: RunId = "3-0123456789abcdef0123456789abcdef".parse().unwrap();
    /// assert_eq!(first.successor().as_str(), "3-107bf98dd321504f7d34208f9f5ad701");
    /// ```
    pub fn successor(&self) -> Self {
        let hash = Sha256::digest(format!("{self}.continued"));
        Self(format!("{}-{}", self.partition(), hex(&hash[..16])).into())
    }

    /// Where the run's journal is.
    ///
    /// ```
    /// let run: everstep_common::ids::RunId = "17-0123456789abcdef0123456789abcdef".parse().unwrap();
    /// assert_eq!(run.partition().to_string(), "17");
    /// ```
    pub fn partition(&self) -> Partition {
        let digits = self.0.split('-').next().unwrap_or_default();
        Partition(digits.parse().expect("checked when the id was made"))
    }

    /// The id as text.
    ///
    /// ```
    /// let run: everstep_common::ids::RunId = "17-0123456789abcdef0123456789abcdef".parse().unwrap();
    /// assert!(run.as_str().starts_with("17-"));
    /// ```
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for RunId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let invalid = |reason| InvalidId::new("run id", text, reason);
        let (partition, rest) = text
            .split_once('-')
            .ok_or_else(|| invalid("it has the form <partition>-<32 hex digits>"))?;
        let canonical = !partition.is_empty() && (partition == "0" || !partition.starts_with('0'));
        let number: Option<u32> = if canonical && partition.bytes().all(|b| b.is_ascii_digit()) {
            partition.parse().ok()
        } else {
            None
        };
        if number.is_none_or(|number| number >= PARTITIONS_MAX) {
            return Err(invalid("it begins with the number of its partition"));
        }
        if rest.len() != 32 || !rest.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(invalid("it ends in 32 lower-case hex digits"));
        }
        Ok(Self(text.into()))
    }
}

impl TryFrom<String> for RunId {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<Self, InvalidId> {
        text.parse()
    }
}

impl From<RunId> for String {
    fn from(id: RunId) -> Self {
        id.0.as_ref().to_owned()
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $check:path) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks the text and takes it.
            ///
            #[doc = concat!("```\nuse everstep_common::ids::", stringify!($name), ";\n")]
            #[doc = concat!("assert!(", stringify!($name), "::new(\"orders\").is_ok());")]
            #[doc = concat!("assert!(", stringify!($name), "::new(\"a\\nb\").is_err());\n```")]
            pub fn new(text: impl AsRef<str>) -> Result<Self, InvalidId> {
                let text = text.as_ref();
                $check(text).map_err(|reason| InvalidId::new($what, text, reason))?;
                Ok(Self(text.into()))
            }

            /// The name as text.
            ///
            #[doc = concat!("```\nlet name = everstep_common::ids::", stringify!($name), "::new(\"orders\").unwrap();")]
            #[doc = "assert_eq!(name.as_str(), \"orders\");\n```"]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::str::FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;

            fn try_from(text: String) -> Result<Self, InvalidId> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0.as_ref().to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name! {
    /// The name of a workflow: up to 128 characters, no control characters.
    ///
    /// ```
    /// use everstep_common::ids::WorkflowName;
    ///
    /// let name: WorkflowName = "order".parse().unwrap();
    /// assert_eq!(name.to_string(), "order");
    /// ```
    WorkflowName, "workflow name", check_name
}
name! {
    /// The name of a function: up to 128 characters, no control characters. It is escaped where it stands in a subject.
    ///
    /// ```
    /// use everstep_common::ids::FunctionName;
    ///
    /// assert!(FunctionName::new("onboard.customer").is_ok());
    /// assert!(FunctionName::new("x".repeat(129)).is_err());
    /// ```
    FunctionName, "function name", check_name
}
name! {
    /// The name of a task queue: `[A-Za-z0-9_-]`, up to 128 characters, for it names a stream.
    ///
    /// ```
    /// use everstep_common::ids::QueueName;
    ///
    /// assert!(QueueName::new("gpu-1").is_ok());
    /// assert!(QueueName::new("gpu.1").is_err());
    /// ```
    QueueName, "queue name", check_token
}
name! {
    /// Which process wrote something: `[A-Za-z0-9_-]`, for people to read and for leases to compare.
    ///
    /// ```
    /// use everstep_common::ids::ProcessId;
    ///
    /// // As a pod of a stateful set is called: no two that run have the same.
    /// assert!(ProcessId::new("shop-worker-3").is_ok());
    /// ```
    ProcessId, "process id", check_token
}
name! {
    /// Sets one deployment apart from others on the same server: `[A-Za-z0-9_-]`, or empty for the default one.
    ///
    /// ```
    /// use everstep_common::ids::Prefix;
    ///
    /// assert!(Prefix::new("staging").is_ok());
    /// assert!(Prefix::new("staging.eu").is_err());
    /// ```
    Prefix, "prefix", check_prefix
}

impl QueueName {
    /// The queue that a function is in unless it says otherwise.
    ///
    /// ```
    /// use everstep_common::ids::QueueName;
    ///
    /// assert_eq!(QueueName::default_queue(), QueueName::new("default").unwrap());
    /// ```
    pub fn default_queue() -> Self {
        Self("default".into())
    }
}

impl Prefix {
    /// The prefix of the deployment that has none.
    ///
    /// ```
    /// assert_eq!(everstep_common::ids::Prefix::none().as_str(), "");
    /// ```
    pub fn none() -> Self {
        Self("".into())
    }
}

impl ProcessId {
    /// A readable id of a new process: its role and a random part.
    ///
    /// ```
    /// use everstep_common::ids::ProcessId;
    ///
    /// let (one, other) = (ProcessId::fresh("worker"), ProcessId::fresh("worker"));
    /// assert!(one.as_str().starts_with("worker-") && one != other);
    /// ```
    pub fn fresh(role: &str) -> Self {
        let random = Uuid::new_v4().simple().to_string();
        Self(format!("{role}-{}", &random[..12]).into())
    }
}

fn check_name(text: &str) -> Result<(), &'static str> {
    if text.is_empty() {
        return Err("it is empty");
    }
    if text.chars().count() > NAME_CHARS_MAX {
        return Err("it is longer than 128 characters");
    }
    if text.chars().any(char::is_control) {
        return Err("it holds a control character");
    }
    Ok(())
}

fn check_token(text: &str) -> Result<(), &'static str> {
    check_name(text)?;
    check_prefix(text)
}

fn check_prefix(text: &str) -> Result<(), &'static str> {
    if text.len() > NAME_CHARS_MAX {
        return Err("it is longer than 128 characters");
    }
    if !text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-') {
        return Err("it may hold only letters, digits, `_` and `-`");
    }
    Ok(())
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        use fmt::Write as _;
        write!(text, "{byte:02x}").expect("writing to a string");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn run_ids_that_are_not_canonical_are_refused() {
        for text in [
            "",
            "0",
            "-",
            "0-",
            "00-0123456789abcdef0123456789abcdef",
            "+1-0123456789abcdef0123456789abcdef",
        ] {
            assert!(text.parse::<RunId>().is_err(), "{text:?}");
        }
        for text in [
            "0-0123456789ABCDEF0123456789abcdef",
            "1024-0123456789abcdef0123456789abcdef",
            "0-*",
            "a.b-0",
        ] {
            assert!(text.parse::<RunId>().is_err(), "{text:?}");
        }
        let id: RunId = "17-0123456789abcdef0123456789abcdef".parse().unwrap();
        assert_eq!(id.partition(), Partition(17));
    }

    #[test]
    fn a_keyed_run_id_never_changes() {
        let workflow = WorkflowName::new("order").unwrap();
        // Golden: a changed derivation would start every keyed run a second time.
        assert_eq!(
            RunId::keyed(&workflow, "o-1", 8).as_str(),
            "0-e7b97ed98ff28fc8cea316011add4707"
        );
        assert_ne!(RunId::keyed(&workflow, "o-1", 8), RunId::keyed(&workflow, "o-2", 8));
    }

    #[test]
    fn the_id_of_a_successor_never_changes() {
        let first: RunId = "3-0123456789abcdef0123456789abcdef".parse().unwrap();
        // Golden: a changed derivation would continue a run a second time.
        assert_eq!(first.successor().as_str(), "3-107bf98dd321504f7d34208f9f5ad701");
        assert_ne!(first.successor().successor(), first.successor());
    }

    #[test]
    fn names_are_bounded_and_printable() {
        assert!(FunctionName::new("onboard.customer").is_ok());
        assert!(FunctionName::new("größe prüfen").is_ok());
        assert!(FunctionName::new("").is_err());
        assert!(FunctionName::new("a\nb").is_err());
        assert!(FunctionName::new("ä".repeat(128)).is_ok());
        assert!(FunctionName::new("ä".repeat(129)).is_err());
        assert!(QueueName::new("gpu-1_a").is_ok());
        for bad in ["", "a.b", "*", ">", "a b", "ü"] {
            assert!(QueueName::new(bad).is_err(), "{bad:?}");
        }
    }
}
