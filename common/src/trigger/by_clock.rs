//! What starts runs by the clock: when, and what becomes of times that overlap or were missed.

use serde::{Deserialize, Serialize};

use super::cron::Cron;
use super::input::Input;
use super::terms::RunTerms;
use crate::limits::NAME_CHARS_MAX;

/// Starts a run at each time that an expression names.
///
/// ```
/// use everstep_common::trigger::{CronTrigger, Overlap, Trigger};
///
/// let trigger = CronTrigger {
///     time_zone: "Europe/Berlin".to_owned(),
///     overlap: Overlap::Skip,
///     ..Trigger::cron("morning", "0 9 * * *")
/// };
/// assert_eq!(Trigger::Cron(trigger).check(), Ok(()));
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CronTrigger {
    /// Tells the schedules of one workflow apart.
    pub name: String,
    /// When.
    pub expression: String,
    /// In which time zone of the IANA database.
    pub time_zone: String,
    /// What becomes of a time at which the run before is still open.
    #[serde(default)]
    pub overlap: Overlap,
    /// What becomes of times at which nobody was there to start a run.
    #[serde(default)]
    pub misfire: Misfire,
    /// What the run is given; [`Input::Data`] is the schedule's name and the time.
    #[serde(default, skip_serializing_if = "Input::is_data")]
    pub input: Input,
    /// Under which terms its runs are started.
    #[serde(default, skip_serializing_if = "RunTerms::is_usual")]
    pub terms: RunTerms,
}

/// What becomes of a time at which the schedule's run before is still open.
///
/// ```
/// use everstep_common::trigger::Overlap;
///
/// assert_eq!(Overlap::default(), Overlap::Allow);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overlap {
    /// It starts a run all the same.
    #[default]
    Allow,
    /// It starts none.
    Skip,
    /// It starts one, and the open one is asked to cancel.
    Cancel,
}

/// What becomes of the times that have passed when the schedule is looked at again after an outage.
///
/// ```
/// use everstep_common::trigger::{CronTrigger, Misfire, Trigger};
///
/// let every_hour = CronTrigger { misfire: Misfire::FireAll, ..Trigger::cron("hourly", "0 * * * *") };
/// assert_ne!(every_hour.misfire, Misfire::default());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Misfire {
    /// The latest of them starts a run.
    #[default]
    FireOnce,
    /// Each of them does.
    FireAll,
    /// None does.
    Skip,
}

impl CronTrigger {
    pub(super) fn check(&self) -> Result<(), String> {
        let length = self.name.chars().count();
        if length == 0 || length > NAME_CHARS_MAX || self.name.chars().any(char::is_control) {
            return Err(format!(
                "the name of a schedule has 1 to {NAME_CHARS_MAX} characters, none of them a control character"
            ));
        }
        self.times()?;
        if let Some(term) = self.terms.looked_up() {
            return Err(format!("a schedule has no event in which its `{term}` could be looked up"));
        }
        self.terms.check()?;
        match &self.input {
            Input::Path(_) => Err("a schedule has no body that a path could lead into".to_owned()),
            input => input.check(),
        }
    }

    /// The times that it names.
    ///
    /// ```
    /// use everstep_common::trigger::Trigger;
    ///
    /// assert!(Trigger::cron("nightly", "0 3 * * *").times().is_ok());
    /// ```
    pub fn times(&self) -> Result<Cron, String> {
        Cron::parse(&self.expression, &self.time_zone)
    }
}
