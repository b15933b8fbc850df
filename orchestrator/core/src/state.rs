//! What a run has asked for and what is recorded: plain data and its rules.
//!
//! Nothing here runs user code. Wakers and closures, which are the user's, are handed out as an [`Aftermath`] to
//! [`crate::shared`], which knows when nothing is borrowed.

mod domains;
mod done;
mod giving_up;
mod kept;
mod mailbox;
pub(crate) mod markers;
mod signals;
mod subscriptions;
mod updates;

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::mem;
use std::task::Waker;

use everstep_common::failure::{Failure, FailureKind};
use everstep_common::ids::RunId;
use everstep_common::journal::LocalKind;
use everstep_common::key::StepKey;
use everstep_common::subscription::Listened;
use jiff::Timestamp;

use crate::aftermath::Aftermath;
use crate::event::{Record, marker_key};
use crate::parked::{AskedKey, Mismatch, Parked, TooMany, WaitKind};
use crate::waits::{Address, Answer, Family, LetterSort, Moment, Received, Status, StepWait, Wait, WaitId, Waits};
use crate::{Command, Limits, WaitError};

pub(crate) use domains::DomainId;
use domains::Domains;
use done::Done;
pub(crate) use done::{RollbackId, ToUndo};
use kept::Kept;
use mailbox::Mailbox;
use markers::Markers;
use subscriptions::Subscriptions;

/// Of one run: what is asked, what is recorded, and how they agree.
pub(crate) struct State {
    run: RunId,
    limits: Limits,
    /// The time of the newest entry; never goes back.
    time: Timestamp,
    /// The entry being applied.
    sequence: u64,
    /// The last entry that some owner may have acted on before.
    known_until: u64,
    /// Nothing is asked for or cancelled any more: the run is parked, evicted or over.
    closed: bool,
    waits: Waits,
    /// Which waits are cancelled together.
    domains: Domains,
    kept: Kept,
    mailbox: Mailbox,
    /// Which events are waited for.
    subscriptions: Subscriptions,
    /// From when on events count.
    listens_from: Timestamp,
    /// Which code it goes by.
    markers: Markers,
    /// What can be undone.
    done: Done,
    /// Updates that were answered and whose answer is not recorded.
    unrecorded_replies: usize,
    /// What was there before it was asked for, by sequence; granted one at a time.
    grants: BTreeMap<u64, Grant>,
    /// Found while the workflow was polled; the first one counts.
    trouble: Option<Parked>,
    /// Of all that was asked for and given up, in order and by entry.
    fingerprint: DefaultHasher,
}

/// Something that is to be granted.
enum Grant {
    /// A recorded answer, to its wait.
    Recorded(WaitId, Answer),
    /// What is next at that address, to the first wait for it then.
    Letter(Address),
}

/// Why an ask is not taken.
pub(crate) enum Refusal {
    /// It brings this error at once.
    Error(WaitError),
    /// It brings nothing any more: the run is parked, evicted or over.
    Never,
}

