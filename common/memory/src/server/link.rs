//! The way from a client's call to the server and back: what a [`crate::MemoryBroker`] and its pullers hold.

use std::future::pending;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::{BoxFuture, Either, select};
use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, timeout};

use super::client::{Call, ClientId, Life};
use super::state::{Request, State};
use super::wire::{Course, Event, Kind, Work};

/// How long a client waits for an answer before it says that none came.
pub(crate) const ANSWER_WAIT: Duration = Duration::from_secs(5);

/// The simulation and its clock, as everyone in it reaches them.
pub(crate) struct Shared {
    state: Mutex<State>,
    /// Tells the server's task that there is something to do.
    pub(crate) wake: Arc<Notify>,
    /// The runtime whose paused clock is the simulation's; callers may stand outside of it.
    runtime: Handle,
    /// When the simulation began.
    origin: Instant,
}

impl Shared {
    pub(crate) fn new(state: State) -> Self {
        Self {
            state: Mutex::new(state),
            wake: Arc::default(),
            runtime: Handle::current(),
            origin: Instant::now(),
        }
    }

    /// Since the simulation began.
    pub(crate) fn elapsed(&self) -> Duration {
        let _entered = self.runtime.enter();
        self.origin.elapsed()
    }

    /// The simulation's beginning on tokio's clock.
    pub(crate) fn origin(&self) -> Instant {
        self.origin
    }

    /// Does something to the simulation and lets the server see to what follows.
    pub(crate) fn enter<R>(&self, action: impl FnOnce(&mut State) -> R) -> R {
        let now = self.elapsed();
        let result = {
            let mut state = self
                .state
                .lock()
                .expect("a hook or an assertion of the simulation has panicked");
            state.now = now;
            action(&mut state)
        };
        self.wake.notify_one();
        result
    }

    /// Lets everything happen that is due; when there is more to do.
    pub(crate) fn step(&self) -> Option<Instant> {
        let now = self.elapsed();
        let next = self
            .state
            .lock()
            .expect("a hook or an assertion of the simulation has panicked")
            .step(now);
        next.map(|at| self.origin + at)
    }
}

/// One client's end of the connection.
#[derive(Clone)]
pub(crate) struct Link {
    pub(crate) shared: Arc<Shared>,
    pub(crate) client: ClientId,
    pub(crate) life: Arc<Life>,
}

impl Link {
    /// Asks the server: `effect` happens when the request arrives, and its result comes back; `unanswered` stands for it if
    /// nothing comes within `wait`. The request is sent now, whatever becomes of the future.
    pub(crate) fn ask<T: Send + 'static>(
        &self,
        (call, kind): (Call, Kind),
        wait: Duration,
        unanswered: T,
        effect: impl FnOnce(&mut State) -> T + Send + 'static,
    ) -> BoxFuture<'static, T> {
        let (sender, receiver) = oneshot::channel();
        let client = self.client;
        self.tell(call, kind, move |state| {
            let answer = effect(state);
            state.answer(client, call, sender, answer);
        });
        self.wait_for(receiver, wait, unanswered)
    }

    /// Sends something that is not answered.
    pub(crate) fn tell(&self, call: Call, kind: Kind, effect: impl FnOnce(&mut State) + Send + 'static) {
        let request = Request {
            client: self.client,
            call,
            kind,
        };
        self.shared.enter(|state| state.send(request, Box::new(effect)));
    }

    /// Sends something again that was lost with the connection; it is no new call.
    pub(crate) fn tell_again(&self, effect: impl FnOnce(&mut State) + Send + 'static) {
        let course = Course::ToServer(Kind::Any);
        let event = Event {
            client: Some(self.client),
            course,
            doomed: false,
            work: Box::new(effect),
        };
        self.shared.enter(|state| state.post(self.client, event));
    }

    /// Waits for what comes back, no longer than the connection lasts; for ever if the client is dead by then.
    fn wait_for<T: Send + 'static>(&self, receiver: oneshot::Receiver<T>, wait: Duration, unanswered: T) -> BoxFuture<'static, T> {
        let life = Arc::clone(&self.life);
        let connections_lost = life.connections_lost();
        Box::pin(async move {
            let answered = pin!(answered(receiver));
            let lost = pin!(life.lost_more_than(connections_lost));
            let answer = match timeout(wait, select(answered, lost)).await {
                Ok(Either::Left((answer, _))) => Some(answer),
                Ok(Either::Right(_)) | Err(_) => None,
            };
            life.go_on().await;
            answer.unwrap_or(unanswered)
        })
    }
}

/// The answer. A sender that is dropped is an answer that was lost: only the deadline tells the client.
async fn answered<T>(receiver: oneshot::Receiver<T>) -> T {
    match receiver.await {
        Ok(answer) => answer,
        Err(_) => pending().await,
    }
}

impl State {
    /// Sends an answer back, unless chance loses it.
    fn answer<T: Send + 'static>(&mut self, client: ClientId, call: Call, sender: oneshot::Sender<T>, answer: T) {
        if self.dice.chance(self.faults.answer_lost) {
            let name = self.name(client).to_owned();
            return self.note(format_args!("{name} is not told of its {call}"));
        }
        let arrive: Work = Box::new(move |state| {
            state.model.settle();
            // Who has stopped waiting need not be told.
            let _ = sender.send(answer);
        });
        self.reply(client, arrive);
    }
}
