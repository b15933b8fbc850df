//! What the families have in common: they are compared with what is recorded, and say what is to be done for them.

use bytes::Bytes;
use everstep_common::digest::InputDigest;
use everstep_common::failure::Failure;
use everstep_common::ids::{FunctionName, RunId};
use everstep_common::journal::LocalKind;
use everstep_common::key::StepKey;
use everstep_common::question::PayloadHash;
use everstep_common::update::UpdateVerdict;
use jiff::Timestamp;

use super::Answer;
use super::attempts::StepWait;
use super::children::ChildWait;
use super::emits::EmitWait;
use super::locals::LocalWait;
use super::questions::QuestionWait;
use super::sessions::SessionWait;
use super::signals::SignalWait;
use super::timers::TimerWait;
use super::updates::ReplyWait;
use crate::aftermath::Spare;
use crate::event::Record;
use crate::parked::{Mismatch, WaitKind};
use crate::{Command, OpenKind};

/// One wait, by family.
pub(crate) enum Family {
    Step(Box<StepWait>),
    Timer(TimerWait),
    Local(Box<LocalWait>),
    Session(Box<SessionWait>),
    Emit(Box<EmitWait>),
    Child(Box<ChildWait>),
    Signal(Box<SignalWait>),
    Question(Box<QuestionWait>),
    Reply(Box<ReplyWait>),
    /// Its outcome is recorded, and nothing else is ever compared with it. Small, since runs keep all they ever asked for.
    Settled(WaitKind),
}

/// Whose wait it is, and when.
pub(crate) struct Moment<'a> {
    /// The run.
    pub(crate) run: &'a RunId,
    /// The time of the entry.
    pub(crate) time: Timestamp,
}

/// What a record means for the wait it speaks of.
pub(crate) enum Received {
    /// Nothing new.
    Nothing,
    /// There may be something to be done.
    Changed,
    /// This is its answer, and there is nothing left to be done for it.
    Answer(Result<Bytes, Failure>),
    /// This is the answer of a child.
    Ended(Answer),
    /// This is its answer; a deadline may have to be taken back.
    Decided(Result<Bytes, Failure>),
    /// It is known to be over.
    Over,
}

/// How a record differs from what was asked.
pub(crate) enum Difference {
    Function {
        recorded: FunctionName,
        asked: FunctionName,
    },
    Workflow {
        recorded: FunctionName,
        asked: FunctionName,
    },
    Input {
        function: FunctionName,
        recorded: InputDigest,
        asked: InputDigest,
    },
    Kind {
        recorded: WaitKind,
        asked: WaitKind,
    },
    Approval {
        recorded: PayloadHash,
        asked: PayloadHash,
    },
    Verdict {
        recorded: UpdateVerdict,
        asked: UpdateVerdict,
    },
}

impl Family {
    pub(crate) fn kind(&self) -> WaitKind {
        match self {
            Self::Step(_) => WaitKind::Step,
            Self::Timer(_) => WaitKind::Timer,
            Self::Local(_) => WaitKind::Closure,
            Self::Session(_) => WaitKind::Session,
            Self::Emit(_) => WaitKind::Event,
            Self::Child(child) => child.kind(),
            Self::Signal(signal) => signal.kind(),
            Self::Question(_) => WaitKind::Question,
            Self::Reply(_) => WaitKind::Reply,
            Self::Settled(kind) => *kind,
        }
    }

    pub(crate) fn function(&self) -> Option<&FunctionName> {
        match self {
            Self::Step(step) => Some(step.function()),
            Self::Child(child) => Some(child.function()),
            _ => None,
        }
    }

    pub(crate) fn digest(&self) -> Option<&InputDigest> {
        match self {
            Self::Step(step) => Some(step.digest()),
            Self::Session(session) => session.digest(),
            Self::Emit(emit) => Some(emit.digest()),
            Self::Child(child) => Some(child.digest()),
            _ => None,
        }
    }

    /// Whether a rollback undoes it once it is done.
    pub(crate) fn can_be_undone(&self) -> bool {
        matches!(self, Self::Step(step) if step.can_be_undone())
    }

