//! A question to people.

use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use everstep_common::failure::FailureKind;
use everstep_common::limits::QUESTION_BYTES_MAX;
use everstep_common::payload::Payload;
use everstep_common::question::{self, Reply, Vote};
use everstep_common::wire;
use everstep_core::{Asked, Due, WaitError};
use everstep_forms::{check_answer, check_question};
use futures::future::FusedFuture;
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::Value as Json;

pub use everstep_common::question::Choice;

use crate::error::WorkflowError;

/// What a run asks people; asked by `ctx.wait_for_user(…)`.
///
/// People answer it under its [`name`](Self::name), with `Client::answer`, `everstep runs answer` or whatever your application puts before
/// them. An answer is checked before it is taken; the first one that is stands.
///
/// ```
/// use everstep::prelude::*;
/// use everstep::{Choice, InputType, Question};
///
/// #[workflow]
/// async fn paint(ctx: WorkflowContext, house: String) -> Result<String, WorkflowError> {
///     let colour = ctx.wait_for_user::<String>(Question {
///         question: format!("Which colour for {house}?"),
///         input_type: InputType::Select,
///         options: vec![Choice::new("red", "Red"), Choice::new("blue", "Blue")],
///         name: Some("colour".to_owned()),
///         ..Question::default()
///     });
///     let answer = colour.await?;
///     Ok(format!("{} by {}", answer.value, answer.by.unwrap_or_default()))
/// }
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Question {
    /// What people read.
    pub question: String,
    /// What an answer looks like.
    pub input_type: InputType,
    /// What can be chosen; [`InputType::Approval`] without any means `approve` and `reject`.
    pub options: Vec<Choice>,
    /// Whether another text than an option's id may be answered.
    pub allow_custom: bool,
    /// Whether it may be left unanswered: the value is then null, so ask for an `Option`.
    pub skippable: bool,
    /// How long it is asked.
    pub timeout: Option<Duration>,
    /// What happens then.
    pub on_timeout: OnTimeout,
    /// The people and groups that may answer; anybody if there are none.
    pub assignees: Vec<String>,
    /// The name under which it is answered, numbered from its second use in a scope on; else it is called after its input type.
    ///
    /// Give one wherever a run asks more than one thing: it is how people and programs find the question again. In a block its scopes stand
    /// before it: `parallel/0/approve`.
    pub name: Option<String>,
}

/// What an answer looks like.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum InputType {
    /// Any text.
    #[default]
    Text,
    /// One of a few options of which one says yes. No more than a question: for what must not happen without it see `ctx.await_approval`.
    Approval,
    /// One option.
    Select,
    /// Some options.
    Multiselect,
    /// A value that fits this JSON Schema. References to other documents are not followed.
    Form(Json),
}

/// What a question brings when nobody has answered it in time.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum OnTimeout {
    /// [`WorkflowErrorKind::Unanswered`](crate::WorkflowErrorKind::Unanswered).
    #[default]
    Fail,
    /// Null, as if it had been skipped.
    Skip,
    /// This value, as if it had been answered.
    Answer(Json),
}

/// What was answered, and by whom.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer<T> {
    /// What.
    pub value: T,
    /// Who; nobody if the time was up.
    pub by: Option<String>,
    /// When it was stored, or the time was up.
    pub at: Timestamp,
    /// Why, as far as it was said.
    pub reason: Option<String>,
}

/// A question that is asked when first polled; made by `ctx.wait_for_user(…)`.
///
/// # Errors
///
/// [`WorkflowErrorKind::Unanswered`](crate::WorkflowErrorKind::Unanswered) if its time is up and [`OnTimeout`] says no other.
/// [`WorkflowErrorKind::Invalid`](crate::WorkflowErrorKind::Invalid) if the question cannot be asked (a schema that is none, nothing to choose
/// from, over 256 KiB), or what was answered is not a `T`. [`WorkflowErrorKind::Cancelled`](crate::WorkflowErrorKind::Cancelled) if the run or
/// the block round it is cancelled: the question is then withdrawn.
#[must_use = "a question is asked when it is awaited"]
pub struct QuestionFuture<T> {
    core: everstep_core::Context,
    asked: Asked,
    /// For messages.
    name: String,
    on_timeout: OnTimeout,
    /// It cannot be asked; told when it is awaited.
    refused: Option<WorkflowError>,
    /// That was told; it is not asked by being polled again.
    is_refused: bool,
    output: PhantomData<fn() -> T>,
}

impl Question {
    fn name_or_default(&self) -> String {
        let default = match self.input_type {
            InputType::Text => "question",
            InputType::Approval => "approval",
            InputType::Select | InputType::Multiselect => "choice",
            InputType::Form(_) => "form",
        };
        self.name.clone().unwrap_or_else(|| default.to_owned())
    }

