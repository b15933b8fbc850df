//! What a function is given beside its input: [`FunctionContext`].

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use everstep_common::ids::RunId;
use everstep_common::key::StepKey;
use everstep_common::ports::{CoreMessage, Headers};
use everstep_common::subject::idempotency_key;
use everstep_common::wire;
use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::Notify;
use tracing::{Level, Span};

use crate::beats::Beats;
use crate::holding::Holding;
use crate::live::{Live, LiveKind};
use crate::options::HEARTBEAT_PAUSE;
use crate::resources::Resources;

/// Where a function learns what it is doing and for whom. A cheap clone.
///
/// ```
/// # use everstep_worker::{FunctionContext, Resources, StepError};
/// # struct Payments;
/// # impl Payments { async fn charge(&self, _: u32, _: &str) -> Result<u32, StepError> { Ok(1) } }
/// async fn charge(ctx: FunctionContext, amount: u32) -> Result<u32, StepError> {
///     let payments = ctx.resource::<Payments>();
///     // The same key on every attempt, process and deploy: the receiver can tell a repeated request.
///     payments.charge(amount, ctx.idempotency_key()).await
/// }
/// ```
#[derive(Clone)]
pub struct FunctionContext(pub(crate) Arc<Call>);

/// One call of a function, whoever makes it.
pub(crate) struct Call {
    pub(crate) run: RunId,
    pub(crate) key: StepKey,
    pub(crate) attempt: u32,
    /// When the step as a whole must be over; a call in place has no deadline of its own.
    pub(crate) deadline: Option<Timestamp>,
    pub(crate) traceparent: Option<String>,
    pub(crate) span: Span,
    /// Made when first asked for: not every function passes it on.
    pub(crate) idempotency_key: OnceLock<String>,
    pub(crate) cancellation: Cancellation,
    pub(crate) resources: Arc<Resources>,
    /// The task behind the call; none behind a call in place.
    pub(crate) holding: Option<Holding>,
    /// What its heartbeats say, and who hears them.
    pub(crate) beats: Beats,
}

/// Whether the call's result is still wanted.
#[derive(Debug, Default)]
pub(crate) struct Cancellation {
    cancelled: AtomicBool,
    waiters: Notify,
}

impl Cancellation {
    pub(crate) fn cancel(&self) {
        self.cancelled.store(true, Ordering::Release);
        self.waiters.notify_waiters();
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Acquire)
    }

    pub(crate) async fn cancelled(&self) {
        let waiter = self.waiters.notified();
        let mut waiter = std::pin::pin!(waiter);
        // Listening before looking: a cancel between the two would be missed.
        waiter.as_mut().enable();
        if !self.is_cancelled() {
            waiter.await;
        }
    }
}

impl FunctionContext {
    /// The context of a function called in place, as part of step `key`: nothing is recorded, nobody can cancel it, and what it
    /// reports goes to the log only.
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use everstep_common::key::StepKey;
    /// use everstep_worker::{FunctionContext, Resources};
    ///
    /// let run = "0-e7b97ed98ff28fc8cea316011add4707".parse().unwrap();
    /// let ctx = FunctionContext::inline(run, StepKey::from_path("charge"), Arc::new(Resources::new()));
    /// assert_eq!((ctx.attempt(), ctx.deadline()), (1, None));
    /// ```
    pub fn inline(run: RunId, key: StepKey, resources: Arc<Resources>) -> Self {
        Self(Arc::new(Call {
            run,
            key,
            attempt: 1,
            deadline: None,
            traceparent: None,
            span: Span::current(),
            idempotency_key: OnceLock::new(),
            cancellation: Cancellation::default(),
            resources,
            holding: None,
            beats: Beats::default(),
        }))
    }

    /// The run that the step belongs to.
    ///
    /// ```
    /// # use everstep_worker::{FunctionContext, StepError};
    /// async fn charge(ctx: FunctionContext, cents: u64) -> Result<String, StepError> {
    ///     Ok(format!("{cents} cents, ordered in run {}", ctx.run_id()))
    /// }
    /// ```
    pub fn run_id(&self) -> &RunId {
        &self.0.run
    }

