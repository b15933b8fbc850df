//! Events that a run waits for: looked for one after another, each taken once, against deadlines, drops, cancels and edited code.

use bytes::Bytes;
use everstep_common::event::EventName;
use everstep_common::failure::FailureKind;
use everstep_common::journal::LocalKind;
use everstep_common::subscription::{EventPlace, Listened, Matching, Subscription};
use futures::future::join;
use futures::{FutureExt, select_biased};
use jiff::Timestamp;

use super::edits::classes_of;
use super::kit::*;
use super::outside::in_seconds;
use crate::{Command, Decision, Definition, EventBody, Limits, Record, RunEnd, WaitError, WorkflowFailure};

/// What a run says that emits an event without data.
const EMITTED: &str = "emit sent(e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855) for emit:sent";

/// Events of a name, and of an order if it is named: `paid:1`.
pub(super) fn of_order(text: &str) -> Subscription {
    let (name, order) = text.split_once(':').map_or((text, None), |(name, order)| (name, Some(order)));
    Subscription {
        event: EventName::new(name).unwrap(),
        matching: order.map(|order| Matching {
            path: "order".to_owned(),
            value: order.into(),
        }),
    }
}

/// The next event of the subscription, which stands at that sequence.
fn heard(text: &str, sequence: u64) -> EventBody {
    let value = Bytes::copy_from_slice(sequence.to_string().as_bytes());
    EventBody::Event(Box::new(of_order(text)), at(sequence), value)
}

fn at(sequence: u64) -> EventPlace {
    EventPlace {
        stream: Timestamp::UNIX_EPOCH,
        sequence,
        time: time(sequence),
    }
}

fn emitted(path: &str) -> EventBody {
    EventBody::About(key(path), Record::Local(LocalKind::Emit, Ok(Bytes::new())))
}

fn one_after_another() -> Definition {
    workflow(|ctx| async move {
        let first = text(ctx.event(of_order("paid")).await);
        let second = text(ctx.event(of_order("paid")).await);
        ctx.call("a").await?;
        done(&format!("{first} {second}"))
    })
}

#[test]
fn each_event_is_looked_for_behind_the_one_before() {
    check(
        &one_after_another(),
        &["await paid 1"],
        vec![
            (heard("paid", 7), &["await paid 2"]),
            (heard("paid", 9), &["dispatch a", "stop awaiting paid"]),
            (step("a", ""), &["completed 7 9"]),
        ],
    );
    let mut driven = Driven::start(&one_after_another());
    let mut places = Vec::new();
    for entry in [None, Some(heard("paid", 7))] {
        entry.into_iter().for_each(|entry| driven.apply(entry));
        let Decision::Go(commands) = driven.run.decide() else {
            panic!("it goes on")
        };
        for command in commands {
            if let Command::Await { after, since, .. } = command {
                places.push((after, since));
            }
        }
    }
    assert_eq!(places, [(None, time(1)), (Some(at(7)), time(1))], "since the run began");
}

/// How far the run says it has got when it goes on in another.
fn listened(driven: &mut Driven) -> Vec<Listened> {
    let Decision::Go(commands) = driven.run.decide() else {
        panic!("it goes on")
    };
    let listened = commands.into_iter().find_map(|command| match command {
        Command::End {
            outcome: RunEnd::Continued { listened, .. },
        } => Some(listened),
        _ => None,
    });
    listened.expect("it goes on in another run")
}

fn from(text: &str, after: Option<u64>, since: Timestamp) -> Listened {
    Listened {
        what: of_order(text),
        after: after.map(at),
        since,
    }
}

#[test]
fn a_run_that_goes_on_in_another_hands_on_how_far_it_has_got_with_what_it_waited_for() {
    let code = workflow(|ctx| async move {
        // The wait for what is lost is given up, and what comes for it afterwards is taken by nobody.
        let mut lost = ctx.event(of_order("lost")).fuse();
        let mut paid = ctx.event(of_order("paid")).fuse();
        select_biased! {
            _ = lost => {}
            _ = paid => {}
        }
        drop(lost);
        ctx.call("a").await?;
        Err(WorkflowFailure::Continued(Bytes::new()))
    });
    let beginning = time(1);
    let mut driven = Driven::start(&code);
    driven.apply(heard("paid", 7));
    driven.apply(step("a", ""));
    assert_eq!(
        listened(&mut driven),
        [from("paid", Some(7), beginning), from("lost", None, beginning)]
    );

    let mut driven = Driven::start(&code);
    driven.apply(heard("paid", 7));
    driven.apply(heard("lost", 9));
    driven.apply(step("a", ""));
    let [_, lost] = &listened(&mut driven)[..] else {
        panic!("two of them")
    };
    let before = lost.after.expect("right before it").sequence;
    assert_eq!(before, 8, "it was heard of, and is still to be taken");
}

