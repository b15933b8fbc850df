//! What all tests use: definitions from async closures, events by hand, dice.

use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use everstep_common::digest::InputDigest;
use everstep_common::failure::{Failure, FailureKind};
use everstep_common::ids::{FunctionName, ProcessId, RunId, WorkflowName};
use everstep_common::journal::{Attempt, AttemptError, Child, Inbound, InboundKind, LocalKind, Start, StartTerms};
use everstep_common::key::StepKey;
use everstep_common::payload::Payload;
use everstep_common::task::StepOptions;
use futures::FutureExt;
use jiff::Timestamp;

use crate::{
    Closure, Command, Context, Decision, Definition, Due, Event, EventBody, Limits, Local, Record, Run, Session, SessionRequest,
    Step, Timer, WaitError, WorkflowFailure,
};

/// What test workflows return.
pub(super) type Returned = Result<Bytes, WorkflowFailure>;

pub(super) fn run_id() -> RunId {
    "0-0123456789abcdef0123456789abcdef".parse().unwrap()
}

pub(super) fn key(path: &str) -> StepKey {
    StepKey::from_path(path)
}

pub(super) fn function(name: &str) -> FunctionName {
    FunctionName::new(name).unwrap()
}

pub(super) fn workflow<F, Fut>(code: F) -> Definition
where
    F: Fn(Context) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Returned> + 'static,
{
    workflow_of(move |ctx, _| code(ctx).boxed_local())
}

pub(super) fn workflow_of(
    code: impl Fn(Context, Bytes) -> futures::future::LocalBoxFuture<'static, Returned> + Send + Sync + 'static,
) -> Definition {
    Definition {
        name: WorkflowName::new("test").unwrap(),
        version: 1,
        factory: Arc::new(code),
        triggers: Vec::new(),
        flow: Default::default(),
    }
}

/// Asks for it, and drops it as soon as something wakes its task, without another look at it.
pub(super) async fn asked_and_dropped(mut wait: impl Future + Unpin) {
    let mut polls = 0;
    poll_fn(|cx| {
        polls += 1;
        if polls == 1 {
            assert!(wait.poll_unpin(cx).is_pending());
            return Poll::Pending;
        }
        Poll::Ready(())
    })
    .await;
}

pub(super) fn done(text: &str) -> Returned {
    Ok(Bytes::copy_from_slice(text.as_bytes()))
}

/// The context as tests use it: names only, everything else by default.
pub(super) trait Short {
    fn call(&self, name: &str) -> Step;
    fn call_with(&self, name: &str, input: &str) -> Step;
    fn sleep(&self, milliseconds: u64) -> Timer;
    fn compute(&self, name: &str) -> Local;
    fn read(&self, name: &str) -> Session;
    fn change(&self, name: &str) -> Session;
    fn spawn(&self, name: &str) -> crate::Child;
}

impl Short for Context {
    fn call(&self, name: &str) -> Step {
        self.call_with(name, "")
    }

    fn call_with(&self, name: &str, input: &str) -> Step {
        self.step(
            name,
            function(name),
            Ok(Bytes::copy_from_slice(input.as_bytes())),
            StepOptions::default(),
        )
    }

    fn sleep(&self, milliseconds: u64) -> Timer {
        self.timer("sleep", Due::After(Duration::from_millis(milliseconds)))
    }

    fn compute(&self, name: &str) -> Local {
        self.local(name, closure("computed"))
    }

    fn read(&self, name: &str) -> Session {
        self.session(SessionRequest::Get { key: name.to_owned() })
    }

    fn change(&self, name: &str) -> Session {
        let key = name.to_owned();
        let change = Arc::new(|_| Ok(Bytes::from_static(b"changed")));
        self.session(SessionRequest::Update { key, change })
    }

    fn spawn(&self, name: &str) -> crate::Child {
        self.child(WorkflowName::new(name).unwrap(), Some(1), Ok(Bytes::new()))
    }
}

pub(super) fn closure(value: &'static str) -> Closure {
    Box::new(move || async move { Ok(Bytes::from_static(value.as_bytes())) }.boxed())
}

