//! Who finds what, and when everything has been looked at.

use everstep_common::event::EventName;
use everstep_common::subscription::Matching;
use serde_json::json;

use super::*;

fn run(number: u32) -> RunId {
    format!("0-{number:032x}").parse().unwrap()
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_000 + second).unwrap()
}

fn place(sequence: u64) -> EventPlace {
    EventPlace {
        stream: at(-100),
        sequence,
        time: at(sequence as i64),
    }
}

fn paid(order: Option<u32>) -> Arc<Subscription> {
    Arc::new(Subscription {
        event: EventName::new("order.paid").unwrap(),
        matching: order.map(|order| Matching {
            path: "order".into(),
            value: json!(order),
        }),
    })
}

fn sought(order: Option<u32>, number: u32, after: Option<u64>) -> Sought {
    Sought {
        what: paid(order),
        number,
        after: after.map(place),
        since: at(10),
        before: None,
    }
}

/// Brings the event with this sequence, which is one second after the one before.
fn bring(searches: &mut Searches, sequence: u64, order: u32) -> Vec<u64> {
    let event = Event {
        name: EventName::new("order.paid").unwrap(),
        id: None,
        source: None,
        time: at(sequence as i64),
        sequence,
        traceparent: None,
        data: json!({ "order": order }),
    };
    let found = searches.heard(sequence, at(sequence as i64), Some(event));
    found.into_iter().map(|found| found.place.sequence).collect()
}

fn followed(searches: &mut Searches) {
    assert!(searches.follow_anew().is_some());
    searches.opened(at(-100));
}

#[test]
fn what_was_stored_before_the_run_began_is_not_found_and_what_comes_is_found_once() {
    let mut searches = Searches::default();
    assert!(searches.ask(&run(1), sought(Some(7), 1, None)).is_none());
    assert_eq!(searches.follow_anew(), Some(at(8)), "a little earlier than the run");
    searches.opened(at(-100));
    assert!(bring(&mut searches, 9, 7).is_empty());
    assert!(bring(&mut searches, 10, 8).is_empty());
    assert_eq!(bring(&mut searches, 11, 7), [11]);
    assert!(bring(&mut searches, 12, 7).is_empty(), "the one before is not recorded yet");
    assert!(
        searches.ask(&run(1), sought(Some(7), 1, None)).is_none(),
        "asked again it is the same"
    );
    let next = searches.ask(&run(1), sought(Some(7), 2, Some(11))).unwrap();
    assert_eq!(next.place.sequence, 12);
    assert!(searches.follow_anew().is_none(), "nothing is read twice for that");
}

#[test]
fn a_search_for_what_is_passed_has_the_events_followed_anew_and_nobody_finds_anything_twice() {
    let mut searches = Searches::default();
    searches.ask(&run(1), sought(None, 1, None));
    followed(&mut searches);
    assert_eq!(bring(&mut searches, 20, 1), [20]);
    searches.ask(&run(2), sought(Some(1), 1, None));
    assert!(searches.follow_anew().is_none(), "not before what stood has been brought");
    searches.caught_up();
    assert_eq!(searches.follow_anew(), Some(at(8)));
    searches.opened(at(-100));
    assert_eq!(bring(&mut searches, 20, 1), [20]);
    searches.caught_up();
    searches.ask(
        &run(3),
        Sought {
            since: at(30),
            ..sought(None, 1, None)
        },
    );
    assert!(searches.follow_anew().is_none(), "it is behind nothing");
}

#[test]
fn more_events_than_are_kept_are_read_again() {
    let mut searches = Searches::default();
    searches.ask(&run(1), sought(None, 1, None));
    followed(&mut searches);
    let many = 20 + KEPT_MAX as u64 + 5;
    for sequence in 20..many {
        bring(&mut searches, sequence, 1);
    }
    searches.caught_up();
    let mut found = vec![20];
    while let Some(next) = searches.ask(&run(1), sought(None, found.len() as u32 + 1, found.last().copied())) {
        found.push(next.place.sequence);
        if searches.follow_anew().is_some() {
            searches.opened(at(-100));
            for sequence in found[found.len() - 1]..many {
                found.extend(bring(&mut searches, sequence, 1));
            }
            searches.caught_up();
        }
    }
    assert_eq!(found, (20..many).collect::<Vec<_>>());
}

