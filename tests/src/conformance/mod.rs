//! What JetStream does, as far as Everstep relies on it: a list of behaviours that hold of every `Broker` alike.
//!
//! Each is a function from a [`Harness`] to a verdict, written against the ports only. Three test binaries run the whole list: on
//! the simulated server, on one nats-server and on a cluster of three. Where they may differ, a behaviour says which answers are
//! allowed. If a real server disagrees with the simulated one, the simulated one is wrong.
//!
//! | file | behaviours of |
//! |---|---|
//! | `writes`, `batches` | publishing: conditions, limits, all or nothing |
//! | `reads`, `follows` | reading: the last of each subject, scans, following |
//! | `queues` | tasks: delivery, acknowledgement, de-duplication |
//! | `schedules` | `@at` messages |
//! | `core_messages` | core NATS beside the streams |
//! | `topology` | provisioning |
//! | `restarts` | what survives a killed server |
//!
//! `harness` holds what they need, `twin` and `real` the servers they run on, `runner` runs them.

mod batches;
mod core_messages;
mod follows;
mod harness;
mod queues;
mod reads;
pub mod real;
mod restarts;
mod runner;
mod schedules;
mod together;
mod topology;
pub mod twin;
mod writes;

use futures::future::LocalBoxFuture;

pub use harness::{Harness, Nodes, Server};
pub use runner::{report, run, run_side_by_side, run_together};

/// Something that is true of JetStream.
#[derive(Clone, Copy)]
pub struct Behaviour {
    /// What, in words.
    pub name: &'static str,
    /// Shows it.
    pub show: for<'a> fn(&'a Harness) -> LocalBoxFuture<'a, anyhow::Result<()>>,
}

/// Lists functions `async fn(&Harness) -> anyhow::Result<()>` under their names.
macro_rules! behaviours {
    ($($name:ident),+ $(,)?) => {
        /// The behaviours of this file.
        pub(super) const BEHAVIOURS: &[$crate::conformance::Behaviour] = &[$(
            $crate::conformance::Behaviour { name: stringify!($name), show: |harness| Box::pin($name(harness)) }
        ),+];
    };
}
use behaviours;

/// Those that leave the server as it is, and so may be shown side by side.
pub fn undisturbed() -> Vec<Behaviour> {
    [
        writes::BEHAVIOURS,
        batches::BEHAVIOURS,
        reads::BEHAVIOURS,
        follows::BEHAVIOURS,
        queues::BEHAVIOURS,
        schedules::BEHAVIOURS,
        core_messages::BEHAVIOURS,
        topology::BEHAVIOURS,
    ]
    .concat()
}

/// Those that kill the server.
pub fn disturbing() -> Vec<Behaviour> {
    restarts::BEHAVIOURS.to_vec()
}
