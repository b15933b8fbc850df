//! The ports of Everstep over async-nats, topology provisioning and the managed server.

pub mod managed;
