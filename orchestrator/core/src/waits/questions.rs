//! Questions: what a run asks people, and the replies that settle it.
//!
//! ```text
//!   asked ──▶ AskUser, StartTimer (if it has a deadline)
//!     ├──`local` entry──▶ shown ──replies that settle it──▶ answered ──▶ CloseWait
//!     │                     └──`timer` entry──▶ answered: too late
//!     └──dropped──▶ CloseWait ──`in.answer.<wait>` says withdrawn──▶ over
//! ```
//!
//! People see what is recorded, so that counts, also when the code now asks otherwise: its deadline, and who may answer. A reply from before
//! it was recorded answers nothing. An approval is bound to the hash that is recorded, and code that now asks for the approval of something
//! else parks the run.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use everstep_common::failure::{Failure, FailureKind};
use everstep_common::key::StepKey;
use everstep_common::question::{Question, Vote};
use everstep_common::wire;
use futures::future::FusedFuture;
use jiff::Timestamp;

use super::ask::{Ask, Request};
use super::family::{Difference, Family, Moment, Received};
use super::timers::Due;
use crate::event::Answered;
use crate::scope::KeySeed;
use crate::{Command, OpenKind, WaitError};

/// A question to people. Made by [`crate::Context::question`].
///
/// It brings the replies that settle it, a `Vec` of [`Vote`] in the wire format. Once it has answered it stays pending if polled again.
#[must_use = "a question is asked when it is polled"]
pub struct Asked(pub(crate) Ask<NewQuestion>);

impl Asked {
    /// When it is no longer asked: the wait then fails with [`FailureKind::DeadlineExceeded`].
    pub fn deadline(mut self, due: Due) -> Self {
        self.0.revise(|_, request| request.deadline = Some(due));
        self
    }

    /// Uses exactly this key. The number that its name took stays used.
    pub fn key(mut self, key: &str) -> Self {
        self.0.revise(|seed, _| *seed = KeySeed::Explicit(key.into()));
        self
    }
}

impl Future for Asked {
    type Output = Result<Bytes, WaitError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll(cx)
    }
}

impl FusedFuture for Asked {
    fn is_terminated(&self) -> bool {
        self.0.is_done()
    }
}

/// A question that is not asked yet.
pub(crate) struct NewQuestion {
    pub(crate) question: Box<Question>,
    pub(crate) deadline: Option<Due>,
}

impl Request for NewQuestion {
    fn into_family(mut self, now: Timestamp) -> Family {
        self.question.deadline = self.deadline.map(|due| due.from(now));
        Family::Question(Box::new(QuestionWait {
            question: self.question,
            stage: Stage::Asked { told: false },
            timer_told: None,
            votes: Vec::new(),
        }))
    }
}

/// A question that was asked.
pub(crate) struct QuestionWait {
    /// As the code asks it; as it is recorded, once it is.
    question: Box<Question>,
    stage: Stage,
    /// The deadline that the shell was told.
    timer_told: Option<Timestamp>,
    /// The replies that count.
    votes: Vec<Vote>,
}

/// Where a question stands.
enum Stage {
    /// The code asks it; nobody can see it yet.
    Asked {
        /// The shell was told to record it.
        told: bool,
    },
    /// It is recorded.
    Shown,
    /// Settled by replies.
    Decided,
    /// Nobody waits for it any more.
    GivenUp,
}

impl QuestionWait {
    /// It is recorded: from now on it can be answered.
    pub(super) fn shown(&mut self, recorded: Result<Bytes, Failure>) -> Result<Received, Difference> {
        let recorded = match recorded {
            Ok(recorded) => recorded,
            Err(failure) => return Ok(Received::Answer(Err(failure))),
        };
        let Ok(recorded) = wire::decode_value::<Question>(&recorded) else {
            let message = "the question that is recorded was written by a later version, and cannot be read by this one";
            return Ok(Received::Answer(Err(Failure::new(FailureKind::Invalid, message))));
        };
        if let (Some(shown), Some(asked)) = (&recorded.approval, &self.question.approval)
            && shown.hash != asked.hash
        {
            return Err(Difference::Approval {
                recorded: shown.hash,
                asked: asked.hash,
            });
        }
        *self.question = recorded;
        if let Stage::Asked { .. } = self.stage {
            self.stage = Stage::Shown;
        }
        Ok(Received::Changed)
    }

