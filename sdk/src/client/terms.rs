//! When a run begins, by when it must be over, what of it goes first, and whose trace it belongs to.

use std::time::Duration;

use everstep_common::journal::{BadTerms, StartTerms};

use super::{ClientError, StartRun};

/// These hold for the run that the start makes. One that is repeated under its key changes nothing of the run that is there.
impl<T> StartRun<T> {
    /// The run is created now and begins that much later, by the server's clock: never early, and once, whoever dies meanwhile.
    ///
    /// Until then it is `scheduled`: listed, and ended at once if it is cancelled. At most a year.
    ///
    /// ```no_run
    /// # use everstep::prelude::*;
    /// # use everstep::Client;
    /// # #[workflow]
    /// # async fn remind(ctx: WorkflowContext, customer: String) -> Result<(), WorkflowError>;
    /// # async fn example(client: Client) -> anyhow::Result<()> {
    /// let run = client.start(remind, "ada".to_owned()).delay(Duration::from_secs(3 * 24 * 60 * 60)).await?;
    /// client.cancel(run.id(), "she has answered").await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Awaited, [`ClientError::BadStart`] if it is longer than a year.
    pub fn delay(self, delay: Duration) -> Self {
        self.with(|request| request.terms.delay = Some(delay))
    }

    /// How long the run may take, counted from when it begins.
    ///
    /// When that time is up it is asked to come to an end, as if it were cancelled: what it waits for brings an error, what is in
    /// [`ctx.shield`](crate::WorkflowContext::shield) goes on. When the workflow gives in the run ends as failed, with the kind
    /// [`DeadlineExceeded`](crate::FailureKind::DeadlineExceeded). What has not come to an end 60 seconds later is ended as it stands,
    /// and so is a run that is parked.
    ///
    /// ```no_run
    /// # use everstep::prelude::*;
    /// # use everstep::{Client, FailureKind, RunError};
    /// # #[workflow]
    /// # async fn report(ctx: WorkflowContext, month: u32) -> Result<String, WorkflowError>;
    /// # async fn example(client: Client) -> anyhow::Result<()> {
    /// let run = client.start(report, 11).deadline(Duration::from_secs(600)).await?;
    /// match run.result().await {
    ///     Err(RunError::Failed { failure, .. }) if failure.kind == FailureKind::DeadlineExceeded => println!("too slow"),
    ///     other => println!("{}", other?),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Awaited, [`ClientError::BadStart`] if it is nothing, or longer than a year.
    pub fn deadline(self, deadline: Duration) -> Self {
        self.with(|request| request.terms.deadline = Some(deadline))
    }

    /// Among tasks that wait for a place under a limit of their queue or function, those of runs with a higher priority go first. From -128
    /// to 127; 0 unless given.
    ///
    /// ```no_run
    /// # use everstep::prelude::*;
    /// # use everstep::Client;
    /// # #[workflow]
    /// # async fn report(ctx: WorkflowContext, month: u32) -> Result<String, WorkflowError>;
    /// # async fn example(client: Client) -> anyhow::Result<()> {
    /// client.start(report, 11).priority(10).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn priority(self, priority: i8) -> Self {
        self.with(|request| request.terms.priority = priority)
    }

    /// Whose work the run is, where its workflow limits runs of one key (`limit(per_key = 2)`, `singleton = "queue"`). Up to 128 characters.
    ///
    /// ```no_run
    /// # use everstep::prelude::*;
    /// # use everstep::Client;
    /// #[workflow(singleton = "cancel_in_progress")]
    /// async fn reindex(ctx: WorkflowContext, shop: String) -> Result<(), WorkflowError> {
    ///     ctx.sleep(Duration::from_secs(60)).await
    /// }
    ///
    /// # async fn example(client: Client) -> anyhow::Result<()> {
    /// client.start(reindex, "berlin".to_owned()).limit_key("berlin").await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Awaited, [`ClientError::BadStart`] if it is empty or longer.
    pub fn limit_key(self, key: impl Into<String>) -> Self {
        self.with(|request| request.terms.key = Some(key.into()))
    }

    /// The run's trace becomes a part of this one, given as a W3C `traceparent`; otherwise it is a part of the caller's, if that is traced.
    ///
    /// ```no_run
    /// # use everstep::prelude::*;
    /// # use everstep::Client;
    /// # #[workflow]
    /// # async fn report(ctx: WorkflowContext, month: u32) -> Result<String, WorkflowError>;
    /// # async fn example(client: Client) -> anyhow::Result<()> {
    /// let caller = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    /// client.start(report, 11).traceparent(caller).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Awaited, [`ClientError::BadStart`] if it is none.
    pub fn traceparent(self, traceparent: impl Into<String>) -> Self {
        self.with(|request| request.traceparent = Some(traceparent.into()))
    }
}

/// Whether all that a start asks for is within its bounds.
pub(super) fn check(terms: &StartTerms, traceparent: Option<&str>) -> Result<(), ClientError> {
    terms
        .check()
        .map_err(|BadTerms { what, reason }| ClientError::BadStart { what, reason })?;
    match traceparent {
        Some(text) if !is_traceparent(text) => Err(ClientError::BadStart {
            what: "the trace parent",
            reason: format!("{text:?} is not of the form 00-<32 hex digits>-<16 hex digits>-<2 hex digits>"),
        }),
        _ => Ok(()),
    }
}

/// As W3C Trace Context has it: version, trace, parent, flags; neither trace nor parent is all zeros.
fn is_traceparent(text: &str) -> bool {
    let is_hex = |part: &str, digits: usize| part.len() == digits && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let is_id = |part: &str, digits| is_hex(part, digits) && part.bytes().any(|b| b != b'0');
    let parts: Vec<&str> = text.split('-').collect();
    match parts.as_slice() {
        [version, trace, parent, flags] => {
            is_hex(version, 2) && *version != "ff" && is_id(trace, 32) && is_id(parent, 16) && is_hex(flags, 2)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_parent_is_of_the_form_that_the_standard_says() {
        let is_good = |text| check(&StartTerms::default(), Some(text)).is_ok();
        assert!(is_good("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"));
        for bad in [
            "",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ] {
            assert!(!is_good(bad), "{bad:?}");
        }
    }
}
