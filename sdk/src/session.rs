//! The session of a run: values by name that all runs started under one session id share.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use everstep_common::failure::{Failure, FailureKind};
use everstep_core::SessionRequest;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::WorkflowError;
use crate::waits::{SessionFuture, decode, encode};

/// What a run shares with the other runs of its session; made by [`ctx.session()`](crate::WorkflowContext::session).
///
/// ```
/// use everstep::prelude::*;
///
/// #[workflow]
/// async fn whose(ctx: WorkflowContext) -> Result<String, WorkflowError> {
///     Ok(ctx.session().id().unwrap_or("nobody's").to_owned())
/// }
/// ```
#[derive(Clone)]
pub struct Session {
    core: everstep_core::Context,
}

impl Session {
    pub(crate) fn new(core: everstep_core::Context) -> Self {
        Self { core }
    }

    /// The id that was given at the start with [`StartRun::session`](crate::StartRun::session); a child has that of its parent unless it was given
    /// one of its own.
    ///
    /// ```
    /// use everstep::prelude::*;
    ///
    /// #[workflow]
    /// async fn needs_a_session(ctx: WorkflowContext) -> Result<String, WorkflowError> {
    ///     let session = ctx.session();
    ///     let customer = session.id().ok_or("start this workflow with the customer as its session")?;
    ///     Ok(format!("hello, {customer}"))
    /// }
    /// ```
    pub fn id(&self) -> Option<&str> {
        self.core.start().session.as_deref()
    }

    /// The values that the session's runs share.
    ///
    /// ```
    /// use everstep::prelude::*;
    ///
    /// #[workflow]
    /// async fn cart(ctx: WorkflowContext, article: String) -> Result<Vec<String>, WorkflowError> {
    ///     let added = move |mut cart: Vec<String>| {
    ///         cart.push(article.clone());
    ///         cart
    ///     };
    ///     ctx.session().state().update("cart", Vec::new(), added).await
    /// }
    /// ```
    pub fn state(&self) -> SessionState {
        SessionState { core: self.core.clone() }
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Session").field(&self.id()).finish()
    }
}

/// Values by name that all runs of a session share, for as long as there is the deployment; made by `ctx.session().state()`.
///
/// Every operation is a wait like a step is: its outcome is recorded in the run's journal, and replay returns it. A write is applied once
/// for a run, however often the run is replayed and whatever dies meanwhile. A run reads its own writes. Operations that are awaited at
/// once are done in any order.
///
/// Reading a value and then setting it loses what other runs wrote between the two; [`update`](Self::update) does not.
///
/// # Errors
///
/// [`WorkflowErrorKind::Session`](crate::WorkflowErrorKind::Session), with a failure of the kind [`Invalid`](crate::FailureKind::Invalid): every
/// operation if no session was given at the start, or one whose id does not have 1 to 256 characters; a write over a limit. A value that is
/// read and is not of the type asked for is [`WorkflowErrorKind::Invalid`](crate::WorkflowErrorKind::Invalid).
///
/// # Limits
///
/// 100 characters a name (`SESSION_KEY_CHARS_MAX`), 256 KiB a value (`SESSION_VALUE_BYTES_MAX`), 1,000 names a session
/// (`SESSION_KEYS_MAX`), those that were deleted included.
///
/// ```
/// use everstep::prelude::*;
///
/// #[workflow]
/// async fn visit(ctx: WorkflowContext, page: String) -> Result<u64, WorkflowError> {
///     let session = ctx.session().state();
///     session.set("last_page", &page).await?;
///     session.update("visit_count", 0, |visits: u64| visits + 1).await
/// }
/// ```
#[derive(Clone)]
pub struct SessionState {
    core: everstep_core::Context,
}

