//! What runs share and what they show: operations on the session are recorded like closures, state and view are recomputed.

use std::cell::Cell;
use std::sync::Arc;

use bytes::Bytes;
use everstep_common::failure::{Failure, FailureKind};
use everstep_common::journal::LocalKind;
use everstep_common::limits::{SESSION_KEY_CHARS_MAX, SESSION_VALUE_BYTES_MAX, STATE_BYTES_MAX};
use futures::future::join;
use futures::{FutureExt, select_biased};

use super::kit::*;
use crate::{EventBody, OpenKind, Record, SessionRequest, WaitError};

fn value(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

#[test]
fn an_operation_is_asked_for_once_and_its_record_is_what_it_brought() {
    let code = workflow(|ctx| async move {
        let (read, changed) = join(ctx.read("a"), ctx.change("a")).await;
        let again = ctx.change("a").await;
        done(&format!("{} {} {}", text(read), text(changed), text(again)))
    });
    check(
        &code,
        &[
            "session s: get(a) for session.get(a)",
            "session s: update(a) for session.update(a)",
        ],
        vec![
            (session("session.update(a)", "1"), &[]),
            (
                session("session.get(a)", "0"),
                &["session s: update(a) for session.update(a)~2"],
            ),
            (session("session.update(a)~2", "7"), &["completed 0 1 7"]),
        ],
    );
}

#[test]
fn a_recorded_operation_is_not_asked_for_again() {
    let code = workflow(|ctx| async move {
        let changed = ctx.change("a").await?;
        ctx.call(std::str::from_utf8(&changed).unwrap()).await?;
        done("")
    });
    let mut driven = Driven::start(&code);
    driven.apply(session("session.update(a)", "three"));
    assert_eq!(driven.commands(), ["dispatch three"]);
}

#[test]
fn an_operation_that_was_dropped_is_called_back() {
    let code = workflow(|ctx| async move {
        let mut slow = ctx.change("a");
        select_biased! { _ = slow => {}, fast = ctx.call("fast").fuse() => drop(fast?) }
        drop(slow);
        ctx.call("next").await?;
        done("")
    });
    check(
        &code,
        &["session s: update(a) for session.update(a)", "dispatch fast"],
        vec![(step("fast", ""), &["cancel closure session.update(a)", "dispatch next"])],
    );
}

#[test]
fn a_cancelled_run_gets_no_answer_from_its_session() {
    let code = workflow(|ctx| async move {
        let first = ctx.change("a").await;
        let second = ctx.read("b").await;
        assert_eq!((first, second), (Err(WaitError::Cancelled), Err(WaitError::Cancelled)));
        done("cleaned up")
    });
    let mut driven = Driven::start(&code);
    driven.commands();
    driven.apply(cancel());
    assert_eq!(
        driven.commands(),
        ["cancel closure session.update(a)", "completed cleaned up"]
    );
}

#[test]
fn an_operation_under_a_closures_key_is_another_kind_of_thing() {
    let code = workflow(|ctx| async move {
        ctx.change("a").await?;
        done("")
    });
    let mut driven = Driven::start(&code);
    driven.apply(local("session.update(a)", "1"));
    assert_eq!(driven.commands(), ["parked: nondeterministic"]);
}

#[test]
fn a_recorded_operation_that_is_no_longer_asked_for_parks_the_run() {
    let code = workflow(|ctx| async move {
        ctx.change("b").await?;
        done("")
    });
    let mut driven = Driven::start(&code);
    driven.apply(session("session.update(a)", "1"));
    assert_eq!(driven.commands(), ["parked: nondeterministic"]);
}

#[test]
fn what_is_set_shows_in_the_fingerprint() {
    let set = |written: &'static str| {
        let code = workflow(move |ctx| async move {
            let key = "a".to_owned();
            ctx.session(SessionRequest::Set {
                key,
                value: Ok(value(written)),
            })
            .await?;
            done("")
        });
        Driven::start(&code).run.fingerprint()
    };
    assert_eq!(set("1"), set("1"));
    assert_ne!(set("1"), set("2"));
}

#[test]
fn what_a_session_cannot_hold_is_refused_before_anything_is_asked() {
    let code = workflow(|ctx| async move {
        let set = |key: String, value| ctx.session(SessionRequest::Set { key, value });
        let refused = [
            set("k".to_owned(), Ok(Bytes::from(vec![0; SESSION_VALUE_BYTES_MAX + 1]))).await,
            set("k".repeat(SESSION_KEY_CHARS_MAX + 1), Ok(value("1"))).await,
            set(String::new(), Ok(value("1"))).await,
            set("k".to_owned(), Err(Failure::new(FailureKind::Invalid, "no such value"))).await,
        ];
        assert!(refused.iter().all(Result::is_err), "{refused:?}");
        set("k".repeat(SESSION_KEY_CHARS_MAX), Ok(value("1"))).await?;
        done("")
    });
    assert_eq!(Driven::start(&code).commands().len(), 1);
}

#[test]
fn a_run_waits_for_its_session() {
    let code = workflow(|ctx| async move {
        ctx.read("a").await?;
        done("")
    });
    let driven = Driven::start(&code);
    assert_eq!(driven.run.waits()[0].kind, OpenKind::Session);
}

/// A function that was given to the session, and tells when it is dropped.
struct Told;

thread_local! {
    static DROPS: Cell<u32> = const { Cell::new(0) };
}

impl Drop for Told {
    fn drop(&mut self) {
        DROPS.set(DROPS.get() + 1);
    }
}

#[test]
fn a_change_that_was_never_handed_out_is_dropped_with_its_wait() {
    DROPS.set(0);
    let code = workflow(|ctx| async move {
        let told = Told;
        let change = Arc::new(move |_: Option<Bytes>| {
            let _ = &told;
            Ok(value("1"))
        });
        let key = "a".to_owned();
        ctx.session(SessionRequest::Update { key, change }).await?;
        done("")
    });
    let mut driven = Driven::start(&code);
    driven.apply(EventBody::About(
        key("session.update(a)"),
        Record::Local(LocalKind::Session, Ok(value("7"))),
    ));
    assert_eq!(DROPS.get(), 1);
}

#[test]
fn state_and_view_are_as_of_the_newest_entry_and_the_same_after_a_replay() {
    let code = workflow(|ctx| async move {
        ctx.set_state("phase", Some(value("started"))).unwrap();
        let called = ctx.call("a").await?;
        ctx.set_state("phase", Some(called)).unwrap();
        ctx.publish_view(value("half")).unwrap();
        ctx.call("b").await?;
        done("")
    });
    let phase = |driven: &Driven| driven.run.view().state.get("phase").cloned();
    let mut driven = Driven::start(&code);
    assert_eq!((phase(&driven), driven.run.view().view), (Some(value("started")), None));
    driven.apply(step("a", "called"));
    assert_eq!(phase(&driven), Some(value("called")));
    let mut replayed = Driven::start(&code);
    replayed.apply(step("a", "called"));
    assert_eq!(replayed.run.view(), driven.run.view());
    assert_eq!(driven.run.view().view, Some(value("half")));
}

#[test]
fn a_state_too_large_is_refused_and_the_run_goes_on() {
    let code = workflow(|ctx| async move {
        let large = Bytes::from(vec![0; STATE_BYTES_MAX]);
        let refused = ctx.set_state("k", Some(large)).is_err();
        done(if refused { "refused" } else { "taken" })
    });
    assert_eq!(Driven::start(&code).commands(), ["completed refused"]);
}
