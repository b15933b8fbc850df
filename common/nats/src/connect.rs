//! Connecting: from options to a checked connection, or an error that says what to do.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_nats::{Client, ConnectErrorKind};

use crate::api::{Api, Failure};
use crate::broker::{Link, NatsBroker};
use crate::clock::pause;
use crate::context_file::ContextError;
use crate::events::Listener;
use crate::options::{ConnectOptions, without_secret};
use crate::outbox::{Outbox, QUEUED_MESSAGES_MAX};
use crate::replies::Replies;

/// The oldest server that has everything Everstep rests on (schedules, atomic batches, and the mends of both).
pub const MINIMUM_SERVER_VERSION: (u64, u64, u64) = (2, 15, 1);

/// How long one attempt to connect may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The longest pause between attempts to reconnect: the first step after a restart must not wait for us.
const RECONNECT_DELAY_MAX: Duration = Duration::from_millis(250);

/// How often the server is asked for a sign of life; two unanswered ones cut the connection.
const PING_INTERVAL: Duration = Duration::from_secs(4);

/// How many messages one subscription may hold unread before the client drops them. Takes memory only for what is in it.
const UNREAD_MESSAGES_MAX: usize = 1 << 20;

/// Why there is no usable connection.
///
/// ```
/// use everstep_nats::ConnectError;
///
/// let error = ConnectError::Address { servers: "nats:/here".to_owned() };
/// assert!(!error.is_outage());
/// assert_eq!(error.to_string(), "nats:/here is not a server address: write nats://host:port");
/// ```
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The context cannot be used.
    #[error("resolving how to connect")]
    Context(#[from] ContextError),
    /// A file that was named cannot be read.
    #[error("cannot read {path}: check the path and its permissions")]
    File {
        /// Which.
        path: PathBuf,
        /// What reading it said.
        source: std::io::Error,
    },
    /// An address cannot be understood.
    #[error("{servers} is not a server address: write nats://host:port")]
    Address {
        /// As given.
        servers: String,
    },
    /// Nobody answers there.
    #[error("no NATS server answers at {servers} ({reason}): start one, or name another with --server or NATS_URL")]
    Unreachable {
        /// Where it was looked for.
        servers: String,
        /// What went wrong.
        reason: String,
    },
    /// TLS failed.
    #[error(
        "no secure connection to {servers} ({reason}): check the certificate authority (--tlsca), and that the server has a `tls` block"
    )]
    Tls {
        /// Where.
        servers: String,
        /// What went wrong.
        reason: String,
    },
    /// The server does not know us.
    #[error("the server at {servers} refuses these credentials ({reason}): check --creds, --nkey or the context")]
    Credentials {
        /// Where.
        servers: String,
        /// What the server said.
        reason: String,
    },
    /// The server is too old.
    #[error("the server at {servers} is nats-server {found}; Everstep needs at least {}.{}.{}: upgrade it", .needed.0, .needed.1, .needed.2)]
    TooOld {
        /// Where.
        servers: String,
        /// Its version.
        found: String,
        /// [`MINIMUM_SERVER_VERSION`].
        needed: (u64, u64, u64),
    },
    /// The server or the account has no JetStream.
    #[error(
        "the server at {servers} has no JetStream for this account: add `jetstream {{}}` to its configuration, or enable it for the account"
    )]
    NoJetStream {
        /// Where.
        servers: String,
    },
    /// Connected, but JetStream did not answer.
    #[error("JetStream at {servers} does not answer: {reason}")]
    NotReady {
        /// Where.
        servers: String,
        /// What went wrong.
        reason: String,
    },
}

impl ConnectError {
    /// Whether it may go away by itself: the server is down, or not ready yet.
    ///
    /// ```
    /// use everstep_nats::ConnectError;
    ///
    /// let (servers, reason) = ("nats://localhost:4222".to_owned(), "connection refused".to_owned());
    /// assert!(ConnectError::Unreachable { servers, reason }.is_outage());
    /// ```
    pub fn is_outage(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::NotReady { .. })
    }
}

