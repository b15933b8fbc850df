//! A wait for an update, and the update that it brings.

use std::convert::Infallible;
use std::fmt::{self, Display};
use std::future::poll_fn;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use everstep_common::failure::{Failure, FailureKind};
use everstep_common::wire;
use everstep_core::NextUpdate;
use futures::future::FusedFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Deadline, encode};
use crate::error::{WorkflowError, WorkflowErrorKind};

/// Why an input is refused, if it is.
type Validator<In> = Box<dyn Fn(&In) -> Result<(), String>>;

/// A wait for the next update of a name; made by `ctx.update::<In, Out>("name")`.
///
/// An update that came before is kept, from the start of the run on, and each is taken once, the first stored first; with signals and
/// everything else it is ordered by the journal. Like a signal it is taken when the wait returns it: one that was given to a wait which is
/// dropped, or cancelled with its block, before that goes to the next.
///
/// An input that is not an `In`, or that [`validate`](Self::validate) refuses, is rejected with the reason: its caller is told so, and the
/// wait goes on.
///
/// # Errors
///
/// [`WorkflowErrorKind::Unanswered`](crate::WorkflowErrorKind::Unanswered) if the [`deadline`](Self::deadline) passes first.
/// [`WorkflowErrorKind::Cancelled`](crate::WorkflowErrorKind::Cancelled) if the run or the block round it is cancelled.
///
/// # Limits
///
/// A run of which 1,000 updates are not taken rejects further ones, and goes on. A run that answers updates for years continues as new
/// before its journal is full: an update is two entries of 25,000.
///
/// ```
/// use everstep::prelude::*;
///
/// /// Counts up to its limit, by updates.
/// #[workflow]
/// async fn tally(ctx: WorkflowContext, limit: u64) -> Result<u64, WorkflowError> {
///     let mut total = 0;
///     while total < limit {
///         let add = ctx
///             .update::<u64, u64>("add")
///             .validate(|more| if *more > 0 { Ok(()) } else { Err("add something") })
///             .await?;
///         total += add.input();
///         add.reply(&total)?;
///     }
///     Ok(total)
/// }
/// ```
#[must_use = "an update is waited for when it is awaited"]
pub struct UpdateFuture<In, Out> {
    next: NextUpdate,
    /// For messages.
    name: String,
    validator: Option<Validator<In>>,
    output: PhantomData<fn(Out)>,
}

impl<In, Out> UpdateFuture<In, Out> {
    pub(crate) fn new(core: &everstep_core::Context, name: &str) -> Self {
        Self {
            next: core.update(name),
            name: name.to_owned(),
            validator: None,
            output: PhantomData,
        }
    }

    /// When it is no longer waited for: that long after it is first polled, or at a time. An update that comes later is kept for the next wait.
    ///
    /// ```
    /// use everstep::prelude::*;
    ///
    /// /// How many seats were booked until the doors closed.
    /// #[workflow]
    /// async fn booking(ctx: WorkflowContext, closes: Timestamp) -> Result<u32, WorkflowError> {
    ///     let mut booked = 0;
    ///     loop {
    ///         match ctx.update::<u32, u32>("book").deadline(closes).await {
    ///             Ok(book) => {
    ///                 booked += book.input();
    ///                 book.reply(&booked)?;
    ///             }
    ///             Err(error) if error.is_timed_out() => return Ok(booked),
    ///             Err(error) => return Err(error),
    ///         }
    ///     }
    /// }
    /// ```
    pub fn deadline(mut self, deadline: impl Into<Deadline>) -> Self {
        self.next = self.next.deadline(deadline.into().due());
        self
    }

    /// Refuses what `check` finds wrong, with the reason that it gives. It must change nothing and say the same each time for the same input
    /// and the same state of the workflow: on replay it is called again, and a run that now refuses what it once did is parked.
    ///
    /// ```
    /// use everstep::prelude::*;
    ///
    /// #[workflow]
    /// async fn subscription(ctx: WorkflowContext, seats: u32) -> Result<u32, WorkflowError> {
    ///     let resize = ctx.update::<u32, ()>("resize").validate(move |wanted| match *wanted {
    ///         wanted if wanted < seats => Err(format!("{seats} seats are paid for")),
    ///         _ => Ok(()),
    ///     });
    ///     let resized = resize.await?;
    ///     let seats = *resized.input();
    ///     resized.reply(&())?;
    ///     Ok(seats)
    /// }
    /// ```
    pub fn validate<E: Display>(mut self, check: impl Fn(&In) -> Result<(), E> + 'static) -> Self {
        self.validator = Some(Box::new(move |input| check(input).map_err(|reason| reason.to_string())));
        self
    }
}

