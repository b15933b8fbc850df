//! The core's tests: plain data, a journal simulated in memory, and random programs.
//!
//! Randomised tests print their seed; `EVERSTEP_SEED=<number>` makes them begin with it.

mod cancels;
mod children;
mod combine;
mod cost;
mod domains;
mod drops;
mod edits;
mod events;
mod keys;
mod kit;
mod lifespan;
mod order;
mod outside;
mod parking;
mod patches;
mod programs;
mod replay;
mod rollback;
mod sessions;
mod steps;
mod timeouts;
mod turns;
mod updates;
mod world;
