//! Children: runs that this run starts, and waits for unless they are detached.
//!
//! ```text
//!   attached: asked ──▶ StartChild ──`child` entry──▶ known by its id ──`step` entry──▶ answered
//!               └──cancelled, or dropped──▶ CancelChild ──`step` entry──▶ answered, if anybody waits
//!   detached: asked ──▶ StartChild ──`child` entry──▶ answered with its id
//! ```
//!
//! A cancel is passed on and does not end the wait: the child ends in its own time, and its end is awaited. A detached child is not
//! cancelled, and is started even if nobody waits for that any more: asked is for ever.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use everstep_common::digest::InputDigest;
use everstep_common::failure::{Failure, FailureKind};
use everstep_common::ids::{FunctionName, RunId, WorkflowName};
use everstep_common::journal::{self, Start, StartTerms};
use everstep_common::key::StepKey;
use everstep_common::limits::{CHILD_DEPTH_MAX, PAYLOAD_BYTES_MAX};
use everstep_common::payload::TooLarge;
use everstep_common::session::check_id;
use futures::future::FusedFuture;
use jiff::Timestamp;

use super::Answer;
use super::ask::{Ask, Request};
use super::family::{Difference, Family, Received};
use crate::parked::WaitKind;
use crate::scope::KeySeed;
use crate::shared::Shared;
use crate::{Command, OpenKind, WaitError};

/// A child run. Made by [`crate::Context::child`].
///
/// Brings the value that the child's workflow returns; if it is detached, the id of the run, once that is started for good. Once it has
/// answered it stays pending if polled again.
#[must_use = "a child is started when it is polled"]
pub struct Child(Ask<Box<ChildSpec>>);

/// How a child is started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChildSpec {
    /// Its workflow.
    pub workflow: WorkflowName,
    /// Which version of it; `None`: the newest that its owner knows.
    pub version: Option<u32>,
    /// Its input.
    pub input: Bytes,
    /// The digest of that.
    pub digest: InputDigest,
    /// Whether nobody waits for its end.
    pub detached: bool,
    /// Its session.
    pub session: Option<String>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// How urgent it is, whose work it is, and by when it must be over.
    pub terms: StartTerms,
    /// How many children are nested there, this one included.
    pub depth: u32,
}

impl ChildSpec {
    /// A child of the run that was started so: in its session, with its tags, as urgent and for the same key.
    fn of(parent: &Start, workflow: WorkflowName, version: Option<u32>, input: Bytes) -> Self {
        Self {
            workflow,
            version,
            digest: InputDigest::of(&input),
            input,
            detached: false,
            session: parent.session.clone(),
            tags: parent.tags.clone(),
            terms: parent.terms.of_child(),
            depth: 1 + parent.parent.as_ref().map_or(0, |parent| parent.depth),
        }
    }

    /// Why there can be no such child.
    fn check(&self) -> Result<(), Failure> {
        let invalid = |message| Err(Failure::new(FailureKind::Invalid, message));
        if self.input.len() > PAYLOAD_BYTES_MAX {
            let bytes = self.input.len();
            return invalid(TooLarge { bytes }.to_string());
        }
        if let Err(bad) = self.terms.check() {
            return invalid(bad.to_string());
        }
        if self.depth > CHILD_DEPTH_MAX {
            return invalid(format!("children are nested more than {CHILD_DEPTH_MAX} deep"));
        }
        Ok(())
    }
}

/// The patch of which the old side takes every text for the id of a child's session.
const SESSION_CHECK: &str = "everstep: the session of a child";

/// All that two replays must agree on.
impl fmt::Display for ChildSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let detached = if self.detached { "detached " } else { "" };
        write!(f, "{detached}child {}({})", self.workflow, self.digest)
    }
}

impl Child {
    pub(crate) fn new(shared: Rc<Shared>, workflow: WorkflowName, version: Option<u32>, input: Result<Bytes, Failure>) -> Self {
        let name = workflow.as_str().to_owned();
        let (input, unusable) = match input {
            Ok(input) => (input, None),
            Err(failure) => (Bytes::new(), Some(failure)),
        };
        let parent = shared.start.get().expect("contexts are made by the run's start");
        let spec = ChildSpec::of(parent, workflow, version, input);
        let refused = unusable.or_else(|| spec.check().err());
        let mut ask = Ask::new(shared, &name, Box::new(spec));
        if let Some(failure) = refused {
            ask.refuse(failure);
        }
        Self(ask)
    }

    /// Uses exactly this key. The number that its name took stays used.
    pub fn key(mut self, key: &str) -> Self {
        self.0.revise(|seed, _| *seed = KeySeed::Explicit(key.into()));
        self
    }

    /// Why its session is none, if it was given one of its own. What it has from its parent was settled when that was started.
    fn objection(&mut self) -> Option<Failure> {
        let parent = self.0.shared().start.get().and_then(|start| start.session.clone());
        let session = self.0.request_mut()?.session.as_deref()?;
        if parent.as_deref() == Some(session) {
            return None;
        }
        let bad = check_id(session).err()?;
        Some(Failure::new(FailureKind::Invalid, bad.to_string()))
    }