/// A run and the number of its next entry; entries are one second apart, from the second 1000 on.
pub(super) struct Driven {
    pub(super) run: Run,
    next: u64,
}

impl Driven {
    /// A new run with its start applied.
    pub(super) fn start(definition: &Definition) -> Self {
        Self::start_within(definition, Limits::default())
    }

    pub(super) fn start_within(definition: &Definition, limits: Limits) -> Self {
        Self::start_as(definition, limits, start(b""))
    }

    /// The same under terms.
    pub(super) fn start_under(definition: &Definition, terms: StartTerms) -> Self {
        Self::start_as(definition, Limits::default(), start_under(b"", terms))
    }

    pub(super) fn start_as(definition: &Definition, limits: Limits, start: EventBody) -> Self {
        let mut driven = Self {
            run: Run::new(run_id(), definition, limits, 0),
            next: 1,
        };
        driven.apply(start);
        driven
    }

    pub(super) fn apply(&mut self, body: EventBody) {
        let sequence = self.next;
        self.next += 1;
        self.run.apply(Event {
            sequence,
            time: time(sequence),
            body,
        });
    }

    /// What it says is to be done, a line each.
    pub(super) fn commands(&mut self) -> Vec<String> {
        match self.run.decide() {
            Decision::Go(commands) => lines(&commands),
            Decision::Replay => vec!["replay".to_owned()],
            Decision::Parked(parked) => vec![format!("parked: {}", parked.reason())],
        }
    }
}

/// Starts a run of `when`, applies the entries, and compares what it says after the start and after each entry.
pub(super) fn check(when: &Definition, started: &[&str], then: Vec<(EventBody, &[&str])>) {
    check_under(StartTerms::default(), when, started, then);
}

/// The same under terms.
pub(super) fn check_under(terms: StartTerms, when: &Definition, started: &[&str], then: Vec<(EventBody, &[&str])>) {
    let mut driven = Driven::start_under(when, terms);
    assert_eq!(driven.commands(), started, "after the start");
    for (entry, said) in then {
        let text = format!("after {entry:?}");
        driven.apply(entry);
        assert_eq!(driven.commands(), said, "{text}");
    }
}

/// What a wait brought, as text.
pub(super) fn text(value: Result<Bytes, WaitError>) -> String {
    value.map_or_else(
        |error| format!("({error})"),
        |value| String::from_utf8_lossy(&value).into_owned(),
    )
}

/// The lines of commands without deadlines, in short.
pub(super) fn lines(commands: &[Command]) -> Vec<String> {
    let told = commands.iter().filter(|command| !matches!(command, Command::Deadline { .. }));
    told.map(short).collect()
}

fn short(command: &Command) -> String {
    match command {
        Command::Dispatch { key, attempt: 1, .. } => format!("dispatch {key}"),
        Command::Dispatch { key, attempt, .. } => format!("dispatch {key} attempt {attempt}"),
        Command::StartTimer { key, due, .. } => format!("timer {key} at {}", due.as_second()),
        Command::RetryAt { key, attempt, .. } => format!("retry {key} attempt {attempt}"),
        Command::StartChild { key, child } if child.detached => format!("start detached {key}"),
        Command::StartChild { key, .. } => format!("start {key}"),
        Command::CancelChild { key, .. } => format!("cancel child {key}"),
        Command::End {
            outcome: crate::RunEnd::Completed(value),
        } => format!("completed {}", String::from_utf8_lossy(value)),
        other => other.to_string(),
    }
}

/// The time of an entry of [`Driven`].
pub(super) fn time(sequence: u64) -> Timestamp {
    Timestamp::from_second(1_000 + sequence as i64).unwrap()
}

pub(super) fn start(input: &'static [u8]) -> EventBody {
    start_under(input, StartTerms::default())
}

pub(super) fn start_under(input: &'static [u8], terms: StartTerms) -> EventBody {
    let payload = Payload::Inline(Bytes::from_static(input));
    let start = Start {
        workflow: WorkflowName::new("test").unwrap(),
        version: Some(1),
        input: payload,
        digest: InputDigest::of(input),
        start_key: None,
        session: Some("s".to_owned()),
        parent: None,
        tags: Default::default(),
        traceparent: None,
        terms,
        continues: None,
        listens_from: None,
        listened: Vec::new(),
    };
    EventBody::Start(Box::new(start), Bytes::from_static(input))
}

