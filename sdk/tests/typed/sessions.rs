//! State of a run and of its session, typed.

use everstep::prelude::*;
use everstep_common::wire::{decode_value, encode_value};

use crate::kit::Driven;

#[workflow]
async fn visit(ctx: WorkflowContext) -> Result<(u64, Option<u64>, Vec<String>, bool), WorkflowError> {
    let session = ctx.session().state();
    let visits = session.update("visits", 10, |visits: u64| visits + 1).await?;
    let absent = session.get("absent", 7).await? + session.get("nil", Some(1)).await?.unwrap_or(0);
    session.set("last", "here").await?;
    let known: Option<u64> = session.find("known").await?;
    let deleted = session.delete("last").await?;
    Ok((visits + absent, known, session.keys().await?, deleted))
}

#[test]
fn what_the_session_brings_comes_out_typed() {
    let mut run = Driven::start(visit, ());
    let change = run.change("session.update(visits)");
    let changed = |before: Option<u64>| {
        let before = before.map(|before| encode_value(&before).unwrap());
        decode_value::<u64>(&change(before).unwrap()).unwrap()
    };
    assert_eq!((changed(None), changed(Some(4)), changed(Some(4))), (11, 5, 5));
    run.session("session.update(visits)", 5);
    run.session("session.get(absent)", [(); 0]);
    // A value that is nil is a value, and not the default.
    run.session("session.get(nil)", [None::<u64>]);
    run.session("session.set(last)", ());
    run.session("session.get(known)", [3]);
    run.session("session.delete(last)", true);
    run.session("session.keys()", ["known", "visits"]);
    let all = (12, Some(3), vec!["known".to_owned(), "visits".to_owned()], true);
    assert_eq!(run.completed::<(u64, Option<u64>, Vec<String>, bool)>(), all);
}

#[workflow]
async fn reserve(ctx: WorkflowContext, pieces: u32) -> Result<u32, WorkflowError> {
    let take = move |stock: u32| {
        stock
            .checked_sub(pieces)
            .ok_or_else(|| WorkflowError::new("too few are left"))
    };
    ctx.session().state().try_update("stock", 100, take).await
}

#[test]
fn a_change_may_refuse_and_does_not_take_what_is_of_another_type() {
    let run = Driven::start(reserve, 3);
    let change = run.change("session.update(stock)");
    let refused = change(Some(encode_value(&2).unwrap())).unwrap_err();
    assert_eq!(refused.message, "too few are left");
    let foreign = change(Some(encode_value("many").unwrap())).unwrap_err();
    assert!(foreign.message.contains("is not a u32"), "{foreign}");
}

#[workflow]
async fn stateful(ctx: WorkflowContext) -> Result<(u32, Vec<String>, bool), WorkflowError> {
    let state = ctx.state();
    state.set("phase", "started")?;
    ctx.publish_view(&("half", 50))?;
    ctx.sleep(Duration::from_secs(1)).await?;
    let tries = state.update("tries", 0, |tries: u32| tries + 1)? + state.update("tries", 0, |tries: u32| tries + 1)?;
    assert!(state.get("phase", 0).is_err(), "it is a text");
    assert_eq!(state.find::<String>("absent")?, None);
    let (keys, deleted) = (state.keys(), state.delete("phase") && !state.delete("phase"));
    state.clear();
    assert!(ctx.state().keys().is_empty());
    Ok((tries, keys, deleted))
}

#[test]
fn a_runs_state_is_as_its_workflow_left_it() {
    let mut run = Driven::start(stateful, ());
    let view = run.view();
    assert_eq!(decode_value::<String>(&view.state["phase"]).unwrap(), "started");
    assert_eq!(
        decode_value::<(String, u32)>(&view.view.unwrap()).unwrap(),
        ("half".to_owned(), 50)
    );
    run.timer("sleep");
    let all = (3, vec!["phase".to_owned(), "tries".to_owned()], true);
    assert_eq!(run.completed::<(u32, Vec<String>, bool)>(), all);
    assert!(run.view().state.is_empty());
}
