//! What changed code does to runs that are under way: the matrix of edits, with the exact class of each at each point.
//!
//! A workflow is a line of text, a sequence of steps (`b`), steps with another input (`b:2`), another function (`b=f`), sleeps (`sleep`, or
//! `sleep9` for a longer one), closures (`#l`; `#l@b` under the key b), children (`^p`; `^^p` is detached), signals (`!s`), updates (`@u`), events (`+e`, `+e:1` by their order, `~e` emitted), questions (`?q`; `?q:2` the approval of something),
//! and any of these at once (`b|c`). Edits of signals and questions are in `outside::edits`, of updates in
//! `updates`.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use everstep_common::ids::WorkflowName;
use everstep_common::journal::AttemptError;
use everstep_common::task::StepOptions;
use futures::FutureExt;

use super::events::of_order;
use super::kit::*;
use super::outside::{approval, plain};
use crate::{Context, Decision, Definition, Due, EventBody, Mismatch, Parked, WaitError};

const ORIGINAL: &str = "a sleep b #l c";

pub(super) fn code(text: &str) -> Definition {
    let words: Arc<[String]> = words(text).map(str::to_owned).collect();
    workflow(move |ctx| {
        let words = words.clone();
        async move {
            for word in words.iter() {
                obey(&ctx, word).await?;
            }
            done("")
        }
    })
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(' ').filter(|word| !word.is_empty())
}

async fn obey(ctx: &Context, word: &str) -> Result<(), WaitError> {
    if word.contains('|') {
        let branches = word.split('|').enumerate();
        let branches = branches.map(|(number, word)| (number.to_string(), move || obey_alone(ctx, word).boxed_local()));
        let all = ctx.block("parallel").fan(branches).collect_outcomes(0).await;
        return all.outcomes.into_iter().flatten().collect();
    }
    obey_alone(ctx, word).await
}

async fn obey_alone(ctx: &Context, word: &str) -> Result<(), WaitError> {
    if let Some(length) = word.strip_prefix("sleep") {
        let seconds = length.parse().unwrap_or(1);
        return ctx.timer("sleep", Due::After(Duration::from_secs(seconds))).await;
    }
    if let Some(name) = word.strip_prefix('#') {
        let (name, key) = name.split_once('@').unwrap_or((name, name));
        return ctx.local(name, closure("")).key(key).await.map(drop);
    }
    if let Some(name) = word.strip_prefix('!') {
        return ctx.signal(name).await.map(drop);
    }
    if let Some(name) = word.strip_prefix('+') {
        return ctx.event(of_order(name)).await.map(drop);
    }
    if let Some(name) = word.strip_prefix('~') {
        return ctx.emit(of_order(name).event, Bytes::new()).await.map(drop);
    }
    if let Some(word) = word.strip_prefix('@') {
        return super::updates::take(ctx, word).await;
    }
    if let Some(name) = word.strip_prefix('?') {
        let (name, of) = name.split_once(':').unwrap_or((name, ""));
        let question = if of.is_empty() { plain() } else { approval(of, 1) };
        return ctx.question(name, question).await.map(drop);
    }
    let (name, input) = word.split_once(':').unwrap_or((word, ""));
    let (name, called) = name.split_once('=').unwrap_or((name, name));
    let input = Bytes::copy_from_slice(input.as_bytes());
    if let Some(name) = name.strip_prefix('^') {
        let workflow = WorkflowName::new(called.trim_start_matches('^')).unwrap();
        let mut child = ctx.child(workflow, None, Ok(input)).key(name.trim_start_matches('^'));
        child.spec_mut().unwrap().detached = name.starts_with('^');
        return child.await.map(drop);
    }
    ctx.step(name, function(called), Ok(input), StepOptions::default())
        .await
        .map(drop)
}

/// The original's entries after its start, in order.
fn journal() -> [EventBody; 5] {
    [step("a", ""), timer("sleep"), step("b", ""), local("l", ""), step("c", "")]
}