/// The outcome of a step whose function is called like its key (without scope and number) and whose input is empty.
pub(super) fn step(path: &str, value: &str) -> EventBody {
    step_with(path, plain_name(path), "", Ok(value))
}

pub(super) fn step_with(path: &str, name: &str, input: &str, value: Result<&str, &str>) -> EventBody {
    let result = match value {
        Ok(value) => Ok(Bytes::copy_from_slice(value.as_bytes())),
        Err(message) => Err(Failure::new(FailureKind::Fatal, message)),
    };
    EventBody::About(
        key(path),
        Record::Step {
            function: function(name),
            digest: InputDigest::of(input.as_bytes()),
            result,
        },
    )
}

pub(super) fn attempt(path: &str, number: u32, error: AttemptError) -> EventBody {
    let attempt = Attempt {
        function: function(plain_name(path)),
        digest: InputDigest::of(b""),
        error,
        message: "it failed".to_owned(),
        name: None,
        details: None,
        retry_after: None,
        by: ProcessId::new("worker-1").unwrap(),
        began: time(0),
    };
    EventBody::About(key(path), Record::Try(number, Box::new(attempt)))
}

pub(super) fn begun(path: &str, attempt: u32) -> EventBody {
    EventBody::About(key(path), Record::Begun { attempt, fence: false })
}

pub(super) fn timer(path: &str) -> EventBody {
    EventBody::About(key(path), Record::Timer)
}

pub(super) fn local(path: &str, value: &str) -> EventBody {
    EventBody::About(
        key(path),
        Record::Local(LocalKind::Closure, Ok(Bytes::copy_from_slice(value.as_bytes()))),
    )
}

/// What an operation on the session brought.
pub(super) fn session(path: &str, value: &str) -> EventBody {
    let value = Ok(Bytes::copy_from_slice(value.as_bytes()));
    EventBody::About(key(path), Record::Local(LocalKind::Session, value))
}

/// The entry that names a child, of the workflow that its key names.
pub(super) fn child(path: &str, detached: bool) -> EventBody {
    let child = Child {
        workflow: WorkflowName::new(plain_name(path)).unwrap(),
        digest: InputDigest::of(b""),
        run: run_id().successor(),
        detached,
    };
    EventBody::About(key(path), Record::Child(Box::new(child)))
}

/// The end of such a child, without a value.
pub(super) fn child_failed(path: &str, kind: FailureKind, message: &str) -> EventBody {
    let record = Record::Step {
        function: function(plain_name(path)),
        digest: InputDigest::of(b""),
        result: Err(Failure::new(kind, message)),
    };
    EventBody::About(key(path), record)
}

pub(super) fn cancel() -> EventBody {
    EventBody::In(Inbound {
        kind: InboundKind::Cancel,
        by: None,
        reason: Some("no longer wanted".to_owned()),
    })
}

pub(super) fn terminate() -> EventBody {
    EventBody::In(Inbound {
        kind: InboundKind::Terminate,
        by: None,
        reason: Some("at once".to_owned()),
    })
}

pub(super) fn resume(accept_unasked: bool) -> EventBody {
    EventBody::In(Inbound {
        kind: InboundKind::Resume { accept_unasked },
        by: None,
        reason: None,
    })
}

fn plain_name(path: &str) -> &str {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.split('~').next().unwrap_or(name)
}

/// A small generator of numbers (SplitMix64): the same seed gives the same numbers for ever.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// A number below `bound`.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// True once in `times`.
    pub(super) fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }
}

/// Scrambles a number.
pub(super) fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// The first seed of a randomised test, from `EVERSTEP_SEED` or fixed; printed, so that a failure can be repeated.
pub(super) fn first_seed() -> u64 {
    let seed = std::env::var("EVERSTEP_SEED")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(1);
    println!("EVERSTEP_SEED={seed}");
    seed
}
