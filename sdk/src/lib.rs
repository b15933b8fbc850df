//! Durable workflows on NATS JetStream.
