//! Random workflows: a program is a tree, drawn from a seed, that a workflow interprets.
//!
//! All that a program has seen so far goes into the input of what it asks next, so any difference in order shows in a digest.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::poll_fn;
use std::mem;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use everstep_common::event::EventName;
use everstep_common::failure::{Failure, FailureKind};
use everstep_common::ids::WorkflowName;
use everstep_common::key::StepKey;
use everstep_common::question::{PayloadHash, Question, Terms};
use everstep_common::retry::RetryPolicy;
use everstep_common::subscription::{Matching, Subscription};
use everstep_common::task::StepOptions;
use futures::future::{LocalBoxFuture, join_all};
use futures::stream::{self, FuturesUnordered, StreamExt};
use futures::{FutureExt, select_biased};

use super::kit::{Dice, Returned, function, mix, workflow_of};
use crate::{Collected, Context, DeadlineError, Definition, Due, SessionRequest, Undo, Update, WaitError, WorkflowFailure};

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

/// A program drawn from `dice`, of at most that depth.
pub(super) fn draw(dice: &mut Dice, depth: usize) -> Node {
    let kinds = if depth == 0 { 8 } else { 29 };
    match dice.below(kinds) {
        1 if dice.one_in(2) => Node::Child(dice.one_in(3)),
        0..=1 => Node::Step(dice.next() % 4),
        2 => Node::Sleep(dice.next() % 5_000),
        3 if dice.one_in(2) => Node::Session,
        3 => Node::Local,
        4 => Node::Chance,
        5 if dice.one_in(2) => Node::Fail,
        5 if dice.one_in(2) => Node::Undoable(dice.next() % 4),
        5 => Node::Step(4),
        6 if dice.one_in(3) => Node::Event(dice.next() % 3, deadline(dice)),
        6 if dice.one_in(2) => Node::Update(dice.next() % 3, deadline(dice)),
        6 => Node::Signal(dice.next() % 3, deadline(dice)),
        7 => Node::Ask(1 + dice.below(3) as u32, deadline(dice)),
        8 => Node::Sequence(several(dice, depth)),
        9 => Node::Join(several(dice, depth)),
        10 => Node::Race(several(dice, depth)),
        11 => Node::Unordered(several(dice, depth)),
        12 => Node::Windowed(several(dice, depth)),
        13 => Node::Scope(["left", "right"][dice.below(2)], Box::new(draw(dice, depth - 1))),
        14 => Node::Repeat(1 + dice.next() % 3, Box::new(draw(dice, depth - 1))),
        15 if dice.one_in(2) => Node::Paced(dice.next() % 4),
        15 => Node::Patched(
            dice.next() % 5,
            Box::new(draw(dice, depth - 1)),
            Box::new(draw(dice, depth - 1)),
        ),
        16 | 17 => Node::Fan {
            nodes: several(dice, depth),
            window: 1 + dice.below(4),
            tolerated: dice.below(3),
        },
        18 | 19 => Node::First(several(dice, depth)),
        20 => Node::Timeout(dice.next() % 5_000, Box::new(draw(dice, depth - 1))),
        21 => Node::Shield(Box::new(draw(dice, depth - 1))),
        22 | 23 => Node::CleanUp(Box::new(draw(dice, depth - 1)), Box::new(draw(dice, depth - 1))),
        24 => Node::Caught(Box::new(draw(dice, depth - 1))),
        25 => Node::Batch {
            items: dice.next() % 9,
            window: 1 + dice.below(4),
            tolerated: dice.below(4),
        },
        26 if dice.one_in(2) => Node::Served(dice.next() % 3, Box::new(draw(dice, depth - 1))),
        26 => Node::Unread(dice.next() % 3, Box::new(draw(dice, depth - 1))),
        27 if dice.one_in(3) => Node::Rollback,
        27 => Node::Undoable(dice.next() % 4),
        _ => Node::Branch(Box::new(draw(dice, depth - 1)), Box::new(draw(dice, depth - 1))),
    }
}

fn deadline(dice: &mut Dice) -> Option<u64> {
    let milliseconds = dice.next() % 5_000;
    dice.one_in(2).then_some(milliseconds)
}

