//! A declaration as it was written, and everything that can be wrong with it: said all at once, each with its cure.
//!
//! Types are judged only as far as they can be read; whether they serialise is for the compiler to say, at the type.

use proc_macro2::{Group, Ident, Span, TokenStream};
use quote::{ToTokens, format_ident};
use syn::parse::{Parse, ParseStream};
use syn::spanned::Spanned as _;
use syn::{
    Attribute, FnArg, GenericArgument, Pat, PatType, PathArguments, PathSegment, ReturnType, Signature, Token, Type, Visibility,
};

use crate::declaration::{Declaration, Input, Words};

/// More arguments than this belong into a struct of their own.
const ARGUMENTS_MAX: usize = 8;

/// A declaration as written.
pub(crate) struct Written {
    attributes: Vec<Attribute>,
    visibility: Visibility,
    signature: Signature,
    body: Option<Group>,
}

impl Written {
    /// Reads `item`, whatever is wrong with it as long as it is an `fn`.
    pub(crate) fn parse(item: TokenStream, words: &Words) -> syn::Result<Self> {
        syn::parse2(item).map_err(|error| {
            let explained = format!("{} stands on an async fn, {} ({error})", words.attribute, example(words));
            syn::Error::new(error.span(), explained)
        })
    }

    /// Finds it right, or says what is not.
    pub(crate) fn check(self, words: &Words) -> syn::Result<Declaration> {
        let mut errors = Errors::default();
        self.check_qualifiers(words, &mut errors);
        self.check_generics(words, &mut errors);
        let context = self.context(words, &mut errors);
        let inputs = self.inputs(words, &mut errors);
        let output = self.output(words, &mut errors);
        errors.into_result()?;
        let (documentation, rest) = self
            .attributes
            .into_iter()
            .partition(|attribute| is(attribute, &["doc", "deprecated"]));
        let (conditions, attributes) = Vec::into_iter(rest).partition(|attribute| is(attribute, &["cfg"]));
        let (Some(context), Some(output)) = (context, output) else {
            unreachable!("each absence is an error of its own")
        };
        Ok(Declaration {
            documentation,
            conditions,
            attributes,
            visibility: self.visibility,
            signature: self.signature,
            context,
            inputs,
            output,
            body: self.body,
        })
    }

    fn check_qualifiers(&self, words: &Words, errors: &mut Errors) {
        let signature = &self.signature;
        if signature.asyncness.is_none() {
            errors.add(
                signature.fn_token.span(),
                format!("{} is async; write `async fn {}`", words.noun, signature.ident),
            );
        }
        if let Some(constness) = &signature.constness {
            errors.add(constness.span(), format!("{} is not const; remove `const`", words.noun));
        }
        if let Some(abi) = &signature.abi {
            errors.add(abi.span(), format!("{} has no foreign ABI; remove `extern`", words.noun));
        }
        if !matches!(signature.safety, syn::Safety::Default) {
            errors.add(
                signature.fn_token.span(),
                format!("{} is safe to call; remove `unsafe`", words.noun),
            );
        }
    }

    fn check_generics(&self, words: &Words, errors: &mut Errors) {
        let generics = &self.signature.generics;
        if generics.params.is_empty() && generics.where_clause.is_none() {
            return;
        }
        let span = if generics.params.is_empty() {
            generics.where_clause.span()
        } else {
            generics.params.span()
        };
        errors.add(
            span,
            format!(
                "{} has no generics: it is found by its name, from another process; write one {} per type, sharing a generic helper",
                words.noun,
                bare(words.noun)
            ),
        );
    }

    fn context(&self, words: &Words, errors: &mut Errors) -> Option<Type> {
        let cure = format!("the first argument is the context: `ctx: {}`", words.context);
        let Some(first) = self.signature.inputs.first() else {
            errors.add(self.signature.paren_token.span.join(), cure);
            return None;
        };
        match first {
            FnArg::Receiver(receiver) => {
                errors.add(receiver.span(), format!("{} takes no `self`; {}", words.noun, words.shared));
                None
            }
            FnArg::Typed(PatType { ty, .. }) if last_segment(ty).is_some_and(|segment| segment.ident == words.context) => {
                Some(ty.as_ref().clone())
            }
            FnArg::Typed(PatType { ty, .. }) => {
                errors.add(ty.span(), cure);
                None
            }
        }
    }

