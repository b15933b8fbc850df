//! Answers of people checked against the questions they were asked, and the canonical JSON that approvals are bound to.
//!
//! Pure, and apart from `everstep-common` because a JSON Schema needs a library of its own, which the core must not see. Whoever takes an
//! answer (client, gateway) checks it here before it is stored.

mod canonical;
mod check;

pub use canonical::{NotCanonical, canonical, payload_hash};
pub use check::{BadQuestion, Misfit, check_answer, check_question};