impl<In: DeserializeOwned, Out: Serialize> UpdateFuture<In, Out> {
    /// Answers each update with what `handler` brings, one after the other, for as long as it is polled. Put it beside the work of the
    /// workflow, in [`select!`](crate::select) or [`ctx.race`](crate::WorkflowContext::race).
    ///
    /// An error of the handler, or an answer that is too large, is the failed outcome of that one update. Whatever the handler has begun is cancelled when this is dropped,
    /// and its caller is told that the update failed.
    ///
    /// # Errors
    ///
    /// Those of the wait; also if the handler was cancelled, or continues the workflow as new.
    ///
    /// ```
    /// use std::cell::Cell;
    /// use std::pin::pin;
    /// use std::time::Duration;
    ///
    /// use everstep::prelude::*;
    ///
    /// /// Rings after as many minutes as were asked for last.
    /// #[workflow]
    /// async fn alarm(ctx: WorkflowContext) -> Result<u64, WorkflowError> {
    ///     let minutes = Cell::new(1);
    ///     let mut set = pin!(ctx.update::<u64, u64>("set").serve(async |new| Ok(minutes.replace(new))));
    ///     loop {
    ///         let asked = minutes.get();
    ///         select! {
    ///             failed = &mut set => match failed? {},
    ///             slept = ctx.sleep(Duration::from_secs(60 * asked)) => slept?,
    ///         }
    ///         if asked == minutes.get() {
    ///             return Ok(asked);
    ///         }
    ///     }
    /// }
    /// ```
    pub async fn serve(
        mut self,
        mut handler: impl AsyncFnMut(In) -> Result<Out, WorkflowError>,
    ) -> Result<Infallible, WorkflowError> {
        loop {
            let Update { input, update, .. } = poll_fn(|context| self.poll_next(context)).await?;
            match handler(input).await {
                // What cannot be encoded is the failed outcome of this one update: whoever asks for it must not be able to end the run.
                Ok(value) => settled(update.answer(encode(format_args!("the answer to update `{}`", self.name), &value)))?,
                Err(error) => {
                    let goes_no_further = error.is_cancelled() || matches!(error.kind(), WorkflowErrorKind::Continued(_));
                    let failure = error.clone().into_failure(FailureKind::Workflow);
                    settled(update.answer(Err(failure)))?;
                    if goes_no_further {
                        return Err(error);
                    }
                }
            }
            self.next.again();
        }
    }
}

impl<In: DeserializeOwned, Out> UpdateFuture<In, Out> {
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Update<In, Out>, WorkflowError>> {
        loop {
            let update = match ready!(Pin::new(&mut self.next).poll(context)) {
                Ok(update) => update,
                Err(error) => return Poll::Ready(Err(WorkflowError::of_outside(&format!("update `{}`", self.name), error))),
            };
            match self.check(update.input()) {
                Ok(input) => {
                    let name = self.name.clone();
                    let output = PhantomData;
                    return Poll::Ready(Ok(Update {
                        input,
                        update,
                        name,
                        output,
                    }));
                }
                Err(reason) => settled(update.answer(Err(Failure::new(FailureKind::Rejected, reason))))?,
            }
            self.next.again();
        }
    }

    /// The input, or why it is refused.
    fn check(&self, input: &[u8]) -> Result<In, String> {
        let decoded = wire::decode_value(input);
        let input = decoded.map_err(|error| format!("the input of update `{}` is not of its type: {error}", self.name))?;
        match &self.validator {
            Some(validator) => validator(&input).map(|()| input),
            None => Ok(input),
        }
    }
}

impl<In: DeserializeOwned, Out> Future for UpdateFuture<In, Out> {
    type Output = Result<Update<In, Out>, WorkflowError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.poll_next(context)
    }
}

impl<In: DeserializeOwned, Out> FusedFuture for UpdateFuture<In, Out> {
    fn is_terminated(&self) -> bool {
        self.next.is_terminated()
    }
}

impl<In, Out> fmt::Debug for UpdateFuture<In, Out> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "update {}", self.name)
    }
}

