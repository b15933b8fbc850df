//! What a batch brings: an outcome for each item, and how many of each.

use std::time::Duration;

use everstep_common::failure::Failure;
use serde::{Deserialize, Serialize};

/// How the items of a batch ended. It serialises, so a workflow may return it.
///
/// ```
/// use everstep::{BatchResult, prelude::*};
///
/// #[function]
/// async fn process(ctx: FunctionContext, document: String) -> Result<u64, StepError>;
///
/// #[workflow]
/// async fn bulk(ctx: WorkflowContext, documents: Vec<String>) -> Result<BatchResult<u64>, WorkflowError> {
///     let result = ctx.batch(process, documents).tolerate(3).await?;
///     for (id, failure) in result.failures() {
///         ctx.log(format_args!("{id}: {failure}"));
///     }
///     Ok(result)
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BatchResult<T> {
    /// One for each item, in their order.
    pub results: Vec<BatchItem<T>>,
    /// How many there are of each.
    pub stats: BatchStats,
    /// More items failed than are tolerated, and the rest was cancelled.
    pub stopped: bool,
}

/// How one item ended.
///
/// ```
/// use everstep::{BatchItem, ItemOutcome};
///
/// let item = BatchItem { id: "17".to_owned(), attempts: 2, outcome: ItemOutcome::Completed(289) };
/// assert_eq!(item.output(), Some(&289));
/// assert_eq!(item.error(), None);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BatchItem<T> {
    /// What the item is called: its place, or what `key_by` says.
    pub id: String,
    /// How often it was attempted; 0 if it was not begun.
    pub attempts: u32,
    /// How it ended.
    pub outcome: ItemOutcome<T>,
}

/// The ways in which an item ends.
///
/// ```
/// use everstep::{Failure, FailureKind, ItemOutcome};
///
/// let outcome: ItemOutcome<u64> = ItemOutcome::Failed(Failure::new(FailureKind::Fatal, "no such page"));
/// assert_ne!(outcome, ItemOutcome::Cancelled);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ItemOutcome<T> {
    /// The function returned this.
    Completed(T),
    /// It failed for good: fatally, out of attempts, or out of time.
    Failed(Failure),
    /// The batch was stopped before it ended, or before it began.
    Cancelled,
}

/// How many items ended how, and how long it all took.
///
/// ```
/// let stats = everstep::BatchStats { total: 3, completed: 2, failed: 1, ..Default::default() };
/// assert_eq!(stats.total, stats.completed + stats.failed + stats.cancelled);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchStats {
    /// All items.
    pub total: usize,
    /// Those that brought a value.
    pub completed: usize,
    /// Those that failed.
    pub failed: usize,
    /// Those that were cancelled, begun or not.
    pub cancelled: usize,
    /// From the first poll to the last outcome, by the time of the journal's entries: the same on every replay.
    pub duration: Duration,
}

impl<T> BatchResult<T> {
    /// The values of the items that completed, in order, each with the item's id.
    ///
    /// ```
    /// use everstep::{BatchItem, BatchResult, BatchStats, ItemOutcome};
    ///
    /// let results = vec![BatchItem { id: "0".into(), attempts: 1, outcome: ItemOutcome::Completed("done") }];
    /// let result = BatchResult { results, stats: BatchStats::default(), stopped: false };
    /// assert_eq!(result.outputs().collect::<Vec<_>>(), [("0", &"done")]);
    /// ```
    pub fn outputs(&self) -> impl Iterator<Item = (&str, &T)> {
        self.results
            .iter()
            .filter_map(|item| Some((item.id.as_str(), item.output()?)))
    }

    /// Why items failed, in order, each with the item's id.
    ///
    /// ```
    /// use everstep::{BatchItem, BatchResult, BatchStats, ItemOutcome};
    ///
    /// let results = vec![BatchItem { id: "0".into(), attempts: 1, outcome: ItemOutcome::Completed("done") }];
    /// let result = BatchResult { results, stats: BatchStats::default(), stopped: false };
    /// assert_eq!(result.failures().count(), 0);
    /// ```
    pub fn failures(&self) -> impl Iterator<Item = (&str, &Failure)> {
        self.results.iter().filter_map(|item| Some((item.id.as_str(), item.error()?)))
    }

    pub(super) fn into_outputs(self) -> Vec<T> {
        let outputs = self.results.into_iter().map(|item| match item.outcome {
            ItemOutcome::Completed(output) => Some(output),
            ItemOutcome::Failed(_) | ItemOutcome::Cancelled => None,
        });
        outputs.flatten().collect()
    }

    pub(super) fn new(results: Vec<BatchItem<T>>, stopped: bool, duration: Duration) -> Self {
        let mut stats = BatchStats {
            total: results.len(),
            duration,
            ..BatchStats::default()
        };
        for item in &results {
            match item.outcome {
                ItemOutcome::Completed(_) => stats.completed += 1,
                ItemOutcome::Failed(_) => stats.failed += 1,
                ItemOutcome::Cancelled => stats.cancelled += 1,
            }
        }
        Self { results, stats, stopped }
    }
}

impl<T> BatchItem<T> {
    /// Its value, if it completed.
    ///
    /// ```
    /// # use everstep::{BatchItem, ItemOutcome};
    /// let item = BatchItem { id: "0".to_owned(), attempts: 1, outcome: ItemOutcome::Completed(7) };
    /// assert_eq!(item.output(), Some(&7));
    /// ```
    pub fn output(&self) -> Option<&T> {
        match &self.outcome {
            ItemOutcome::Completed(output) => Some(output),
            ItemOutcome::Failed(_) | ItemOutcome::Cancelled => None,
        }
    }

    /// Why it failed, if it did.
    ///
    /// ```
    /// # use everstep::{BatchItem, ItemOutcome};
    /// let item: BatchItem<u64> = BatchItem { id: "0".to_owned(), attempts: 0, outcome: ItemOutcome::Cancelled };
    /// assert_eq!(item.error(), None);
    /// ```
    pub fn error(&self) -> Option<&Failure> {
        match &self.outcome {
            ItemOutcome::Failed(failure) => Some(failure),
            ItemOutcome::Completed(_) | ItemOutcome::Cancelled => None,
        }
    }
}
