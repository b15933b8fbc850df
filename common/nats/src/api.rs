//! Requests to the JetStream API: JSON out, JSON or an error code back.
//!
//! Not for the hot path. Knows where the API lives (`$JS.API`, or a domain's), not what is asked.

use std::sync::Arc;
use std::time::Duration;

use async_nats::connection::State;
use async_nats::{Client, StatusCode};
use bytes::Bytes;
use everstep_common::ports::{ReadError, TopologyError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use crate::clock::pause;
use crate::refusal::{self, ApiError};
use crate::replies::{ANSWER_TIMEOUT, NoAnswer, Replies};

/// How often a lost connection is looked at while a request waits for it.
const CONNECTED_INTERVAL: Duration = Duration::from_millis(10);

/// The JetStream API of one connection.
#[derive(Clone, Debug)]
pub(crate) struct Api {
    /// Carries the requests.
    pub(crate) replies: Arc<Replies>,
    /// Knows whether the connection stands: a request made while it does not would be sent later, when nobody means it any more.
    client: Client,
    /// `$JS.API.`, or that of a domain.
    prefix: Arc<str>,
}

/// Why an API request failed.
#[derive(Clone, Debug)]
pub(crate) enum Failure {
    /// The server answered with an error.
    Refused(ApiError),
    /// Nobody serves this subject: the asset has no leader now, does not exist, or JetStream is off.
    NoResponders,
    /// No answer.
    Silence(String),
}

impl std::fmt::Display for Failure {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refused(error) => error.fmt(formatter),
            Self::NoResponders => formatter.write_str("JetStream does not answer"),
            Self::Silence(reason) => formatter.write_str(reason),
        }
    }
}

impl Failure {
    /// Whether the server says that the thing asked about does not exist.
    pub(crate) fn is(&self, err_code: u64) -> bool {
        matches!(self, Self::Refused(error) if error.err_code == err_code)
    }

    pub(crate) fn of_read(self) -> ReadError {
        match self {
            Self::Refused(error) => refusal::of_read(error),
            Self::NoResponders | Self::Silence(_) => ReadError::Unavailable(self.to_string()),
        }
    }

    pub(crate) fn of_topology(self, name: &str) -> TopologyError {
        match self {
            Self::Refused(error) => refusal::of_topology(name, error),
            Self::NoResponders | Self::Silence(_) => TopologyError::Unavailable {
                name: name.to_owned(),
                reason: self.to_string(),
            },
        }
    }
}

impl Api {
    pub(crate) fn new(replies: Arc<Replies>, client: Client, prefix: &str) -> Self {
        Self {
            replies,
            client,
            prefix: prefix.into(),
        }
    }

    /// The full subject of `verb`, such as `STREAM.INFO.X`.
    pub(crate) fn subject(&self, verb: &str) -> String {
        format!("{}{verb}", self.prefix)
    }

    /// Asks, and reads the answer as `A`.
    pub(crate) async fn ask<A: DeserializeOwned>(&self, verb: &str, question: &impl Serialize) -> Result<A, Failure> {
        let answer = self.ask_raw(verb, question).await?;
        serde_json::from_slice(&answer).map_err(|error| Failure::Silence(format!("{verb}: an answer not understood: {error}")))
    }

    async fn ask_raw(&self, verb: &str, question: &impl Serialize) -> Result<Bytes, Failure> {
        self.connected().await?;
        let question = serde_json::to_vec(question).map_err(|error| Failure::Silence(error.to_string()))?;
        let answer = self.replies.request(self.subject(verb).into(), None, question.into()).await;
        let answer = answer.map_err(|error: NoAnswer| Failure::Silence(format!("{verb}: {error}")))?;
        if answer.status == Some(StatusCode::NO_RESPONDERS) {
            return Err(Failure::NoResponders);
        }
        match error_of(&answer.payload) {
            Some(error) => Err(Failure::Refused(error)),
            None => Ok(answer.payload),
        }
    }

    /// Waits for the connection, as long as for an answer.
    pub(crate) async fn connected(&self) -> Result<(), Failure> {
        let until = Instant::now() + ANSWER_TIMEOUT;
        // Asked for, not told: async-nats drops events when too many come at once, and a lost one must not end everything.
        while self.client.connection_state() != State::Connected {
            if Instant::now() >= until {
                return Err(Failure::Silence("not connected".to_owned()));
            }
            pause(CONNECTED_INTERVAL).await;
        }
        Ok(())
    }
}

/// The error in an API answer, if it is one. Every answer is an object, and only an error has an `error`.
fn error_of(answer: &[u8]) -> Option<ApiError> {
    #[derive(serde::Deserialize)]
    struct Answer {
        error: Option<ApiError>,
    }
    serde_json::from_slice::<Answer>(answer).ok()?.error
}
