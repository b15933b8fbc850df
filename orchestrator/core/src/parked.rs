//! Why a run stands still, said so that someone who never saw the engine knows what to do.
//!
//! A parked run is not failed: its journal is whole, and it goes on from there once the reason is gone.

use std::fmt;

use everstep_common::digest::InputDigest;
use everstep_common::ids::{FunctionName, WorkflowName};
use everstep_common::key::StepKey;
use everstep_common::question::PayloadHash;
use everstep_common::update::UpdateVerdict;

/// How many keys of a long list are printed.
const KEYS_SHOWN: usize = 10;

/// Why a run is not driven further.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parked {
    /// It awaits something, and none of its own waits is open.
    Stuck,
    /// It was woken from elsewhere than its journal.
    ForeignWake,
    /// It woke itself over and over while one entry was applied.
    Livelock {
        /// How often it was polled.
        polls: u32,
    },
    /// It asked for more than one run may.
    TooManySteps(TooMany),
    /// It panicked.
    Panicked {
        /// What the panic said.
        message: String,
    },
    /// Owner after owner ended over it: it blocked the thread that polled it, or took the process with it.
    Poison,
    /// No owner has its code.
    NoCode {
        /// The workflow it names.
        workflow: WorkflowName,
        /// The version it is pinned to.
        version: Option<u32>,
        /// The versions that this orchestrator has of it.
        known: Vec<u32>,
    },
    /// Code and journal disagree.
    Nondeterministic(Mismatch),
}

/// Which bound a run went over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TooMany {
    /// Keys asked for in all.
    Keys {
        /// The bound.
        limit: usize,
    },
    /// Entries in the journal.
    Entries {
        /// The bound.
        limit: usize,
    },
    /// Steps open at the same time.
    Open {
        /// How many there are.
        open: usize,
        /// The bound.
        limit: usize,
    },
    /// Children open at the same time.
    Children {
        /// How many there are.
        open: usize,
        /// The bound.
        limit: usize,
    },
    /// Signals and events that have come and were not taken.
    Signals {
        /// The bound.
        limit: usize,
    },
}

/// Where code and journal disagree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mismatch {
    /// The same key, another function.
    Function {
        /// The key.
        key: StepKey,
        /// What the journal says.
        recorded: FunctionName,
        /// What the code asks for.
        asked: FunctionName,
        /// The entry.
        sequence: u64,
    },
    /// The same key, another workflow of a child.
    Workflow {
        /// The key.
        key: StepKey,
        /// What the journal says.
        recorded: FunctionName,
        /// What the code asks for.
        asked: FunctionName,
        /// The entry.
        sequence: u64,
    },
    /// The same key and function, another input.
    Input {
        /// The key.
        key: StepKey,
        /// The function.
        function: FunctionName,
        /// What the journal says.
        recorded: InputDigest,
        /// What the code asks with.
        asked: InputDigest,
        /// The entry.
        sequence: u64,
    },
    /// The same key for another kind of thing.
    Kind {
        /// The key.
        key: StepKey,
        /// What the journal says.
        recorded: WaitKind,
        /// What the code asks for.
        asked: WaitKind,
        /// The entry.
        sequence: u64,
    },
    /// The same key, and the approval of something else.
    Approval {
        /// The key.
        key: StepKey,
        /// The hash of what people were shown.
        recorded: PayloadHash,
        /// The hash of what the code asks to be approved.
        asked: PayloadHash,
        /// The entry.
        sequence: u64,
    },
    /// The same update, done by one and refused by the other.
    Verdict {
        /// The key of the answer.
        key: StepKey,
        /// What the caller was told.
        recorded: UpdateVerdict,
        /// What the code answers.
        asked: UpdateVerdict,
        /// The entry.
        sequence: u64,
    },
    /// The journal holds what the code, having seen all of it, never asked for.
    Unasked {
        /// What it holds, in the order recorded.
        recorded: Vec<RecordedKey>,
        /// What the code asks for and the journal does not hold, in the order asked: where a renamed or moved step shows.
        asked: Vec<AskedKey>,
    },
}

