//! The broker against real servers: what the ports promise, and what happens when the server dies.

mod certificates;
mod cluster;
mod connect;
mod core;
mod follow;
mod provisioning;
mod publish;
mod pull;
mod read;
mod support;
