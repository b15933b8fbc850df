//! Patches and pinned versions: what is chosen where, that nothing follows before it is recorded, and what the first record decides.

use bytes::Bytes;
use everstep_common::journal::{Entry, EntryKey, JournalEntry, Local, LocalKind, StepResult};
use everstep_common::payload::Payload;

use super::kit::*;
use crate::{Decision, Definition, Event, EventBody, Limits, Record, Run};

/// A step a, a patch that puts x before b, a step b.
fn patched() -> Definition {
    workflow(|ctx| async move {
        ctx.call("a").await?;
        if ctx.patched("x first") {
            ctx.call("x").await?;
        }
        ctx.call("b").await?;
        done("")
    })
}

/// As it was recorded before markers had keys of their own; such journals are read for ever.
const KEY: &str = "patched(x first)";

fn marker(kind: LocalKind, path: &str, value: &'static [u8]) -> EventBody {
    EventBody::About(key(path), Record::Local(kind, Ok(Bytes::from_static(value))))
}

fn patch(value: bool) -> EventBody {
    marker(LocalKind::Patch, KEY, if value { b"\xc3" } else { b"\xc2" })
}

/// A run that is loaded with these entries after its start, and then decides.
fn loaded(code: &Definition, entries: &[EventBody]) -> Run {
    let last = entries.len() as u64 + 1;
    let mut run = Run::new(run_id(), code, Limits::default(), last);
    for entry in entries {
        if let EventBody::About(key, Record::Local(kind, Ok(value))) = entry {
            run.foresee(&JournalEntry {
                sequence: 0,
                time: time(0),
                key: EntryKey::Local(key.clone()),
                entry: Entry::Local(Local {
                    kind: *kind,
                    result: StepResult::Value(Payload::Inline(value.clone())),
                }),
            });
        }
    }
    for (sequence, body) in (1..).zip(std::iter::once(start(b"")).chain(entries.iter().cloned())) {
        run.apply(Event {
            sequence,
            time: time(sequence),
            body,
        });
    }
    run
}

fn said(run: &mut Run) -> Vec<String> {
    match run.decide() {
        Decision::Go(commands) => lines(&commands),
        Decision::Replay => vec!["replay".to_owned()],
        Decision::Parked(parked) => vec![parked.to_string()],
    }
}

fn mark(value: bool) -> String {
    format!("mark ={KEY}: {:?}", Bytes::from_static(if value { b"\xc3" } else { b"\xc2" }))
}

#[test]
fn a_run_that_comes_to_a_patch_takes_the_new_side_once_that_is_recorded() {
    let mut driven = Driven::start(&patched());
    assert_eq!(driven.commands(), ["dispatch a"]);
    driven.apply(step("a", ""));
    assert!(driven.run.is_holding());
    assert_eq!(driven.commands(), [mark(true)], "nothing that follows from the choice");
    driven.apply(resume(false));
    assert!(
        driven.commands().is_empty(),
        "the choice is told once, and everything else waits"
    );
    driven.apply(patch(true));
    assert_eq!(driven.commands(), ["dispatch x"]);
    driven.apply(step("x", ""));
    assert_eq!(driven.commands(), ["dispatch b"]);
}

#[test]
fn a_run_that_was_further_takes_the_old_side_and_records_that_too() {
    let mut run = loaded(&patched(), &[step("a", ""), step("b", "")]);
    assert_eq!(said(&mut run), [mark(false)]);
    let mut run = loaded(&patched(), &[step("a", "")]);
    assert_eq!(said(&mut run), [mark(true)], "it has just come there");
    let mut run = loaded(&patched(), &[step("a", ""), step("b", ""), patch(false)]);
    assert_eq!(said(&mut run), ["completed "]);
}

#[test]
fn what_is_recorded_is_known_wherever_it_stands_in_the_journal() {
    let mut run = loaded(&patched(), &[step("a", ""), resume(false), patch(true)]);
    assert_eq!(said(&mut run), ["dispatch x"]);
    let mut run = loaded(&patched(), &[step("a", ""), resume(false)]);
    assert_eq!(said(&mut run), [mark(false)], "a choice that was lost has changed nothing");
}

#[test]
fn a_choice_that_is_not_recorded_does_not_keep_a_terminated_run_from_ending() {
    let mut driven = Driven::start(&patched());
    driven.apply(step("a", ""));
    assert!(driven.run.is_holding());
    driven.apply(terminate());
    assert_eq!(driven.commands(), ["end: terminated: terminated: at once"]);
    let mut run = loaded(&patched(), &[step("a", ""), terminate()]);
    assert_eq!(said(&mut run), ["end: terminated: terminated: at once"]);
}