fn several(dice: &mut Dice, depth: usize) -> Vec<Node> {
    (0..2 + dice.below(3)).map(|_| draw(dice, depth - 1)).collect()
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

struct Machine {
    ctx: Context,
    faults: Faults,
}

type Seen = Result<u64, WaitError>;

/// The names of signals and updates.
pub(super) const SIGNALS: [&str; 3] = ["paid", "sent", "seen"];

/// Events of one name: all of them, and by what they are about.
fn subscription(which: u64) -> Subscription {
    Subscription {
        event: EventName::new("paid").expect("a name"),
        matching: (which > 0).then(|| Matching {
            path: "order".to_owned(),
            value: which.into(),
        }),
    }
}

/// The answer tells what was seen, so that its digest does. Only in a journal that no honest world writes does it find its place taken.
fn answer(update: Update, seen: u64) {
    let _ = update.answer(Ok(Bytes::copy_from_slice(&seen.to_be_bytes())));
}

/// What somebody outside said, or that nobody did in time.
fn outside(seen: u64, said: Result<Bytes, WaitError>) -> Seen {
    match said {
        Ok(value) => Ok(and(seen, number(&value))),
        Err(WaitError::Failed(_)) => Ok(and(seen, 17)),
        Err(error) => Err(error),
    }
}

fn and(seen: u64, more: u64) -> u64 {
    mix(seen.rotate_left(7) ^ more)
}

/// Fails for one in three of what was seen.
fn fail(seen: u64) -> Seen {
    if seen.is_multiple_of(3) {
        Err(WaitError::Failed(Failure::new(FailureKind::Workflow, "failed")))
    } else {
        Ok(seen)
    }
}

/// A failure is something seen; a cancel is not caught.
fn caught(one: Seen) -> Seen {
    match one {
        Err(WaitError::Failed(_) | WaitError::Child { .. }) => Ok(17),
        other => other,
    }
}

fn collected(seen: u64, collected: Collected<u64, WaitError>) -> Seen {
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
    fn run<'a>(&'a self, node: &'a Node, seen: u64) -> LocalBoxFuture<'a, Seen> {
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

    async fn step(&self, which: u64, seen: u64) -> Seen {
        let name = ["reserve", "charge", "ship", "notify", "item"][which as usize];
        let input = Ok(Bytes::copy_from_slice(&seen.to_be_bytes()));
        // Few attempts, so that some are used up.
        let retries = RetryPolicy {
            max_attempts: 2,
            ..RetryPolicy::default()
        };
        let options = StepOptions {
            retries,
            ..StepOptions::default()
        };
        let mut step = self.ctx.step(name, function(name), input, options);
        if let Some(known) = &self.faults.known {
            let looked_up = step.step_key().and_then(|key| known.get(&key).copied());
            if let Some(result) = looked_up {
                let _asked = poll_fn(|cx| Poll::Ready(step.poll_unpin(cx).is_ready())).await;
                mem::forget(step);
                return Ok(and(seen, result));
            }
        }
        match step.await {
            Ok(value) => Ok(and(seen, number(&value))),
            Err(WaitError::Failed(_)) => Ok(and(seen, 13)),
            Err(error) => Err(error),
        }
    }

    async fn undoable(&self, which: u64, seen: u64) -> Seen {
        let name = ["reserve", "charge", "ship", "notify"][which as usize];
        let input = Ok(Bytes::copy_from_slice(&seen.to_be_bytes()));
        let options = StepOptions {
            timeout: seen.is_multiple_of(2).then_some(Duration::from_secs(60)),
            start_timeout: seen.is_multiple_of(3).then_some(Duration::from_secs(30)),
            heartbeat_timeout: seen.is_multiple_of(5).then_some(Duration::from_secs(20)),
            ..StepOptions::default()
        };
        let undo = Undo {
            function: function(&format!("un{name}")),
            options: StepOptions::default(),
            input: Rc::new(Ok),
        };
        let step = self.ctx.step(name, function(name), input, options).undone_by(undo);
        Ok(and(seen, caught(step.await.map(|value| number(&value)))?))
    }

    async fn rollback(&self, seen: u64) -> Seen {
        let report = self.ctx.rollback().await;
        let undone = report.undone.iter().map(|key| number(&Bytes::from(key.to_string())));
        Ok(undone.fold(and(seen, report.failed.len() as u64), and))
    }

    async fn sleep(&self, milliseconds: u64, seen: u64) -> Seen {
        self.ctx
            .timer("sleep", Due::After(Duration::from_millis(milliseconds)))
            .await?;
        Ok(and(seen, 1))
    }

    async fn local(&self, seen: u64) -> Seen {
        let value = Bytes::copy_from_slice(&mix(seen).to_be_bytes());
        let value = self
            .ctx
            .local("local", Box::new(move || async move { Ok(value) }.boxed()))
            .await?;
        Ok(and(seen, number(&value)))
    }

    async fn signal(&self, name: u64, deadline: Option<u64>, seen: u64) -> Seen {
        let mut signal = self.ctx.signal(SIGNALS[name as usize]);
        if let Some(milliseconds) = deadline {
            signal = signal.deadline(Due::After(Duration::from_millis(milliseconds)));
        }
        outside(seen, signal.await)
    }

    async fn event(&self, which: u64, deadline: Option<u64>, seen: u64) -> Seen {
        let mut event = self.ctx.event(subscription(which));
        if let Some(milliseconds) = deadline {
            event = event.deadline(Due::After(Duration::from_millis(milliseconds)));
        }
        outside(seen, event.await)
    }

    async fn update(&self, name: u64, deadline: Option<u64>, seen: u64) -> Seen {
        let mut next = self.ctx.update(SIGNALS[name as usize]);
        if let Some(milliseconds) = deadline {
            next = next.deadline(Due::After(Duration::from_millis(milliseconds)));
        }
        loop {
            let update = match (&mut next).await {
                Ok(update) => update,
                Err(error) => return outside(seen, Err(error)),
            };
            let input = update.input().clone();
            // One in three is refused, as validation would.
            if !number(&input).is_multiple_of(3) {
                answer(update, seen);
                return outside(seen, Ok(input));
            }
            let _ = update.answer(Err(Failure::new(FailureKind::Rejected, "one in three")));
            next.again();
        }
    }

    async fn served(&self, name: u64, node: &Node, seen: u64) -> Seen {
        let update = match self.ctx.update(SIGNALS[name as usize]).await {
            Ok(update) => update,
            Err(error) => return outside(seen, Err(error)),
        };
        let seen = self.run(node, and(seen, number(update.input()))).await?;
        answer(update, seen);
        Ok(seen)
    }

    async fn unread(&self, name: u64, node: &Node, seen: u64) -> Seen {
        let signal = match name {
            0 => self.ctx.event(subscription(seen % 3)),
            name => self.ctx.signal(SIGNALS[name as usize]),
        };
        let mut signal = signal.deadline(Due::After(Duration::from_secs(5)));
        let read = poll_fn(|cx| Poll::Ready(signal.poll_unpin(cx))).await;
        let seen = self.run(node, seen).await?;
        outside(seen, if let Poll::Ready(read) = read { read } else { signal.await })
    }

    async fn ask(&self, people: u32, deadline: Option<u64>, seen: u64) -> Seen {
        let question = Question {
            text: "may it be done?".to_owned(),
            approval: (people > 1).then(|| Terms {
                hash: PayloadHash::of_canonical(&seen.to_be_bytes()),
                payload: None,
                quorum: people - 1,
                requester: None,
            }),
            ..Question::default()
        };
        let mut asked = self.ctx.question("ask", question);
        if let Some(milliseconds) = deadline {
            asked = asked.deadline(Due::After(Duration::from_millis(milliseconds)));
        }
        outside(seen, asked.await)
    }

    async fn session(&self, seen: u64) -> Seen {
        let value = Bytes::copy_from_slice(&mix(seen).to_be_bytes());
        if seen % 4 == 3 {
            let event = EventName::new("event").expect("a name");
            let brought = self.ctx.emit(event, value).await?;
            return Ok(and(seen, number(&brought)));
        }
        let request = match seen % 3 {
            0 => SessionRequest::Get { key: "value".to_owned() },
            1 => SessionRequest::Set {
                key: "value".to_owned(),
                value: Ok(value),
            },
            _ => SessionRequest::Update {
                key: "value".to_owned(),
                change: Arc::new(move |_| Ok(value.clone())),
            },
        };
        let brought = self.ctx.session(request).await?;
        Ok(and(seen, number(&brought)))
    }

    async fn child(&self, detached: bool, seen: u64) -> Seen {
        let input = Ok(Bytes::copy_from_slice(&seen.to_be_bytes()));
        let mut child = self.ctx.child(WorkflowName::new("parcel").unwrap(), Some(1), input);
        child.spec_mut().expect("it is not asked for").detached = detached;
        match child.await {
            Ok(value) => Ok(and(seen, number(&value))),
            Err(WaitError::Child { run, failure }) => Ok(and(and(seen, u64::from(run.is_some())), failure.message.len() as u64)),
            Err(error) => Err(error),
        }
    }

    fn chance(&self, seen: u64) -> u64 {
        let time = self.ctx.now().as_millisecond() as u64;
        and(and(seen, self.ctx.random()), self.ctx.uuid().as_u64_pair().0 ^ time)
    }

    async fn sequence(&self, nodes: &[Node], mut seen: u64) -> Seen {
        for node in nodes {
            seen = self.run(node, seen).await?;
        }
        Ok(seen)
    }

    async fn join(&self, nodes: &[Node], seen: u64) -> Seen {
        let all = join_all(nodes.iter().map(|node| self.run(node, seen))).await;
        all.into_iter().try_fold(seen, |seen, one| Ok(and(seen, one?)))
    }

    async fn race(&self, nodes: &[Node], seen: u64) -> Seen {
        let mut racers: Vec<_> = nodes.iter().map(|node| self.run(node, seen)).collect();
        let mut order: Vec<usize> = (0..racers.len()).collect();
        let (winner, one) = poll_fn(|cx| {
            if let Some(dice) = &self.faults.random_select {
                let places = order.len();
                order.rotate_left(dice.lock().unwrap().below(places));
            }
            for place in &order {
                if let Poll::Ready(one) = racers[*place].poll_unpin(cx) {
                    return Poll::Ready((*place as u64, one));
                }
            }
            Poll::Pending
        })
        .await;
        Ok(and(and(seen, winner), one?))
    }

    async fn unordered(&self, nodes: &[Node], mut seen: u64) -> Seen {
        let mut running: FuturesUnordered<_> = nodes.iter().map(|node| self.run(node, seen)).collect();
        while let Some(one) = running.next().await {
            // What comes first is seen by a step between two completions.
            seen = self.step(0, and(seen, one?)).await?;
        }
        Ok(seen)
    }

    async fn windowed(&self, nodes: &[Node], seen: u64) -> Seen {
        let total = Rc::new(RefCell::new(seen));
        let all = stream::iter(nodes).map(|node| {
            let total = total.clone();
            async move {
                let before = *total.borrow();
                let one = self.run(node, before).await?;
                let now = and(*total.borrow(), one);
                *total.borrow_mut() = now;
                Ok(())
            }
        });
        let mut all = std::pin::pin!(all.buffer_unordered(2));
        while let Some(one) = all.next().await {
            one?;
        }
        Ok(total.take())
    }

    async fn fan(&self, nodes: &[Node], window: usize, tolerated: usize, seen: u64) -> Seen {
        let branches = nodes.iter().enumerate();
        let branches = branches.map(|(number, node)| (number.to_string(), move || self.run(node, seen)));
        let fan = self.ctx.block("fan").fan(branches).window(window);
        collected(seen, fan.collect_outcomes(tolerated).await)
    }

    async fn first(&self, nodes: &[Node], seen: u64) -> Seen {
        let branches = nodes.iter().enumerate();
        let branches = branches.map(|(number, node)| (number.to_string(), move || self.run(node, seen)));
        match self.ctx.block("race").fan(branches).race().await {
            Some((winner, one)) => Ok(and(and(seen, winner as u64), caught(one)?)),
            None => Err(WaitError::Cancelled),
        }
    }

    async fn timeout(&self, milliseconds: u64, node: &Node, seen: u64) -> Seen {
        let body = self.run(node, seen);
        match self.ctx.timeout(Duration::from_millis(milliseconds), body).await {
            Ok(one) => one,
            Err(DeadlineError::Passed(_)) => Ok(and(seen, 19)),
            Err(DeadlineError::Failed(failure)) => Err(WaitError::Failed(failure)),
        }
    }

    async fn clean_up(&self, node: &Node, clean_up: &Node, seen: u64) -> Seen {
        let one = self.run(node, seen).await;
        if let Err(WaitError::Cancelled) = one {
            let cleaned = self.ctx.shield(self.run(clean_up, seen)).await;
            assert_ne!(cleaned, Err(WaitError::Cancelled), "nothing in a shield is cancelled");
        }
        one
    }

    async fn batch(&self, items: u64, window: usize, tolerated: usize, seen: u64) -> Seen {
        let branches = (0..items).map(|item| {
            let make = move || {
                async move {
                    let seen = self.step(4, and(seen, item)).await?;
                    fail(seen)
                }
                .boxed_local()
            };
            (format!("item {item}"), make)
        });
        let fan = self.ctx.block("batch").fan(branches).window(window);
        collected(seen, fan.collect_outcomes(tolerated).await)
    }

    async fn repeat(&self, times: u64, node: &Node, mut seen: u64) -> Seen {
        for _ in 0..times {
            seen = self.run(node, seen).await?;
        }
        Ok(seen)
    }

    async fn paced(&self, which: u64, mut seen: u64) -> Seen {
        let mut work = std::pin::pin!(self.step(which, seen).fuse());
        for _ in 0..4 {
            let mut pace = self.ctx.timer("pace", Due::After(Duration::from_millis(50)));
            select_biased! {
                done = work => return done,
                paced = pace => paced?,
            }
            seen = and(seen, 3);
        }
        Ok(seen)
    }
}