#[test]
fn a_run_in_which_another_goes_on_looks_for_what_that_one_waited_for_from_where_it_had_got_to() {
    let code = workflow(|ctx| async move {
        let _ = join(ctx.event(of_order("paid")), ctx.event(of_order("lost"))).await;
        let _ = ctx.event(of_order("new")).await;
        Err(WorkflowFailure::Continued(Bytes::new()))
    });
    let (long_ago, decided) = (Timestamp::UNIX_EPOCH, time(0));
    let mut beginning = start(b"");
    if let EventBody::Start(start, _) = &mut beginning {
        start.listens_from = Some(decided);
        start.listened = vec![
            from("paid", Some(7), long_ago),
            from("lost", None, long_ago),
            from("forgotten", None, long_ago),
        ];
    }
    let mut driven = Driven::start_as(&code, Limits::default(), beginning);
    let mut places = Vec::new();
    for entries in [vec![], vec![heard("paid", 9), heard("lost", 10)]] {
        entries.into_iter().for_each(|entry| driven.apply(entry));
        let Decision::Go(commands) = driven.run.decide() else {
            panic!("it goes on")
        };
        places.extend(commands.into_iter().filter_map(|command| match command {
            Command::Await { what, after, since, .. } => Some((what.to_string(), after, since)),
            _ => None,
        }));
    }
    let behind = decided + std::time::Duration::from_nanos(1);
    let expected = [
        ("lost".to_owned(), None, long_ago),
        ("paid".to_owned(), Some(at(7)), long_ago),
        ("new".to_owned(), None, behind),
    ];
    assert_eq!(places, expected);
    driven.apply(heard("new", 11));
    let handed_on = [
        from("new", Some(11), behind),
        from("lost", Some(10), long_ago),
        from("paid", Some(9), long_ago),
    ];
    assert_eq!(
        listened(&mut driven),
        handed_on,
        "and nothing that it did not wait for itself"
    );
}

#[test]
fn a_run_that_is_loaded_again_looks_for_what_it_waits_for_and_for_nothing_else() {
    let mut driven = Driven::start(&one_after_another());
    driven.apply(heard("paid", 7));
    assert_eq!(driven.commands(), ["await paid 2"]);
    let mut driven = Driven::start(&one_after_another());
    driven.apply(heard("paid", 7));
    driven.apply(heard("paid", 9));
    assert_eq!(driven.commands(), ["dispatch a"]);
}

#[test]
fn subscriptions_are_told_apart_by_what_they_match_and_each_has_its_own_events() {
    let code = workflow(|ctx| async move {
        let (one, other) = join(ctx.event(of_order("paid:1")), ctx.event(of_order("paid:2"))).await;
        done(&format!("{} {}", text(one), text(other)))
    });
    check(
        &code,
        &["await paid(order=\"1\") 1", "await paid(order=\"2\") 1"],
        vec![
            (heard("paid", 5), &[]),
            (heard("paid:2", 6), &["stop awaiting paid(order=\"2\")"]),
            (heard("paid:1", 8), &["stop awaiting paid(order=\"1\")", "completed 8 6"]),
        ],
    );
}

#[test]
fn waits_of_one_subscription_are_served_in_the_order_asked() {
    let code = workflow(|ctx| async move {
        let (one, other) = join(ctx.event(of_order("paid")), ctx.event(of_order("paid"))).await;
        done(&format!("{} {}", text(one), text(other)))
    });
    check(
        &code,
        &["await paid 1"],
        vec![
            (heard("paid", 3), &["await paid 2"]),
            (heard("paid", 4), &["stop awaiting paid", "completed 3 4"]),
        ],
    );
}

#[test]
fn of_an_event_and_a_deadline_the_one_stored_first_counts() {
    let code = workflow(|ctx| async move {
        let first = text(ctx.event(of_order("paid")).deadline(in_seconds(60)).await);
        ctx.call("a").await?;
        let late = text(ctx.event(of_order("paid")).await);
        done(&format!("{first}, {late}"))
    });
    let started = ["timer event:paid at 1061", "await paid 1"];
    check(
        &code,
        &started,
        vec![
            (timer("event:paid"), &["dispatch a", "stop awaiting paid"]),
            // It was found in the moment in which the deadline passed, and is kept.
            (heard("paid", 4), &[]),
            (
                step("a", ""),
                &["completed (deadline exceeded: no event paid has come in time), 4"],
            ),
        ],
    );
    check(
        &code,
        &started,
        vec![
            (heard("paid", 4), &["close event:paid", "dispatch a", "stop awaiting paid"]),
            (timer("event:paid"), &[]),
            (step("a", ""), &["await paid 2"]),
            (heard("paid", 5), &["stop awaiting paid", "completed 4, 5"]),
        ],
    );
}

