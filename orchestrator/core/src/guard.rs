//! Runs user code and turns a panic into a message.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What `act` returns, or what its panic says.
///
/// The caller must not go on with what `act` was working on: it may be half done.
pub(crate) fn guarded<R>(act: impl FnOnce() -> R) -> Result<R, String> {
    catch_unwind(AssertUnwindSafe(act)).map_err(message_of)
}

fn message_of(payload: Box<dyn Any + Send>) -> String {
    let message = match payload.downcast_ref::<&str>() {
        Some(text) => (*text).to_owned(),
        None => payload
            .downcast_ref::<String>()
            .cloned()
            .unwrap_or_else(|| "a panic without a message".to_owned()),
    };
    // The payload is a user's value too, and its drop may panic again; then the second payload is leaked, not dropped.
    if let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        std::mem::forget(second);
    }
    message
}
