//! Tests of Everstep that need more than one crate.

pub mod conformance;
pub mod logs;
pub mod processes;
pub mod simulation;
pub mod telemetry;
