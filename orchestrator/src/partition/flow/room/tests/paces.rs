//! A rate of each key: turns, wake-ups, lost and full memory, and rates that are changed.

use everstep_common::limits::LIMIT_KEYS_MAX;

use super::*;

/// One room, the moment in it, and its record with its revision.
struct Paced {
    room: Room,
    limit: Limit,
    milliseconds: u64,
    record: (Usage, u64),
}

/// A slot of a key, or without one.
fn of(run: u32, key: &str) -> Slot {
    let key = (!key.is_empty()).then(|| key.to_owned());
    Slot { key, ..slot(run) }
}

fn limit(rate: &str) -> Limit {
    Limit {
        per_key_rate: Some(rate.parse().unwrap()),
        ..Limit::NONE
    }
}

impl Paced {
    fn new(rate: &str) -> Self {
        Self {
            room: Room::new(0, Usage::default(), Instant(Duration::ZERO)),
            limit: limit(rate),
            milliseconds: 0,
            record: (Usage::default(), 0),
        }
    }

    fn now(&self) -> Instant {
        Instant(Duration::from_millis(self.milliseconds))
    }

    fn queue(&mut self, slots: impl IntoIterator<Item = Slot>) {
        let now = self.now();
        slots.into_iter().for_each(|slot| self.room.queue(slot, 0, now));
    }

    /// Looks at once: the runs of those who got in, by their numbers.
    fn got_in(&mut self) -> Vec<String> {
        let now = self.now();
        let at = Moment {
            limit: self.limit,
            time: Timestamp::UNIX_EPOCH + Duration::from_millis(self.milliseconds),
            now,
            ..moment(&|_| false)
        };
        let Some((usage, revision)) = self.room.write(&at) else {
            return Vec::new();
        };
        assert_eq!(revision, self.record.1, "it knows what stands");
        self.record = (usage.clone(), revision + 1);
        let got = self.room.written(usage, revision + 1, now);
        // Whether there is more to do shows at the next look.
        assert!(self.room.write(&at).is_none(), "all was done at once");
        got.iter()
            .map(|slot| slot.run.as_str().trim_start_matches("3-0").trim_start_matches('0').to_owned())
            .collect()
    }

    /// Who got in, looking only when the room wants to, until it wants to no more.
    fn in_time(&mut self) -> Vec<(u64, String)> {
        let (mut got, mut looks) = (Vec::new(), 0);
        while let Some(look_at) = self.room.look_at {
            looks += 1;
            assert!(looks < 20, "it looks again and again: {got:?}");
            self.milliseconds = self.milliseconds.max(u64::try_from(look_at.0.as_millis()).unwrap());
            let at = self.milliseconds;
            got.extend(self.got_in().into_iter().map(|run| (at, run)));
        }
        got
    }

    /// Another record comes in place of the one there is.
    fn restored(&mut self, usage: Usage) {
        let revision = self.record.1 + 1;
        self.record = (usage.clone(), revision);
        let now = self.now();
        self.room.learned(revision, usage, now);
    }
}

fn times(got: &[(u64, String)]) -> Vec<(u64, &str)> {
    got.iter().map(|(at, run)| (*at, run.as_str())).collect()
}

#[test]
fn each_key_has_its_turns_and_is_woken_for_them_and_who_has_no_key_does_not_wait() {
    let mut paced = Paced::new("1/s");
    paced.queue([of(1, "a"), of(2, "a"), of(3, "a"), of(4, "b"), of(5, ""), of(6, "")]);
    assert_eq!(
        paced.got_in(),
        ["1", "4", "5", "6"],
        "nobody waits for the turn of another's key"
    );
    paced.milliseconds = 300;
    paced.queue([of(7, "c"), of(8, "c")]);
    let got = paced.in_time();
    assert_eq!(times(&got), [(300, "7"), (1_000, "2"), (1_300, "8"), (2_000, "3")]);
}

#[test]
fn what_waits_is_not_looked_at_before_a_turn_comes() {
    let mut paced = Paced::new("1/h");
    paced.queue([of(1, "a"), of(2, "a")]);
    assert_eq!(paced.got_in(), ["1"]);
    assert_eq!(paced.room.look_at, Some(Instant(Duration::from_secs(3_600))));
    assert!(
        paced.record.0.waiting.is_empty(),
        "no place is kept free for what may not take it"
    );
}

#[test]
fn what_a_restored_record_has_lost_gives_no_turn_again() {
    for lost in [
        Usage::default(),
        Usage {
            given: 1,
            ..Usage::default()
        },
    ] {
        let mut paced = Paced::new("1/min");
        paced.limit.rate = Some("2/s".parse().unwrap());
        paced.queue([of(1, "a"), of(2, "a")]);
        assert_eq!(paced.got_in(), ["1"]);
        paced.milliseconds = 100;
        paced.restored(lost);
        paced.queue([of(3, "b")]);
        let got = paced.in_time();
        assert_eq!(
            times(&got),
            [(500, "3"), (60_000, "2")],
            "neither of its key nor of the whole"
        );
    }
}

#[test]
fn a_successor_goes_by_what_the_record_says() {
    let mut paced = Paced::new("1/min");
    paced.queue([of(1, "a")]);
    assert_eq!(paced.got_in(), ["1"]);
    let (usage, revision) = paced.record.clone();
    paced.room = Room::new(revision, usage, paced.now());
    paced.queue([of(1, "a"), of(2, "a")]);
    assert!(paced.room.has(&of(1, "a")), "it takes no second turn");
    drop(paced.room.line.remove(&of(1, "a").run, &of(1, "a").step));
    assert_eq!(times(&paced.in_time()), [(60_000, "2")]);
}

#[test]
fn a_rate_is_raised_and_lowered_while_keys_wait() {
    let mut paced = Paced::new("1/h");
    paced.queue([of(1, "a"), of(2, "a"), of(3, "a"), of(4, "a")]);
    assert_eq!(paced.got_in(), ["1"]);
    paced.milliseconds = 5_000;
    paced.limit = limit("1/s");
    assert_eq!(paced.got_in(), ["2"], "what a slower rate put off is not waited for");
    paced.limit = limit("1/min");
    paced.milliseconds = 5_900;
    assert_eq!(paced.got_in(), Vec::<String>::new(), "the turn that was given stands");
    assert_eq!(times(&paced.in_time()), [(6_000, "3"), (66_000, "4")]);
}

#[test]
fn a_key_waits_while_no_more_can_be_remembered() {
    let mut paced = Paced::new("1/min");
    let rate = "1/min".parse().unwrap();
    let mut full = Usage::default();
    let others = (0..LIMIT_KEYS_MAX).map(|number| KeyMark::of(&format!("other {number}")));
    others.for_each(|key| full.paces.begin(key, rate, Timestamp::UNIX_EPOCH));
    paced.restored(full);
    paced.milliseconds = 10;
    paced.queue([of(1, "a"), of(2, "other 1"), of(3, "")]);
    assert_eq!(paced.got_in(), ["3"], "who has no key needs no memory");
    let why = |paced: &Paced, key| {
        let time = Timestamp::UNIX_EPOCH + Duration::from_millis(10);
        paced.room.why_waits(&paced.limit, Some(key), Some(time))
    };
    assert_eq!(
        why(&paced, "other 1"),
        "1/min of a key; the next of key \"other 1\" may begin at 1970-01-01T00:01:00Z"
    );
    assert!(
        why(&paced, "a").contains("5000 other keys began lately"),
        "{}",
        why(&paced, "a")
    );
    assert_eq!(times(&paced.in_time()), [(60_000, "2"), (61_100, "1")]);
}
