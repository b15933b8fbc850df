//! Property: whatever the program, and whatever happens to it, replaying a journal gives the same commands, entry by entry; and
//! a run that is loaded at any entry has exactly those commands to perform that are still open. Meanwhile no signal, update or event is lost or
//! doubled, and no update is answered twice.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

use everstep_common::journal::{InboundKind, LocalKind, RunTimer};
use everstep_common::key::StepKey;
use futures::future::join_all;
use futures::select_biased;

use super::kit::{Dice, Driven, Short, done, first_seed, run_id, start, step, workflow};
use super::programs::{Faults, Node, definition, draw, number};
use super::world::{Story, foresee, live, reload};
use crate::aftermath::Aftermath;
use crate::{Command, Decision, Definition, Event, EventBody, Limits, Record, Run};

const PROGRAMS: u64 = 250;
const DEPTH: usize = 3;

fn program(seed: u64) -> Arc<Node> {
    let mut dice = Dice::new(seed);
    Arc::new(Node::Sequence(
        (0..5).map(|_| Node::Caught(Box::new(draw(&mut dice, DEPTH)))).collect(),
    ))
}

fn honest(seed: u64) -> Definition {
    definition(program(seed), Faults::default())
}

#[test]
fn random_programs_replay_from_every_prefix() {
    let first = first_seed();
    let (mut entries, mut ended, mut commands) = (0, 0, BTreeSet::new());
    for seed in first..first + PROGRAMS {
        let story = live(&honest(seed), seed).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        entries += story.journal.len();
        ended += usize::from(story.ended);
        commands.extend(story.said.values().flatten().flatten().map(|line| kind_of(line)));
        check(&honest(seed), &story).unwrap_or_else(|error| panic!("seed {seed}: {error}\n{:?}", program(seed)));
    }
    // The programs must be worth something: long ones, and most of them live to their end.
    assert!(entries > 10 * PROGRAMS as usize, "only {entries} entries");
    assert!(ended > PROGRAMS as usize * 9 / 10, "only {ended} of {PROGRAMS} ended");
    assert_eq!(commands.iter().map(String::as_str).collect::<Vec<_>>(), EVERY_COMMAND);
    println!("{PROGRAMS} programs, {entries} entries, {ended} ended");
}

/// What the programs must have made the core say between them.
const EVERY_COMMAND: [&str; 24] = [
    "answer",
    "ask",
    "await",
    "cancel child",
    "cancel closure",
    "cancel step",
    "cancel timer",
    "close",
    "deadline",
    "dispatch",
    "emit",
    "end cancelled",
    "end completed",
    "end continued",
    "end failed",
    "end terminated",
    "record",
    "retry",
    "run",
    "session",
    "start",
    "stop",
    "timer",
    "withdraw",
];

fn kind_of(line: &str) -> String {
    let count = if line.starts_with("cancel") || line.starts_with("end") {
        2
    } else {
        1
    };
    let words = line.split([' ', ':']).filter(|word| !word.is_empty());
    words.take(count).collect::<Vec<_>>().join(" ")
}

/// Both halves of the property.
fn check(definition: &Definition, story: &Story) -> Result<(), String> {
    let mut run = Run::new(run_id(), definition, Limits::default(), 0);
    foresee(&mut run, &story.journal);
    let mut open = Open::default();
    let mut chose_in_vain = false;
    for (place, event) in story.journal.iter().enumerate() {
        // A choice that was not recorded when the run was terminated never is: an owner may have chosen otherwise.
        chose_in_vain |= is_terminate(event) && run.is_holding();
        run.apply(event.clone());
        let said = said(&mut run, event.sequence)?;
        compare(story, event.sequence, &said)?;
        account_for_letters(&run, &story.journal[..=place])?;
        if run.wants_place() {
            // Whatever it asked for before was asked for by nobody.
            open = Open::default();
        }
        open.follow(event, said);
        check_reload(definition, &story.journal[..=place], &open)?;
    }
    if chose_in_vain || run.fingerprint() == story.fingerprint {
        Ok(())
    } else {
        Err("another fingerprint".to_owned())
    }
}