    /// The step's key within its run.
    ///
    /// ```
    /// # use everstep_worker::{FunctionContext, StepError};
    /// async fn archive(ctx: FunctionContext, page: String) -> Result<String, StepError> {
    ///     // A place of its own for each step of each run.
    ///     Ok(format!("/archive/{}/{}", ctx.run_id(), ctx.step_key().token()))
    /// }
    /// ```
    pub fn step_key(&self) -> &StepKey {
        &self.0.key
    }

    /// What to hand to the outside world so that it can tell a repeated request: the same on every attempt, process and deploy.
    ///
    /// ```
    /// # use everstep_worker::{FunctionContext, StepError};
    /// async fn charge(ctx: FunctionContext, cents: u64) -> Result<String, StepError> {
    ///     Ok(format!("POST /charges?cents={cents}\nIdempotency-Key: {}", ctx.idempotency_key()))
    /// }
    /// ```
    pub fn idempotency_key(&self) -> &str {
        self.0
            .idempotency_key
            .get_or_init(|| idempotency_key(&self.0.run, &self.0.key))
    }

    /// Which attempt this is, from 1.
    ///
    /// ```
    /// # use everstep_worker::{FunctionContext, StepError};
    /// async fn fetch(ctx: FunctionContext, mirrors: Vec<String>) -> Result<String, StepError> {
    ///     // Each attempt asks the next mirror.
    ///     let next = mirrors.get((ctx.attempt() - 1) as usize % mirrors.len().max(1));
    ///     next.cloned().ok_or_else(|| StepError::fatal("there is no mirror"))
    /// }
    /// ```
    pub fn attempt(&self) -> u32 {
        self.0.attempt
    }

    /// When the step as a whole must be over, retries included; `None` for a call in place.
    ///
    /// ```
    /// # use everstep_worker::{FunctionContext, StepError};
    /// # use jiff::Timestamp;
    /// async fn quote(ctx: FunctionContext, article: String) -> Result<String, StepError> {
    ///     let until = ctx.deadline().unwrap_or(Timestamp::MAX);
    ///     Ok(format!("GET /quote/{article}?until={until}"))
    /// }
    /// ```
    pub fn deadline(&self) -> Option<Timestamp> {
        self.0.deadline
    }

    /// The W3C trace parent of the attempt, to be passed on to services that are called: their spans come below the span `step`.
    ///
    /// ```
    /// # use everstep_worker::{FunctionContext, StepError};
    /// async fn notify(ctx: FunctionContext, user: String) -> Result<Vec<(String, String)>, StepError> {
    ///     let mut headers = vec![("user".to_owned(), user)];
    ///     headers.extend(ctx.traceparent().map(|parent| ("traceparent".to_owned(), parent.to_owned())));
    ///     Ok(headers)
    /// }
    /// ```
    pub fn traceparent(&self) -> Option<&str> {
        self.0.traceparent.as_deref()
    }

    /// The span that the function runs in; it carries run, step, attempt and partition.
    ///
    /// ```
    /// # use everstep_worker::{FunctionContext, StepError};
    /// async fn convert(ctx: FunctionContext, file: String) -> Result<usize, StepError> {
    ///     // A thread of its own has no span: it is given this one.
    ///     let span = ctx.span().clone();
    ///     let converting = std::thread::spawn(move || span.in_scope(|| file.len()));
    ///     converting.join().map_err(|_| StepError::retryable("the converter panicked"))
    /// }
    /// ```
    pub fn span(&self) -> &Span {
        &self.0.span
    }

