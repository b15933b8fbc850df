//! Branches with names, from a map or from the fields of a struct.

use std::collections::HashSet;

use everstep_common::limits::NAME_CHARS_MAX;

use crate::combine::{Branches, Combined};
use crate::context::WorkflowContext;
use crate::error::WorkflowError;

/// Runs named branches at once and yields their values by name: as the struct that is named, or as one made for the purpose.
///
/// It is [`ctx.gather`](WorkflowContext::gather) for values of different types, up to twelve: a failed branch cancels the others, awaits
/// them, and is returned. The names are in the journal's keys: `gather/revenue/fetch_revenue`.
///
/// ```
/// use everstep::prelude::*;
/// use serde::{Deserialize, Serialize};
///
/// #[function]
/// async fn fetch_revenue(ctx: FunctionContext) -> Result<u64, StepError>;
///
/// #[function]
/// async fn fetch_users(ctx: FunctionContext) -> Result<Vec<String>, StepError>;
///
/// #[derive(Serialize, Deserialize)]
/// struct Dashboard {
///     revenue: u64,
///     users: Vec<String>,
/// }
///
/// #[workflow]
/// async fn dashboard(ctx: WorkflowContext) -> Result<Dashboard, WorkflowError> {
///     gather!(ctx, Dashboard {
///         revenue: ctx.step(fetch_revenue, ()),
///         users: ctx.step(fetch_users, ()),
///     })
///     .await
/// }
///
/// #[workflow]
/// async fn revenue_per_user(ctx: WorkflowContext) -> Result<u64, WorkflowError> {
///     let data = gather!(ctx, { revenue: ctx.step(fetch_revenue, ()), users: ctx.step(fetch_users, ()) }).await?;
///     Ok(data.revenue / data.users.len() as u64)
/// }
/// ```
#[macro_export]
macro_rules! gather {
    ($ctx:expr, { $($field:ident: $future:expr),+ $(,)? }) => {{
        #[allow(non_camel_case_types, reason = "each field has a type of its own, called like the field")]
        #[derive(Clone, Debug)]
        struct Gathered<$($field),+> {
            $($field: $field),+
        }
        $crate::gather!($ctx, Gathered { $($field: $future),+ })
    }};
    ($ctx:expr, $($name:ident)::+ { $($field:ident: $future:expr),+ $(,)? }) => {
        $crate::__private::gather(
            &$ctx,
            &[$(stringify!($field)),+],
            ($($future,)+),
            |($($field,)+)| $($name)::+ { $($field),+ },
        )
    };
}

/// The same as [`gather!`](crate::gather!), and yields how each branch ended: a failure cancels nothing.
///
/// ```
/// use everstep::prelude::*;
///
/// #[function]
/// async fn fetch_revenue(ctx: FunctionContext) -> Result<u64, StepError>;
///
/// #[function]
/// async fn fetch_motto(ctx: FunctionContext) -> Result<String, StepError>;
///
/// #[workflow]
/// async fn banner(ctx: WorkflowContext) -> Result<String, WorkflowError> {
///     let data = gather_settled!(ctx, {
///         revenue: ctx.step(fetch_revenue, ()),
///         motto: ctx.step(fetch_motto, ()),
///     })
///     .await?;
///     let motto = data.motto.unwrap_or_else(|_| "onwards".to_owned());
///     Ok(format!("{motto}: {}", data.revenue?))
/// }
/// ```
#[macro_export]
macro_rules! gather_settled {
    ($ctx:expr, $($name:ident)::* { $($field:ident: $future:expr),+ $(,)? }) => {
        $crate::gather!($ctx, $($name)::* { $($field: $crate::__private::settled($future)),+ })
    };
}

/// How a branch of `gather_settled!` ended, which is no failure of the block.
pub async fn settled<T>(branch: impl Future<Output = Result<T, WorkflowError>>) -> Result<Result<T, WorkflowError>, WorkflowError> {
    Ok(branch.await)
}

/// What `gather!` expands to.
pub fn gather<'a, B, T>(
    ctx: &WorkflowContext,
    names: &[&str],
    branches: B,
    into: impl FnOnce(B::Values) -> T + 'a,
) -> Combined<'a, Result<T, WorkflowError>>
where
    B: Branches<'a>,
    T: 'a,
{
    let (block, names) = (ctx.core().block("gather"), names.iter().map(ToString::to_string).collect());
    let begun = branches.begin();
    Combined::new(async move {
        let outcomes = begun.join(block, names, true).await?;
        B::values(outcomes).map(into)
    })
}

/// Why these cannot be the names of branches of one block.
pub(super) fn check_labels<'a>(what: &str, labels: impl IntoIterator<Item = &'a String>) -> Result<(), WorkflowError> {
    let mut seen = HashSet::new();
    for label in labels {
        let characters = label.chars().count();
        if characters == 0 || characters > NAME_CHARS_MAX {
            let message = format!("{what} has 1 to {NAME_CHARS_MAX} characters, and {label:?} has {characters}");
            return Err(WorkflowError::invalid(message));
        }
        if !seen.insert(label) {
            return Err(WorkflowError::invalid(format!(
                "{what} is there once, and {label:?} is there twice"
            )));
        }
    }
    Ok(())
}
