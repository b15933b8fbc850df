//! A journal and the world round a run: workers, timers, crashes, late results. All from one seed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use everstep_common::digest::InputDigest;
use everstep_common::failure::{Failure, FailureKind};
use everstep_common::ids::{FunctionName, ProcessId};
use everstep_common::journal::{
    Attempt, AttemptError, Child, Entry, EntryKey, JournalEntry, Local, LocalKind, RunTimer, StartTerms, StepResult,
};
use everstep_common::key::StepKey;
use everstep_common::payload::Payload;
use everstep_common::question::{Question, Reply};
use everstep_common::subscription::{EventPlace, Subscription};
use everstep_common::wire;
use futures::FutureExt;
use jiff::Timestamp;

use super::kit::{Dice, cancel, function, mix, run_id, start_under, terminate};
use super::programs::SIGNALS;
use crate::{Answered, ChildSpec, Command, Decision, Definition, Event, EventBody, Limits, OpenKind, Record, Run, SessionRequest};

/// Entries after which a program that still runs is left as it is.
const ENTRIES_MAX: u64 = 400;

/// A run's journal, and what the run said after each entry.
pub(super) struct Story {
    pub(super) journal: Vec<Event>,
    /// Commands decided right after an entry, in order; `None` where they depend on more than the entries: the run had just been
    /// loaded anew, a deadline had passed, or several entries came at once.
    pub(super) said: BTreeMap<u64, Option<Vec<String>>>,
    pub(super) ended: bool,
    /// The fingerprint of the run that lived it, crashes and all.
    pub(super) fingerprint: u64,
}

/// Something that may happen next, by itself.
enum Coming {
    Work(Box<Command>),
    Retry { key: StepKey, attempt: u32 },
    Deadline { key: StepKey, at: Timestamp },
    Entry(EventBody),
}

struct World<'a> {
    definition: &'a Definition,
    dice: Dice,
    run: Run,
    time: Timestamp,
    story: Story,
    /// What the journal holds for good: an entry is created once.
    stored: BTreeSet<String>,
    coming: Vec<Coming>,
    deadline_passed: bool,
    /// The last decision was to read the run anew.
    replayed: bool,
    /// Entries were applied since the last decision.
    undecided: bool,
    /// Signals and updates sent so far.
    signals: u64,
    gate: Gate,
}

/// The limit of the workflow, as whoever drives the run keeps it.
#[derive(Default)]
struct Gate {
    /// There is one.
    limited: bool,
    /// Nothing is done for the run until it is recorded that it waits.
    held: bool,
}

/// Lives a run of `definition` to its end, in a world drawn from `seed`.
pub(super) fn live(definition: &Definition, seed: u64) -> Result<Story, String> {
    let story = Story {
        journal: Vec::new(),
        said: BTreeMap::new(),
        ended: false,
        fingerprint: 0,
    };
    let run = Run::new(run_id(), definition, Limits::default(), 0);
    let time = Timestamp::from_second(1_000).unwrap();
    let mut dice = Dice::new(seed);
    let coming = vec![Coming::Entry(start_under(b"", terms(&mut dice)))];
    let gate = Gate {
        limited: dice.one_in(4),
        ..Gate::default()
    };
    let mut world = World {
        definition,
        dice,
        run,
        time,
        story,
        stored: BTreeSet::new(),
        coming,
        deadline_passed: false,
        replayed: false,
        undecided: false,
        signals: 0,
        gate,
    };
    while !world.story.ended && !world.coming.is_empty() && world.story.journal.len() < ENTRIES_MAX as usize {
        world.happen()?;
        world.send_what_is_waited_for();
    }
    if !world.story.ended && world.coming.is_empty() {
        return Err(format!("nothing is coming and the run waits for {:?}", world.run.waits()));
    }
    world.story.fingerprint = world.run.fingerprint();
    Ok(world.story)
}

/// A run that was just loaded: every entry applied, and nothing decided yet.
pub(super) fn reload(definition: &Definition, journal: &[Event]) -> Run {
    let known_until = journal.last().map_or(0, |event| event.sequence);
    let mut run = Run::new(run_id(), definition, Limits::default(), known_until);
    foresee(&mut run, journal);
    journal.iter().for_each(|event| run.apply(event.clone()));
    run
}

