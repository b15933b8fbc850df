//! What the journals of runs that belong together must say of each other when a story is over.

use std::collections::BTreeMap;

use everstep_common::ids::RunId;
use everstep_common::journal::{Entry, EntryKey, Parent, RunOutcome, StepResult};

use super::story::Story;

/// Checks all of them against each other.
pub(super) fn agree(stories: &[Story]) {
    let by_run: BTreeMap<_, _> = stories.iter().map(|story| (&story.run, story)).collect();
    for story in stories {
        let start = story.start().expect("the journal of a run begins with its start");
        if let Some(parent) = &start.parent {
            let parents = by_run[&parent.run];
            named_by(parents, parent, first_of(story));
            if !parent.detached && !matches!(story.end(), Some(RunOutcome::Continued(_))) {
                told(story, parents, parent);
            }
        }
        if let Some(RunOutcome::Continued(next)) = story.end() {
            let successor = by_run[&next.run].start().expect("it begins with its start");
            let before = successor.continues.as_ref().expect("it says what it continues");
            assert_eq!((&before.from, &before.first), (&story.run, first_of(story)));
            assert_eq!((&successor.parent, &successor.start_key), (&start.parent, &start.start_key));
        }
    }
}

fn first_of(story: &Story) -> &RunId {
    let continues = story.start().and_then(|start| start.continues.as_ref());
    continues.map_or(&story.run, |continues| &continues.first)
}

fn named_by(parents: &Story, parent: &Parent, first: &RunId) {
    let named = parents.entries.iter().any(|entry| match (&entry.key, &entry.entry) {
        (EntryKey::Child(key), Entry::Child(child)) => *key == parent.step && child.run == *first,
        _ => false,
    });
    assert!(named, "run {} does not name its child {first}", parent.run);
}

/// A child has ended before its parent, unless that ended as it stood; the parent knows how.
fn told(story: &Story, parents: &Story, parent: &Parent) {
    let told = parents.entries.iter().find_map(|entry| match (&entry.key, &entry.entry) {
        (EntryKey::Step(key), Entry::Step(outcome)) if *key == parent.step => Some((entry.sequence, &outcome.result)),
        _ => None,
    });
    let ended = story.end().expect("P7 is checked before");
    let Some((at, told)) = told else {
        panic!("run {} was not told of the end of its child {}", parent.run, story.run);
    };
    let same = match (ended, told) {
        (RunOutcome::Completed(_), StepResult::Value(_)) => true,
        (
            RunOutcome::Failed(failure) | RunOutcome::Cancelled(failure) | RunOutcome::Terminated(failure),
            StepResult::Failure(told),
        ) => failure == told,
        _ => false,
    };
    assert!(
        same,
        "child {} ended as {ended:?}, and its parent was told {told:?}",
        story.run
    );
    let parents_end = parents.entries.iter().find(|entry| entry.key == EntryKey::End);
    let code_was_done = matches!(parents.end(), Some(RunOutcome::Completed(_) | RunOutcome::Failed(_)));
    if code_was_done && parents_end.is_some_and(|end| end.sequence < at) {
        panic!("run {} ended before its child {}", parent.run, story.run);
    }
}
