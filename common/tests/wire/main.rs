//! The wire format: bytes that are kept for ever, and bytes that nobody vouches for.

mod golden;
mod samples;
mod sizes;
mod untrusted;
