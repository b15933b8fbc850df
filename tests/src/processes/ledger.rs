//! A ledger over TCP: what the outside world of a workflow would be. It books once per idempotency key and remembers every request.
//!
//! One line asks (`<function> <idempotency key>`), one line answers (`booked` or `known`). Who says `hold <name>` is at work under that name
//! for as long as the connection stands, which ends with a process however it ends.

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
    presence: Presence,
}

/// How many are at work under a name, and how many ever were at a time.
type Presence = Arc<Mutex<BTreeMap<String, (usize, usize)>>>;

impl Ledger {
    /// Listens on a free loopback port.
    pub async fn start() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let ledger = Self {
            address: listener.local_addr()?,
            requests: Arc::default(),
            presence: Arc::default(),
        };
        let (requests, presence) = (ledger.requests.clone(), ledger.presence.clone());
        drop(tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                drop(tokio::spawn(serve(connection, requests.clone(), presence.clone())));
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

    /// How many were at work under a name at a time, at most.
    pub fn most_at_work(&self, name: &str) -> usize {
        let presence = self.presence.lock().unwrap_or_else(PoisonError::into_inner);
        presence.get(name).map_or(0, |(_, most)| *most)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Requests> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody at work, until it is dropped.
struct Present(Presence, String);

impl Present {
    fn new(presence: Presence, name: &str) -> Self {
        let mut names = presence.lock().unwrap_or_else(PoisonError::into_inner);
        let (now, most) = names.entry(name.to_owned()).or_default();
        *now += 1;
        *most = (*most).max(*now);
        drop(names);
        Self(presence, name.to_owned())
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((now, _)) = names.get_mut(&self.1) {
            *now -= 1;
        }
    }
}

async fn serve(connection: TcpStream, requests: Arc<Mutex<Requests>>, presence: Presence) -> io::Result<()> {
    let mut present = Vec::new();
    let (read, mut write) = connection.into_split();
    let mut lines = BufReader::new(read).lines();
    while let Some(line) = lines.next_line().await? {
        let Some((function, key)) = line.split_once(' ') else {
            continue;
        };
        if function == "hold" {
            present.push(Present::new(presence.clone(), key));
            write.write_all(b"held\n").await?;
            continue;
        }
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
    ask(address, function, key).await.map(drop)
}

/// At work under a name, for as long as what it returns is kept.
pub(super) async fn hold(address: SocketAddr, name: &str) -> io::Result<impl Send + Sync> {
    ask(address, "hold", name).await
}

async fn ask(address: SocketAddr, what: &str, of: &str) -> io::Result<BufReader<TcpStream>> {
    let mut connection = TcpStream::connect(address).await?;
    connection.write_all(format!("{what} {of}\n").as_bytes()).await?;
    let mut connection = BufReader::new(connection);
    let mut answer = String::new();
    if connection.read_line(&mut answer).await? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(connection)
}
