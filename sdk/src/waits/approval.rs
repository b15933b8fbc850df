//! Approvals: what must not happen without somebody's yes to exactly that.

use std::cell::RefCell;
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use everstep_common::failure::FailureKind;
use everstep_common::question::{self, PayloadHash, Reply, Terms, Vote};
use everstep_common::wire;
use everstep_core::{Asked, WaitError};
use futures::future::FusedFuture;
use serde::Serialize;

use super::canonical::canonical_text;
use super::{Deadline, encode, question::refuse};
use crate::error::WorkflowError;

/// The name of approvals that are given none.
const UNNAMED: &str = "approval";

/// What is to be approved, and by whom; awaited by `ctx.await_approval(…)`.
///
/// It is bound to the SHA-256 of the payload's canonical JSON (RFC 8785): that is shown, every approval names it, and a step that
/// [`requires`](crate::StepFuture::requires) the decision runs with that very payload or not at all.
///
/// ```
/// use everstep::Approval;
/// use everstep::prelude::*;
///
/// #[function]
/// async fn transfer(ctx: FunctionContext, to: String, cents: u64) -> Result<String, StepError>;
///
/// #[workflow]
/// async fn payout(ctx: WorkflowContext, clerk: String, to: String, cents: u64) -> Result<String, WorkflowError> {
///     let payment = (to, cents);
///     let approval = Approval::of(format!("Pay {cents} cents"), &payment)
///         .approvers(["finance", "ada"])
///         .quorum(2)
///         .requested_by(clerk)
///         .expires(Duration::from_secs(24 * 60 * 60));
///     let decision = ctx.await_approval(approval).await?;
///     if !decision.is_approved() {
///         return Ok("halted".to_owned());
///     }
///     ctx.step(transfer, payment).requires(&decision).await
/// }
/// ```
#[derive(Clone, Debug)]
#[must_use = "an approval is asked for by ctx.await_approval"]
pub struct Approval {
    summary: String,
    subject: Result<Subject, WorkflowError>,
    approvers: Vec<String>,
    quorum: u32,
    requester: Option<String>,
    expires: Option<Deadline>,
    on_expire: OnExpire,
    name: String,
}

#[derive(Clone, Debug)]
struct Subject {
    hash: PayloadHash,
    /// The canonical JSON, if it is known here.
    payload: Option<String>,
}

/// What an approval brings when it is not decided in time. Never a yes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnExpire {
    /// A [`Decision`] that says [`Verdict::Expired`].
    #[default]
    Refuse,
    /// [`WorkflowErrorKind::Unanswered`](crate::WorkflowErrorKind::Unanswered).
    Fail,
}

/// How an approval came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As many as are needed said yes.
    Approved,
    /// Somebody who may said no.
    Rejected,
    /// Nobody decided in time.
    Expired,
}

/// Who said what about an approval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// Who.
    pub by: String,
    /// Whether they said yes.
    pub approved: bool,
    /// When it was stored.
    pub at: jiff::Timestamp,
    /// Why, as far as they said.
    pub reason: Option<String>,
}

/// How an approval was decided. Good for one step.
#[derive(Clone, Debug)]
pub struct Decision(Rc<Decided>);

#[derive(Debug)]
struct Decided {
    name: String,
    verdict: Verdict,
    hash: PayloadHash,
    said: Vec<Said>,
    /// The step that it was used for.
    used: RefCell<Option<String>>,
}

impl Approval {
    /// The approval of `payload`, which is shown to those who decide.
    ///
    /// What a step gets is its input: one argument is the payload itself, several are a tuple.
    pub fn of<T: Serialize + ?Sized>(summary: impl Into<String>, payload: &T) -> Self {
        let subject = encode(format_args!("the payload of an approval"), &payload)
            .map_err(|failure| WorkflowError::invalid(failure.message))
            .and_then(|bytes| canonical_text(&bytes))
            .map(|text| Subject {
                hash: PayloadHash::of_canonical(text.as_bytes()),
                payload: Some(text),
            });
        Self::new(summary.into(), subject)
    }

