//! Questions: what a run asks people, as it stands in the journal, and which replies settle it.
//!
//! ```text
//!   asked ──▶ `local.<wait>` holds the Question ──▶ people see it ──▶ `in.answer.<wait>` holds a Reply ──▶ settled
//!                                        └─ an approval of several: `in.answer.<wait>.<approver>`, until it is decided
//! ```
//!
//! The rules here are judged twice: by whoever takes a reply, before it is stored, and by the run, which counts nothing that these rules do
//! not admit. So they are pure, and what they once admitted they admit for ever. Whether a value fits its question is `everstep-forms`'.

mod hash;
mod tally;

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::journal::InboundId;
use crate::key::StepKey;
use crate::payload::Payload;

pub use hash::{InvalidHash, PayloadHash};
pub use tally::{Refused, Verdict};

/// What a run asks, and who may answer how. Kept for ever: fields may be added with a default, none renamed or removed.
///
/// ```
/// use everstep_common::question::{Choice, InputType, Question};
///
/// let question = Question {
///     text: "Which colour?".to_owned(),
///     input: InputType::Select,
///     options: vec![Choice::new("red", "Red"), Choice::new("blue", "Blue")],
///     ..Question::default()
/// };
/// assert_eq!(question.choices().len(), 2);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Question {
    /// What people read.
    pub text: String,
    /// What an answer looks like.
    #[serde(default)]
    pub input: InputType,
    /// What can be chosen.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<Choice>,
    /// Whether something else than an option may be answered.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_custom: bool,
    /// Whether it may be left unanswered.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub skippable: bool,
    /// The people and groups that may answer; anybody if there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub assignees: Vec<String>,
    /// When it is no longer waited for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Timestamp>,
    /// It is an approval, of this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<Terms>,
}

/// What an answer looks like.
///
/// ```
/// use everstep_common::question::InputType;
///
/// /// What a page shows for it.
/// fn widget(input: &InputType) -> &'static str {
///     match input {
///         InputType::Text => "a text field",
///         InputType::Approval | InputType::Select => "a button for each option",
///         InputType::Multiselect => "a box for each option",
///         InputType::Form { .. } => "a form",
///     }
/// }
/// assert_eq!(widget(&InputType::default()), "a text field");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InputType {
    /// Any text.
    #[default]
    Text,
    /// The id of an option, of which one says yes; `approve` and `reject` if none are given.
    Approval,
    /// The id of an option.
    Select,
    /// The ids of some options.
    Multiselect,
    /// A value that fits a JSON Schema.
    Form {
        /// The schema, as JSON.
        schema: String,
    },
}

/// Something that can be chosen.
///
/// ```
/// use everstep_common::question::Choice;
///
/// let choice = Choice { id: "red".to_owned(), label: "Red".to_owned() };
/// assert_eq!(choice, Choice::new("red", "Red"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choice {
    /// What the answer says.
    pub id: String,
    /// What people read.
    pub label: String,
}

impl Choice {
    /// An option.
    ///
    /// ```
    /// use everstep_common::question::Choice;
    ///
    /// let sizes = ["S", "M", "L"].map(|size| Choice::new(size.to_lowercase(), size));
    /// assert_eq!((sizes[0].id.as_str(), sizes[0].label.as_str()), ("s", "S"));
    /// ```
    pub fn new(id: impl Into<String>, label: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            label: label.into(),
        }
    }
}

/// What is approved, and by whom it has to be.
///
/// ```
/// use everstep_common::question::{PayloadHash, Terms};
///
/// let payload = r#"["ada",1200]"#;
/// let terms = Terms {
///     hash: PayloadHash::of_canonical(payload.as_bytes()),
///     payload: Some(payload.to_owned()),
///     quorum: 2,
///     requester: Some("bob".to_owned()),
/// };
/// assert_eq!(terms.payload.map(|shown| PayloadHash::of_canonical(shown.as_bytes())), Some(terms.hash));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// The SHA-256 of what is approved, to which every approval is bound.
    pub hash: PayloadHash,
    /// What is approved, as canonical JSON (RFC 8785), if the run shows it and not its hash alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<String>,
    /// How many different people have to approve.
    pub quorum: u32,
    /// Who asked for what is approved, and so may not approve it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requester: Option<String>,
}

