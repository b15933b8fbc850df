//! What stands in the parentheses of `#[function(…)]` and `#[workflow(…)]`.

use std::time::Duration;

use proc_macro2::{Delimiter, Group, Span, TokenStream};
use quote::quote;
use syn::meta::ParseNestedMeta;
use syn::parse::Parser as _;
use syn::spanned::Spanned as _;
use syn::{Lit, LitStr};

use crate::duration;
use crate::limit::Limit;
use crate::retries::Retries;
use crate::triggers::WrittenTrigger;

/// As in `everstep_common::limits::NAME_CHARS_MAX`: a name longer than this fits no subject.
const NAME_CHARS_MAX: usize = 128;

/// The total timeout of a function that declares none, as in `StepOptions::default()`.
const TOTAL_TIMEOUT_DEFAULT: Duration = Duration::from_secs(24 * 60 * 60);

const FUNCTION_KNOWS: &str = "`name`, `queue`, `retries(…)`, `timeout`, `total_timeout`, `start_timeout`, `heartbeat_timeout`, `max_crashes`, `at_most_once` and `limit(…)`";
const WORKFLOW_KNOWS: &str = "`name`, `version`, `on_failure`, `limit(…)`, `singleton` and `on(…)`";

/// The arguments of `#[function]`.
#[derive(Default)]
pub(crate) struct FunctionArguments {
    pub(crate) name: Option<LitStr>,
    queue: Option<LitStr>,
    retries: Option<Retries>,
    timeout: Option<(Duration, Span)>,
    total_timeout: Option<Duration>,
    start_timeout: Option<(Duration, Span)>,
    heartbeat_timeout: Option<(Duration, Span)>,
    max_crashes: Option<(u32, Span)>,
    at_most_once: Option<()>,
    limit: Option<Limit>,
}

/// The arguments of `#[workflow]`.
#[derive(Default)]
pub(crate) struct WorkflowArguments {
    pub(crate) name: Option<LitStr>,
    pub(crate) version: Option<u32>,
    pub(crate) triggers: Vec<WrittenTrigger>,
    limit: Option<Limit>,
    singleton: Option<TokenStream>,
    /// There is one thing to be done then: a rollback.
    pub(crate) on_failure: Option<()>,
    /// Where the first argument stands that is for whoever has the code.
    of_the_body: Option<Span>,
}

impl FunctionArguments {
    /// Reads and checks them.
    pub(crate) fn parse(tokens: TokenStream) -> syn::Result<Self> {
        let mut arguments = Self::default();
        syn::meta::parser(|meta| arguments.take(&meta)).parse2(tokens)?;
        arguments.check_timeouts()?;
        arguments.check_repeats()?;
        Ok(arguments)
    }

    fn take(&mut self, meta: &ParseNestedMeta<'_>) -> syn::Result<()> {
        match word(meta).as_str() {
            "name" => once(&mut self.name, meta, name),
            "queue" => once(&mut self.queue, meta, queue),
            "retries" => {
                let retries = Retries::parse(meta)?;
                if self.at_most_once.is_some() {
                    return Err(meta.error(RETRIED_AT_MOST_ONCE));
                }
                once(&mut self.retries, meta, |_| Ok(retries))
            }
            "timeout" => once(&mut self.timeout, meta, spanned_duration),
            "total_timeout" => once(&mut self.total_timeout, meta, duration_value),
            "start_timeout" => once(&mut self.start_timeout, meta, spanned_duration),
            "heartbeat_timeout" => once(&mut self.heartbeat_timeout, meta, spanned_duration),
            "max_crashes" => once(&mut self.max_crashes, meta, |meta| Ok((positive(meta)?, meta.path.span()))),
            "at_most_once" if self.retries.is_some() => Err(meta.error(RETRIED_AT_MOST_ONCE)),
            "at_most_once" => once(&mut self.at_most_once, meta, |_| Ok(())),
            "limit" => {
                let limit = Limit::parse(meta)?;
                once(&mut self.limit, meta, |_| Ok(limit))
            }
            _ => Err(unknown(meta, "#[function]", FUNCTION_KNOWS)),
        }
    }

