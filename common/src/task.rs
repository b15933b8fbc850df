//! A task: one step to do, as it stands in a task queue.

use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::digest::InputDigest;
use crate::flow::Flow;
use crate::ids::{FunctionName, QueueName, RunId};
use crate::key::StepKey;
use crate::payload::Payload;
use crate::retry::RetryPolicy;

/// The body of a task message; its subject is [`crate::subject::Names::task`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// The run.
    pub run: RunId,
    /// The step of the run.
    pub key: StepKey,
    /// Which attempt, from 1.
    pub attempt: u32,
    /// The function to call.
    pub function: FunctionName,
    /// What to call it with.
    pub input: Payload,
    /// The digest of the input, for the outcome.
    pub digest: InputDigest,
    /// How long the attempt may take from its start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// How long the function may go without a heartbeat; its owner listens for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heartbeat_timeout: Option<Duration>,
    /// What the heartbeats of the attempts before said last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Bytes>,
    /// Record that execution begins before it does: the step has a timeout that its owner measures from there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub announce: bool,
    /// When the step as a whole must be over; the orchestrator enforces it.
    pub deadline: Timestamp,
    /// Record that execution begins before it does, and never begin twice.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub at_most_once: bool,
    /// The task may have been done already (it was published again): look into the journal before running it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub check: bool,
    /// W3C trace context of the step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
}

/// How a step is to be done: what `#[function]` declares and a call may override.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepOptions {
    /// The queue its tasks go to.
    pub queue: QueueName,
    /// When failed attempts are made again.
    pub retries: RetryPolicy,
    /// How long one attempt may take from its start.
    pub timeout: Option<Duration>,
    /// How long the step may take in all, retries and waiting included.
    pub total_timeout: Duration,
    /// How long an attempt may wait for a worker to begin it; then the step fails.
    pub start_timeout: Option<Duration>,
    /// How long an attempt may go without a heartbeat of its function.
    pub heartbeat_timeout: Option<Duration>,
    /// How many executions may begin without ending before the step fails as crashed.
    pub max_crashes: u32,
    /// Whether the function may begin only once.
    pub at_most_once: bool,
    /// How many of it may run at a time, how fast, and in which order.
    #[serde(default)]
    pub flow: Flow,
}

impl Default for StepOptions {
    /// The default queue and retry policy, 24 hours in all and no other timeout, 5 crashes.
    fn default() -> Self {
        Self {
            queue: QueueName::default_queue(),
            retries: RetryPolicy::default(),
            timeout: None,
            total_timeout: Duration::from_secs(24 * 60 * 60),
            start_timeout: None,
            heartbeat_timeout: None,
            max_crashes: 5,
            at_most_once: false,
            flow: Flow::default(),
        }
    }
}

impl StepOptions {
    /// Whether it must be recorded at once that execution begins, for a timeout that somebody else measures from there.
    pub fn is_announced(&self) -> bool {
        self.start_timeout.is_some() || self.heartbeat_timeout.is_some()
    }
}