    /// The approval of what has this SHA-256 in canonical JSON; people have to be shown what that is elsewhere.
    pub fn of_hash(summary: impl Into<String>, hash: PayloadHash) -> Self {
        Self::new(summary.into(), Ok(Subject { hash, payload: None }))
    }

    fn new(summary: String, subject: Result<Subject, WorkflowError>) -> Self {
        Self {
            summary,
            subject,
            approvers: Vec::new(),
            quorum: 1,
            requester: None,
            expires: None,
            on_expire: OnExpire::Refuse,
            name: UNNAMED.to_owned(),
        }
    }

    /// The people and groups of whom each may decide; anybody if there are none.
    pub fn approvers<S: Into<String>>(mut self, approvers: impl IntoIterator<Item = S>) -> Self {
        self.approvers = approvers.into_iter().map(Into::into).collect();
        self
    }

    /// How many different people have to say yes; at least one. The first no decides.
    pub fn quorum(mut self, people: u32) -> Self {
        self.quorum = people.max(1);
        self
    }

    /// Who asked for it, and so may not decide on it, whatever groups they are in.
    pub fn requested_by(mut self, requester: impl Into<String>) -> Self {
        self.requester = Some(requester.into());
        self
    }

    /// When it is no longer waited for.
    pub fn expires(mut self, deadline: impl Into<Deadline>) -> Self {
        self.expires = Some(deadline.into());
        self
    }

    /// What happens then.
    pub fn on_expire(mut self, on_expire: OnExpire) -> Self {
        self.on_expire = on_expire;
        self
    }

    /// The name under which it is decided, numbered from its second use in a scope on; else `approval`.
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }
}

impl Decision {
    /// Whether as many as are needed said yes, in time.
    pub fn is_approved(&self) -> bool {
        self.0.verdict == Verdict::Approved
    }

    /// How it came out.
    pub fn verdict(&self) -> Verdict {
        self.0.verdict
    }

    /// The hash of what was decided on.
    pub fn hash(&self) -> PayloadHash {
        self.0.hash
    }

    /// What was said by those who count, in the order stored.
    pub fn said(&self) -> &[Said] {
        &self.0.said
    }

    /// Uses it up for the step `step` with this input, or says why that may not be.
    pub(super) fn use_for(&self, step: &str, input: &[u8]) -> Result<(), WorkflowError> {
        let refused = |why: String| WorkflowError::not_approved(step, format!("approval `{}` {why}", self.0.name));
        if !self.is_approved() {
            let verdict = match self.0.verdict {
                Verdict::Expired => "expired",
                _ => "was rejected",
            };
            return Err(refused(verdict.to_owned()));
        }
        let mut used = self.0.used.borrow_mut();
        if let Some(earlier) = &*used {
            return Err(refused(format!("was used for step `{earlier}`, and is good for one")));
        }
        let hash = PayloadHash::of_canonical(canonical_text(input)?.as_bytes());
        if hash != self.0.hash {
            return Err(refused(format!(
                "is of what has the hash {}, and the step's input has the hash {hash}",
                self.0.hash
            )));
        }
        *used = Some(step.to_owned());
        Ok(())
    }
}

/// An approval that is asked for when first polled; made by `ctx.await_approval(…)`.
///
/// # Errors
///
/// [`WorkflowErrorKind::Unanswered`](crate::WorkflowErrorKind::Unanswered) with [`OnExpire::Fail`].
/// [`WorkflowErrorKind::Invalid`](crate::WorkflowErrorKind::Invalid) if the payload has no canonical JSON (integers beyond 2^53, map keys that
/// are no texts), or is over 256 KiB: then show its hash. [`WorkflowErrorKind::Cancelled`](crate::WorkflowErrorKind::Cancelled) if the run or
/// the block round it is cancelled: the approval is then withdrawn, and nothing that requires it runs.
#[must_use = "an approval is asked for when it is awaited"]
pub struct ApprovalFuture {
    /// `None` if it cannot be asked for.
    asked: Option<Asked>,
    hash: Option<PayloadHash>,
    name: String,
    on_expire: OnExpire,
    refused: Option<WorkflowError>,
}

