//! What may run at once: tuples of up to twelve futures, each with a type of its own, and vectors.

use std::cell::Cell;
use std::rc::Rc;

use everstep_common::limits::STEPS_IN_FLIGHT_MAX;
use everstep_core::{Block, Collected};
use futures::FutureExt;
use futures::future::LocalBoxFuture;

use crate::error::{WorkflowError, WorkflowErrorKind};

type Outcome<T> = Result<T, WorkflowError>;

/// Futures that `ctx.parallel` runs at once: a tuple of up to twelve, or a `Vec`. Each yields a `Result<_, WorkflowError>`.
///
/// ```
/// use everstep::{Branches, prelude::*};
///
/// /// Whatever it is given, and how long that took.
/// async fn timed<'a, B: Branches<'a>>(ctx: &WorkflowContext, branches: B) -> Result<(B::Values, Duration), WorkflowError> {
///     let began = ctx.now();
///     let values = ctx.parallel(branches).await?;
///     Ok((values, ctx.now().duration_since(began).unsigned_abs()))
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is nothing that can run in parallel",
    label = "expected a tuple of up to 12 futures, or a `Vec` of futures",
    note = "each yields a `Result<_, WorkflowError>`, as what `ctx` gives out and `async {{ … }}` blocks with `?` do"
)]
pub trait Branches<'a>: 'a {
    /// What they bring: a tuple, or a `Vec`, in the same order.
    type Values: 'a;
    /// How they end, in the same order.
    type Outcomes: 'a;

    #[doc(hidden)]
    fn begin(self) -> Begun<'a, Self::Outcomes>;

    #[doc(hidden)]
    fn values(outcomes: Self::Outcomes) -> Result<Self::Values, WorkflowError>;
}

/// Branches whose types are forgotten, and where what they bring is found afterwards.
#[doc(hidden)]
pub struct Begun<'a, O> {
    branches: Vec<LocalBoxFuture<'a, Outcome<()>>>,
    outcomes: Box<dyn FnOnce() -> O + 'a>,
}

/// What a branch brought, until it is fetched.
type Slot<T> = Rc<Cell<Option<Outcome<T>>>>;

/// A branch that leaves its outcome in the slot, and says whether it failed.
fn into_slot<'a, T: 'a>(future: impl Future<Output = Outcome<T>> + 'a) -> (LocalBoxFuture<'a, Outcome<()>>, Slot<T>) {
    let slot = Slot::default();
    let filled = slot.clone();
    let branch = future.map(move |outcome| {
        let told = outcome.as_ref().map(drop).map_err(Clone::clone);
        filled.set(Some(outcome));
        told
    });
    (branch.boxed_local(), slot)
}

/// What is in the slot. A branch that never began was cancelled before.
fn fetch<T>(slot: Slot<T>) -> Outcome<T> {
    slot.take().unwrap_or_else(|| Err(WorkflowErrorKind::Cancelled.into()))
}

impl<'a, T, F> Branches<'a> for Vec<F>
where
    T: 'a,
    F: Future<Output = Outcome<T>> + 'a,
{
    type Values = Vec<T>;
    type Outcomes = Vec<Outcome<T>>;

    fn begin(self) -> Begun<'a, Self::Outcomes> {
        let (branches, slots): (_, Vec<_>) = self.into_iter().map(into_slot).unzip();
        Begun {
            branches,
            outcomes: Box::new(|| slots.into_iter().map(fetch).collect()),
        }
    }

    fn values(outcomes: Self::Outcomes) -> Result<Self::Values, WorkflowError> {
        outcomes.into_iter().collect()
    }
}

macro_rules! tuple {
    ($($value:ident $branch:ident $slot:ident),+) => {
        #[allow(non_snake_case, reason = "types and variables of one name keep the macro short")]
        impl<'a, $($value: 'a, $branch),+> Branches<'a> for ($($branch,)+)
        where
            $($branch: Future<Output = Outcome<$value>> + 'a),+
        {
            type Values = ($($value,)+);
            type Outcomes = ($(Outcome<$value>,)+);

            fn begin(self) -> Begun<'a, Self::Outcomes> {
                let ($($branch,)+) = self;
                $(let ($branch, $slot) = into_slot($branch);)+
                Begun {
                    branches: vec![$($branch),+],
                    outcomes: Box::new(move || ($(fetch($slot),)+)),
                }
            }

            fn values(($($value,)+): Self::Outcomes) -> Result<Self::Values, WorkflowError> {
                Ok(($($value?,)+))
            }
        }

        impl<'a, T: 'a, $($branch),+> Racers<'a> for ($($branch,)+)
        where
            $($branch: Future<Output = Outcome<T>> + 'a),+
        {
            type Value = T;

            #[allow(non_snake_case, reason = "as above")]
            fn line_up(self) -> Vec<LocalBoxFuture<'a, Outcome<T>>> {
                let ($($branch,)+) = self;
                vec![$($branch.boxed_local()),+]
            }
        }
    };
}

