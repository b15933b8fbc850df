//! Publishing what workflows emit, off the partition's thread, like a closure.

use bytes::Bytes;
use everstep_common::event::{EventName, NewEvent};
use everstep_common::failure::{Failure, FailureKind};
use everstep_common::ids::RunId;
use everstep_common::journal::LocalKind;
use everstep_common::key::StepKey;
use everstep_common::limits::EVENT_BYTES_MAX;
use everstep_common::store::Store;
use everstep_common::wire;
use futures::FutureExt;

use super::Partition;
use super::closures::Work;
use super::drive::Origin;
use super::sessions::AWAY_MAX;

impl Partition {
    /// The entry stays open until the result is recorded: nothing else brings it back after a crash.
    pub(super) fn run_emit(&mut self, run: RunId, key: StepKey, event: EventName, data: Bytes, origin: &Origin) {
        let about = self.slots.live(&run).map(|live| &live.about);
        let traceparent = about.and_then(|about| about.traceparent.clone());
        let (store, of, step) = (self.store.clone(), run.clone(), key.clone());
        let work = Work {
            kind: LocalKind::Emit,
            closure: Box::new(move || {
                async move {
                    let event = new_event(&of, &step, event, &data, traceparent)?;
                    emit(&store, &of, &step, &event).await
                }
                .boxed()
            }),
            timeout: Some(AWAY_MAX),
        };
        self.run_closure(run, key, work, origin);
    }
}

/// The event under its idempotency key.
fn new_event(run: &RunId, key: &StepKey, name: EventName, data: &[u8], traceparent: Option<String>) -> Result<NewEvent, Failure> {
    let invalid = |message: String| Failure::new(FailureKind::Invalid, message);
    let data: serde_json::Value = wire::decode_value(data)
        .map_err(|error| invalid(format!("the data of event {name} cannot be written as JSON: {error}")))?;
    let bytes = data.to_string().len();
    if bytes > EVENT_BYTES_MAX {
        return Err(invalid(format!(
            "the data of event {name} has {bytes} bytes, and {EVENT_BYTES_MAX} at most; put it into a store of your own and emit its name"
        )));
    }
    Ok(NewEvent {
        name,
        id: format!("{run}/{}", key.token()),
        source: "everstep/run".to_owned(),
        data,
        traceparent,
    })
}

async fn emit(store: &Store, run: &RunId, key: &StepKey, event: &NewEvent) -> Result<Bytes, Failure> {
    let emitted = store.emit_once(run, key, event).await;
    emitted.map_err(|error| Failure::new(FailureKind::Fatal, error.to_string()))?;
    wire::encode_value(&()).map_err(|error| Failure::new(FailureKind::Invalid, error.to_string()))
}