    /// How it is started, as long as it is not asked for.
    pub fn spec_mut(&mut self) -> Option<&mut ChildSpec> {
        self.0.request_mut().map(|spec| &mut **spec)
    }
}

impl Future for Child {
    type Output = Answer;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // A run that has started such a child before goes on as it did.
        if let Some(failure) = self.objection()
            && self.0.shared().patched(SESSION_CHECK)
        {
            self.0.refuse(failure);
        }
        self.0.poll(cx)
    }
}

impl FusedFuture for Child {
    fn is_terminated(&self) -> bool {
        self.0.is_done()
    }
}

impl Request for Box<ChildSpec> {
    fn into_family(self, _now: Timestamp) -> Family {
        let function = FunctionName::new(self.workflow.as_str()).expect("workflows are named as functions are");
        Family::Child(Box::new(ChildWait {
            function,
            run: None,
            started: false,
            stop: Stop::No,
            spec: self,
        }))
    }
}

/// A child that was asked for.
pub(crate) struct ChildWait {
    spec: Box<ChildSpec>,
    /// What its outcome calls its workflow.
    function: FunctionName,
    /// Which run it is, once that is recorded.
    run: Option<RunId>,
    /// The shell was told to start it.
    started: bool,
    stop: Stop,
}

/// Whether it is to be cancelled.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stop {
    No,
    Asked,
    Told,
}

impl ChildWait {
    pub(super) fn function(&self) -> &FunctionName {
        &self.function
    }

    pub(super) fn digest(&self) -> &InputDigest {
        &self.spec.digest
    }

    pub(super) fn kind(&self) -> WaitKind {
        if self.spec.detached {
            WaitKind::Detached
        } else {
            WaitKind::Child
        }
    }

    fn compare(&self, recorded: FunctionName, digest: InputDigest) -> Result<(), Difference> {
        if recorded != self.function {
            return Err(Difference::Workflow {
                recorded,
                asked: self.function.clone(),
            });
        }
        if digest != self.spec.digest {
            return Err(Difference::Input {
                function: recorded,
                recorded: digest,
                asked: self.spec.digest,
            });
        }
        Ok(())
    }

    /// Whether it is known which run it is: it may have been started, whenever this code asked for it.
    pub(crate) fn is_named(&self) -> bool {
        self.run.is_some()
    }

    /// It is known which run it is.
    pub(super) fn named(&mut self, child: journal::Child) -> Result<Received, Difference> {
        let function = FunctionName::new(child.workflow.as_str()).expect("workflows are named as functions are");
        self.compare(function, child.digest)?;
        if self.spec.detached {
            return Ok(Received::Ended(Ok(Bytes::from(String::from(child.run)))));
        }
        self.run = Some(child.run);
        Ok(Received::Nothing)
    }

    /// Its outcome is recorded.
    pub(super) fn ended(
        &self,
        function: FunctionName,
        digest: InputDigest,
        result: Result<Bytes, Failure>,
    ) -> Result<Received, Difference> {
        self.compare(function, digest)?;
        Ok(Received::Ended(result.map_err(|failure| self.error(failure))))
    }

    fn error(&self, failure: Failure) -> WaitError {
        if self.stop != Stop::No && failure.kind == FailureKind::Cancelled {
            return WaitError::Cancelled;
        }
        WaitError::Child {
            run: self.run.clone(),
            failure,
        }
    }

    /// The domain in which it is waited for is cancelled. Its end is awaited all the same.
    pub(crate) fn stop(&mut self) {
        if !self.spec.detached && self.stop == Stop::No {
            self.stop = Stop::Asked;
        }
    }

    pub(super) fn commands(&mut self, key: &StepKey, commands: &mut Vec<Command>) {
        if self.stop == Stop::No {
            commands.extend(self.start(key));
        } else {
            commands.extend(self.cancel(key));
        }
    }

    fn start(&mut self, key: &StepKey) -> Option<Command> {
        let first = !std::mem::replace(&mut self.started, true);
        first.then(|| Command::StartChild {
            key: key.clone(),
            child: self.spec.clone(),
        })
    }

    /// Nobody waits for it any more, or it is to end.
    pub(super) fn cancel(&mut self, key: &StepKey) -> Option<Command> {
        if self.spec.detached {
            return self.start(key);
        }
        let first = std::mem::replace(&mut self.stop, Stop::Told) != Stop::Told;
        first.then(|| Command::CancelChild {
            key: key.clone(),
            child: self.spec.clone(),
        })
    }

    pub(super) fn open_kind(&self) -> OpenKind {
        OpenKind::Child {
            workflow: self.spec.workflow.clone(),
            run: self.run.clone(),
            detached: self.spec.detached,
            cancelled: self.stop != Stop::No,
        }
    }
}
