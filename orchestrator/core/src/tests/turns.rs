//! Many entries in one turn of the partition's thread: channels and selects must not starve one another.

use std::time::Duration;

use bytes::Bytes;
use futures::channel::mpsc;
use futures::future::{join, join_all};
use futures::stream::StreamExt;
use futures::{FutureExt, SinkExt, select_biased};

use super::kit::*;
use crate::{Context, Definition, Due};

const ENTRIES: usize = 200;

/// Applies all outcomes in one turn, decides only then, and expects the order in which they came.
fn check(code: &Definition) {
    let mut driven = Driven::start(code);
    assert_eq!(
        driven.commands().iter().filter(|line| line.starts_with("dispatch")).count(),
        ENTRIES
    );
    let mut order: Vec<_> = (1..=ENTRIES).collect();
    let mut dice = Dice::new(first_seed());
    (0..ENTRIES).for_each(|place| order.swap(place, dice.below(ENTRIES)));
    for number in &order {
        let path = if *number == 1 {
            "work".to_owned()
        } else {
            format!("work~{number}")
        };
        driven.apply(step(&path, &number.to_string()));
    }
    let order: Vec<_> = order.iter().map(ToString::to_string).collect();
    let said = driven.commands();
    assert_eq!(said.last().unwrap(), &format!("completed {}", order.join(" ")), "{said:?}");
}

fn text(value: Bytes) -> String {
    String::from_utf8(value.to_vec()).unwrap()
}

#[test]
fn two_hundred_entries_through_a_channel_and_a_select_in_one_turn() {
    check(&workflow(|ctx| async move {
        let (sender, mut receiver) = mpsc::channel::<String>(1);
        let work = |ctx: Context, mut sender: mpsc::Sender<String>| async move {
            let value = ctx.call("work").await?;
            sender.send(text(value)).await.ok();
            Ok::<_, crate::WaitError>(())
        };
        let workers = join_all((0..ENTRIES).map(|_| work(ctx.clone(), sender.clone())));
        drop(sender);
        let collector = async {
            let mut seen = Vec::new();
            let mut pace = ctx.timer("pace", Due::After(Duration::from_secs(60)));
            loop {
                select_biased! {
                    next = receiver.next() => match next { Some(value) => seen.push(value), None => break seen },
                    _ = pace => panic!("no entry of the timer was applied"),
                }
            }
        };
        let (_, seen) = join(workers, collector).await;
        done(&seen.join(" "))
    }));
}

#[test]
fn two_hundred_entries_through_a_tokio_channel_in_one_turn() {
    check(&workflow(|ctx| async move {
        let (sender, mut receiver) = tokio::sync::mpsc::channel::<String>(1);
        let workers = join_all((0..ENTRIES).map(|_| {
            let (ctx, sender) = (ctx.clone(), sender.clone());
            async move {
                let value = ctx.call("work").await?;
                sender.send(text(value)).await.ok();
                Ok::<_, crate::WaitError>(())
            }
        }));
        drop(sender);
        let collector = async {
            let mut seen = Vec::new();
            loop {
                let next = select_biased! {
                    next = receiver.recv().fuse() => next,
                    complete => None,
                };
                match next {
                    Some(value) => seen.push(value),
                    None => break seen,
                }
            }
        };
        let (_, seen) = join(workers, collector).await;
        done(&seen.join(" "))
    }));
}
