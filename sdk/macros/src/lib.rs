//! The attribute macros of Everstep: `#[function]` and `#[workflow]`.
//!
//! Both turn an `async fn` into a *braced struct* of the same name, which carries what the engine must know (name, options,
//! input and output type), and an ordinary `fn` of that name, which ties calls to the struct. The struct lives among types and
//! the function among values, so neither shadows the other and `let charge = …` stays legal.
//!
//! Its expansions name no crate but `everstep`. What it checks itself (triggers) it checks by the rules of `everstep-common`.
//! Start with `declaration.rs` (what both accept), then `expansion.rs` (what both become).

mod arguments;
mod declaration;
mod duration;
mod expansion;
mod forbidden;
mod function;
mod limit;
mod retries;
mod terms;
mod triggers;
mod workflow;
mod written;

use proc_macro::TokenStream;

/// Makes an `async fn` a function that workers run as a step. Documented where it is used: `everstep::function`.
#[proc_macro_attribute]
pub fn function(arguments: TokenStream, item: TokenStream) -> TokenStream {
    function::expand(arguments.into(), item.into())
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}

/// Makes an `async fn` a workflow. Documented where it is used: `everstep::workflow`.
#[proc_macro_attribute]
pub fn workflow(arguments: TokenStream, item: TokenStream) -> TokenStream {
    workflow::expand(arguments.into(), item.into())
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}
