//! Looking whether task streams still stand, and who runs what of those that do not.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use everstep_common::ids::{QueueName, RunId};
use everstep_common::key::StepKey;
use everstep_common::store::Store;
use everstep_common::wire;

use super::effect::Performer;

/// How long workers have to say what they run.
const ANSWER_WITHIN: Duration = Duration::from_millis(250);

/// A task stream that was lost and has been made ready again.
#[derive(Debug)]
pub(crate) struct Lost {
    /// Which queue.
    pub queue: QueueName,
    /// Its steps that workers say they still run.
    pub running: BTreeSet<(RunId, StepKey)>,
}

/// Compares each queue's mark with the one known; those that differ are made ready again.
pub(crate) async fn check(performer: &Performer, known: BTreeMap<QueueName, Option<String>>) -> Vec<Lost> {
    let mut lost = Vec::new();
    for (queue, known) in known {
        let mark = match performer.store.read_mark(&queue).await {
            Ok(mark) => mark.map(|mark| mark.incarnation),
            Err(error) => {
                tracing::debug!(%queue, %error, "mark not read; looked at again soon");
                continue;
            }
        };
        if mark.is_some() && (known.is_none() || mark == known) {
            continue;
        }
        performer.queues.forget(&queue);
        // One that cannot be made ready is lost still at the next look; the others are not kept waiting for it.
        if !performer.queues.try_make_ready(&queue).await {
            continue;
        }
        let running = ask_running(&performer.store, &queue).await;
        lost.push(Lost { queue, running });
    }
    lost
}

/// What the workers of a queue say they run.
pub(crate) async fn ask_running(store: &Store, queue: &QueueName) -> BTreeSet<(RunId, StepKey)> {
    let answers = store
        .broker()
        .ask(&store.names().running(queue), Bytes::new(), ANSWER_WITHIN)
        .await;
    let lists = answers
        .iter()
        .filter_map(|answer| wire::decode::<Vec<(RunId, StepKey, u32)>>(&answer.payload).ok());
    lists.flatten().map(|(run, key, _attempt)| (run, key)).collect()
}
