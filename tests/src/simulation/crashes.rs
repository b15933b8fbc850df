//! Where a process dies: at each journal entry, at each call of the port, by loop.

use everstep_memory::{Reaction, When};

use super::driver::{Outcome, play};
use super::scenarios::Scenario;
use super::settings::Settings;
use super::world::Seen;
use crate::processes::Seed;

/// A death, planned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Crash {
    /// At the moment when the n-th journal entry is stored, the first being 0.
    AtEntry {
        /// Which entry.
        number: u64,
        /// Who dies.
        victim: Victim,
    },
    /// At the n-th call that a process makes of the port, the first being 0.
    AtCall {
        /// Who dies.
        process: String,
        /// Which call.
        number: u64,
        /// Before it takes effect, or after.
        when: When,
    },
}

/// Who dies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Victim {
    /// The server; it comes back without its memory streams.
    Server,
    /// A process, by name.
    Process(String),
}

impl Crash {
    /// What is to happen at the entry that has just been counted.
    pub(super) fn at_entry(&self, seen: &mut Seen) -> Reaction {
        let Self::AtEntry { number, victim } = self else {
            return Reaction::None;
        };
        if seen.crashed || seen.entries != number + 1 {
            return Reaction::None;
        }
        seen.crashed = true;
        match victim {
            Victim::Server => {
                seen.restart = true;
                Reaction::None
            }
            Victim::Process(name) => Reaction::Kill(name.clone()),
        }
    }
}

/// Plays the scenario once for each journal entry of its plain story, with the victim dying there.
pub fn at_every_entry(scenario: &Scenario, settings: &Settings, victim: &Victim) {
    let plain = play(scenario, settings.clone());
    for number in 0..plain.entries {
        let crash = Crash::AtEntry {
            number,
            victim: victim.clone(),
        };
        expect_same(settings, scenario, &plain, crash);
    }
}

/// Plays the scenario twice for each call that the process makes of the port in the plain story: it dies before it, and after it.
/// Only every `stride`-th call is taken, beginning with the `offset`-th, so that a loop can be split over several tests.
pub fn at_every_call(scenario: &Scenario, settings: &Settings, process: &str, stride: usize, offset: usize) {
    let plain = play(scenario, settings.clone());
    let calls = plain.calls.get(process).copied().unwrap_or(0);
    for number in (offset as u64..calls).step_by(stride) {
        for when in [When::Before, When::After] {
            let crash = Crash::AtCall {
                process: process.to_owned(),
                number,
                when,
            };
            expect_same(settings, scenario, &plain, crash);
        }
    }
}

/// Plays a scenario that is too long for a death at each entry and each call with `samples` of each kind: everybody dies at entries, and
/// every process before and after calls. They are spread evenly and shifted by `lot`, so that over many lots every place is met.
///
/// The ends are compared if `same_end`; whether all promises hold is checked in any case.
pub fn at_some(scenario: &Scenario, settings: &Settings, samples: u64, lot: u64, same_end: bool) {
    let plain = play(scenario, settings.clone());
    let processes = plain.calls.keys().map(|name| Victim::Process(name.clone()));
    let victims: Vec<Victim> = processes.chain([Victim::Server]).collect();
    let at_entries = victims.into_iter().flat_map(|victim| {
        spread(plain.entries, samples, lot).map(move |number| Crash::AtEntry {
            number,
            victim: victim.clone(),
        })
    });
    let at_calls = plain.calls.iter().flat_map(|(process, calls)| {
        let numbers = spread(*calls, samples, lot);
        numbers.flat_map(|number| {
            [When::Before, When::After].map(|when| Crash::AtCall {
                process: process.clone(),
                number,
                when,
            })
        })
    });
    for crash in at_entries.chain(at_calls) {
        let crashed = play(
            scenario,
            Settings {
                crash: Some(crash.clone()),
                ..settings.clone()
            },
        );
        assert!(
            !same_end || plain.ends == crashed.ends,
            "{}: another end after {crash:?}\n{}",
            scenario.name,
            crashed.history
        );
    }
}

/// The same with a lot of its own each time the tests run: `EVERSTEP_SEED` says which, and is printed; it is drawn afresh unless it is given.
pub fn at_some_places(scenario: &Scenario, settings: &Settings, samples: u64, same_end: bool) {
    let lot = Seed::from_environment().below(u64::MAX);
    at_some(scenario, settings, samples, lot, same_end);
}

/// So many of the numbers below `bound`, evenly spread; which ones, says the lot.
fn spread(bound: u64, samples: u64, lot: u64) -> impl Iterator<Item = u64> {
    let stride = (bound / samples).max(1);
    (lot % stride..bound).step_by(stride as usize)
}

fn expect_same(settings: &Settings, scenario: &Scenario, plain: &Outcome, crash: Crash) {
    let settings = Settings {
        crash: Some(crash.clone()),
        ..settings.clone()
    };
    let crashed = play(scenario, settings);
    assert_eq!(
        plain.ends, crashed.ends,
        "{}: another end after {crash:?}\n{}",
        scenario.name, crashed.history
    );
}