    fn inputs(&self, words: &Words, errors: &mut Errors) -> Vec<Input> {
        if self.signature.inputs.len() > ARGUMENTS_MAX + 1 {
            errors.add(
                self.signature.inputs.span(),
                format!(
                    "{} takes at most {ARGUMENTS_MAX} arguments after the context; put them into a struct",
                    words.noun
                ),
            );
        }
        let typed = self.signature.inputs.iter().skip(1).filter_map(|argument| match argument {
            FnArg::Typed(typed) => Some(typed),
            _ => None,
        });
        let mut inputs = Vec::new();
        for (position, PatType { pat, ty, .. }) in typed.enumerate() {
            check_owned(ty, "an argument", words, errors);
            inputs.push(Input {
                name: argument_name(pat, position),
                ty: ty.as_ref().clone(),
            });
        }
        inputs
    }

    fn output(&self, words: &Words, errors: &mut Errors) -> Option<Type> {
        let ReturnType::Type(_, ty) = &self.signature.output else {
            errors.add(
                self.signature.ident.span(),
                format!(
                    "{} returns `Result<T, {}>`; write `-> Result<(), {}>` if there is no value",
                    words.noun, words.error, words.error
                ),
            );
            return None;
        };
        if !is_result(ty, words.error) {
            errors.add(
                ty.span(),
                format!("{} returns `Result<T, {}>`; {}", words.noun, words.error, words.errors),
            );
            return None;
        }
        check_owned(ty, "the value returned", words, errors);
        Some(ty.as_ref().clone())
    }
}

impl Parse for Written {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let attributes = input.call(Attribute::parse_outer)?;
        let visibility = input.parse()?;
        let signature = input.parse()?;
        let body = if input.peek(Token![;]) {
            input.parse::<Token![;]>()?;
            None
        } else {
            Some(input.parse()?)
        };
        Ok(Self {
            attributes,
            visibility,
            signature,
            body,
        })
    }
}

/// Collects what is wrong, to say it all at once.
#[derive(Default)]
struct Errors(Option<syn::Error>);

impl Errors {
    fn add(&mut self, span: Span, message: String) {
        let error = syn::Error::new(span, message);
        match &mut self.0 {
            Some(errors) => errors.combine(error),
            None => self.0 = Some(error),
        }
    }

    fn into_result(self) -> syn::Result<()> {
        self.0.map_or(Ok(()), Err)
    }
}

/// Refuses what cannot be stored and read again in another process: borrows and unnamed types.
fn check_owned(ty: &Type, what: &str, words: &Words, errors: &mut Errors) {
    if let Some(span) = find(ty, "&") {
        errors.add(span, format!("{what} is stored and read by another process, so it cannot be a reference; take an owned value (`String` for `&str`, `Vec<T>` for `&[T]`); {}", words.shared));
    }
    if let Some(span) = find(ty, "impl") {
        errors.add(
            span,
            format!("{what} is stored and read by another process, so its type has a name; `impl Trait` has none"),
        );
    }
}

/// Where a reference or the word `impl` stands within a type.
fn find(ty: &Type, wanted: &str) -> Option<Span> {
    find_token(ty.to_token_stream(), wanted)
}

fn find_token(tokens: TokenStream, wanted: &str) -> Option<Span> {
    tokens.into_iter().find_map(|token| match token {
        proc_macro2::TokenTree::Group(group) => find_token(group.stream(), wanted),
        other => (other.to_string() == wanted).then(|| other.span()),
    })
}

fn argument_name(pattern: &Pat, position: usize) -> Ident {
    match pattern {
        Pat::Ident(named) => named.ident.clone(),
        _ => format_ident!("argument_{position}"),
    }
}

/// Whether `ty` reads as a result with that error. One that names no error is an alias, for the compiler to judge.
fn is_result(ty: &Type, error: &str) -> bool {
    let Some(segment) = last_segment(ty).filter(|segment| segment.ident.to_string().ends_with("Result")) else {
        return false;
    };
    let PathArguments::AngleBracketed(arguments) = &segment.arguments else {
        return true;
    };
    match arguments.args.get(1) {
        Some(GenericArgument::Type(named)) => last_segment(named).is_some_and(|segment| segment.ident == error),
        _ => true,
    }
}

fn last_segment(ty: &Type) -> Option<&PathSegment> {
    match ty {
        Type::Path(path) => path.path.segments.last(),
        Type::Group(group) => last_segment(&group.elem),
        Type::Paren(paren) => last_segment(&paren.elem),
        _ => None,
    }
}

fn is(attribute: &Attribute, names: &[&str]) -> bool {
    names.iter().any(|name| attribute.path().is_ident(name))
}

fn bare(noun: &str) -> &str {
    noun.split_once(' ').map_or(noun, |(_, bare)| bare)
}

fn example(words: &Words) -> String {
    format!(
        "`async fn name(ctx: {}, input: Input) -> Result<Output, {}>`",
        words.context, words.error
    )
}
