//! Limits as this process knows them: what operators set and who uses them, followed once for all its partitions.
//!
//! One follower for each process, for each more costs the server every change. What it brings may be a moment old; what is decided by it is
//! written by compare-and-set.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use everstep_common::flow::{Limit, LimitName, Setting, Usage};
use everstep_common::ports::{Followed, From, Message};
use everstep_common::store::{LIMITS, Store};
use everstep_common::wire;
use futures::StreamExt;
use futures::channel::mpsc;

/// After how long a bucket that is not there (not provisioned, or lost) is looked for again.
const FOLLOW_AGAIN: Duration = Duration::from_secs(1);

/// Something about a limit that is new.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    /// What operators want of it; nothing: what the code says holds.
    Setting(LimitName, Option<Limit>),
    /// Who uses it, as of a revision of its record.
    Usage(LimitName, u64, Arc<Usage>),
}

/// The handle that partitions listen at.
#[derive(Clone, Debug, Default)]
pub(crate) struct Limits(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    settings: BTreeMap<LimitName, Option<Limit>>,
    usages: BTreeMap<LimitName, (u64, Arc<Usage>)>,
    listeners: Vec<mpsc::UnboundedSender<Change>>,
}

impl Limits {
    /// All that is known, and then all that changes.
    pub(crate) fn listen(&self) -> mpsc::UnboundedReceiver<Change> {
        let (sender, receiver) = mpsc::unbounded();
        let mut known = self.lock();
        let settings = known
            .settings
            .iter()
            .map(|(name, limit)| Change::Setting(name.clone(), *limit));
        let usages = known
            .usages
            .iter()
            .map(|(name, (revision, usage))| Change::Usage(name.clone(), *revision, usage.clone()));
        for change in settings.chain(usages) {
            // The receiver is still in our hands.
            let _ = sender.unbounded_send(change);
        }
        known.listeners.push(sender);
        receiver
    }

    /// Follows the bucket, without end.
    pub(crate) async fn follow(self, store: Store) {
        let (stream, all) = (store.names().bucket_stream(LIMITS), store.names().bucket_key(LIMITS, ">"));
        let prefix = store.names().bucket_key(LIMITS, "");
        loop {
            let mut feed = store.broker().follow(&stream, &all, From::LastPerSubject);
            while let Some(followed) = feed.next().await {
                match followed {
                    Followed::Message(message) => self.take(&prefix, &message),
                    Followed::CaughtUp => {}
                    Followed::Lost(reason) => {
                        tracing::debug!(reason, "limits not followed; looking for them again");
                        break;
                    }
                }
            }
            store.clock().sleep(FOLLOW_AGAIN).await;
        }
    }

    fn take(&self, prefix: &str, message: &Message) {
        let named = message.subject.strip_prefix(prefix).and_then(LimitName::of_key);
        let change = named.and_then(|(name, is_setting)| match is_setting {
            true => Some(Change::Setting(name, wire::decode::<Setting>(&message.payload).ok()?.limit())),
            false => Some(Change::Usage(
                name,
                message.sequence,
                Arc::new(wire::decode(&message.payload).ok()?),
            )),
        });
        let Some(change) = change else {
            return tracing::warn!(subject = message.subject, "not a limit that this build can read; left alone");
        };
        let mut known = self.lock();
        match &change {
            Change::Setting(name, limit) => {
                tracing::info!(%name, limit = limit.map(|limit| limit.to_string()), "limit set");
                known.settings.insert(name.clone(), *limit);
            }
            Change::Usage(name, revision, usage) => drop(known.usages.insert(name.clone(), (*revision, usage.clone()))),
        }
        known
            .listeners
            .retain(|listener| listener.unbounded_send(change.clone()).is_ok());
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        // Nothing panics while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
