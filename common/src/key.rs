//! Step keys: what the journal and the idempotency key call a step.
//!
//! A key is a path of scopes and a name (`parallel~2/1/charge`), escaped to one subject token. The token is its identity.

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::ids::{InvalidToken, hex};
use crate::limits::KEY_TOKEN_BYTES_MAX;

/// The key of one step, timer, closure or wait within its run.
///
/// Prints unescaped, for people; [`StepKey::token`] is what stands in subjects.
///
/// ```
/// use everstep_common::key::StepKey;
///
/// let key = StepKey::from_path("parallel/0/charge");
/// assert_eq!((key.to_string().as_str(), key.token()), ("parallel/0/charge", "parallel=2F0=2Fcharge"));
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StepKey(Arc<str>);

impl StepKey {
    /// The key of a path such as `parallel~2/1/charge`. Any text is fine.
    ///
    /// ```
    /// use everstep_common::key::StepKey;
    ///
    /// assert_eq!(StepKey::from_path("charge").token(), "charge");
    /// assert_eq!(StepKey::from_path(&"x".repeat(300)).token().len(), 256, "a long one ends in its digest");
    /// ```
    pub fn from_path(path: &str) -> Self {
        Self(bounded(escape(path)).into())
    }

    /// A key before all others, to begin a range with; it names nothing.
    ///
    /// ```
    /// use everstep_common::key::StepKey;
    ///
    /// assert!(StepKey::first() < StepKey::from_path("!"));
    /// ```
    pub fn first() -> Self {
        Self("".into())
    }

    /// A key of the engine's own. No path gives it: what follows `=` in an escaped one are two upper-case hex digits.
    pub(crate) fn own(name: &'static str) -> Self {
        debug_assert!(name.bytes().all(|byte| byte.is_ascii_lowercase()), "{name} is one plain word");
        Self(format!("={name}").into())
    }

    /// Whether it is of the engine's own, and no workflow asks for it.
    ///
    /// ```
    /// use everstep_common::key::StepKey;
    ///
    /// assert!(!StepKey::from_path("start").is_own());
    /// ```
    pub fn is_own(&self) -> bool {
        let mut bytes = self.0.bytes();
        bytes.next() == Some(b'=') && bytes.next().is_some_and(|byte| byte.is_ascii_lowercase())
    }

    /// The key that a subject token names.
    ///
    /// ```
    /// use everstep_common::key::StepKey;
    ///
    /// assert_eq!(StepKey::from_token("a=2Fb").unwrap(), StepKey::from_path("a/b"));
    /// assert!(StepKey::from_token("a/b").is_err());
    /// ```
    pub fn from_token(token: &str) -> Result<Self, InvalidToken> {
        if is_token(token) {
            Ok(Self(token.into()))
        } else {
            Err(InvalidToken::new(token))
        }
    }

    /// The key as one subject token of at most 256 bytes.
    ///
    /// ```
    /// use everstep_common::key::StepKey;
    ///
    /// assert_eq!(StepKey::from_path("a.b").token(), "a=2Eb");
    /// ```
    pub fn token(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for StepKey {
    type Error = InvalidToken;

    fn try_from(token: String) -> Result<Self, InvalidToken> {
        Self::from_token(&token)
    }
}

impl From<StepKey> for String {
    fn from(key: StepKey) -> Self {
        key.0.as_ref().to_owned()
    }
}

impl fmt::Display for StepKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&unescape(&self.0))
    }
}

impl fmt::Debug for StepKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// `text` as one subject token: every byte outside `[A-Za-z0-9_-]` becomes `=XX`. Distinct texts give distinct tokens.
pub fn escape(text: &str) -> Cow<'_, str> {
    if text.bytes().all(is_plain) {
        return Cow::Borrowed(text);
    }
    let mut token = String::with_capacity(text.len() + 16);
    for byte in text.bytes() {
        if is_plain(byte) {
            token.push(char::from(byte));
        } else {
            write!(token, "={byte:02X}").expect("writing to a string");
        }
    }
    Cow::Owned(token)
}

/// The text that [`escape`] was given; what is no escape is left as it stands.
pub fn unescape(token: &str) -> Cow<'_, str> {
    if !token.contains('=') {
        return Cow::Borrowed(token);
    }
    let bytes = token.as_bytes();
    let mut text = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escaped = (bytes[at] == b'=').then(|| token.get(at + 1..at + 3)).flatten();
        match escaped.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                text.push(byte);
                at += 3;
            }
            None => {
                text.push(bytes[at]);
                at += 1;
            }
        }
    }
    Cow::Owned(String::from_utf8_lossy(&text).into_owned())
}

/// Whether `token` may stand between the dots of a subject of ours.
pub fn is_token(token: &str) -> bool {
    !token.is_empty() && token.len() <= KEY_TOKEN_BYTES_MAX && token.bytes().all(|byte| is_plain(byte) || byte == b'=')
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'
}

fn bounded(token: Cow<'_, str>) -> Cow<'_, str> {
    if token.len() <= KEY_TOKEN_BYTES_MAX {
        return token;
    }
    let digest = hex(&Sha256::digest(token.as_bytes()));
    let kept = &token[..KEY_TOKEN_BYTES_MAX - digest.len() - 1];
    Cow::Owned(format!("{kept}-{digest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_become_one_token_and_read_back() {
        let check = |path: &str, token: &str| {
            let key = StepKey::from_path(path);
            assert_eq!(key.token(), token);
            assert_eq!(key.to_string(), path);
            assert_eq!(StepKey::from_token(token).unwrap(), key);
        };
        check("charge", "charge");
        check("parallel~2/1/charge", "parallel=7E2=2F1=2Fcharge");
        check("a.b *>", "a=2Eb=20=2A=3E");
        check("ü=", "=C3=BC=3D");
    }

    #[test]
    fn long_keys_end_in_their_digest_and_stay_distinct() {
        let long = "x".repeat(300);
        let (one, two) = (
            StepKey::from_path(&format!("{long}1")),
            StepKey::from_path(&format!("{long}2")),
        );
        assert_eq!(one.token().len(), KEY_TOKEN_BYTES_MAX);
        assert!(is_token(one.token()));
        assert_ne!(one, two);
    }

    #[test]
    fn texts_that_are_no_tokens_are_refused() {
        for bad in ["", "a.b", "*", ">", "a b", "ü", "a/b"] {
            assert!(StepKey::from_token(bad).is_err(), "{bad:?}");
        }
    }
}