/// The kinds of what a workflow waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WaitKind {
    /// A step.
    Step,
    /// A timer.
    Timer,
    /// A closure.
    Closure,
    /// A wait for a signal.
    Signal,
    /// A wait for an update.
    Update,
    /// An answer to an update.
    Reply,
    /// A question to people.
    Question,
    /// An operation on a value of the session.
    Session,
    /// An event that it emits.
    Event,
    /// An event that it waits for.
    Awaited,
    /// Which version of the code a run goes by, or on which side of a patch it is.
    Marker,
    /// A child.
    Child,
    /// A child that is not waited for.
    Detached,
}

/// Something recorded under a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedKey {
    /// The key.
    pub key: StepKey,
    /// What it was.
    pub kind: WaitKind,
    /// The function, for a step; the workflow, for a child.
    pub function: Option<FunctionName>,
    /// The first entry that speaks of it.
    pub sequence: u64,
}

/// Something asked for under a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AskedKey {
    /// The key.
    pub key: StepKey,
    /// What it is.
    pub kind: WaitKind,
    /// The function, for a step; the workflow, for a child.
    pub function: Option<FunctionName>,
}

impl Parked {
    /// The reason in the words that lists and filters use.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Stuck => "stuck",
            Self::ForeignWake => "foreign wake",
            Self::Livelock { .. } => "livelock",
            Self::TooManySteps(_) => "too many steps",
            Self::Panicked { .. } => "panicked",
            Self::Poison => "poison",
            Self::NoCode { .. } => "no code",
            Self::Nondeterministic(_) => "nondeterministic",
        }
    }
}

impl fmt::Display for Parked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stuck => f.write_str(
                "stuck: the workflow waits, but for no step, timer or closure of its own, so no entry can ever wake it. \
                 It awaits something foreign, such as a channel, a lock or another task. Do that work in a step or in ctx.run, \
                 deploy, and resume the run",
            ),
            Self::ForeignWake => f.write_str(
                "foreign wake: the workflow was woken by something that is not in its journal, such as a thread or a task that it \
                 started; a replay would not see it. Do that work in a step or in ctx.run, deploy, and resume the run",
            ),
            Self::Livelock { polls } => write!(
                f,
                "livelock: the workflow was polled {polls} times for one entry and still wakes itself. \
                 Look for a loop that yields without waiting for a step or a timer, deploy, and resume the run",
            ),
            Self::TooManySteps(too_many) => write!(f, "too many steps: {too_many}"),
            Self::Panicked { message } => {
                write!(f, "panicked: {message}")?;
                if let Some(hint) = hint_for(message) {
                    write!(f, ". {hint}")?;
                }
                f.write_str(". Nothing is lost: deploy a mended workflow and resume the run")
            }
            Self::Poison => f.write_str(
                "poison: three processes ended over this run: it blocked the thread that polled it, or took the process with it. \
                 Look for a blocking call, an endless loop or recursion, or memory without end, deploy, and resume the run",
            ),
            Self::NoCode {
                workflow,
                version: Some(version),
                known,
            } => {
                write!(
                    f,
                    "no code: the run began with version {version} of workflow {workflow} and is pinned to it, and this orchestrator does not have that version"
                )?;
                if !known.is_empty() {
                    write!(f, " (it has {})", versions(known))?;
                }
                f.write_str(". Deploy one that has it, with the others if there are any, and the run goes on by itself")
            }
            Self::NoCode {
                workflow, version: None, ..
            } => {
                write!(
                    f,
                    "no code: no orchestrator has workflow {workflow}. Deploy an orchestrator that has it, and the run goes on by itself"
                )
            }
            Self::Nondeterministic(mismatch) => write!(f, "nondeterministic: {mismatch}"),
        }
    }
}

/// What a panic of a foreign library means inside a workflow.
fn hint_for(message: &str) -> Option<&'static str> {
    let tokio = message.contains("no reactor running") || message.contains("Tokio 1.x") || message.contains("runtime context");
    tokio.then_some(
        "Workflow code runs outside every tokio runtime, so that it replays exactly: sleep with ctx.sleep, and do I/O and spawn tasks \
         in a step or in ctx.run",
    )
}

