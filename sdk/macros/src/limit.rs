//! `limit(…)` of `#[function]` and `#[workflow]`: how many at a time and how fast, in all and of one key.

use everstep_common::flow::Rate;
use everstep_common::limits::LIMIT_SLOTS_MAX;
use proc_macro2::{Span, TokenStream};
use quote::quote;
use syn::meta::ParseNestedMeta;
use syn::spanned::Spanned as _;

use crate::arguments::{in_parentheses, once, positive, text, unknown, word};
use crate::duration;

const LIMIT_KNOWS: &str = "`concurrency`, `per_key`, `rate`, `per_key_rate` and, of functions, `worker_rate`";

/// The arguments of `limit(…)`.
#[derive(Default)]
pub(crate) struct Limit {
    concurrency: Option<u32>,
    per_key: Option<(u32, Span)>,
    rate: Option<Rate>,
    per_key_rate: Option<Rate>,
    worker_rate: Option<(Rate, Span)>,
}

impl Limit {
    pub(crate) fn parse(meta: &ParseNestedMeta<'_>) -> syn::Result<Self> {
        let mut limit = Self::default();
        in_parentheses(meta, &format!("write `limit(concurrency = 10, …)`; it knows {LIMIT_KNOWS}"))?;
        meta.parse_nested_meta(|meta| limit.take(&meta))?;
        limit.check_places()?;
        Ok(limit)
    }

    /// That of a workflow: its runs are no worker's.
    pub(crate) fn of_workflow(meta: &ParseNestedMeta<'_>) -> syn::Result<Self> {
        let limit = Self::parse(meta)?;
        match limit.worker_rate {
            None => Ok(limit),
            Some(_) => Err(meta.error("`worker_rate` is of functions: no worker runs a workflow")),
        }
    }

    /// Whether so many of one key fit among so many of all.
    fn check_places(&self) -> syn::Result<()> {
        match (self.concurrency, self.per_key) {
            (Some(all), Some((of_a_key, span))) if of_a_key >= all => Err(syn::Error::new(
                span,
                "no more run of one key than run at all; set `per_key` to less than `concurrency`",
            )),
            _ => Ok(()),
        }
    }

    /// Whether it says anything of a workflow that is a singleton.
    pub(crate) fn check_singleton(&self) -> syn::Result<()> {
        match self.per_key {
            None => Ok(()),
            Some((_, span)) => Err(syn::Error::new(
                span,
                "a singleton is one run of each key already; remove either `per_key` or `singleton`",
            )),
        }
    }

    /// Whether all of it counts where a function is called, whose code is elsewhere.
    pub(crate) fn check_elsewhere(&self) -> syn::Result<()> {
        match self.worker_rate {
            None => Ok(()),
            Some((_, span)) => Err(syn::Error::new(
                span,
                "a worker keeps its `worker_rate` by itself; write it where the function's body stands, for here it has no effect",
            )),
        }
    }

    fn take(&mut self, meta: &ParseNestedMeta<'_>) -> syn::Result<()> {
        match word(meta).as_str() {
            "concurrency" => once(&mut self.concurrency, meta, places),
            "per_key" => once(&mut self.per_key, meta, |meta| Ok((places(meta)?, meta.path.span()))),
            "rate" => once(&mut self.rate, meta, rate),
            "per_key_rate" => once(&mut self.per_key_rate, meta, rate),
            "worker_rate" => once(&mut self.worker_rate, meta, |meta| Ok((rate(meta)?, meta.path.span()))),
            _ => Err(unknown(meta, "`limit`", LIMIT_KNOWS)),
        }
    }

    /// The `Flow` that it stands for.
    pub(crate) fn flow(&self) -> TokenStream {
        let option = |value: Option<TokenStream>| {
            value.map_or_else(
                || quote!(::core::option::Option::None),
                |value| quote!(::core::option::Option::Some(#value)),
            )
        };
        let concurrency = option(self.concurrency.map(|count| quote!(#count)));
        let per_key = option(self.per_key.map(|(count, _)| quote!(#count)));
        let spread = |rate: Option<Rate>| {
            option(rate.map(|Rate { count, per }| {
                let per = duration::expression(per);
                quote!((#count, #per))
            }))
        };
        let worker_rate = self.worker_rate.map(|(rate, _)| rate);
        let [rate, per_key_rate, worker_rate] = [self.rate, self.per_key_rate, worker_rate].map(spread);
        quote!(::everstep::__private::flow(#concurrency, #per_key, #rate, #per_key_rate, #worker_rate))
    }
}

fn places(meta: &ParseNestedMeta<'_>) -> syn::Result<u32> {
    match positive(meta)? {
        count if count > LIMIT_SLOTS_MAX => Err(meta.error(format!("a limit gives {LIMIT_SLOTS_MAX} places at most"))),
        count => Ok(count),
    }
}

fn rate(meta: &ParseNestedMeta<'_>) -> syn::Result<Rate> {
    let text = text(meta, "\"100/s\"")?;
    text.value().parse().map_err(|error| syn::Error::new(text.span(), error))
}
