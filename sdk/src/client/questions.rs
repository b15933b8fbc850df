//! Answering what runs ask: read where the question stands, check, create once, and read back which word counts.

use everstep_common::ids::RunId;
use everstep_common::journal::{Entry, EntryKey, Inbound, InboundKind};
use everstep_common::key::StepKey;
use everstep_common::question::{PayloadHash, Question, Reply, Vote};
use everstep_common::store::Created;
use everstep_common::wire;
use everstep_forms::check_answer;
use jiff::Timestamp;
use serde::Serialize;

use super::standing::{Over, Standing, named, standings};
use super::{Client, ClientError};

/// A question that is open.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OpenQuestion {
    /// The name under which it is answered, with the scopes that it is in.
    pub wait: String,
    /// What is asked, of whom, and until when.
    pub question: Question,
    /// Since when.
    pub asked: Timestamp,
    /// What was said already, if it takes several people.
    pub votes: Vec<Vote>,
}

/// Who answers, as whoever passes the answer on knows them.
///
/// ```
/// use everstep::Respondent;
///
/// let ada = Respondent::new("ada").in_group("finance").because("checked with the bank");
/// assert_ne!(ada, "ada".into());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Respondent {
    by: String,
    groups: Vec<String>,
    reason: Option<String>,
}

impl Respondent {
    /// Somebody, by the name under which questions know them.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            by: name.into(),
            groups: Vec::new(),
            reason: None,
        }
    }

    /// They are in this group.
    #[must_use]
    pub fn in_group(mut self, group: impl Into<String>) -> Self {
        self.groups.push(group.into());
        self
    }

    /// Why they answer so, for people to read.
    #[must_use]
    pub fn because(mut self, reason: impl Into<String>) -> Self {
        self.reason = Some(reason.into());
        self
    }
}

impl From<&str> for Respondent {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}

impl Client {
    /// What the run asks people now, in the order asked.
    ///
    /// # Errors
    ///
    /// [`ClientError::NotFound`] if there is no such run.
    pub async fn questions(&self, run: &RunId) -> Result<Vec<OpenQuestion>, ClientError> {
        let journal = self.history(run).await?;
        if journal.iter().any(|entry| entry.key == EntryKey::End) {
            return Ok(Vec::new());
        }
        let open = standings(&journal).into_iter().filter(|standing| standing.over.is_none());
        Ok(open.map(OpenQuestion::of).collect())
    }

    /// The question `wait` of a run, as it is open now.
    ///
    /// # Errors
    ///
    /// As for [`Client::answer`], whose names it takes.
    pub async fn question(&self, run: &RunId, wait: &str) -> Result<OpenQuestion, ClientError> {
        let asked = self.asked(run, wait).await?;
        still_open(run, &asked)?;
        Ok(OpenQuestion::of(asked))
    }

    /// Answers the question `wait` of a run. Returns when the answer is durable and is the one that counts.
    ///
    /// The question is read and the value checked against it before anything is stored. Saying the same again is fine.
    ///
    /// A question in a block is called like its key in the journal: `parallel/0/approve`. `approve` will do as long as the run has asked
    /// only one question whose name ends so.
    ///
    /// # Errors
    ///
    /// [`ClientError::NotFound`] and [`ClientError::Ended`] as for a signal; [`ClientError::NoQuestion`] if the run asks nothing under that
    /// name, [`ClientError::Ambiguous`] if several questions go by it, [`ClientError::Answered`], [`ClientError::Expired`] and [`ClientError::Withdrawn`] if it no longer does;
    /// [`ClientError::Misfit`] if the value is no answer to it, and [`ClientError::Refused`] if it is not theirs to give.
    pub async fn answer<T: Serialize + ?Sized>(
        &self,
        run: &RunId,
        wait: &str,
        value: &T,
        who: impl Into<Respondent>,
    ) -> Result<(), ClientError> {
        let unfit = |error: &dyn std::fmt::Display| ClientError::Misfit {
            run: run.clone(),
            wait: wait.to_owned(),
            what: error.to_string(),
        };
        let value = serde_json::to_value(value).map_err(|error| unfit(&error))?;
        let asked = self.asked(run, wait).await?;
        if asked.question.approval.is_none() {
            check_answer(&asked.question, &value).map_err(|error| unfit(&error))?;
        }
        let what = format!("encoding the answer to {wait}");
        let value = wire::encode_value(&value).map_err(|source| ClientError::Value { what, source })?;
        let payload = self.bounded(self.store.put_payload(run, &owner(&asked.key), value)).await??;
        self.reply(run, asked, Reply::Value(payload), who.into()).await
    }

    /// Leaves the question `wait` unanswered, if it may be.
    ///
    /// # Errors
    ///
    /// As for [`Client::answer`].
    pub async fn skip(&self, run: &RunId, wait: &str, who: impl Into<Respondent>) -> Result<(), ClientError> {
        let asked = self.asked(run, wait).await?;
        self.reply(run, asked, Reply::Skip, who.into()).await
    }

