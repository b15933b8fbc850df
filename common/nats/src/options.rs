//! How to reach the server: what was said outright, then the context, then the environment.

use std::fmt;
use std::path::PathBuf;

use crate::context_file::{Context, ContextError};

/// Where the server is looked for if nobody says.
const DEFAULT_SERVER: &str = "nats://127.0.0.1:4222";

/// How to connect. Fields left empty are filled by [`ConnectOptions::resolved`].
///
/// ```
/// use everstep_nats::ConnectOptions;
///
/// let options = ConnectOptions {
///     servers: vec!["tls://nats-1.internal:4222,tls://nats-2.internal:4222".to_owned()],
///     credentials: Some("/etc/shop/worker.creds".into()),
///     wait_for_server: true,
///     ..ConnectOptions::default()
/// };
/// assert!(options.context.is_none());
/// ```
#[derive(Clone, Default)]
pub struct ConnectOptions {
    /// Server addresses (`nats://`, `tls://`, or `host:port`); each may be a comma-separated list.
    pub servers: Vec<String>,
    /// A credentials file (`.creds`).
    pub credentials: Option<PathBuf>,
    /// A file with an nkey seed.
    pub nkey: Option<PathBuf>,
    /// User name.
    pub user: Option<String>,
    /// Password of `user`.
    pub password: Option<String>,
    /// Token.
    pub token: Option<String>,
    /// Certificates of the authority that signed the server's.
    pub tls_ca: Option<PathBuf>,
    /// This client's certificate.
    pub tls_certificate: Option<PathBuf>,
    /// The key of `tls_certificate`.
    pub tls_key: Option<PathBuf>,
    /// Speak TLS before anything else.
    pub tls_first: bool,
    /// The name of a context as `nats context` keeps it, or the path of such a file.
    pub context: Option<String>,
    /// What the server shows as this connection's name.
    pub name: Option<String>,
    /// What answers are addressed to; `_INBOX` if nothing else is permitted.
    pub inbox_prefix: Option<String>,
    /// The JetStream domain to use.
    pub jetstream_domain: Option<String>,
    /// Keep trying if the server cannot be reached at first.
    pub wait_for_server: bool,
}

impl ConnectOptions {
    /// Connects to one server, with everything else left to the context and the environment.
    ///
    /// ```
    /// use everstep_nats::ConnectOptions;
    ///
    /// assert_eq!(ConnectOptions::to("nats://nats.internal:4222").servers, ["nats://nats.internal:4222"]);
    /// ```
    pub fn to(server: impl Into<String>) -> Self {
        Self {
            servers: vec![server.into()],
            ..Self::default()
        }
    }

