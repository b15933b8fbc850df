//! The core's tests: plain data, a journal simulated in memory, and random programs.
//!
//! Randomised tests print their seed; `EVERSTEP_SEED=<number>` makes them begin with it.

mod cost;
mod drops;
mod edits;
mod kit;
mod parking;
mod programs;
mod replay;
mod turns;
mod waits;
mod world;
