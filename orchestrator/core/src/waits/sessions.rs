//! Operations on the values of a session, which its runs share. Done by the shell, once for a run however often it is replayed.
//!
//! ```text
//!   asked ──▶ Session ──`local` entry──▶ answered
//!                └──dropped──▶ CancelLocal
//! ```
//!
//! What is recorded is what the operation brought: the value read, the result of the change. A write that was dropped may have been
//! applied or not.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use everstep_common::digest::InputDigest;
use everstep_common::failure::{Failure, FailureKind};
use everstep_common::journal::Start;
use everstep_common::key::StepKey;
use everstep_common::limits::{SESSION_ID_CHARS_MAX, SESSION_KEY_CHARS_MAX, SESSION_VALUE_BYTES_MAX};
use everstep_common::session::check_id;
use futures::FutureExt;
use futures::future::FusedFuture;
use jiff::Timestamp;

use super::ask::{Ask, Request};
use super::family::Family;
use crate::{Closure, Command, OpenKind, WaitError};

/// Makes the new value of the one that stands, if any. It may be called several times before one of its results counts.
pub type SessionChange = Arc<dyn Fn(Option<Bytes>) -> Result<Bytes, Failure> + Send + Sync>;

/// What is to be done to the values of a session.
#[derive(Clone)]
pub enum SessionRequest {
    /// Read a value. Brings an array of it, or an empty one if it is not set.
    Get {
        /// The value's name.
        key: String,
    },
    /// Set a value. Brings nil.
    Set {
        /// The value's name.
        key: String,
        /// The new value, or why there is none.
        value: Result<Bytes, Failure>,
    },
    /// Change a value by what it is. Brings the new one.
    Update {
        /// The value's name.
        key: String,
        /// The change.
        change: SessionChange,
    },
    /// Remove a value. Brings whether it was set.
    Delete {
        /// The value's name.
        key: String,
    },
    /// The names of the values that are set. Brings an array of them, in order.
    Keys,
}

impl SessionRequest {
    /// The name of the value that it speaks of; [`SessionRequest::Keys`] speaks of all.
    pub fn key(&self) -> Option<&str> {
        match self {
            Self::Get { key } | Self::Set { key, .. } | Self::Update { key, .. } | Self::Delete { key } => Some(key),
            Self::Keys => None,
        }
    }

    fn check(&self) -> Result<(), Failure> {
        let key = self.key().unwrap_or("all");
        let characters = key.chars().count();
        if characters == 0 || characters > SESSION_KEY_CHARS_MAX {
            return invalid(format!(
                "the name of a session's value has 1 to {SESSION_KEY_CHARS_MAX} characters, and this one has {characters}"
            ));
        }
        if let Self::Set { value, .. } = self {
            check_value(value.as_ref().map_err(Failure::clone)?)?;
        }
        Ok(())
    }
}

/// Whether a session can hold the value.
fn check_value(value: &Bytes) -> Result<(), Failure> {
    let bytes = value.len();
    if bytes > SESSION_VALUE_BYTES_MAX {
        return invalid(format!(
            "a value of {bytes} bytes is over the limit of {SESSION_VALUE_BYTES_MAX} for a session; put it into a store of your own and keep its name"
        ));
    }
    Ok(())
}

fn invalid(message: impl Into<String>) -> Result<(), Failure> {
    Err(Failure::new(FailureKind::Invalid, message))
}

/// What keys, and people, call it: `update(visits)`.
impl fmt::Display for SessionRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Get { key } => write!(f, "get({key})"),
            Self::Set { key, .. } => write!(f, "set({key})"),
            Self::Update { key, .. } => write!(f, "update({key})"),
            Self::Delete { key } => write!(f, "delete({key})"),
            Self::Keys => write!(f, "keys()"),
        }
    }
}

impl fmt::Debug for SessionRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An operation on the session. Made by [`crate::Context::session`].
///
/// Once it has answered it stays pending if polled again.
#[must_use = "an operation on the session is done when it is polled"]
pub struct Session(pub(crate) Ask<NewSession>);

impl Future for Session {
    type Output = Result<Bytes, WaitError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll(cx)
    }
}

impl FusedFuture for Session {
    fn is_terminated(&self) -> bool {
        self.0.is_done()
    }
}

/// An operation that is not asked for yet.
pub(crate) struct NewSession {
    session: String,
    request: SessionRequest,
}

impl NewSession {
    /// The operation, and why it cannot be asked for.
    pub(crate) fn of(start: &Start, request: SessionRequest) -> (Self, Option<Failure>) {
        let refused = match &start.session {
            None => invalid("the run was started without a session: give it one with `client.start(…).session(\"…\")`").err(),
            Some(session) if check_id(session).is_err() => {
                invalid(format!("the id of a session has 1 to {SESSION_ID_CHARS_MAX} characters")).err()
            }
            Some(_) => request.check().err(),
        };
        let session = start.session.clone().unwrap_or_default();
        (Self { session, request }, refused)
    }
}

impl Request for NewSession {
    fn into_family(self, _now: Timestamp) -> Family {
        let digest = match &self.request {
            SessionRequest::Set { value: Ok(value), .. } => Some(InputDigest::of(value)),
            _ => None,
        };
        Family::Session(Box::new(SessionWait {
            digest,
            open: Some(self),
        }))
    }
}

/// An operation that was asked for.
pub(crate) struct SessionWait {
    /// Of the value to be set.
    digest: Option<InputDigest>,
    /// Until it is handed to the shell.
    open: Option<NewSession>,
}

impl SessionWait {
    pub(super) fn digest(&self) -> Option<&InputDigest> {
        self.digest.as_ref()
    }

    /// The change that was not handed to the shell, which is the user's, as something to be dropped where nothing is borrowed.
    pub(super) fn take(&mut self) -> Option<Closure> {
        let open = self.open.take()?;
        Some(Box::new(move || {
            drop(open);
            futures::future::pending().boxed()
        }))
    }

    pub(super) fn commands(&mut self, key: &StepKey, commands: &mut Vec<Command>) {
        if let Some(NewSession { session, request }) = self.open.take() {
            commands.push(Command::Session {
                key: key.clone(),
                session,
                request,
            });
        }
    }

    pub(super) fn open_kind(&self) -> OpenKind {
        OpenKind::Session
    }
}
