//! Approvals: what must not happen without somebody's yes to exactly that.

use std::collections::BTreeSet;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use everstep_common::failure::FailureKind;
use everstep_common::question::{self, PayloadHash, Reply, Terms, Vote};
use everstep_common::wire;
use everstep_core::{Asked, WaitError};
use futures::future::FusedFuture;
use serde::Serialize;

use super::canonical::canonical_text;
use super::decision::{Decision, Said, Verdict};
use super::{Deadline, Refusal, encode, question::refuse};
use crate::error::WorkflowError;

/// The patch of which the old side waits for more people than there are.
const QUORUM_CHECK: &str = "everstep: the quorum of an approval";

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
///         .approvers(["ada"])
///         .groups(["finance"])
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
    groups: Vec<String>,
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
///
/// ```
/// use everstep::prelude::*;
///
/// #[workflow]
/// async fn deploy(ctx: WorkflowContext, image: String) -> Result<bool, WorkflowError> {
///     let hour = Duration::from_secs(60 * 60);
///     let approval = Approval::of("Deploy this image", &image).expires(hour).on_expire(OnExpire::Fail);
///     match ctx.await_approval(approval).await {
///         Err(error) if error.is_timed_out() => Err(error.context("nobody is on call")),
///         decided => Ok(decided?.is_approved()),
///     }
/// }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnExpire {
    /// A [`Decision`] that says [`Verdict::Expired`].
    #[default]
    Refuse,
    /// [`WorkflowErrorKind::Unanswered`](crate::WorkflowErrorKind::Unanswered).
    Fail,
}

impl Approval {
    /// The approval of `payload`, which is shown to those who decide.
    ///
    /// What a step gets is its input: one argument is the payload itself, several are a tuple. What has no canonical JSON, or is too large to be
    /// shown, is refused when the approval is awaited: see [`ApprovalFuture`].
    ///
    /// ```
    /// use everstep::prelude::*;
    ///
    /// #[function]
    /// async fn drop_table(ctx: FunctionContext, table: String) -> Result<(), StepError>;
    ///
    /// #[workflow]
    /// async fn clean_up(ctx: WorkflowContext, table: String) -> Result<(), WorkflowError> {
    ///     let decision = ctx.await_approval(Approval::of("Drop this table", &table)).await?;
    ///     ctx.step(drop_table, table).requires(&decision).await
    /// }
    /// ```
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

    /// The approval of what has this SHA-256 in canonical JSON (RFC 8785); people have to be shown what that is elsewhere. For what is over 256 KiB,
    /// or must not stand in the journal.
    ///
    /// ```
    /// use everstep::PayloadHash;
    /// use everstep::prelude::*;
    ///
    /// /// Puts the contract into the archive; the hash of its canonical JSON.
    /// #[function]
    /// async fn archive(ctx: FunctionContext, customer: String) -> Result<String, StepError>;
    ///
    /// #[workflow]
    /// async fn contract(ctx: WorkflowContext, customer: String) -> Result<bool, WorkflowError> {
    ///     let hash: PayloadHash = ctx.step(archive, customer).await?.parse()?;
    ///     let signing = Approval::of_hash("Sign the contract in the archive", hash).groups(["legal"]);
    ///     Ok(ctx.await_approval(signing).await?.is_approved())
    /// }
    /// ```
    pub fn of_hash(summary: impl Into<String>, hash: PayloadHash) -> Self {
        Self::new(summary.into(), Ok(Subject { hash, payload: None }))
    }

    fn new(summary: String, subject: Result<Subject, WorkflowError>) -> Self {
        Self {
            summary,
            subject,
            approvers: Vec::new(),
            groups: Vec::new(),
            quorum: 1,
            requester: None,
            expires: None,
            on_expire: OnExpire::Refuse,
            name: UNNAMED.to_owned(),
        }
    }

    /// The people of whom each may decide, beside those of the [`groups`](Self::groups); anybody if neither is said. Each call replaces what was
    /// said before.
    ///
    /// Names are those that `Client::approve` and `everstep runs approve` are given. Nothing here checks that they exist.
    ///
    /// ```
    /// use everstep::prelude::*;
    ///
    /// let _approval = Approval::of("Raise the limit to 5,000", &("customer-7", 5_000)).approvers(["ada", "grace"]);
    /// ```
    pub fn approvers<S: Into<String>>(mut self, approvers: impl IntoIterator<Item = S>) -> Self {
        self.approvers = approvers.into_iter().map(Into::into).collect();
        self
    }

