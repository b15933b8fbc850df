//! What stands in the parentheses of `#[function(…)]` and `#[workflow(…)]`.

use std::time::Duration;

use proc_macro2::{Span, TokenStream};
use quote::quote;
use syn::meta::ParseNestedMeta;
use syn::parse::Parser as _;
use syn::spanned::Spanned as _;
use syn::{Lit, LitFloat, LitInt, LitStr};

use crate::duration;
use crate::triggers::WrittenTrigger;

/// As in `everstep_common::limits::NAME_CHARS_MAX`: a name longer than this fits no subject.
const NAME_CHARS_MAX: usize = 128;

/// The total timeout of a function that declares none, as in `StepOptions::default()`.
const TOTAL_TIMEOUT_DEFAULT: Duration = Duration::from_secs(24 * 60 * 60);

/// The cap of the delays of a function that declares none, as in `RetryPolicy::default()`.
const RETRY_MAX_DEFAULT: Duration = Duration::from_secs(60);

const FUNCTION_KNOWS: &str = "`name`, `queue`, `retries(…)`, `timeout`, `total_timeout`, `max_crashes` and `at_most_once`";
const RETRIES_KNOWS: &str = "`max_attempts`, `initial`, `max` and `multiplier`";
const WORKFLOW_KNOWS: &str = "`name`, `version` and `on(…)`";

/// The arguments of `#[function]`.
#[derive(Default)]
pub(crate) struct FunctionArguments {
    pub(crate) name: Option<LitStr>,
    queue: Option<LitStr>,
    retries: Option<Retries>,
    timeout: Option<(Duration, Span)>,
    total_timeout: Option<Duration>,
    max_crashes: Option<u32>,
    at_most_once: bool,
}

/// The arguments of `retries(…)`.
#[derive(Default)]
struct Retries {
    max_attempts: Option<u32>,
    initial: Option<(Duration, Span)>,
    max: Option<Duration>,
    multiplier: Option<f64>,
}

/// The arguments of `#[workflow]`.
#[derive(Default)]
pub(crate) struct WorkflowArguments {
    pub(crate) name: Option<LitStr>,
    pub(crate) version: Option<u32>,
    pub(crate) triggers: Vec<WrittenTrigger>,
}

impl FunctionArguments {
    /// Reads and checks them.
    pub(crate) fn parse(tokens: TokenStream) -> syn::Result<Self> {
        let mut arguments = Self::default();
        syn::meta::parser(|meta| arguments.take(&meta)).parse2(tokens)?;
        arguments.check_timeouts()?;
        Ok(arguments)
    }

    fn take(&mut self, meta: &ParseNestedMeta<'_>) -> syn::Result<()> {
        match word(meta).as_str() {
            "name" => once(&mut self.name, meta, name),
            "queue" => once(&mut self.queue, meta, queue),
            "retries" => {
                let retries = Retries::parse(meta)?;
                if self.at_most_once {
                    return Err(meta.error(RETRIED_AT_MOST_ONCE));
                }
                once(&mut self.retries, meta, |_| Ok(retries))
            }
            "timeout" => {
                let span = meta.path.span();
                once(&mut self.timeout, meta, |meta| Ok((duration_value(meta)?, span)))
            }
            "total_timeout" => once(&mut self.total_timeout, meta, duration_value),
            "max_crashes" => once(&mut self.max_crashes, meta, positive),
            "at_most_once" if self.retries.is_some() => Err(meta.error(RETRIED_AT_MOST_ONCE)),
            "at_most_once" => {
                self.at_most_once = true;
                Ok(())
            }
            _ => Err(unknown(meta, "#[function]", FUNCTION_KNOWS)),
        }
    }

    fn check_timeouts(&self) -> syn::Result<()> {
        match self.timeout {
            Some((timeout, span)) if timeout > self.total_timeout.unwrap_or(TOTAL_TIMEOUT_DEFAULT) => Err(syn::Error::new(
                span,
                "one attempt may not take longer than all of them together; set `total_timeout` (24h unless given) to more than `timeout`",
            )),
            _ => Ok(()),
        }
    }