    /// Says yes to the approval `wait`, and to what has this hash: the one that whoever approves was shown.
    ///
    /// # Errors
    ///
    /// As for [`Client::answer`]; [`ClientError::Refused`] also if the approval is of something else.
    pub async fn approve(&self, run: &RunId, wait: &str, hash: PayloadHash, who: impl Into<Respondent>) -> Result<(), ClientError> {
        let asked = self.asked(run, wait).await?;
        self.reply(run, asked, Reply::Approve(hash), who.into()).await
    }

    /// Says no to the approval `wait`, and to what has this hash.
    ///
    /// # Errors
    ///
    /// As for [`Client::approve`].
    pub async fn reject(&self, run: &RunId, wait: &str, hash: PayloadHash, who: impl Into<Respondent>) -> Result<(), ClientError> {
        let asked = self.asked(run, wait).await?;
        self.reply(run, asked, Reply::Reject(hash), who.into()).await
    }

    /// The question as it stands, open or not.
    async fn asked(&self, run: &RunId, wait: &str) -> Result<Standing, ClientError> {
        let journal = self.history(run).await?;
        let ended = journal.iter().any(|entry| entry.key == EntryKey::End);
        let found = named(standings(&journal), wait).map_err(|names| ClientError::Ambiguous {
            run: run.clone(),
            wait: wait.to_owned(),
            names,
        })?;
        match found {
            Some(standing) if !ended || standing.over.is_some() => Ok(standing),
            _ if ended => Err(ClientError::Ended { run: run.clone() }),
            _ => Err(ClientError::NoQuestion {
                run: run.clone(),
                wait: wait.to_owned(),
            }),
        }
    }

    async fn reply(&self, run: &RunId, asked: Standing, reply: Reply, who: Respondent) -> Result<(), ClientError> {
        let wait = asked.key.clone();
        if said_before(&asked, &reply, &who) {
            return Ok(());
        }
        still_open(run, &asked)?;
        let admitted = asked.question.admits_beside(&asked.counted(), &who.by, &who.groups, &reply);
        admitted.map_err(|source| ClientError::Refused {
            run: run.clone(),
            wait: wait.to_string(),
            source,
        })?;
        let slot = EntryKey::In(asked.question.slot(&wait, &who.by));
        let entry = Entry::In(Inbound {
            kind: InboundKind::Answer {
                wait: wait.clone(),
                reply: reply.clone(),
                groups: who.groups.clone(),
            },
            by: Some(who.by.clone()),
            reason: who.reason.clone(),
        });
        let created = match self.create(run, slot, &entry).await? {
            Created::Ours { sequence } => sequence,
            Created::Theirs(earlier) => earlier.sequence,
        };
        // Read again: what counts is what the run sees first, and nobody is told that a word was taken which was not.
        let journal = self.history(run).await?;
        let stands = standings(&journal)
            .into_iter()
            .find(|standing| standing.key == wait)
            .unwrap_or(asked);
        let counts = stands.votes.iter().any(|(sequence, _)| *sequence == created);
        let ended = journal.iter().find(|entry| entry.key == EntryKey::End);
        if ended.is_some_and(|end| end.sequence < created) {
            return Err(ClientError::Ended { run: run.clone() });
        }
        if counts && said_before(&stands, &reply, &who) {
            return Ok(());
        }
        still_open(run, &stands)?;
        Err(ClientError::NoQuestion {
            run: run.clone(),
            wait: wait.to_string(),
        })
    }
}

impl OpenQuestion {
    fn of(standing: Standing) -> Self {
        Self {
            wait: standing.key.to_string(),
            asked: standing.asked,
            votes: standing.counted(),
            question: standing.question,
        }
    }
}

/// Whether this very person's very reply counts already.
fn said_before(standing: &Standing, reply: &Reply, who: &Respondent) -> bool {
    let same = |vote: &Vote| vote.by == who.by && vote.reply == *reply && vote.reason == who.reason;
    standing.votes.iter().any(|(_, vote)| same(vote))
}

fn still_open(run: &RunId, standing: &Standing) -> Result<(), ClientError> {
    let (run, wait) = (run.clone(), standing.key.to_string());
    match standing.over {
        None => Ok(()),
        Some(Over::Expired(deadline)) => Err(ClientError::Expired { run, wait, deadline }),
        Some(Over::Withdrawn) => Err(ClientError::Withdrawn { run, wait }),
        Some(Over::Settled) => {
            let (by, at) = match standing.votes.last() {
                Some((_, vote)) => (vote.by.clone(), vote.at),
                None => (String::new(), standing.asked),
            };
            Err(ClientError::Answered { run, wait, by, at })
        }
    }
}

/// Whose a large answer is in the payload stream.
fn owner(wait: &StepKey) -> String {
    StepKey::from_path(&format!("answer.{wait}")).token().to_owned()
}
