//! The scenarios, a file each.

pub mod batch;
pub mod chain;
pub mod crash;
pub mod fanout;
pub mod floor;
pub mod latency;
pub mod local;
pub mod sleepers;
pub mod throughput;
