//! One room on its own, with a record that the test writes.

mod paces;

use everstep_common::journal::RunTimer;

use super::*;

const OURS: Partition = Partition(3);

fn slot(run: u32) -> Slot {
    Slot {
        run: format!("{}-{run:032x}", OURS.0).parse().unwrap(),
        step: StepKey::from_path("undo/bought"),
        attempt: 1,
        key: None,
        started: None,
    }
}

fn moment(stands_still: &dyn Fn(&RunId) -> bool) -> Moment<'_> {
    Moment {
        partition: OURS,
        limit: Limit {
            concurrency: Some(1),
            ..Limit::NONE
        },
        time: Timestamp::UNIX_EPOCH,
        now: Instant(Duration::from_secs(1)),
        knows_all: true,
        stands_still,
    }
}

#[test]
fn who_has_a_place_by_a_predecessor_and_comes_during_a_write_holds_it() {
    let at = moment(&|_| false);
    let held = Usage {
        slots: BTreeSet::from([slot(1)]),
        ..Usage::default()
    };
    let mut room = Room::new(7, held, at.now);
    room.queue(slot(2), 0, at.now);
    let (usage, revision) = room.write(&at).expect("what the other one waits for is said");
    assert_eq!(revision, 7);

    assert!(!room.has(&slot(1)), "what the write in progress brings is not known yet");
    room.queue(slot(1), 0, at.now);
    assert_eq!(room.written(usage, 8, at.now), [slot(1)]);
    assert!(room.has(&slot(1)) && !room.awaits(&slot(1)));
    assert!(room.awaits(&slot(2)), "the place is taken");
}

#[test]
fn an_attempt_that_is_over_no_longer_waits_and_the_next_one_does() {
    let at = moment(&|_| false);
    let mut room = Room::new(0, Usage::default(), at.now);
    let next = Slot { attempt: 2, ..slot(1) };
    room.queue(slot(1), 0, at.now);
    room.leave(&next.run, &next.step, Some(1), at.now);
    assert!(!room.awaits(&slot(1)));
    room.queue(next.clone(), 0, at.now);
    room.leave(&next.run, &next.step, Some(1), at.now);
    assert!(room.awaits(&next), "what it waits for is not over");
}

#[test]
fn a_record_that_has_lost_places_is_told_of_them_again() {
    let at = moment(&|_| false);
    let mut room = Room::new(0, Usage::default(), at.now);
    room.queue(slot(1), 0, at.now);
    let (usage, _) = room.write(&at).expect("the place is asked for");
    assert_eq!(room.written(usage, 1, at.now), [slot(1)]);

    assert!(room.learned(2, Usage::default(), at.now).is_empty());
    room.queue(slot(2), 0, at.now);
    let (usage, _) = room.write(&at).expect("the record is mended");
    assert_eq!(usage.slots, BTreeSet::from([slot(1)]), "and nobody else is let in");
}

#[test]
fn a_successor_that_does_not_know_the_rate_yet_leaves_it() {
    let mut at = moment(&|_| false);
    at.limit = Limit::NONE;
    let paced = Usage {
        slots: BTreeSet::from([slot(1)]),
        next: Some(Timestamp::from_second(3_600).unwrap()),
        ..Usage::default()
    };
    let mut room = Room::new(7, paced.clone(), at.now);
    room.leave(&slot(1).run, &slot(1).step, None, at.now);
    let (usage, _) = room.write(&at).expect("what is over is taken out");
    assert_eq!((usage.slots.len(), usage.next), (0, paced.next));
}

#[test]
fn what_the_code_says_is_noted_when_something_is_written_anyway() {
    let at = moment(&|_| false);
    let mut room = Room::new(0, Usage::default(), at.now);
    room.declared = Some(at.limit.into());
    assert!(room.write(&at).is_none(), "it is nothing to write for");
    room.queue(slot(1), 0, at.now);
    let (usage, _) = room.write(&at).expect("the place is asked for");
    assert_eq!(usage.code, Some(at.limit));
    room.written(usage, 1, at.now);

    room.declared = Some(RunFlow::default());
    assert!(room.write(&at).is_none());
    room.leave(&slot(1).run, &slot(1).step, None, at.now);
    let (usage, _) = room.write(&at).expect("the place is given back");
    assert_eq!(usage.code, None, "the code no longer limits it");
}

#[test]
fn whose_holder_is_over_here_is_kept_waiting_by_nobody() {
    let at = moment(&|_| false);
    let of_key = |run| Slot {
        key: Some("berlin".to_owned()),
        ..slot(run)
    };
    let held = Usage {
        slots: BTreeSet::from([of_key(1)]),
        ..Usage::default()
    };
    let mut room = Room::new(7, held, at.now);
    room.queue(of_key(2), 0, at.now);
    assert_eq!(room.kept_waiting(), [(of_key(2), of_key(1))]);
    assert_eq!(room.kept_waiting(), [], "nothing has changed since");
    room.leave(&slot(1).run, &slot(1).step, None, at.now);
    assert_eq!(room.kept_waiting(), []);
}

#[test]
fn a_run_takes_the_place_of_the_one_that_goes_on_in_it_and_no_rate_keeps_it() {
    let mut at = moment(&|_| false);
    at.limit.rate = Some("1/h".parse().unwrap());
    let run = |number| Slot {
        step: RunTimer::Place.key(),
        attempt: 0,
        ..slot(number)
    };
    let [ended, heir, other] = [1, 2, 3].map(run);
    let next = at.time + Duration::from_secs(3_600);
    let held = Usage {
        slots: BTreeSet::from([ended.clone()]),
        next: Some(next),
        ..Usage::default()
    };
    let mut room = Room::new(7, held, at.now);
    room.claim(ended.clone());
    room.queue(other.clone(), 9, at.now);
    room.bequeath(&ended.run, &ended.step, at.now);
    room.inherits(heir.run.clone(), ended.run.clone());
    room.queue(heir.clone(), 0, at.now);

    let (usage, revision) = room.write(&at).expect("the place changes hands");
    assert_eq!((&usage.slots, usage.next), (&BTreeSet::from([heir.clone()]), Some(next)));
    assert_eq!(room.written(usage, revision + 1, at.now), [heir]);
    assert!(room.awaits(&other), "who is more urgent waits all the same");
}

#[test]
fn a_place_that_nobody_takes_over_is_free_in_the_end() {
    let mut at = moment(&|_| false);
    let ended = slot(1);
    let held = Usage {
        slots: BTreeSet::from([ended.clone()]),
        ..Usage::default()
    };
    let mut room = Room::new(7, held, at.now);
    room.claim(ended.clone());
    room.bequeath(&ended.run, &ended.step, at.now);
    assert!(room.write(&at).is_none(), "it is kept for a while");
    at.now = room.look_at.expect("it is looked at again");
    let (usage, _) = room.write(&at).expect("it is given back");
    assert!(usage.slots.is_empty());
}
