//! A child: a run that this run starts, and waits for unless it is detached.

use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use everstep_common::ids::{RunId, WorkflowName};
use everstep_core::{Child, ChildSpec};
use futures::future::FusedFuture;
use serde::de::DeserializeOwned;

use super::{decode, encode};
use crate::error::WorkflowError;
use crate::workflow::Workflow;

/// A run of another workflow, started when this is first polled and awaited to its end; made by
/// [`ctx.child(…)`](crate::WorkflowContext::child).
///
/// Dropped before that, it is cancelled.
///
/// # Errors
///
/// [`WorkflowErrorKind::Child`](crate::WorkflowErrorKind::Child) if it ended without a value, or cannot be started: its input cannot be encoded
/// or is over 64 MiB (`PAYLOAD_BYTES_MAX`), its key is empty or used already, its session is none, or it would be nested more than 64 deep (`CHILD_DEPTH_MAX`).
/// [`WorkflowErrorKind::Invalid`](crate::WorkflowErrorKind::Invalid) if what it returned is not a `T`.
///
/// ```
/// use everstep::prelude::*;
///
/// #[workflow]
/// async fn parcel(ctx: WorkflowContext, address: String) -> Result<String, WorkflowError>;
///
/// #[workflow]
/// async fn ship(ctx: WorkflowContext, addresses: Vec<String>) -> Result<Vec<String>, WorkflowError> {
///     let parcels = addresses.into_iter().map(|address| {
///         let key = format!("parcel/{address}");
///         ctx.child(parcel, address).key(key).tag("carrier", "post")
///     });
///     futures::future::try_join_all(parcels).await
/// }
/// ```
#[must_use = "a child is started when it is awaited"]
pub struct ChildFuture<T> {
    child: Child,
    name: Name,
    output: PhantomData<fn() -> T>,
}

/// What a child is called in messages: its workflow, and the key that it was given.
struct Name {
    workflow: &'static str,
    key: Option<String>,
}

impl Name {
    fn as_str(&self) -> &str {
        self.key.as_deref().unwrap_or(self.workflow)
    }
}

impl<T> ChildFuture<T> {
    pub(crate) fn new<W: Workflow<Output = T>>(core: &everstep_core::Context, input: &W::Input) -> Self {
        let input = encode(format_args!("the input of child `{}`", W::NAME), input);
        let workflow = WorkflowName::new(W::NAME).expect("the name of a workflow");
        Self {
            child: core.child(workflow, Some(W::VERSION), input),
            name: Name {
                workflow: W::NAME,
                key: None,
            },
            output: PhantomData,
        }
    }

    /// Names it in the journal exactly so, without the names of the blocks that it is in; else it is called after its workflow, and numbered from
    /// the second use in a scope on. Its run follows from that name, so it is started once.
    ///
    /// A key may be asked for once only in a run: the second child fails with [`WorkflowErrorKind::Child`](crate::WorkflowErrorKind::Child), as one with
    /// an empty key does.
    ///
    /// ```
    /// use everstep::prelude::*;
    ///
    /// #[workflow]
    /// async fn provision(ctx: WorkflowContext, region: String) -> Result<String, WorkflowError>;
    ///
    /// #[workflow]
    /// async fn roll_out(ctx: WorkflowContext, regions: Vec<String>) -> Result<Vec<String>, WorkflowError> {
    ///     let mut clusters = Vec::new();
    ///     for region in regions {
    ///         // Regions may be added or moved in the code while runs of it wait: each keeps its run.
    ///         clusters.push(ctx.child(provision, region.clone()).key(format!("provision/{region}")).await?);
    ///     }
    ///     Ok(clusters)
    /// }
    /// ```
    pub fn key(mut self, key: impl AsRef<str>) -> Self {
        self.name.key = Some(key.as_ref().to_owned());
        self.child = self.child.key(key.as_ref());
        self
    }

