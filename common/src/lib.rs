//! The words, shapes and rules that every part of Everstep shares.
//!
//! Knows neither tokio nor NATS: the outside is reached through [`ports`], and [`store`] says how the journal, the leases and the
//! task queues are kept there.
//!
//! # Glossary
//!
//! | word | meaning here |
//! |---|---|
//! | workflow | the code: a definition with a version |
//! | run | one execution of a workflow |
//! | journal | a run's ordered, append-only entries |
//! | step | a recorded side-effecting call; has attempts |
//! | attempt | one try of a step on one worker |
//! | checkpoint | a step's recorded outcome, which replay returns and does not redo |
//! | entry / command / effect | happened / asked for / to be done |
//! | replay | running workflow code again against its journal |
//! | timer | a durable sleep; fires once |
//! | child run, parent | run started by a run |
//! | continue-as-new | a run ends, and its workflow goes on in a successor with a journal of its own; all of them are a chain |
//! | signal | a message to a run from outside; kept until a wait takes it |
//! | update | a request to a run that its workflow answers; request and answer are recorded |
//! | question, approval | what a run asks people; an approval is bound to the hash of what they were shown |
//! | task queue, task | where workers pull; one attempt to make |
//! | lease | a time-bound right to drive a partition, renewed by heartbeat |
//! | fence | a number that rejects a stale holder |
//! | idempotency key | the caller's name for "the same request" |
//! | owner | the orchestrator that holds a partition's lease |
//! | session | what runs started under the same session id share: values by name |
//! | mark | in the record of such a value: a write that is applied, and its result, until its journal holds it |
//! | view | how a run looks from inside, told by whoever drives it |
//! | event | what happened elsewhere: a message of the stream `EVENTS` |
//! | subscription | events of one name and correlation that a run waits for; numbered in the order of their stream |
//! | trigger | what a workflow listens to: events by name, or a schedule |
//! | schedule, occurrence | a cron trigger of a workflow; one of the times it names |
//! | parked | a run that is not driven further until someone acts, with the reason |
//! | nondeterminism | code and journal disagree |

pub mod digest;
pub mod event;
pub mod failure;
pub mod flow;
pub mod ids;
pub mod journal;
pub mod key;
pub mod limits;
pub mod payload;
pub mod ports;
pub mod question;
pub mod retry;
pub mod session;
pub mod store;
pub mod subject;
pub mod subscription;
pub mod summary;
pub mod task;
pub mod topology;
pub mod trace;
pub mod trigger;
pub mod update;
pub mod view;
pub mod wire;
