//! Flow control: how much of one thing may be done at a time, and how fast.
//!
//! A limit is about all steps of a function, or all tasks of a queue, in the whole deployment. What it is stands in the code or, above
//! that, in a record that operators edit; who uses it stands in a [`Usage`], which owners change by compare-and-set.

mod paces;
mod rate;
mod usage;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ids::{FunctionName, QueueName, WorkflowName};
use crate::key::{escape, unescape};

pub use paces::{KeyMark, Paces};
pub use rate::{InvalidRate, Rate};
pub use usage::{Demand, Slot, Usage, is_aged, of_step};

/// What is limited.
///
/// ```
/// use everstep_common::flow::LimitName;
///
/// let name: LimitName = "function.sync".parse().unwrap();
/// assert_eq!(name, LimitName::new("function", "sync").unwrap());
/// assert_eq!(name.to_string(), "function.sync");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LimitName {
    /// Every step of a function.
    Function(FunctionName),
    /// Every task of a queue.
    Queue(QueueName),
    /// Every run of a workflow.
    Workflow(WorkflowName),
}

/// A text that names nothing that can be limited.
///
/// ```
/// use everstep_common::flow::LimitName;
///
/// let error = "step.sync".parse::<LimitName>().unwrap_err();
/// assert!(error.to_string().contains("write function.<name>, queue.<name> or workflow.<name>"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} names no limit: write function.<name>, queue.<name> or workflow.<name>")]
pub struct InvalidLimitName(String);

impl LimitName {
    /// The key of what operators set.
    ///
    /// ```
    /// let name = everstep_common::flow::LimitName::new("queue", "gpu").unwrap();
    /// assert_eq!(name.setting_key(), "set.queue.gpu");
    /// ```
    pub fn setting_key(&self) -> String {
        format!("set.{}", self.token())
    }

    /// The key of who uses it.
    ///
    /// ```
    /// let name = everstep_common::flow::LimitName::new("queue", "gpu").unwrap();
    /// assert_eq!(name.usage_key(), "use.queue.gpu");
    /// ```
    pub fn usage_key(&self) -> String {
        format!("use.{}", self.token())
    }

    /// What a key of the bucket speaks of, and whether it is a setting.
    ///
    /// ```
    /// use everstep_common::flow::LimitName;
    ///
    /// let name = LimitName::new("queue", "gpu").unwrap();
    /// assert_eq!(LimitName::of_key("set.queue.gpu"), Some((name, true)));
    /// assert_eq!(LimitName::of_key("elsewhere"), None);
    /// ```
    pub fn of_key(key: &str) -> Option<(Self, bool)> {
        let (sort, token) = key.split_once('.')?;
        let is_setting = match sort {
            "set" => true,
            "use" => false,
            _ => return None,
        };
        let (kind, name) = token.split_once('.')?;
        Some((Self::new(kind, &unescape(name)).ok()?, is_setting))
    }

    /// The limit of that kind and name.
    ///
    /// ```
    /// use everstep_common::flow::LimitName;
    ///
    /// assert!(LimitName::new("workflow", "nightly report").is_ok());
    /// assert!(LimitName::new("queue", "no such queue").is_err(), "queues name streams");
    /// ```
    pub fn new(kind: &str, name: &str) -> Result<Self, InvalidLimitName> {
        let invalid = || InvalidLimitName(format!("{kind}.{name}"));
        match kind {
            "function" => FunctionName::new(name).map(Self::Function).map_err(|_| invalid()),
            "queue" => QueueName::new(name).map(Self::Queue).map_err(|_| invalid()),
            "workflow" => WorkflowName::new(name).map(Self::Workflow).map_err(|_| invalid()),
            _ => Err(invalid()),
        }
    }

    fn token(&self) -> String {
        match self {
            Self::Function(name) => format!("function.{}", escape(name.as_str())),
            Self::Queue(name) => format!("queue.{name}"),
            Self::Workflow(name) => format!("workflow.{}", escape(name.as_str())),
        }
    }
}

impl fmt::Display for LimitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Function(name) => write!(f, "function.{name}"),
            Self::Queue(name) => write!(f, "queue.{name}"),
            Self::Workflow(name) => write!(f, "workflow.{name}"),
        }
    }
}

impl FromStr for LimitName {
    type Err = InvalidLimitName;

    fn from_str(text: &str) -> Result<Self, InvalidLimitName> {
        let (kind, name) = text.split_once('.').ok_or_else(|| InvalidLimitName(text.to_owned()))?;
        Self::new(kind, name)
    }
}

/// How much and how fast; what is not given is not limited.
///
/// ```
/// use everstep_common::flow::Limit;
///
/// let limit = Limit { concurrency: Some(20), per_key: Some(2), rate: Some("100/s".parse().unwrap()), ..Limit::NONE };
/// assert_eq!(limit.to_string(), "20 at a time, 2 of a key at a time, 100/s");
/// let of_key = Limit { per_key_rate: Some("5/min".parse().unwrap()), ..Limit::NONE };
/// assert_eq!(of_key.to_string(), "5/min of a key");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    /// So many at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u32>,
    /// So many of one key at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_key: Option<u32>,
    /// So fast.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// So fast those of one key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_key_rate: Option<Rate>,
}

impl Limit {
    /// No limit at all.
    ///
    /// ```
    /// use everstep_common::flow::Limit;
    ///
    /// assert_eq!(Limit { per_key: Some(1), ..Limit::NONE }.to_string(), "1 of a key at a time");
    /// ```
    pub const NONE: Self = Self {
        concurrency: None,
        per_key: None,
        rate: None,
        per_key_rate: None,
    };

