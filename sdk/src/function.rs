//! Functions as values: what `#[function]` makes of an `async fn`.
//!
//! Knows nothing of workers beyond the context that they hand in; how a function becomes something a worker can call is in
//! `registration`.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use everstep_common::ids::FunctionName;
use everstep_common::task::StepOptions;
use everstep_worker::{FunctionContext, StepError};
use futures::future::BoxFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// What is known of a function wherever it is named: its name, its types and how it is to be done.
///
/// [`#[function]`](macro@crate::function) implements it for a struct of the function's name.
///
/// ```
/// use everstep::prelude::*;
///
/// /// Lives in another binary: it is declared here to be asked for.
/// #[function(name = "payments.charge", queue = "payments", retries(max_attempts = 3), timeout = "10s")]
/// async fn charge(ctx: FunctionContext, customer: String, cents: u64) -> Result<String, StepError>;
///
/// assert_eq!(charge::NAME, "payments.charge");
/// assert_eq!(charge::declaration().options.retries.max_attempts, 3);
/// let _input: <charge as Function>::Input = ("ada".to_owned(), 1200);
/// ```
pub trait Function: 'static {
    /// What tasks name it by.
    const NAME: &'static str;
    /// Its argument; a tuple if there are several, `()` if there are none.
    type Input: Serialize + DeserializeOwned + Send + 'static;
    /// What it returns if it succeeds.
    type Output: Serialize + DeserializeOwned + Send + 'static;

    /// Its name and options, checked.
    fn declaration() -> &'static FunctionDeclaration;
}

/// A function whose code is in this binary, so that a worker can run it.
///
/// ```
/// use everstep::prelude::*;
/// use everstep::FunctionBody;
///
/// #[function]
/// async fn greet(ctx: FunctionContext, name: String) -> Result<String, StepError> {
///     Ok(format!("Hello, {name}!"))
/// }
/// fn is_here<F: FunctionBody>() {}
/// is_here::<greet>();
/// ```
#[diagnostic::on_unimplemented(
    message = "the code of the function `{Self}` is not in this binary",
    label = "declared without a body",
    note = "give the `#[function]` a body to run it here, or ask for it with `ctx.step(…)`"
)]
pub trait FunctionBody: Function {
    /// Runs it.
    fn call(ctx: FunctionContext, input: Self::Input) -> BoxFuture<'static, Result<Self::Output, StepError>>;
}

/// What a function is called and how it is to be done unless the call says otherwise.
///
/// ```
/// use everstep::prelude::*;
///
/// #[function(at_most_once)]
/// async fn launch(ctx: FunctionContext) -> Result<(), StepError>;
///
/// assert_eq!(launch::declaration().name.as_str(), "launch");
/// assert!(launch::declaration().options.at_most_once);
/// ```
#[derive(Clone, Debug)]
pub struct FunctionDeclaration {
    /// What tasks name it by.
    pub name: FunctionName,
    /// How it is to be done.
    pub options: StepOptions,
}

/// A call of a function as an ordinary `fn`: in place, unrecorded.
///
/// It also ties the `fn` to its [`Function`], which is how `ctx.step(charge, …)` knows what `charge` is.
///
/// ```
/// use everstep::prelude::*;
/// use everstep::FunctionCall;
///
/// #[function]
/// async fn double(ctx: FunctionContext, number: u64) -> Result<u64, StepError> {
///     Ok(2 * number)
/// }
///
/// #[function]
/// async fn quadruple(ctx: FunctionContext, number: u64) -> Result<u64, StepError> {
///     let doubled = double(ctx.clone(), number).await?;
///     double(ctx, doubled).await
/// }
/// ```
#[must_use = "a call does nothing until it is awaited; to have it done by a worker and recorded, use `ctx.step(…)`"]
pub struct FunctionCall<F: Function> {
    /// `None` if the code is in another binary; then the call cannot be awaited either.
    future: Option<BoxFuture<'static, Result<F::Output, StepError>>>,
}

impl<F: FunctionBody> FunctionCall<F> {
    #[doc(hidden)]
    pub fn new(ctx: FunctionContext, input: F::Input) -> Self {
        Self {
            future: Some(F::call(ctx, input)),
        }
    }
}

impl<F: Function> FunctionCall<F> {
    #[doc(hidden)]
    pub fn elsewhere(_: FunctionContext, _: F::Input) -> Self {
        Self { future: None }
    }
}

impl<F: FunctionBody> Future for FunctionCall<F> {
    type Output = Result<F::Output, StepError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let future = self.future.as_mut().expect("a function with a body is called with it");
        future.as_mut().poll(context)
    }
}

impl<F: Function> fmt::Debug for FunctionCall<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "call of {}", F::NAME)
    }
}

/// A value that stands for a function: the `fn` that `#[function]` made. `Marker` is inferred.
///
/// ```
/// use everstep::prelude::*;
/// use everstep::IntoFunction;
///
/// #[function]
/// async fn greet(ctx: FunctionContext, name: String) -> Result<String, StepError>;
///
/// fn name_of<F: IntoFunction<Marker>, Marker>(_: F) -> &'static str {
///     F::Function::NAME
/// }
/// assert_eq!(name_of(greet), "greet");
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a function of Everstep",
    label = "expected the name of an `async fn` that has the attribute `#[function]`",
    note = "write `#[function]` above `async fn …(ctx: FunctionContext, …) -> Result<…, StepError>` and give its name",
    note = "to record the result of a closure or of any other future, use `ctx.run(\"name\", || async {{ … }})`"
)]
pub trait IntoFunction<Marker> {
    /// What it stands for.
    type Function: Function;
}

/// What a `#[function]` returns.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "a function returns `Result<T, StepError>`, not `{Self}`",
    label = "the error type is `StepError`, into which `?` turns every other error",
    note = "say `StepError::fatal(…)` for what no retry can mend; everything else is retried"
)]
pub trait FunctionReturn {
    type Value;
}

impl<T> FunctionReturn for Result<T, StepError> {
    type Value = T;
}

macro_rules! into_function {
    ($($argument:ident)*) => {
        impl<Value, F, $($argument),*> IntoFunction<(F, $($argument,)*)> for Value
        where
            F: Function,
            Value: Fn(FunctionContext, $($argument),*) -> FunctionCall<F>,
        {
            type Function = F;
        }
    };
}

into_function!();
into_function!(A);
into_function!(A B);
into_function!(A B C);
into_function!(A B C D);
into_function!(A B C D E);
into_function!(A B C D E G);
into_function!(A B C D E G H);
into_function!(A B C D E G H I);