    /// As it stands in the journal; its deadline is set when it is asked.
    fn recorded(self) -> question::Question {
        question::Question {
            text: self.question,
            input: match self.input_type {
                InputType::Text => question::InputType::Text,
                InputType::Approval => question::InputType::Approval,
                InputType::Select => question::InputType::Select,
                InputType::Multiselect => question::InputType::Multiselect,
                InputType::Form(schema) => question::InputType::Form {
                    schema: schema.to_string(),
                },
            },
            options: self.options,
            allow_custom: self.allow_custom,
            skippable: self.skippable,
            assignees: self.assignees,
            ..question::Question::default()
        }
    }
}

/// Why a question cannot be asked.
pub(super) fn refuse(name: &str, question: &question::Question) -> Result<(), WorkflowError> {
    let refused = |why: &dyn fmt::Display| WorkflowError::invalid(format!("question `{name}`: {why}"));
    check_question(question).map_err(|error| refused(&error))?;
    let bytes = wire::encode_value(question).map_err(|error| refused(&error))?.len();
    if bytes > QUESTION_BYTES_MAX {
        return Err(refused(&format_args!(
            "it has {bytes} bytes with all that it shows, and the limit is {QUESTION_BYTES_MAX}; show less, or a link"
        )));
    }
    Ok(())
}

impl<T> QuestionFuture<T> {
    pub(crate) fn new(core: &everstep_core::Context, question: Question) -> Self {
        let (name, timeout, on_timeout) = (question.name_or_default(), question.timeout, question.on_timeout.clone());
        let recorded = question.recorded();
        let refused = refuse(&name, &recorded).and_then(|()| match &on_timeout {
            OnTimeout::Answer(value) => check_answer(&recorded, value).map_err(|misfit| {
                WorkflowError::invalid(format!(
                    "question `{name}` has an answer for its timeout that does not fit: {misfit}"
                ))
            }),
            OnTimeout::Fail | OnTimeout::Skip => Ok(()),
        });
        let mut asked = core.question(&name, recorded);
        if let Some(timeout) = timeout {
            asked = asked.deadline(Due::After(timeout));
        }
        Self {
            core: core.clone(),
            asked,
            name,
            on_timeout,
            refused: refused.err(),
            is_refused: false,
            output: PhantomData,
        }
    }

    /// Names it exactly so, and unnumbered. A key may be asked for once only in a run.
    pub fn key(mut self, key: impl AsRef<str>) -> Self {
        self.name = key.as_ref().to_owned();
        self.asked = self.asked.key(key.as_ref());
        self
    }
}

impl<T: DeserializeOwned> QuestionFuture<T> {
    fn answer(&self, replies: &[u8]) -> Result<Answer<T>, WorkflowError> {
        let unreadable =
            |error: &dyn fmt::Display| WorkflowError::invalid(format!("the answer to question `{}`: {error}", self.name));
        let mut replies: Vec<Vote> = wire::decode(replies).map_err(|error| unreadable(&error))?;
        let Some(vote) = replies.pop() else {
            return Err(unreadable(&"nobody gave it"));
        };
        let value = match &vote.reply {
            Reply::Value(Payload::Inline(value)) => wire::decode_value(value).map_err(|error| unreadable(&error))?,
            _ => Json::Null,
        };
        Ok(Answer {
            value: self.typed(value)?,
            by: Some(vote.by),
            at: vote.at,
            reason: vote.reason,
        })
    }

    fn too_late(&self, value: Json) -> Result<Answer<T>, WorkflowError> {
        Ok(Answer {
            value: self.typed(value)?,
            by: None,
            at: self.core.now(),
            reason: None,
        })
    }

    /// Answers are JSON, and read as such.
    fn typed(&self, value: Json) -> Result<T, WorkflowError> {
        let hint = if value.is_null() {
            "; a question that may be skipped is asked for an Option"
        } else {
            ""
        };
        serde_json::from_value(value).map_err(|error| {
            let expected = std::any::type_name::<T>();
            WorkflowError::invalid(format!(
                "the answer to question `{}` is not a {expected}: {error}{hint}",
                self.name
            ))
        })
    }
}

impl<T: DeserializeOwned> Future for QuestionFuture<T> {
    type Output = Result<Answer<T>, WorkflowError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.is_refused {
            return Poll::Pending;
        }
        if let Some(refused) = self.refused.take() {
            self.is_refused = true;
            return Poll::Ready(Err(refused));
        }
        let outcome = ready!(Pin::new(&mut self.asked).poll(context));
        Poll::Ready(match outcome {
            Ok(replies) => self.answer(&replies),
            Err(WaitError::Failed(failure)) if failure.kind == FailureKind::DeadlineExceeded => match &self.on_timeout {
                OnTimeout::Fail => Err(WorkflowError::unanswered(&format!("question `{}`", self.name))),
                OnTimeout::Skip => self.too_late(Json::Null),
                OnTimeout::Answer(value) => self.too_late(value.clone()),
            },
            Err(error) => Err(WorkflowError::of_outside(&format!("question `{}`", self.name), error)),
        })
    }
}

impl<T: DeserializeOwned> FusedFuture for QuestionFuture<T> {
    fn is_terminated(&self) -> bool {
        self.is_refused || self.asked.is_terminated()
    }
}

impl<T> fmt::Debug for QuestionFuture<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "question {}", self.name)
    }
}