    /// The session that it runs in, instead of this run's: 1 to 256 characters (`SESSION_ID_CHARS_MAX`), or the child fails and is not started.
    ///
    /// ```
    /// use everstep::prelude::*;
    ///
    /// #[workflow]
    /// async fn welcome(ctx: WorkflowContext, user: String) -> Result<u64, WorkflowError> {
    ///     ctx.session().state().update("greeted", 0, |times: u64| times + 1).await
    /// }
    ///
    /// #[workflow]
    /// async fn invite(ctx: WorkflowContext, users: Vec<String>) -> Result<(), WorkflowError> {
    ///     for user in users {
    ///         let session = format!("user-{user}");
    ///         ctx.child(welcome, user).session(session).await?;
    ///     }
    ///     Ok(())
    /// }
    /// ```
    pub fn session(self, session: impl Into<String>) -> Self {
        self.with(|spec| spec.session = Some(session.into()))
    }

    /// A label, beside those of this run; of the same name, in place of this run's.
    ///
    /// ```
    /// use everstep::prelude::*;
    ///
    /// #[workflow]
    /// async fn render(ctx: WorkflowContext, scene: u32) -> Result<String, WorkflowError>;
    ///
    /// #[workflow]
    /// async fn trailer(ctx: WorkflowContext, scenes: u32) -> Result<Vec<String>, WorkflowError> {
    ///     let renders = (1..=scenes).map(|scene| ctx.child(render, scene).tag("scene", scene.to_string()));
    ///     ctx.parallel(renders.collect::<Vec<_>>()).await
    /// }
    /// ```
    pub fn tag(self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.with(|spec| drop(spec.tags.insert(name.into(), value.into())))
    }

    /// Whose work it is, where its workflow limits runs of one key, instead of this run's [key](crate::StartRun::limit_key). Up to 128
    /// characters; a longer one is an error of the child.
    ///
    /// A child waits for its place like every run. One that waits for a place that this run holds itself, and is awaited here, waits for
    /// ever: give such runs keys of their own, or a [deadline](Self::deadline).
    ///
    /// ```
    /// use everstep::prelude::*;
    ///
    /// #[workflow(singleton = "queue")]
    /// async fn bill(ctx: WorkflowContext, customer: String) -> Result<(), WorkflowError> {
    ///     ctx.sleep(Duration::from_secs(60)).await
    /// }
    ///
    /// #[workflow]
    /// async fn month(ctx: WorkflowContext, customers: Vec<String>) -> Result<(), WorkflowError> {
    ///     let bills = customers.into_iter().map(|customer| ctx.child(bill, customer.clone()).limit_key(customer).priority(-1));
    ///     futures::future::try_join_all(bills).await?;
    ///     Ok(())
    /// }
    /// ```
    pub fn limit_key(self, key: impl Into<String>) -> Self {
        self.with(|spec| spec.terms.key = Some(key.into()))
    }

    /// Before other runs that wait for the same, and its steps before others; this run's own unless given. Example: see
    /// [`limit_key`](Self::limit_key).
    pub fn priority(self, priority: i8) -> Self {
        self.with(|spec| spec.terms.priority = priority)
    }

    /// How long it may take from when it begins, more than nothing and at most 366 days; when that has passed it is asked to come to an end,
    /// as by [`StartRun::deadline`](crate::StartRun::deadline). Unless given it has as long as it likes, or as this run lives.
    ///
    /// ```
    /// use everstep::prelude::*;
    ///
    /// #[workflow]
    /// async fn negotiate(ctx: WorkflowContext, supplier: String) -> Result<u64, WorkflowError>;
    ///
    /// #[workflow]
    /// async fn buy(ctx: WorkflowContext, supplier: String) -> Result<u64, WorkflowError> {
    ///     let day = Duration::from_secs(24 * 60 * 60);
    ///     ctx.child(negotiate, supplier).deadline(7 * day).await
    /// }
    /// ```
    pub fn deadline(self, deadline: Duration) -> Self {
        self.with(|spec| spec.terms.deadline = Some(deadline))
    }