/// What somebody replies.
///
/// ```
/// use everstep_common::question::{PayloadHash, Reply};
///
/// let yes = Reply::Approve(PayloadHash::of_canonical(b"{}"));
/// assert!(yes != Reply::Skip);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// This value.
    Value(Payload),
    /// Nothing, and the run may go on without.
    Skip,
    /// Yes, to what has this hash.
    Approve(PayloadHash),
    /// No, to what has this hash.
    Reject(PayloadHash),
}

/// One reply, and whose it is.
///
/// ```
/// use everstep_common::question::{Reply, Vote};
///
/// /// A line for the record.
/// fn line(vote: &Vote) -> String {
///     let said = match vote.reply {
///         Reply::Approve(_) => "yes",
///         Reply::Reject(_) => "no",
///         Reply::Skip => "nothing",
///         Reply::Value(_) => "a value",
///     };
///     format!("{} {} said {said}", vote.at, vote.by)
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Vote {
    /// Who.
    pub by: String,
    /// The groups in which whoever took the reply knows them to be.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// When it was stored.
    pub at: Timestamp,
    /// Why, for people to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What.
    pub reply: Reply,
}

impl Question {
    /// Under which id a reply of `by` stands. Whoever comes first has it.
    ///
    /// ```
    /// use everstep_common::key::StepKey;
    /// use everstep_common::question::Question;
    ///
    /// let colour = StepKey::from_path("colour");
    /// assert_eq!(Question::default().slot(&colour, "ada").as_str(), "answer.colour");
    /// ```
    pub fn slot(&self, wait: &StepKey, by: &str) -> InboundId {
        if self.approval.as_ref().is_some_and(|terms| terms.quorum > 1) {
            let approver = StepKey::from_path(by);
            let id = format!("{}.{}", answer_slot(wait), approver.token());
            return InboundId::new(&id).expect("both are tokens");
        }
        answer_slot(wait)
    }

    /// What can be chosen; `approve` and `reject` where nothing else is said.
    ///
    /// ```
    /// use everstep_common::question::{InputType, Question};
    ///
    /// let question = Question { input: InputType::Approval, ..Question::default() };
    /// let ids: Vec<_> = question.choices().into_iter().map(|choice| choice.id).collect();
    /// assert_eq!(ids, ["approve", "reject"]);
    /// ```
    pub fn choices(&self) -> Vec<Choice> {
        if self.options.is_empty() && self.input == InputType::Approval {
            return vec![Choice::new("approve", "Approve"), Choice::new("reject", "Reject")];
        }
        self.options.clone()
    }
}

/// The id of the answer to a question, or of the word that it is no longer asked.
///
/// ```
/// use everstep_common::key::StepKey;
/// use everstep_common::question::answer_slot;
///
/// assert_eq!(answer_slot(&StepKey::from_path("colour")).as_str(), "answer.colour");
/// ```
pub fn answer_slot(wait: &StepKey) -> InboundId {
    InboundId::new(&format!("answer.{}", wait.token())).expect("the token of a key is a token")
}

impl Reply {
    /// The same reply with its large value in memory.
    ///
    /// ```
    /// use everstep_common::question::Reply;
    ///
    /// assert_eq!(Reply::Skip.resolved(None), Some(Reply::Skip));
    /// ```
    pub fn resolved(self, stored: Option<Bytes>) -> Option<Self> {
        match self {
            Self::Value(Payload::Stored(_)) => stored.map(|value| Self::Value(Payload::Inline(value))),
            reply => Some(reply),
        }
    }
}
