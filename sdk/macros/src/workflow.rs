//! `#[workflow]`: its words and what the engine must know about a workflow.

use proc_macro2::TokenStream;
use quote::quote;

use crate::arguments::WorkflowArguments;
use crate::declaration::{Declaration, Words};
use crate::{expansion, forbidden, triggers};

const WORDS: Words = Words {
    attribute: "#[workflow]",
    noun: "a workflow",
    subject: "Workflow",
    context: "WorkflowContext",
    error: "WorkflowError",
    errors: "`?` turns every other error into one",
    future: "LocalBoxFuture",
    shared: "what it needs is in its input or comes from a step",
};

pub(crate) fn expand(arguments: TokenStream, item: TokenStream) -> syn::Result<TokenStream> {
    let arguments = WorkflowArguments::parse(arguments)?;
    let declaration = Declaration::parse(item, &WORDS)?;
    triggers::check(&arguments.triggers, declaration.inputs.len())?;
    match &declaration.body {
        Some(body) => forbidden::check(body.stream())?,
        None => arguments.check_elsewhere()?,
    }
    Ok(expansion::expand(&declaration, &WORDS, facts(&declaration, &arguments)))
}

fn facts(declaration: &Declaration, arguments: &WorkflowArguments) -> TokenStream {
    let name = arguments.name.as_ref().map_or_else(|| declaration.name(), syn::LitStr::value);
    let version = arguments.version.unwrap_or(1);
    let rolls_back = arguments.on_failure.is_some();
    let triggers = triggers::listed(&arguments.triggers, declaration.inputs.is_empty());
    let flow = arguments.flow();
    quote! {
        const NAME: &'static str = #name;
        const VERSION: u32 = #version;
        const ROLLS_BACK: bool = #rolls_back;
        #triggers
        #flow
    }
}