    /// The `StepOptions` they stand for; what is not given is as in `StepOptions::default()`.
    pub(crate) fn options(&self) -> TokenStream {
        let queue = match &self.queue {
            Some(queue) => quote!(::everstep::__private::QueueName::new(#queue).expect("checked when it was compiled")),
            None => quote!(defaults.queue),
        };
        let retries = self.policy();
        let timeout = self
            .timeout
            .map_or_else(|| quote!(defaults.timeout), |(timeout, _)| some(timeout));
        let total_timeout = self
            .total_timeout
            .map_or_else(|| quote!(defaults.total_timeout), duration::expression);
        let max_crashes = self
            .max_crashes
            .map_or_else(|| quote!(defaults.max_crashes), |crashes| quote!(#crashes));
        let at_most_once = self.at_most_once;
        quote! {{
            let defaults = ::everstep::__private::StepOptions::default();
            ::everstep::__private::StepOptions {
                queue: #queue,
                retries: #retries,
                timeout: #timeout,
                total_timeout: #total_timeout,
                max_crashes: #max_crashes,
                at_most_once: #at_most_once,
            }
        }}
    }

    fn policy(&self) -> TokenStream {
        match &self.retries {
            Some(retries) => retries.policy(),
            None if self.at_most_once => quote!(::everstep::RetryPolicy::never()),
            None => quote!(defaults.retries),
        }
    }
}

const RETRIED_AT_MOST_ONCE: &str =
    "a function that begins at most once is never tried again; remove either `retries` or `at_most_once`";

impl Retries {
    fn parse(meta: &ParseNestedMeta<'_>) -> syn::Result<Self> {
        let mut retries = Self::default();
        if !meta.input.peek(syn::token::Paren) {
            return Err(meta.error(format!("write `retries(max_attempts = 3, …)`; it knows {RETRIES_KNOWS}")));
        }
        meta.parse_nested_meta(|meta| retries.take(&meta))?;
        retries.check_delays()?;
        Ok(retries)
    }

    fn take(&mut self, meta: &ParseNestedMeta<'_>) -> syn::Result<()> {
        match word(meta).as_str() {
            "max_attempts" => once(&mut self.max_attempts, meta, positive),
            "initial" => {
                let span = meta.path.span();
                once(&mut self.initial, meta, |meta| Ok((duration_value(meta)?, span)))
            }
            "max" => once(&mut self.max, meta, duration_value),
            "multiplier" => once(&mut self.multiplier, meta, multiplier),
            _ => Err(unknown(meta, "`retries`", RETRIES_KNOWS)),
        }
    }

    fn check_delays(&self) -> syn::Result<()> {
        match self.initial {
            Some((initial, span)) if initial > self.max.unwrap_or(RETRY_MAX_DEFAULT) => Err(syn::Error::new(
                span,
                "`max` (60s unless given) caps every delay, so `initial` cannot be longer",
            )),
            _ => Ok(()),
        }
    }

    fn policy(&self) -> TokenStream {
        let max_attempts = self
            .max_attempts
            .map_or_else(|| quote!(defaults.retries.max_attempts), |attempts| quote!(#attempts));
        let initial = self.initial.map_or_else(
            || quote!(defaults.retries.initial),
            |(initial, _)| duration::expression(initial),
        );
        let max = self.max.map_or_else(|| quote!(defaults.retries.max), duration::expression);
        let multiplier = self
            .multiplier
            .map_or_else(|| quote!(defaults.retries.multiplier), |multiplier| quote!(#multiplier));
        quote! {
            ::everstep::RetryPolicy { max_attempts: #max_attempts, initial: #initial, multiplier: #multiplier, max: #max }
        }
    }
}

impl WorkflowArguments {
    /// Reads and checks them.
    pub(crate) fn parse(tokens: TokenStream) -> syn::Result<Self> {
        let mut arguments = Self::default();
        let take = |meta: ParseNestedMeta<'_>| match word(&meta).as_str() {
            "name" => once(&mut arguments.name, &meta, name),
            "version" => once(&mut arguments.version, &meta, positive),
            "on" => {
                arguments
                    .triggers
                    .push(WrittenTrigger::parse(&meta, arguments.triggers.len())?);
                Ok(())
            }
            _ => Err(unknown(&meta, "#[workflow]", WORKFLOW_KNOWS)),
        };
        syn::meta::parser(take).parse2(tokens)?;
        Ok(arguments)
    }
}

fn some(duration: Duration) -> TokenStream {
    let duration = duration::expression(duration);
    quote!(::core::option::Option::Some(#duration))
}

pub(crate) fn word(meta: &ParseNestedMeta<'_>) -> String {
    meta.path.get_ident().map(ToString::to_string).unwrap_or_default()
}

pub(crate) fn unknown(meta: &ParseNestedMeta<'_>, place: &str, known: &str) -> syn::Error {
    let path = &meta.path;
    meta.error(format!("{place} has no argument `{}`; it knows {known}", quote!(#path)))
}

/// Fills `slot`, which must be empty, with what `read` makes of the value.
pub(crate) fn once<T>(
    slot: &mut Option<T>,
    meta: &ParseNestedMeta<'_>,
    read: impl FnOnce(&ParseNestedMeta<'_>) -> syn::Result<T>,
) -> syn::Result<()> {
    if slot.is_some() {
        return Err(meta.error(format!("`{}` is given twice", word(meta))));
    }
    *slot = Some(read(meta)?);
    Ok(())
}

/// The literal after `=`.
pub(crate) fn literal(meta: &ParseNestedMeta<'_>, example: &str) -> syn::Result<Lit> {
    let read = meta.value().and_then(|value| value.parse());
    read.map_err(|_| meta.error(format!("write `{} = {example}`", word(meta))))
}

pub(crate) fn duration_value(meta: &ParseNestedMeta<'_>) -> syn::Result<Duration> {
    duration::of(&literal(meta, "\"10s\"")?)
}

pub(crate) fn positive(meta: &ParseNestedMeta<'_>) -> syn::Result<u32> {
    let literal = literal(meta, "3")?;
    let number = match &literal {
        Lit::Int(number) => number.base10_parse::<u32>().ok(),
        _ => None,
    };
    number
        .filter(|number| *number > 0)
        .ok_or_else(|| syn::Error::new(literal.span(), format!("`{}` is a whole number, at least 1", word(meta))))
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

pub(crate) fn text(meta: &ParseNestedMeta<'_>, example: &str) -> syn::Result<LitStr> {
    match literal(meta, example)? {
        Lit::Str(text) => Ok(text),
        other => Err(syn::Error::new(other.span(), format!("write `{} = {example}`", word(meta)))),
    }
}

/// A function's or workflow's name: the rule of `everstep_common::ids`.
fn name(meta: &ParseNestedMeta<'_>) -> syn::Result<LitStr> {
    let text = text(meta, "\"charge\"")?;
    let value = text.value();
    let right = !value.is_empty() && value.chars().count() <= NAME_CHARS_MAX && !value.chars().any(char::is_control);
    if right {
        Ok(text)
    } else {
        Err(syn::Error::new(
            text.span(),
            "a name has 1 to 128 characters, none of them a control character",
        ))
    }
}

/// A queue's name: the rule of `everstep_common::ids`.
fn queue(meta: &ParseNestedMeta<'_>) -> syn::Result<LitStr> {
    let text = text(meta, "\"payments\"")?;
    let value = text.value();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    let right = !value.is_empty() && value.len() <= NAME_CHARS_MAX && value.bytes().all(plain);
    if right {
        Ok(text)
    } else {
        Err(syn::Error::new(
            text.span(),
            "a queue's name has 1 to 128 letters, digits, `_` and `-`, for it names a stream",
        ))
    }
}