#[test]
fn what_a_dropped_or_cancelled_wait_was_given_goes_to_the_next() {
    let code = workflow(|ctx| async move {
        let mut first = ctx.event(of_order("paid"));
        let mut gate = ctx.call("gate");
        select_biased! { _ = gate => {}, _ = first => {} }
        drop(first);
        done(&text(ctx.event(of_order("paid")).await))
    });
    check(
        &code,
        &["dispatch gate", "await paid 1"],
        vec![
            (step("gate", ""), &[]),
            (heard("paid", 3), &["stop awaiting paid", "completed 3"]),
        ],
    );
    let unread = workflow(|ctx| async move {
        let mut first = ctx.event(of_order("paid"));
        assert!(futures::poll!(&mut first).is_pending());
        ctx.call("a").await?;
        drop(first);
        done(&text(ctx.event(of_order("paid")).await))
    });
    check(
        &unread,
        &["dispatch a", "await paid 1"],
        vec![(heard("paid", 3), &["stop awaiting paid"]), (step("a", ""), &["completed 3"])],
    );
}

#[test]
fn a_cancel_ends_the_wait_and_the_search() {
    let code = workflow(|ctx| async move {
        let brought = text(ctx.event(of_order("paid")).deadline(in_seconds(60)).await);
        let cleaned = text(ctx.shield(ctx.event(of_order("sent")).boxed_local()).await);
        done(&format!("{brought}, {cleaned}"))
    });
    check(
        &code,
        &["timer event:paid at 1061", "await paid 1"],
        vec![
            (cancel(), &["close event:paid", "stop awaiting paid", "await sent 1"]),
            (
                heard("sent", 3),
                &[
                    "stop awaiting sent",
                    "completed (cancelled with the run or branch that asked for it), 3",
                ],
            ),
        ],
    );
}

#[test]
fn what_tells_an_event_by_too_much_or_by_no_path_is_refused_at_once() {
    for (path, value) in [("a..b", "x".to_owned()), ("a", "x".repeat(2_000))] {
        let code = workflow(move |ctx| {
            let mut what = of_order("paid:1");
            what.matching = Some(Matching {
                path: path.to_owned(),
                value: value.clone().into(),
            });
            async move {
                match ctx.event(what).await {
                    Err(WaitError::Failed(failure)) if failure.kind == FailureKind::Invalid => done("refused"),
                    other => done(&text(other)),
                }
            }
        });
        check(&code, &["completed refused"], vec![]);
    }
}

/// What is emitted binds the code as a closure does; what is heard binds it as little as a signal.
#[test]
fn edits_of_what_is_emitted_park_and_edits_of_what_is_waited_for_do_not() {
    let journal = [step("a", ""), emitted("emit:sent"), heard("paid:1", 3), step("c", "")];
    let check = |edited, classes: [&str; 5]| assert_eq!(classes_of(edited, &journal), classes, "{edited:?}");
    check("a ~sent +paid:1 c", ["go"; 5]);
    check("a ~sent +paid:1 c d", ["go"; 5]);
    check("a ~sent c", ["go"; 5]);
    check("a ~sent +paid:2 c", ["go", "go", "go", "go", "unasked c"]);
    check(
        "a +paid:1 c",
        ["go", "go", "unasked emit:sent", "unasked emit:sent", "unasked emit:sent"],
    );
    check(
        "a ~other +paid:1 c",
        ["go", "go", "unasked emit:sent", "unasked emit:sent", "unasked emit:sent c"],
    );
    check("+paid:1 a ~sent c", ["go", "unasked a", "unasked a emit:sent", "go", "go"]);
}

#[test]
fn an_emitted_event_that_is_dropped_or_cancelled_is_called_back_and_its_record_is_for_nobody() {
    let code = workflow(|ctx| async move {
        let mut emit = ctx.emit(of_order("sent").event, Bytes::new());
        let mut gate = ctx.call("gate");
        select_biased! { _ = gate => {}, _ = emit => {} }
        drop(emit);
        ctx.call("a").await?;
        done("")
    });
    check(
        &code,
        &["dispatch gate", EMITTED],
        vec![
            (step("gate", ""), &["cancel closure emit:sent", "dispatch a"]),
            (emitted("emit:sent"), &[]),
            (step("a", ""), &["completed "]),
        ],
    );
    let cancelled = workflow(|ctx| async move { done(&text(ctx.emit(of_order("sent").event, Bytes::new()).await)) });
    check(
        &cancelled,
        &[EMITTED],
        vec![(
            cancel(),
            &[
                "cancel closure emit:sent",
                "completed (cancelled with the run or branch that asked for it)",
            ],
        )],
    );
}

#[test]
fn an_event_of_the_longest_name_is_emitted_and_waited_for() {
    let name = "n".repeat(everstep_common::limits::NAME_CHARS_MAX);
    let code = workflow(move |ctx| {
        let name = name.clone();
        async move {
            ctx.emit(of_order(&name).event, Bytes::new()).await?;
            ctx.event(of_order(&name)).await?;
            done("")
        }
    });
    let mut driven = Driven::start(&code);
    assert!(driven.commands()[0].starts_with("emit n"));
}