    /// Whether it limits nothing.
    ///
    /// ```
    /// use everstep_common::flow::Limit;
    ///
    /// assert!(Limit::default().is_none());
    /// assert!(!Limit { concurrency: Some(1), ..Limit::NONE }.is_none());
    /// ```
    pub fn is_none(&self) -> bool {
        *self == Self::NONE
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            self.concurrency.map(|count| format!("{count} at a time")),
            self.per_key.map(|count| format!("{count} of a key at a time")),
            self.rate.map(|rate| rate.to_string()),
            self.per_key_rate.map(|rate| format!("{rate} of a key")),
        ];
        let parts: Vec<_> = parts.into_iter().flatten().collect();
        f.write_str(if parts.is_empty() { "no limit" } else { "" })?;
        f.write_str(&parts.join(", "))
    }
}

/// What operators want of a limit, as its record says it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// Whether it holds in place of what the code says.
    pub holds: bool,
    /// What is to hold then.
    #[serde(default)]
    pub limit: Limit,
}

impl Setting {
    /// That limit, or what the code says.
    pub fn new(limit: Option<Limit>) -> Self {
        Self {
            holds: limit.is_some(),
            limit: limit.unwrap_or_default(),
        }
    }

    /// What holds in place of what the code says, if anything.
    pub fn limit(self) -> Option<Limit> {
        self.holds.then_some(self.limit)
    }
}

/// How a step takes part: what its function declares, and what the call says.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Flow {
    /// What the function declares of itself.
    pub limit: Limit,
    /// Whose work it is: keys take turns, and each may have a limit of its own. Without one it is its run's.
    pub key: Option<String>,
    /// Before others of its run's priority; the run's own is added.
    pub priority: i8,
    /// How fast each worker begins it, whatever the others do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker_rate: Option<Rate>,
}

/// What becomes of a run whose key another run is at work for.
///
/// ```
/// use everstep_common::flow::{RunFlow, WhenBusy};
///
/// // `#[workflow(singleton = "queue")]` declares this.
/// let flow = RunFlow { singleton: Some(WhenBusy::Queue), ..RunFlow::default() };
/// assert_eq!(flow.singleton, Some(WhenBusy::default()));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenBusy {
    /// It waits.
    #[default]
    Queue,
    /// The other one is cancelled, and it begins when that has ended.
    CancelInProgress,
    /// It ends as cancelled, and says which run is at work.
    Reject,
}

/// How runs of a workflow take part: what the workflow declares.
///
/// ```
/// use everstep_common::flow::{Limit, RunFlow};
///
/// // `#[workflow(limit(concurrency = 50))]` declares this.
/// let flow = RunFlow { limit: Limit { concurrency: Some(50), ..Limit::NONE }, singleton: None };
/// assert_eq!(flow.limit(None).concurrency, Some(50));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RunFlow {
    /// How many run at a time, of one key too, and how fast they begin.
    pub limit: Limit,
    /// One run of a key at a time, and what becomes of another; the workflow itself is the key of runs that have none.
    pub singleton: Option<WhenBusy>,
}

impl RunFlow {
    /// Its limits, given what operators have set in their place. That a singleton is one of its key is for the code alone to say.
    ///
    /// ```
    /// use everstep_common::flow::{Limit, RunFlow, WhenBusy};
    ///
    /// let flow = RunFlow { singleton: Some(WhenBusy::Reject), ..RunFlow::default() };
    /// let set = Limit { concurrency: Some(3), ..Limit::NONE };
    /// assert_eq!(flow.limit(Some(set)), Limit { per_key: Some(1), ..set });
    /// ```
    pub fn limit(&self, set: Option<Limit>) -> Limit {
        let limit = set.unwrap_or(self.limit);
        let per_key = self.singleton.map(|_| 1).or(limit.per_key);
        Limit { per_key, ..limit }
    }
}

impl From<Limit> for RunFlow {
    fn from(limit: Limit) -> Self {
        Self { limit, singleton: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_named_and_found_by_their_keys() {
        for text in [
            "function.payments.charge",
            "function.größe prüfen",
            "queue.gpu-1",
            "workflow.shop.order",
        ] {
            let name: LimitName = text.parse().unwrap();
            assert_eq!(name.to_string(), text);
            assert_eq!(LimitName::of_key(&name.setting_key()), Some((name.clone(), true)));
            assert_eq!(LimitName::of_key(&name.usage_key()), Some((name, false)));
        }
        for text in ["", "charge", "queue.a b", "worker.x", "function."] {
            assert!(text.parse::<LimitName>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn operators_change_everything_but_that_a_singleton_is_one() {
        let per_key = |count| Limit {
            per_key: Some(count),
            ..Limit::NONE
        };
        let declared = RunFlow::from(per_key(2));
        assert_eq!(declared.limit(None), per_key(2));
        assert_eq!(declared.limit(Some(per_key(5))), per_key(5));
        assert_eq!(declared.limit(Some(Limit::NONE)), Limit::NONE);
        let singleton = RunFlow {
            singleton: Some(WhenBusy::Queue),
            ..declared
        };
        for set in [None, Some(per_key(5)), Some(Limit::NONE)] {
            assert_eq!(singleton.limit(set), per_key(1));
        }
    }
}
