//! The events of one name as a partition follows them.

use everstep_common::event::EventName;
use everstep_common::ports::{Followed, From};
use everstep_common::store::{Backoff, Store};
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use jiff::Timestamp;

/// What following events brings.
#[derive(Debug)]
pub(crate) enum Heard {
    /// It begins, in the stream that was created then.
    Opened(Timestamp),
    /// What the stream brings.
    Followed(Followed),
}

/// The events of that name from `from` on.
pub(super) fn follow(store: &Store, event: &EventName, from: Timestamp) -> BoxStream<'static, Heard> {
    let (store, subject) = (store.clone(), store.names().event(event));
    let opening = async move {
        let name = store.names().event_stream();
        let created = created(&store, &name).await;
        let followed = store.broker().follow(&name, &subject, From::Time(from));
        stream::once(std::future::ready(Heard::Opened(created))).chain(followed.map(Heard::Followed))
    };
    stream::once(opening).flatten().boxed()
}

/// When the stream was created; waits as long as it is not there.
async fn created(store: &Store, stream: &str) -> Timestamp {
    let mut backoff = Backoff::new();
    loop {
        match store.broker().stream_info(stream).await {
            Ok(Some(info)) => return info.created,
            Ok(None) => tracing::debug!(stream, "there is no stream of events yet"),
            Err(error) => tracing::debug!(%error, "the stream of events was not looked at yet"),
        }
        store.clock().sleep(backoff.delay()).await;
    }
}
