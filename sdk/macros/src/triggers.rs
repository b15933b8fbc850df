//! `on(…)` of `#[workflow]`: what starts runs by itself.
//!
//! What is written is made into the trigger that the engine will know and checked by the engine's own rules, so that a wrong filter, path
//! or cron expression does not compile.

use std::time::Duration;

use everstep_common::trigger::cron::Cron;
use everstep_common::trigger::filter::Filter;
use everstep_common::trigger::path::Path;
use everstep_common::trigger::{Batch, CronTrigger, EventTrigger, Input, Misfire, Overlap, Trigger, check_all};
use proc_macro2::{Span, TokenStream};
use quote::quote;
use syn::meta::ParseNestedMeta;
use syn::spanned::Spanned as _;
use syn::{LitStr, Token};

use crate::arguments::{duration_value, in_parentheses, once, positive, text, unknown, word};
use crate::duration;
use crate::terms::{self, Texts, WrittenTerms};

const ON_KNOWS: &str =
    "write `on(event(\"user.signed_up\"))`, `on(webhook(\"stripe\", event = \"…\"))` or `on(cron(\"0 9 * * *\"))`";
const EVENT_KNOWS: &str =
    "`filter`, `input`, `dedupe`, `delay`, `batch(…)`, `limit_key`, `session`, `priority`, `deadline` and `tags(…)`";
const WEBHOOK_KNOWS: &str =
    "`event`, `filter`, `input`, `dedupe`, `delay`, `batch(…)`, `limit_key`, `session`, `priority`, `deadline` and `tags(…)`";
const CRON_KNOWS: &str =
    "`name`, `tz`, `overlap`, `misfire`, `input`, `limit_key`, `session`, `priority`, `deadline` and `tags(…)`";

const MADE_UP_AT_ONCE: &str = "runs of times that are made up for at once would overlap, so one of them starts; write `misfire = \"fire_once\"`, or \
     `overlap = \"allow\"`";

/// Events of one batch unless the trigger says otherwise.
const BATCH_MAX_DEFAULT: u32 = 100;

/// A trigger as it was written.
pub(crate) struct WrittenTrigger {
    trigger: Trigger,
    /// A schedule that was given no name.
    is_unnamed: bool,
    span: Span,
}

/// What stands behind the first text of an `event(…)` or `webhook(…)`.
#[derive(Default)]
struct EventArguments {
    event: Option<LitStr>,
    filter: Option<LitStr>,
    input: Option<LitStr>,
    dedupe: Option<LitStr>,
    delay: Option<Duration>,
    batch: Option<Batch>,
    terms: WrittenTerms,
}

/// What stands behind the expression of a `cron(…)`.
#[derive(Default)]
struct CronArguments {
    name: Option<LitStr>,
    zone: Option<LitStr>,
    overlap: Option<Overlap>,
    misfire: Option<(Misfire, Span)>,
    input: Option<LitStr>,
    terms: WrittenTerms,
}

impl WrittenTrigger {
    /// Reads what follows `on`, behind the triggers `before` it.
    pub(crate) fn parse(meta: &ParseNestedMeta<'_>, before: &[Self]) -> syn::Result<Self> {
        // A schedule is known by its name, whatever else starts the workflow.
        let unnamed = before.iter().filter(|written| written.is_unnamed).count();
        let mut found = None;
        in_parentheses(meta, ON_KNOWS)?;
        meta.parse_nested_meta(|meta| {
            let (trigger, is_unnamed) = match word(&meta).as_str() {
                "event" => (event(&meta, false)?, false),
                "webhook" => (event(&meta, true)?, false),
                "cron" => cron(&meta, unnamed)?,
                _ => return Err(meta.error(ON_KNOWS)),
            };
            let written = Self {
                trigger,
                is_unnamed,
                span: meta.path.span(),
            };
            once(&mut found, &meta, |_| Ok(written))
        })?;
        found.ok_or_else(|| meta.error(ON_KNOWS))
    }
}

/// What is wrong with them together, or with a workflow of so many arguments that has them.
pub(crate) fn check(written: &[WrittenTrigger], arguments: usize) -> syn::Result<()> {
    let mut all = Vec::new();
    for written in written {
        all.push(given(&written.trigger, arguments == 0));
        let checked = check_given(&written.trigger, arguments).and_then(|()| check_all(&all));
        checked.map_err(|reason| syn::Error::new(written.span, reason))?;
    }
    Ok(())
}

