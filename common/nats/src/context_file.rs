//! Context files: how users of the `nats` command keep servers and credentials, read as that command reads them.

use std::path::{Path, PathBuf};

use serde::Deserialize;

/// Why a context cannot be used.
///
/// ```
/// use everstep_nats::{ConnectOptions, ContextError};
///
/// let options = ConnectOptions { context: Some("/no/such/context.json".to_owned()), ..ConnectOptions::default() };
/// assert!(matches!(options.resolved(), Err(ContextError::Unreadable { .. })));
/// ```
#[derive(Debug, thiserror::Error)]
pub enum ContextError {
    /// There is no such file.
    #[error("context {name:?}: cannot read {path}; `nats context ls` lists those that exist")]
    Unreadable {
        /// The name asked for.
        name: String,
        /// Where it was looked for.
        path: PathBuf,
        /// What reading it said.
        source: std::io::Error,
    },
    /// It is not a context.
    #[error("context {name:?}: {path} is not a context file")]
    Malformed {
        /// The name asked for.
        name: String,
        /// Where it is.
        path: PathBuf,
        /// What parsing it said.
        source: serde_json::Error,
    },
    /// It asks for something that this client cannot do.
    #[error("context {name:?}: {key:?} is not supported; remove it, or give the credentials by another key")]
    Unsupported {
        /// The name asked for.
        name: String,
        /// The key in the file.
        key: &'static str,
    },
    /// A bare name, and no home folder to look in.
    #[error("context {name:?}: neither XDG_CONFIG_HOME nor HOME is set; give the path of the file instead")]
    NoHome {
        /// The name asked for.
        name: String,
    },
}

/// What a context file says; empty strings count as absent.
#[derive(Debug, Default)]
pub(crate) struct Context {
    pub(crate) url: Option<String>,
    pub(crate) creds: Option<PathBuf>,
    pub(crate) nkey: Option<PathBuf>,
    pub(crate) user: Option<String>,
    pub(crate) password: Option<String>,
    pub(crate) token: Option<String>,
    pub(crate) cert: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
    pub(crate) ca: Option<PathBuf>,
    pub(crate) tls_first: bool,
    pub(crate) inbox_prefix: Option<String>,
    pub(crate) jetstream_domain: Option<String>,
}

/// The file as written. Keys that only the `nats` command itself uses (description, colours, event prefix) are passed over.
#[derive(Default, Deserialize)]
#[serde(default)]
struct File {
    url: String,
    token: String,
    user: String,
    password: String,
    creds: String,
    nkey: String,
    cert: String,
    key: String,
    ca: String,
    nsc: String,
    jetstream_domain: String,
    jetstream_api_prefix: String,
    inbox_prefix: String,
    user_jwt: String,
    socks_proxy: String,
    tls_first: bool,
}

impl Context {
    /// Loads the context `name`: a path if it has a slash or ends in `.json`, otherwise a name under the user's configuration.
    pub(crate) fn load(name: &str, environment: &impl Fn(&str) -> Option<String>) -> Result<Self, ContextError> {
        let path = path_of(name, environment)?;
        let named = || name.to_owned();
        let text = std::fs::read(&path).map_err(|source| ContextError::Unreadable {
            name: named(),
            path: path.clone(),
            source,
        })?;
        let file: File = serde_json::from_slice(&text).map_err(|source| ContextError::Malformed {
            name: named(),
            path: path.clone(),
            source,
        })?;
        file.into_context(environment)
            .map_err(|key| ContextError::Unsupported { name: named(), key })
    }
}

impl File {
    fn into_context(self, environment: &impl Fn(&str) -> Option<String>) -> Result<Context, &'static str> {
        let unsupported = [
            ("nsc", &self.nsc),
            ("jetstream_api_prefix", &self.jetstream_api_prefix),
            ("user_jwt", &self.user_jwt),
            ("socks_proxy", &self.socks_proxy),
        ];
        if let Some((key, _)) = unsupported.into_iter().find(|(_, value)| !value.is_empty()) {
            return Err(key);
        }
        let path = |text| given(text).map(|text| expanded(&text, environment));
        Ok(Context {
            url: given(self.url),
            creds: path(self.creds),
            nkey: path(self.nkey),
            user: given(self.user),
            password: given(self.password),
            token: given(self.token),
            cert: path(self.cert),
            key: path(self.key),
            ca: path(self.ca),
            tls_first: self.tls_first,
            inbox_prefix: given(self.inbox_prefix),
            jetstream_domain: given(self.jetstream_domain),
        })
    }
}

fn given(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

/// `~` stands for the home folder, as in the `nats` command.
fn expanded(text: &str, environment: &impl Fn(&str) -> Option<String>) -> PathBuf {
    match (text.strip_prefix("~/"), environment("HOME")) {
        (Some(rest), Some(home)) => Path::new(&home).join(rest),
        _ => PathBuf::from(text),
    }
}

fn path_of(name: &str, environment: &impl Fn(&str) -> Option<String>) -> Result<PathBuf, ContextError> {
    if name.contains('/') || name.ends_with(".json") {
        return Ok(expanded(name, environment));
    }
    let configuration = environment("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .or_else(|| environment("HOME").map(|home| Path::new(&home).join(".config")))
        .ok_or_else(|| ContextError::NoHome { name: name.to_owned() })?;
    Ok(configuration.join("nats/context").join(format!("{name}.json")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_context_is_found_under_the_users_configuration() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join(".config/nats/context");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(
            folder.join("dev.json"),
            r#"{"description":"d","url":"nats://a","creds":"~/x.creds","color_scheme":""}"#,
        )
        .unwrap();
        let environment = |name: &str| (name == "HOME").then(|| home.path().to_str().unwrap().to_owned());

        let context = Context::load("dev", &environment).unwrap();
        assert_eq!(context.url.as_deref(), Some("nats://a"));
        assert_eq!(context.creds, Some(home.path().join("x.creds")));

        let missing = Context::load("prod", &environment).unwrap_err();
        assert!(missing.to_string().contains("nats context ls"), "{missing}");
    }

    #[test]
    fn a_key_that_cannot_be_honoured_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.json");
        std::fs::write(&file, r#"{"url":"nats://a","nsc":"nsc://op/acc/user"}"#).unwrap();
        let error = Context::load(file.to_str().unwrap(), &|_| None).unwrap_err();
        assert!(matches!(error, ContextError::Unsupported { key: "nsc", .. }), "{error}");
    }
}
