//! The worker against the simulated server: each rule of the worker, by what it leaves in the journal and in the queue.

mod bench;
mod cancellation;
mod faults;
mod heartbeats;
mod outcomes;
mod pace;
mod payloads;
mod queues;
mod redelivery;
mod reporting;
mod stopping;
