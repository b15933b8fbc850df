//! The waker at the root of a run's future.
//!
//! Everything that may wake a workflow comes from applying an entry, on the run's own thread. A wake from elsewhere means
//! that the workflow awaits something that is in no journal; replay could not repeat it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Wake, Waker};
use std::thread::{self, ThreadId};

/// Remembers wakes, and tells those that an entry caused from foreign ones.
pub(crate) struct Root {
    thread: ThreadId,
    /// An entry is being applied.
    driving: AtomicBool,
    /// The future is to be polled again.
    woken: AtomicBool,
    /// Woken by something other than an entry; never reset.
    foreign: AtomicBool,
}

impl Root {
    /// A root for a run that is driven on this thread.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            thread: thread::current().id(),
            driving: AtomicBool::new(false),
            woken: AtomicBool::new(false),
            foreign: AtomicBool::new(false),
        })
    }

    /// From here to the drop of what it returns, wakes on this thread are the run's own.
    pub(crate) fn drive(self: &Arc<Self>) -> Driving {
        self.driving.store(true, Ordering::Relaxed);
        Driving(self.clone())
    }

    /// Whether it was woken since the last call.
    pub(crate) fn take_woken(&self) -> bool {
        self.woken.swap(false, Ordering::Relaxed)
    }

    /// Whether something foreign ever woke it.
    pub(crate) fn is_foreign(&self) -> bool {
        self.foreign.load(Ordering::Acquire)
    }

    /// The same as a task waker.
    pub(crate) fn waker(self: &Arc<Self>) -> Waker {
        Waker::from(self.clone())
    }
}

impl Wake for Root {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let own = self.driving.load(Ordering::Relaxed) && thread::current().id() == self.thread;
        if own {
            self.woken.store(true, Ordering::Relaxed);
        } else {
            self.foreign.store(true, Ordering::Release);
        }
    }
}

/// Ends the driving when dropped, also by a panic.
pub(crate) struct Driving(Arc<Root>);

impl Drop for Driving {
    fn drop(&mut self) {
        self.0.driving.store(false, Ordering::Relaxed);
    }
}
