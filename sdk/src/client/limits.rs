//! Limits as operators set and see them.

use std::collections::BTreeMap;

use everstep_common::flow::{Limit, LimitName, Setting, Usage};
use everstep_common::limits::LIMIT_SLOTS_MAX;
use everstep_common::ports::{Message, ReadError};
use everstep_common::store::{LIMITS, PutError};
use everstep_common::wire;
use futures::TryStreamExt;

use super::{Client, ClientError};

/// A limit that is set, or in use. Example: see [`Client::limits`].
#[derive(Clone, Debug, PartialEq)]
pub struct LimitEntry {
    /// Of what.
    pub name: LimitName,
    /// What operators have set; nothing: what the code says holds.
    pub set: Option<Limit>,
    /// Who holds a place, and who waits for one.
    pub usage: Usage,
}

impl Client {
    /// Every limit that is set, or that anybody has had a place under.
    ///
    /// ```no_run
    /// # async fn example(client: everstep::Client) -> anyhow::Result<()> {
    /// for limit in client.limits().await? {
    ///     println!("{}: {} hold a place", limit.name, limit.usage.slots.len());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ClientError::Limits`] if they could not be read; in a deployment made before there were limits `everstep provision` makes room.
    pub async fn limits(&self) -> Result<Vec<LimitEntry>, ClientError> {
        let names = self.store.names();
        let (stream, all) = (names.bucket_stream(LIMITS), names.bucket_key(LIMITS, ">"));
        let messages: Result<Vec<Message>, ReadError> = self
            .bounded(self.store.broker().scan(&stream, &all, None).try_collect())
            .await?;
        let messages = messages.map_err(|source| ClientError::Limits(source.to_string()))?;
        let prefix = names.bucket_key(LIMITS, "");
        let mut entries = BTreeMap::new();
        for message in messages {
            let Some((name, is_setting)) = message.subject.strip_prefix(&prefix).and_then(LimitName::of_key) else {
                continue;
            };
            let what = || format!("limit {name}");
            let entry = entries.entry(name.clone()).or_insert_with(|| LimitEntry {
                name: name.clone(),
                set: None,
                usage: Usage::default(),
            });
            let value = |source| ClientError::Value { what: what(), source };
            match is_setting {
                true => entry.set = wire::decode::<Setting>(&message.payload).map_err(value)?.limit(),
                false => entry.usage = wire::decode(&message.payload).map_err(value)?,
            }
        }
        Ok(entries.into_values().collect())
    }

    /// Sets a limit, in place of what the code says of it, at once and for everybody; `None`: what the code says holds again.
    ///
    /// A limit that is lowered takes no place from anybody: it lets nobody in until enough have left. What was dispatched while there was
    /// no limit at all does not count.
    ///
    /// ```no_run
    /// use everstep::{Client, Limit};
    ///
    /// # async fn example(client: Client) -> anyhow::Result<()> {
    /// let limit = Limit { concurrency: Some(4), rate: Some("100/s".parse()?), ..Limit::NONE };
    /// client.set_limit(&"queue.gpu".parse()?, Some(limit)).await?;
    ///
    /// let of_each_customer = Limit { per_key_rate: Some("5/min".parse()?), ..Limit::NONE };
    /// client.set_limit(&"function.send_mail".parse()?, Some(of_each_customer)).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ClientError::BadLimit`] if it lets nobody in, or more than 1,000 at a time; [`ClientError::Limits`] if it could not be written.
    pub async fn set_limit(&self, name: &LimitName, limit: Option<Limit>) -> Result<(), ClientError> {
        let counts = limit.iter().flat_map(|limit| [limit.concurrency, limit.per_key]).flatten();
        if let Some(count) = counts.into_iter().find(|count| *count == 0 || *count > LIMIT_SLOTS_MAX) {
            return Err(ClientError::BadLimit { count });
        }
        let value = wire::encode(&Setting::new(limit)).map_err(|source| ClientError::Value {
            what: format!("limit {name}"),
            source,
        })?;
        let key = name.setting_key();
        loop {
            let unread = |error: ReadError| ClientError::Limits(error.to_string());
            let record = self.bounded(self.store.get_record(LIMITS, &key)).await?.map_err(unread)?;
            let revision = record.map_or(0, |record| record.revision);
            match self
                .bounded(self.store.put_record(LIMITS, &key, value.clone(), revision))
                .await?
            {
                Ok(_) => return Ok(()),
                Err(PutError::Conflict) => {}
                Err(error) => return Err(ClientError::Limits(error.to_string())),
            }
        }
    }
}
