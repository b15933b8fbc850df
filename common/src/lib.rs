//! The words, shapes and rules that every part of Everstep shares.
//!
//! Knows neither tokio nor NATS: the outside is reached through [`ports`].

pub mod ports;
pub mod topology;
