//! What is to be done for a run as it stands: commands, its end, or nothing because it stands still.

use super::{Run, Stage};
use crate::parked::{Parked, TooMany};
use crate::state::State;
use crate::{Command, Decision, RunEnd};

impl Run {
    /// What is to be done now that everything known is applied: call it at the head of the journal only.
    ///
    /// Each command comes once while the run lives in memory. After a reload all that is still open comes again.
    pub fn decide(&mut self) -> Decision {
        if self.shared.with(State::has_diverged) || self.lifespan.is_outrun() {
            return Decision::Replay;
        }
        if let Some(obstacle) = self.obstacle() {
            return Decision::Parked(obstacle);
        }
        let mut commands = match self.stage {
            Stage::Scheduled(_) => self.lifespan.command().into_iter().collect(),
            _ if self.is_terminated() => Vec::new(),
            Stage::Running(_) | Stage::Returned { told: false, .. } => self.shared.change(State::commands),
            _ => Vec::new(),
        };
        if self.is_holding() {
            return Decision::Go(commands);
        }
        // Whoever learns that the run has ended learns that what it had not answered by then it never will.
        let has_to_answer = !self.is_terminated() && self.shared.with(State::has_unrecorded_replies);
        if has_to_answer || matches!(self.stage, Stage::Running(_)) {
            commands.extend(self.lifespan.command());
        }
        if has_to_answer {
            return Decision::Go(commands);
        }
        if let Stage::Returned {
            outcome,
            told: told @ false,
        } = &mut self.stage
        {
            *told = true;
            commands.push(Command::End {
                outcome: outcome.clone(),
            });
        }
        Decision::Go(commands)
    }

    /// Whether only markers may be recorded for now: what else follows waits for them.
    pub(crate) fn is_holding(&self) -> bool {
        !self.is_terminated() && self.shared.with(State::is_holding)
    }

    /// Whether it was ended from outside, and its workflow not asked: nothing that it still wanted is done.
    fn is_terminated(&self) -> bool {
        let is_terminated = matches!(
            self.stage,
            Stage::Returned {
                outcome: RunEnd::Terminated(_),
                ..
            }
        );
        is_terminated || self.lifespan.is_cut()
    }

    /// Why nothing may be done for the run as it stands.
    fn obstacle(&self) -> Option<Parked> {
        match &self.stage {
            Stage::New | Stage::Scheduled(_) | Stage::Ended => return None,
            _ if self.is_terminated() => return None,
            Stage::Parked(parked) => return Some(parked.clone()),
            Stage::Running(_) | Stage::Returned { .. } => {}
        }
        if self.root.is_foreign() {
            return Some(Parked::ForeignWake);
        }
        if let Some(objection) = self.shared.with(State::objection) {
            return Some(objection);
        }
        let Stage::Running(_) = self.stage else { return None };
        if self.entries > self.limits.entries {
            return Some(Parked::TooManySteps(TooMany::Entries {
                limit: self.limits.entries,
            }));
        }
        if self.shared.with(State::kept_signals) > self.limits.signals_kept {
            return Some(Parked::TooManySteps(TooMany::Signals {
                limit: self.limits.signals_kept,
            }));
        }
        (!self.shared.with(State::has_open)).then_some(Parked::Stuck)
    }
}
