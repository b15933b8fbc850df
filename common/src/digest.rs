//! The digest of an input: SHA-256 of the value in canonical form.
//!
//! Canonical means that maps are sorted by key and entries whose value is null are left out, so that neither the order of a
//! `HashMap` nor an `Option` field that was added makes an equal input look different.

use std::fmt;

use rmp::Marker;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::ids::hex;
use crate::limits::VALUE_DEPTH_MAX;

/// SHA-256 of an input in canonical form.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct InputDigest(#[serde(with = "serde_bytes")] [u8; 32]);

impl InputDigest {
    /// The digest of an encoded value ([`crate::wire::encode_value`]).
    pub fn of(value: &[u8]) -> Self {
        let mut canonical = Vec::with_capacity(value.len());
        let mut reader = Reader { bytes: value, at: 0 };
        let whole = reader.value(&mut canonical, 0).is_some() && reader.at == value.len();
        // What is not one MessagePack value is judged by its bytes.
        let digest = if whole {
            Sha256::digest(&canonical)
        } else {
            Sha256::digest(value)
        };
        Self(digest.into())
    }

    /// The digest as bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for InputDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for InputDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0[..4]))
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..self.at.checked_add(count)?)?;
        self.at += count;
        Some(taken)
    }

    fn length(&mut self, width: usize) -> Option<usize> {
        Some(
            self.take(width)?
                .iter()
                .fold(0, |length, byte| (length << 8) | usize::from(*byte)),
        )
    }

    /// Appends the next value in canonical form; `None` if the bytes are not MessagePack or nested too deep.
    fn value(&mut self, out: &mut Vec<u8>, depth: usize) -> Option<()> {
        if depth > VALUE_DEPTH_MAX {
            return None;
        }
        let start = self.at;
        let marker = Marker::from_u8(self.take(1)?[0]);
        let width = match marker {
            Marker::FixMap(count) => return self.map(usize::from(count), out, depth),
            Marker::Map16 | Marker::Map32 => {
                let count = self.length(if marker == Marker::Map16 { 2 } else { 4 })?;
                return self.map(count, out, depth);
            }
            Marker::FixArray(count) => return self.array(usize::from(count), out, depth),
            Marker::Array16 | Marker::Array32 => {
                let count = self.length(if marker == Marker::Array16 { 2 } else { 4 })?;
                return self.array(count, out, depth);
            }
            Marker::FixPos(_) | Marker::FixNeg(_) | Marker::Null | Marker::True | Marker::False => 0,
            Marker::FixStr(length) => usize::from(length),
            Marker::U8 | Marker::I8 => 1,
            Marker::U16 | Marker::I16 => 2,
            Marker::U32 | Marker::I32 | Marker::F32 => 4,
            Marker::U64 | Marker::I64 | Marker::F64 => 8,
            Marker::Str8 | Marker::Bin8 => self.length(1)?,
            Marker::Str16 | Marker::Bin16 => self.length(2)?,
            Marker::Str32 | Marker::Bin32 => self.length(4)?,
            Marker::FixExt1 => 2,
            Marker::FixExt2 => 3,
            Marker::FixExt4 => 5,
            Marker::FixExt8 => 9,
            Marker::FixExt16 => 17,
            Marker::Ext8 => self.length(1)? + 1,
            Marker::Ext16 => self.length(2)? + 1,
            Marker::Ext32 => self.length(4)? + 1,
            Marker::Reserved => return None,
        };
        self.take(width)?;
        out.extend_from_slice(&self.bytes[start..self.at]);
        Some(())
    }

    fn array(&mut self, count: usize, out: &mut Vec<u8>, depth: usize) -> Option<()> {
        out.push(0xdd);
        out.extend_from_slice(&u32::try_from(count).ok()?.to_be_bytes());
        for _ in 0..count {
            self.value(out, depth + 1)?;
        }
        Some(())
    }

    fn map(&mut self, count: usize, out: &mut Vec<u8>, depth: usize) -> Option<()> {
        let mut entries = Vec::with_capacity(count.min(64));
        for _ in 0..count {
            let mut entry = Vec::with_capacity(32);
            self.value(&mut entry, depth + 1)?;
            let null = self.bytes.get(self.at) == Some(&0xc0);
            self.value(&mut entry, depth + 1)?;
            if !null {
                entries.push(entry);
            }
        }
        entries.sort_unstable();
        out.push(0xdf);
        out.extend_from_slice(&u32::try_from(entries.len()).ok()?.to_be_bytes());
        entries.iter().for_each(|entry| out.extend_from_slice(entry));
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::wire::encode_value;

    fn digest(value: &Value) -> InputDigest {
        InputDigest::of(&encode_value(value).unwrap())
    }

    #[test]
    fn order_of_maps_and_nulls_do_not_count() {
        let one: Value = serde_json::from_str(r#"{"a":1,"b":{"x":[1,2],"y":null},"c":null}"#).unwrap();
        assert_eq!(digest(&one), digest(&json!({"b": {"x": [1, 2]}, "a": 1})));
        let bytes_ba = [0x82, 0xa1, b'b', 2, 0xa1, b'a', 1];
        let bytes_ab = [0x82, 0xa1, b'a', 1, 0xa1, b'b', 2];
        assert_eq!(InputDigest::of(&bytes_ba), InputDigest::of(&bytes_ab));
    }

    #[test]
    fn values_order_of_arrays_and_nulls_in_arrays_count() {
        let all = [
            json!(null),
            json!([]),
            json!({}),
            json!([null]),
            json!([1, 2]),
            json!([2, 1]),
            json!({"a": 1}),
            json!({"a": 2}),
            json!("a"),
        ];
        for (i, a) in all.iter().enumerate() {
            for (j, b) in all.iter().enumerate() {
                assert_eq!(digest(a) == digest(b), i == j, "{a} {b}");
            }
        }
    }

    #[test]
    fn any_bytes_have_a_digest() {
        for bytes in [
            &[][..],
            &[0xc1],
            &[0xdf, 0xff, 0xff, 0xff, 0xff],
            &[0xdb, 0xff, 0xff, 0xff, 0xff, 1],
            &[0x91; 100_000],
        ] {
            InputDigest::of(bytes);
        }
    }
}
