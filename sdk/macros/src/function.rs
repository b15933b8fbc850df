//! `#[function]`: its words and what the engine must know about a function.

use proc_macro2::TokenStream;
use quote::quote;

use crate::arguments::FunctionArguments;
use crate::declaration::{Declaration, Words};
use crate::expansion;

const WORDS: Words = Words {
    attribute: "#[function]",
    noun: "a function",
    subject: "Function",
    context: "FunctionContext",
    error: "StepError",
    errors: "`?` turns every other error into one that is retried, `StepError::fatal(…)` says that no retry can mend it",
    future: "BoxFuture",
    shared: "shared things come from `App::resource(…)` and `ctx.resource::<T>()`",
};

pub(crate) fn expand(arguments: TokenStream, item: TokenStream) -> syn::Result<TokenStream> {
    let arguments = FunctionArguments::parse(arguments)?;
    let declaration = Declaration::parse(item, &WORDS)?;
    if declaration.body.is_none() {
        arguments.check_elsewhere()?;
    }
    Ok(expansion::expand(&declaration, &WORDS, facts(&declaration, &arguments)))
}

fn facts(declaration: &Declaration, arguments: &FunctionArguments) -> TokenStream {
    let name = arguments.name.as_ref().map_or_else(|| declaration.name(), syn::LitStr::value);
    let options = arguments.options();
    quote! {
        const NAME: &'static str = #name;

        fn declaration() -> &'static ::everstep::FunctionDeclaration {
            static DECLARATION: ::std::sync::LazyLock<::everstep::FunctionDeclaration> =
                ::std::sync::LazyLock::new(|| ::everstep::__private::declare(#name, #options));
            &DECLARATION
        }
    }
}
