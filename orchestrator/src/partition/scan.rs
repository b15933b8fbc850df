//! Reading a whole partition: which runs are open, and whether the stream is still the one it was.

use std::collections::BTreeSet;
use std::time::Duration;

use everstep_common::ids::{Partition, QueueName, RunId};
use everstep_common::journal::EntryKey;
use everstep_common::key::StepKey;
use everstep_common::ports::{Followed, From, GetLast, ReadError, StreamInfo};
use everstep_common::store::{Backoff, RUNS, Store};
use futures::StreamExt;
use futures::stream::BoxStream;
use jiff::Timestamp;

use super::cursor::Newest;
use super::wheel::WakeUp;

/// Until when, after a run has started, it has a summary, unless the server is slow: they are gathered for a moment.
const LISTED_WITHIN: Duration = Duration::from_secs(3);

/// Which runs a scan is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    /// Those that have started and not ended.
    Open,
    /// Every run of which there is any entry: after a rollback nothing that was known of any of them need be true.
    All,
}

/// The runs of a partition; `None` if they could not all be listed.
pub(crate) async fn runs(store: &Store, partition: Partition, which: Which) -> Option<BTreeSet<RunId>> {
    let names = store.names();
    match which {
        Which::All => runs_with(store, partition, names.journal_filter(partition)).await,
        Which::Open => {
            let started = runs_with(store, partition, names.kind_filter(partition, "start")).await?;
            let ended = runs_with(store, partition, names.kind_filter(partition, "end")).await?;
            Some(started.difference(&ended).cloned().collect())
        }
    }
}

async fn runs_with(store: &Store, partition: Partition, filter: String) -> Option<BTreeSet<RunId>> {
    let names = store.names();
    let subjects = subjects(store, &names.journal_stream(partition), &filter).await?;
    let runs = subjects.iter().filter_map(|subject| names.parse_entry(subject));
    Some(runs.map(|(run, _)| run).collect())
}

/// What the server holds for a partition, for a sweep to compare with what it should.
#[derive(Debug)]
pub(crate) struct Standing {
    /// Runs that have started and not ended.
    pub open: BTreeSet<RunId>,
    /// Runs that have no summary.
    pub unlisted: BTreeSet<RunId>,
    /// Runs that have a summary and no start.
    pub baseless: BTreeSet<RunId>,
    /// Steps that have a task.
    pub tasks: BTreeSet<(RunId, StepKey)>,
    /// Wake-ups that the server has a schedule of, or has fired and nobody has taken yet.
    pub scheduled: BTreeSet<WakeUp>,
}

/// Looks at everything that belongs to a partition, by subjects alone; `None` if the server did not answer. `queues` are those that it
/// has something in flight in.
pub(crate) async fn standing(store: &Store, partition: Partition, queues: &BTreeSet<QueueName>) -> Option<Standing> {
    let names = store.names();
    // A schedule that fires in between is seen in the second place.
    let timers = names.timer_stream(partition);
    let mut scheduled = BTreeSet::new();
    for filter in [names.timer_schedules(partition), names.timer_fired(partition)] {
        let subjects = subjects(store, &timers, &filter).await?;
        scheduled.extend(subjects.iter().filter_map(|subject| {
            let (run, sort, key) = names.parse_wake_up(subject)?;
            Some(WakeUp { run, sort, key })
        }));
    }
    let mut tasks = BTreeSet::new();
    for queue in queues {
        let subjects = subjects(store, &names.task_stream(queue), &names.task_filter(queue)).await?;
        let of_queue = subjects.iter().filter_map(|subject| names.parse_task(subject));
        tasks.extend(
            of_queue
                .filter(|(_, run, ..)| run.partition() == partition)
                .map(|(_, run, key, _)| (run, key)),
        );
    }
    // Ends before starts: a run that ends in between counts as open, and is found to have ended when it is read.
    let ended = runs_with(store, partition, names.kind_filter(partition, "end")).await?;
    let started = runs_with(store, partition, names.kind_filter(partition, "start")).await?;
    // Summaries follow their runs at a distance.
    store.clock().sleep(LISTED_WITHIN).await;
    let prefix = names.bucket_key(RUNS, "");
    let listed = subjects(store, &names.bucket_stream(RUNS), &names.bucket_key(RUNS, "*")).await?;
    let listed = listed
        .iter()
        .filter_map(|subject| subject.strip_prefix(&prefix)?.parse().ok());
    let listed: BTreeSet<RunId> = listed.filter(|run: &RunId| run.partition() == partition).collect();
    let mut baseless: BTreeSet<RunId> = listed.difference(&started).cloned().collect();
    if !baseless.is_empty() {
        // Some have only started since.
        let started = runs_with(store, partition, names.kind_filter(partition, "start")).await?;
        baseless.retain(|run| !started.contains(run));
    }
    Some(Standing {
        open: started.difference(&ended).cloned().collect(),
        unlisted: started.difference(&listed).cloned().collect(),
        baseless,
        tasks,
        scheduled,
    })
}

async fn subjects(store: &Store, stream: &str, filter: &str) -> Option<BTreeSet<String>> {
    match store.broker().subjects(stream, filter).await {
        Ok(subjects) => Some(subjects),
        Err(error) => {
            tracing::debug!(stream, filter, %error, "subjects not listed; trying again");
            store.clock().sleep(Backoff::MAX).await;
            None
        }
    }
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
        store.clock().sleep(Backoff::MAX).await;
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
            store.clock().sleep(Backoff::MAX).await;
            return Err(format!(
                "stream {stream} does not exist: restore it from a backup, or run `everstep provision` to begin anew"
            ));
        }
        Err(error) => {
            store.clock().sleep(Backoff::MAX).await;
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
            store.clock().sleep(Backoff::MAX).await;
            Err(error.to_string())
        }
    }
}
