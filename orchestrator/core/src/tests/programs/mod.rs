//! Random workflows: a program is a tree, drawn from a seed, that a workflow interprets.
//!
//! All that a program has seen so far goes into the input of what it asks next, so any difference in order shows in a digest.
//!
//! [`draw`] makes programs, [`machine`] runs them: what they ask for stands in [`asked`], what they are nested in, in [`nested`].

mod asked;
mod draw;
mod machine;
mod nested;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use everstep_common::key::StepKey;
use futures::FutureExt;

use self::machine::Machine;
use super::kit::{Dice, Returned, mix, workflow_of};
use crate::{Definition, WorkflowFailure};

pub(super) use self::draw::draw;

/// A piece of a program.
#[derive(Debug)]
pub(super) enum Node {
    Step(u64),
    Sleep(u64),
    Local,
    Session,
    /// A child; detached or not.
    Child(bool),
    Chance,
    /// A signal of one of three names, with a deadline or without.
    Signal(u64, Option<u64>),
    /// An event of one of three subscriptions, with a deadline or without.
    Event(u64, Option<u64>),
    /// A question to so many people, with a deadline or without.
    Ask(u32, Option<u64>),
    /// An update of one of three names, with a deadline or without, answered as soon as it is taken.
    Update(u64, Option<u64>),
    /// An update that is answered when the rest is done, if ever.
    Served(u64, Box<Node>),
    /// A signal that is asked for first, and looked at when the rest is done.
    Unread(u64, Box<Node>),
    Sequence(Vec<Node>),
    Join(Vec<Node>),
    Race(Vec<Node>),
    Unordered(Vec<Node>),
    Windowed(Vec<Node>),
    Scope(&'static str, Box<Node>),
    Repeat(u64, Box<Node>),
    Branch(Box<Node>, Box<Node>),
    /// A step that can be undone.
    Undoable(u64),
    /// Everything is undone that can be.
    Rollback,
    /// One of two, as the run is before or behind a patch of that number.
    Patched(u64, Box<Node>, Box<Node>),
    /// A step pinned outside a loop, with a pace beside it.
    Paced(u64),
    /// Fails, for one in three of what was seen.
    Fail,
    /// What fails is seen, and goes no further.
    Caught(Box<Node>),
    /// Branches of a fan, of which so many may fail and so many run at a time.
    Fan {
        nodes: Vec<Node>,
        window: usize,
        tolerated: usize,
    },
    /// The first branch of a fan.
    First(Vec<Node>),
    Timeout(u64, Box<Node>),
    Shield(Box<Node>),
    /// What is done, out of reach of cancels, when the first is cancelled.
    CleanUp(Box<Node>, Box<Node>),
    /// So many items, so many at a time, until more than that have failed.
    Batch {
        items: u64,
        window: usize,
        tolerated: usize,
    },
}

/// Deliberate faults of an engine, to show that the tests would see them.
#[derive(Clone, Default)]
pub(super) struct Faults {
    /// Results that are looked up instead of awaited.
    pub(super) known: Option<Arc<HashMap<StepKey, u64>>>,
    /// Dice by which a race polls its branches in any order.
    pub(super) random_select: Option<Arc<Mutex<Dice>>>,
}

/// The workflow that interprets the program.
pub(super) fn definition(program: Arc<Node>, faults: Faults) -> Definition {
    workflow_of(move |ctx, _| {
        let (program, faults) = (program.clone(), faults.clone());
        async move {
            let machine = Machine { ctx, faults };
            let seen = machine.run(&program, 0).await?;
            if seen.is_multiple_of(5) {
                return Err(WorkflowFailure::Continued(Bytes::copy_from_slice(&seen.to_be_bytes())));
            }
            Returned::Ok(Bytes::copy_from_slice(&seen.to_be_bytes()))
        }
        .boxed_local()
    })
}

/// The number that a recorded value stands for.
pub(super) fn number(value: &Bytes) -> u64 {
    value.iter().fold(7, |number, byte| mix(number ^ u64::from(*byte)))
}

/// The names of signals and updates.
pub(super) const SIGNALS: [&str; 3] = ["paid", "sent", "seen"];
