//! How a run looks from inside, told to whoever asks: what its workflow keeps in `ctx.state()` and has published.
//!
//! Replay computes it and nothing stores it, so only the owner can tell. The question is a core message; a run that is not in memory is
//! read back for it.

use bytes::Bytes;
use everstep_common::ids::RunId;
use everstep_common::ports::{CoreMessage, Headers, Instant};
use everstep_common::view::{RunView, ViewAnswer};
use everstep_common::wire;

use super::Partition;

/// Questions that wait for their run to be read. More than that go unanswered, and are asked again.
const WAITING_MAX: usize = 256;

/// Who waits for a run to be read: the run, and where the answer goes.
pub(super) type Waiting = Vec<(RunId, String)>;

impl Partition {
    /// A core message: a function's heartbeat, or a question.
    pub(super) fn told(&mut self, message: CoreMessage, now: Instant) {
        if self.stopping {
            return;
        }
        match self.store.names().parse_beat(&message.subject) {
            Some((run, key, attempt)) => self.heartbeat(&run, &key, attempt, message.payload, now),
            None => self.asked(message),
        }
    }

    fn asked(&mut self, question: CoreMessage) {
        let run = self.store.names().parse_view(&question.subject);
        let (Some(run), Some(reply)) = (run, question.reply) else {
            return;
        };
        match self.look(&run) {
            Some(answer) => self.answer(reply, &answer),
            None if self.views.len() >= WAITING_MAX => tracing::debug!(%run, "too many questions wait; one is not answered"),
            None => {
                self.views.push((run.clone(), reply));
                self.load_newest(&run);
            }
        }
    }

    /// The run was read, or is not there: who waited for that is answered.
    pub(super) fn answer_waiting(&mut self, run: &RunId) {
        if self.views.is_empty() {
            return;
        }
        let (these, others) = std::mem::take(&mut self.views).into_iter().partition(|(of, _)| of == run);
        self.views = others;
        let these: Waiting = these;
        if !these.is_empty() {
            let answer = self.look(run).unwrap_or(ViewAnswer::Unknown);
            these.into_iter().for_each(|(_, reply)| self.answer(reply, &answer));
        }
    }

    /// What can be told of a run; nothing if it is not in memory.
    fn look(&mut self, run: &RunId) -> Option<ViewAnswer> {
        if self.slots.has_ended(run) {
            return Some(ViewAnswer::Ended);
        }
        if self.slots.parked(run).is_some() {
            return Some(ViewAnswer::Parked);
        }
        let view = self.slots.live(run)?.run.view();
        let time = self.server_clock.at(self.store.clock().now());
        let at_gates = self.gate.waits_of(run, time);
        Some(ViewAnswer::Live(RunView { at_gates, ..view }))
    }

    fn answer(&self, reply: String, answer: &ViewAnswer) {
        let payload = wire::encode(answer).unwrap_or_else(|error| {
            tracing::warn!(%error, "a view cannot be told");
            Bytes::new()
        });
        self.store.broker().send(CoreMessage {
            subject: reply,
            headers: Headers::new(),
            payload,
            reply: None,
        });
    }
}
