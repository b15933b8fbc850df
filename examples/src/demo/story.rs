//! What happens in the demo, in order: the run is started, a worker dies after it has charged and before anyone knows, the orchestrator
//! dies while the run sleeps, and the run completes.

use std::time::Duration;

use everstep::journal::{Entry, EntryKey, JournalEntry, RunOutcome};
use everstep::{Client, DevServer, RunId};
use futures::StreamExt;
use futures::stream::BoxStream;

use super::Error;
use super::payments::{Booked, Service};
use super::process::Process;
use super::screen::Screen;
use crate::order::order_workflow;

/// After how long the task of a dead worker is handed to another one.
pub(super) const ACK_WAIT: Duration = Duration::from_secs(2);

/// Longer than any pause of a healthy demo, on a slow machine too.
const SILENCE_MAX: Duration = Duration::from_secs(20);

/// Everything that plays a part.
struct Stage<'a> {
    screen: &'a Screen,
    server: &'a DevServer,
    client: Client,
    payments: Service,
    worker: Process,
    orchestrator: Process,
    /// The journal shows that the charge is attempted once more.
    is_redelivered: bool,
    /// The request of that attempt.
    asked_again: Option<Booked>,
}

/// What can happen next.
enum Happened {
    /// The payment service was asked.
    Booked(Booked),
    /// The journal has grown.
    Entry(Box<JournalEntry>),
}

/// Plays it all.
pub(super) async fn tell(screen: &Screen, server: &DevServer) -> Result<(), Error> {
    let mut stage = Stage::set(screen, server).await?;
    let run = stage
        .client
        .start(order_workflow, "order-1001".to_owned())
        .key("order-1001")
        .await?;
    let run = run.id().clone();
    screen.say(format_args!("run {run} is started; its journal:"));
    stage.play(&run).await?;
    stage.close(&run)
}

impl<'a> Stage<'a> {
    async fn set(screen: &'a Screen, server: &'a DevServer) -> Result<Self, Error> {
        let client = Client::connect_to(server.connect(), server.prefix().clone()).await?;
        screen.say(format_args!(
            "nats-server is up at {}, and syncs every write to the disk",
            server.connect().servers.join(",")
        ));
        let payments = Service::start().await.map_err(|source| Error::System {
            what: "starting the payment service",
            source,
        })?;
        let orchestrator = Process::start("orchestrator", server, &payments.address)?;
        let worker = Process::start("worker", server, &payments.address)?;
        screen.say(format_args!(
            "orchestrator (process {}) and worker (process {}) start",
            orchestrator.id, worker.id
        ));
        Ok(Self {
            screen,
            server,
            client,
            payments,
            worker,
            orchestrator,
            is_redelivered: false,
            asked_again: None,
        })
    }

    async fn play(&mut self, run: &RunId) -> Result<(), Error> {
        let mut journal = self.client.tail(run);
        loop {
            match self.next(&mut journal).await? {
                Happened::Booked(booked) => self.booked(booked).await?,
                Happened::Entry(entry) => {
                    self.screen.entry(&self.client, run, &entry).await?;
                    match entry.entry {
                        Entry::Begun(_) | Entry::Try(_) => {
                            self.is_redelivered = true;
                            self.answer_again();
                        }
                        Entry::End(ended) if matches!(ended.outcome, RunOutcome::Completed(_)) => return Ok(()),
                        Entry::End(_) => return Err(Error::Incomplete),
                        _ if is_charge(&entry.key) => self.kill_orchestrator().await?,
                        _ => {}
                    }
                }
            }
        }
    }

    async fn next(
        &mut self,
        journal: &mut BoxStream<'static, Result<JournalEntry, everstep::ClientError>>,
    ) -> Result<Happened, Error> {
        let next = async {
            tokio::select! {
                Some(booked) = self.payments.booked() => Ok(Happened::Booked(booked)),
                entry = journal.next() => Ok(Happened::Entry(Box::new(entry.ok_or(Error::Untold)??))),
            }
        };
        let happened = tokio::time::timeout(SILENCE_MAX, next).await;
        happened.unwrap_or(Err(Error::Stuck { after: SILENCE_MAX }))
    }

    /// The payment service has charged and its answer is held back: now the worker that asked dies, if it is the first. What is asked
    /// again is told when the journal has told why, which reaches us by another way.
    async fn booked(&mut self, booked: Booked) -> Result<(), Error> {
        if booked.is_new {
            let (charge, key) = (&booked.charge, &booked.key);
            self.screen.say(format_args!(
                "payment service: charged {:.2} as {} for key {key}",
                charge.total as f64 / 100.0,
                charge.id
            ));
            return self.kill_worker().await;
        }
        self.asked_again = Some(booked);
        self.answer_again();
        Ok(())
    }

    fn answer_again(&mut self) {
        if !self.is_redelivered {
            return;
        }
        if let Some(Booked { charge, answer, .. }) = self.asked_again.take() {
            let id = charge.id;
            self.screen.say(format_args!(
                "payment service: asked again with the same key; answers {id}, charges nothing"
            ));
            drop(answer);
        }
    }

    async fn kill_worker(&mut self) -> Result<(), Error> {
        kill(self.screen, &mut self.worker, "it has charged, and nobody knows").await?;
        self.worker = Process::start("worker", self.server, &self.payments.address)?;
        self.started(&self.worker);
        self.screen.say(format_args!(
            "nobody answers for the task any more: after {} s the server hands it out again",
            ACK_WAIT.as_secs()
        ));
        Ok(())
    }

    async fn kill_orchestrator(&mut self) -> Result<(), Error> {
        kill(self.screen, &mut self.orchestrator, "the run sleeps, and nobody drives it").await?;
        self.orchestrator = Process::start("orchestrator", self.server, &self.payments.address)?;
        self.started(&self.orchestrator);
        Ok(())
    }

    fn started(&self, process: &Process) {
        self.screen
            .say(format_args!("another {} (process {}) starts", process.role, process.id));
    }

    fn close(self, run: &RunId) -> Result<(), Error> {
        let ledger = self.payments.ledger();
        let charges = ledger.charges();
        self.screen.close(&[
            format!("Run {run} completed; one worker and one orchestrator were killed."),
            format!(
                "The payment service was asked {} times, always with the same idempotency key, and charged {}.",
                ledger.requests(),
                if charges == 1 {
                    "once".to_owned()
                } else {
                    format!("{charges} times")
                }
            ),
        ]);
        if charges == 1 {
            Ok(())
        } else {
            Err(Error::Charged { charges })
        }
    }
}

async fn kill(screen: &Screen, process: &mut Process, meanwhile: &str) -> Result<(), Error> {
    process.kill().await?;
    screen.stress(format_args!(
        "kill -9 {}: the {} is dead; {meanwhile}",
        process.id, process.role
    ));
    Ok(())
}

fn is_charge(key: &EntryKey) -> bool {
    matches!(key, EntryKey::Step(step) if step.token() == "charge_customer")
}
