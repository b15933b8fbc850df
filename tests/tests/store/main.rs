//! What `everstep_common::store` makes of a server that loses acknowledgements, answers from behind and has other writers:
//! one behaviour a test, on the simulated server.

mod bench;
mod create;
mod deployment;
mod group;
mod payload;
mod queue;
mod read;
mod record;
mod swarm;
