//! How the questions of a run stand, read off its journal by the rules by which the run itself counts replies.

use everstep_common::journal::{Entry, EntryKey, Inbound, InboundKind, JournalEntry, LocalKind, StepResult};
use everstep_common::key::StepKey;
use everstep_common::payload::Payload;
use everstep_common::question::{Question, Vote};
use everstep_common::wire;
use jiff::Timestamp;

/// One question.
#[derive(Clone, Debug)]
pub(super) struct Standing {
    pub key: StepKey,
    pub question: Question,
    /// When it was recorded.
    pub asked: Timestamp,
    /// The replies that count, each with its sequence.
    pub votes: Vec<(u64, Vote)>,
    pub over: Option<Over>,
}

/// Why a question is no longer open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Over {
    /// Its replies settle it.
    Settled,
    /// Its deadline came first.
    Expired(Timestamp),
    /// The run no longer asks it.
    Withdrawn,
}

/// Every question of a run, in the order recorded.
pub(super) fn standings(journal: &[JournalEntry]) -> Vec<Standing> {
    let mut standings: Vec<Standing> = Vec::new();
    for entry in journal {
        match (&entry.key, &entry.entry) {
            (EntryKey::Local(key), Entry::Local(local)) if local.kind == LocalKind::Question => {
                standings.extend(recorded(key, &local.result, entry.time));
            }
            (EntryKey::Timer(key), Entry::Timer(fired)) => {
                if let Some(standing) = open(&mut standings, key) {
                    standing.over = Some(Over::Expired(fired.due));
                }
            }
            (_, Entry::In(inbound)) => reached(&mut standings, entry, inbound),
            _ => {}
        }
    }
    standings
}

/// The question that goes by this name: its key, or the end of it, if no other question that the run ever asked ends so. Otherwise the names
/// of all that do.
pub(super) fn named(standings: Vec<Standing>, name: &str) -> Result<Option<Standing>, Vec<String>> {
    let exactly = StepKey::from_path(name);
    if let Some(place) = standings.iter().position(|standing| standing.key == exactly) {
        return Ok(standings.into_iter().nth(place));
    }
    let end = format!("/{name}");
    let mut ends: Vec<Standing> = standings
        .into_iter()
        .filter(|standing| standing.key.to_string().ends_with(&end))
        .collect();
    match ends.len() {
        // Questions that are over count too: a word that is said again must never reach another question than before.
        0 | 1 => Ok(ends.pop()),
        _ => Err(ends.iter().map(|standing| standing.key.to_string()).collect()),
    }
}

fn recorded(key: &StepKey, result: &StepResult, asked: Timestamp) -> Option<Standing> {
    // A question is small enough to stand in its entry.
    let StepResult::Value(Payload::Inline(value)) = result else {
        return None;
    };
    Some(Standing {
        key: key.clone(),
        question: wire::decode_value(value).ok()?,
        asked,
        votes: Vec::new(),
        over: None,
    })
}

fn reached(standings: &mut [Standing], entry: &JournalEntry, inbound: &Inbound) {
    match &inbound.kind {
        InboundKind::Withdrawn { wait } => {
            if let Some(standing) = open(standings, wait) {
                standing.over = Some(Over::Withdrawn);
            }
        }
        InboundKind::Answer { wait, reply, groups } => {
            let by = inbound.by.as_deref().unwrap_or_default();
            let Some(standing) = open(standings, wait) else { return };
            let in_place = entry.key == EntryKey::In(standing.question.slot(wait, by));
            if in_place
                && standing
                    .question
                    .admits_beside(&standing.counted(), by, groups, reply)
                    .is_ok()
            {
                let vote = Vote {
                    by: by.to_owned(),
                    groups: groups.clone(),
                    at: entry.time,
                    reason: inbound.reason.clone(),
                    reply: reply.clone(),
                };
                standing.votes.push((entry.sequence, vote));
                let settled = standing.question.is_settled(&standing.counted());
                standing.over = settled.then_some(Over::Settled);
            }
        }
        InboundKind::Cancel
        | InboundKind::Terminate
        | InboundKind::Resume { .. }
        | InboundKind::Signal { .. }
        | InboundKind::Update { .. }
        | InboundKind::Event { .. } => {}
    }
}

fn open<'a>(standings: &'a mut [Standing], key: &StepKey) -> Option<&'a mut Standing> {
    let found = standings.iter_mut().find(|standing| standing.key == *key);
    found.filter(|standing| standing.over.is_none())
}

impl Standing {
    /// The replies that count.
    pub(super) fn counted(&self) -> Vec<Vote> {
        self.votes.iter().map(|(_, vote)| vote.clone()).collect()
    }
}