/// What a run says that was at that entry when the code changed.
pub(super) fn class(decision: Decision) -> String {
    let mismatch = match decision {
        Decision::Go(_) => return "go".to_owned(),
        Decision::Replay => return "replay".to_owned(),
        Decision::Parked(Parked::Nondeterministic(mismatch)) => mismatch,
        Decision::Parked(other) => return other.reason().to_owned(),
    };
    match mismatch {
        Mismatch::Function { key, .. } => format!("function {key}"),
        Mismatch::Input { key, .. } => format!("input {key}"),
        Mismatch::Workflow { key, .. } => format!("workflow {key}"),
        Mismatch::Kind { key, .. } => format!("kind {key}"),
        Mismatch::Approval { key, .. } => format!("approval {key}"),
        Mismatch::Verdict { key, .. } => format!("verdict {key}"),
        Mismatch::Unasked { recorded, .. } => {
            let keys: Vec<_> = recorded.iter().map(|recorded| recorded.key.to_string()).collect();
            format!("unasked {}", keys.join(" "))
        }
    }
}

/// The classes of runs with 0, 1, … all of these entries after their start, which then meet the edited code.
pub(super) fn classes_of(edited: &'static str, journal: &[EventBody]) -> Vec<String> {
    let after = |entries: usize| {
        let mut driven = Driven::start(&code(edited));
        journal[..entries].iter().for_each(|entry| driven.apply(entry.clone()));
        class(driven.run.decide())
    };
    (0..=journal.len()).map(after).collect()
}

/// The classes of a run with 0, 1, … 5 entries of the original after its start, which then meets the edited code.
fn check(edited: &'static str, classes: [&str; 6]) {
    assert_eq!(classes_of(edited, &journal()), classes, "{edited:?}");
}

#[test]
fn unchanged_code_goes_on_everywhere() {
    check(ORIGINAL, ["go"; 6]);
}

#[test]
fn an_inserted_step_parks_runs_that_are_past_it() {
    check(
        "a sleep x b #l c",
        ["go", "go", "go", "unasked b", "unasked b l", "unasked b l c"],
    );
    check("a sleep b #l c x", ["go"; 6]);
}

#[test]
fn a_removed_step_parks_runs_that_recorded_it() {
    check("a sleep #l c", ["go", "go", "go", "unasked b", "unasked b", "unasked b"]);
    check(
        "a b #l c",
        ["go", "go", "unasked sleep", "unasked sleep", "unasked sleep", "unasked sleep"],
    );
    check("a sleep b c", ["go", "go", "go", "go", "unasked l", "unasked l"]);
    check("a sleep b #l", ["go", "go", "go", "go", "go", "unasked c"]);
}

#[test]
fn a_renamed_step_parks_runs_that_recorded_it() {
    check(
        "a sleep b2 #l c",
        ["go", "go", "go", "unasked b", "unasked b l", "unasked b l c"],
    );
}

#[test]
fn a_moved_step_parks_runs_until_all_that_is_recorded_is_asked_for() {
    check("a b sleep #l c", ["go", "go", "unasked sleep", "go", "go", "go"]);
    check("a sleep c #l b", ["go", "go", "go", "unasked b", "unasked b l", "go"]);
}

#[test]
fn a_changed_input_or_function_parks_runs_that_recorded_the_other() {
    check("a sleep b:2 #l c", ["go", "go", "go", "input b", "input b", "input b"]);
    check(
        "a sleep b=f #l c",
        ["go", "go", "go", "function b", "function b", "function b"],
    );
    // Asked only after it was recorded: compared all the same.
    check("a sleep c:2 b #l", ["go", "go", "go", "unasked b", "unasked b l", "input c"]);
}

/// The classes of a run of `original` with none, one, … of these entries after its start, which then meets the edited code.
fn check_block(edited: &'static str, classes: [&str; 4]) {
    let entries = [step("parallel/1/b", ""), step("parallel/0/a", ""), step("c", "")];
    assert_eq!(classes_of(edited, &entries), classes, "{edited:?}");
}

#[test]
fn branches_may_be_added_at_the_end_of_a_block_and_not_moved_in_it() {
    check_block("a|b c", ["go"; 4]);
    check_block("a|b|x c", ["go", "go", "go", "unasked c"]);
    check_block(
        "x|a|b c",
        [
            "go",
            "unasked parallel/1/b",
            "unasked parallel/1/b parallel/0/a",
            "unasked parallel/1/b parallel/0/a c",
        ],
    );
    check_block(
        "b|a c",
        [
            "go",
            "unasked parallel/1/b",
            "unasked parallel/1/b parallel/0/a",
            "unasked parallel/1/b parallel/0/a c",
        ],
    );
    check_block(
        "a c",
        [
            "go",
            "unasked parallel/1/b",
            "unasked parallel/1/b parallel/0/a",
            "unasked parallel/1/b parallel/0/a c",
        ],
    );
    check_block(
        "a|b=f c",
        [
            "go",
            "function parallel/1/b",
            "function parallel/1/b",
            "function parallel/1/b",
        ],
    );
}