tuple!(A FutureA slot_a);
tuple!(A FutureA slot_a, B FutureB slot_b);
tuple!(A FutureA slot_a, B FutureB slot_b, C FutureC slot_c);
tuple!(A FutureA slot_a, B FutureB slot_b, C FutureC slot_c, D FutureD slot_d);
tuple!(A FutureA slot_a, B FutureB slot_b, C FutureC slot_c, D FutureD slot_d, E FutureE slot_e);
tuple!(A FutureA slot_a, B FutureB slot_b, C FutureC slot_c, D FutureD slot_d, E FutureE slot_e, F FutureF slot_f);
tuple!(A FutureA slot_a, B FutureB slot_b, C FutureC slot_c, D FutureD slot_d, E FutureE slot_e, F FutureF slot_f, G FutureG slot_g);
tuple!(A FutureA slot_a, B FutureB slot_b, C FutureC slot_c, D FutureD slot_d, E FutureE slot_e, F FutureF slot_f, G FutureG slot_g, H FutureH slot_h);
tuple!(A FutureA slot_a, B FutureB slot_b, C FutureC slot_c, D FutureD slot_d, E FutureE slot_e, F FutureF slot_f, G FutureG slot_g, H FutureH slot_h, I FutureI slot_i);
tuple!(A FutureA slot_a, B FutureB slot_b, C FutureC slot_c, D FutureD slot_d, E FutureE slot_e, F FutureF slot_f, G FutureG slot_g, H FutureH slot_h, I FutureI slot_i, J FutureJ slot_j);
tuple!(A FutureA slot_a, B FutureB slot_b, C FutureC slot_c, D FutureD slot_d, E FutureE slot_e, F FutureF slot_f, G FutureG slot_g, H FutureH slot_h, I FutureI slot_i, J FutureJ slot_j, K FutureK slot_k);
tuple!(A FutureA slot_a, B FutureB slot_b, C FutureC slot_c, D FutureD slot_d, E FutureE slot_e, F FutureF slot_f, G FutureG slot_g, H FutureH slot_h, I FutureI slot_i, J FutureJ slot_j, K FutureK slot_k, L FutureL slot_l);

/// Futures of which `ctx.race` takes the first outcome: a tuple of up to twelve, or a `Vec`. All yield the same `Result<T, WorkflowError>`.
///
/// ```
/// use everstep::{Racers, prelude::*};
///
/// /// The first outcome, if it comes today.
/// async fn first_today<'a, R: Racers<'a>>(ctx: &WorkflowContext, racers: R) -> Result<R::Value, WorkflowError> {
///     ctx.timeout(Duration::from_secs(24 * 60 * 60), ctx.race(racers)).await
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is nothing that can race",
    label = "expected a tuple of up to 12 futures, or a `Vec` of futures, that all yield the same `Result<T, WorkflowError>`",
    note = "make different values the same with an `async {{ … }}` block, for instance as the variants of an enum"
)]
pub trait Racers<'a>: 'a {
    /// What each of them would bring.
    type Value: 'a;

    #[doc(hidden)]
    fn line_up(self) -> Vec<LocalBoxFuture<'a, Outcome<Self::Value>>>;
}

impl<'a, T, F> Racers<'a> for Vec<F>
where
    T: 'a,
    F: Future<Output = Outcome<T>> + 'a,
{
    type Value = T;

    fn line_up(self) -> Vec<LocalBoxFuture<'a, Outcome<T>>> {
        self.into_iter().map(|racer| racer.boxed_local()).collect()
    }
}

/// Labels of branches that have no names: their places.
pub(super) fn places(count: usize) -> Vec<String> {
    (0..count).map(|place| place.to_string()).collect()
}

impl<'a, O: 'a> Begun<'a, O> {
    pub(super) fn count(&self) -> usize {
        self.branches.len()
    }

    /// The first failure, or how all ended. With `stop` the first failure cancels the others.
    pub(super) async fn join(self, block: Block, labels: Vec<String>, stop: bool) -> Result<O, WorkflowError> {
        let branches = labels.into_iter().zip(self.branches);
        let fan = block.fan(branches.map(|(label, branch)| (label, move || branch)));
        let tolerated = if stop { 0 } else { usize::MAX };
        let joined: Collected<(), WorkflowError> = fan.window(STEPS_IN_FLIGHT_MAX).collect_outcomes(tolerated).await;
        match first_failure(joined) {
            Some(error) if stop => Err(error),
            _ => Ok((self.outcomes)()),
        }
    }
}

/// What the first branch to fail failed with.
fn first_failure<T, E>(mut collected: Collected<T, E>) -> Option<E> {
    let first = collected.first_failed?;
    collected.outcomes.swap_remove(first)?.err()
}
