//! What stands in `retries(…)`: how often, after what delay, and after which errors not at all.

use std::time::Duration;

use proc_macro2::{Span, TokenStream};
use quote::quote;
use syn::meta::ParseNestedMeta;
use syn::punctuated::Punctuated;
use syn::spanned::Spanned as _;
use syn::{Lit, LitBool, LitFloat, LitInt, LitStr, Token};

use crate::arguments::{in_parentheses, literal, once, positive, some, spanned_duration, text, unknown, word};
use crate::duration;

/// The cap of the delays of a function that declares none, as in `RetryPolicy::default()`.
const MAX_DEFAULT: Duration = Duration::from_secs(60);

const KNOWS: &str = "`max_attempts`, `backoff`, `initial`, `max`, `multiplier`, `jitter`, `total` and `never(…)`";

/// The arguments of `retries(…)`.
#[derive(Default)]
pub(crate) struct Retries {
    max_attempts: Option<u32>,
    backoff: Option<(Backoff, Span)>,
    initial: Option<(Duration, Span)>,
    max: Option<(Duration, Span)>,
    multiplier: Option<f64>,
    jitter: Option<bool>,
    total: Option<(Duration, Span)>,
    never: Option<Vec<LitStr>>,
}

#[derive(Clone, Copy, PartialEq)]
enum Backoff {
    Constant,
    Linear,
    Exponential,
}

impl Retries {
    /// Reads and checks them.
    pub(crate) fn parse(meta: &ParseNestedMeta<'_>) -> syn::Result<Self> {
        let mut retries = Self::default();
        in_parentheses(meta, &format!("write `retries(max_attempts = 3, …)`; it knows {KNOWS}"))?;
        meta.parse_nested_meta(|meta| retries.take(&meta))?;
        retries.check()?;
        Ok(retries)
    }

    fn take(&mut self, meta: &ParseNestedMeta<'_>) -> syn::Result<()> {
        match word(meta).as_str() {
            "max_attempts" => once(&mut self.max_attempts, meta, positive),
            "backoff" => once(&mut self.backoff, meta, backoff),
            "initial" => once(&mut self.initial, meta, spanned_duration),
            "max" => once(&mut self.max, meta, spanned_duration),
            "multiplier" => once(&mut self.multiplier, meta, multiplier),
            "jitter" => once(&mut self.jitter, meta, jitter),
            "total" => once(&mut self.total, meta, spanned_duration),
            "never" => once(&mut self.never, meta, never),
            _ => Err(unknown(meta, "`retries`", KNOWS)),
        }
    }

    fn check(&self) -> syn::Result<()> {
        let kind = self.backoff.map_or(Backoff::Exponential, |(kind, _)| kind);
        match (kind, self.backoff, self.max, self.initial) {
            (Backoff::Constant | Backoff::Linear, Some((_, span)), ..) if self.multiplier.is_some() => Err(syn::Error::new(
                span,
                "only delays of `backoff = \"exponential\"` are multiplied; remove `multiplier`",
            )),
            (Backoff::Constant, _, Some((_, span)), _) => Err(syn::Error::new(
                span,
                "with `backoff = \"constant\"` every delay is `initial`; remove `max`",
            )),
            (Backoff::Linear | Backoff::Exponential, _, max, Some((initial, span)))
                if initial > max.map_or(MAX_DEFAULT, |(max, _)| max) =>
            {
                Err(syn::Error::new(
                    span,
                    "`max` (60s unless given) caps every delay, so `initial` cannot be longer",
                ))
            }
            _ => Ok(()),
        }
    }

    /// From when on no attempt is begun, and where it says so.
    pub(crate) fn total(&self) -> Option<(Duration, Span)> {
        self.total
    }

    /// What no delay exceeds: delays that do not grow are as long as they say.
    fn cap(&self) -> Option<Duration> {
        match (self.backoff, self.initial) {
            (Some((Backoff::Constant, _)), Some((initial, _))) => Some(initial.max(MAX_DEFAULT)),
            _ => self.max.map(|(max, _)| max),
        }
    }