#[test]
fn a_changed_branch_parks_runs_that_took_the_other() {
    check("a sleep d e", ["go", "go", "go", "unasked b", "unasked b l", "unasked b l c"]);
}

#[test]
fn a_key_of_another_kind_parks() {
    check("a sleep #b@b #l c", ["go", "go", "go", "kind b", "kind b", "kind b"]);
}

/// The classes of a run of `a ^p c` with none, one, … of its entries after its start, which then meets the edited code.
fn check_child(edited: &'static str, classes: [&str; 5]) {
    let entries = [step("a", ""), child("p", false), step("p", ""), step("c", "")];
    assert_eq!(classes_of(edited, &entries), classes, "{edited:?}");
}

#[test]
fn a_child_that_was_started_stays_asked_for_as_it_was() {
    check_child("a ^p c", ["go"; 5]);
    check_child("a c", ["go", "go", "unasked p", "unasked p", "unasked p"]);
    check_child("a x ^p c", ["go", "go", "unasked p", "unasked p", "unasked p c"]);
    check_child("a ^p=q c", ["go", "go", "workflow p", "workflow p", "workflow p"]);
    check_child("a ^p:2 c", ["go", "go", "input p", "input p", "input p"]);
    check_child("a ^^p c", ["go", "go", "kind p", "kind p", "kind p"]);
    check_child("a p c", ["go", "go", "kind p", "kind p", "kind p"]);
    // A step that has become a child of a workflow of the same name is no step any more once it has left an entry.
    check("a sleep ^b #l c", ["go"; 6]);
}

#[test]
fn the_length_of_a_sleep_may_change() {
    check("a sleep9 b #l c", ["go"; 6]);
}

#[test]
fn a_run_whose_code_returns_parks_before_its_end() {
    check(
        "a",
        [
            "go",
            "go",
            "unasked sleep",
            "unasked sleep b",
            "unasked sleep b l",
            "unasked sleep b l c",
        ],
    );
    check(
        "",
        [
            "go",
            "unasked a",
            "unasked a sleep",
            "unasked a sleep b",
            "unasked a sleep b l",
            "unasked a sleep b l c",
        ],
    );
}

#[test]
fn a_recorded_attempt_counts_as_recorded() {
    let mut driven = Driven::start(&code("renamed"));
    driven.apply(attempt("a", 1, AttemptError::Error));
    assert_eq!(class(driven.run.decide()), "unasked a");
    let mut driven = Driven::start(&code("a:2"));
    driven.apply(attempt("a", 1, AttemptError::Error));
    assert_eq!(class(driven.run.decide()), "input a");
}

#[test]
fn attempts_of_a_step_that_is_asked_for_later_count_when_it_is() {
    let mut driven = Driven::start(&code("x a"));
    driven.apply(attempt("a", 1, AttemptError::Error));
    driven.apply(step("x", ""));
    assert_eq!(driven.commands(), ["retry a attempt 2"]);
}

#[test]
fn dropped_steps_stay_asked_and_inbound_entries_are_never_asked() {
    let mut driven = Driven::start(&workflow(|ctx| async move {
        let (mut lost, mut won) = (ctx.call("lost"), ctx.call("won"));
        futures::select_biased! { _ = lost => {}, _ = won => {} }
        drop(lost);
        ctx.call("next").await?;
        done("")
    }));
    for entry in [step("won", ""), resume(false), step("lost", "late")] {
        driven.apply(entry);
        assert_eq!(class(driven.run.decide()), "go");
    }
}

#[test]
fn an_operator_may_accept_what_is_unasked_so_far_and_no_more() {
    let mut driven = Driven::start(&code("a sleep x c"));
    journal().into_iter().take(4).for_each(|entry| driven.apply(entry));
    driven.apply(resume(false));
    assert_eq!(class(driven.run.decide()), "unasked b l");
    driven.apply(resume(true));
    assert_eq!(driven.commands(), ["dispatch x"]);
    driven.apply(step("y", ""));
    assert_eq!(class(driven.run.decide()), "unasked y");
}

