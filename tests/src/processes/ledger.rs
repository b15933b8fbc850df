//! A ledger over TCP: what the outside world of a workflow would be. It books once per idempotency key and remembers every request.
//!
//! One line asks (`<function> <idempotency key>`), one line answers (`booked` or `known`).

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// Requests by idempotency key: the function that asked, and how often.
type Requests = BTreeMap<String, (String, usize)>;

/// The running ledger.
#[derive(Debug)]
pub struct Ledger {
    address: SocketAddr,
    requests: Arc<Mutex<Requests>>,
}

impl Ledger {
    /// Listens on a free loopback port.
    pub async fn start() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let ledger = Self {
            address: listener.local_addr()?,
            requests: Arc::default(),
        };
        let requests = ledger.requests.clone();
        drop(tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                drop(tokio::spawn(serve(connection, requests.clone())));
            }
        }));
        Ok(ledger)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many mutations there were: keys, for each is booked once.
    pub fn mutations(&self) -> usize {
        self.lock().len()
    }

    /// The mutations that `function` asked for.
    pub fn mutations_of(&self, function: &str) -> usize {
        self.lock().values().filter(|(of, _)| of == function).count()
    }

    /// How often anything was asked for, repetitions included.
    pub fn requests(&self) -> usize {
        self.lock().values().map(|(_, count)| count).sum()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Requests> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn serve(connection: TcpStream, requests: Arc<Mutex<Requests>>) -> io::Result<()> {
    let (read, mut write) = connection.into_split();
    let mut lines = BufReader::new(read).lines();
    while let Some(line) = lines.next_line().await? {
        let Some((function, key)) = line.split_once(' ') else {
            continue;
        };
        let known = {
            let mut requests = requests.lock().unwrap_or_else(PoisonError::into_inner);
            let (_, count) = requests.entry(key.to_owned()).or_insert_with(|| (function.to_owned(), 0));
            *count += 1;
            *count > 1
        };
        write.write_all(if known { b"known\n" } else { b"booked\n" }).await?;
    }
    Ok(())
}

/// Asks the ledger to book under a key; once, however often it is asked.
pub(super) async fn book(address: SocketAddr, function: &str, key: &str) -> io::Result<()> {
    let mut connection = TcpStream::connect(address).await?;
    connection.write_all(format!("{function} {key}\n").as_bytes()).await?;
    let mut answer = String::new();
    let read = BufReader::new(connection).read_line(&mut answer).await?;
    if read == 0 {
        Err(io::ErrorKind::UnexpectedEof.into())
    } else {
        Ok(())
    }
}
