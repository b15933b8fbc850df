//! The gate on its own, with records that the test writes.

use std::time::Duration;

use everstep_common::flow::RunFlow;

use super::*;

const OURS: Partition = Partition(3);
const NOW: Instant = Instant(Duration::from_secs(1));

fn run(number: u32) -> RunId {
    format!("{}-{number:032x}", OURS.0).parse().unwrap()
}

fn step() -> StepKey {
    StepKey::from_path("render")
}

/// Two limits, the second of which is taken first.
fn limits() -> [Limited; 2] {
    let one = Limit {
        concurrency: Some(1),
        ..Limit::NONE
    };
    [("queue.gpu", one), ("function.render", one)].map(|(name, limit)| (name.parse().unwrap(), RunFlow::from(limit)))
}

fn passing(number: u32) -> Passing {
    Passing {
        slot: Slot {
            run: run(number),
            step: step(),
            attempt: 1,
            key: None,
            started: None,
        },
        priority: 0,
        what: What::Run {
            when_busy: WhenBusy::Queue,
            continues: None,
        },
    }
}

/// Makes the writes that are due, one round of them.
fn write(gate: &mut Gate, revision: u64) {
    let at = Now {
        time: Timestamp::UNIX_EPOCH,
        now: NOW,
        knows_all: true,
        stands_still: &|_| false,
    };
    for Write { name, usage, .. } in gate.writes(&at) {
        let written = Written {
            name,
            usage,
            revision,
            ours: true,
        };
        gate.written(written, NOW);
    }
}

fn holders(gate: &Gate, name: &str) -> usize {
    let room = &gate.rooms[&name.parse::<LimitName>().unwrap()];
    let of_run = |run: &RunId| room.steps_of(run).next().is_some();
    [run(1), run(2)].into_iter().filter(of_run).count()
}

#[test]
fn what_is_over_when_it_has_passed_is_not_published() {
    type End = fn(&mut Gate);
    let over: [(&str, End); 3] = [
        ("its step is over", |gate| gate.leave(&run(1), &step(), None, NOW)),
        ("its run is over", |gate| gate.run_over(&run(1), NOW)),
        ("its run stands still", |gate| gate.stop_waiting(&run(1), NOW)),
    ];
    for (what, end) in over {
        let mut gate = Gate::new(OURS);
        assert!(gate.enter(passing(1), limits(), NOW).is_none());
        write(&mut gate, 1);
        write(&mut gate, 2);
        assert!(gate.holds_back(&run(1), &step()), "it has passed, and is not published");
        end(&mut gate);
        assert!(gate.passed().is_empty(), "{what}");
    }
}

#[test]
fn a_run_that_stands_still_keeps_no_place_of_what_was_not_published() {
    let mut gate = Gate::new(OURS);
    let [queue, function] = limits();
    assert!(gate.enter(passing(1), [queue.clone()], NOW).is_none());
    write(&mut gate, 1);
    assert_eq!(gate.passed().len(), 1);
    assert!(gate.enter(passing(2), [queue, function], NOW).is_none());
    write(&mut gate, 2);
    assert_eq!((holders(&gate, "queue.gpu"), holders(&gate, "function.render")), (1, 1));
    gate.stop_waiting(&run(1), NOW);
    gate.stop_waiting(&run(2), NOW);
    write(&mut gate, 3);
    assert_eq!(
        (holders(&gate, "queue.gpu"), holders(&gate, "function.render")),
        (1, 0),
        "what was published keeps its place"
    );
}

#[test]
fn what_nothing_keeps_is_given_back() {
    let mut gate = Gate::new(OURS);
    let free = limits().map(|(name, _)| (name, RunFlow::default()));
    assert!(gate.enter(passing(1), free, NOW).is_some());
}
