//! Timeouts of steps and their attempts, heartbeats, and which failed attempts are made again.

use std::time::Duration;

use bytes::Bytes;
use everstep_common::failure::FailureKind;
use everstep_common::journal::AttemptError;
use everstep_common::retry::RetryPolicy;
use everstep_common::task::StepOptions;

use super::kit::*;
use crate::{Command, Decision, Definition, EventBody, Record};

const SECOND: Duration = Duration::from_secs(1);

/// A workflow of one step x with these options.
fn one(options: impl Fn(&mut StepOptions) + Send + Sync + Clone + 'static) -> Definition {
    workflow(move |ctx| {
        let options = options.clone();
        async move {
            let mut step = ctx.call("x");
            options(step.options_mut().expect("not asked for yet"));
            done(&text(step.await))
        }
    })
}

impl Driven {
    /// What it says, with alarms as the second they are set to.
    fn all(&mut self) -> Vec<String> {
        let Decision::Go(commands) = self.run.decide() else {
            panic!("parked")
        };
        let told = commands.iter().map(|command| match command {
            Command::Deadline { at, .. } => format!("alarm at {}", at.as_second() - 1_000),
            other => lines(std::slice::from_ref(other)).concat(),
        });
        told.collect()
    }

    /// The alarm of x rings at that second.
    fn ring(&mut self, second: u64) -> Vec<String> {
        self.run.deadline_passed(&key("x"), time(second));
        self.all()
    }

    fn hear(&mut self, attempt: u32, second: u64, details: &'static str) {
        let details = (!details.is_empty()).then(|| Bytes::from_static(details.as_bytes()));
        self.run.heartbeat(&key("x"), attempt, details, time(second));
    }

    /// What the next attempt of x is told that was said before.
    fn details(&mut self) -> Option<Bytes> {
        match self.run.decide() {
            Decision::Go(commands) => commands.into_iter().find_map(|command| match command {
                Command::Dispatch { details, .. } => details,
                _ => None,
            }),
            other => panic!("{other:?}"),
        }
    }
}

fn named(name: &str) -> EventBody {
    let EventBody::About(key, Record::Try(number, mut tried)) = attempt("x", 1, AttemptError::Error) else {
        unreachable!()
    };
    tried.name = Some(name.to_owned());
    EventBody::About(key, Record::Try(number, tried))
}

#[test]
fn the_soonest_timeout_is_the_alarm_and_passes_only_in_its_time() {
    let mut driven = Driven::start(&one(|options| {
        options.start_timeout = Some(5 * SECOND);
        options.timeout = Some(10 * SECOND);
        options.total_timeout = 20 * SECOND;
    }));
    assert_eq!(driven.all(), ["dispatch x", "alarm at 6"]);
    driven.apply(begun("x", 1));
    assert_eq!(
        driven.all(),
        ["alarm at 13"],
        "the attempt has 10 s from second 2 on, and its worker one more"
    );
    assert_eq!(driven.ring(6), ["alarm at 13"], "an alarm of before says nothing");
    assert_eq!(
        driven.ring(13),
        [
            "fail x attempt 1: its worker did not end it within its timeout of 10s",
            "alarm at 21"
        ]
    );
    assert!(driven.all().is_empty());
    driven.apply(attempt("x", 1, AttemptError::Timeout));
    driven.apply(begun("x", 2));
    let said = driven.all();
    assert!(said[0] == "retry x attempt 2" && said[1] == "alarm at 15", "{said:?}");
    let mut driven = Driven::start(&one(|options| options.total_timeout = 20 * SECOND));
    assert_eq!(driven.all(), ["dispatch x", "alarm at 21"]);
    driven.apply(attempt("x", 1, AttemptError::Error));
    assert_eq!(driven.all(), ["retry x attempt 2"]);
    assert_eq!(
        driven.ring(21),
        ["record x: deadline exceeded: not done within 20s, in attempt 2"]
    );
    assert!(driven.ring(22).is_empty());
}

#[test]
fn a_step_that_no_worker_begins_fails_without_another_attempt() {
    let mut driven = Driven::start(&one(|options| options.start_timeout = Some(5 * SECOND)));
    driven.all();
    assert_eq!(
        driven.ring(6),
        ["record x: not started in time: no worker of queue default began attempt 1 within 5s"]
    );
    driven.apply(begun("x", 1));
    assert!(driven.all().is_empty(), "it began too late");
}

#[test]
fn the_time_to_start_is_counted_for_each_attempt_from_when_it_is_due() {
    let mut driven = Driven::start(&one(|options| {
        options.start_timeout = Some(5 * SECOND);
        options.retries = RetryPolicy::constant(30 * SECOND).without_jitter();
    }));
    driven.all();
    driven.apply(attempt("x", 1, AttemptError::Error));
    assert_eq!(driven.all(), ["retry x attempt 2", "alarm at 37"]);
    driven.run.retry_due(&key("x"), 2);
    assert_eq!(driven.all(), ["dispatch x attempt 2"]);
}

