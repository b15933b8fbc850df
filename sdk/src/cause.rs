//! What lies behind an error: the types that [`ClientError`](crate::ClientError), [`AppError`](crate::AppError) and what is parsed hold or
//! bring, by name, for code that tells them apart.
//!
//! Most code needs none of them: the outer errors say what the caller can do. Each is shown with the crate that makes it.
//!
//! ```
//! use everstep::ClientError;
//! use everstep::cause::{ConnectError, DeploymentError};
//!
//! /// What whoever is on call is told.
//! fn advice(error: &ClientError) -> &'static str {
//!     match error {
//!         ClientError::Connect(ConnectError::Credentials { .. }) => "renew the credentials",
//!         ClientError::Connect(ConnectError::Tls { .. }) => "look at the certificates",
//!         ClientError::Deployment(DeploymentError::Missing { .. }) => "run `everstep provision`",
//!         _ => "run `everstep doctor`",
//!     }
//! }
//! let missing = DeploymentError::Missing { prefix: everstep::Prefix::none() };
//! assert_eq!(advice(&missing.into()), "run `everstep provision`");
//! ```

pub use everstep_common::flow::{InvalidLimitName, InvalidRate};
pub use everstep_common::ids::{InvalidId, InvalidToken};
pub use everstep_common::journal::BadTerms;
pub use everstep_common::payload::TooLarge;
pub use everstep_common::ports::{PublishError, ReadError, TopologyError};
pub use everstep_common::question::{InvalidHash, Refused};
pub use everstep_common::session::BadSessionId;
pub use everstep_common::store::{CreateError, DeploymentError, PayloadError, PutError, QueueError, ReadRunError, TriggerError};
pub use everstep_common::wire::Error as ValueError;
pub use everstep_nats::managed::Error as ManagedServerError;
pub use everstep_nats::{ConnectError, ContextError};
pub use everstep_orchestrator::{Error as OrchestratorError, RegisteredTwice};
pub use everstep_worker::{DuplicateFunction, DuplicateResource, Error as WorkerError};