fn is_terminate(event: &Event) -> bool {
    matches!(&event.body, EventBody::In(inbound) if inbound.kind == InboundKind::Terminate)
}

/// Each signal, update and event is kept for waits to come, or is with exactly one wait.
fn account_for_letters(run: &Run, journal: &[Event]) -> Result<(), String> {
    let (kept, mut given) = run.letters();
    let found = kept + given.len();
    given.sort_unstable();
    given.dedup();
    let sent = journal
        .iter()
        .filter(|event| {
            matches!(
                event.body,
                EventBody::Signal(..) | EventBody::Update { .. } | EventBody::Event(..)
            )
        })
        .count();
    if sent == kept + given.len() && sent == found {
        return Ok(());
    }
    Err(format!(
        "{sent} signals and updates were sent, {kept} are kept and {given:?} are given"
    ))
}

fn said(run: &mut Run, sequence: u64) -> Result<Vec<Command>, String> {
    match run.decide() {
        Decision::Go(commands) => Ok(commands),
        Decision::Replay => Err(format!("diverged at entry {sequence}")),
        Decision::Parked(parked) => Err(format!("parked in replay at entry {sequence}: {parked}")),
    }
}

fn compare(story: &Story, sequence: u64, replayed: &[Command]) -> Result<(), String> {
    let Some(Some(live)) = story.said.get(&sequence) else {
        return Ok(());
    };
    let replayed: Vec<_> = replayed.iter().map(Command::to_string).collect();
    if replayed == *live {
        return Ok(());
    }
    Err(format!("entry {sequence}: live {live:#?}, replayed {replayed:#?}"))
}

fn check_reload(definition: &Definition, prefix: &[Event], open: &Open) -> Result<(), String> {
    let sequence = prefix.last().map_or(0, |event| event.sequence);
    let mut run = reload(definition, prefix);
    let loaded = said(&mut run, sequence)?;
    if run.is_holding() {
        // Its choice was not recorded yet, so it chooses again, and does nothing else.
        let only_marks = loaded.iter().all(|command| matches!(command, Command::RecordMarker { .. }));
        return if only_marks {
            Ok(())
        } else {
            Err(format!("loaded at entry {sequence}, holding: {loaded:?}"))
        };
    }
    let mut loaded: Vec<_> = loaded.iter().map(Command::to_string).collect();
    loaded.retain(|line| !open.closed.values().any(|closed| closed == line));
    loaded.sort_unstable();
    let expected = open.lines();
    if loaded == expected {
        return Ok(());
    }
    Err(format!("loaded at entry {sequence}: {loaded:#?}, expected {expected:#?}"))
}

/// What is open, by a model that knows nothing of how the core keeps it: the last thing said of each key, until its outcome.
#[derive(Default)]
struct Open {
    work: BTreeMap<String, String>,
    /// Questions that nobody can see yet.
    questions: BTreeMap<String, String>,
    deadlines: BTreeMap<String, String>,
    /// Events that are looked for, by subscription.
    awaited: BTreeMap<String, String>,
    /// Deadlines that are no longer waited for: whether that is said again matters to nobody, for they move nobody either.
    closed: BTreeMap<String, String>,
    end: Option<String>,
}

