//! What the run says is to be done, and what of it the world takes on.

use everstep_common::failure::{Failure, FailureKind};
use everstep_common::key::StepKey;

use super::World;
use super::coming::Coming;
use crate::{Command, Decision, EventBody, Record};

impl World<'_> {
    pub(super) fn act(&mut self) -> Result<(), String> {
        let commands = self.decide()?;
        self.take_on(commands);
        Ok(())
    }

    pub(super) fn decide(&mut self) -> Result<Vec<Command>, String> {
        self.undecided = false;
        self.replayed = false;
        if self.gate.held {
            return Ok(Vec::new());
        }
        self.gate.begun |= self.run.begins_at().is_none() && !self.run.wants_place();
        match self.run.decide() {
            Decision::Go(commands) => Ok(commands),
            Decision::Replay => {
                self.load();
                self.coming.retain(Coming::is_from_outside);
                self.see_to_place();
                let commands = self.decide();
                self.replayed = true;
                commands
            }
            Decision::Parked(parked) => Err(format!("parked live at entry {}: {parked}", self.run.applied())),
        }
    }

    pub(super) fn take_on(&mut self, commands: Vec<Command>) {
        for command in commands {
            match command {
                Command::RetryAt { key, attempt, .. } => self.coming.push(Coming::Retry { key, attempt }),
                Command::Deadline { key, at } => self.coming.push(Coming::Deadline { key, at }),
                // A cancel may come too late: the result then arrives for nobody.
                Command::CancelStep {
                    key, function, digest, ..
                } => {
                    self.call_back(&key);
                    let result = Err(Failure::new(FailureKind::Cancelled, "given up"));
                    let cancelled = Record::Step {
                        function,
                        digest,
                        result,
                    };
                    self.coming.push(Coming::Entry(EventBody::About(key, cancelled)));
                }
                // What was found already is recorded all the same.
                Command::StopAwaiting { what } if self.dice.one_in(2) => self.coming.retain(|coming| !coming.is_event_of(&what)),
                Command::StopAwaiting { .. } => {}
                Command::CancelTimer { key } | Command::CancelLocal { key } => self.call_back(&key),
                Command::CloseWait { ref key, withdraw, .. } => {
                    if self.dice.one_in(2) {
                        self.coming.retain(|coming| !coming.is_for(key) || coming.is_from_outside());
                    }
                    if withdraw {
                        self.coming.push(Coming::Work(Box::new(command)));
                    }
                }
                other => self.coming.push(Coming::Work(Box::new(other))),
            }
        }
    }

    /// What is under way for a key may end before anything comes of it.
    fn call_back(&mut self, key: &StepKey) {
        if self.dice.one_in(2) {
            self.coming.retain(|coming| !coming.is_for(key));
        }
    }
}
