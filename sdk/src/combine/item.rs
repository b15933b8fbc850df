//! One item of a batch that runs: its step, and in how many attempts it ended.

use std::pin::Pin;
use std::task::{Context, Poll};

use everstep_common::failure::FailureKind;
use serde::de::DeserializeOwned;

use super::outcome::ItemOutcome;
use crate::error::WorkflowError;
use crate::waits::StepFuture;

/// A step that says how often it was attempted.
pub(super) struct Item<T>(pub(super) StepFuture<T>);

/// What an item brought, or failed with, and in how many attempts.
pub(super) type ItemEnd<T> = Result<(T, u32), (WorkflowError, u32)>;

impl<T: DeserializeOwned> Future for Item<T> {
    type Output = ItemEnd<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let ended = Pin::new(&mut self.0).poll(context);
        ended.map(|outcome| {
            let attempts = self.0.attempts();
            match outcome {
                Ok(value) => Ok((value, attempts)),
                Err(error) => Err((error, attempts)),
            }
        })
    }
}

/// The same for the result, with the attempts; one that never began had none.
pub(super) fn outcome_of<T>(end: Option<ItemEnd<T>>) -> (ItemOutcome<T>, u32) {
    match end {
        None => (ItemOutcome::Cancelled, 0),
        Some(Ok((value, attempts))) => (ItemOutcome::Completed(value), attempts),
        Some(Err((error, attempts))) if error.is_cancelled() => (ItemOutcome::Cancelled, attempts),
        Some(Err((error, attempts))) => {
            // How the step ended says it all; the item is named beside it.
            let failure = error.failure().cloned();
            (
                ItemOutcome::Failed(failure.unwrap_or_else(|| error.into_failure(FailureKind::Workflow))),
                attempts,
            )
        }
    }
}
