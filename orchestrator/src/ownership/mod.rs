//! Who drives which partition: leases under compare-and-set, and a fair share for each orchestrator.
//!
//! A lease is an optimisation, not a right: two owners of one partition compute the same keys, and the second create is refused.
//! What it saves is doing everything twice.
//!
//! ```text
//! Watcher ── follows KV leases ──▶ Seen { revision, since }        (own monotonic clock)
//!    └▶ Ownership::run ── tick ──▶ renew / take / give ──▶ Change::{Acquired, Lost, Release} ──▶ the partitions' threads
//! ```
//!
//! Renewal has a broker (and in production a thread) of its own, so that a busy partition does not lose its lease.

mod record;
mod service;
mod watch;

pub use service::{Change, Handle, Options, Ownership, Released};
