//! One room on its own, with a record that the test writes.

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
    room.line.push(slot(2), 0, "other".into());
    let (usage, revision) = room.write(&at).expect("what the other one waits for is said");
    assert_eq!(revision, 7);

    assert!(!room.has(&slot(1)), "what the write in progress brings is not known yet");
    room.line.push(slot(1), 0, "first".into());
    assert_eq!(room.written(usage, 8, at.now), [slot(1)]);
    assert!(room.has(&slot(1)) && !room.awaits(&slot(1)));
    assert!(room.awaits(&slot(2)), "the place is taken");
}
