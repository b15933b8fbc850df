//! `select!` that replays.

/// Waits for the first of several futures, in the order in which they are written; the others are dropped, and with it cancelled.
///
/// The syntax is that of `tokio::select!`, whose random start would take another way on replay. A future made inside it in a
/// loop is a new one each round; to go on with the same, make it outside and write `&mut it`.
///
/// ```
/// use everstep::prelude::*;
///
/// #[function]
/// async fn answer(ctx: FunctionContext, question: String) -> Result<String, StepError>;
///
/// #[workflow]
/// async fn ask(ctx: WorkflowContext, question: String) -> Result<String, WorkflowError> {
///     let mut answer = ctx.step(answer, question);
///     for _ in 0..3 {
///         select! {
///             answer = &mut answer => return answer,
///             slept = ctx.sleep(Duration::from_secs(60)) => slept?,
///         }
///         ctx.log("still waiting");
///     }
///     Err(WorkflowError::new("no answer"))
/// }
/// ```
#[macro_export]
macro_rules! select {
    (biased; $($branches:tt)*) => { $crate::__private::tokio::select! { biased; $($branches)* } };
    ($($branches:tt)*) => { $crate::__private::tokio::select! { biased; $($branches)* } };
}
