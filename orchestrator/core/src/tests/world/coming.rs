//! What may happen next, by itself.

use everstep_common::key::StepKey;
use everstep_common::subscription::Subscription;
use jiff::Timestamp;

use crate::{Command, EventBody, Record};

/// Something that may happen next, by itself.
pub(super) enum Coming {
    Work(Box<Command>),
    Retry { key: StepKey, attempt: u32 },
    Deadline { key: StepKey, at: Timestamp },
    Entry(EventBody),
}

impl Coming {
    pub(super) fn is_from_outside(&self) -> bool {
        matches!(
            self,
            Self::Entry(EventBody::Signal(..) | EventBody::Update { .. } | EventBody::About(_, Record::Answer(_)))
        )
    }

    /// The next event of the subscription.
    pub(super) fn is_event_of(&self, of: &Subscription) -> bool {
        matches!(self, Self::Work(command) if matches!(&**command, Command::Await { what, .. } if **what == *of))
    }

    /// Which version or side of a patch the run goes by, on its way to the journal.
    pub(super) fn is_choice(&self) -> bool {
        matches!(self, Self::Work(command) if matches!(**command, Command::RecordMarker { .. }))
    }

    pub(super) fn is_for(&self, cancelled: &StepKey) -> bool {
        match self {
            Self::Work(command) => command.key() == Some(cancelled),
            Self::Retry { key, .. } | Self::Deadline { key, .. } => key == cancelled,
            Self::Entry(EventBody::About(key, _)) => key == cancelled,
            Self::Entry(_) => false,
        }
    }
}