    /// The shared thing of that type.
    ///
    /// # Panics
    ///
    /// If none is registered; the attempt then fails with a message that names the type.
    ///
    /// ```
    /// # use everstep_worker::{FunctionContext, StepError};
    /// struct Mailer {
    ///     from: String,
    /// }
    ///
    /// async fn welcome(ctx: FunctionContext, to: String) -> Result<String, StepError> {
    ///     Ok(format!("{} -> {to}", ctx.resource::<Mailer>().from))
    /// }
    /// ```
    pub fn resource<T: Send + Sync + 'static>(&self) -> Arc<T> {
        self.0.resources.expect()
    }

    /// The shared thing of that type, if one is registered.
    ///
    /// ```
    /// # use everstep_worker::{FunctionContext, StepError};
    /// struct Cache(std::collections::BTreeMap<String, u64>);
    ///
    /// async fn price(ctx: FunctionContext, article: String) -> Result<Option<u64>, StepError> {
    ///     // A worker may have a cache, and does without.
    ///     Ok(ctx.try_resource::<Cache>().and_then(|cache| cache.0.get(&article).copied()))
    /// }
    /// ```
    pub fn try_resource<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        self.0.resources.get()
    }

    /// Says that the function is alive and how far it is. Whoever watches the run sees it; the next attempt can ask for it.
    ///
    /// A function with a `heartbeat_timeout` must say so more often than that, or the attempt fails: so a worker that hangs or died is
    /// noticed soon. Without one heartbeats are for people; the worker keeps the task by itself while the function runs. It costs no
    /// write, and may be called as often as is convenient. Details over 16 KiB are shown and not kept for the next attempt.
    ///
    /// ```
    /// # use everstep_worker::{FunctionContext, StepError};
    /// async fn import(ctx: FunctionContext, pages: u32) -> Result<u32, StepError> {
    ///     // Where the attempt before this one had come to.
    ///     let done: u32 = ctx.heartbeat_details().unwrap_or(0);
    ///     for page in done + 1..=pages {
    ///         // … import the page …
    ///         ctx.heartbeat(page);
    ///     }
    ///     Ok(pages)
    /// }
    /// ```
    pub fn heartbeat(&self, details: impl Serialize) {
        let Some(holding) = &self.0.holding else { return };
        holding.in_progress_unless(HEARTBEAT_PAUSE);
        match wire::encode_value(&details) {
            Ok(details) => {
                self.0.beats.say(&self.0, holding, &details);
                self.tell(holding, LiveKind::Progress(details));
            }
            Err(error) => tracing::warn!(parent: &self.0.span, %error, "heartbeat details cannot be encoded"),
        }
    }

    /// What the heartbeats said last, of this attempt or of the attempts before; `None` if nothing, or something of another type.
    ///
    /// An attempt that failed hands over what it said. So does one that timed out, and the owner of the run heard it, which it does of
    /// functions with a `heartbeat_timeout`. What was said just before a process died may be lost: it is a hint of where to go on, and
    /// no checkpoint.
    ///
    /// ```
    /// # use everstep_worker::{FunctionContext, StepError};
    /// async fn import(ctx: FunctionContext, rows: Vec<String>) -> Result<usize, StepError> {
    ///     let done: usize = ctx.heartbeat_details().unwrap_or(0);
    ///     for (number, _row) in rows.iter().enumerate().skip(done) {
    ///         // … import the row …
    ///         ctx.heartbeat(number + 1);
    ///     }
    ///     Ok(rows.len())
    /// }
    /// ```
    pub fn heartbeat_details<T: DeserializeOwned>(&self) -> Option<T> {
        wire::decode_value(&self.0.beats.details()?).ok()
    }

    /// Logs a line, to the process's log and to whoever watches the run.
    ///
    /// ```
    /// # use everstep_worker::{FunctionContext, StepError};
    /// async fn import(ctx: FunctionContext, rows: Vec<String>) -> Result<(), StepError> {
    ///     ctx.log(format_args!("{} rows to come", rows.len()));
    ///     Ok(())
    /// }
    /// ```
    pub fn log(&self, message: impl fmt::Display) {
        self.log_at(Level::INFO, message);
    }

    /// The same with a level.
    ///
    /// ```
    /// # use everstep_worker::{FunctionContext, StepError};
    /// # use tracing::Level;
    /// async fn import(ctx: FunctionContext, rows: Vec<String>) -> Result<(), StepError> {
    ///     if rows.is_empty() {
    ///         ctx.log_at(Level::WARN, "the file holds no rows");
    ///     }
    ///     Ok(())
    /// }
    /// ```
    pub fn log_at(&self, level: Level, message: impl fmt::Display) {
        let message = message.to_string();
        let span = &self.0.span;
        match level {
            Level::ERROR => tracing::error!(target: "everstep::function", parent: span, "{message}"),
            Level::WARN => tracing::warn!(target: "everstep::function", parent: span, "{message}"),
            Level::INFO => tracing::info!(target: "everstep::function", parent: span, "{message}"),
            Level::DEBUG => tracing::debug!(target: "everstep::function", parent: span, "{message}"),
            Level::TRACE => tracing::trace!(target: "everstep::function", parent: span, "{message}"),
        }
        if let Some(holding) = &self.0.holding {
            self.tell(
                holding,
                LiveKind::Log {
                    level: level.as_str().to_ascii_lowercase(),
                    message,
                },
            );
        }
    }

    /// Whether the step's result is no longer wanted: it was cancelled, or has an outcome already.
    ///
    /// ```
    /// # use everstep_worker::{FunctionContext, StepError};
    /// async fn render(ctx: FunctionContext, frames: u32) -> Result<u32, StepError> {
    ///     for frame in 0..frames {
    ///         if ctx.is_cancelled() {
    ///             return Err(StepError::fatal(format!("stopped before frame {frame}")));
    ///         }
    ///         // … render the frame …
    ///     }
    ///     Ok(frames)
    /// }
    /// ```
    pub fn is_cancelled(&self) -> bool {
        self.0.cancellation.is_cancelled()
    }

    /// Returns when the step's result is no longer wanted. The function then has 10 s to tidy up before it is dropped.
    ///
    /// ```
    /// # use everstep_worker::{FunctionContext, StepError};
    /// # async fn transfer(_file: &str) -> Result<u64, StepError> { Ok(1) }
    /// async fn upload(ctx: FunctionContext, file: String) -> Result<u64, StepError> {
    ///     tokio::select! {
    ///         uploaded = transfer(&file) => uploaded,
    ///         () = ctx.cancelled() => Err(StepError::fatal("no longer wanted")),
    ///     }
    /// }
    /// ```
    pub async fn cancelled(&self) {
        self.0.cancellation.cancelled().await;
    }

    fn tell(&self, holding: &Holding, kind: LiveKind) {
        let store = holding.store();
        let live = Live {
            attempt: self.0.attempt,
            at: store.clock().wall(),
            kind,
        };
        let payload = wire::encode(&live).unwrap_or_else(|_| Bytes::new());
        let subject = store.names().live(&self.0.run, &self.0.key);
        store.broker().send(CoreMessage {
            subject,
            headers: Headers::new(),
            payload,
            reply: None,
        });
    }
}