/// Whether what it gives a run can be the arguments of a workflow that takes so many.
fn check_given(trigger: &Trigger, arguments: usize) -> Result<(), String> {
    let one = |what: &str, cure: &str| {
        let refusal = format!("{what} is one argument, and the workflow takes {arguments}; {cure}");
        Err(refusal)
    };
    match (trigger, input_of(trigger), arguments) {
        (_, Input::Path(_) | Input::Fixed(_), 0) => {
            Err("the workflow takes no argument and is given nothing; remove `input`, or take what it gives".to_owned())
        }
        (_, _, 0 | 1) => Ok(()),
        (Trigger::Event(EventTrigger { batch: Some(_), .. }), ..) => one("a batch's list of events", "take that alone, as a `Vec`"),
        (_, Input::Path(path), _) if path == "@" => one("an event as a whole", "take that alone"),
        (Trigger::Cron(_), Input::Data, _) => one("the time of a schedule", "take that alone, or give `input` as a list of all"),
        (Trigger::Cron(_), Input::Fixed(json), _) if !is_list_of(json, arguments) => Err(format!(
            "the workflow takes {arguments} arguments; give `input` as a list of so many"
        )),
        _ => Ok(()),
    }
}

fn input_of(trigger: &Trigger) -> &Input {
    match trigger {
        Trigger::Event(trigger) => &trigger.input,
        Trigger::Cron(trigger) => &trigger.input,
    }
}

/// Whether `json`, which has been read before, is a list of so many values.
fn is_list_of(json: &str, count: usize) -> bool {
    serde_json::from_str(json).is_ok_and(|values: Vec<serde_json::Value>| values.len() == count)
}

