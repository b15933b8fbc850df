//! Runs a program: which piece is run how, and how what each has seen becomes one number.

use everstep_common::failure::{Failure, FailureKind};
use futures::FutureExt;
use futures::future::LocalBoxFuture;

use super::{Faults, Node};
use crate::tests::kit::mix;
use crate::{Collected, Context, WaitError};

/// What runs a program.
pub(super) struct Machine {
    pub(super) ctx: Context,
    pub(super) faults: Faults,
}

/// What a piece has seen, or why it could not go on.
pub(super) type Seen = Result<u64, WaitError>;

/// One thing seen after another.
pub(super) fn and(seen: u64, more: u64) -> u64 {
    mix(seen.rotate_left(7) ^ more)
}

/// Fails for one in three of what was seen.
pub(super) fn fail(seen: u64) -> Seen {
    if seen.is_multiple_of(3) {
        Err(WaitError::Failed(Failure::new(FailureKind::Workflow, "failed")))
    } else {
        Ok(seen)
    }
}

/// A failure is something seen; a cancel is not caught.
pub(super) fn caught(one: Seen) -> Seen {
    match one {
        Err(WaitError::Failed(_) | WaitError::Child { .. }) => Ok(17),
        other => other,
    }
}

/// What came of a fan is seen whole, in the order of its branches.
pub(super) fn collected(seen: u64, collected: Collected<u64, WaitError>) -> Seen {
    if collected.cancelled {
        return Err(WaitError::Cancelled);
    }
    let first = and(seen, collected.first_failed.map_or(99, |number| number as u64));
    collected.outcomes.into_iter().try_fold(first, |seen, one| match one {
        None => Ok(and(seen, 23)),
        // Of a fan that stopped itself.
        Some(Err(WaitError::Cancelled)) => Ok(and(seen, 29)),
        Some(one) => Ok(and(seen, caught(one)?)),
    })
}

impl Machine {
    pub(super) fn run<'a>(&'a self, node: &'a Node, seen: u64) -> LocalBoxFuture<'a, Seen> {
        match node {
            Node::Step(which) => self.step(*which, seen).boxed_local(),
            Node::Sleep(milliseconds) => self.sleep(*milliseconds, seen).boxed_local(),
            Node::Local => self.local(seen).boxed_local(),
            Node::Session => self.session(seen).boxed_local(),
            Node::Child(detached) => self.child(*detached, seen).boxed_local(),
            Node::Signal(name, deadline) => self.signal(*name, *deadline, seen).boxed_local(),
            Node::Event(which, deadline) => self.event(*which, *deadline, seen).boxed_local(),
            Node::Update(name, deadline) => self.update(*name, *deadline, seen).boxed_local(),
            Node::Served(name, node) => self.served(*name, node, seen).boxed_local(),
            Node::Ask(people, deadline) => self.ask(*people, *deadline, seen).boxed_local(),
            Node::Unread(name, node) => self.unread(*name, node, seen).boxed_local(),
            Node::Chance => async move { Ok(self.chance(seen)) }.boxed_local(),
            Node::Sequence(nodes) => self.sequence(nodes, seen).boxed_local(),
            Node::Join(nodes) => self.join(nodes, seen).boxed_local(),
            Node::Race(nodes) => self.race(nodes, seen).boxed_local(),
            Node::Unordered(nodes) => self.unordered(nodes, seen).boxed_local(),
            Node::Windowed(nodes) => self.windowed(nodes, seen).boxed_local(),
            Node::Scope(name, node) => self.ctx.scope(name, self.run(node, seen)).boxed_local(),
            Node::Repeat(times, node) => self.repeat(*times, node, seen).boxed_local(),
            Node::Branch(even, odd) => self.run(if seen.is_multiple_of(2) { even } else { odd }, seen),
            Node::Undoable(which) => self.undoable(*which, seen).boxed_local(),
            Node::Rollback => self.rollback(seen).boxed_local(),
            Node::Patched(id, new, old) => {
                let new_side = self.ctx.patched(&format!("patch {id}"));
                self.run(if new_side { new } else { old }, and(seen, u64::from(new_side)))
            }
            Node::Paced(which) => self.paced(*which, seen).boxed_local(),
            Node::Fail => async move { fail(seen) }.boxed_local(),
            Node::Caught(node) => async move { caught(self.run(node, seen).await) }.boxed_local(),
            Node::Fan {
                nodes,
                window,
                tolerated,
            } => self.fan(nodes, *window, *tolerated, seen).boxed_local(),
            Node::First(nodes) => self.first(nodes, seen).boxed_local(),
            Node::Timeout(milliseconds, node) => self.timeout(*milliseconds, node, seen).boxed_local(),
            Node::Shield(node) => self.ctx.shield(self.run(node, seen)).boxed_local(),
            Node::CleanUp(node, clean_up) => self.clean_up(node, clean_up, seen).boxed_local(),
            Node::Batch {
                items,
                window,
                tolerated,
            } => self.batch(*items, *window, *tolerated, seen).boxed_local(),
        }
    }
}