impl State {
    pub(crate) fn new(run: RunId, limits: Limits, known_until: u64) -> Self {
        Self {
            run,
            limits,
            time: Timestamp::MIN,
            sequence: 0,
            known_until,
            closed: false,
            waits: Waits::default(),
            domains: Domains::default(),
            kept: Kept::default(),
            mailbox: Mailbox::default(),
            subscriptions: Subscriptions::default(),
            listens_from: Timestamp::MIN,
            markers: Markers::default(),
            done: Done::default(),
            unrecorded_replies: 0,
            grants: BTreeMap::new(),
            trouble: None,
            fingerprint: DefaultHasher::new(),
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.time
    }

    /// The workflow begins; events count from then on, or from where the run that goes on in it had got to.
    pub(crate) fn begin(&mut self, listens_from: Timestamp, listened: &[Listened]) {
        self.listens_from = listens_from;
        self.subscriptions.go_on(listened);
    }

    pub(crate) fn known_until(&self) -> u64 {
        self.known_until
    }

    pub(crate) fn is_replaying(&self) -> bool {
        self.sequence <= self.known_until
    }

    pub(crate) fn key_of(&self, id: WaitId) -> StepKey {
        self.waits[id].key.clone()
    }

    /// How many attempts a step has had, the present one included.
    pub(crate) fn attempts_of(&self, id: WaitId) -> u32 {
        let wait = &self.waits[id];
        if wait.is_open() {
            wait.family.attempt()
        } else {
            wait.attempts
        }
    }

    pub(crate) fn has_open(&self) -> bool {
        self.waits.open() > 0 || self.done.is_waited_for()
    }

    /// Whether a child may be running that is not detached, waited for still or not.
    pub(crate) fn has_children(&self) -> bool {
        let mut unended = self.waits.iter().filter(|wait| !wait.recorded && !wait.unsent);
        unended.any(|wait| wait.family.kind() == WaitKind::Child)
    }

    pub(crate) fn fingerprint(&self) -> u64 {
        self.fingerprint.finish()
    }

    /// What the last poll ran into.
    pub(crate) fn trouble(&self) -> Option<&Parked> {
        self.trouble.as_ref()
    }

    /// The open waits, in the order asked.
    pub(crate) fn open_waits(&self) -> impl Iterator<Item = &Wait> {
        self.waits.iter().filter(|wait| wait.is_open())
    }

    /// The open waits that somebody outside is to answer, in the order asked.
    pub(crate) fn waits_outside(&self) -> impl Iterator<Item = &Wait> {
        self.waits.outside()
    }

    /// How often those changed.
    pub(crate) fn outside_changes(&self) -> u64 {
        self.waits.outside_changes()
    }

    /// The next entry is being applied.
    pub(crate) fn turn(&mut self, sequence: u64, time: Timestamp) {
        self.sequence = sequence;
        self.time = self.time.max(time);
    }

    /// Why `key` cannot be asked for in the domain, if it cannot.
    pub(crate) fn refuse(&mut self, key: &StepKey, domain: DomainId) -> Option<Refusal> {
        if self.closed {
            return Some(Refusal::Never);
        }
        if self.waits.find(key).is_some() {
            let message = format!("key {key} is asked for twice in this run; give each step, timer and closure a key of its own");
            return Some(Refusal::Error(WaitError::Failed(Failure::new(FailureKind::Invalid, message))));
        }
        if self.domains.is_cancelled(domain) {
            self.kept.take(key);
            return Some(Refusal::Error(WaitError::Cancelled));
        }
        if self.waits.len() >= self.limits.entries {
            self.run_into(Parked::TooManySteps(TooMany::Keys {
                limit: self.limits.entries,
            }));
            return Some(Refusal::Never);
        }
        None
    }

    /// A key is asked for in a domain. Whatever is recorded under it already is taken in.
    pub(crate) fn open(&mut self, key: StepKey, family: Family, domain: DomainId) -> WaitId {
        (self.sequence, &key, family.kind(), family.function(), family.digest()).hash(&mut self.fingerprint);
        let records = self.kept.take(&key);
        let id = self.waits.add(key, self.sequence, self.time, Status::Open, family);
        self.waits.list(id);
        self.domains.add(domain, id, |wait| self.waits[wait].is_revocable());
        for kept in records {
            if let Some(answer) = self.receive(id, kept.record, kept.sequence, kept.time) {
                self.grants.insert(kept.sequence, Grant::Recorded(id, answer));
            }
        }
        if let Family::Signal(signal) = &self.waits[id].family {
            let address = signal.address().clone();
            if let Some(what) = signal.subscription() {
                address.name.hash(&mut self.fingerprint);
                self.subscriptions.ask(what);
            }
            self.mailbox.await_one(&address, id);
            self.grant_letter(address);
        }
        id
    }

    /// Something is recorded under a key.
    pub(crate) fn record(&mut self, key: StepKey, record: Record) -> Aftermath {
        let (sequence, time) = (self.sequence, self.time);
        // No wait is answered by a marker, whatever it is called.
        if let Record::Local(kind @ (LocalKind::Patch | LocalKind::Version), Ok(value)) = record {
            self.markers.recorded(marker_key(key), kind, value);
            return Aftermath::default();
        }
        let Some(id) = self.waits.find(&key) else {
            self.kept.keep(key, record, sequence, time);
            return Aftermath::default();
        };
        match self.receive(id, record, sequence, time) {
            Some(answer) => self.answer(id, answer),
            None => Aftermath::default(),
        }
    }

    /// Compares a record with what was asked. Its answer, if it is one, is handed back to be granted.
    fn receive(&mut self, id: WaitId, record: Record, sequence: u64, time: Timestamp) -> Option<Answer> {
        let moment = Moment { run: &self.run, time };
        let wait = &mut self.waits[id];
        match wait.family.receive(&wait.key, record, &moment) {
            Ok(Received::Nothing) => None,
            Ok(Received::Changed) => {
                self.waits.list(id);
                None
            }
            Ok(Received::Answer(result)) => {
                wait.recorded = true;
                if let (Ok(value), true) = (&result, wait.family.can_be_undone()) {
                    self.done.add(sequence, wait.key.clone(), value.clone());
                }
                Some(result.map_err(WaitError::Failed))
            }
            Ok(Received::Ended(answer)) => {
                wait.recorded = true;
                Some(answer)
            }
            Ok(Received::Decided(result)) => Some(result.map_err(WaitError::Failed)),
            Ok(Received::Over) => {
                let was_recorded = mem::replace(&mut wait.recorded, true);
                if wait.family.kind() == WaitKind::Reply && !was_recorded {
                    self.unrecorded_replies -= 1;
                }
                None
            }
            Err(difference) => {
                let mismatch = difference.at(wait.key.clone(), sequence);
                self.run_into(Parked::Nondeterministic(mismatch));
                None
            }
        }
    }

    fn answer(&mut self, id: WaitId, answer: Answer) -> Aftermath {
        let open = self.waits[id].is_open();
        self.touch_subscription(id);
        let waker = open.then(|| self.waits.settle(id, Status::Ready(Box::new(answer)))).flatten();
        let rollbacks = self.done.recorded(id);
        let wait = &mut self.waits[id];
        let spares = wait.family.settle().into_iter().collect();
        // What is answered by the entry in which it was asked has nothing out that could be taken back. What a predecessor knew to be answered
        // it has closed, or its deadline will strike and move nobody.
        wait.recorded |= wait.asked_at == self.sequence || self.sequence <= self.known_until;
        if !wait.recorded {
            self.waits.list(id);
        }
        Aftermath {
            wakers: waker.into_iter().chain(rollbacks).collect(),
            spares,
        }
    }

    /// Grants the next recorded answer that was asked for late, lowest sequence first.
    pub(crate) fn grant_next(&mut self) -> Option<Aftermath> {
        match self.grants.pop_first()?.1 {
            Grant::Recorded(id, answer) => Some(self.answer(id, answer)),
            Grant::Letter(address) => {
                let given = self.give(&address);
                self.grant_letter(address);
                Some(given)
            }
        }
    }

    /// Who is to be woken when the answer is granted. Hands back who was before.
    pub(crate) fn set_waker(&mut self, id: WaitId, waker: Waker) -> Option<Waker> {
        self.waits[id].waker.replace(waker)
    }

    /// Takes a granted answer; otherwise hands back the wait, for its waker to be looked at.
    pub(crate) fn take_answer(&mut self, id: WaitId) -> Result<Answer, &mut Wait> {
        let wait = &mut self.waits[id];
        if !matches!(wait.status, Status::Ready(_)) {
            return Err(wait);
        }
        match mem::replace(&mut wait.status, Status::Taken) {
            Status::Ready(answer) => Ok(*answer),
            _ => unreachable!("looked at above"),
        }
    }

    #[cfg(test)]
    pub(crate) fn domains(&self) -> usize {
        self.domains.len()
    }

    pub(crate) fn is_cancelled(&self, domain: DomainId) -> bool {
        self.domains.is_cancelled(domain)
    }

    fn run_into(&mut self, parked: Parked) {
        self.trouble.get_or_insert(parked);
    }

    /// Whatever is recorded and was not asked for so far need not be asked for.
    pub(crate) fn accept_unasked(&mut self) {
        self.kept.accept();
    }

    /// From now on nothing is asked for or cancelled. Hands out all that is the user's.
    pub(crate) fn close(&mut self) -> Aftermath {
        self.closed = true;
        let (mut wakers, spares) = self.waits.take_foreign();
        wakers.append(&mut self.done.take_waiting());
        Aftermath { wakers, spares }
    }

    /// Changes the step under `key`, if it is open. `change` says whether there may be something to be done.
    pub(crate) fn change_step(&mut self, key: &StepKey, change: impl FnOnce(&mut StepWait) -> bool) {
        let Some(id) = self.waits.find(key) else { return };
        let wait = &mut self.waits[id];
        let Family::Step(step) = &mut wait.family else { return };
        if matches!(wait.status, Status::Open) && change(step) {
            self.waits.list(id);
        }
    }

    /// Heartbeats of open steps are heard from now on.
    pub(crate) fn listen_from(&mut self, at: Timestamp) {
        self.waits.each_open_step(|step| step.heartbeat(None, None, at));
    }

    /// What stands recorded and was never asked for, or goes over a limit.
    pub(crate) fn objection(&self) -> Option<Parked> {
        self.unasked().or_else(|| self.too_many_open())
    }

    fn unasked(&self) -> Option<Parked> {
        let recorded = self.kept.unasked();
        if recorded.is_empty() {
            return None;
        }
        let unanswered = self.waits.iter().filter(|wait| !wait.recorded);
        let asked = unanswered
            .map(|wait| AskedKey {
                key: wait.key.clone(),
                kind: wait.family.kind(),
                function: wait.family.function().cloned(),
            })
            .collect();
        Some(Parked::Nondeterministic(Mismatch::Unasked { recorded, asked }))
    }

    fn too_many_open(&self) -> Option<Parked> {
        let (open, limit) = (self.waits.open_steps(), self.limits.steps_open);
        let steps = (open > limit).then_some(TooMany::Open { open, limit });
        let (open, limit) = (self.waits.open_children(), self.limits.children_open);
        let children = (open > limit).then_some(TooMany::Children { open, limit });
        steps.or(children).map(Parked::TooManySteps)
    }

    /// What is to be done and has not been said yet.
    pub(crate) fn commands(&mut self) -> Vec<Command> {
        let mut commands = self.markers.commands();
        if self.is_holding() {
            return commands;
        }
        for id in self.waits.take_changed() {
            let wait = &mut self.waits[id];
            match wait.status {
                _ if wait.recorded || wait.unsent => {}
                Status::Open => wait
                    .family
                    .commands(&wait.key, wait.asked_at > self.known_until, &mut commands),
                Status::Abandoned | Status::Ready(_) | Status::Taken => commands.extend(wait.family.cancel(&wait.key)),
            }
        }
        let (mailbox, waits) = (&mut self.mailbox, &self.waits);
        let is_wanted = |name: &str| mailbox.is_short_of(&Address::new(LetterSort::Event, name), waits);
        self.subscriptions.commands(self.listens_from, is_wanted, &mut commands);
        commands
    }
}
