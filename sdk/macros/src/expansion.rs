//! What both attributes expand to, given a declaration and the facts that the engine must know about it.

use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::Ident;
use syn::spanned::Spanned as _;

use crate::declaration::{Declaration, Words};

/// One expansion under way.
struct Expansion<'a> {
    declaration: &'a Declaration,
    words: &'a Words,
    /// The name of the struct, the function and the code.
    name: &'a Ident,
    /// The context and the input inside the expansion: names that no argument of the user's can take.
    ctx: Ident,
    input: Ident,
}

/// The struct, its trait with `facts` in it, its code (if it has any) and the function that calls it.
pub(crate) fn expand(declaration: &Declaration, words: &Words, facts: TokenStream) -> TokenStream {
    let name = &declaration.signature.ident;
    let (ctx, input) = (Ident::new("ctx", Span::mixed_site()), Ident::new("input", Span::mixed_site()));
    let expansion = Expansion {
        declaration,
        words,
        name,
        ctx,
        input,
    };
    let items = [
        expansion.structure(),
        expansion.implementation(facts),
        expansion.body(),
        expansion.call(),
    ];
    items.into_iter().collect()
}

impl Expansion<'_> {
    fn structure(&self) -> TokenStream {
        let Declaration {
            documentation,
            conditions,
            visibility,
            ..
        } = self.declaration;
        // The expansion itself names the struct, so only the function is marked as deprecated.
        let documentation = documentation.iter().filter(|attribute| attribute.path().is_ident("doc"));
        let name = self.name;
        quote! {
            #(#documentation)*
            #(#conditions)*
            #[allow(non_camel_case_types, missing_docs)]
            #visibility struct #name {}
        }
    }

    fn implementation(&self, facts: TokenStream) -> TokenStream {
        let conditions = &self.declaration.conditions;
        let (name, subject) = (self.name, self.item(""));
        // The spans make a type that does not serialise an error at that type.
        let input = self.declaration.input_type();
        let input = quote_spanned!(input.span()=> type Input = #input;);
        let (output, returned) = (&self.declaration.output, self.item("Return"));
        let output = quote_spanned!(output.span()=> type Output = <#output as ::everstep::__private::#returned>::Value;);
        quote! {
            #(#conditions)*
            impl ::everstep::#subject for #name {
                #input
                #output
                #facts
            }
        }
    }

    /// The code is an associated function, so that the name means the item to the code too, as in a call of itself.
    fn body(&self) -> TokenStream {
        let Some(code) = self.declaration.code() else {
            return TokenStream::new();
        };
        let conditions = &self.declaration.conditions;
        let (name, ctx, input) = (self.name, &self.ctx, &self.input);
        let (value, names) = (self.declaration.input_value(), self.declaration.input_names());
        let (subject, body, context) = (self.item(""), self.item("Body"), self.item("Context"));
        let (error, future) = (format_ident!("{}", self.words.error), format_ident!("{}", self.words.future));
        quote! {
            #(#conditions)*
            impl #name {
                #code
            }

            #(#conditions)*
            impl ::everstep::#body for #name {
                fn call(
                    #ctx: ::everstep::#context,
                    #input: <Self as ::everstep::#subject>::Input,
                ) -> ::everstep::__private::#future<'static, ::core::result::Result<<Self as ::everstep::#subject>::Output, ::everstep::#error>> {
                    let #value = #input;
                    ::std::boxed::Box::pin(Self::#name(#ctx, #(#names),*))
                }
            }
        }
    }

    fn call(&self) -> TokenStream {
        let Declaration {
            documentation,
            conditions,
            visibility,
            context,
            ..
        } = self.declaration;
        let (name, ctx, call) = (self.name, &self.ctx, self.item("Call"));
        let (value, names) = (self.declaration.input_value(), self.declaration.input_names());
        let types = self.declaration.inputs.iter().map(|input| &input.ty);
        let made = if self.declaration.body.is_some() {
            format_ident!("new")
        } else {
            format_ident!("elsewhere")
        };
        quote! {
            #(#documentation)*
            #(#conditions)*
            #visibility fn #name(#ctx: #context, #(#names: #types),*) -> ::everstep::#call<#name> {
                ::everstep::#call::#made(#ctx, #value)
            }
        }
    }

    /// `FunctionBody` or `WorkflowBody` for `Body`, and so on.
    fn item(&self, suffix: &str) -> Ident {
        format_ident!("{}{suffix}", self.words.subject)
    }
}