impl Open {
    fn follow(&mut self, event: &Event, said: Vec<Command>) {
        match &event.body {
            // What is ended as it stands wants nothing any more.
            EventBody::About(key, Record::Timer) if *key == RunTimer::Kill.key() && !said.is_empty() => *self = Self::default(),
            EventBody::About(key, Record::Local(LocalKind::Question, _)) => drop(self.questions.remove(&key.to_string())),
            EventBody::About(key, Record::Withdrawn) => self.forget(&key.to_string()),
            EventBody::About(key, Record::Step { .. } | Record::Local(..) | Record::Timer) => self.forget(&key.to_string()),
            EventBody::About(key, Record::Child(child)) if child.detached => self.forget(&key.to_string()),
            EventBody::Event(what, ..) => drop(self.awaited.remove(&what.to_string())),
            EventBody::End => *self = Self::default(),
            // Nothing is done any more, whatever was wanted.
            _ if is_terminate(event) => *self = Self::default(),
            _ => {}
        }
        for command in said {
            let line = command.to_string();
            match &command {
                Command::Await { what, .. } => {
                    self.awaited.insert(what.to_string(), line);
                    continue;
                }
                Command::StopAwaiting { what } => {
                    self.awaited.remove(&what.to_string());
                    continue;
                }
                _ => {}
            }
            let Some(key) = command.key().map(ToString::to_string) else {
                self.end = Some(line);
                self.work.retain(|key, _| !is_own(key));
                continue;
            };
            match command {
                Command::Deadline { .. } => drop(self.deadlines.insert(key, line)),
                Command::AskUser { .. } => drop(self.questions.insert(key, line)),
                Command::CloseWait { withdraw: false, .. } => {
                    self.forget(&key);
                    self.closed.insert(key, line);
                }
                Command::CloseWait { .. } => {
                    self.forget(&key);
                    self.work.insert(key, line);
                }
                Command::Record { .. } | Command::CancelStep { .. } => {
                    self.forget(&key);
                    self.work.insert(key, line);
                }
                _ => drop(self.work.insert(key, line)),
            }
        }
    }

    fn forget(&mut self, key: &str) {
        self.work.remove(key);
        self.deadlines.remove(key);
        self.questions.remove(key);
    }

    fn lines(&self) -> Vec<String> {
        let mut lines: Vec<_> = self
            .work
            .values()
            .chain(self.deadlines.values())
            .chain(self.questions.values())
            .chain(self.awaited.values())
            .chain(&self.end)
            .cloned()
            .collect();
        lines.sort_unstable();
        lines
    }
}

/// Whether the key is that of a timer of the run's own, which a run that comes to an end no longer needs.
fn is_own(key: &str) -> bool {
    StepKey::from_token(key).is_ok_and(|key| key.is_own())
}

/// How many of the programs an engine with a fault would replay wrongly.
fn broken_by(replay: impl Fn(u64, &Story) -> Result<(), String>) -> usize {
    let first = first_seed();
    let stories = (first..first + PROGRAMS / 4).map(|seed| (seed, live(&honest(seed), seed).unwrap()));
    let broken = stories.filter(|(seed, story)| replay(*seed, story).is_err()).count();
    println!("{broken} of {} programs broke", PROGRAMS / 4);
    broken
}

#[test]
fn looking_results_up_in_the_journal_is_noticed() {
    let broken = broken_by(|seed, story| {
        let outcomes = story.journal.iter().filter_map(|event| match &event.body {
            EventBody::About(key, Record::Step { result: Ok(value), .. }) => Some((key.clone(), number(value))),
            _ => None,
        });
        let known = Some(Arc::new(outcomes.collect::<HashMap<_, _>>()));
        check(
            &definition(
                program(seed),
                Faults {
                    known,
                    ..Faults::default()
                },
            ),
            story,
        )
    });
    assert!(broken > PROGRAMS as usize / 8, "only {broken} programs broke");
}

#[test]
fn a_random_select_is_noticed() {
    let broken = broken_by(|seed, story| {
        let random_select = Some(Arc::new(Mutex::new(Dice::new(seed))));
        check(
            &definition(
                program(seed),
                Faults {
                    random_select,
                    ..Faults::default()
                },
            ),
            story,
        )
    });
    assert!(broken > PROGRAMS as usize / 40, "only {broken} programs broke");
}