#[test]
fn a_function_without_heartbeats_fails_its_attempt_and_says_to_the_next_what_it_said_last() {
    let mut driven = Driven::start(&one(|options| options.heartbeat_timeout = Some(3 * SECOND)));
    assert_eq!(driven.all(), ["dispatch x", "alarm at 86401"]);
    driven.hear(1, 1, "");
    driven.apply(begun("x", 1));
    assert_eq!(driven.all(), ["alarm at 5"], "counted from its beginning");
    driven.hear(1, 4, "page 7");
    driven.hear(1, 3, "");
    driven.hear(2, 9, "of another attempt");
    assert!(driven.all().is_empty(), "a heartbeat makes nobody do anything");
    assert_eq!(driven.ring(5), ["alarm at 7"]);
    driven.run.listen_from(time(6));
    assert_eq!(driven.ring(7), ["alarm at 9"], "nobody listened before second 6");
    assert_eq!(
        driven.ring(9),
        ["fail x attempt 1: no heartbeat for its timeout of 3s", "alarm at 86401"]
    );
    driven.hear(1, 10, "page 9");
    assert!(driven.ring(20).len() == 1, "what was given up stays so");
    driven.apply(attempt("x", 1, AttemptError::Timeout));
    driven.run.retry_due(&key("x"), 2);
    assert_eq!(driven.details(), Some(Bytes::from_static(b"page 9")));
}

#[test]
fn what_an_attempt_said_last_stands_in_its_entry_and_outlives_every_owner() {
    let EventBody::About(at, Record::Try(number, mut tried)) = attempt("x", 1, AttemptError::Error) else {
        unreachable!()
    };
    tried.details = Some(Bytes::from_static(b"page 3"));
    let mut driven = Driven::start(&one(|_| {}));
    driven.apply(EventBody::About(at, Record::Try(number, tried)));
    driven.apply(attempt("x", 2, AttemptError::Error));
    driven.run.retry_due(&key("x"), 3);
    assert_eq!(driven.details(), Some(Bytes::from_static(b"page 3")));
}

#[test]
fn a_redelivered_attempt_has_its_time_from_its_newest_beginning() {
    let mut driven = Driven::start(&one(|options| options.timeout = Some(10 * SECOND)));
    driven.all();
    driven.apply(begun("x", 1));
    assert_eq!(driven.all(), ["alarm at 13"]);
    driven.apply(begun("x", 1));
    assert_eq!(driven.all(), ["alarm at 14"]);
    driven.apply(step("x", "in time"));
    assert!(driven.ring(14)[0].starts_with("completed"));
}

#[test]
fn what_may_run_once_is_interrupted_wherever_nobody_knows_how_far_it_came() {
    let once = || {
        one(|options| {
            options.at_most_once = true;
            options.timeout = Some(10 * SECOND);
            options.total_timeout = 60 * SECOND;
        })
    };
    let fence = || {
        let (attempt, fence) = (1, true);
        EventBody::About(key("x"), Record::Begun { attempt, fence })
    };
    let mut driven = Driven::start(&once());
    driven.all();
    assert_eq!(driven.ring(61), ["fence x attempt 1"], "nobody knows that it will not begin");
    assert!(driven.ring(62).is_empty());
    driven.apply(fence());
    let said = driven.all();
    assert!(
        said[0].starts_with("record x: not started in time"),
        "by the time of the entry: {said:?}"
    );

    let mut driven = Driven::start(&once());
    driven.all();
    driven.ring(61);
    driven.apply(begun("x", 1));
    assert_eq!(driven.all(), ["alarm at 13"], "the worker was first");

    let mut driven = Driven::start(&once());
    driven.apply(begun("x", 1));
    driven.all();
    assert!(
        driven.ring(61)[0].starts_with("fail x attempt 1"),
        "the attempt's timeout passed first"
    );
    assert!(driven.ring(61)[0].starts_with("record x: interrupted: not done within 60s"));

    for (error, expected) in [
        (AttemptError::Timeout, "record x: interrupted: it failed; it began"),
        (AttemptError::Error, "record x: attempts exhausted: it failed"),
    ] {
        let mut driven = Driven::start(&once());
        driven.apply(begun("x", 1));
        driven.apply(attempt("x", 1, error));
        let said = driven.commands();
        assert!(said[0].starts_with("dispatch") || said[0].starts_with(expected), "{said:?}");
        assert!(said.iter().any(|line| line.starts_with(expected)), "{said:?}");
    }
    assert_eq!(FailureKind::Interrupted.to_string(), "interrupted");
}

#[test]
fn errors_that_no_retry_mends_are_known_by_name_and_kind() {
    let check = |never: &'static str, entry: EventBody, then: &[&str]| {
        let code = one(move |options| options.retries = RetryPolicy::default().never(never));
        super::kit::check(&code, &["dispatch x"], vec![(entry, then)]);
    };
    let exhausted = ["record x: attempts exhausted: it failed"];
    let retried = ["retry x attempt 2"];
    check("CardDeclined", named("CardDeclined"), &exhausted);
    check("CardDeclined", named("Busy"), &retried);
    check("CardDeclined", attempt("x", 1, AttemptError::Error), &retried);
    check("panic", attempt("x", 1, AttemptError::Panic), &exhausted);
    check("panic", attempt("x", 1, AttemptError::Timeout), &retried);
    check("timeout", attempt("x", 1, AttemptError::Timeout), &exhausted);
    check("heartbeat", named("heartbeat"), &exhausted);
}

#[test]
fn no_attempt_begins_after_the_total_time_of_retries() {
    let code = one(|options| {
        options.retries = RetryPolicy::constant(4 * SECOND)
            .without_jitter()
            .attempts(99)
            .total(9 * SECOND)
    });
    let mut driven = Driven::start(&code);
    for number in 1..=5 {
        driven.commands();
        driven.apply(attempt("x", number, AttemptError::Error));
        assert_eq!(driven.commands(), [format!("retry x attempt {}", number + 1)]);
    }
    // That of second 7 could be followed in second 11 only.
    driven.apply(attempt("x", 6, AttemptError::Error));
    assert_eq!(driven.commands(), ["record x: attempts exhausted: it failed"]);
}