/// Most runs are started as usual; some begin later, some must be over by some time.
fn terms(dice: &mut Dice) -> StartTerms {
    StartTerms {
        delay: dice.one_in(6).then_some(Duration::from_secs(5)),
        deadline: dice.one_in(6).then_some(Duration::from_secs(20)),
        priority: 0,
        key: None,
    }
}

/// Reads the markers of a journal ahead.
pub(super) fn foresee(run: &mut Run, journal: &[Event]) {
    for event in journal {
        if let EventBody::About(key, Record::Local(kind @ LocalKind::Patch, Ok(value))) = &event.body {
            run.foresee(&marker(key.clone(), *kind, value.clone()));
        }
    }
}

fn marker(key: StepKey, kind: LocalKind, value: Bytes) -> JournalEntry {
    JournalEntry {
        sequence: 0,
        time: Timestamp::UNIX_EPOCH,
        key: EntryKey::Local(key),
        entry: Entry::Local(Local {
            kind,
            result: StepResult::Value(Payload::Inline(value)),
        }),
    }
}

impl World<'_> {
    fn happen(&mut self) -> Result<(), String> {
        let chosen = self.dice.below(self.coming.len());
        let coming = self.coming.swap_remove(chosen);
        self.come(coming)?;
        // A run whose last entries were applied without a decision gets one when all is quiet.
        if self.undecided && self.coming.is_empty() {
            self.act()
        } else {
            Ok(())
        }
    }

    fn come(&mut self, coming: Coming) -> Result<(), String> {
        match coming {
            Coming::Entry(body) => self.append(body),
            Coming::Retry { key, attempt } => {
                self.run.retry_due(&key, attempt);
                self.act()
            }
            Coming::Deadline { key, at } => {
                // Deadlines are a day away and rarely pass.
                if self.dice.one_in(50) {
                    self.run.deadline_passed(&key, at);
                    self.deadline_passed = true;
                    return self.act();
                }
                Ok(())
            }
            Coming::Work(command) => {
                let body = self.work(*command);
                body.map_or(Ok(()), |body| self.append(body))
            }
        }
    }

    /// Creates an entry, which the run then gets by the feed: in memory, or after a crash with all the others.
    fn append(&mut self, body: EventBody) -> Result<(), String> {
        if !self.stored.insert(name(&body)) {
            return Ok(());
        }
        let sequence = self.story.journal.last().map_or(0, |event| event.sequence) + 1 + self.dice.next() % 3;
        self.story.ended = matches!(body, EventBody::End);
        let event = Event {
            sequence,
            time: self.time,
            body,
        };
        self.story.journal.push(event.clone());
        if self.dice.one_in(8) {
            self.load();
            // What was under way is lost, but for people, who do not die with it, and a choice that may still arrive, and then stands.
            self.coming.retain(|coming| coming.is_from_outside() || coming.is_choice());
            self.story.said.insert(sequence, None);
            self.see_to_place();
            return self.act();
        }
        let held = self.run.is_holding() || self.gate.held;
        self.run.apply(event);
        self.see_to_place();
        if self.dice.one_in(6) && !self.coming.is_empty() {
            // The next entry is there already.
            self.undecided = true;
            self.story.said.insert(sequence, None);
            return Ok(());
        }
        let undecided = self.undecided;
        let commands = self.decide()?;
        // While a choice is not recorded nothing is said; a replay knows it from the beginning.
        let comparable =
            !self.deadline_passed && !undecided && !held && !self.replayed && !self.run.is_holding() && !self.gate.held;
        let said = commands.iter().map(Command::to_string).collect();
        self.story.said.insert(sequence, comparable.then_some(said));
        self.take_on(commands);
        if self.dice.one_in(60) {
            self.coming.push(Coming::Entry(cancel()));
        }
        if self.dice.one_in(300) {
            self.coming.push(Coming::Entry(terminate()));
        }
        if self.dice.one_in(12) {
            let name = SIGNALS[self.dice.below(SIGNALS.len())];
            self.send(name);
        }
        if self.dice.one_in(12) {
            let name = SIGNALS[self.dice.below(SIGNALS.len())];
            self.request(name);
        }
        Ok(())
    }

    fn request(&mut self, name: &str) {
        self.signals += 1;
        self.coming.push(Coming::Entry(EventBody::Update {
            key: StepKey::from_path(&format!("update {}", self.signals)),
            name: name.into(),
            input: Bytes::copy_from_slice(&self.signals.to_be_bytes()),
        }));
    }

    /// Another owner reads the journal. Operators may have set a limit, or removed it.
    fn load(&mut self) {
        self.run = reload(self.definition, &self.story.journal);
        self.gate = Gate {
            limited: self.gate.limited != self.dice.one_in(10),
            held: false,
        };
    }

    /// A run whose workflow has a limit waits for its place before anything is done for it.
    fn see_to_place(&mut self) {
        if self.run.wants_place() {
            self.gate.held = false;
            return self.coming.push(Coming::Entry(timer(RunTimer::Place)));
        }
        if self
            .story
            .journal
            .last()
            .is_some_and(|event| event.body == timer(RunTimer::Wait))
        {
            // It came too late.
            self.gate.held = false;
        }
        if self.gate.limited && self.run.may_wait() && !self.gate.held {
            self.gate.held = true;
            self.coming.push(Coming::Entry(timer(RunTimer::Wait)));
        }
    }

    fn send(&mut self, name: &str) {
        self.signals += 1;
        let value = Bytes::copy_from_slice(&self.signals.to_be_bytes());
        self.coming.push(Coming::Entry(EventBody::Signal(name.into(), value)));
    }

    /// Somebody sends at last what the run waits for.
    fn send_what_is_waited_for(&mut self) {
        if !self.coming.is_empty() {
            return;
        }
        let mut kinds = self.run.waits().into_iter().map(|wait| wait.kind);
        match kinds.find(|kind| matches!(kind, OpenKind::Signal { .. } | OpenKind::Update { .. })) {
            Some(OpenKind::Signal { name, .. }) => self.send(&name),
            Some(OpenKind::Update { name, .. }) => self.request(&name),
            _ => {}
        }
    }

    /// Everybody who is asked replies, some the wrong thing or twice.
    fn reply(&mut self, key: &StepKey, question: &Question) {
        let people = question.approval.as_ref().map_or(1, |terms| terms.quorum + 1);
        for person in 0..people {
            let by = format!("person {}", person - u32::from(person > 1 && self.dice.one_in(4)));
            let reply = match &question.approval {
                Some(terms) if self.dice.one_in(5) => Reply::Reject(terms.hash),
                Some(terms) => Reply::Approve(terms.hash),
                None => Reply::Value(Payload::Inline(value_of(key))),
            };
            let answered = Answered {
                id: question.slot(key, &by),
                by,
                groups: Vec::new(),
                reason: None,
                reply,
            };
            let entry = EventBody::About(key.clone(), Record::Answer(Box::new(answered)));
            self.coming.push(Coming::Entry(entry));
        }
    }

    fn act(&mut self) -> Result<(), String> {
        let commands = self.decide()?;
        self.take_on(commands);
        Ok(())
    }

    fn decide(&mut self) -> Result<Vec<Command>, String> {
        self.undecided = false;
        self.replayed = false;
        if self.gate.held {
            return Ok(Vec::new());
        }
        self.run.go_ahead();
        match self.run.decide() {
            Decision::Go(commands) => Ok(commands),
            Decision::Replay => {
                self.load();
                self.coming.retain(Coming::is_from_outside);
                self.see_to_place();
                let commands = self.decide();
                self.replayed = true;
                commands
            }
            Decision::Parked(parked) => Err(format!("parked live at entry {}: {parked}", self.run.applied())),
        }
    }

    fn take_on(&mut self, commands: Vec<Command>) {
        for command in commands {
            match command {
                Command::RetryAt { key, attempt, .. } => self.coming.push(Coming::Retry { key, attempt }),
                Command::Deadline { key, at } => self.coming.push(Coming::Deadline { key, at }),
                // A cancel may come too late: the result then arrives for nobody.
                Command::CancelStep {
                    key, function, digest, ..
                } => {
                    self.call_back(&key);
                    let result = Err(Failure::new(FailureKind::Cancelled, "given up"));
                    let cancelled = Record::Step {
                        function,
                        digest,
                        result,
                    };
                    self.coming.push(Coming::Entry(EventBody::About(key, cancelled)));
                }
                // What was found already is recorded all the same.
                Command::StopAwaiting { what } if self.dice.one_in(2) => self.coming.retain(|coming| !coming.is_event_of(&what)),
                Command::StopAwaiting { .. } => {}
                Command::CancelTimer { key } | Command::CancelLocal { key } => self.call_back(&key),
                Command::CloseWait { ref key, withdraw, .. } => {
                    if self.dice.one_in(2) {
                        self.coming.retain(|coming| !coming.is_for(key) || coming.is_from_outside());
                    }
                    if withdraw {
                        self.coming.push(Coming::Work(Box::new(command)));
                    }
                }
                other => self.coming.push(Coming::Work(Box::new(other))),
            }
        }
    }

    /// What is under way for a key may end before anything comes of it.
    fn call_back(&mut self, key: &StepKey) {
        if self.dice.one_in(2) {
            self.coming.retain(|coming| !coming.is_for(key));
        }
    }

    /// Does a command, and says which entry comes of it.
    fn work(&mut self, command: Command) -> Option<EventBody> {
        // Server clocks of two leaders differ a little.
        let step = 1 + (self.dice.next() % 2_000) as i64;
        self.time += jiff::SignedDuration::from_millis(if self.dice.one_in(10) { -5 } else { step });
        match command {
            Command::Dispatch {
                key,
                attempt,
                function,
                digest,
                ..
            } => {
                let (ended, tried) = (
                    |result| Record::Step {
                        function: function.clone(),
                        digest,
                        result,
                    },
                    failed(&function, digest),
                );
                let record = match self.dice.below(10) {
                    0 => ended(Err(Failure::new(FailureKind::Fatal, "declined"))),
                    1 | 2 => Record::Try(attempt, Box::new(tried)),
                    3 => {
                        // The execution that began ends later, or the next delivery does.
                        let later = EventBody::About(key.clone(), ended(Ok(value_of(&key))));
                        self.coming.push(Coming::Entry(later));
                        Record::Begun { attempt, fence: false }
                    }
                    _ => ended(Ok(value_of(&key))),
                };
                Some(EventBody::About(key, record))
            }
            Command::StartChild { key, child } => {
                if !child.detached {
                    let result = match self.dice.below(6) {
                        0 => Err(Failure::new(FailureKind::Workflow, "lost")),
                        1 => Err(Failure::new(FailureKind::Cancelled, "by somebody else")),
                        _ => Ok(value_of(&key)),
                    };
                    self.coming.push(Coming::Entry(ended(&key, &child, result)));
                }
                Some(named(key, &child))
            }
            Command::CancelChild { key, child } => {
                let result = match self.dice.below(4) {
                    0 => Ok(value_of(&key)),
                    1 => Err(Failure::new(FailureKind::Workflow, "clean-up failed")),
                    _ => Err(Failure::new(FailureKind::Cancelled, "as asked")),
                };
                self.coming.push(Coming::Entry(ended(&key, &child, result)));
                Some(named(key, &child))
            }
            Command::RunLocal { key, closure, .. } => {
                let value = closure().now_or_never()?;
                Some(EventBody::About(key, Record::Local(LocalKind::Closure, value)))
            }
            Command::Session { key, request, .. } => {
                let brought = match request {
                    SessionRequest::Set { value, .. } => value,
                    SessionRequest::Update { change, .. } => change(None),
                    _ => Ok(value_of(&key)),
                };
                Some(EventBody::About(key, Record::Local(LocalKind::Session, brought)))
            }
            Command::Emit { key, .. } => {
                let value = Ok(value_of(&key));
                Some(EventBody::About(key, Record::Local(LocalKind::Emit, value)))
            }
            Command::Await { what, number, .. } => {
                let value = Bytes::copy_from_slice(format!("{what} {number}").as_bytes());
                Some(EventBody::Event(Box::new((*what).clone()), place(number), value))
            }
            Command::StartTimer { key, due, .. } => {
                self.time = self.time.max(due);
                Some(EventBody::About(key, Record::Timer))
            }
            Command::AskUser { key, question } => {
                self.reply(&key, &question);
                let recorded = wire::encode_value(&question).expect("a question is encoded");
                Some(EventBody::About(key, Record::Local(LocalKind::Question, Ok(recorded))))
            }
            Command::CloseWait { key, .. } => Some(EventBody::About(key, Record::Withdrawn)),
            Command::Record {
                key,
                function,
                digest,
                failure,
                ..
            } => Some(EventBody::About(
                key,
                Record::Step {
                    function,
                    digest,
                    result: Err(failure),
                },
            )),
            Command::RecordAnswer { key, answer } => Some(EventBody::About(key, Record::Local(LocalKind::Update, answer))),
            Command::RecordMarker { key, kind, value } => Some(EventBody::About(key, Record::Local(kind, Ok(value)))),
            Command::End { .. } => Some(EventBody::End),
            _ => None,
        }
    }
}

