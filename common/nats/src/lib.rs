//! The ports of Everstep over async-nats, topology provisioning and the managed server.
//!
//! [`NatsBroker`] implements [`Broker`](everstep_common::ports::Broker) on one connection, [`TokioClock`] implements
//! [`Clock`](everstep_common::ports::Clock). This is the only crate that names async-nats, and none of its types are public here.
//!
//! | to learn | read |
//! |---|---|
//! | how a connection is found and checked | `options`, `context_file`, `connect` |
//! | how messages leave in call order | `outbox` |
//! | how answers find their requests | `replies`, `api` |
//! | what a lost connection sets off | `events` |
//! | what error codes mean | `refusal` |
//! | publishing, reading, following, pulling | `publish`; `read` and `leader`; `ordered`, `follow` and `scan`; `pull` |
//! | how a process is listed by `nats micro ls` | `micro` |
//! | streams and consumers | `assets`, `wire_config` |
//! | what operators' tools ask | `inspect` |
//! | a nats-server as a child process | [`managed`] |
//!
//! *Architecture invariants.* async-nats is used as a core NATS client alone: JetStream is spoken here, since its own layer costs a
//! timer per publish and hides what the ports must tell apart. Nothing here decides what a refusal, a gap or a loss means for a run.

mod api;
mod assets;
mod broker;
mod clock;
mod connect;
mod context_file;
mod core_messages;
mod delivered;
mod events;
mod follow;
mod headers;
mod inspect;
mod last_match;
mod leader;
pub mod managed;
mod micro;
mod options;
mod ordered;
mod outbox;
mod publish;
mod pull;
mod read;
mod read_all;
mod refusal;
mod replies;
mod scan;
mod subjects;
mod wire_config;

pub use broker::NatsBroker;
pub use clock::TokioClock;
pub use connect::{ConnectError, MINIMUM_SERVER_VERSION};
pub use context_file::ContextError;
pub use inspect::{consumer_config, stream_config};
pub use micro::{MicroError, MicroService, Statistics};
pub use options::ConnectOptions;
