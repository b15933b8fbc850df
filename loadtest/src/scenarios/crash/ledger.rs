//! The ledger: the outside world of the crash scenario. It honours idempotency keys, as a receiver must, and counts what it was asked.
//!
//! One line each way: `order booking key` is answered `booked`, `tally` by the tally as JSON.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};

use crate::harness::role::Stage;

/// What the ledger counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Bookings that were asked for: logical steps that took effect.
    pub bookings: u64,
    /// Idempotency keys under which: mutations made.
    pub keys: u64,
    /// Bookings made under more than one key: mutated twice.
    pub doubled: u64,
    /// How often it was asked, repetitions under a known key included.
    pub calls: u64,
}

/// Where the ledger is.
#[derive(Clone, Debug)]
pub struct Ledger {
    socket: PathBuf,
}

impl Ledger {
    /// The ledger that listens at `socket`.
    pub fn at(socket: PathBuf) -> Self {
        Self { socket }
    }

    /// Books once per key, however often it is asked.
    pub async fn book(&self, order: u64, booking: u64, key: &str) -> std::io::Result<()> {
        self.ask(&format!("{order} {booking} {key}")).await.map(drop)
    }

    /// What was counted so far.
    pub async fn tally(&self) -> anyhow::Result<Tally> {
        let answer = self.ask(TALLY).await.context("asking the ledger")?;
        Ok(serde_json::from_str(&answer)?)
    }

    async fn ask(&self, line: &str) -> std::io::Result<String> {
        let mut stream = UnixStream::connect(&self.socket).await?;
        stream.write_all(format!("{line}\n").as_bytes()).await?;
        let answer = BufReader::new(stream).lines().next_line().await?;
        answer.ok_or_else(|| std::io::ErrorKind::UnexpectedEof.into())
    }
}

const TALLY: &str = "tally";

/// Plays the ledger until the harness ends it.
pub async fn play(socket: PathBuf, stage: Stage) -> anyhow::Result<()> {
    let listener = UnixListener::bind(&socket).with_context(|| format!("listening at {}", socket.display()))?;
    let books = Arc::new(Mutex::new(Books::default()));
    stage.ready()?;
    loop {
        let (stream, _) = listener.accept().await?;
        let books = books.clone();
        // Who asks and does not wait for the answer has been killed, and is no concern of ours.
        drop(tokio::spawn(async move { serve(stream, &books).await }));
    }
}

async fn serve(stream: UnixStream, books: &Mutex<Books>) -> anyhow::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    let answer = books.lock().unwrap_or_else(PoisonError::into_inner).answer(line.trim_end())?;
    stream.write_all(format!("{answer}\n").as_bytes()).await?;
    Ok(())
}

/// What was booked.
#[derive(Debug, Default)]
struct Books {
    keys: HashMap<(u64, u64), HashSet<String>>,
    calls: u64,
}

impl Books {
    fn answer(&mut self, line: &str) -> anyhow::Result<String> {
        if line == TALLY {
            return Ok(serde_json::to_string(&self.tally())?);
        }
        let mut words = line.splitn(3, ' ');
        let mut word = || words.next().with_context(|| format!("{line:?} is no booking"));
        let (order, booking, key) = (word()?.parse()?, word()?.parse()?, word()?.to_owned());
        self.calls += 1;
        self.keys.entry((order, booking)).or_default().insert(key);
        Ok("booked".to_owned())
    }

    fn tally(&self) -> Tally {
        let count = |keys: &HashSet<String>| keys.len() as u64;
        Tally {
            bookings: self.keys.len() as u64,
            keys: self.keys.values().map(count).sum(),
            doubled: self.keys.values().filter(|keys| keys.len() > 1).count() as u64,
            calls: self.calls,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repetition_under_its_key_is_no_mutation_and_another_key_is_a_double() {
        let mut books = Books::default();
        for line in ["1 0 a", "1 0 a", "1 1 b", "2 0 c", "2 0 d"] {
            assert_eq!(books.answer(line).unwrap(), "booked");
        }
        let expected = Tally {
            bookings: 3,
            keys: 4,
            doubled: 1,
            calls: 5,
        };
        assert_eq!(books.tally(), expected);
        let told: Tally = serde_json::from_str(&books.answer("tally").unwrap()).unwrap();
        assert_eq!(told, expected);
    }

    #[test]
    fn what_is_no_booking_is_not_counted() {
        let mut books = Books::default();
        for line in ["", "1", "1 2", "x 2 key"] {
            assert!(books.answer(line).is_err(), "{line:?}");
        }
        assert_eq!(books.tally(), Tally::default());
    }
}