    /// The groups of whose people each may decide, beside the [`approvers`](Self::approvers) that are named. Each call replaces what was said
    /// before.
    ///
    /// Who is in which says whoever passes a decision on, with [`Respondent::in_group`](crate::Respondent::in_group) or `--group`.
    ///
    /// ```
    /// use everstep::prelude::*;
    ///
    /// let _approval = Approval::of("Raise the limit to 5,000", &("customer-7", 5_000)).groups(["risk"]).approvers(["ada"]);
    /// ```
    pub fn groups<S: Into<String>>(mut self, groups: impl IntoIterator<Item = S>) -> Self {
        self.groups = groups.into_iter().map(Into::into).collect();
        self
    }

    /// How many different people have to say yes: 1 unless it is said, and at least that. The first no decides.
    ///
    /// More than there are could never be met: if people are named and no group is, an approval of more than those, the one who
    /// [requested](Self::requested_by) it left out, is [`WorkflowErrorKind::Invalid`](crate::WorkflowErrorKind::Invalid) when it is awaited. How many a
    /// group has is not known here.
    ///
    /// ```
    /// use everstep::prelude::*;
    ///
    /// let _four_eyes = Approval::of("Rotate the root key", "2026-11").groups(["security"]).quorum(2);
    /// ```
    pub fn quorum(mut self, people: u32) -> Self {
        self.quorum = people.max(1);
        self
    }

    /// Who asked for it, and so may not decide on it, whatever groups they are in. Their word is refused where it is given.
    ///
    /// ```
    /// use everstep::prelude::*;
    ///
    /// fn expense(employee: &str, cents: u64) -> Approval {
    ///     Approval::of(format!("{employee} spent {cents} cents"), &(employee, cents)).groups(["finance"]).requested_by(employee)
    /// }
    /// let _approval = expense("ada", 12_000);
    /// ```
    pub fn requested_by(mut self, requester: impl Into<String>) -> Self {
        self.requester = Some(requester.into());
        self
    }

    /// When it is no longer waited for: that long after it is first polled, or at a time. It never expires unless it is said.
    ///
    /// Of a decision and the deadline the one that was stored first counts.
    ///
    /// ```
    /// use everstep::prelude::*;
    ///
    /// let _by_tomorrow = Approval::of("Publish", "post-7").expires(Duration::from_secs(24 * 60 * 60));
    /// let _by_new_year = Approval::of("Publish", "post-7").expires("2027-01-01T00:00:00Z".parse::<Timestamp>().unwrap());
    /// ```
    pub fn expires(mut self, deadline: impl Into<Deadline>) -> Self {
        self.expires = Some(deadline.into());
        self
    }

    /// What happens then: a refusal unless it is said. Example: see [`OnExpire`].
    pub fn on_expire(mut self, on_expire: OnExpire) -> Self {
        self.on_expire = on_expire;
        self
    }

    /// The name under which it is decided, numbered from its second use in a scope on; else `approval`. It has 1 to 128 characters, or the wait
    /// fails with [`WorkflowErrorKind::Invalid`](crate::WorkflowErrorKind::Invalid).
    ///
    /// ```
    /// use everstep::prelude::*;
    ///
    /// #[workflow]
    /// async fn release(ctx: WorkflowContext, image: String) -> Result<bool, WorkflowError> {
    ///     let (code, cost) = ctx
    ///         .parallel((
    ///             ctx.await_approval(Approval::of("The code", &image).named("code").groups(["engineering"])),
    ///             ctx.await_approval(Approval::of("The cost", &image).named("cost").groups(["finance"])),
    ///         ))
    ///         .await?;
    ///     Ok(code.is_approved() && cost.is_approved())
    /// }
    /// ```
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Why nobody could ever say enough.
    fn check_quorum(&self) -> Result<(), Refusal> {
        let may_decide = |name: &&String| self.requester.as_ref() != Some(name);
        let people = self.approvers.iter().filter(may_decide).collect::<BTreeSet<_>>().len();
        let is_open = self.approvers.is_empty() || !self.groups.is_empty();
        if is_open || people >= self.quorum as usize {
            return Ok(());
        }
        let message = format!(
            "approval `{}` needs a yes of {} people, and of those it names {people} may decide: \
             name more of them, or a group with `.groups([…])`, or lower the quorum",
            self.name, self.quorum
        );
        Err(Refusal::since(QUORUM_CHECK, WorkflowError::invalid(message)))
    }
}