impl SessionState {
    /// The value under `key` as of now, or `default` if there is none.
    ///
    /// ```
    /// use everstep::prelude::*;
    ///
    /// #[workflow]
    /// async fn language(ctx: WorkflowContext) -> Result<String, WorkflowError> {
    ///     ctx.session().state().get("language", "en".to_owned()).await
    /// }
    /// ```
    pub fn get<T: DeserializeOwned + 'static>(&self, key: &str, default: T) -> SessionFuture<T> {
        self.read(key, |found| Ok(found.unwrap_or(default)))
    }

    /// The value under `key` as of now, if there is one.
    ///
    /// ```
    /// use everstep::prelude::*;
    ///
    /// #[workflow]
    /// async fn known(ctx: WorkflowContext) -> Result<bool, WorkflowError> {
    ///     let name: Option<String> = ctx.session().state().find("name").await?;
    ///     Ok(name.is_some())
    /// }
    /// ```
    pub fn find<T: DeserializeOwned + 'static>(&self, key: &str) -> SessionFuture<Option<T>> {
        self.read(key, Ok)
    }

    /// Sets the value under `key`, whatever it is by then.
    ///
    /// ```
    /// use everstep::prelude::*;
    ///
    /// #[workflow]
    /// async fn choose(ctx: WorkflowContext, language: String) -> Result<(), WorkflowError> {
    ///     ctx.session().state().set("language", &language).await
    /// }
    /// ```
    pub fn set<T: Serialize + ?Sized>(&self, key: &str, value: &T) -> SessionFuture<()> {
        let value = encode(format_args!("value `{key}` of the session"), value);
        let key = key.to_owned();
        self.ask(SessionRequest::Set { key, value }, |_| Ok(()))
    }

    /// Makes a new value of the one under `key`, or of `default` if there is none, as one atomic operation; the new one.
    ///
    /// `change` runs in the orchestrator and may be called several times before one of its results counts: when another run has
    /// written meanwhile, or a process died. It must only compute. A panic in it is the operation's failure.
    ///
    /// ```
    /// use everstep::prelude::*;
    ///
    /// #[workflow]
    /// async fn visit(ctx: WorkflowContext) -> Result<u64, WorkflowError> {
    ///     ctx.session().state().update("visit_count", 0, |visits: u64| visits + 1).await
    /// }
    /// ```
    pub fn update<T, F>(&self, key: &str, default: T, change: F) -> SessionFuture<T>
    where
        T: Serialize + DeserializeOwned + Clone + Send + Sync + 'static,
        F: Fn(T) -> T + Send + Sync + 'static,
    {
        self.try_update(key, default, move |value| Ok(change(value)))
    }

    /// The same with a change that may refuse: then nothing is written, and its error is the operation's failure, recorded.
    ///
    /// ```
    /// use everstep::prelude::*;
    ///
    /// #[workflow]
    /// async fn reserve(ctx: WorkflowContext, pieces: u32) -> Result<u32, WorkflowError> {
    ///     let take = move |stock: u32| stock.checked_sub(pieces).ok_or_else(|| WorkflowError::new("too few are left"));
    ///     ctx.session().state().try_update("stock", 100, take).await
    /// }
    /// ```
    pub fn try_update<T, F>(&self, key: &str, default: T, change: F) -> SessionFuture<T>
    where
        T: Serialize + DeserializeOwned + Clone + Send + Sync + 'static,
        F: Fn(T) -> Result<T, WorkflowError> + Send + Sync + 'static,
    {
        let name = key.to_owned();
        let encoded = move |before: Option<Bytes>| {
            let before = before.map(|before| value(&name, &before)).transpose();
            let changed = before.and_then(|before| change(before.unwrap_or_else(|| default.clone())));
            let changed = changed.map_err(|error| error.into_failure(FailureKind::Fatal))?;
            encode(format_args!("value `{name}` of the session"), &changed)
        };
        let (key, name) = (key.to_owned(), key.to_owned());
        let change: Arc<dyn Fn(Option<Bytes>) -> Result<Bytes, Failure> + Send + Sync> = Arc::new(encoded);
        self.ask(SessionRequest::Update { key, change }, move |bytes| value(&name, bytes))
    }

    /// Removes the value under `key`; whether there was one.
    ///
    /// ```
    /// use everstep::prelude::*;
    ///
    /// #[workflow]
    /// async fn sign_out(ctx: WorkflowContext) -> Result<bool, WorkflowError> {
    ///     ctx.session().state().delete("user").await
    /// }
    /// ```
    pub fn delete(&self, key: &str) -> SessionFuture<bool> {
        let (key, name) = (key.to_owned(), key.to_owned());
        self.ask(SessionRequest::Delete { key }, move |bytes| value(&name, bytes))
    }

    /// The names that have a value now, in order. Reads all of them with their values.
    ///
    /// ```
    /// use everstep::prelude::*;
    ///
    /// #[workflow]
    /// async fn names(ctx: WorkflowContext) -> Result<Vec<String>, WorkflowError> {
    ///     ctx.session().state().keys().await
    /// }
    /// ```
    pub fn keys(&self) -> SessionFuture<Vec<String>> {
        self.ask(SessionRequest::Keys, |bytes| {
            decode(format_args!("the names of the session's values"), bytes)
        })
    }

    fn read<T, U>(&self, key: &str, bring: impl FnOnce(Option<T>) -> Result<U, WorkflowError> + 'static) -> SessionFuture<U>
    where
        T: DeserializeOwned + 'static,
    {
        let (key, name) = (key.to_owned(), key.to_owned());
        // An array of the value, or of none.
        let found = move |bytes: &[u8]| {
            let found: Vec<T> = decode(format_args!("value `{name}` of the session"), bytes)?;
            bring(found.into_iter().next())
        };
        self.ask(SessionRequest::Get { key }, found)
    }

    fn ask<T>(&self, request: SessionRequest, bring: impl FnOnce(&[u8]) -> Result<T, WorkflowError> + 'static) -> SessionFuture<T> {
        SessionFuture::new(&self.core, request, Box::new(bring))
    }
}

impl fmt::Debug for SessionState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionState")
    }
}

fn value<T: DeserializeOwned>(name: &str, bytes: &[u8]) -> Result<T, WorkflowError> {
    decode(format_args!("value `{name}` of the session"), bytes)
}
