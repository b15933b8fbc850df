//! Signals: a value under a name for a run, once under an id of the sender's.

use bytes::Bytes;
use everstep_common::ids::RunId;
use everstep_common::journal::{Entry, EntryKey, Inbound, InboundId, InboundKind};
use everstep_common::key::StepKey;
use everstep_common::limits::NAME_CHARS_MAX;
use everstep_common::store::Created;
use everstep_common::wire;
use serde::Serialize;

use super::{Client, ClientError};

impl Client {
    /// Sends `value` to the run, for the next of its waits for `name`. Returns when it is durable.
    ///
    /// `id` is the sender's name for this one message: the same id and value again is the same signal, so asking again is safe. The run
    /// keeps it until a wait takes it, however long that is. A run that has ended and goes on in another one
    /// ([`ctx.continue_as_new`](crate::WorkflowContext::continue_as_new)) is followed there; what nobody took before it went on is gone.
    ///
    /// # Errors
    ///
    /// [`ClientError::NotFound`] if there is no such run, [`ClientError::Ended`] if it has ended, [`ClientError::SignalConflict`] if another
    /// signal was sent under that id. [`ClientError::Name`] if the name or the id does not have 1 to 128 characters (`NAME_CHARS_MAX`);
    /// [`ClientError::Payload`] if the value is over 64 MiB (`PAYLOAD_BYTES_MAX`). After [`ClientError::Unavailable`] send it again, under the
    /// same id.
    ///
    /// ```no_run
    /// # async fn example(client: everstep::Client, run: everstep::RunId) -> anyhow::Result<()> {
    /// // The id of the payment provider's event, which may be delivered twice.
    /// client.signal(&run, "paid", "evt_1Q2w3E", &1200_u64).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn signal<T: Serialize + ?Sized>(&self, run: &RunId, name: &str, id: &str, value: &T) -> Result<(), ClientError> {
        let key = EntryKey::In(named("signal", name).and_then(|()| inbound_id(id))?);
        let what = format!("encoding signal {name:?}");
        let value = wire::encode_value(value).map_err(|source| ClientError::Value { what, source })?;
        let send = async |to: &RunId| self.signal_one(to, &key, name, id, value.clone()).await;
        self.say_in_chain(run, run.clone(), send).await
    }

    async fn signal_one(&self, run: &RunId, key: &EntryKey, name: &str, id: &str, value: Bytes) -> Result<(), ClientError> {
        if self.entry(run, &EntryKey::Start).await?.is_none() {
            return Err(ClientError::NotFound { run: run.clone() });
        }
        let owner = StepKey::from_path(&format!("in.{id}"));
        let value = self.bounded(self.store.put_payload(run, owner.token(), value)).await??;
        let entry = Entry::In(Inbound {
            kind: InboundKind::Signal {
                name: name.to_owned(),
                value,
            },
            by: None,
            reason: None,
        });
        match self.say(run, key.clone(), &entry).await? {
            Some(sequence) => self.must_end_after(run, sequence).await,
            None => {
                let (run, id) = (run.clone(), id.to_owned());
                Err(ClientError::SignalConflict { run, id })
            }
        }
    }

    /// Writes once what is said under the caller's own id. Where it stands; nothing if something else was said under the id.
    pub(super) async fn say(&self, run: &RunId, key: EntryKey, entry: &Entry) -> Result<Option<u64>, ClientError> {
        // Looked for first: a run may have ended by the very word whose acknowledgement was lost.
        let earlier = match self.entry(run, &key).await? {
            Some(earlier) => earlier,
            None => {
                self.must_be_open(run).await?;
                match self.create(run, key, entry).await? {
                    Created::Ours { sequence } => return Ok(Some(sequence)),
                    Created::Theirs(earlier) => self.store.decode_entry(run, *earlier)?,
                }
            }
        };
        Ok((earlier.entry == *entry).then_some(earlier.sequence))
    }
}

/// The id as one token of a subject.
fn inbound_id(id: &str) -> Result<InboundId, ClientError> {
    named("id of a signal", id)?;
    Ok(InboundId::new(StepKey::from_path(id).token()).expect("a key is a token"))
}

pub(super) fn named(what: &'static str, name: &str) -> Result<(), ClientError> {
    let characters = name.chars().count();
    if (1..=NAME_CHARS_MAX).contains(&characters) {
        return Ok(());
    }
    Err(ClientError::Name { what, characters })
}
