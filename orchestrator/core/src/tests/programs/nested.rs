//! What a program's pieces are nested in: one after another, side by side, in blocks, under deadlines and shields.

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use futures::future::join_all;
use futures::stream::{self, FuturesUnordered, StreamExt};
use futures::{FutureExt, select_biased};

use super::Node;
use super::machine::{Machine, Seen, and, caught, collected, fail};
use crate::{DeadlineError, Due, WaitError};

impl Machine {
    pub(super) async fn sequence(&self, nodes: &[Node], mut seen: u64) -> Seen {
        for node in nodes {
            seen = self.run(node, seen).await?;
        }
        Ok(seen)
    }

    pub(super) async fn join(&self, nodes: &[Node], seen: u64) -> Seen {
        let all = join_all(nodes.iter().map(|node| self.run(node, seen))).await;
        all.into_iter().try_fold(seen, |seen, one| Ok(and(seen, one?)))
    }

    pub(super) async fn race(&self, nodes: &[Node], seen: u64) -> Seen {
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

    pub(super) async fn unordered(&self, nodes: &[Node], mut seen: u64) -> Seen {
        let mut running: FuturesUnordered<_> = nodes.iter().map(|node| self.run(node, seen)).collect();
        while let Some(one) = running.next().await {
            // What comes first is seen by a step between two completions.
            seen = self.step(0, and(seen, one?)).await?;
        }
        Ok(seen)
    }

    pub(super) async fn windowed(&self, nodes: &[Node], seen: u64) -> Seen {
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

    pub(super) async fn fan(&self, nodes: &[Node], window: usize, tolerated: usize, seen: u64) -> Seen {
        let branches = nodes.iter().enumerate();
        let branches = branches.map(|(number, node)| (number.to_string(), move || self.run(node, seen)));
        let fan = self.ctx.block("fan").fan(branches).window(window);
        collected(seen, fan.collect_outcomes(tolerated).await)
    }

    pub(super) async fn first(&self, nodes: &[Node], seen: u64) -> Seen {
        let branches = nodes.iter().enumerate();
        let branches = branches.map(|(number, node)| (number.to_string(), move || self.run(node, seen)));
        match self.ctx.block("race").fan(branches).race().await {
            Some((winner, one)) => Ok(and(and(seen, winner as u64), caught(one)?)),
            None => Err(WaitError::Cancelled),
        }
    }

    pub(super) async fn timeout(&self, milliseconds: u64, node: &Node, seen: u64) -> Seen {
        let body = self.run(node, seen);
        match self.ctx.timeout(Duration::from_millis(milliseconds), body).await {
            Ok(one) => one,
            Err(DeadlineError::Passed(_)) => Ok(and(seen, 19)),
            Err(DeadlineError::Failed(failure)) => Err(WaitError::Failed(failure)),
        }
    }

    pub(super) async fn clean_up(&self, node: &Node, clean_up: &Node, seen: u64) -> Seen {
        let one = self.run(node, seen).await;
        if let Err(WaitError::Cancelled) = one {
            let cleaned = self.ctx.shield(self.run(clean_up, seen)).await;
            assert_ne!(cleaned, Err(WaitError::Cancelled), "nothing in a shield is cancelled");
        }
        one
    }

    pub(super) async fn batch(&self, items: u64, window: usize, tolerated: usize, seen: u64) -> Seen {
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

    pub(super) async fn repeat(&self, times: u64, node: &Node, mut seen: u64) -> Seen {
        for _ in 0..times {
            seen = self.run(node, seen).await?;
        }
        Ok(seen)
    }

    pub(super) async fn paced(&self, which: u64, mut seen: u64) -> Seen {
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
