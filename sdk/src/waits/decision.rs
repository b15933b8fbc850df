//! How an approval was decided, and that a decision is used up by one step.

use std::cell::RefCell;
use std::rc::Rc;

use everstep_common::question::PayloadHash;

use super::canonical::canonical_text;
use crate::error::WorkflowError;

/// How an approval came out.
///
/// ```
/// use everstep::Verdict;
///
/// fn told_to_the_customer(verdict: Verdict) -> &'static str {
///     match verdict {
///         Verdict::Approved => "your refund is on its way",
///         Verdict::Rejected => "your refund was declined",
///         Verdict::Expired => "we are sorry: ask us again",
///     }
/// }
/// assert_eq!(told_to_the_customer(Verdict::Expired), "we are sorry: ask us again");
/// ```
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
///
/// ```
/// use everstep::Said;
/// use everstep::prelude::*;
///
/// let said = Said { by: "ada".to_owned(), approved: false, at: Timestamp::UNIX_EPOCH, reason: Some("no invoice".to_owned()) };
/// let line = format!("{} {}", said.by, if said.approved { "approved" } else { "rejected" });
/// assert_eq!(line, "ada rejected");
/// ```
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

/// How an approval was decided; brought by [`ctx.await_approval(…)`](crate::WorkflowContext::await_approval). Good for one step.
///
/// A clone is the same decision: what uses up one of them uses up all.
///
/// ```
/// use everstep::prelude::*;
/// use everstep::{Decision, Verdict};
///
/// /// What is written into the ticket.
/// fn note(decision: &Decision) -> String {
///     let names: Vec<_> = decision.said().iter().map(|said| said.by.as_str()).collect();
///     match decision.verdict() {
///         Verdict::Approved => format!("approved by {}", names.join(" and ")),
///         Verdict::Rejected => format!("rejected by {}", names.join(" and ")),
///         Verdict::Expired => "nobody decided".to_owned(),
///     }
/// }
/// ```
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

impl Decision {
    pub(super) fn new(name: String, verdict: Verdict, hash: PayloadHash, said: Vec<Said>) -> Self {
        let used = RefCell::default();
        Self(Rc::new(Decided {
            name,
            verdict,
            hash,
            said,
            used,
        }))
    }

    /// Whether as many as are needed said yes, in time.
    ///
    /// ```
    /// use everstep::prelude::*;
    ///
    /// #[workflow]
    /// async fn vacation(ctx: WorkflowContext, days: u32) -> Result<String, WorkflowError> {
    ///     let decision = ctx.await_approval(Approval::of("Days off", &days)).await?;
    ///     Ok(if decision.is_approved() { "enjoy" } else { "ask again" }.to_owned())
    /// }
    /// ```
    pub fn is_approved(&self) -> bool {
        self.0.verdict == Verdict::Approved
    }

    /// How it came out; tells a no from a silence. Example: see [`Decision`].
    pub fn verdict(&self) -> Verdict {
        self.0.verdict
    }

    /// The hash of what was decided on, for what keeps it: 64 hex digits when printed.
    ///
    /// ```
    /// use everstep::prelude::*;
    ///
    /// #[function]
    /// async fn audit(ctx: FunctionContext, what: String, hash: String) -> Result<(), StepError>;
    ///
    /// #[workflow]
    /// async fn audited(ctx: WorkflowContext, order: u64) -> Result<(), WorkflowError> {
    ///     let decision = ctx.await_approval(Approval::of("Cancel this order", &order)).await?;
    ///     ctx.step(audit, ("cancel".to_owned(), decision.hash().to_string())).await
    /// }
    /// ```
    pub fn hash(&self) -> PayloadHash {
        self.0.hash
    }

    /// What was said by those who count, in the order stored. Empty if it expired, also if some of those who are needed had said yes by then.
    ///
    /// ```
    /// use everstep::prelude::*;
    ///
    /// #[workflow]
    /// async fn reasons(ctx: WorkflowContext, plan: String) -> Result<Vec<String>, WorkflowError> {
    ///     let decision = ctx.await_approval(Approval::of("This plan", &plan).quorum(3)).await?;
    ///     Ok(decision.said().iter().filter_map(|said| said.reason.clone()).collect())
    /// }
    /// ```
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
