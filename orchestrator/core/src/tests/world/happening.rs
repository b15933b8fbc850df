//! One thing after another happens: an entry is created, an owner dies, somebody sends something.

use bytes::Bytes;
use everstep_common::journal::RunTimer;
use everstep_common::key::StepKey;

use super::coming::Coming;
use super::entries::{name, timer};
use super::{Gate, World, reload};
use crate::tests::kit::{cancel, terminate};
use crate::tests::programs::SIGNALS;
use crate::{Command, Event, EventBody, OpenKind};

impl World<'_> {
    pub(super) fn happen(&mut self) -> Result<(), String> {
        let chosen = self.dice.below(self.coming.len());
        let coming = self.coming.swap_remove(chosen);
        self.come(coming)?;
        // A run whose last entries were applied without a decision gets one when all is quiet.
        if self.undecided && self.coming.is_empty() {
            self.act()
        } else {
            Ok(())
        }
    }

    fn come(&mut self, coming: Coming) -> Result<(), String> {
        match coming {
            Coming::Entry(body) => self.append(body),
            Coming::Retry { key, attempt } => {
                self.run.retry_due(&key, attempt);
                self.act()
            }
            Coming::Deadline { key, at } => {
                // Deadlines are a day away and rarely pass.
                if self.dice.one_in(50) {
                    self.run.deadline_passed(&key, at);
                    self.deadline_passed = true;
                    return self.act();
                }
                Ok(())
            }
            Coming::Work(command) => {
                let body = self.work(*command);
                body.map_or(Ok(()), |body| self.append(body))
            }
        }
    }

    /// Creates an entry, which the run then gets by the feed: in memory, or after a crash with all the others.
    fn append(&mut self, body: EventBody) -> Result<(), String> {
        if !self.stored.insert(name(&body)) {
            return Ok(());
        }
        let sequence = self.story.journal.last().map_or(0, |event| event.sequence) + 1 + self.dice.next() % 3;
        self.story.ended = matches!(body, EventBody::End);
        let event = Event {
            sequence,
            time: self.time,
            body,
        };
        self.story.journal.push(event.clone());
        if self.dice.one_in(8) {
            self.load();
            // What was under way is lost, but for people, who do not die with it, and a choice that may still arrive, and then stands.
            self.coming.retain(|coming| coming.is_from_outside() || coming.is_choice());
            self.story.said.insert(sequence, None);
            self.see_to_place();
            return self.act();
        }
        let held = self.run.is_holding() || self.gate.held;
        self.run.apply(event);
        self.see_to_place();
        if self.dice.one_in(6) && !self.coming.is_empty() {
            // The next entry is there already.
            self.undecided = true;
            self.story.said.insert(sequence, None);
            return Ok(());
        }
        let undecided = self.undecided;
        let commands = self.decide()?;
        // While a choice is not recorded nothing is said; a replay knows it from the beginning.
        let comparable =
            !self.deadline_passed && !undecided && !held && !self.replayed && !self.run.is_holding() && !self.gate.held;
        let said = commands.iter().map(Command::to_string).collect();
        self.story.said.insert(sequence, comparable.then_some(said));
        self.take_on(commands);
        if self.dice.one_in(60) {
            self.coming.push(Coming::Entry(cancel()));
        }
        if self.dice.one_in(300) {
            self.coming.push(Coming::Entry(terminate()));
        }
        if self.dice.one_in(12) {
            let name = SIGNALS[self.dice.below(SIGNALS.len())];
            self.send(name);
        }
        if self.dice.one_in(12) {
            let name = SIGNALS[self.dice.below(SIGNALS.len())];
            self.request(name);
        }
        Ok(())
    }

    fn request(&mut self, name: &str) {
        self.signals += 1;
        self.coming.push(Coming::Entry(EventBody::Update {
            key: StepKey::from_path(&format!("update {}", self.signals)),
            name: name.into(),
            input: Bytes::copy_from_slice(&self.signals.to_be_bytes()),
        }));
    }

    /// Another owner reads the journal. Operators may have set a limit, or removed it.
    pub(super) fn load(&mut self) {
        self.run = reload(self.definition, &self.story.journal);
        let place = timer(RunTimer::Place);
        let has_place = self.story.journal.iter().any(|event| event.body == place);
        self.gate = Gate {
            limited: self.gate.limited != self.dice.one_in(10),
            held: false,
            begun: has_place,
        };
    }

    /// A run whose workflow has a limit waits for its place before anything is done for it.
    pub(super) fn see_to_place(&mut self) {
        if self.run.wants_place() {
            self.gate.held = false;
            return self.coming.push(Coming::Entry(timer(RunTimer::Place)));
        }
        if self
            .story
            .journal
            .last()
            .is_some_and(|event| event.body == timer(RunTimer::Wait))
        {
            // It came too late.
            (self.gate.held, self.gate.begun) = (false, true);
        }
        let may_wait = self.run.is_untouched() && !self.gate.begun && self.run.begins_at().is_none();
        if self.gate.limited && may_wait && !self.gate.held {
            self.gate.held = true;
            self.coming.push(Coming::Entry(timer(RunTimer::Wait)));
        }
    }

    fn send(&mut self, name: &str) {
        self.signals += 1;
        let value = Bytes::copy_from_slice(&self.signals.to_be_bytes());
        self.coming.push(Coming::Entry(EventBody::Signal(name.into(), value)));
    }

    /// Somebody sends at last what the run waits for.
    pub(super) fn send_what_is_waited_for(&mut self) {
        if !self.coming.is_empty() {
            return;
        }
        let mut kinds = self.run.waits().into_iter().map(|wait| wait.kind);
        match kinds.find(|kind| matches!(kind, OpenKind::Signal { .. } | OpenKind::Update { .. })) {
            Some(OpenKind::Signal { name, .. }) => self.send(&name),
            Some(OpenKind::Update { name, .. }) => self.request(&name),
            _ => {}
        }
    }
}
