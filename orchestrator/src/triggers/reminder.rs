//! Has the server remind us of something once its time has come.
//!
//! ```text
//! later.<key> ──at its time──▶ due.<key>
//! ```
//!
//! A reminder may be fired, and asked for, again: what is done when it comes is done once all the same.

use everstep_common::ports::{Publish, PublishError, Schedule};
use everstep_common::store::{Store, TriggerError};
use everstep_common::wire;
use jiff::Timestamp;
use serde::Serialize;

/// Stores a schedule unless that very one stands: a body that is fired at `at` under `key`.
pub(super) async fn remind(store: &Store, key: &str, body: &impl Serialize, at: Timestamp) -> Result<(), TriggerError> {
    let (subject, target) = store.names().later(key);
    let body = wire::encode(body).map_err(|error| TriggerError::Unwritable {
        what: key.to_owned(),
        reason: error.to_string(),
    })?;
    let mut publish = Publish::new(subject.clone(), body).create_only();
    publish.schedule = Some(Schedule { at, target });
    match store.broker().publish(publish).await {
        Ok(_) | Err(PublishError::Refused) => Ok(()),
        Err(source) => Err(TriggerError::Publish { subject, source }),
    }
}