impl Coming {
    fn is_from_outside(&self) -> bool {
        matches!(
            self,
            Self::Entry(EventBody::Signal(..) | EventBody::Update { .. } | EventBody::About(_, Record::Answer(_)))
        )
    }

    /// The next event of the subscription.
    fn is_event_of(&self, of: &Subscription) -> bool {
        matches!(self, Self::Work(command) if matches!(&**command, Command::Await { what, .. } if **what == *of))
    }

    /// Which version or side of a patch the run goes by, on its way to the journal.
    fn is_choice(&self) -> bool {
        matches!(self, Self::Work(command) if matches!(**command, Command::RecordMarker { .. }))
    }

    fn is_for(&self, cancelled: &StepKey) -> bool {
        match self {
            Self::Work(command) => command.key() == Some(cancelled),
            Self::Retry { key, .. } | Self::Deadline { key, .. } => key == cancelled,
            Self::Entry(EventBody::About(key, _)) => key == cancelled,
            Self::Entry(_) => false,
        }
    }
}

/// Where the event of that number stands.
fn place(number: u32) -> EventPlace {
    EventPlace {
        stream: Timestamp::UNIX_EPOCH,
        sequence: number.into(),
        time: Timestamp::UNIX_EPOCH,
    }
}

fn timer(timer: RunTimer) -> EventBody {
    EventBody::About(timer.key(), Record::Timer)
}

