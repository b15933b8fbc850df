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

use super::Refusal;
use crate::error::WorkflowError;

/// The patch of which the old side skips what may not be skipped.
const SKIP_CHECK: &str = "everstep: skip on timeout";

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
    /// What can be chosen, no two with the same id; [`InputType::Approval`] without any means `approve` and `reject`. [`InputType::Select`] and
    /// [`InputType::Multiselect`] need some, unless `allow_custom` is set.
    pub options: Vec<Choice>,
    /// Whether another text than an option's id may be answered.
    pub allow_custom: bool,
    /// Whether it may be left unanswered: the value is then null, so ask for an `Option`.
    pub skippable: bool,
    /// How long it is asked, from when it is first polled on. Without it, for as long as the run goes on.
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

/// What an answer looks like. An answer that does not is refused where it is given, with what is wrong with it.
///
/// ```
/// use everstep::prelude::*;
/// use serde_json::json;
///
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Address {
///     street: String,
///     city: String,
/// }
///
/// #[workflow]
/// async fn deliver_to(ctx: WorkflowContext, order: u64) -> Result<Address, WorkflowError> {
///     let schema = json!({
///         "type": "object",
///         "properties": { "street": { "type": "string" }, "city": { "type": "string" } },
///         "required": ["street", "city"],
///     });
///     let address = ctx.wait_for_user::<Address>(Question {
///         question: format!("Where does order {order} go?"),
///         input_type: InputType::Form(schema),
///         ..Question::default()
///     });
///     Ok(address.await?.value)
/// }
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub enum InputType {
    /// Any text, also an empty one: ask for a `String`.
    #[default]
    Text,
    /// The id of one of a few options of which one says yes: ask for a `String`. No more than a question: for what must not happen without
    /// it see [`ctx.await_approval`](crate::WorkflowContext::await_approval).
    Approval,
    /// The id of one option: ask for a `String`.
    Select,
    /// The ids of some options, each once, perhaps of none: ask for a `Vec<String>`.
    Multiselect,
    /// A value that fits this JSON Schema. References to other documents are not followed.
    Form(Json),
}

/// What a question brings when nobody has answered it in time. Means nothing without a [`timeout`](Question::timeout).
///
/// ```
/// use everstep::prelude::*;
///
/// #[workflow]
/// async fn newsletter(ctx: WorkflowContext, user: String) -> Result<bool, WorkflowError> {
///     let wanted = ctx.wait_for_user::<String>(Question {
///         question: format!("Does {user} want our newsletter?"),
///         input_type: InputType::Select,
///         options: vec![Choice::new("yes", "Yes, please"), Choice::new("no", "No")],
///         timeout: Some(Duration::from_secs(7 * 24 * 60 * 60)),
///         on_timeout: OnTimeout::Answer("no".into()), // nobody asked for it
///         ..Question::default()
///     });
///     Ok(wanted.await?.value == "yes")
/// }
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub enum OnTimeout {
    /// [`WorkflowErrorKind::Unanswered`](crate::WorkflowErrorKind::Unanswered).
    #[default]
    Fail,
    /// Null, as if it had been skipped: ask for an `Option`. The question has to be [`skippable`](Question::skippable), or it is not asked.
    Skip,
    /// This value, as if it had been answered. It has to fit the question, or that is not asked.
    Answer(Json),
}

/// What was answered, and by whom.
///
/// ```
/// use everstep::Answer;
/// use everstep::prelude::*;
///
/// fn told(answer: &Answer<u32>) -> String {
///     match &answer.by {
///         Some(by) => format!("{by} said {}", answer.value),
///         None => format!("nobody answered, so it is {}", answer.value),
///     }
/// }
/// let answer = Answer { value: 3, by: None, at: Timestamp::UNIX_EPOCH, reason: None };
/// assert_eq!(told(&answer), "nobody answered, so it is 3");
/// ```
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
/// from, over 256 KiB, skipped on its timeout though it may not be skipped), or what was answered is not a `T`. [`WorkflowErrorKind::Cancelled`](crate::WorkflowErrorKind::Cancelled) if the run or
/// the block round it is cancelled: the question is then withdrawn.
///
/// ```
/// use everstep::prelude::*;
///
/// #[workflow]
/// async fn lunch(ctx: WorkflowContext) -> Result<Vec<String>, WorkflowError> {
///     let ask = |who: &str| {
///         ctx.wait_for_user::<Option<String>>(Question {
///             question: "What do you want for lunch?".to_owned(),
///             assignees: vec![who.to_owned()],
///             skippable: true,
///             name: Some(format!("lunch-{who}")),
///             ..Question::default()
///         })
///     };
///     let (ada, grace) = ctx.parallel((ask("ada"), ask("grace"))).await?;
///     Ok([ada.value, grace.value].into_iter().flatten().collect())
/// }
/// ```
#[must_use = "a question is asked when it is awaited"]
pub struct QuestionFuture<T> {
    core: everstep_core::Context,
    asked: Asked,
    /// For messages.
    name: String,
    on_timeout: OnTimeout,
    /// It cannot be asked; told when it is awaited.
    refused: Option<Refusal>,
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
pub(super) fn refuse(name: &str, question: &question::Question) -> Result<(), Refusal> {
    let refused = |why: &dyn fmt::Display| Refusal::always(WorkflowError::invalid(format!("question `{name}`: {why}")));
    check_question(question).map_err(|error| refused(&error))?;
    let bytes = wire::encode_value(question).map_err(|error| refused(&error))?.len();
    if bytes > QUESTION_BYTES_MAX {
        return Err(refused(&format_args!(
            "it has {bytes} bytes with all that it shows, and the limit is {QUESTION_BYTES_MAX}; show less, or a link"
        )));
    }
    Ok(())
}

/// Why it cannot end so when its time is up.
fn refuse_timeout(name: &str, question: &question::Question, on_timeout: &OnTimeout) -> Result<(), Refusal> {
    match on_timeout {
        OnTimeout::Answer(value) => check_answer(question, value).map_err(|misfit| {
            let message = format!("question `{name}` has an answer for its timeout that does not fit: {misfit}");
            Refusal::always(WorkflowError::invalid(message))
        }),
        OnTimeout::Skip if !question.skippable => {
            let message = format!(
                "question `{name}` is skipped when its time is up, and may not be skipped: make it `skippable`, \
                 or choose another `on_timeout`"
            );
            Err(Refusal::since(SKIP_CHECK, WorkflowError::invalid(message)))
        }
        OnTimeout::Skip | OnTimeout::Fail => Ok(()),
    }
}

impl<T> QuestionFuture<T> {
    pub(crate) fn new(core: &everstep_core::Context, question: Question) -> Self {
        let (name, timeout, on_timeout) = (question.name_or_default(), question.timeout, question.on_timeout.clone());
        let recorded = question.recorded();
        let refused = refuse(&name, &recorded).and_then(|()| refuse_timeout(&name, &recorded, &on_timeout));
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

    /// Names it in the journal exactly so: unnumbered, and without the names of the blocks that it is in.
    ///
    /// A key may be asked for once only in a run: the second wait fails with [`WorkflowErrorKind::Invalid`](crate::WorkflowErrorKind::Invalid), as one with an empty key does.
    ///
    /// ```
    /// use everstep::prelude::*;
    ///
    /// #[workflow]
    /// async fn sizes(ctx: WorkflowContext, guests: Vec<String>) -> Result<Vec<String>, WorkflowError> {
    ///     let mut sizes = Vec::new();
    ///     for guest in guests {
    ///         let question = Question { question: format!("{guest}'s shirt size?"), ..Question::default() };
    ///         // Answered under this name, wherever the guest stands in the list.
    ///         sizes.push(ctx.wait_for_user::<String>(question).key(format!("size/{guest}")).await?.value);
    ///     }
    ///     Ok(sizes)
    /// }
    /// ```
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
        if let Some(refused) = self.refused.take()
            && let Err(error) = refused.tell(&self.core)
        {
            self.is_refused = true;
            return Poll::Ready(Err(error));
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
