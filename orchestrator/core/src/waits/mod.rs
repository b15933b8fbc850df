//! What a workflow can wait for: one file per family, and what all families share.
//!
//! ```text
//!   created ──first poll──▶ Open ──its entry──▶ Ready ──polled──▶ Taken
//!                            │ └──its domain is cancelled──▶ Ready (a child ends first)
//!                            └──dropped──▶ Abandoned
//!
//!   a signal or update that a wait was given and did not take goes back to the mailbox when the wait is cancelled or dropped
//! ```

mod alarms;
mod ask;
mod attempts;
mod children;
mod emits;
mod family;
mod locals;
mod questions;
mod sessions;
mod signals;
mod steps;
mod table;
mod timers;
mod updates;
mod verdicts;

pub(crate) use ask::Ask;
pub(crate) use attempts::StepWait;
pub use children::{Child, ChildSpec};
pub use emits::Emit;
pub(crate) use emits::NewEmit;
pub(crate) use family::{Family, Moment, Received};
pub(crate) use locals::NewLocal;
pub use locals::{Closure, Local};
pub use questions::Asked;
pub(crate) use questions::NewQuestion;
pub(crate) use sessions::NewSession;
pub use sessions::{Session, SessionChange, SessionRequest};
pub use signals::Signal;
pub(crate) use signals::{Address, Letter, LetterSort, NewSignal};
pub(crate) use steps::NewStep;
pub use steps::Step;
pub(crate) use table::{Status, Wait, WaitId, Waits};
pub use timers::{Due, Timer};
pub(crate) use timers::{NewTimer, later};
pub(crate) use updates::ReplyWait;
pub use updates::{NextUpdate, Update};

use bytes::Bytes;

use crate::WaitError;

/// What a wait brings.
pub(crate) type Answer = Result<Bytes, WaitError>;