    /// It is started now and begins that much later, at most 366 days; see [`StartRun::delay`](crate::StartRun::delay).
    ///
    /// ```
    /// use everstep::prelude::*;
    ///
    /// #[workflow]
    /// async fn remind(ctx: WorkflowContext, user: String) -> Result<(), WorkflowError>;
    ///
    /// #[workflow]
    /// async fn sign_up(ctx: WorkflowContext, user: String) -> Result<(), WorkflowError> {
    ///     let day = Duration::from_secs(24 * 60 * 60);
    ///     ctx.child(remind, user).delay(3 * day).detached().await?;
    ///     Ok(())
    /// }
    /// ```
    pub fn delay(self, delay: Duration) -> Self {
        self.with(|spec| spec.terms.delay = Some(delay))
    }

    /// Does not wait for its end, and does not cancel it: brings the id of the run once that is started for good.
    ///
    /// ```
    /// use everstep::prelude::*;
    ///
    /// #[workflow]
    /// async fn newsletter(ctx: WorkflowContext, user: String) -> Result<(), WorkflowError>;
    ///
    /// #[workflow]
    /// async fn sign_up(ctx: WorkflowContext, user: String) -> Result<String, WorkflowError> {
    ///     let run = ctx.child(newsletter, user).detached().await?;
    ///     Ok(format!("letters come from run {run}"))
    /// }
    /// ```
    pub fn detached(self) -> DetachedFuture {
        let Self { child, name, .. } = self.with(|spec| spec.detached = true);
        DetachedFuture { child, name }
    }

    /// Changes how it is started; once it has been asked for, that is settled.
    fn with(mut self, change: impl FnOnce(&mut ChildSpec)) -> Self {
        if let Some(spec) = self.child.spec_mut() {
            change(spec);
        }
        self
    }
}

impl<T: DeserializeOwned> Future for ChildFuture<T> {
    type Output = Result<T, WorkflowError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let outcome = ready!(Pin::new(&mut self.child).poll(context));
        let name = self.name.as_str();
        Poll::Ready(match outcome {
            Ok(bytes) => decode(format_args!("the result of child `{name}`"), &bytes),
            Err(error) => Err(WorkflowError::of_child(name, error)),
        })
    }
}

impl<T: DeserializeOwned> FusedFuture for ChildFuture<T> {
    fn is_terminated(&self) -> bool {
        self.child.is_terminated()
    }
}

impl<T> fmt::Debug for ChildFuture<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "child {}", self.name.as_str())
    }
}

/// The start of a run that is not waited for; made by [`ChildFuture::detached`].
///
/// Once it has been polled the run is started, also if this is dropped or this run is cancelled meanwhile.
///
/// ```
/// use everstep::prelude::*;
///
/// #[workflow]
/// async fn audit(ctx: WorkflowContext, what: String) -> Result<(), WorkflowError>;
///
/// #[workflow]
/// async fn pay(ctx: WorkflowContext, cents: u64) -> Result<(), WorkflowError> {
///     ctx.child(audit, format!("paid {cents}")).detached().await?;
///     Ok(())
/// }
/// ```
#[must_use = "a child is started when it is awaited"]
pub struct DetachedFuture {
    child: Child,
    name: Name,
}

impl Future for DetachedFuture {
    type Output = Result<RunId, WorkflowError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let outcome = ready!(Pin::new(&mut self.child).poll(context));
        Poll::Ready(match outcome {
            Ok(bytes) => Ok(run_id(&bytes)),
            Err(error) => Err(WorkflowError::of_child(self.name.as_str(), error)),
        })
    }
}

impl FusedFuture for DetachedFuture {
    fn is_terminated(&self) -> bool {
        self.child.is_terminated()
    }
}

impl fmt::Debug for DetachedFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "detached child {}", self.name.as_str())
    }
}

/// The core brings the id of a run as its text.
fn run_id(text: &[u8]) -> RunId {
    let text = std::str::from_utf8(text).ok();
    text.and_then(|text| text.parse().ok()).expect("the text of a run id")
}