    /// Which attempt of a step is being made; 0 for what has none.
    pub(crate) fn attempt(&self) -> u32 {
        match self {
            Self::Step(step) => step.attempt(),
            _ => 0,
        }
    }

    /// Compares a record with what was asked, and takes it in.
    pub(crate) fn receive(&mut self, key: &StepKey, record: Record, at: &Moment<'_>) -> Result<Received, Difference> {
        match (self, record) {
            (
                Self::Step(step),
                Record::Step {
                    function,
                    digest,
                    result,
                },
            ) => step.ended(function, digest, result),
            (Self::Step(step), Record::Try(number, attempt)) => step.tried(key, number, *attempt, at),
            (Self::Step(step), Record::Begun { attempt, fence: false }) => Ok(step.begun(attempt, at.time)),
            (Self::Step(step), Record::Begun { attempt, fence: true }) => Ok(step.fenced(attempt, at.time)),
            (Self::Timer(_), Record::Timer) => Ok(Received::Answer(Ok(Bytes::new()))),
            (Self::Local(_), Record::Local(LocalKind::Closure, result))
            | (Self::Session(_), Record::Local(LocalKind::Session, result))
            | (Self::Emit(_), Record::Local(LocalKind::Emit, result)) => Ok(Received::Answer(result)),
            (Self::Child(child), Record::Child(named)) if named.detached == (child.kind() == WaitKind::Detached) => {
                child.named(*named)
            }
            (
                Self::Child(child),
                Record::Step {
                    function,
                    digest,
                    result,
                },
            ) if child.kind() == WaitKind::Child => child.ended(function, digest, result),
            (Self::Settled(WaitKind::Child), Record::Step { .. }) => Ok(Received::Nothing),
            (Self::Question(question), Record::Local(LocalKind::Question, shown)) => question.shown(shown),
            (Self::Question(question), Record::Answer(answered)) => Ok(question.answered(key, *answered, at)),
            (Self::Question(question), Record::Withdrawn) => Ok(question.withdrawn()),
            (Self::Question(question), Record::Timer) => Ok(Received::Answer(question.too_late(key))),
            (Self::Signal(signal), Record::Timer) => Ok(Received::Answer(signal.too_late())),
            (Self::Reply(reply), Record::Local(LocalKind::Update, recorded)) => reply.recorded(&recorded),
            // Whoever writes what is no answer moves nobody by it.
            (_, Record::Answer(_) | Record::Withdrawn) => Ok(Received::Nothing),
            (Self::Settled(kind), record) if record.kind() == *kind => Ok(Received::Nothing),
            (family, record) => Err(Difference::Kind {
                recorded: record.kind(),
                asked: family.kind(),
            }),
        }
    }

    /// What is to be done for it and has not been said yet.
    pub(crate) fn commands(&mut self, key: &StepKey, fresh: bool, commands: &mut Vec<Command>) {
        match self {
            Self::Step(step) => step.commands(key, fresh, commands),
            Self::Timer(timer) => timer.commands(key, commands),
            Self::Local(local) => local.commands(key, commands),
            Self::Session(session) => session.commands(key, commands),
            Self::Emit(emit) => emit.commands(key, commands),
            Self::Child(child) => child.commands(key, commands),
            Self::Signal(signal) => signal.commands(key, commands),
            Self::Question(question) => question.commands(key, commands),
            Self::Reply(_) | Self::Settled(_) => {}
        }
    }

    /// What is to be done now that nobody waits for it.
    pub(crate) fn cancel(&mut self, key: &StepKey) -> Option<Command> {
        match self {
            Self::Step(step) => step.cancel(key),
            Self::Timer(_) => Some(Command::CancelTimer { key: key.clone() }),
            Self::Local(_) | Self::Session(_) | Self::Emit(_) => Some(Command::CancelLocal { key: key.clone() }),
            Self::Child(child) => child.cancel(key),
            Self::Signal(signal) => signal.close(key),
            Self::Question(question) => question.close(key),
            Self::Reply(reply) => reply.command(key),
            Self::Settled(_) => None,
        }
    }

    /// Whether people can see it.
    pub(crate) fn is_shown(&self) -> bool {
        match self {
            Self::Question(question) => question.is_shown(),
            Self::Child(child) => child.is_named(),
            _ => false,
        }
    }