/// An approval that is asked for when first polled; made by `ctx.await_approval(…)`.
///
/// # Errors
///
/// [`WorkflowErrorKind::Unanswered`](crate::WorkflowErrorKind::Unanswered) with [`OnExpire::Fail`].
/// [`WorkflowErrorKind::Invalid`](crate::WorkflowErrorKind::Invalid) if the payload has no canonical JSON (integers beyond 2^53, map keys that
/// are no texts), or is over 256 KiB: then show its hash; or if more people have to say yes than may. [`WorkflowErrorKind::Cancelled`](crate::WorkflowErrorKind::Cancelled) if the run or
/// the block round it is cancelled: the approval is then withdrawn, and nothing that requires it runs.
///
/// ```
/// use everstep::prelude::*;
///
/// #[function]
/// async fn still_needed(ctx: FunctionContext, ticket: u64) -> Result<bool, StepError>;
///
/// #[workflow]
/// async fn access(ctx: WorkflowContext, ticket: u64) -> Result<bool, WorkflowError> {
///     let mut approval = ctx.await_approval(Approval::of("Access to production", &ticket).groups(["operations"]));
///     loop {
///         select! {
///             decision = &mut approval => return Ok(decision?.is_approved()),
///             slept = ctx.sleep(Duration::from_secs(60 * 60)) => slept?,
///         }
///         if !ctx.step(still_needed, ticket).await? {
///             return Ok(false); // dropped, and so withdrawn
///         }
///     }
/// }
/// ```
#[must_use = "an approval is asked for when it is awaited"]
pub struct ApprovalFuture {
    core: everstep_core::Context,
    /// `None` if it cannot be asked for.
    asked: Option<Asked>,
    hash: Option<PayloadHash>,
    name: String,
    on_expire: OnExpire,
    refused: Option<Refusal>,
}

impl ApprovalFuture {
    pub(crate) fn new(core: &everstep_core::Context, approval: Approval) -> Self {
        let enough = approval.check_quorum();
        let Approval {
            summary,
            subject,
            mut approvers,
            groups,
            quorum,
            requester,
            expires,
            on_expire,
            name,
        } = approval;
        // Whoever takes a decision holds names and groups against one list.
        approvers.extend(groups);
        let question = subject.map_err(Refusal::always).and_then(|subject| {
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
            Ok(question) => (Some(question), enough.err()),
            Err(refusal) => (None, Some(refusal)),
        };
        let (question, hash) = question.unzip();
        // The number of the name is taken in any case, so that no other key depends on what was refused.
        let mut asked = core.question(&name, question.unwrap_or_default());
        if let Some(expires) = expires {
            asked = asked.deadline(expires.due());
        }
        Self {
            core: core.clone(),
            asked: Some(asked),
            hash,
            name,
            on_expire,
            refused,
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
    /// async fn payouts(ctx: WorkflowContext, orders: Vec<u64>) -> Result<usize, WorkflowError> {
    ///     let approvals = orders.into_iter().map(|order| ctx.await_approval(Approval::of("Pay", &order)).key(format!("pay/{order}")));
    ///     let decisions = ctx.parallel(approvals.collect::<Vec<_>>()).await?;
    ///     Ok(decisions.iter().filter(|decision| decision.is_approved()).count())
    /// }
    /// ```
    pub fn key(mut self, key: impl AsRef<str>) -> Self {
        self.name = key.as_ref().to_owned();
        self.asked = self.asked.map(|asked| asked.key(key.as_ref()));
        self
    }

    fn decided(&self, verdict: Verdict, said: Vec<Said>) -> Decision {
        let hash = self.hash.expect("only what has a hash is asked for");
        Decision::new(self.name.clone(), verdict, hash, said)
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
        if let Some(refused) = self.refused.take()
            && let Err(error) = refused.tell(&self.core)
        {
            self.asked = None;
            return Poll::Ready(Err(error));
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
