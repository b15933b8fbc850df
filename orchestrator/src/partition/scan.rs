//! Reading a whole partition: which runs are open, and whether the stream is still the one it was.

use std::collections::BTreeSet;

use everstep_common::ids::{Partition, RunId};
use everstep_common::journal::EntryKey;
use everstep_common::ports::{Followed, From, GetLast, ReadError, StreamInfo};
use everstep_common::store::Store;
use futures::StreamExt;
use futures::stream::BoxStream;
use jiff::Timestamp;

use super::cursor::Newest;

/// The runs that have started and not ended; `None` if they could not all be listed. With `strays` also those of which there are entries
/// and no start: a rollback may have taken it. That reads the whole partition.
pub(crate) async fn open_runs(store: &Store, partition: Partition, strays: bool) -> Option<Vec<RunId>> {
    let names = store.names();
    let started = runs_with(store, partition, names.kind_filter(partition, "start")).await?;
    let ended = runs_with(store, partition, names.kind_filter(partition, "end")).await?;
    let mut open: BTreeSet<RunId> = started.difference(&ended).cloned().collect();
    if strays {
        let all = runs_with(store, partition, names.journal_filter(partition)).await?;
        open.extend(all.difference(&started).cloned());
    }
    Some(open.into_iter().collect())
}

async fn runs_with(store: &Store, partition: Partition, filter: String) -> Option<BTreeSet<RunId>> {
    let names = store.names();
    let mut entries = store.broker().scan(&names.journal_stream(partition), &filter, None);
    let mut runs = BTreeSet::new();
    while let Some(entry) = entries.next().await {
        match entry {
            Ok(message) => runs.extend(names.parse_entry(&message.subject).map(|(run, _)| run)),
            Err(error) => {
                tracing::debug!(%partition, %error, "partition not scanned; trying again");
                store.clock().sleep(everstep_common::store::Backoff::MAX).await;
                return None;
            }
        }
    }
    Some(runs)
}

/// Removes the entries of a run that has no start, unless they are a tombstone and what came after it.
pub(crate) async fn bury(store: &Store, run: &RunId) -> Result<(), String> {
    for key in [EntryKey::Start, EntryKey::Gone] {
        let found = store.find_entry(run, &key).await.map_err(|error| error.to_string())?;
        if found.is_some() {
            return Err(format!("{key} stands"));
        }
    }
    let stream = store.names().journal_stream(run.partition());
    let purged = store.broker().purge(&stream, &store.names().run_filter(run)).await;
    purged.map(drop).map_err(|error| error.to_string())
}

/// The partition's feed from a sequence on. It begins at its first poll, inside tokio.
pub(crate) fn feed(store: &Store, partition: Partition, from: u64) -> BoxStream<'static, Followed> {
    let store = store.clone();
    let follow = async move {
        let names = store.names();
        store.broker().follow(
            &names.journal_stream(partition),
            &names.journal_filter(partition),
            From::Sequence(from),
        )
    };
    futures::stream::once(follow).flatten().boxed()
}

/// The journal stream, however long the server is away.
pub(crate) async fn stream_info(store: &Store, partition: Partition) -> StreamInfo {
    let stream = store.names().journal_stream(partition);
    loop {
        match store.broker().stream_info(&stream).await {
            Ok(Some(info)) => return info,
            Ok(None) => tracing::error!(
                stream,
                "the journal stream does not exist: restore it from a backup, or begin anew with `everstep provision`"
            ),
            Err(error) => tracing::debug!(stream, %error, "journal stream not found yet"),
        }
        store.clock().sleep(everstep_common::store::Backoff::MAX).await;
    }
}

/// How the stream shows that it was rolled back or replaced since `newest` was seen in it, if it does.
pub(crate) async fn rolled_back(
    store: &Store,
    partition: Partition,
    created: Option<Timestamp>,
    newest: Option<Newest>,
) -> Result<Option<String>, String> {
    let stream = store.names().journal_stream(partition);
    let info = match store.broker().stream_info(&stream).await {
        Ok(Some(info)) => info,
        Ok(None) => {
            return Err(format!(
                "stream {stream} does not exist: restore it from a backup, or run `everstep provision` to begin anew"
            ));
        }
        Err(error) => {
            store.clock().sleep(everstep_common::store::Backoff::MAX).await;
            return Err(error.to_string());
        }
    };
    if created.is_some_and(|created| created != info.created) {
        return Ok(Some(format!(
            "it was created {} instead of {}",
            info.created,
            created.unwrap_or(info.created)
        )));
    }
    let Some(newest) = newest else { return Ok(None) };
    if info.last_sequence < newest.sequence {
        return Ok(Some(format!("it ends at {} and had {}", info.last_sequence, newest.sequence)));
    }
    let request = GetLast {
        stream,
        subjects: vec![newest.subject.clone()],
        up_to: Some(newest.sequence),
        leader: true,
    };
    match store.broker().get_last(request).await {
        Ok(snapshot)
            if snapshot
                .messages
                .iter()
                .any(|message| message.sequence == newest.sequence && message.time == newest.time) =>
        {
            Ok(None)
        }
        Ok(_) | Err(ReadError::TooMany) => Ok(Some(format!("entry {} is not the one that was seen", newest.sequence))),
        Err(error) => {
            store.clock().sleep(everstep_common::store::Backoff::MAX).await;
            Err(error.to_string())
        }
    }
}
