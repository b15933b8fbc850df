//! What comes of each command, as workers, people, other runs and the server would have it.

use bytes::Bytes;
use everstep_common::failure::{Failure, FailureKind};
use everstep_common::journal::LocalKind;
use everstep_common::key::StepKey;
use everstep_common::payload::Payload;
use everstep_common::question::{Question, Reply};
use everstep_common::wire;
use futures::FutureExt;

use super::World;
use super::coming::Coming;
use super::entries::{ended, failed, named, place, value_of};
use crate::{Answered, Command, EventBody, Record, SessionRequest};

impl World<'_> {
    /// Does a command, and says which entry comes of it.
    pub(super) fn work(&mut self, command: Command) -> Option<EventBody> {
        // Server clocks of two leaders differ a little.
        let step = 1 + (self.dice.next() % 2_000) as i64;
        self.time += jiff::SignedDuration::from_millis(if self.dice.one_in(10) { -5 } else { step });
        match command {
            Command::Dispatch {
                key,
                attempt,
                function,
                digest,
                ..
            } => {
                let (ended, tried) = (
                    |result| Record::Step {
                        function: function.clone(),
                        digest,
                        result,
                    },
                    failed(&function, digest),
                );
                let record = match self.dice.below(10) {
                    0 => ended(Err(Failure::new(FailureKind::Fatal, "declined"))),
                    1 | 2 => Record::Try(attempt, Box::new(tried)),
                    3 => {
                        // The execution that began ends later, or the next delivery does.
                        let later = EventBody::About(key.clone(), ended(Ok(value_of(&key))));
                        self.coming.push(Coming::Entry(later));
                        Record::Begun { attempt, fence: false }
                    }
                    _ => ended(Ok(value_of(&key))),
                };
                Some(EventBody::About(key, record))
            }
            Command::StartChild { key, child } => {
                if !child.detached {
                    let result = match self.dice.below(6) {
                        0 => Err(Failure::new(FailureKind::Workflow, "lost")),
                        1 => Err(Failure::new(FailureKind::Cancelled, "by somebody else")),
                        _ => Ok(value_of(&key)),
                    };
                    self.coming.push(Coming::Entry(ended(&key, &child, result)));
                }
                Some(named(key, &child))
            }
            Command::CancelChild { key, child } => {
                let result = match self.dice.below(4) {
                    0 => Ok(value_of(&key)),
                    1 => Err(Failure::new(FailureKind::Workflow, "clean-up failed")),
                    _ => Err(Failure::new(FailureKind::Cancelled, "as asked")),
                };
                self.coming.push(Coming::Entry(ended(&key, &child, result)));
                Some(named(key, &child))
            }
            Command::RunLocal { key, closure, .. } => {
                let value = closure().now_or_never()?;
                Some(EventBody::About(key, Record::Local(LocalKind::Closure, value)))
            }
            Command::Session { key, request, .. } => {
                let brought = match request {
                    SessionRequest::Set { value, .. } => value,
                    SessionRequest::Update { change, .. } => change(None),
                    _ => Ok(value_of(&key)),
                };
                Some(EventBody::About(key, Record::Local(LocalKind::Session, brought)))
            }
            Command::Emit { key, .. } => {
                let value = Ok(value_of(&key));
                Some(EventBody::About(key, Record::Local(LocalKind::Emit, value)))
            }
            Command::Await { what, number, .. } => {
                let value = Bytes::copy_from_slice(format!("{what} {number}").as_bytes());
                Some(EventBody::Event(Box::new((*what).clone()), place(number), value))
            }
            Command::StartTimer { key, due, .. } => {
                self.time = self.time.max(due);
                Some(EventBody::About(key, Record::Timer))
            }
            Command::AskUser { key, question } => {
                self.reply(&key, &question);
                let recorded = wire::encode_value(&question).expect("a question is encoded");
                Some(EventBody::About(key, Record::Local(LocalKind::Question, Ok(recorded))))
            }
            Command::CloseWait { key, .. } => Some(EventBody::About(key, Record::Withdrawn)),
            Command::Record {
                key,
                function,
                digest,
                failure,
                ..
            } => Some(EventBody::About(
                key,
                Record::Step {
                    function,
                    digest,
                    result: Err(failure),
                },
            )),
            Command::RecordAnswer { key, answer } => Some(EventBody::About(key, Record::Local(LocalKind::Update, answer))),
            Command::RecordMarker { key, kind, value } => Some(EventBody::About(key, Record::Local(kind, Ok(value)))),
            Command::End { .. } => Some(EventBody::End),
            _ => None,
        }
    }

    /// Everybody who is asked replies, some the wrong thing or twice.
    fn reply(&mut self, key: &StepKey, question: &Question) {
        let people = question.approval.as_ref().map_or(1, |terms| terms.quorum + 1);
        for person in 0..people {
            let by = format!("person {}", person - u32::from(person > 1 && self.dice.one_in(4)));
            let reply = match &question.approval {
                Some(terms) if self.dice.one_in(5) => Reply::Reject(terms.hash),
                Some(terms) => Reply::Approve(terms.hash),
                None => Reply::Value(Payload::Inline(value_of(key))),
            };
            let answered = Answered {
                id: question.slot(key, &by),
                by,
                groups: Vec::new(),
                reason: None,
                reply,
            };
            let entry = EventBody::About(key.clone(), Record::Answer(Box::new(answered)));
            self.coming.push(Coming::Entry(entry));
        }
    }
}