impl fmt::Debug for FunctionContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Call { run, key, attempt, .. } = &*self.0;
        f.debug_struct("FunctionContext")
            .field("run", run)
            .field("key", key)
            .field("attempt", attempt)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn inline() -> FunctionContext {
        let run = "3-0123456789abcdef0123456789abcdef".parse().unwrap();
        FunctionContext::inline(run, StepKey::from_path("charge"), Arc::default())
    }

    #[test]
    fn the_idempotency_key_says_nothing_of_the_attempt() {
        assert_eq!(inline().idempotency_key(), "3-0123456789abcdef0123456789abcdef.step.charge");
    }

    #[test]
    fn a_call_in_place_reports_to_nobody() {
        let context = inline();
        context.heartbeat(0.5);
        context.log("half way");
        assert_eq!(
            (context.attempt(), context.deadline(), context.traceparent()),
            (1, None, None)
        );
    }

    #[test]
    fn cancellation_wakes_who_waits_and_is_seen_by_who_comes_late() {
        let context = inline();
        let mut early = Box::pin(context.cancelled());
        assert!(early.as_mut().now_or_never().is_none());
        context.0.cancellation.cancel();
        assert!(early.now_or_never().is_some());
        assert!(context.cancelled().now_or_never().is_some() && context.is_cancelled());
    }
}