#[test]
fn of_two_owners_that_choose_differently_the_first_one_is_right() {
    let mut run = loaded(&patched(), &[step("a", ""), resume(false)]);
    assert_eq!(said(&mut run), [mark(false)]);
    run.apply(Event {
        sequence: 9,
        time: time(9),
        body: patch(true),
    });
    assert_eq!(said(&mut run), ["replay"]);
    assert_eq!(said(&mut run), ["replay"], "it is of no use any more");
}

#[test]
fn a_patch_met_twice_says_the_same_and_one_that_is_gone_says_nothing() {
    let twice = workflow(|ctx| async move {
        let first = ctx.patched("x first");
        ctx.call("a").await?;
        assert_eq!(first, ctx.patched("x first"));
        done(if first { "new" } else { "old" })
    });
    let mut driven = Driven::start(&twice);
    assert_eq!(driven.commands(), [mark(true)]);
    driven.apply(patch(true));
    assert_eq!(driven.commands(), ["dispatch a"]);
    driven.apply(step("a", ""));
    assert_eq!(driven.commands(), ["completed new"]);

    let removed = workflow(|ctx| async move {
        ctx.call("a").await?;
        ctx.call("x").await?;
        ctx.call("b").await?;
        done("")
    });
    let mut run = loaded(&removed, &[step("a", ""), patch(true), step("x", "")]);
    assert_eq!(said(&mut run), ["dispatch b"]);
    let mut run = loaded(&removed, &[step("a", ""), step("b", ""), patch(false)]);
    assert!(
        said(&mut run)[0].contains("step b"),
        "the old side was removed too early, and that is seen"
    );
}

#[test]
fn the_end_waits_for_the_choice_it_follows_from() {
    let code = workflow(|ctx| async move { done(if ctx.patched("x first") { "new" } else { "old" }) });
    let mut driven = Driven::start(&code);
    assert_eq!(driven.commands(), [mark(true)]);
    driven.apply(patch(true));
    assert_eq!(driven.commands(), ["completed new"]);
}

#[test]
fn a_run_without_a_version_is_pinned_before_anything_else_is_done() {
    let mut code = patched();
    code.version = 3;
    let mut run = Run::new(run_id(), &code, Limits::default(), 0);
    run.pin_version();
    let apply = |run: &mut Run, sequence, body| {
        run.apply(Event {
            sequence,
            time: time(sequence),
            body,
        });
    };
    apply(&mut run, 1, start(b""));
    assert_eq!(said(&mut run), [format!("mark =version: {:?}", Bytes::from_static(b"\x03"))]);
    apply(&mut run, 2, marker(LocalKind::Version, "version", b"\x03"));
    assert_eq!(said(&mut run), ["dispatch a"]);

    let mut run = Run::new(run_id(), &code, Limits::default(), 0);
    run.pin_version();
    apply(&mut run, 1, start(b""));
    apply(&mut run, 2, marker(LocalKind::Version, "version", b"\x02"));
    assert_eq!(said(&mut run), ["replay"], "another owner pinned it to another version first");
}

#[test]
fn a_workflow_may_call_things_as_markers_are_called() {
    let code = workflow(|ctx| async move {
        ctx.compute("version").await?;
        ctx.compute(KEY).await?;
        done(if ctx.patched("x first") { "new" } else { "old" })
    });
    let markers = [
        ("=version", "=patched(x first)"),
        // What stands under such a key is read by its kind.
        ("version", KEY),
    ];
    for (version, patched) in markers {
        let own = |path: &str| match path.strip_prefix('=') {
            Some(name) => key(name).as_own(),
            None => key(path),
        };
        let recorded = |path, kind, value| EventBody::About(own(path), Record::Local(kind, Ok(Bytes::from_static(value))));
        let mut run = Run::new(run_id(), &code, Limits::default(), 0);
        run.pin_version();
        let mut next = 0;
        let mut after = |body| {
            next += 1;
            run.apply(Event {
                sequence: next,
                time: time(next),
                body,
            });
            said(&mut run)
        };
        assert_eq!(after(start(b"")).len(), 1, "the version comes first");
        assert_eq!(after(recorded(version, LocalKind::Version, b"\x01")), ["run version"]);
        assert_eq!(after(local("version", "1")), [format!("run {KEY}")]);
        assert_eq!(after(local(KEY, "2")), [mark(true)]);
        assert_eq!(after(recorded(patched, LocalKind::Patch, b"\xc3")), ["completed new"]);
    }
}
