//! A run fed by hand: entries with typed values go in, what is to be done comes out as lines.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use everstep::{IntoWorkflow, WorkflowBody};
use everstep_common::digest::InputDigest;
use everstep_common::failure::Failure;
use everstep_common::ids::{FunctionName, RunId, WorkflowName};
use everstep_common::journal::{Child, Inbound, InboundKind, LocalKind, Start};
use everstep_common::key::StepKey;
use everstep_common::payload::Payload;
use everstep_common::question::{Question, Reply, answer_slot};
use everstep_common::task::StepOptions;
use everstep_common::update::answer_key;
use everstep_common::view::RunView;
use everstep_common::wire::{decode_value, encode_value};
use everstep_core::{
    Answered, ChildSpec, Closure, Command, Decision, Event, EventBody, Limits, Record, Run, RunEnd, SessionChange, SessionRequest,
};
use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tracing_subscriber::fmt::MakeWriter;

/// When the first entry is stored; each following one comes a second later.
pub(crate) const BEGINNING: Timestamp = Timestamp::constant(1_700_000_000, 0);

pub(crate) fn run_id() -> RunId {
    "0-0123456789abcdef0123456789abcdef".parse().unwrap()
}

pub(crate) fn key(path: &str) -> StepKey {
    StepKey::from_path(path)
}

/// A run, what was applied to it, and what it has asked for.
pub(crate) struct Driven {
    run: Run,
    sequence: u64,
    commands: Vec<Command>,
}

impl Driven {
    pub(crate) fn start<W, Marker>(workflow: W, input: impl Serialize) -> Self
    where
        W: IntoWorkflow<Marker, Workflow: WorkflowBody>,
    {
        Self::start_known(workflow, input, 0)
    }

    /// One whose entries up to `known_until` were seen by an owner before.
    pub(crate) fn start_known<W, Marker>(workflow: W, input: impl Serialize, known_until: u64) -> Self
    where
        W: IntoWorkflow<Marker, Workflow: WorkflowBody>,
    {
        let definition = everstep::definition(workflow, Default::default());
        let run = Run::new(run_id(), &definition, Limits::default(), known_until);
        let mut driven = Self {
            run,
            sequence: 0,
            commands: Vec::new(),
        };
        let input = encode_value(&input).unwrap();
        driven.apply(EventBody::Start(Box::new(start(definition.name, &input)), input));
        driven
    }

    /// Records the outcome of the step `key` as a worker or an orchestrator would that was given what was asked.
    pub(crate) fn answer(&mut self, key_path: &str, result: Result<Bytes, Failure>) {
        let asked = self.commands.iter().find_map(|command| match command {
            Command::Dispatch {
                key: asked,
                function,
                digest,
                ..
            }
            | Command::Record {
                key: asked,
                function,
                digest,
                ..
            } if *asked == key(key_path) => Some((function.clone(), *digest)),
            _ => None,
        });
        let (function, digest) = asked.unwrap_or_else(|| panic!("step {key_path} was not asked for: {:?}", self.lines()));
        self.apply(EventBody::About(
            key(key_path),
            Record::Step {
                function,
                digest,
                result,
            },
        ));
    }

    pub(crate) fn value(&mut self, key: &str, value: impl Serialize) {
        self.answer(key, Ok(encode_value(&value).unwrap()));
    }

    pub(crate) fn local(&mut self, path: &str, result: Result<Bytes, Failure>) {
        self.apply(EventBody::About(key(path), Record::Local(LocalKind::Closure, result)));
    }

    pub(crate) fn timer(&mut self, path: &str) {
        self.apply(EventBody::About(key(path), Record::Timer));
    }

    pub(crate) fn signal(&mut self, name: &str, value: impl Serialize) {
        self.apply(EventBody::Signal(name.into(), encode_value(&value).unwrap()));
    }

    pub(crate) fn update(&mut self, update: &str, name: &str, input: impl Serialize) {
        self.apply(EventBody::Update {
            key: key(update),
            name: name.into(),
            input: encode_value(&input).unwrap(),
        });
    }

    /// What the workflow answered to the update with that key.
    pub(crate) fn answer_to<T: DeserializeOwned>(&self, update: &str) -> Result<T, Failure> {
        self.answered(update).clone().map(|value| decode_value(&value).unwrap())
    }

