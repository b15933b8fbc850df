//! When a wait is given up.

use std::time::Duration;

use everstep_core::Due;
use jiff::Timestamp;

/// When a wait is given up: a [`Duration`] after it is first polled, or a [`Timestamp`].
///
/// ```
/// use everstep::Deadline;
/// use everstep::prelude::*;
///
/// let relative: Deadline = Duration::from_secs(60).into();
/// let absolute: Deadline = Timestamp::UNIX_EPOCH.into();
/// assert_ne!(relative, absolute);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline(Due);

impl Deadline {
    pub(crate) fn due(self) -> Due {
        self.0
    }
}

impl From<Duration> for Deadline {
    fn from(after: Duration) -> Self {
        Self(Due::After(after))
    }
}

impl From<Timestamp> for Deadline {
    fn from(at: Timestamp) -> Self {
        Self(Due::At(at))
    }
}