#[test]
fn both_sides_are_shown_and_what_to_do() {
    let shown = |edited: &'static str| {
        let mut driven = Driven::start(&code(edited));
        journal().into_iter().take(3).for_each(|entry| driven.apply(entry));
        match driven.run.decide() {
            Decision::Parked(parked) => parked.to_string(),
            _ => panic!("{edited} goes on"),
        }
    };
    let holds = |text: String, parts: &[&str]| {
        parts
            .iter()
            .for_each(|part| assert!(text.contains(part), "{part:?} is not in {text:?}"))
    };
    holds(
        shown("a sleep pay #l c"),
        &[
            "step b (function b, entry 4)",
            "step pay (function pay)",
            "resume",
            "--accept-unasked",
        ],
    );
    holds(shown("a sleep b=pay #l c"), &["function b (entry 4)", "function pay"]);
    holds(shown("a sleep b:2 #l c"), &["key b", "another input", "entry 4", "deploy"]);
    holds(shown("a sleep #b@b c"), &["a step (entry 4)", "asks for a closure"]);
}

/// What a word asks for, by a model that knows nothing of the core.
struct Ask {
    key: String,
    timer: bool,
    function: String,
    input: String,
}

fn asks(text: &str) -> Vec<Ask> {
    let mut used = HashMap::new();
    let ask = |word: &str| {
        let (word, input) = word.split_once(':').unwrap_or((word, ""));
        let (name, function) = word.split_once('=').unwrap_or((word, word));
        let number = *used.entry(name.to_owned()).and_modify(|number| *number += 1).or_insert(1);
        let key = if number == 1 {
            name.to_owned()
        } else {
            format!("{name}~{number}")
        };
        Ask {
            key,
            timer: name == "sleep",
            function: function.to_owned(),
            input: input.to_owned(),
        }
    };
    words(text).map(ask).collect()
}

/// The class that the rules give to a run with these entries that meets this code.
fn judged(recorded: &[Ask], edited: &[Ask]) -> String {
    let mut unasked: Vec<_> = recorded.iter().collect();
    for ask in edited {
        let Some(found) = recorded.iter().find(|one| one.key == ask.key) else {
            break;
        };
        unasked.retain(|one| one.key != ask.key);
        if !found.timer && found.function != ask.function {
            return format!("function {}", ask.key);
        }
        if !found.timer && found.input != ask.input {
            return format!("input {}", ask.key);
        }
    }
    if unasked.is_empty() {
        return "go".to_owned();
    }
    let keys: Vec<_> = unasked.iter().map(|one| one.key.as_str()).collect();
    format!("unasked {}", keys.join(" "))
}

fn edit(dice: &mut Dice, original: &[&str]) -> String {
    let mut edited: Vec<String> = original.iter().map(ToString::to_string).collect();
    let (one, other) = (dice.below(edited.len()), dice.below(edited.len()));
    match dice.below(6) {
        0 => edited.insert(one, ["a", "x", "sleep"][dice.below(3)].to_owned()),
        1 => drop(edited.remove(one)),
        2 => edited[one] = "renamed".to_owned(),
        3 => edited.swap(one, other),
        4 if edited[one] != "sleep" => edited[one] = format!("{}:changed", original[one].split(':').next().unwrap_or_default()),
        _ => edited.truncate(one),
    }
    edited.join(" ")
}

#[test]
fn random_edits_of_random_sequences_are_judged_as_the_rules_say() {
    let first = first_seed();
    let mut classes: HashMap<String, usize> = HashMap::new();
    for seed in first..first + 1_000 {
        let mut dice = Dice::new(seed);
        let original: Vec<_> = (0..7).map(|_| ["a", "b", "a:1", "a=f", "sleep"][dice.below(5)]).collect();
        let edited = edit(&mut dice, &original);
        let (code, recorded, asked) = (code(&edited), asks(&original.join(" ")), asks(&edited));
        for entries in 0..=recorded.len() {
            let mut driven = Driven::start(&code);
            for ask in &recorded[..entries] {
                driven.apply(if ask.timer {
                    timer(&ask.key)
                } else {
                    step_with(&ask.key, &ask.function, &ask.input, Ok(""))
                });
            }
            let class = class(driven.run.decide());
            assert_eq!(
                class,
                judged(&recorded[..entries], &asked),
                "seed {seed}: {original:?} became {edited:?}, at entry {entries}"
            );
            *classes
                .entry(class.split(' ').next().unwrap_or_default().to_owned())
                .or_default() += 1;
        }
    }
    println!("{classes:?}");
    let met = |class: &&str| classes.get(*class).is_some_and(|count| *count > 50);
    assert!(["go", "unasked", "input", "function"].iter().all(met), "{classes:?}");
}
