//! The run's own state: values by name that live as long as the run and cost no write.

use std::fmt;

use everstep_core::Full;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::WorkflowError;
use crate::waits::{decode, encode};

/// Values by name that the workflow keeps while it runs; made by [`ctx.state()`](crate::WorkflowContext::state).
///
/// They are recomputed by replay, like any variable of the workflow: nothing is written for them, and nothing is awaited. What they add to a
/// variable is that `everstep runs show` and [`Client::state`](crate::Client::state) can see them while the run goes on. They are
/// gone when it ends.
///
/// Names and values together may have 256 KiB; beyond that [`set`](Self::set) and [`update`](Self::update) fail and change nothing.
///
/// ```
/// use everstep::prelude::*;
///
/// #[workflow]
/// async fn import(ctx: WorkflowContext, pages: u32) -> Result<u32, WorkflowError> {
///     ctx.state().set("phase", "importing")?;
///     for page in 1..=pages {
///         ctx.sleep(Duration::from_secs(1)).await?;
///         ctx.state().set("page", &page)?;
///     }
///     ctx.state().get("page", 0)
/// }
/// ```
#[derive(Clone)]
pub struct RunState {
    core: everstep_core::Context,
}

impl RunState {
    pub(crate) fn new(core: everstep_core::Context) -> Self {
        Self { core }
    }

    /// The value under `key`, or `default` if there is none.
    ///
    /// Fails if the value is not a `T`.
    ///
    /// ```
    /// use everstep::prelude::*;
    ///
    /// #[workflow]
    /// async fn first(ctx: WorkflowContext) -> Result<bool, WorkflowError> {
    ///     Ok(ctx.state().get("phase", String::new())?.is_empty())
    /// }
    /// ```
    pub fn get<T: DeserializeOwned>(&self, key: &str, default: T) -> Result<T, WorkflowError> {
        Ok(self.find(key)?.unwrap_or(default))
    }

    /// The value under `key`, if there is one.
    ///
    /// Fails if the value is not a `T`.
    ///
    /// ```
    /// use everstep::prelude::*;
    ///
    /// #[workflow]
    /// async fn chosen(ctx: WorkflowContext) -> Result<Option<u32>, WorkflowError> {
    ///     ctx.state().find("choice")
    /// }
    /// ```
    pub fn find<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, WorkflowError> {
        let value = self.core.state(key);
        value.map(|value| decode(format_args!("state `{key}`"), &value)).transpose()
    }

    /// Sets the value under `key`.
    ///
    /// Fails if the value cannot be encoded, or there is no room for it.
    ///
    /// ```
    /// use everstep::prelude::*;
    ///
    /// #[workflow]
    /// async fn stateful(ctx: WorkflowContext) -> Result<(), WorkflowError> {
    ///     ctx.state().set("phase", "started")
    /// }
    /// ```
    pub fn set<T: Serialize + ?Sized>(&self, key: &str, value: &T) -> Result<(), WorkflowError> {
        let value = encode(format_args!("state `{key}`"), value).map_err(|failure| WorkflowError::invalid(failure.message))?;
        self.core.set_state(key, Some(value)).map_err(full)?;
        Ok(())
    }

    /// Makes a new value of the one under `key`, or of `default` if there is none; the new one.
    ///
    /// Fails as [`get`](Self::get) and [`set`](Self::set) do.
    ///
    /// ```
    /// use everstep::prelude::*;
    ///
    /// #[workflow]
    /// async fn counted(ctx: WorkflowContext) -> Result<u32, WorkflowError> {
    ///     ctx.state().update("retries", 0, |retries: u32| retries + 1)
    /// }
    /// ```
    pub fn update<T: Serialize + DeserializeOwned>(
        &self,
        key: &str,
        default: T,
        change: impl FnOnce(T) -> T,
    ) -> Result<T, WorkflowError> {
        let value = change(self.get(key, default)?);
        self.set(key, &value)?;
        Ok(value)
    }

    /// Removes the value under `key`; whether there was one.
    ///
    /// ```
    /// use everstep::prelude::*;
    ///
    /// #[workflow]
    /// async fn forgetful(ctx: WorkflowContext) -> Result<bool, WorkflowError> {
    ///     ctx.state().set("draft", "…")?;
    ///     Ok(ctx.state().delete("draft"))
    /// }
    /// ```
    pub fn delete(&self, key: &str) -> bool {
        let removed = self.core.set_state(key, None);
        removed.is_ok_and(|before| before.is_some())
    }

    /// Removes every value.
    ///
    /// ```
    /// use everstep::prelude::*;
    ///
    /// #[workflow]
    /// async fn anew(ctx: WorkflowContext) -> Result<usize, WorkflowError> {
    ///     ctx.state().clear();
    ///     Ok(ctx.state().keys().len())
    /// }
    /// ```
    pub fn clear(&self) {
        for key in self.keys() {
            self.delete(&key);
        }
    }

    /// The names that have a value, in order.
    ///
    /// ```
    /// use everstep::prelude::*;
    ///
    /// #[workflow]
    /// async fn names(ctx: WorkflowContext) -> Result<Vec<String>, WorkflowError> {
    ///     Ok(ctx.state().keys())
    /// }
    /// ```
    pub fn keys(&self) -> Vec<String> {
        self.core.state_keys()
    }
}

/// There is no room.
pub(crate) fn full(error: Full) -> WorkflowError {
    WorkflowError::invalid(error.to_string())
}

impl fmt::Debug for RunState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RunState").field(&self.keys()).finish()
    }
}
