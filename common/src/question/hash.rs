//! The hash of what an approval is about.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::ids::hex;

/// SHA-256 of what an approval is about: of its canonical JSON (RFC 8785). Prints as 64 hex digits.
///
/// ```
/// use everstep_common::question::PayloadHash;
///
/// let hash: PayloadHash = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a".parse().unwrap();
/// assert_eq!(hash, PayloadHash::of_canonical(b"{}"));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PayloadHash(#[serde(with = "serde_bytes")] [u8; 32]);

/// A text that is not the hex of a SHA-256.
///
/// ```
/// use everstep_common::question::{InvalidHash, PayloadHash};
///
/// assert_eq!("44136f".parse::<PayloadHash>(), Err(InvalidHash));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the SHA-256 of a payload is written as 64 hex digits")]
pub struct InvalidHash;

impl PayloadHash {
    /// The hash of a canonical JSON text.
    ///
    /// ```
    /// use everstep_common::question::PayloadHash;
    ///
    /// // Keys sorted, no spaces: another order would be another hash.
    /// let hash = PayloadHash::of_canonical(br#"{"cents":1200,"to":"ada"}"#);
    /// assert_eq!(hash.to_string().len(), 64);
    /// ```
    pub fn of_canonical(text: &[u8]) -> Self {
        Self(Sha256::digest(text).into())
    }
}

impl fmt::Display for PayloadHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for PayloadHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for PayloadHash {
    type Err = InvalidHash;

    fn from_str(text: &str) -> Result<Self, InvalidHash> {
        if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(InvalidHash);
        }
        let mut bytes = [0; 32];
        for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
            let digits = std::str::from_utf8(digits).map_err(|_| InvalidHash)?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| InvalidHash)?;
        }
        Ok(Self(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_reads_back_and_nothing_else_is_one() {
        let hash = PayloadHash::of_canonical(b"{}");
        assert_eq!(hash.to_string().parse(), Ok(hash));
        assert_eq!(hash.to_string().to_uppercase().parse(), Ok(hash));
        for bad in ["", "44", &"g".repeat(64), &"+1".repeat(32), &"ä".repeat(32)] {
            assert_eq!(bad.parse::<PayloadHash>(), Err(InvalidHash), "{bad:?}");
        }
    }
}