fn failed(function: &FunctionName, digest: InputDigest) -> Attempt {
    Attempt {
        function: function.clone(),
        digest,
        error: AttemptError::Error,
        message: "try again".to_owned(),
        name: None,
        details: None,
        retry_after: None,
        by: ProcessId::new("worker-1").unwrap(),
        began: Timestamp::UNIX_EPOCH,
    }
}

fn named(key: StepKey, child: &ChildSpec) -> EventBody {
    let child = Child {
        workflow: child.workflow.clone(),
        digest: child.digest,
        run: run_id().successor(),
        detached: child.detached,
    };
    EventBody::About(key, Record::Child(Box::new(child)))
}

fn ended(key: &StepKey, child: &ChildSpec, result: Result<Bytes, Failure>) -> EventBody {
    let (function, digest) = (function(child.workflow.as_str()), child.digest);
    EventBody::About(
        key.clone(),
        Record::Step {
            function,
            digest,
            result,
        },
    )
}

/// What a worker returns: the same whoever does the step, and different for every key.
fn value_of(key: &StepKey) -> Bytes {
    let number = key.token().bytes().fold(1, |number, byte| mix(number ^ u64::from(byte)));
    Bytes::copy_from_slice(&number.to_be_bytes())
}

/// What an entry is called: created once.
fn name(body: &EventBody) -> String {
    match body {
        EventBody::Start(..) => "start".to_owned(),
        EventBody::About(key, Record::Step { .. }) => format!("step.{key}"),
        EventBody::About(key, Record::Try(attempt, _)) => format!("try.{key}.{attempt}"),
        EventBody::About(key, Record::Begun { attempt, .. }) => format!("begun.{key}.{attempt}"),
        EventBody::About(key, Record::Local(..)) => format!("local.{key}"),
        EventBody::About(key, Record::Timer) => format!("timer.{key}"),
        EventBody::About(key, Record::Child(_)) => format!("child.{key}"),
        EventBody::In(inbound) => format!("in.{:?}", inbound.kind),
        EventBody::About(key, Record::Withdrawn) => format!("in.answer.{}", key.token()),
        EventBody::About(_, Record::Answer(answered)) => format!("in.{}", answered.id),
        EventBody::Event(what, place, _) => format!("in.{}", what.slot(&place.sequence.to_string())),
        EventBody::Signal(_, value) => format!("in.signal-{value:?}"),
        EventBody::Update { key, .. } => format!("in.{key}"),
        EventBody::End => "end".to_owned(),
    }
}
