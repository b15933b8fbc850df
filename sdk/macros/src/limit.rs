//! `limit(…)` of `#[function]`: how many at a time, of one key, and how fast.

use std::time::Duration;

use proc_macro2::TokenStream;
use quote::quote;
use syn::meta::ParseNestedMeta;

use crate::arguments::{once, positive, text, unknown, word};
use crate::duration;

const LIMIT_KNOWS: &str = "`concurrency`, `per_key`, `rate` and, of functions, `worker_rate`";

/// The fastest rate per second, as in `everstep_common::flow`.
const PER_SECOND_MAX: u128 = 10_000;

/// As in `everstep_common::limits::LIMIT_SLOTS_MAX`.
const SLOTS_MAX: u32 = 1_000;

/// The arguments of `limit(…)`.
#[derive(Default)]
pub(crate) struct Limit {
    concurrency: Option<u32>,
    per_key: Option<u32>,
    rate: Option<(u32, Duration)>,
    worker_rate: Option<(u32, Duration)>,
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
        let spread = |rate: Option<(u32, Duration)>| {
            option(rate.map(|(count, per)| {
                let per = duration::expression(per);
                quote!((#count, #per))
            }))
        };
        let (rate, worker_rate) = (spread(self.rate), spread(self.worker_rate));
        quote!(::everstep::__private::flow(#concurrency, #per_key, #rate, #worker_rate))
    }
}

fn places(meta: &ParseNestedMeta<'_>) -> syn::Result<u32> {
    match positive(meta)? {
        count if count > SLOTS_MAX => Err(meta.error(format!("a limit gives {SLOTS_MAX} places at most"))),
        count => Ok(count),
    }
}

fn rate(meta: &ParseNestedMeta<'_>) -> syn::Result<(u32, Duration)> {
    let text = text(meta, "\"100/s\"")?;
    read(&text.value()).ok_or_else(|| {
        let message = "a rate is written \"100/s\", \"5/min\", \"20/h\" or \"10/30s\", and is 10000 a second at most";
        syn::Error::new(text.span(), message)
    })
}

fn read(text: &str) -> Option<(u32, Duration)> {
    let (count, per) = text.split_once('/')?;
    let count = count.parse().ok().filter(|count| *count > 0)?;
    let unit = per.trim_start_matches(|c: char| c.is_ascii_digit());
    let number = if unit.len() == per.len() {
        "1"
    } else {
        &per[..per.len() - unit.len()]
    };
    let per = duration::parse(&format!("{number}{unit}")).ok()?;
    (u128::from(count) * 1_000 <= PER_SECOND_MAX * per.as_millis()).then_some((count, per))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_as_the_engine_reads_them() {
        let check = |text: &str, rate: Option<(u32, u64)>| {
            assert_eq!(
                read(text),
                rate.map(|(count, millis)| (count, Duration::from_millis(millis))),
                "{text}"
            );
        };
        check("100/s", Some((100, 1_000)));
        check("5/min", Some((5, 60_000)));
        check("10/30s", Some((10, 30_000)));
        for bad in ["", "100", "0/s", "20000/s", "5/fortnight", "1/0s", "/s", "-1/s"] {
            check(bad, None);
        }
    }
}