/// An update that the workflow has taken: somebody waits for its answer. Comes from [`UpdateFuture`].
///
/// It is answered at once and for good, with no `await` between what the workflow does for it and the answer; the answer is durable before
/// the run ends. One that is dropped without an answer has failed, and its caller is told so.
///
/// ```
/// use everstep::prelude::*;
///
/// #[workflow]
/// async fn seat(ctx: WorkflowContext) -> Result<u32, WorkflowError> {
///     loop {
///         let book = ctx.update::<u32, String>("book").await?;
///         let row = *book.input();
///         if row == 13 {
///             book.reject("there is no row 13")?;
///             continue;
///         }
///         book.reply(&format!("row {row} is yours"))?;
///         return Ok(row);
///     }
/// }
/// ```
#[must_use = "somebody waits for the answer: reply, reject or fail"]
pub struct Update<In, Out> {
    input: In,
    update: everstep_core::Update,
    /// For messages.
    name: String,
    output: PhantomData<fn(Out)>,
}

impl<In, Out> Update<In, Out> {
    /// What is asked for.
    ///
    /// ```
    /// # use everstep::prelude::*;
    /// async fn asked_for(ctx: &WorkflowContext) -> Result<u32, WorkflowError> {
    ///     let update = ctx.update::<u32, ()>("book").await?;
    ///     let row = *update.input();
    ///     update.reply(&())?;
    ///     Ok(row)
    /// }
    /// ```
    pub fn input(&self) -> &In {
        &self.input
    }

    /// The caller's key for it.
    ///
    /// ```
    /// # use everstep::prelude::*;
    /// async fn take(ctx: &WorkflowContext) -> Result<String, WorkflowError> {
    ///     let update = ctx.update::<u32, ()>("book").await?;
    ///     let key = update.key();
    ///     update.reply(&())?;
    ///     Ok(key)
    /// }
    /// ```
    pub fn key(&self) -> String {
        self.update.key().map(ToString::to_string).unwrap_or_default()
    }

    /// Refuses it: nothing was done of it, and nothing will be.
    ///
    /// # Errors
    ///
    /// [`WorkflowErrorKind::Invalid`](crate::WorkflowErrorKind::Invalid) if the workflow uses the key of the answer, `answer:` and the
    /// caller's key, for something else.
    ///
    /// ```
    /// # use everstep::prelude::*;
    /// async fn refuse(ctx: &WorkflowContext) -> Result<(), WorkflowError> {
    ///     ctx.update::<u32, ()>("book").await?.reject("we are full")
    /// }
    /// ```
    pub fn reject(self, reason: impl Display) -> Result<(), WorkflowError> {
        settled(
            self.update
                .answer(Err(Failure::new(FailureKind::Rejected, reason.to_string()))),
        )
    }

    /// It did not come to its end, though something of it may be done.
    ///
    /// # Errors
    ///
    /// As for [`reject`](Self::reject).
    ///
    /// ```
    /// # use everstep::prelude::*;
    /// async fn give_up(ctx: &WorkflowContext) -> Result<(), WorkflowError> {
    ///     ctx.update::<u32, ()>("book").await?.fail("the seats are on fire")
    /// }
    /// ```
    pub fn fail(self, error: impl Into<WorkflowError>) -> Result<(), WorkflowError> {
        settled(self.update.answer(Err(error.into().into_failure(FailureKind::Workflow))))
    }
}

impl<In, Out: Serialize> Update<In, Out> {
    /// It is done, and this is the answer.
    ///
    /// # Errors
    ///
    /// [`WorkflowErrorKind::Invalid`](crate::WorkflowErrorKind::Invalid) if the value cannot be encoded or is over 64 MiB: the caller is told
    /// that the update failed. Also as for [`reject`](Self::reject).
    ///
    /// ```
    /// # use everstep::prelude::*;
    /// async fn book(ctx: &WorkflowContext) -> Result<(), WorkflowError> {
    ///     ctx.update::<u32, String>("book").await?.reply(&"yours".to_owned())
    /// }
    /// ```
    pub fn reply(self, value: &Out) -> Result<(), WorkflowError> {
        answer(self.update, &self.name, value)
    }
}

fn answer<Out: Serialize>(update: everstep_core::Update, name: &str, value: &Out) -> Result<(), WorkflowError> {
    let encoded = encode(format_args!("the answer to update `{name}`"), value);
    let refused = encoded.as_ref().err().cloned();
    settled(update.answer(encoded).and(refused.map_or(Ok(()), Err)))
}

fn settled(answered: Result<(), Failure>) -> Result<(), WorkflowError> {
    answered.map_err(|failure| WorkflowError::invalid(failure.message))
}

impl<In: fmt::Debug, Out> fmt::Debug for Update<In, Out> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Update")
            .field("name", &self.name)
            .field("input", &self.input)
            .finish()
    }
}