    /// The `RetryPolicy` they stand for; what is not given is as in its default.
    pub(crate) fn policy(&self) -> TokenStream {
        let max_attempts = self.max_attempts.map(|attempts| quote!(policy.max_attempts = #attempts;));
        let initial = self.initial.map(|(initial, _)| duration::expression(initial));
        let initial = initial.map(|initial| quote!(policy.initial = #initial;));
        let growth = self.growth().map(|growth| quote!(policy.growth = #growth;));
        let max = self.cap().map(duration::expression);
        let max = max.map(|max| quote!(policy.max = #max;));
        let jitter = self.jitter.map(|jitter| quote!(policy.jitter = #jitter;));
        let total = self.total.map(|(total, _)| some(total));
        let total = total.map(|total| quote!(policy.total = #total;));
        let never = self.never.iter().flatten();
        quote! {{
            #[allow(unused_mut)]
            let mut policy = defaults.retries;
            #max_attempts #initial #growth #max #jitter #total
            #(policy.never.push(::std::string::String::from(#never));)*
            policy
        }}
    }

    fn growth(&self) -> Option<TokenStream> {
        let multiplier = self.multiplier.unwrap_or(2.0);
        let exponential = quote!(::everstep::Growth::Exponential(#multiplier));
        match self.backoff {
            Some((Backoff::Constant, _)) => Some(quote!(::everstep::Growth::Constant)),
            Some((Backoff::Linear, _)) => Some(quote!(::everstep::Growth::Linear)),
            Some((Backoff::Exponential, _)) => Some(exponential),
            None => self.multiplier.map(|_| exponential),
        }
    }
}

fn backoff(meta: &ParseNestedMeta<'_>) -> syn::Result<(Backoff, Span)> {
    let span = meta.path.span();
    let text = text(meta, "\"linear\"")?;
    let kind = match text.value().as_str() {
        "constant" => Backoff::Constant,
        "linear" => Backoff::Linear,
        "exponential" => Backoff::Exponential,
        _ => {
            let cure = "delays are \"constant\", \"linear\" or \"exponential\" (unless given)";
            return Err(syn::Error::new(text.span(), cure));
        }
    };
    Ok((kind, span))
}

fn multiplier(meta: &ParseNestedMeta<'_>) -> syn::Result<f64> {
    let literal = literal(meta, "2.0")?;
    let number = match &literal {
        Lit::Float(number) => LitFloat::base10_parse::<f64>(number).ok(),
        Lit::Int(number) => LitInt::base10_parse::<u32>(number).ok().map(f64::from),
        _ => None,
    };
    let number = number.filter(|number| number.is_finite() && *number >= 1.0);
    number.ok_or_else(|| syn::Error::new(literal.span(), "`multiplier` is a number, at least 1.0: delays do not shrink"))
}

fn jitter(meta: &ParseNestedMeta<'_>) -> syn::Result<bool> {
    match literal(meta, "false")? {
        Lit::Bool(LitBool { value, .. }) => Ok(value),
        other => Err(syn::Error::new(other.span(), "`jitter` is `true` (unless given) or `false`")),
    }
}

fn never(meta: &ParseNestedMeta<'_>) -> syn::Result<Vec<LitStr>> {
    let cure = || meta.error("write `never(\"CardDeclined\", \"panic\")`: names of errors, and `timeout`, `heartbeat` or `panic`");
    if !meta.input.peek(syn::token::Paren) {
        return Err(cure());
    }
    let names;
    syn::parenthesized!(names in meta.input);
    let names = Punctuated::<LitStr, Token![,]>::parse_terminated(&names).map_err(|_| cure())?;
    if names.is_empty() {
        return Err(cure());
    }
    let mut read: Vec<LitStr> = Vec::new();
    for name in names {
        if read.iter().any(|before| before.value() == name.value()) {
            return Err(syn::Error::new(name.span(), format!("{:?} is named twice", name.value())));
        }
        read.push(name);
    }
    Ok(read)
}