    /// Nobody waits for it any more, though it may have gone out. What is the user's is handed out, as below.
    pub(crate) fn give_up(&mut self) -> Option<Spare> {
        if let Self::Question(question) = self {
            question.give_up();
        }
        self.take_spare()
    }

    /// Gives up what only an open wait needs. What of that is the user's is handed out, to be dropped where nothing is borrowed.
    pub(crate) fn close(&mut self) -> Option<Spare> {
        if let Self::Step(step) = self {
            step.close();
        }
        self.take_spare()
    }

    /// Keeps only what kind it was, and what may be left to be closed. What is the user's is handed out, as above.
    pub(crate) fn settle(&mut self) -> Option<Spare> {
        let spare = self.take_spare();
        match self {
            Self::Signal(_) => {}
            Self::Question(question) => question.settle(),
            _ => *self = Self::Settled(self.kind()),
        }
        spare
    }

    /// The closure or the change that was not handed to the shell yet.
    pub(crate) fn take_spare(&mut self) -> Option<Spare> {
        match self {
            Self::Local(local) => local.take(),
            Self::Session(session) => session.take(),
            _ => None,
        }
    }

    /// What it waits for, for people.
    pub(crate) fn open_kind(&self) -> OpenKind {
        match self {
            Self::Step(step) => step.open_kind(),
            Self::Timer(timer) => OpenKind::Timer { due: timer.due() },
            Self::Local(_) => OpenKind::Closure,
            Self::Session(session) => session.open_kind(),
            Self::Emit(_) => OpenKind::Event,
            Self::Child(child) => child.open_kind(),
            Self::Signal(signal) => signal.open_kind(),
            Self::Question(question) => question.open_kind(),
            Self::Reply(_) | Self::Settled(_) => unreachable!("what is settled is not open"),
        }
    }
}

impl Record {
    pub(crate) fn kind(&self) -> WaitKind {
        match self {
            Self::Step { .. } | Self::Try(..) | Self::Begun { .. } => WaitKind::Step,
            Self::Local(LocalKind::Closure, _) => WaitKind::Closure,
            Self::Local(LocalKind::Question, _) | Self::Answer(_) | Self::Withdrawn => WaitKind::Question,
            Self::Local(LocalKind::Session, _) => WaitKind::Session,
            Self::Local(LocalKind::Emit, _) => WaitKind::Event,
            Self::Local(LocalKind::Update, _) => WaitKind::Reply,
            Self::Local(LocalKind::Patch | LocalKind::Version, _) => WaitKind::Marker,
            Self::Timer => WaitKind::Timer,
            Self::Child(child) if child.detached => WaitKind::Detached,
            Self::Child(_) => WaitKind::Child,
        }
    }

    pub(crate) fn function(&self) -> Option<&FunctionName> {
        match self {
            Self::Step { function, .. } => Some(function),
            Self::Try(_, attempt) => Some(&attempt.function),
            _ => None,
        }
    }

    /// Whether it came from outside: what nobody asked for is then kept, and says nothing about the code.
    pub(crate) fn is_from_outside(&self) -> bool {
        matches!(self, Self::Answer(_) | Self::Withdrawn)
    }
}

impl Difference {
    /// The same with key and entry.
    pub(crate) fn at(self, key: StepKey, sequence: u64) -> Mismatch {
        match self {
            Self::Function { recorded, asked } => Mismatch::Function {
                key,
                recorded,
                asked,
                sequence,
            },
            Self::Workflow { recorded, asked } => Mismatch::Workflow {
                key,
                recorded,
                asked,
                sequence,
            },
            Self::Input {
                function,
                recorded,
                asked,
            } => Mismatch::Input {
                key,
                function,
                recorded,
                asked,
                sequence,
            },
            Self::Approval { recorded, asked } => Mismatch::Approval {
                key,
                recorded,
                asked,
                sequence,
            },
            Self::Verdict { recorded, asked } => Mismatch::Verdict {
                key,
                recorded,
                asked,
                sequence,
            },
            Self::Kind { recorded, asked } => Mismatch::Kind {
                key,
                recorded,
                asked,
                sequence,
            },
        }
    }
}
