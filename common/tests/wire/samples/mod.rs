//! One value of each shape that is ever written, with a name under which `golden/v1.txt` keeps its bytes.
//!
//! A shape that changes gets a new sample; the old one stays, for its bytes must decode for ever.

mod entries;
mod flow;
mod outside;
mod records;
mod relatives;
mod triggers;

use std::fmt::Debug;

use bytes::Bytes;
use everstep_common::digest::InputDigest;
use everstep_common::failure::{Failure, FailureKind};
use everstep_common::ids::{FunctionName, ProcessId, RunId};
use everstep_common::journal::EntryKey;
use everstep_common::payload::{Payload, StoredPayload};
use everstep_common::wire;
use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Decodes bytes and compares what they say with the sample; what is wrong, if anything.
type Check = Box<dyn Fn(&[u8]) -> Result<(), String>>;

/// A value and the way its bytes are read.
pub struct Sample {
    /// What it is called in the file of bytes.
    pub name: String,
    /// The bytes that this build writes for it.
    pub bytes: Bytes,
    /// Whether given bytes say the same.
    pub says_the_same: Check,
    /// What this build makes of given bytes.
    pub decode: fn(&[u8]) -> Result<(), wire::Error>,
}

/// All of them.
pub fn samples() -> Vec<Sample> {
    let mut all = entries::starts();
    all.extend(entries::outcomes());
    all.extend(entries::attempts());
    all.extend(entries::others());
    all.extend(entries::ends());
    all.extend(outside::outside());
    all.extend(outside::questions());
    all.extend(records::tasks());
    all.extend(records::records());
    all.extend(records::sessions());
    all.extend(records::views());
    all.extend(relatives::children());
    all.extend(triggers::triggers());
    all.extend(triggers::heard());
    all.extend(flow::terms());
    all.extend(flow::limits());
    all
}

fn value<T>(name: &str, value: T) -> Sample
where
    T: Serialize + DeserializeOwned + PartialEq + Debug + 'static,
{
    Sample {
        name: name.to_owned(),
        bytes: wire::encode(&value).expect("a sample can be encoded"),
        says_the_same: Box::new(move |bytes| same(&value, wire::decode(bytes))),
        decode: |bytes| wire::decode::<T>(bytes).map(drop),
    }
}

/// An entry; its key stands in its name after the first space, for the key says how the bytes are read.
macro_rules! entry {
    ($name:literal, $key:literal, $entry:expr) => {{
        let entry: Entry = $entry;
        Sample {
            name: $name.to_owned(),
            bytes: entry.encode().expect("a sample can be encoded"),
            says_the_same: Box::new(move |bytes| super::same(&entry, Entry::decode(&super::key($key), bytes))),
            decode: |bytes| Entry::decode(&super::key($key), bytes).map(drop),
        }
    }};
}
use entry;

fn same<T: PartialEq + Debug>(expected: &T, found: Result<T, wire::Error>) -> Result<(), String> {
    match found {
        Ok(found) if found == *expected => Ok(()),
        Ok(found) => Err(format!("they say {found:?}, not {expected:?}")),
        Err(error) => Err(error.to_string()),
    }
}

fn key(text: &str) -> EntryKey {
    text.parse().expect("a sample's key")
}

fn run() -> RunId {
    "3-0123456789abcdef0123456789abcdef".parse().unwrap()
}

fn function() -> FunctionName {
    FunctionName::new("payments.charge").unwrap()
}

fn process() -> ProcessId {
    ProcessId::new("worker-1a2b3c").unwrap()
}

pub(crate) fn time() -> Timestamp {
    "2026-02-03T04:05:06.000000789Z".parse().unwrap()
}

fn digest() -> InputDigest {
    InputDigest::of(&[0xc0])
}

fn inline() -> Payload {
    Payload::Inline(wire::encode_value(&("paid", 4_200)).unwrap())
}

fn stored(owner: &str) -> Payload {
    Payload::Stored(StoredPayload {
        owner: owner.into(),
        digest: "ab".repeat(32),
        bytes: 300_000,
    })
}

fn failure(kind: FailureKind) -> Failure {
    Failure::new(kind, "no such card")
}
