//! The wire format: one version byte, then MessagePack with named fields, so that fields can be added.
//!
//! Decoding never panics, whatever the bytes; bytes that were ever written decode for ever (golden tests).

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::limits::VALUE_DEPTH_MAX;

/// The version this build writes.
const VERSION: u8 = 1;

/// Why bytes are not the value they were taken for.
///
/// ```
/// use everstep_common::wire::{Error, decode};
///
/// assert_eq!(decode::<u32>(&[9, 1]), Err(Error::Version(9)), "written by a later build");
/// assert_eq!(decode::<u32>(&[]), Err(Error::Empty));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not even a version byte.
    #[error("no bytes")]
    Empty,
    /// Written by a version this build does not know.
    #[error("wire version {0} is not known to this build, which reads version 1; upgrade it")]
    Version(u8),
    /// The version is known, the rest does not fit.
    #[error("malformed: {0}")]
    Malformed(String),
    /// The value cannot be expressed.
    #[error("cannot be encoded: {0}")]
    Encode(String),
}

/// An engine value (entry, task, record) as bytes.
pub fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Bytes, Error> {
    let mut bytes = Vec::with_capacity(256);
    bytes.push(VERSION);
    write(&mut bytes, value)?;
    Ok(bytes.into())
}

/// The engine value that `bytes` hold.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    let (version, body) = bytes.split_first().ok_or(Error::Empty)?;
    if *version != VERSION {
        return Err(Error::Version(*version));
    }
    read(body)
}

/// A user's value (input, output) as bytes: MessagePack with named fields, no version byte.
pub fn encode_value<T: Serialize + ?Sized>(value: &T) -> Result<Bytes, Error> {
    let mut bytes = Vec::with_capacity(64);
    write(&mut bytes, value)?;
    Ok(bytes.into())
}

/// The user's value that `bytes` hold; nested at most 64 deep.
pub fn decode_value<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    read(bytes)
}

fn write<T: Serialize + ?Sized>(bytes: &mut Vec<u8>, value: &T) -> Result<(), Error> {
    let mut serializer = rmp_serde::Serializer::new(bytes).with_struct_map();
    value
        .serialize(&mut serializer)
        .map_err(|error| Error::Encode(error.to_string()))
}

fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    let mut deserializer = rmp_serde::Deserializer::from_read_ref(bytes);
    // Each value costs the decoder at most two levels (an enum is a map and its content).
    deserializer.set_max_depth(2 * VALUE_DEPTH_MAX);
    let value = T::deserialize(&mut deserializer).map_err(|error| Error::Malformed(error.to_string()))?;
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_versions_and_garbage_are_errors() {
        assert_eq!(decode::<u8>(&[]), Err(Error::Empty));
        assert_eq!(decode::<u8>(&[9, 1]), Err(Error::Version(9)));
        assert!(matches!(decode::<String>(&[1, 0xc1]), Err(Error::Malformed(_))));
    }

    #[test]
    fn deep_values_are_errors_not_stack_overflows() {
        let mut bytes = vec![0x91; 100_000];
        bytes.push(0xc0);
        assert!(matches!(decode_value::<serde_json::Value>(&bytes), Err(Error::Malformed(_))));
    }

    #[test]
    fn added_fields_are_ignored_and_missing_ones_defaulted() {
        #[derive(serde::Serialize)]
        struct New {
            a: u8,
            b: u8,
        }
        #[derive(serde::Deserialize, PartialEq, Debug)]
        struct Old {
            a: u8,
            #[serde(default)]
            c: Option<u8>,
        }
        assert_eq!(
            decode::<Old>(&encode(&New { a: 1, b: 2 }).unwrap()).unwrap(),
            Old { a: 1, c: None }
        );
    }
}