impl NatsBroker {
    /// Connects and checks that the server can carry Everstep.
    ///
    /// Once connected it reconnects for ever. With [`ConnectOptions::wait_for_server`] it also waits for the first connection.
    pub async fn connect(options: ConnectOptions) -> Result<Arc<Self>, ConnectError> {
        let options = options.resolved()?;
        let servers: Vec<String> = options.addresses().into_iter().map(without_secret).collect();
        let servers = servers.join(", ");
        let listener = Listener::new();
        let client = open(&options, &servers, &listener).await?;
        let outbox = Outbox::new(client.clone());
        let inbox = client.new_inbox();
        let subscriber = client.subscribe(format!("{inbox}.*")).await;
        let subscriber = subscriber.map_err(|error| ConnectError::NotReady {
            servers: servers.clone(),
            reason: error.to_string(),
        })?;
        let replies = Replies::start(outbox.clone(), &inbox, subscriber);
        listener.attach(&replies);
        let events = listener.events.clone();
        let prefix = options
            .jetstream_domain
            .as_ref()
            .map_or_else(|| "$JS.API.".into(), |domain| format!("$JS.{domain}.API."));
        let api = Api::new(Arc::clone(&replies), client.clone(), &prefix);
        check(&client, &api, &servers, options.wait_for_server).await?;
        Ok(Arc::new(Self::over(Link {
            client,
            outbox,
            replies,
            api,
            events,
            file_backed: Arc::default(),
            stuck_pulls: Arc::default(),
        })))
    }
}

async fn open(options: &ConnectOptions, servers: &str, listener: &Arc<Listener>) -> Result<Client, ConnectError> {
    let listener = Arc::clone(listener);
    let client_options = client_options(options).await?.event_callback(move |event| {
        listener.hear(&event);
        std::future::ready(())
    });
    let addresses: Vec<String> = options.addresses().into_iter().map(str::to_owned).collect();
    let client = client_options.connect(addresses).await;
    client.map_err(|error| not_connected(&error, servers))
}

async fn client_options(options: &ConnectOptions) -> Result<async_nats::ConnectOptions, ConnectError> {
    let mut client = async_nats::ConnectOptions::new()
        .name(options.name.as_deref().unwrap_or("everstep"))
        .client_capacity(QUEUED_MESSAGES_MAX)
        .subscription_capacity(UNREAD_MESSAGES_MAX)
        .connection_timeout(CONNECT_TIMEOUT)
        .ping_interval(PING_INTERVAL)
        .max_reconnects(None)
        // The outbox checks them, more strictly.
        .skip_subject_validation(true)
        .reconnect_delay_callback(reconnect_delay);
    client = with_identity(client, options).await?;
    let tls_files = [&options.tls_ca, &options.tls_certificate, &options.tls_key];
    for path in tls_files.into_iter().flatten() {
        // async-nats looks at them only when the server speaks TLS.
        tokio::fs::read(path).await.map_err(unreadable(path))?;
        // As with the `nats` command: who names certificates does not want to go on without.
        client = client.require_tls(true);
    }
    if let Some(ca) = &options.tls_ca {
        client = client.add_root_certificates(ca.clone());
    }
    if let (Some(certificate), Some(key)) = (&options.tls_certificate, &options.tls_key) {
        client = client.add_client_certificate(certificate.clone(), key.clone());
    }
    if options.tls_first {
        client = client.tls_first();
    }
    if let Some(prefix) = &options.inbox_prefix {
        client = client.custom_inbox_prefix(prefix);
    }
    if options.wait_for_server {
        client = client.retry_on_initial_connect();
    }
    Ok(client)
}

async fn with_identity(
    client: async_nats::ConnectOptions,
    options: &ConnectOptions,
) -> Result<async_nats::ConnectOptions, ConnectError> {
    if let Some(path) = &options.credentials {
        return client.credentials_file(path).await.map_err(unreadable(path));
    }
    if let Some(path) = &options.nkey {
        let seed = tokio::fs::read_to_string(path).await.map_err(unreadable(path))?;
        // A seed begins with S; what `nk` writes around it are comments.
        let seed = seed.lines().map(str::trim).find(|line| line.starts_with('S'));
        return Ok(client.nkey(seed.unwrap_or_default().to_owned()));
    }
    if let Some(user) = &options.user {
        return Ok(client.user_and_password(user.clone(), options.password.clone().unwrap_or_default()));
    }
    Ok(match &options.token {
        Some(token) => client.token(token.clone()),
        None => client,
    })
}

