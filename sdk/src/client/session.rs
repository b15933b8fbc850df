//! Looking at the values that the runs of a session share.

use everstep_common::session::check_id;
use everstep_common::store::{SessionError, SessionValue};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value as Json;

use super::value::json;
use super::{Client, ClientError};

/// A value of a session, as its operator sees it; brought by [`Client::session`].
///
/// ```
/// use everstep::SessionEntry;
///
/// let entry = SessionEntry { key: "visits".to_owned(), value: 3.into(), written: None, revision: 17 };
/// assert_eq!(format!("{} = {}", entry.key, entry.value), "visits = 3");
/// ```
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SessionEntry {
    /// Its name.
    pub key: String,
    /// What it is.
    pub value: Json,
    /// When it was last written, by the server's clock.
    pub written: Option<Timestamp>,
    /// How often it was written is not kept; this number is larger after each write to any session.
    pub revision: u64,
}

impl Client {
    /// The values of a session, by name; none if nothing was ever set in it.
    ///
    /// # Errors
    ///
    /// [`ClientError::SessionId`] if there can be no session of that id, [`ClientError::Session`] if its values cannot be read, [`ClientError::Value`] if one of them cannot be decoded.
    ///
    /// ```no_run
    /// # async fn example(client: everstep::Client) -> anyhow::Result<()> {
    /// for entry in client.session("customer-7").await? {
    ///     println!("{}: {}", entry.key, entry.value);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn session(&self, session: &str) -> Result<Vec<SessionEntry>, ClientError> {
        check_id(session)?;
        let read = self.bounded(self.store.session_values(session)).await?;
        let values = read.map_err(|error| match error {
            SessionError::Read { source, .. } => ClientError::Session {
                session: session.to_owned(),
                source,
            },
            SessionError::Undecodable { key, source, .. } => ClientError::Value {
                what: format!("value {key} of session {session:?}"),
                source,
            },
        })?;
        values.into_iter().filter_map(|value| entry(value).transpose()).collect()
    }
}

fn entry(value: SessionValue) -> Result<Option<SessionEntry>, ClientError> {
    let SessionValue {
        record,
        revision,
        written,
    } = value;
    let Some(bytes) = record.value else {
        return Ok(None);
    };
    Ok(Some(SessionEntry {
        value: json(&bytes, || format!("value {} of session {:?}", record.key, record.session))?,
        key: record.key,
        written,
        revision,
    }))
}
