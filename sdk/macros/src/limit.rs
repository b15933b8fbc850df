//! `limit(…)` of `#[function]` and `#[workflow]`: how many at a time and how fast, in all and of one key.

use everstep_common::flow::Rate;
use everstep_common::limits::LIMIT_SLOTS_MAX;
use proc_macro2::TokenStream;
use quote::quote;
use syn::meta::ParseNestedMeta;

use crate::arguments::{once, positive, text, unknown, word};
use crate::duration;

const LIMIT_KNOWS: &str = "`concurrency`, `per_key`, `rate`, `per_key_rate` and, of functions, `worker_rate`";

/// The arguments of `limit(…)`.
#[derive(Default)]
pub(crate) struct Limit {
    concurrency: Option<u32>,
    per_key: Option<u32>,
    rate: Option<Rate>,
    per_key_rate: Option<Rate>,
    worker_rate: Option<Rate>,
}

impl Limit {
    pub(crate) fn parse(meta: &ParseNestedMeta<'_>) -> syn::Result<Self> {
        let mut limit = Self::default();
        if !meta.input.peek(syn::token::Paren) {
            return Err(meta.error(format!("write `limit(concurrency = 10, …)`; it knows {LIMIT_KNOWS}")));
        }
        meta.parse_nested_meta(|meta| limit.take(&meta))?;
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

    fn take(&mut self, meta: &ParseNestedMeta<'_>) -> syn::Result<()> {
        match word(meta).as_str() {
            "concurrency" => once(&mut self.concurrency, meta, places),
            "per_key" => once(&mut self.per_key, meta, places),
            "rate" => once(&mut self.rate, meta, rate),
            "per_key_rate" => once(&mut self.per_key_rate, meta, rate),
            "worker_rate" => once(&mut self.worker_rate, meta, rate),
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
        let per_key = option(self.per_key.map(|count| quote!(#count)));
        let spread = |rate: Option<Rate>| {
            option(rate.map(|Rate { count, per }| {
                let per = duration::expression(per);
                quote!((#count, #per))
            }))
        };
        let [rate, per_key_rate, worker_rate] = [self.rate, self.per_key_rate, self.worker_rate].map(spread);
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