    fn check_timeouts(&self) -> syn::Result<()> {
        let total = self.total_timeout.unwrap_or(TOTAL_TIMEOUT_DEFAULT);
        check(
            self.timeout,
            |timeout| timeout > total,
            "one attempt may not take longer than all of them together; set `total_timeout` (24h unless given) to more than `timeout`",
        )?;
        check(
            self.start_timeout,
            |timeout| timeout > total,
            "an attempt may not wait for a worker longer than the step may take; set `total_timeout` (24h unless given) to more than `start_timeout`",
        )?;
        let attempt = self.timeout.map_or(total, |(timeout, _)| timeout);
        check(
            self.heartbeat_timeout,
            |timeout| timeout >= attempt,
            "an attempt that may be silent for as long as it may take needs no heartbeats; set `heartbeat_timeout` to less than `timeout`",
        )?;
        check(
            self.retries.as_ref().and_then(Retries::total),
            |timeout| timeout > total,
            "no attempt is begun once the step has taken too long; set `total_timeout` (24h unless given) to more than the `total` of `retries`",
        )
    }

    /// Whether what it says of executions that begin again can come to pass.
    fn check_repeats(&self) -> syn::Result<()> {
        match (self.at_most_once, self.max_crashes) {
            (Some(()), Some((_, span))) => Err(syn::Error::new(span, CRASHING_AT_MOST_ONCE)),
            _ => Ok(()),
        }
    }

