//! Keys, scopes and chance: what tells one ask from another.

use std::collections::HashSet;

use bytes::Bytes;
use everstep_common::failure::FailureKind;
use everstep_common::task::StepOptions;
use futures::future::FusedFuture;
use futures::future::join;
use futures::future::join3;

use super::kit::*;
use crate::{Definition, Local, Step, Timer, WaitError};

#[test]
fn numbers_are_taken_when_a_future_is_made_not_when_it_is_polled() {
    let code = workflow(|ctx| async move {
        let (first, second) = (ctx.call("x"), ctx.call("x"));
        let explicit = ctx.call("x").key("own key");
        let fourth = ctx.call("x");
        let _ = join3(fourth, explicit, join(second, first)).await;
        done("")
    });
    check(
        &code,
        &["dispatch x~4", "dispatch own key", "dispatch x~2", "dispatch x"],
        vec![],
    );
}

#[test]
fn a_named_timer_uses_up_the_number_of_its_first_name() {
    let code = workflow(|ctx| async move {
        let _ = join3(ctx.sleep(0).named("settle"), ctx.sleep(0), ctx.sleep(0).named("settle")).await;
        done("")
    });
    check(
        &code,
        &["timer settle at 1001", "timer sleep~2 at 1001", "timer settle~2 at 1001"],
        vec![],
    );
}

#[test]
fn scopes_are_numbered_like_names_and_hold_numbers_of_their_own() {
    let code = workflow(|ctx| async move {
        let outside = ctx.call("x");
        let inner = |ctx: crate::Context| async move { join(ctx.call("x"), ctx.call("x")).await };
        let first = ctx.scope("block", inner(ctx.clone()));
        let second = ctx.scope("block", ctx.scope("deep", inner(ctx.clone())));
        let third = ctx.scope("block", outside);
        let _ = join3(second, first, third).await;
        done("")
    });
    // `deep` is made in the workflow's own scope, before the block round it is polled.
    let started = [
        "dispatch deep/x",
        "dispatch deep/x~2",
        "dispatch block/x",
        "dispatch block/x~2",
        "dispatch x",
    ];
    check(&code, &started, vec![]);
}

#[test]
fn helpers_number_in_the_scope_that_polls_them() {
    let code = workflow(|ctx| async move {
        let helper = |ctx: crate::Context| async move { ctx.scope("deep", ctx.call("inner")).await };
        let block = ctx.scope("block", {
            let ctx = ctx.clone();
            async move { join(ctx.call("x"), helper(ctx.clone())).await }
        });
        let _ = join(block, ctx.call("x")).await;
        done("")
    });
    check(&code, &["dispatch block/x", "dispatch block/inner", "dispatch x"], vec![]);
}

#[test]
fn a_key_asked_twice_is_an_error_there_and_does_not_disturb_the_first() {
    let code = workflow(|ctx| async move {
        let first = ctx.call("x");
        let second = ctx.compute("y").key("x");
        let (first, second) = join(first, second).await;
        done(&format!(
            "{} {}",
            text(first),
            matches!(second, Err(WaitError::Failed(failure)) if failure.kind == FailureKind::Invalid)
        ))
    });
    check(&code, &["dispatch x"], vec![(step("x", "1"), &["completed 1 true"])]);
}

#[test]
fn chance_is_the_same_on_every_replay_and_differs_by_scope_and_draw() {
    let code = workflow(|ctx| async move {
        let inner = ctx.scope("inner", async { (ctx.random(), ctx.uuid()) }).await;
        let outer = [(ctx.random(), ctx.uuid()), (ctx.random(), ctx.uuid())];
        let drawn = outer.into_iter().chain([inner]);
        done(
            &drawn
                .map(|(random, uuid)| format!("{random} {uuid}"))
                .collect::<Vec<_>>()
                .join(" "),
        )
    });
    let said = Driven::start(&code).commands();
    assert_eq!(said, Driven::start(&code).commands());
    let words: Vec<_> = said[0].strip_prefix("completed ").unwrap().split(' ').collect();
    assert_eq!(words.iter().collect::<HashSet<_>>().len(), 6, "{words:?}");
    let uuids = words
        .iter()
        .skip(1)
        .step_by(2)
        .map(|text| text.parse::<uuid::Uuid>().unwrap());
    uuids.for_each(|uuid| assert_eq!(uuid.get_version_num(), 4));
}

#[test]
fn chance_depends_on_the_scope_not_only_on_the_draw() {
    let first_in = |scope: &'static str| {
        let code = workflow(move |ctx| async move {
            let drawn = ctx.scope(scope, async { ctx.random() }).await;
            done(&drawn.to_string())
        });
        Driven::start(&code).commands()
    };
    assert_ne!(first_in("left"), first_in("right"));
}

#[test]
fn names_are_bounded_and_a_bad_one_is_an_error_there() {
    let code = workflow(|ctx| async move {
        let long = "ü".repeat(129);
        for bad in [
            ctx.call("x").key(""),
            ctx.step("", function("x"), Ok(Bytes::new()), StepOptions::default()),
        ] {
            assert!(matches!(bad.await, Err(WaitError::Failed(failure)) if failure.kind == FailureKind::Invalid));
        }
        assert!(matches!(ctx.compute(&long).await, Err(WaitError::Failed(failure)) if failure.message.contains("129")));
        // A key of the workflow's own may have any length.
        ctx.compute(&long).key(&"k".repeat(5_000)).await?;
        done("")
    });
    let said = Driven::start(&code).commands();
    assert!(said.len() == 1 && said[0].starts_with("run kkk"), "{said:?}");
}

#[test]
fn what_a_context_gives_is_unpin_and_static_and_a_definition_crosses_threads() {
    fn future<T: FusedFuture + Unpin + 'static>() {}
    fn shared<T: Send + Sync>() {}
    future::<Step>();
    future::<Timer>();
    future::<Local>();
    shared::<Definition>();
}