#[test]
fn two_entries_before_a_poll_are_noticed() {
    let broken = broken_by(|seed, story| {
        let one_by_one = last_words(seed, story, 1)?;
        let by_two = last_words(seed, story, 2)?;
        if one_by_one == by_two { Ok(()) } else { Err(by_two) }
    });
    assert!(broken > PROGRAMS as usize / 10, "only {broken} programs broke");
}

/// The last command of a replay that takes in so many entries before it polls.
fn last_words(seed: u64, story: &Story, entries: usize) -> Result<String, String> {
    let mut run = Run::new(run_id(), &honest(seed), Limits::default(), 0);
    foresee(&mut run, &story.journal);
    let mut last = String::new();
    for some in story.journal.chunks(entries) {
        let noted = some.iter().filter_map(|event| run.note(event.clone()));
        if let Some(all) = noted.reduce(Aftermath::and) {
            run.drive(all);
        }
        let said = said(&mut run, some[0].sequence)?;
        last = said.last().map(Command::to_string).unwrap_or(last);
    }
    Ok(last)
}

#[test]
fn an_order_that_no_entry_gives_shows_in_the_fingerprint() {
    let code = workflow(|ctx| async move {
        let names: HashMap<String, ()> = (0..40).map(|number| (format!("step {number}"), ())).collect();
        join_all(names.keys().map(|name| ctx.call_with("x", name))).await;
        done("")
    });
    assert_ne!(Driven::start(&code).run.fingerprint(), Driven::start(&code).run.fingerprint());
}

#[test]
fn what_is_given_up_shows_in_the_fingerprint() {
    let gives_up = |first: bool| {
        workflow(move |ctx| async move {
            let (mut a, mut b, mut gate) = (ctx.call("a"), ctx.call("b"), ctx.call("gate"));
            select_biased! { _ = a => {}, _ = b => {}, _ = gate => {} }
            if first {
                drop(a)
            } else {
                drop(b)
            }
            ctx.call("next").await?;
            done("")
        })
    };
    let fingerprint = |first| {
        let mut driven = Driven::start(&gives_up(first));
        driven.apply(step("gate", ""));
        driven.run.fingerprint()
    };
    assert_eq!(fingerprint(true), fingerprint(true));
    assert_ne!(fingerprint(true), fingerprint(false));
}

/// Property: a journal that no honest world writes (entries lost, doubled, out of order, of another program) is judged, and judged
/// the same twice; it brings nothing down.
#[test]
fn any_journal_is_survived_and_judged_the_same_twice() {
    let first = first_seed();
    let mut parked = 0;
    for seed in first..first + PROGRAMS {
        let mut dice = Dice::new(seed);
        let mut bodies: Vec<_> = live(&honest(seed), seed)
            .unwrap()
            .journal
            .into_iter()
            .map(|event| event.body)
            .collect();
        bodies.extend(
            live(&honest(seed + 1), seed)
                .unwrap()
                .journal
                .into_iter()
                .skip(1)
                .map(|event| event.body),
        );
        bodies.retain(|body| !matches!(body, EventBody::End) && !dice.one_in(5));
        for _ in 0..bodies.len() / 2 {
            let (one, other) = (dice.below(bodies.len()), dice.below(bodies.len()));
            bodies.swap(one, other);
        }
        bodies.insert(0, start(b""));
        let verdict = || {
            let mut driven = Driven::start(&honest(seed));
            let mut said = driven.commands();
            for body in &bodies {
                driven.apply(body.clone());
                said.extend(driven.commands());
            }
            (said, driven.run.fingerprint())
        };
        let judged = verdict();
        assert_eq!(judged, verdict(), "seed {seed}");
        parked += usize::from(judged.0.last().is_some_and(|line| line == "parked: nondeterministic"));
        assert!(!judged.0.iter().any(|line| line == "parked: panicked"), "seed {seed}");
    }
    assert!(parked > PROGRAMS as usize / 2, "only {parked} were parked");
}
