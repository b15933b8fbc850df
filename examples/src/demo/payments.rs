//! A payment service over TCP, and the client that functions use.
//!
//! One line asks (`<idempotency key> <cents>`), one line answers (the charge's id). The service charges once per key and tells the
//! story of every request before it answers, so that the story can let a worker die in between: the worst moment there is.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

use everstep::StepError;
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};

use crate::order::{Charge, PaymentService};

/// A request that the service has booked and not yet answered.
#[derive(Debug)]
pub(super) struct Booked {
    /// What was charged, or had been before.
    pub(super) charge: Charge,
    /// Under which idempotency key.
    pub(super) key: String,
    /// Whether the key was new, and money moved.
    pub(super) is_new: bool,
    /// The answer goes out when this is sent or dropped.
    pub(super) answer: oneshot::Sender<()>,
}

/// What the service did.
#[derive(Clone, Debug, Default)]
pub(super) struct Ledger {
    /// The charge and the number of requests, by idempotency key.
    by_key: BTreeMap<String, (Charge, usize)>,
}

impl Ledger {
    /// How often money moved.
    pub(super) fn charges(&self) -> usize {
        self.by_key.len()
    }

    /// How often the service was asked to move it.
    pub(super) fn requests(&self) -> usize {
        self.by_key.values().map(|(_, requests)| requests).sum()
    }

    fn book(&mut self, key: &str, total: u64) -> (Charge, bool) {
        let id = format!("ch_{}", self.by_key.len() + 1);
        let (charge, requests) = self.by_key.entry(key.to_owned()).or_insert_with(|| (Charge { id, total }, 0));
        *requests += 1;
        (charge.clone(), *requests == 1)
    }
}

/// The running service.
#[derive(Debug)]
pub(super) struct Service {
    /// Where it listens.
    pub(super) address: String,
    /// What it did so far.
    ledger: Arc<Mutex<Ledger>>,
    /// Every request, in order.
    booked: mpsc::Receiver<Booked>,
}

impl Service {
    /// Listens on a loopback port until the runtime ends.
    pub(super) async fn start() -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?.to_string();
        let ledger = Arc::<Mutex<Ledger>>::default();
        let (tell, booked) = mpsc::channel(16);
        drop(tokio::spawn(serve(listener, ledger.clone(), tell)));
        Ok(Self { address, ledger, booked })
    }

    /// The next request.
    pub(super) async fn booked(&mut self) -> Option<Booked> {
        self.booked.recv().await
    }

    /// What it did so far.
    pub(super) fn ledger(&self) -> Ledger {
        self.ledger.lock().expect("nobody panics with the ledger in hand").clone()
    }
}

async fn serve(listener: TcpListener, ledger: Arc<Mutex<Ledger>>, tell: mpsc::Sender<Booked>) {
    while let Ok((socket, _)) = listener.accept().await {
        let (ledger, tell) = (ledger.clone(), tell.clone());
        // A client that died is no trouble of the service's.
        drop(tokio::spawn(async move { drop(answer(socket, &ledger, &tell).await) }));
    }
}

async fn answer(mut socket: TcpStream, ledger: &Mutex<Ledger>, tell: &mpsc::Sender<Booked>) -> io::Result<()> {
    let mut request = String::new();
    BufReader::new(&mut socket).read_line(&mut request).await?;
    let malformed = || io::Error::from(io::ErrorKind::InvalidData);
    let (key, total) = request.trim_end().split_once(' ').ok_or_else(malformed)?;
    let total = total.parse().map_err(|_| malformed())?;
    let (charge, is_new) = ledger.lock().expect("nobody panics with the ledger in hand").book(key, total);
    let reply = format!("{}\n", charge.id);
    let (answer, may_answer) = oneshot::channel();
    let key = key.to_owned();
    let booked = Booked {
        charge,
        key,
        is_new,
        answer,
    };
    if tell.send(booked).await.is_ok() {
        // Dropped means the same as sent.
        let _ = may_answer.await;
    }
    socket.write_all(reply.as_bytes()).await
}

/// The payment service as a worker reaches it.
#[derive(Debug)]
pub(super) struct Remote {
    address: String,
}

impl Remote {
    pub(super) fn new(address: String) -> Self {
        Self { address }
    }

    async fn ask(&self, total: u64, key: &str) -> io::Result<String> {
        let mut socket = TcpStream::connect(&self.address).await?;
        socket.write_all(format!("{key} {total}\n").as_bytes()).await?;
        let mut reply = String::new();
        BufReader::new(socket).read_line(&mut reply).await?;
        match reply.strip_suffix('\n') {
            Some(id) => Ok(id.to_owned()),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

impl PaymentService for Remote {
    fn charge<'a>(&'a self, total: u64, idempotency_key: &'a str) -> BoxFuture<'a, Result<Charge, StepError>> {
        async move {
            let id = self.ask(total, idempotency_key).await.map_err(StepError::retryable)?;
            Ok(Charge { id, total })
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_key_is_charged_once_however_often_it_is_asked_for() {
        let mut service = Service::start().await.unwrap();
        let remote = Remote::new(service.address.clone());
        let ask = async { (remote.charge(5, "a").await.unwrap(), remote.charge(5, "a").await.unwrap()) };
        let watch = async {
            let first = service.booked().await.unwrap().is_new;
            (first, service.booked().await.unwrap().is_new)
        };
        let ((one, two), told) = futures::join!(ask, watch);
        assert_eq!((one, told), (two, (true, false)));
        let ledger = service.ledger();
        assert_eq!((ledger.charges(), ledger.requests()), (1, 2));
    }
}