/// The trait's method that lists them; none if there are none.
pub(crate) fn listed(written: &[WrittenTrigger], nothing: bool) -> TokenStream {
    if written.is_empty() {
        return TokenStream::new();
    }
    let triggers = written.iter().map(|written| expression(&given(&written.trigger, nothing)));
    quote! {
        fn triggers() -> ::std::vec::Vec<::everstep::trigger::Trigger> {
            ::std::vec![#(#triggers),*]
        }
    }
}

/// The trigger of a workflow that takes `nothing`, or something.
fn given(trigger: &Trigger, nothing: bool) -> Trigger {
    let mut trigger = trigger.clone();
    let input = match &mut trigger {
        Trigger::Event(trigger) => &mut trigger.input,
        Trigger::Cron(trigger) => &mut trigger.input,
    };
    if nothing && *input == Input::Data {
        *input = Input::Nothing;
    }
    trigger
}

fn event(meta: &ParseNestedMeta<'_>, is_webhook: bool) -> syn::Result<Trigger> {
    let (place, known, example) = match is_webhook {
        true => ("`webhook`", WEBHOOK_KNOWS, "\"stripe\""),
        false => ("`event`", EVENT_KNOWS, "\"user.signed_up\""),
    };
    let mut arguments = EventArguments::default();
    let first = inside(meta, example, |meta| match word(meta).as_str() {
        "event" if is_webhook => once(&mut arguments.event, meta, |meta| text(meta, "\"payment_intent.succeeded\"")),
        "filter" => once(&mut arguments.filter, meta, |meta| {
            checked(text(meta, "\"amount >= 100\"")?, |text| Filter::parse(text).map(drop))
        }),
        "input" => once(&mut arguments.input, meta, path),
        "dedupe" => once(&mut arguments.dedupe, meta, path),
        "delay" => once(&mut arguments.delay, meta, duration_value),
        "batch" => once(&mut arguments.batch, meta, batch),
        _ => {
            let taken = arguments.terms.take(meta, Texts::Paths);
            taken.unwrap_or_else(|| Err(unknown(meta, place, known)))
        }
    })?;
    let event = arguments.event.map(|event| event.value());
    let trigger = match is_webhook {
        true => Trigger::webhook(&first.value(), event.as_deref()),
        false => Trigger::event(first.value()),
    };
    let trigger = Trigger::Event(EventTrigger {
        filter: arguments.filter.map(|text| text.value()),
        input: arguments.input.map_or(Input::Data, |path| Input::Path(path.value())),
        dedupe: arguments.dedupe.map(|path| path.value()),
        delay: arguments.delay,
        batch: arguments.batch,
        terms: arguments.terms.terms(),
        ..trigger
    });
    trigger.check().map_err(|reason| syn::Error::new(first.span(), reason))?;
    Ok(trigger)
}

/// A schedule, and whether it was given no name; so many of those stand before it.
fn cron(meta: &ParseNestedMeta<'_>, unnamed: usize) -> syn::Result<(Trigger, bool)> {
    let mut arguments = CronArguments::default();
    let expression = inside(meta, "\"0 9 * * *\"", |meta| match word(meta).as_str() {
        "name" => once(&mut arguments.name, meta, |meta| text(meta, "\"daily\"")),
        "tz" => once(&mut arguments.zone, meta, |meta| {
            checked(text(meta, "\"Europe/Berlin\"")?, |zone| {
                Cron::parse("0 0 * * *", zone).map(drop)
            })
        }),
        "overlap" => once(&mut arguments.overlap, meta, |meta| {
            one_of(
                meta,
                &[
                    ("allow", Overlap::Allow),
                    ("skip", Overlap::Skip),
                    ("cancel", Overlap::Cancel),
                ],
            )
        }),
        "misfire" => once(&mut arguments.misfire, meta, |meta| {
            one_of(
                meta,
                &[
                    ("fire_once", Misfire::FireOnce),
                    ("fire_all", Misfire::FireAll),
                    ("skip", Misfire::Skip),
                ],
            )
            .map(|misfire| (misfire, meta.path.span()))
        }),
        "input" => once(&mut arguments.input, meta, |meta| {
            text(meta, "\"{\\\"region\\\": \\\"eu\\\"}\"")
        }),
        _ => {
            let taken = arguments.terms.take(meta, Texts::Fixed);
            taken.unwrap_or_else(|| Err(unknown(meta, "`cron`", CRON_KNOWS)))
        }
    })?;
    if let (Some((Misfire::FireAll, span)), Some(Overlap::Skip | Overlap::Cancel)) = (arguments.misfire, arguments.overlap) {
        return Err(syn::Error::new(span, MADE_UP_AT_ONCE));
    }
    // A name of its own for each, as steps are numbered.
    let is_unnamed = arguments.name.is_none();
    let name = match (arguments.name, unnamed) {
        (Some(name), _) => name.value(),
        (None, 0) => "cron".to_owned(),
        (None, number) => format!("cron~{}", number + 1),
    };
    let trigger = Trigger::Cron(CronTrigger {
        time_zone: arguments.zone.map_or_else(|| "UTC".to_owned(), |zone| zone.value()),
        overlap: arguments.overlap.unwrap_or_default(),
        misfire: arguments.misfire.map_or_else(Misfire::default, |(misfire, _)| misfire),
        input: arguments.input.map_or(Input::Data, |json| Input::Fixed(json.value())),
        terms: arguments.terms.terms(),
        ..Trigger::cron(name, expression.value())
    });
    trigger.check().map_err(|reason| syn::Error::new(expression.span(), reason))?;
    Ok((trigger, is_unnamed))
}

/// The parentheses behind a word: a text, then arguments.
fn inside(
    meta: &ParseNestedMeta<'_>,
    example: &str,
    mut take: impl FnMut(&ParseNestedMeta<'_>) -> syn::Result<()>,
) -> syn::Result<LitStr> {
    if !meta.input.peek(syn::token::Paren) {
        return Err(meta.error(format!("write `{}({example})`", word(meta))));
    }
    let content;
    syn::parenthesized!(content in meta.input);
    let first: LitStr = content
        .parse()
        .map_err(|error| syn::Error::new(error.span(), format!("write `{}({example})`", word(meta))))?;
    if !content.is_empty() {
        content.parse::<Token![,]>()?;
        let rest: TokenStream = content.parse()?;
        syn::parse::Parser::parse2(syn::meta::parser(|meta| take(&meta)), rest)?;
    }
    Ok(first)
}

fn batch(meta: &ParseNestedMeta<'_>) -> syn::Result<Batch> {
    let (mut window, mut max) = (None, None);
    let usage = "write `batch(window = \"10s\", max = 100)`";
    in_parentheses(meta, usage)?;
    meta.parse_nested_meta(|meta| match word(&meta).as_str() {
        "window" => once(&mut window, &meta, duration_value),
        "max" => once(&mut max, &meta, positive),
        _ => Err(unknown(&meta, "`batch`", "`window` and `max`")),
    })?;
    Ok(Batch {
        window: window.ok_or_else(|| meta.error(usage))?,
        max: max.unwrap_or(BATCH_MAX_DEFAULT),
    })
}

fn path(meta: &ParseNestedMeta<'_>) -> syn::Result<LitStr> {
    checked(text(meta, "\"data.object\"")?, |path| Path::parse(path).map(drop))
}

fn checked(text: LitStr, check: impl FnOnce(&str) -> Result<(), String>) -> syn::Result<LitStr> {
    check(&text.value()).map_err(|reason| syn::Error::new(text.span(), reason))?;
    Ok(text)
}

fn one_of<T: Copy>(meta: &ParseNestedMeta<'_>, known: &[(&str, T)]) -> syn::Result<T> {
    let given = text(meta, &format!("{:?}", known[0].0))?;
    let found = known.iter().find(|(word, _)| *word == given.value());
    let words: Vec<String> = known.iter().map(|(word, _)| format!("{word:?}")).collect();
    let refusal = || syn::Error::new(given.span(), format!("`{}` is one of {}", word(meta), words.join(", ")));
    found.map(|(_, value)| *value).ok_or_else(refusal)
}

/// The expression that makes the trigger where the macro is used.
fn expression(trigger: &Trigger) -> TokenStream {
    let event = |trigger: &EventTrigger| {
        let (name, input) = (&trigger.event, input(&trigger.input));
        let (filter, dedupe) = (optional(&trigger.filter), optional(&trigger.dedupe));
        let delay = trigger.delay.map(duration::expression);
        let delay = option(delay);
        let batch = option(trigger.batch.map(|batch| {
            let (window, max) = (duration::expression(batch.window), batch.max);
            quote!(::everstep::trigger::Batch { window: #window, max: #max })
        }));
        let terms = terms::expression(&trigger.terms);
        quote! {
            ::everstep::trigger::Trigger::Event(::everstep::trigger::EventTrigger {
                event: ::std::string::String::from(#name),
                filter: #filter,
                input: #input,
                dedupe: #dedupe,
                delay: #delay,
                batch: #batch,
                terms: #terms,
            })
        }
    };
    let cron = |trigger: &CronTrigger| {
        let CronTrigger {
            name,
            expression,
            time_zone,
            ..
        } = trigger;
        let (input, terms) = (input(&trigger.input), terms::expression(&trigger.terms));
        let overlap = match trigger.overlap {
            Overlap::Allow => quote!(Allow),
            Overlap::Skip => quote!(Skip),
            Overlap::Cancel => quote!(Cancel),
        };
        let misfire = match trigger.misfire {
            Misfire::FireOnce => quote!(FireOnce),
            Misfire::FireAll => quote!(FireAll),
            Misfire::Skip => quote!(Skip),
        };
        quote! {
            ::everstep::trigger::Trigger::Cron(::everstep::trigger::CronTrigger {
                name: ::std::string::String::from(#name),
                expression: ::std::string::String::from(#expression),
                time_zone: ::std::string::String::from(#time_zone),
                overlap: ::everstep::trigger::Overlap::#overlap,
                misfire: ::everstep::trigger::Misfire::#misfire,
                input: #input,
                terms: #terms,
            })
        }
    };
    match trigger {
        Trigger::Event(trigger) => event(trigger),
        Trigger::Cron(trigger) => cron(trigger),
    }
}

fn input(input: &Input) -> TokenStream {
    match input {
        Input::Data => quote!(::everstep::trigger::Input::Data),
        Input::Path(path) => quote!(::everstep::trigger::Input::Path(::std::string::String::from(#path))),
        Input::Fixed(json) => quote!(::everstep::trigger::Input::Fixed(::std::string::String::from(#json))),
        Input::Nothing => quote!(::everstep::trigger::Input::Nothing),
    }
}

fn optional(text: &Option<String>) -> TokenStream {
    option(text.as_ref().map(|text| quote!(::std::string::String::from(#text))))
}

pub(crate) fn option(value: Option<TokenStream>) -> TokenStream {
    match value {
        Some(value) => quote!(::core::option::Option::Some(#value)),
        None => quote!(::core::option::Option::None),
    }
}
