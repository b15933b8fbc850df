//! One restart for many: behaviours that kill their server wait for each other, since starting a cluster takes seconds.

use std::sync::{Arc, Mutex, MutexGuard};

use everstep_common::ports::{Broker, Clock};
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::Notify;

use super::{Nodes, Server};

/// A server that is restarted once every behaviour on it has either asked for it or ended.
pub(super) struct Together {
    server: Arc<dyn Server>,
    meeting: Mutex<Meeting>,
    changed: Notify,
}

struct Meeting {
    /// Behaviours that have not ended.
    active: usize,
    /// Those that wait for the restart.
    waiting: usize,
    /// Whether one of them is at it.
    restarting: bool,
    /// Restarts so far.
    restarts: usize,
}

impl Together {
    /// For so many behaviours, each of which must say when it has [`ended`](Self::ended).
    pub(super) fn new(server: Arc<dyn Server>, active: usize) -> Self {
        let meeting = Meeting {
            active,
            waiting: 0,
            restarting: false,
            restarts: 0,
        };
        Self {
            server,
            meeting: Mutex::new(meeting),
            changed: Notify::new(),
        }
    }

    /// One behaviour asks for nothing any more.
    pub(super) fn ended(&self) {
        self.meeting().active -= 1;
        self.changed.notify_waiters();
    }

    async fn restart_together(&self) -> anyhow::Result<()> {
        let before = self.meeting().arrive();
        self.changed.notify_waiters();
        loop {
            let changed = self.changed.notified();
            if self.meeting().restarts > before {
                return Ok(());
            }
            if self.meeting().may_begin() {
                let result = self.server.restart().await;
                self.meeting().end();
                self.changed.notify_waiters();
                return result;
            }
            changed.await;
        }
    }

    fn meeting(&self) -> MutexGuard<'_, Meeting> {
        self.meeting.lock().expect("nothing panics while it is held")
    }
}

impl Meeting {
    fn arrive(&mut self) -> usize {
        self.waiting += 1;
        self.restarts
    }

    fn may_begin(&mut self) -> bool {
        let all_are_here = !self.restarting && self.waiting >= self.active;
        self.restarting |= all_are_here;
        all_are_here
    }

    fn end(&mut self) {
        (self.waiting, self.restarting) = (0, false);
        self.restarts += 1;
    }
}

impl Server for Together {
    fn nodes(&self) -> Nodes {
        self.server.nodes()
    }

    fn clock(&self) -> Arc<dyn Clock> {
        self.server.clock()
    }

    fn connect(&self, name: &str) -> BoxFuture<'_, anyhow::Result<Arc<dyn Broker>>> {
        self.server.connect(name)
    }

    fn restart(&self) -> BoxFuture<'_, anyhow::Result<()>> {
        self.restart_together().boxed()
    }

    fn delete_stream(&self, name: &str) -> BoxFuture<'_, anyhow::Result<()>> {
        self.server.delete_stream(name)
    }
}
