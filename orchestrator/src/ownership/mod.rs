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
//!
//! Files: `service` is the loop, `balance` says who takes and gives what, `member` is about being one; `handle` and [`Tenure`] are how
//! partitions speak with it.

mod balance;
mod code;
mod handle;
mod held;
mod member;
mod reach;
mod record;
mod service;
mod tenure;
mod watch;

pub use code::{Code, Needed};
pub use handle::{Change, Handle, Omens, Released};
pub use service::{Options, Ownership};
pub use tenure::{Noted, Tenure};