    /// For a function whose code is in another binary, whether all of it counts here.
    pub(crate) fn check_elsewhere(&self) -> syn::Result<()> {
        self.limit.as_ref().map_or(Ok(()), Limit::check_elsewhere)
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
        let start_timeout = self
            .start_timeout
            .map_or_else(|| quote!(defaults.start_timeout), |(timeout, _)| some(timeout));
        let heartbeat_timeout = self
            .heartbeat_timeout
            .map_or_else(|| quote!(defaults.heartbeat_timeout), |(timeout, _)| some(timeout));
        let max_crashes = self
            .max_crashes
            .map_or_else(|| quote!(defaults.max_crashes), |(crashes, _)| quote!(#crashes));
        let at_most_once = self.at_most_once.is_some();
        let flow = self.limit.as_ref().map_or_else(|| quote!(defaults.flow), Limit::flow);
        quote! {{
            let defaults = ::everstep::__private::StepOptions::default();
            ::everstep::__private::StepOptions {
                queue: #queue,
                retries: #retries,
                timeout: #timeout,
                total_timeout: #total_timeout,
                start_timeout: #start_timeout,
                heartbeat_timeout: #heartbeat_timeout,
                max_crashes: #max_crashes,
                at_most_once: #at_most_once,
                flow: #flow,
            }
        }}
    }

    fn policy(&self) -> TokenStream {
        match &self.retries {
            Some(retries) => retries.policy(),
            None if self.at_most_once.is_some() => quote!(::everstep::RetryPolicy::once()),
            None => quote!(defaults.retries),
        }
    }
}

const RETRIED_AT_MOST_ONCE: &str =
    "a function that begins at most once is never tried again; remove either `retries` or `at_most_once`";

const CRASHING_AT_MOST_ONCE: &str =
    "a function that begins at most once does not begin again after a crash; remove either `max_crashes` or `at_most_once`";

/// What a workflow is started by, and how many of it are at work, is asked of the code that an orchestrator drives.
const OF_THE_BODY: &str = "whoever drives the workflow says this; write it where its body stands, for here it has no effect";

impl WorkflowArguments {
    /// Reads and checks them.
    pub(crate) fn parse(tokens: TokenStream) -> syn::Result<Self> {
        let mut arguments = Self::default();
        syn::meta::parser(|meta| arguments.take(&meta)).parse2(tokens)?;
        if let (Some(limit), Some(_)) = (&arguments.limit, &arguments.singleton) {
            limit.check_singleton()?;
        }
        Ok(arguments)
    }

    fn take(&mut self, meta: &ParseNestedMeta<'_>) -> syn::Result<()> {
        let word = word(meta);
        if !matches!(word.as_str(), "name" | "version") {
            self.of_the_body.get_or_insert(meta.path.span());
        }
        match word.as_str() {
            "name" => once(&mut self.name, meta, name),
            "version" => once(&mut self.version, meta, positive),
            "on" => {
                let trigger = WrittenTrigger::parse(meta, &self.triggers)?;
                self.triggers.push(trigger);
                Ok(())
            }
            "limit" => {
                let limit = Limit::of_workflow(meta)?;
                once(&mut self.limit, meta, |_| Ok(limit))
            }
            "singleton" => once(&mut self.singleton, meta, when_busy),
            "on_failure" => once(&mut self.on_failure, meta, on_failure),
            _ => Err(unknown(meta, "#[workflow]", WORKFLOW_KNOWS)),
        }
    }

    /// For a workflow whose code is in another binary, whether all of it counts here.
    pub(crate) fn check_elsewhere(&self) -> syn::Result<()> {
        self.of_the_body
            .map_or(Ok(()), |span| Err(syn::Error::new(span, OF_THE_BODY)))
    }

    /// The `fn flow` of the workflow, unless it says nothing of it.
    pub(crate) fn flow(&self) -> TokenStream {
        if self.limit.is_none() && self.singleton.is_none() {
            return TokenStream::new();
        }
        let limit = self.limit.as_ref().map_or_else(|| Limit::default().flow(), Limit::flow);
        let singleton = match &self.singleton {
            Some(when) => quote!(::core::option::Option::Some(#when)),
            None => quote!(::core::option::Option::None),
        };
        quote! {
            fn flow() -> ::everstep::__private::RunFlow {
                ::everstep::__private::run_flow(#limit, #singleton)
            }
        }
    }
}

/// What becomes of a run whose key another one is at work for.
fn when_busy(meta: &ParseNestedMeta<'_>) -> syn::Result<TokenStream> {
    let text = text(meta, "\"queue\"")?;
    let when = match text.value().as_str() {
        "queue" => quote!(Queue),
        "cancel_in_progress" => quote!(CancelInProgress),
        "reject" => quote!(Reject),
        _ => {
            let message = "a singleton is \"queue\", \"cancel_in_progress\" or \"reject\"";
            return Err(syn::Error::new(text.span(), message));
        }
    };
    Ok(quote!(::everstep::__private::WhenBusy::#when))
}

/// Whether a timeout is right, or what to do about it.
fn check(timeout: Option<(Duration, Span)>, is_wrong: impl Fn(Duration) -> bool, cure: &str) -> syn::Result<()> {
    match timeout {
        Some((timeout, span)) if is_wrong(timeout) => Err(syn::Error::new(span, cure)),
        _ => Ok(()),
    }
}

pub(crate) fn some(duration: Duration) -> TokenStream {
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

/// Whether something stands in parentheses behind the word, or how to write it.
pub(crate) fn in_parentheses(meta: &ParseNestedMeta<'_>, usage: &str) -> syn::Result<()> {
    let group: syn::Result<Group> = meta.input.fork().parse();
    match group {
        Ok(group) if group.delimiter() == Delimiter::Parenthesis && !group.stream().is_empty() => Ok(()),
        _ => Err(meta.error(usage)),
    }
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

/// A duration, and where its argument stands.
pub(crate) fn spanned_duration(meta: &ParseNestedMeta<'_>) -> syn::Result<(Duration, Span)> {
    Ok((duration_value(meta)?, meta.path.span()))
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

pub(crate) fn text(meta: &ParseNestedMeta<'_>, example: &str) -> syn::Result<LitStr> {
    match literal(meta, example)? {
        Lit::Str(text) => Ok(text),
        other => Err(syn::Error::new(other.span(), format!("write `{} = {example}`", word(meta)))),
    }
}

fn on_failure(meta: &ParseNestedMeta<'_>) -> syn::Result<()> {
    let text = text(meta, "\"rollback\"")?;
    match text.value().as_str() {
        "rollback" => Ok(()),
        _ => Err(syn::Error::new(
            text.span(),
            "what is done on failure is \"rollback\"; without `on_failure` nothing is",
        )),
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
