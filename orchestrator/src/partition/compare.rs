//! Comparing runs that have ended with what their journals bring again: what no rule catches in the act (the order of a `HashMap`, a static,
//! a clock) shows there. Nothing follows from it but a word in the log and a count.

use everstep_common::ids::RunId;
use everstep_common::store::ReadAt;
use everstep_core::Event;

use super::Partition;
use super::effect::Effect;
use super::journal::{Journal, Unread};
use crate::metrics::metrics;

/// Runs compared at the same time; those that end meanwhile are not.
const COMPARED_MAX: u32 = 16;

impl Partition {
    /// Reads the journal of a run that has just ended once more, if the run is one of those that are compared.
    pub(super) fn compare(&mut self, run: &RunId, fingerprint: u64, sequence: u64) {
        if is_sampled(run, self.options.compare_one_in) && self.upkeep.comparing < COMPARED_MAX {
            self.upkeep.comparing += 1;
            let reread = Effect::Reread {
                run: run.clone(),
                fingerprint,
                at: ReadAt::Entry(sequence),
            };
            self.perform(None, reread);
        }
    }

    /// Replays what was read again and compares.
    pub(super) fn compared(&mut self, run: &RunId, fingerprint: u64, journal: Result<Journal, Unread>) {
        self.upkeep.comparing -= 1;
        // One that cannot be read, or is gone by now, is not compared.
        let Ok(journal) = journal else { return };
        let Some((start, started)) = journal.start() else { return };
        let (Ok(mut again), about) = self.begin_run(run, start, started, journal.until, &journal.entries) else {
            return;
        };
        let _polled = self.polled.enter(run);
        for event in journal.entries.into_iter().map(|(entry, stored)| Event::new(entry, stored)) {
            let Ok(event) = event else { return };
            again.apply(event);
        }
        if again.fingerprint() != fingerprint {
            metrics().differing.add(1, &[]);
            tracing::error!(
                %run,
                workflow = %about.workflow,
                "a run that has ended asks for other things, or in another order, when it is replayed: its workflow depends on something \
                 that is not in the journal, such as a clock, a static or the order of a HashMap. The run itself is over; one that is \
                 still open would be parked as nondeterministic or go another way"
            );
        }
    }
}

/// Whether a run is one of one in so many, by the last digits of its id, which are as good as random.
fn is_sampled(run: &RunId, one_in: u32) -> bool {
    let id = run.as_str();
    let digits = id.get(id.len() - 8..).and_then(|digits| u32::from_str_radix(digits, 16).ok());
    one_in > 0 && digits.is_some_and(|number| number % one_in == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_run_none_or_about_so_many_are_sampled() {
        let sampled = |one_in| {
            let run = |number: u32| -> RunId {
                format!("0-{:032x}", u128::from(number) * 0x9e37_79b9_7f4a_7c15)
                    .parse()
                    .unwrap()
            };
            (0..10_000).filter(|number| is_sampled(&run(*number), one_in)).count()
        };
        assert_eq!((sampled(1), sampled(0)), (10_000, 0));
        assert!((50..200).contains(&sampled(100)), "{}", sampled(100));
    }
}