impl ApprovalFuture {
    pub(crate) fn new(core: &everstep_core::Context, approval: Approval) -> Self {
        let Approval {
            summary,
            subject,
            approvers,
            quorum,
            requester,
            expires,
            on_expire,
            name,
        } = approval;
        let question = subject.and_then(|subject| {
            let question = question::Question {
                text: summary,
                input: question::InputType::Approval,
                assignees: approvers,
                approval: Some(Terms {
                    hash: subject.hash,
                    payload: subject.payload,
                    quorum,
                    requester,
                }),
                ..question::Question::default()
            };
            refuse(&name, &question).map(|()| (question, subject.hash))
        });
        let (question, refused) = match question {
            Ok(question) => (Some(question), None),
            Err(error) => (None, Some(error)),
        };
        let (question, hash) = question.unzip();
        // The number of the name is taken in any case, so that no other key depends on what was refused.
        let mut asked = core.question(&name, question.unwrap_or_default());
        if let Some(expires) = expires {
            asked = asked.deadline(expires.due());
        }
        Self {
            asked: Some(asked),
            hash,
            name,
            on_expire,
            refused,
        }
    }

    /// Names it exactly so, and unnumbered. A key may be asked for once only in a run.
    pub fn key(mut self, key: impl AsRef<str>) -> Self {
        self.name = key.as_ref().to_owned();
        self.asked = self.asked.map(|asked| asked.key(key.as_ref()));
        self
    }

    fn decided(&self, verdict: Verdict, said: Vec<Said>) -> Decision {
        Decision(Rc::new(Decided {
            name: self.name.clone(),
            verdict,
            hash: self.hash.expect("only what has a hash is asked for"),
            said,
            used: RefCell::default(),
        }))
    }

    fn read(&self, votes: &[u8]) -> Result<Decision, WorkflowError> {
        let votes: Vec<Vote> = wire::decode(votes)
            .map_err(|error| WorkflowError::invalid(format!("what was said about approval `{}`: {error}", self.name)))?;
        let said: Vec<Said> = votes
            .into_iter()
            .map(|vote| Said {
                approved: matches!(vote.reply, Reply::Approve(_)),
                by: vote.by,
                at: vote.at,
                reason: vote.reason,
            })
            .collect();
        // The core has counted them by the terms that people saw; whatever is no plain yes of everybody is a no.
        let approved = !said.is_empty() && said.iter().all(|said| said.approved);
        let verdict = if approved { Verdict::Approved } else { Verdict::Rejected };
        Ok(self.decided(verdict, said))
    }
}

impl Future for ApprovalFuture {
    type Output = Result<Decision, WorkflowError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(refused) = self.refused.take() {
            self.asked = None;
            return Poll::Ready(Err(refused));
        }
        let Some(asked) = &mut self.asked else { return Poll::Pending };
        let outcome = ready!(Pin::new(asked).poll(context));
        Poll::Ready(match outcome {
            Ok(votes) => self.read(&votes),
            Err(WaitError::Failed(failure)) if failure.kind == FailureKind::DeadlineExceeded => match self.on_expire {
                OnExpire::Refuse => Ok(self.decided(Verdict::Expired, Vec::new())),
                OnExpire::Fail => Err(WorkflowError::unanswered(&format!("approval `{}`", self.name))),
            },
            Err(error) => Err(WorkflowError::of_outside(&format!("approval `{}`", self.name), error)),
        })
    }
}

impl FusedFuture for ApprovalFuture {
    fn is_terminated(&self) -> bool {
        self.asked.as_ref().is_none_or(FusedFuture::is_terminated)
    }
}

impl fmt::Debug for ApprovalFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "approval {}", self.name)
    }
}
