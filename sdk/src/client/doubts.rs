//! The moments at which a push may have been lost, so that what it would have told has to be looked for.

use std::time::Duration;

use everstep_common::ports::ConnectionEvent;
use everstep_common::store::Store;
use futures::stream::{self, BoxStream, StreamExt};

/// After how long a look is repeated: a leader that was deposed was seen to answer for eight seconds, as if nothing had come since.
const AGAIN_AFTER: Duration = Duration::from_secs(10);

/// Yields when the connection came back, and some time later once more; and once some time from now. Listens from the call on.
pub(super) fn doubts(store: &Store) -> BoxStream<'static, ()> {
    let clock = store.clock().clone();
    let reconnects = store
        .broker()
        .connection_events()
        .filter_map(|event| std::future::ready(matches!(event, ConnectionEvent::Reconnected).then_some(())));
    let at_once = reconnects.map(move |()| {
        let again = clock.sleep(AGAIN_AFTER);
        stream::once(std::future::ready(())).chain(stream::once(again)).boxed()
    });
    let later = stream::once(store.clock().sleep(AGAIN_AFTER)).boxed();
    stream::once(std::future::ready(later))
        .chain(at_once)
        .flatten_unordered(None)
        .boxed()
}