fn unreadable(path: &Path) -> impl FnOnce(io::Error) -> ConnectError {
    let path = path.to_owned();
    move |source| ConnectError::File { path, source }
}

/// At once, then ever slower up to [`RECONNECT_DELAY_MAX`].
fn reconnect_delay(attempts: usize) -> Duration {
    let exponent = attempts.saturating_sub(1).min(8) as u32;
    if exponent == 0 {
        Duration::ZERO
    } else {
        Duration::from_millis(1 << exponent).min(RECONNECT_DELAY_MAX)
    }
}

fn not_connected(error: &async_nats::ConnectError, servers: &str) -> ConnectError {
    let servers = servers.to_owned();
    // async-nats prints its source in its own words, so this is the whole chain.
    let reason = error.to_string();
    match error.kind() {
        ConnectErrorKind::ServerParse => ConnectError::Address { servers },
        ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => {
            ConnectError::Credentials { servers, reason }
        }
        ConnectErrorKind::Tls => ConnectError::Tls { servers, reason },
        ConnectErrorKind::Io if is_handshake(error) => ConnectError::Tls { servers, reason },
        ConnectErrorKind::Dns | ConnectErrorKind::TimedOut | ConnectErrorKind::Io | ConnectErrorKind::MaxReconnects => {
            ConnectError::Unreachable { servers, reason }
        }
    }
}

/// Whether the server did not speak TLS as we do, or not at all: such data is what rustls calls invalid.
fn is_handshake(error: &async_nats::ConnectError) -> bool {
    let source = std::error::Error::source(error);
    let source = source.and_then(|source| source.downcast_ref::<io::Error>());
    source.is_some_and(|source| source.kind() == io::ErrorKind::InvalidData)
}

/// Whether the server can carry Everstep; if `wait`, as soon as it says so.
async fn check(client: &Client, api: &Api, servers: &str, wait: bool) -> Result<(), ConnectError> {
    loop {
        match look(client, api, servers).await {
            Err(error) if wait && error.is_outage() => {
                tracing::info!(reason = error.to_string(), "waiting for the NATS server");
                pause(RECONNECT_DELAY_MAX).await;
            }
            checked => return checked,
        }
    }
}

/// Version and JetStream, as the server tells them.
async fn look(client: &Client, api: &Api, servers: &str) -> Result<(), ConnectError> {
    let servers = servers.to_owned();
    if let Err(failure) = api.connected().await {
        let reason = failure.to_string();
        return Err(ConnectError::Unreachable { servers, reason });
    }
    let found = client.server_info().version;
    if version(&found).is_none_or(|version| version < MINIMUM_SERVER_VERSION) {
        return Err(ConnectError::TooOld {
            servers,
            found,
            needed: MINIMUM_SERVER_VERSION,
        });
    }
    match api.ask::<serde::de::IgnoredAny>("INFO", &()).await {
        Ok(_) => Ok(()),
        Err(Failure::NoResponders) => Err(ConnectError::NoJetStream { servers }),
        Err(Failure::Refused(error)) if matches!(error.err_code, 10_039 | 10_076) => Err(ConnectError::NoJetStream { servers }),
        Err(Failure::Refused(error)) => Err(ConnectError::NotReady {
            servers,
            reason: error.to_string(),
        }),
        Err(Failure::Silence(reason)) => Err(ConnectError::NotReady { servers, reason }),
    }
}

/// `2.15.1-RC.1` as numbers.
fn version(text: &str) -> Option<(u64, u64, u64)> {
    let mut numbers = text.trim_start_matches('v').split(['.', '-']).map(str::parse);
    match (numbers.next(), numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor)), Some(Ok(patch))) => Some((major, minor, patch)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        assert!(version("2.9.25").unwrap() < MINIMUM_SERVER_VERSION);
        assert!(version("2.15.1").unwrap() >= MINIMUM_SERVER_VERSION);
        assert!(version("v2.16.0-preview.2").unwrap() > MINIMUM_SERVER_VERSION);
        assert_eq!(version("dev"), None);
    }

    #[test]
    fn reconnecting_begins_at_once_and_never_waits_long() {
        assert_eq!(reconnect_delay(1), Duration::ZERO);
        assert!((1..10_000).map(reconnect_delay).all(|delay| delay <= RECONNECT_DELAY_MAX));
    }
}