impl fmt::Display for TooMany {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Keys { limit } => write!(
                f,
                "the run asks for more than {limit} steps, timers and closures, the limit on keys of one run. \
                 Split the work over several runs, or go on in another one with ctx.continue_as_new",
            ),
            Self::Entries { limit } => write!(
                f,
                "the journal holds more than {limit} entries, the limit of one run. \
                 Split the work over several runs, or look for a step that is retried without end",
            ),
            Self::Open { open, limit } => write!(
                f,
                "{open} steps are open at the same time and the limit of one run is {limit}. Bound the fan-out, for instance with \
                 ctx.batch, deploy, and resume the run; nothing has been sent",
            ),
            Self::Children { open, limit } => write!(
                f,
                "{open} children are open at the same time and the limit of one run is {limit}. Bound the fan-out, for instance with \
                 ctx.batch, deploy, and resume the run; none of these has been started",
            ),
            Self::Signals { limit } => write!(
                f,
                "more than {limit} signals and events have come that the workflow has not waited for, the limit of one run. They are kept: \
                 deploy a workflow that takes them, and resume the run",
            ),
        }
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sides = match self {
            Self::Function {
                key,
                recorded,
                asked,
                sequence,
            } => format!(
                "under key {key} the journal holds the outcome of function {recorded} (entry {sequence}), and the code asks for function {asked}",
            ),
            Self::Workflow {
                key,
                recorded,
                asked,
                sequence,
            } => format!(
                "under key {key} the journal holds a child of workflow {recorded} (entry {sequence}), and the code asks for one of workflow {asked}",
            ),
            Self::Input {
                key,
                function,
                recorded,
                asked,
                sequence,
            } => format!(
                "under key {key} the journal holds {function} of the input with digest {} (entry {sequence}), and the code asks for it with \
                 another input, of digest {}",
                short(recorded),
                short(asked),
            ),
            Self::Approval {
                key,
                recorded,
                asked,
                sequence,
            } => format!(
                "under key {key} people were asked to approve what has the hash {recorded} (entry {sequence}), and the code asks for the \
                 approval of what has the hash {asked}",
            ),
            Self::Verdict {
                key,
                recorded,
                asked,
                sequence,
            } => format!(
                "under key {key} the journal holds that an update was {recorded}, which its caller was told (entry {sequence}), and by the \
                 code it is {asked}",
            ),
            Self::Kind {
                key,
                recorded,
                asked,
                sequence,
            } => {
                format!("under key {key} the journal holds a {recorded} (entry {sequence}), and the code asks for a {asked}")
            }
            Self::Unasked { recorded, asked } => format!(
                "the journal holds {}, which the code no longer asks for; what it asks for instead: {}",
                list(recorded),
                if asked.is_empty() { "nothing".to_owned() } else { list(asked) },
            ),
        };
        f.write_str(&sides)?;
        f.write_str(
            ". The code was changed, or does not do the same each time it runs. Nothing has been done since: deploy the code that the run \
             began with, or code that still asks for all that is recorded, and resume the run",
        )?;
        if let Self::Unasked { .. } = self {
            f.write_str(". If what is recorded is no longer wanted, resume it with --accept-unasked")?;
        }
        Ok(())
    }
}

fn versions(known: &[u32]) -> String {
    let noun = if known.len() == 1 { "version" } else { "versions" };
    let known: Vec<_> = known.iter().map(u32::to_string).collect();
    format!("{noun} {}", known.join(", "))
}

fn short(digest: &InputDigest) -> String {
    format!("{digest:?}")
}

fn list<T: fmt::Display>(items: &[T]) -> String {
    let mut text = items.iter().take(KEYS_SHOWN).map(T::to_string).collect::<Vec<_>>().join(", ");
    if items.len() > KEYS_SHOWN {
        text.push_str(&format!(" and {} more", items.len() - KEYS_SHOWN));
    }
    text
}

impl fmt::Display for WaitKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Step => "step",
            Self::Timer => "timer",
            Self::Closure => "closure",
            Self::Signal => "signal",
            Self::Update => "update",
            Self::Reply => "answer to an update",
            Self::Question => "question",
            Self::Session => "session operation",
            Self::Event => "event",
            Self::Awaited => "wait for an event",
            Self::Marker => "marker of the code's version",
            Self::Child => "child",
            Self::Detached => "detached child",
        })
    }
}

impl fmt::Display for RecordedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.key)?;
        match &self.function {
            Some(function) => write!(f, " (function {function}, entry {})", self.sequence),
            None => write!(f, " (entry {})", self.sequence),
        }
    }
}

impl fmt::Display for AskedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.key)?;
        match &self.function {
            Some(function) => write!(f, " (function {function})"),
            None => Ok(()),
        }
    }
}
