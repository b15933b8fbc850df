//! What `on(…)` says of the runs themselves: `limit_key`, `session`, `priority`, `deadline` and `tags(…)`.

use std::collections::BTreeMap;
use std::time::Duration;

use everstep_common::trigger::path::Path;
use everstep_common::trigger::{RunTerms, TermText};
use proc_macro2::TokenStream;
use quote::quote;
use syn::meta::ParseNestedMeta;
use syn::punctuated::Punctuated;
use syn::{Lit, LitStr, Token};

use crate::arguments::{duration_value, literal, once, text, word};
use crate::duration;
use crate::triggers::option;

/// The terms as they were written.
#[derive(Default)]
pub(crate) struct WrittenTerms {
    limit_key: Option<TermText>,
    session: Option<TermText>,
    priority: Option<i8>,
    deadline: Option<Duration>,
    tags: Option<BTreeMap<String, String>>,
}

/// What a limit key or session is written as.
#[derive(Clone, Copy)]
pub(crate) enum Texts {
    /// The path to it, for there is an event.
    Paths,
    /// Itself.
    Fixed,
}

impl WrittenTerms {
    /// Reads one of them; `None` if the word is another.
    pub(crate) fn take(&mut self, meta: &ParseNestedMeta<'_>, texts: Texts) -> Option<syn::Result<()>> {
        Some(match word(meta).as_str() {
            "limit_key" => once(&mut self.limit_key, meta, |meta| texts.read(meta, "\"customer\"")),
            "session" => once(&mut self.session, meta, |meta| texts.read(meta, "\"visitor\"")),
            "priority" => once(&mut self.priority, meta, priority),
            "deadline" => once(&mut self.deadline, meta, duration_value),
            "tags" => once(&mut self.tags, meta, tags),
            _ => return None,
        })
    }

    /// What they are for each run.
    pub(crate) fn terms(self) -> RunTerms {
        RunTerms {
            limit_key: self.limit_key,
            session: self.session,
            priority: self.priority.unwrap_or_default(),
            deadline: self.deadline,
            tags: self.tags.unwrap_or_default(),
        }
    }
}

impl Texts {
    fn read(self, meta: &ParseNestedMeta<'_>, example: &str) -> syn::Result<TermText> {
        let text = text(meta, example)?;
        match self {
            Self::Fixed => Ok(TermText::Fixed(text.value())),
            Self::Paths => {
                Path::parse(&text.value()).map_err(|reason| syn::Error::new(text.span(), reason))?;
                Ok(TermText::Path(text.value()))
            }
        }
    }
}

fn priority(meta: &ParseNestedMeta<'_>) -> syn::Result<i8> {
    let literal = literal(meta, "3")?;
    let number = match &literal {
        Lit::Int(number) => number.base10_parse().ok(),
        _ => None,
    };
    number.ok_or_else(|| syn::Error::new(literal.span(), "a priority is a whole number from -128 to 127"))
}

fn tags(meta: &ParseNestedMeta<'_>) -> syn::Result<BTreeMap<String, String>> {
    let usage = "write `tags(\"tenant=acme\", \"country=de\")`";
    if !meta.input.peek(syn::token::Paren) {
        return Err(meta.error(usage));
    }
    let content;
    syn::parenthesized!(content in meta.input);
    let written =
        Punctuated::<LitStr, Token![,]>::parse_terminated(&content).map_err(|error| syn::Error::new(error.span(), usage))?;
    if written.is_empty() {
        return Err(meta.error(usage));
    }
    let mut tags = BTreeMap::new();
    for tag in written {
        let text = tag.value();
        let (name, value) = text.split_once('=').ok_or_else(|| syn::Error::new(tag.span(), usage))?;
        if tags.insert(name.to_owned(), value.to_owned()).is_some() {
            return Err(syn::Error::new(tag.span(), format!("the tag `{name}` is given twice")));
        }
    }
    Ok(tags)
}

/// The expression that makes the terms where the macro is used.
pub(crate) fn expression(terms: &RunTerms) -> TokenStream {
    if *terms == RunTerms::default() {
        return quote!(::everstep::trigger::RunTerms::default());
    }
    let text = |text: &Option<TermText>| {
        option(text.as_ref().map(|text| match text {
            TermText::Path(path) => quote!(::everstep::trigger::TermText::Path(::std::string::String::from(#path))),
            TermText::Fixed(text) => quote!(::everstep::trigger::TermText::Fixed(::std::string::String::from(#text))),
        }))
    };
    let (limit_key, session) = (text(&terms.limit_key), text(&terms.session));
    let (priority, deadline) = (terms.priority, option(terms.deadline.map(duration::expression)));
    let tags = terms
        .tags
        .iter()
        .map(|(name, value)| quote!((::std::string::String::from(#name), ::std::string::String::from(#value))));
    quote! {
        ::everstep::trigger::RunTerms {
            limit_key: #limit_key,
            session: #session,
            priority: #priority,
            deadline: #deadline,
            tags: ::std::iter::FromIterator::from_iter(::std::vec![#(#tags),*]),
        }
    }
}
