//! The matrix of edits, for code that waits for signals and people: what is recorded of a question binds the code, what is sent does not.

use super::*;
use crate::tests::edits::classes_of;

/// The entries of `a ?q !paid ?p:plan c` after its start, in order.
fn journal() -> [EventBody; 7] {
    [
        step("a", ""),
        shown("q", plain(), None),
        reply("q", "ada", "blue"),
        signal("paid", "1"),
        shown("p", approval("plan", 1), None),
        reply_under("answer.p", "p", "ada", Reply::Approve(hash("plan"))),
        step("c", ""),
    ]
}

/// The classes of a run with 0, 1, … 7 entries of the original after its start, which then meets the edited code.
fn check(edited: &'static str, classes: [&str; 8]) {
    assert_eq!(classes_of(edited, &journal()), classes, "{edited:?}");
}

#[test]
fn unchanged_code_goes_on_everywhere() {
    check("a ?q !paid ?p:plan c", ["go"; 8]);
}

#[test]
fn a_question_that_is_removed_renamed_or_behind_another_parks_runs_that_recorded_it() {
    check(
        "a !paid ?p:plan c",
        [
            "go",
            "go",
            "unasked q",
            "unasked q",
            "unasked q",
            "unasked q",
            "unasked q",
            "unasked q",
        ],
    );
    check(
        "a ?other !paid ?p:plan c",
        [
            "go",
            "go",
            "unasked q",
            "unasked q",
            "unasked q",
            "unasked q p",
            "unasked q p",
            "unasked q p c",
        ],
    );
    check(
        "a ?new ?q !paid ?p:plan c",
        [
            "go",
            "go",
            "unasked q",
            "unasked q",
            "unasked q",
            "unasked q p",
            "unasked q p",
            "unasked q p c",
        ],
    );
}

#[test]
fn a_signal_that_is_no_longer_waited_for_parks_nobody() {
    check("a ?q ?p:plan c", ["go"; 8]);
    check(
        "a ?q !other ?p:plan c",
        ["go", "go", "go", "go", "go", "unasked p", "unasked p", "unasked p c"],
    );
}

#[test]
fn a_wait_for_a_signal_that_has_come_may_move() {
    check(
        "a !paid ?q ?p:plan c",
        ["go", "go", "unasked q", "unasked q", "go", "go", "go", "go"],
    );
}

#[test]
fn an_approval_of_something_else_parks_runs_that_recorded_it() {
    check(
        "a ?q !paid ?p:swindle c",
        ["go", "go", "go", "go", "go", "approval p", "approval p", "approval p"],
    );
}

#[test]
fn a_question_that_is_a_step_now_is_another_kind() {
    check(
        "a q !paid ?p:plan c",
        ["go", "go", "kind q", "kind q", "kind q", "kind q", "kind q", "kind q"],
    );
}

#[test]
fn a_question_may_not_move_into_a_block_and_one_may_be_added_at_its_end() {
    let entries = [shown("parallel/1/q", plain(), None), reply("parallel/1/q", "ada", "blue")];
    let classes = |edited: &'static str| classes_of(edited, &entries);
    assert_eq!(classes("a|?q"), ["go"; 3]);
    assert_eq!(classes("a|?q|?q"), ["go"; 3]);
    assert_eq!(classes("a|b|?q"), ["go", "unasked parallel/1/q", "unasked parallel/1/q"]);
    assert_eq!(classes("?q"), ["go", "unasked parallel/1/q", "unasked parallel/1/q"]);
}