    /// Records what the workflow answered to the update with that key.
    pub(crate) fn answer_recorded(&mut self, update: &str) {
        let record = Record::Local(LocalKind::Update, self.answered(update).clone());
        self.apply(EventBody::About(answer_key(&key(update)), record));
    }

    fn answered(&self, update: &str) -> &Result<Bytes, Failure> {
        let place = answer_key(&key(update));
        let mut answers = self.commands.iter().filter_map(|command| match command {
            Command::RecordAnswer { key, answer } if *key == place => Some(answer),
            _ => None,
        });
        let answer = answers.next();
        assert!(
            answers.next().is_none(),
            "update {update} is answered twice: {:?}",
            self.lines()
        );
        answer.unwrap_or_else(|| panic!("update {update} is not answered: {:?}", self.lines()))
    }

    /// Records the question that was asked under this key, as people then see it.
    pub(crate) fn shown(&mut self, path: &str) -> Question {
        let asked = self.commands.iter().find_map(|command| match command {
            Command::AskUser { key: asked, question } if *asked == key(path) => Some(Question::clone(question)),
            _ => None,
        });
        let question = asked.unwrap_or_else(|| panic!("{path} is not asked: {:?}", self.lines()));
        let recorded = encode_value(&question).unwrap();
        self.apply(EventBody::About(key(path), Record::Local(LocalKind::Question, Ok(recorded))));
        question
    }

    pub(crate) fn reply(&mut self, path: &str, by: &str, reply: Reply) {
        let answered = Answered {
            id: answer_slot(&key(path)),
            by: by.to_owned(),
            groups: Vec::new(),
            reason: None,
            reply,
        };
        self.apply(EventBody::About(key(path), Record::Answer(Box::new(answered))));
    }

    /// Records on which side of a patch the run has said it is.
    pub(crate) fn marked(&mut self) -> bool {
        let told = self.commands.iter().find_map(|command| match command {
            Command::RecordMarker { key, kind, value } => Some((key.clone(), *kind, value.clone())),
            _ => None,
        });
        let (key, kind, value) = told.unwrap_or_else(|| panic!("no patch was met: {:?}", self.lines()));
        self.apply(EventBody::About(key, Record::Local(kind, Ok(value.clone()))));
        decode_value(&value).unwrap()
    }

    pub(crate) fn cancel(&mut self) {
        self.apply(EventBody::In(Inbound {
            kind: InboundKind::Cancel,
            by: None,
            reason: None,
        }));
    }

    /// All that was to be done so far, a line each, deadlines aside.
    pub(crate) fn lines(&self) -> Vec<String> {
        let told = self
            .commands
            .iter()
            .filter(|command| !matches!(command, Command::Deadline { .. }));
        told.map(line).collect()
    }

    /// What the step `key` was asked with.
    pub(crate) fn asked<T: DeserializeOwned>(&self, path: &str) -> (T, StepOptions) {
        let asked = self.commands.iter().find_map(|command| match command {
            Command::Dispatch {
                key: asked,
                input,
                options,
                ..
            } if *asked == key(path) => Some((input, options)),
            _ => None,
        });
        let (input, options) = asked.expect("the step was asked for");
        (decode_value(input).unwrap(), options.clone())
    }

    /// When the timer `key` is due.
    pub(crate) fn due(&self, path: &str) -> Timestamp {
        let due = self.commands.iter().find_map(|command| match command {
            Command::StartTimer { key: asked, due, .. } if *asked == key(path) => Some(*due),
            _ => None,
        });
        due.expect("the timer was asked for")
    }

    /// The closure `key`, and its timeout.
    pub(crate) fn closure(&mut self, path: &str) -> (Closure, Option<Duration>) {
        let at = self
            .commands
            .iter()
            .position(|command| matches!(command, Command::RunLocal { key: asked, .. } if *asked == key(path)));
        match self.commands.remove(at.expect("the closure was asked for")) {
            Command::RunLocal { closure, timeout, .. } => (closure, timeout),
            _ => unreachable!("found above"),
        }
    }

