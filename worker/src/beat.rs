//! What happens to held tasks by the clock: they are kept, checked and stopped in time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use everstep_common::ids::Partition;
use everstep_common::journal::EntryKey;
use everstep_common::limits::READ_SUBJECTS_MAX;
use everstep_common::ports::GetLast;

use crate::execution::{Execution, Stage};
use crate::options::BEATS_PER_ACK_WAIT;
use crate::perform;
use crate::worker::{Shared, first};

/// Keeps every held task from being delivered again.
pub(crate) async fn beats(shared: Arc<Shared>) {
    loop {
        shared.sleep(period(&shared)).await;
        shared
            .held
            .all()
            .iter()
            .for_each(|execution| execution.holding().in_progress());
    }
}

/// Cancels what has an outcome already: somebody else's, or the end of its run.
///
/// Apart from [`beats`], so that a server that does not answer reads delays no acknowledgement.
pub(crate) async fn checks(shared: Arc<Shared>) {
    loop {
        shared.sleep(period(&shared)).await;
        let mut partitions: BTreeMap<Partition, Vec<Arc<Execution>>> = BTreeMap::new();
        for execution in shared.held.all() {
            if execution.stage() == Stage::Running {
                partitions.entry(execution.task.run.partition()).or_default().push(execution);
            }
        }
        for (partition, executions) in partitions {
            for some in executions.chunks(READ_SUBJECTS_MAX / OUTCOMES) {
                check(&shared, partition, some).await;
            }
        }
    }
}

/// Stops what has run out of time, and announces what takes some.
pub(crate) async fn alarms(shared: Arc<Shared>) {
    loop {
        let now = shared.store.clock().now();
        let (to_announce, next) = shared.held.ring(now);
        for execution in to_announce {
            shared.runtime.spawn(perform::announce(shared.clone(), execution));
        }
        match next {
            Some(at) => first(shared.held.sooner(), shared.sleep(at.since(now))).await,
            None => shared.held.sooner().await,
        }
    }
}

fn period(shared: &Shared) -> Duration {
    shared.store.deployment().task_ack_wait() / BEATS_PER_ACK_WAIT
}

/// How many entries end an execution: the step's outcome, the failure of the attempt, the end of the run.
const OUTCOMES: usize = 3;

/// One read for many tasks. It may miss what was written a moment ago; the next one will not.
async fn check(shared: &Shared, partition: Partition, executions: &[Arc<Execution>]) {
    let names = shared.store.names();
    let outcomes = |execution: &Execution| {
        let (run, key) = (&execution.task.run, execution.task.key.clone());
        let attempt = EntryKey::Try(key.clone(), execution.task.attempt);
        [EntryKey::Step(key), attempt, EntryKey::End].map(|key| names.entry(run, &key))
    };
    let subjects: Vec<_> = executions.iter().flat_map(|execution| outcomes(execution)).collect();
    // Steps of one run share its end, and a subject may be asked for once only.
    let unique: BTreeSet<_> = subjects.iter().cloned().collect();
    let request = GetLast {
        stream: names.journal_stream(partition),
        subjects: unique.into_iter().collect(),
        up_to: None,
        leader: false,
    };
    let Ok(snapshot) = shared.store.broker().get_last(request).await else {
        return;
    };
    let recorded: BTreeSet<&str> = snapshot.messages.iter().map(|message| message.subject.as_str()).collect();
    for (execution, outcomes) in executions.iter().zip(subjects.chunks(OUTCOMES)) {
        if outcomes.iter().any(|subject| recorded.contains(subject.as_str())) {
            execution.note_over();
            shared.cancel(execution);
        }
    }
}