    /// The same, with this connection name.
    ///
    /// ```
    /// use everstep_nats::ConnectOptions;
    ///
    /// let options = ConnectOptions::default().named("shop-front");
    /// assert_eq!(options.name.as_deref(), Some("shop-front"));
    /// ```
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Fills what was left empty: from the context (named here, else by `NATS_CONTEXT`), then from `NATS_URL` and `NATS_CREDS`.
    /// Without any of them the server is `nats://127.0.0.1:4222`.
    ///
    /// ```
    /// use everstep_nats::ConnectOptions;
    ///
    /// # fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let options = ConnectOptions { context: Some("production".to_owned()), ..ConnectOptions::default() };
    /// println!("connects to {:?}", options.resolved()?.servers);
    /// # Ok(())
    /// # }
    /// ```
    pub fn resolved(self) -> Result<Self, ContextError> {
        self.resolved_with(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
    }

    pub(crate) fn resolved_with(mut self, environment: impl Fn(&str) -> Option<String>) -> Result<Self, ContextError> {
        self.context = self.context.or_else(|| environment("NATS_CONTEXT"));
        if let Some(context) = self.context.clone() {
            self.fill_from(Context::load(&context, &environment)?);
        }
        if self.servers.is_empty() {
            self.servers = vec![environment("NATS_URL").unwrap_or_else(|| DEFAULT_SERVER.to_owned())];
        }
        if !self.has_identity() {
            self.identify_by_address();
        }
        if !self.has_identity() {
            self.credentials = environment("NATS_CREDS").map(PathBuf::from);
        }
        Ok(self)
    }

    /// Takes user and password, or a token, from the first address that holds them: the client does not.
    fn identify_by_address(&mut self) {
        let addresses = self.addresses();
        let Some(secret) = addresses.iter().find_map(|address| secret_of(address)) else {
            return;
        };
        match secret.split_once(':') {
            Some((user, password)) => {
                let (user, password) = (percent_decoded(user), percent_decoded(password));
                (self.user, self.password) = (Some(user), Some(password));
            }
            None => self.token = Some(percent_decoded(secret)),
        }
    }

    /// One way to say who we are excludes the others, so a context's credentials do not join an explicit user.
    fn has_identity(&self) -> bool {
        self.credentials.is_some() || self.nkey.is_some() || self.user.is_some() || self.token.is_some()
    }

    fn fill_from(&mut self, context: Context) {
        if self.servers.is_empty() {
            self.servers = context.url.into_iter().collect();
        }
        if !self.has_identity() {
            self.credentials = context.creds;
            self.nkey = context.nkey;
            self.user = context.user;
            self.password = context.password;
            self.token = context.token;
        }
        self.tls_ca = self.tls_ca.take().or(context.ca);
        if self.tls_certificate.is_none() {
            self.tls_certificate = context.cert;
            self.tls_key = context.key;
        }
        self.tls_first |= context.tls_first;
        self.inbox_prefix = self.inbox_prefix.take().or(context.inbox_prefix);
        self.jetstream_domain = self.jetstream_domain.take().or(context.jetstream_domain);
    }

    /// The addresses, one by one.
    pub(crate) fn addresses(&self) -> Vec<&str> {
        let lists = self.servers.iter().flat_map(|list| list.split(','));
        lists.map(str::trim).filter(|address| !address.is_empty()).collect()
    }
}

impl fmt::Debug for ConnectOptions {
    /// Without secrets: an address may hold a password, too.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ConnectOptions")
            .field(
                "servers",
                &self.addresses().into_iter().map(without_secret).collect::<Vec<_>>(),
            )
            .field("credentials", &self.credentials)
            .field("nkey", &self.nkey)
            .field("user", &self.user)
            .field("context", &self.context)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// What stands before the `@` of an address.
fn secret_of(address: &str) -> Option<&str> {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    rest.rsplit_once('@').map(|(secret, _)| secret)
}

/// `%40` is how an `@` is written in an address. What is no such escape is left as it stands.
fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        bytes.extend_from_slice(before.as_bytes());
        let escaped = after.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(escaped.unwrap_or(b'%'));
        rest = if escaped.is_some() { &after[2..] } else { after };
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8_lossy(&bytes).into_owned()
}

/// An address without the user, password or token in it.
pub(crate) fn without_secret(address: &str) -> String {
    let (scheme, rest) = address
        .split_once("://")
        .map_or((None, address), |(scheme, rest)| (Some(scheme), rest));
    let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    scheme.map_or_else(|| host.to_owned(), |scheme| format!("{scheme}://{host}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(set: &'static [(&'static str, &'static str)]) -> impl Fn(&str) -> Option<String> {
        move |name| set.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
    }

    #[test]
    fn explicit_beats_context_beats_environment() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("prod.json");
        std::fs::write(
            &file,
            r#"{"url":"nats://context:1","user":"c","password":"p","ca":"/ca.pem","inbox_prefix":"_MINE"}"#,
        )
        .unwrap();
        let set = environment(&[("NATS_URL", "nats://env:1"), ("NATS_CREDS", "/env.creds")]);
        let in_context = ConnectOptions {
            context: Some(file.to_str().unwrap().to_owned()),
            ..ConnectOptions::default()
        };

        let from_environment = ConnectOptions::default().resolved_with(&set).unwrap();
        assert_eq!(from_environment.servers, ["nats://env:1"]);
        assert_eq!(from_environment.credentials, Some("/env.creds".into()));

        let from_context = in_context.clone().resolved_with(&set).unwrap();
        assert_eq!(from_context.servers, ["nats://context:1"]);
        assert_eq!((from_context.user.as_deref(), from_context.credentials), (Some("c"), None));
        assert_eq!(from_context.inbox_prefix.as_deref(), Some("_MINE"));

        let explicit = ConnectOptions {
            servers: vec!["nats://said:1".into()],
            token: Some("t".into()),
            ..in_context
        };
        let explicit = explicit.resolved_with(&set).unwrap();
        assert_eq!(explicit.servers, ["nats://said:1"]);
        assert_eq!((explicit.token.as_deref(), explicit.user), (Some("t"), None));
        assert_eq!(explicit.tls_ca, Some("/ca.pem".into()));
    }

    #[test]
    fn an_address_may_say_who_we_are() {
        let identity = |address: &'static str| {
            let set = move |name: &str| (name == "NATS_URL").then(|| address.to_owned());
            let resolved = ConnectOptions::default().resolved_with(set).unwrap();
            (resolved.user, resolved.password, resolved.token)
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            identity("nats://a:1,nats://me:p%40ss%@b:2"),
            (some("me"), some("p@ss%"), None)
        );
        assert_eq!(identity("tls://t0ken@a:1"), (None, None, some("t0ken")));
        assert_eq!(identity("nats://a:1"), (None, None, None));
    }

    #[test]
    fn debug_shows_no_secret() {
        let options = ConnectOptions {
            servers: vec!["nats://me:hunter2@host:4222,tls://s3cret@other".into()],
            password: Some("hunter2".into()),
            token: Some("s3cret".into()),
            ..ConnectOptions::default()
        };
        let shown = format!("{options:?}");
        assert!(!shown.contains("hunter2") && !shown.contains("s3cret"), "{shown}");
        assert!(shown.contains("nats://host:4222") && shown.contains("tls://other"), "{shown}");
    }
}
