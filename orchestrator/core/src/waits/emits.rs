//! Events that a workflow emits. Published by the shell, once for ever under the key, however often the run is replayed.
//!
//! ```text
//!   asked ──▶ Emit ──`local` entry──▶ answered
//!               └──dropped──▶ CancelLocal
//! ```
//!
//! An event that was dropped may have been published or not.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use everstep_common::digest::InputDigest;
use everstep_common::event::EventName;
use everstep_common::key::StepKey;
use futures::future::FusedFuture;
use jiff::Timestamp;

use super::ask::{Ask, Request};
use super::family::Family;
use crate::scope::KeySeed;
use crate::{Command, WaitError};

/// An event that is published when it is polled. Made by [`crate::Context::emit`].
///
/// Once it has answered it stays pending if polled again.
#[must_use = "an event is emitted when it is polled"]
pub struct Emit(pub(crate) Ask<NewEmit>);

impl Emit {
    /// Uses exactly this key. The number that its name took stays used.
    pub fn key(mut self, key: &str) -> Self {
        self.0.revise(|seed, _| *seed = KeySeed::Explicit(key.into()));
        self
    }
}

impl Future for Emit {
    type Output = Result<Bytes, WaitError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll(cx)
    }
}

impl FusedFuture for Emit {
    fn is_terminated(&self) -> bool {
        self.0.is_done()
    }
}

/// An event that is not asked for yet.
pub(crate) struct NewEmit {
    pub(crate) event: EventName,
    pub(crate) data: Bytes,
}

impl Request for NewEmit {
    fn into_family(self, _now: Timestamp) -> Family {
        Family::Emit(Box::new(EmitWait {
            digest: InputDigest::of(&self.data),
            open: Some(self),
        }))
    }
}

/// An event that was asked for.
pub(crate) struct EmitWait {
    digest: InputDigest,
    /// Until it is handed to the shell.
    open: Option<NewEmit>,
}

impl EmitWait {
    pub(super) fn digest(&self) -> &InputDigest {
        &self.digest
    }

    pub(super) fn commands(&mut self, key: &StepKey, commands: &mut Vec<Command>) {
        if let Some(NewEmit { event, data }) = self.open.take() {
            commands.push(Command::Emit {
                key: key.clone(),
                event,
                digest: self.digest,
                data,
            });
        }
    }
}