#[test]
fn what_the_run_has_heard_before_is_passed_over() {
    let mut searches = Searches::default();
    let (one, what) = (run(1), paid(None));
    searches.ask(&one, sought(None, 2, Some(11)));
    followed(&mut searches);
    assert_eq!(bring(&mut searches, 12, 1), [12]);
    assert!(searches.pass_over(&one, &what, &place(11)).is_none(), "not what was found");
    assert!(searches.pass_over(&one, &what, &place(12)).is_none());
    assert!(bring(&mut searches, 12, 1).is_empty());
    assert_eq!(bring(&mut searches, 13, 1), [13]);
    bring(&mut searches, 14, 1);
    assert_eq!(searches.pass_over(&one, &what, &place(13)).unwrap().place, place(14));
}

#[test]
fn in_another_stream_sequences_say_nothing() {
    let mut searches = Searches::default();
    searches.ask(&run(1), sought(None, 2, Some(50)));
    assert!(searches.follow_anew().is_some());
    searches.opened(at(60));
    let event = |sequence, time| Event {
        name: EventName::new("order.paid").unwrap(),
        id: None,
        source: None,
        time,
        sequence,
        traceparent: None,
        data: json!(1),
    };
    let found = searches.heard(1, at(61), Some(event(1, at(61))));
    assert_eq!(found[0].place.sequence, 1);
}

#[test]
fn a_search_has_looked_once_it_is_past_the_last_event() {
    let mut searches = Searches::default();
    let (one, what) = (run(1), paid(Some(7)));
    let last = Some((21, at(21)));
    searches.ask(&one, sought(Some(7), 1, None));
    assert!(!searches.has_looked(&one, &what, None));
    followed(&mut searches);
    bring(&mut searches, 20, 1);
    searches.caught_up();
    assert!(!searches.has_looked(&one, &what, last));
    bring(&mut searches, 21, 1);
    assert!(searches.has_looked(&one, &what, last));
    assert!(
        searches.has_looked(&one, &what, Some((3, at(3)))),
        "older than all that is looked for"
    );
    bring(&mut searches, 22, 7);
    assert!(!searches.has_looked(&one, &what, last), "it has found something");
}

#[test]
fn what_a_run_that_was_read_back_does_not_ask_for_again_is_over() {
    let mut searches = Searches::default();
    for order in [1, 2] {
        searches.ask(&run(1), sought(Some(order), 1, None));
        searches.ask(&run(2), sought(Some(order), 1, None));
    }
    followed(&mut searches);
    searches.doubt(&run(1));
    searches.ask(&run(1), sought(Some(2), 1, None));
    searches.forget_doubted(&run(1));
    assert_eq!(bring(&mut searches, 20, 1).len(), 1);
    assert_eq!(bring(&mut searches, 21, 2).len(), 2);
    searches.forget_run(&run(1));
    searches.forget_run(&run(2));
    assert!(searches.is_empty() && searches.index.is_empty());
}

#[test]
fn a_follow_that_is_lost_begins_anew_for_everybody() {
    let mut searches = Searches::default();
    searches.ask(&run(1), sought(None, 1, None));
    followed(&mut searches);
    searches.caught_up();
    searches.lost();
    assert_eq!(searches.follow_anew(), Some(at(8)));
}

#[test]
fn what_a_run_that_was_read_back_asks_for_again_is_offered_again() {
    let mut searches = Searches::default();
    let one = run(1);
    searches.ask(&one, sought(None, 1, None));
    followed(&mut searches);
    assert_eq!(bring(&mut searches, 20, 1), [20]);
    assert!(searches.ask(&one, sought(None, 1, None)).is_none(), "it is being recorded");
    // The record was refused: the run parked, and was resumed.
    searches.doubt(&one);
    let again = searches.ask(&one, sought(None, 1, None)).unwrap();
    assert_eq!(again.place.sequence, 20);
}

#[test]
fn after_a_rollback_what_came_later_is_found_though_its_sequence_is_smaller() {
    let mut searches = Searches::default();
    let later = |sequence, second| Event {
        name: EventName::new("order.paid").unwrap(),
        id: None,
        source: None,
        time: at(second),
        sequence,
        traceparent: None,
        data: json!(1),
    };
    searches.ask(&run(1), sought(None, 2, Some(50)));
    searches.ask(&run(2), sought(None, 1, None));
    followed(&mut searches);
    assert_eq!(bring(&mut searches, 50, 1), [50]);
    searches.lost();
    followed(&mut searches);
    let found = searches.heard(40, at(70), Some(later(40, 70)));
    assert_eq!(found.iter().map(|found| &found.run).collect::<Vec<_>>(), [&run(1)]);
    let next = searches.ask(&run(2), sought(None, 2, Some(50))).unwrap();
    assert_eq!((next.place.sequence, next.place.time), (40, at(70)));
}