    /// The change that the operation `key` is to make.
    pub(crate) fn change(&self, path: &str) -> SessionChange {
        let change = self.commands.iter().find_map(|command| match command {
            Command::Session {
                key: asked,
                request: SessionRequest::Update { change, .. },
                ..
            } if *asked == key(path) => Some(change.clone()),
            _ => None,
        });
        change.expect("the update was asked for")
    }

    /// What an operation on the session brought.
    pub(crate) fn session(&mut self, path: &str, value: impl Serialize) {
        let value = Ok(encode_value(&value).unwrap());
        self.apply(EventBody::About(key(path), Record::Local(LocalKind::Session, value)));
    }

    /// How the child `key` is to be started.
    pub(crate) fn child(&self, path: &str) -> &ChildSpec {
        let child = self.commands.iter().find_map(|command| match command {
            Command::StartChild { key: asked, child } if *asked == key(path) => Some(&**child),
            _ => None,
        });
        child.expect("the child was asked for")
    }

    /// Records which run the child `key` is.
    pub(crate) fn child_named(&mut self, path: &str) {
        let child = self.child(path);
        let named = Child {
            workflow: child.workflow.clone(),
            digest: child.digest,
            run: run_id().successor(),
            detached: child.detached,
        };
        self.apply(EventBody::About(key(path), Record::Child(Box::new(named))));
    }

    /// Records the value of the child `key`.
    pub(crate) fn child_value(&mut self, path: &str, value: impl Serialize) {
        self.child_ended(path, Ok(encode_value(&value).unwrap()));
    }

    /// Records that the child `key` ended without a value.
    pub(crate) fn child_failed(&mut self, path: &str, failure: Failure) {
        self.child_ended(path, Err(failure));
    }

    fn child_ended(&mut self, path: &str, result: Result<Bytes, Failure>) {
        let child = self.child(path);
        let ended = Record::Step {
            function: FunctionName::new(child.workflow.as_str()).unwrap(),
            digest: child.digest,
            result,
        };
        self.apply(EventBody::About(key(path), ended));
    }

    pub(crate) fn view(&self) -> RunView {
        self.run.view()
    }

    /// How the run ended.
    pub(crate) fn end(&self) -> &RunEnd {
        let end = self.commands.iter().find_map(|command| match command {
            Command::End { outcome } => Some(outcome),
            _ => None,
        });
        end.unwrap_or_else(|| panic!("not ended: {:?}", self.lines()))
    }

    pub(crate) fn completed<T: DeserializeOwned>(&self) -> T {
        match self.end() {
            RunEnd::Completed(value) => decode_value(value).unwrap(),
            other => panic!("not completed: {other:?}"),
        }
    }

    pub(crate) fn failed(&self) -> &Failure {
        match self.end() {
            RunEnd::Failed(failure) => failure,
            other => panic!("not failed: {other:?}"),
        }
    }

    fn apply(&mut self, body: EventBody) {
        let time = BEGINNING + Duration::from_secs(self.sequence);
        self.sequence += 1;
        self.run.apply(Event {
            sequence: self.sequence,
            time,
            body,
        });
        match self.run.decide() {
            Decision::Go(commands) => self.commands.extend(commands),
            other => panic!("{other:?}"),
        }
    }
}

fn line(command: &Command) -> String {
    match command {
        Command::Dispatch { key, .. } => format!("step {key}"),
        Command::RunLocal { key, .. } => format!("closure {key}"),
        Command::StartTimer { key, .. } => format!("timer {key}"),
        Command::CancelStep { key, .. } | Command::CancelTimer { key } | Command::CancelLocal { key } => format!("cancel {key}"),
        Command::Record { key, failure, .. } => format!("record {key}: {failure}"),
        other => other.to_string(),
    }
}

fn start(workflow: WorkflowName, input: &Bytes) -> Start {
    Start {
        workflow,
        version: None,
        input: Payload::Inline(input.clone()),
        digest: InputDigest::of(input),
        start_key: None,
        session: Some("customer 7".to_owned()),
        parent: None,
        tags: Default::default(),
        traceparent: None,
        terms: Default::default(),
        continues: None,
        listens_from: None,
        listened: Vec::new(),
    }
}

/// What was logged, as text.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}
