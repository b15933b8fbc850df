//! Which replies count, and when they settle the question.

use serde::{Deserialize, Serialize};

use super::{PayloadHash, Question, Reply, Vote};

/// How an approval came out.
///
/// ```
/// use everstep_common::question::{PayloadHash, Question, Reply, Terms, Verdict, Vote};
///
/// let hash = PayloadHash::of_canonical(b"{}");
/// let terms = Terms { hash, payload: None, quorum: 2, requester: None };
/// let question = Question { approval: Some(terms), ..Question::default() };
/// let said = |by: &str, reply| Vote { by: by.to_owned(), groups: Vec::new(), at: jiff::Timestamp::UNIX_EPOCH, reason: None, reply };
/// let mut votes = vec![said("ada", Reply::Approve(hash))];
/// assert_eq!(question.verdict(&votes), None, "one of two");
/// votes.push(said("eve", Reply::Reject(hash)));
/// assert_eq!(question.verdict(&votes), Some(Verdict::Rejected));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// As many as are needed said yes.
    Approved,
    /// Somebody who may said no.
    Rejected,
}

/// Why a reply does not count.
///
/// ```
/// use everstep_common::question::{Question, Refused, Reply};
///
/// let question = Question { assignees: vec!["ada".to_owned()], skippable: true, ..Question::default() };
/// let error = question.admits("eve", &[], &Reply::Skip).unwrap_err();
/// assert!(matches!(error, Refused::NotAsked { .. }));
/// assert_eq!(error.to_string(), "eve is not among those who may answer: ada");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It is nobody's.
    #[error("an answer says whose it is")]
    Nobody,
    /// It is somebody's who was not asked.
    #[error("{by} is not among those who may answer: {}", asked.join(", "))]
    NotAsked {
        /// Whose it is.
        by: String,
        /// Who may.
        asked: Vec<String>,
    },
    /// It is the word of the one who asked for it, on their own request.
    #[error("{by} asked for this, so somebody else has to decide on it")]
    Requester {
        /// Whose it is.
        by: String,
    },
    /// It is bound to something else.
    #[error("the answer is bound to {given}, and what is asked about has the hash {asked}")]
    OtherPayload {
        /// What the reply says yes or no to.
        given: PayloadHash,
        /// What the question is about.
        asked: PayloadHash,
    },
    /// An approval is wanted, or none is.
    #[error("{0}")]
    OtherKind(&'static str),
    /// They replied before.
    #[error("{by} has answered before")]
    Again {
        /// Who.
        by: String,
    },
}

impl Question {
    /// Whether a reply of `by`, known to be in these groups, counts by itself.
    ///
    /// ```
    /// use everstep_common::question::{Question, Refused, Reply};
    ///
    /// let question = Question { assignees: vec!["finance".to_owned()], skippable: true, ..Question::default() };
    /// assert_eq!(question.admits("ada", &["finance".to_owned()], &Reply::Skip), Ok(()));
    /// assert!(question.admits("ada", &[], &Reply::Skip).is_err());
    /// ```
    pub fn admits(&self, by: &str, groups: &[String], reply: &Reply) -> Result<(), Refused> {
        if by.is_empty() {
            return Err(Refused::Nobody);
        }
        let asked = |name: &String| name == by || groups.contains(name);
        if !self.assignees.is_empty() && !self.assignees.iter().any(asked) {
            return Err(Refused::NotAsked {
                by: by.to_owned(),
                asked: self.assignees.clone(),
            });
        }
        match (&self.approval, reply) {
            (Some(terms), _) if terms.requester.as_deref() == Some(by) => Err(Refused::Requester { by: by.to_owned() }),
            (Some(terms), Reply::Approve(hash) | Reply::Reject(hash)) if *hash != terms.hash => Err(Refused::OtherPayload {
                given: *hash,
                asked: terms.hash,
            }),
            (Some(_), Reply::Approve(_) | Reply::Reject(_)) | (None, Reply::Value(_)) => Ok(()),
            (None, Reply::Skip) if self.skippable => Ok(()),
            (None, Reply::Skip) => Err(Refused::OtherKind("the question may not be skipped")),
            (Some(_), _) => Err(Refused::OtherKind("an approval is approved or rejected, and nothing else")),
            (None, _) => Err(Refused::OtherKind("the question asks for a value, and not for an approval")),
        }
    }