    /// Whether people can see it and have not settled it.
    pub(super) fn is_shown(&self) -> bool {
        matches!(self.stage, Stage::Shown)
    }

    /// Somebody replied.
    pub(super) fn answered(&mut self, key: &StepKey, answered: Answered, at: &Moment<'_>) -> Received {
        let Answered {
            id,
            by,
            groups,
            reason,
            reply,
        } = answered;
        // The id is what makes a second reply of the same person impossible.
        let is_due = matches!(self.stage, Stage::Shown) && id == self.question.slot(key, &by);
        if !is_due || self.question.admits_beside(&self.votes, &by, &groups, &reply).is_err() {
            return Received::Nothing;
        }
        self.votes.push(Vote {
            by,
            groups,
            at: at.time,
            reason,
            reply,
        });
        if !self.question.is_settled(&self.votes) {
            return Received::Nothing;
        }
        self.stage = Stage::Decided;
        let votes = std::mem::take(&mut self.votes);
        Received::Decided(wire::encode(&votes).map_err(|error| Failure::new(FailureKind::Invalid, error.to_string())))
    }

    /// It is recorded that nobody asks it any more. Whoever waits for it nevertheless learns of it.
    pub(super) fn withdrawn(&mut self) -> Received {
        match self.stage {
            Stage::GivenUp | Stage::Decided => Received::Over,
            Stage::Asked { .. } | Stage::Shown => {
                let message = "the question was withdrawn by other code than this";
                Received::Answer(Err(Failure::new(FailureKind::Cancelled, message)))
            }
        }
    }

    pub(super) fn too_late(&self, key: &StepKey) -> Result<Bytes, Failure> {
        let message = format!("nobody has answered question {key} in time");
        Err(Failure::new(FailureKind::DeadlineExceeded, message))
    }

    /// Nobody waits for it any more: what is replied from now on settles nothing.
    pub(crate) fn give_up(&mut self) {
        if !matches!(self.stage, Stage::Decided) {
            self.stage = Stage::GivenUp;
        }
    }

    /// It is answered: of what was asked only what closes it is still needed.
    pub(super) fn settle(&mut self) {
        *self.question = Question {
            deadline: self.question.deadline,
            ..Question::default()
        };
        self.votes = Vec::new();
    }

    pub(super) fn commands(&mut self, key: &StepKey, commands: &mut Vec<Command>) {
        if let Stage::Asked { told } = &mut self.stage
            && !std::mem::replace(told, true)
        {
            let question = self.question.clone();
            commands.push(Command::AskUser {
                key: key.clone(),
                question,
            });
        }
        let deadline = self.question.deadline;
        if let Some(due) = deadline
            && self.timer_told != deadline
        {
            self.timer_told = deadline;
            commands.push(Command::StartTimer {
                key: key.clone(),
                due,
                event: None,
            });
        }
    }

    pub(super) fn close(&self, key: &StepKey) -> Option<Command> {
        let (deadline, withdraw) = (self.question.deadline.is_some(), !matches!(self.stage, Stage::Decided));
        (deadline || withdraw).then(|| Command::CloseWait {
            key: key.clone(),
            deadline,
            withdraw,
        })
    }

    pub(super) fn open_kind(&self) -> OpenKind {
        OpenKind::Question {
            text: self.question.text.clone(),
            is_approval: self.question.approval.is_some(),
            deadline: self.question.deadline,
        }
    }
}
