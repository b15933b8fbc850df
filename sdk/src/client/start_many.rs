//! Many starts at once: their creates share a commit, and each has an outcome of its own.

use everstep_common::limits::START_MANY_MAX;
use futures::future::join_all;
use tracing::Instrument;

use super::{Client, ClientError, RunHandle, StartRun};

impl Client {
    /// Makes many starts, each as if it were awaited by itself, and brings what came of each, in the order given.
    ///
    /// On one node their creates go as atomic batches, a partition each, so that a thousand starts cost some milliseconds; a start that is
    /// refused leaves the others as they are. Runs may be of different workflows that bring the same type.
    ///
    /// ```no_run
    /// # use everstep::prelude::*;
    /// # use everstep::Client;
    /// # #[workflow]
    /// # async fn notify(ctx: WorkflowContext, customer: String) -> Result<(), WorkflowError>;
    /// # async fn example(client: Client, customers: Vec<String>) -> anyhow::Result<()> {
    /// let starts = customers.iter().map(|customer| client.start(notify, customer.clone()).key(customer));
    /// for (customer, started) in customers.iter().zip(client.start_many(starts).await?) {
    ///     match started {
    ///         Ok(run) => println!("{customer}: {}", run.id()),
    ///         Err(error) => println!("{customer}: {error}"),
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ClientError::BadStart`] if there are more than 1,000; then none is made.
    pub async fn start_many<T: 'static>(
        &self,
        starts: impl IntoIterator<Item = StartRun<T>>,
    ) -> Result<Vec<Result<RunHandle<T>, ClientError>>, ClientError> {
        let starts: Vec<_> = starts.into_iter().take(START_MANY_MAX + 1).collect();
        if starts.len() > START_MANY_MAX {
            return Err(ClientError::BadStart {
                what: "the starts",
                reason: format!("one call makes {START_MANY_MAX} at most"),
            });
        }
        Ok(join_all(starts.into_iter().map(one_of_many)).await)
    }
}

/// Its end is not subscribed to before somebody waits for it: a thousand subscriptions would cost more than the starts.
async fn one_of_many<T>(start: StartRun<T>) -> Result<RunHandle<T>, ClientError> {
    let span = start.span();
    let (client, run) = start.send_only(span.clone()).instrument(span).await?;
    Ok(RunHandle::later(client, run))
}