    /// Whether one more reply counts beside those that are there.
    ///
    /// ```
    /// use everstep_common::question::{Question, Refused, Reply, Vote};
    ///
    /// let question = Question { skippable: true, ..Question::default() };
    /// let votes = [Vote { by: "ada".into(), groups: Vec::new(), at: jiff::Timestamp::UNIX_EPOCH, reason: None, reply: Reply::Skip }];
    /// assert_eq!(question.admits_beside(&votes, "ada", &[], &Reply::Skip), Err(Refused::Again { by: "ada".into() }));
    /// ```
    pub fn admits_beside(&self, votes: &[Vote], by: &str, groups: &[String], reply: &Reply) -> Result<(), Refused> {
        self.admits(by, groups, reply)?;
        if votes.iter().any(|vote| vote.by == by) {
            return Err(Refused::Again { by: by.to_owned() });
        }
        Ok(())
    }

    /// Whether these votes, all of which count, settle it.
    ///
    /// ```
    /// use everstep_common::question::Question;
    ///
    /// assert!(!Question::default().is_settled(&[]), "nobody has answered");
    /// ```
    pub fn is_settled(&self, votes: &[Vote]) -> bool {
        match self.approval {
            Some(_) => self.verdict(votes).is_some(),
            None => !votes.is_empty(),
        }
    }

    /// How an approval has come out by these votes, all of which count. The first no decides.
    ///
    /// ```
    /// use everstep_common::question::Question;
    ///
    /// assert_eq!(Question::default().verdict(&[]), None, "it is no approval");
    /// ```
    pub fn verdict(&self, votes: &[Vote]) -> Option<Verdict> {
        let terms = self.approval.as_ref()?;
        if votes.iter().any(|vote| matches!(vote.reply, Reply::Reject(_))) {
            return Some(Verdict::Rejected);
        }
        let approvals = votes.iter().filter(|vote| matches!(vote.reply, Reply::Approve(_))).count();
        // Nothing is approved by nobody.
        (approvals >= terms.quorum.max(1) as usize).then_some(Verdict::Approved)
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::payload::Payload;
    use crate::question::Terms;

    fn hash() -> PayloadHash {
        PayloadHash::of_canonical(b"{}")
    }

    fn approval(quorum: u32) -> Question {
        Question {
            assignees: vec!["ada".into(), "finance".into()],
            approval: Some(Terms {
                hash: hash(),
                payload: None,
                quorum,
                requester: Some("bob".into()),
            }),
            ..Question::default()
        }
    }

    fn vote(by: &str, reply: Reply) -> Vote {
        Vote {
            by: by.into(),
            groups: Vec::new(),
            at: Timestamp::UNIX_EPOCH,
            reason: None,
            reply,
        }
    }

    #[test]
    fn only_who_is_asked_may_answer_and_never_who_requested_it() {
        let question = approval(1);
        let yes = Reply::Approve(hash());
        let finance = ["finance".to_owned()];
        assert_eq!(question.admits("ada", &[], &yes), Ok(()));
        assert_eq!(question.admits("eve", &finance, &yes), Ok(()));
        assert!(matches!(question.admits("eve", &[], &yes), Err(Refused::NotAsked { .. })));
        assert!(matches!(
            question.admits("bob", &finance, &yes),
            Err(Refused::Requester { .. })
        ));
        assert_eq!(question.admits("", &finance, &yes), Err(Refused::Nobody));
    }

    #[test]
    fn a_yes_to_something_else_is_none() {
        let other = PayloadHash::of_canonical(b"[]");
        for reply in [Reply::Approve(other), Reply::Reject(other)] {
            assert!(matches!(
                approval(1).admits("ada", &[], &reply),
                Err(Refused::OtherPayload { .. })
            ));
        }
        let value = Reply::Value(Payload::unit());
        assert!(matches!(approval(1).admits("ada", &[], &value), Err(Refused::OtherKind(_))));
        assert!(matches!(
            Question::default().admits("ada", &[], &Reply::Approve(hash())),
            Err(Refused::OtherKind(_))
        ));
    }

    #[test]
    fn a_quorum_is_of_different_people_and_one_no_ends_it() {
        let (yes, no) = (Reply::Approve(hash()), Reply::Reject(hash()));
        let question = approval(2);
        let one = [vote("ada", yes.clone())];
        assert_eq!(question.verdict(&one), None);
        assert!(matches!(
            question.admits_beside(&one, "ada", &[], &yes),
            Err(Refused::Again { .. })
        ));
        assert_eq!(question.verdict(&[one[0].clone(), vote("eve", yes)]), Some(Verdict::Approved));
        assert_eq!(question.verdict(&[one[0].clone(), vote("eve", no)]), Some(Verdict::Rejected));
        assert_eq!(approval(0).verdict(&[]), None, "a quorum of nobody is one of somebody");
    }

    #[test]
    fn only_what_may_be_skipped_is() {
        let skippable = Question {
            skippable: true,
            ..Question::default()
        };
        assert_eq!(skippable.admits("ada", &[], &Reply::Skip), Ok(()));
        assert!(Question::default().admits("ada", &[], &Reply::Skip).is_err());
    }
}
