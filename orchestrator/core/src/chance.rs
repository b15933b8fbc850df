//! Numbers that look random and follow from the run alone, so that nothing need be recorded for them.

use everstep_common::ids::RunId;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::scope::Scope;

/// The next number of a scope.
pub(crate) fn random(run: &RunId, scope: &Scope) -> u64 {
    let bytes = next(run, scope, b"random");
    u64::from_be_bytes(bytes[..8].try_into().expect("eight bytes of thirty-two"))
}

/// The next UUID of a scope, of version 4.
pub(crate) fn uuid(run: &RunId, scope: &Scope) -> Uuid {
    let bytes = next(run, scope, b"uuid");
    uuid::Builder::from_random_bytes(bytes[..16].try_into().expect("sixteen bytes of thirty-two")).into_uuid()
}

fn next(run: &RunId, scope: &Scope, purpose: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in [run.as_str().as_bytes(), scope.path().as_bytes(), purpose] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.update(scope.draw().to_be_bytes());
    hash.finalize().into()
}
