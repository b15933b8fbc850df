//! Says in KV `triggers` what the code of this process listens to.
//!
//! The newest version that ever spoke counts: an older one that is started beside it (in a rolling deploy, or after one was taken back)
//! changes nothing. Of one version the process that was started last counts.

use everstep_common::ids::{ProcessId, WorkflowName};
use everstep_common::limits::LISTENING_WORKFLOWS_MAX;
use everstep_common::ports::ReadError;
use everstep_common::store::{PutError, Store, TriggerError};
use everstep_common::trigger::Trigger;
use everstep_common::trigger::registration::Registration;

use super::{Complaint, PAUSE};
use crate::workflows::Workflows;

/// What this process has to say.
#[derive(Clone)]
pub(super) struct Registrar {
    process: ProcessId,
    /// The newest version of each workflow here, and what it listens to.
    code: Vec<(WorkflowName, u32, Vec<Trigger>)>,
}

/// When something is said.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Occasion {
    /// This process has been started.
    Start,
    /// It has begun to route. What somebody had forgotten meanwhile stays so.
    TakeOver,
}

impl Registrar {
    pub(super) fn new(process: ProcessId, workflows: &Workflows) -> Self {
        let newest = workflows.list().filter_map(|(name, _)| {
            let definition = workflows.find(name, None)?;
            Some((name.clone(), definition.version, definition.triggers.clone()))
        });
        Self {
            process,
            code: newest.collect(),
        }
    }

    /// Says it, however long that takes.
    pub(super) async fn run(self, store: &Store) {
        self.say(store, Occasion::Start).await;
    }

    /// Says again what is not on record at all: the records may have been lost since.
    pub(super) async fn run_again(self, store: &Store) {
        self.say(store, Occasion::TakeOver).await;
    }

    async fn say(&self, store: &Store, occasion: Occasion) {
        let mut complaint = Complaint::default();
        while let Err(error) = self.register(store, occasion).await {
            // Somebody else has just written the same: look again at once.
            if !matches!(
                error,
                TriggerError::Write {
                    source: PutError::Conflict,
                    ..
                }
            ) {
                complaint.tell("triggers are not registered", &error, store.clock().now());
                store.clock().sleep(PAUSE).await;
            }
        }
    }

    async fn register(&self, store: &Store, occasion: Occasion) -> Result<(), TriggerError> {
        let records = store.trigger_records().await?;
        let standing = &records.registrations;
        let mut last = None;
        for (workflow, version, triggers) in &self.code {
            if records.is_unreadable(workflow) {
                tracing::error!(%workflow, "what it listens to is on record in a form that is not understood here, and stays so");
                continue;
            }
            let found = standing.iter().find(|kept| kept.value.workflow == *workflow);
            let before = found.map(|kept| &kept.value);
            let is_news = match before {
                None => !triggers.is_empty(),
                Some(before) => occasion == Occasion::Start && before.version <= *version,
            };
            if !is_news {
                continue;
            }
            if found.is_none() && standing.len() >= LISTENING_WORKFLOWS_MAX {
                tracing::error!(%workflow, "more than {LISTENING_WORKFLOWS_MAX} workflows listen already; this one does not");
                continue;
            }
            let last = match last {
                Some(last) => last,
                None => *last.insert(last_event(store).await?),
            };
            let registration = Registration::renewed(before, workflow.clone(), *version, triggers, last, self.process.clone());
            if before.is_none_or(|before| !before.says_the_same(&registration)) {
                store
                    .put_registration(&registration, found.map_or(0, |kept| kept.revision))
                    .await?;
                tracing::info!(%workflow, version, triggers = triggers.len(), "triggers registered");
            }
        }
        Ok(())
    }
}

/// The last event that there is.
async fn last_event(store: &Store) -> Result<u64, TriggerError> {
    let info = store.broker().stream_info(&store.names().event_stream()).await;
    let info = info.map_err(TriggerError::Read)?;
    Ok(info.ok_or(TriggerError::Read(ReadError::NoStream))?.last_sequence)
}
