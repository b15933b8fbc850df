//! Writes the configuration of one node.

use std::path::Path;

use everstep_common::topology::Durability;

/// The largest message. An entry of ours holds at most 256 KiB and larger payloads go in chunks, so this is ample; the server
/// warns above it.
const MAX_PAYLOAD: &str = "8MB";

/// Memory-backed task queues live here. The server counts each one's limit (1 GiB) against this as soon as it is made, whatever it holds,
/// so this is how many queues there may be.
const MAX_MEMORY_STORE: &str = "1TB";

/// Journals live here. A limit, not a reservation.
const MAX_FILE_STORE: &str = "1TB";

/// A node's place in a cluster.
pub(super) struct ClusterPlace {
    /// Where this node listens for the others.
    pub(super) port: u16,
    /// Where every node listens, this one included.
    pub(super) all_ports: Vec<u16>,
}

/// What the configuration of a node is made from.
pub(super) struct Config<'a> {
    pub(super) name: &'a str,
    pub(super) client_port: u16,
    pub(super) monitor_port: u16,
    pub(super) store: &'a Path,
    pub(super) durability: Durability,
    pub(super) cluster: Option<ClusterPlace>,
    pub(super) extra: &'a str,
}

impl Config<'_> {
    /// The text of the configuration file.
    pub(super) fn render(&self) -> String {
        let Self {
            name,
            client_port,
            monitor_port,
            extra,
            ..
        } = self;
        let store = quoted(&self.store.display().to_string());
        let sync_interval = match self.durability {
            Durability::Strict => "always",
            Durability::Relaxed => "100ms",
        };
        let cluster = self.cluster.as_ref().map(ClusterPlace::render).unwrap_or_default();
        format!(
            "server_name: {name}\n\
             listen: \"127.0.0.1:{client_port}\"\n\
             http: \"127.0.0.1:{monitor_port}\"\n\
             max_payload: {MAX_PAYLOAD}\n\
             jetstream {{\n  \
               store_dir: {store}\n  \
               sync_interval: {sync_interval}\n  \
               max_memory_store: {MAX_MEMORY_STORE}\n  \
               max_file_store: {MAX_FILE_STORE}\n\
             }}\n\
             {cluster}{extra}\n"
        )
    }
}

impl ClusterPlace {
    fn render(&self) -> String {
        let routes: Vec<String> = self
            .all_ports
            .iter()
            .map(|port| format!("\"nats://127.0.0.1:{port}\""))
            .collect();
        let (port, routes) = (self.port, routes.join(", "));
        format!("cluster {{\n  name: everstep\n  listen: \"127.0.0.1:{port}\"\n  no_advertise: true\n  routes: [{routes}]\n}}\n")
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(durability: Durability) -> String {
        let config = Config {
            name: "everstep",
            client_port: 20_001,
            monitor_port: 20_002,
            store: Path::new("/store"),
            durability,
            cluster: None,
            extra: "debug: true",
        };
        config.render()
    }

    #[test]
    fn strict_syncs_every_write_and_relaxed_every_hundred_milliseconds() {
        assert!(render(Durability::Strict).contains("  sync_interval: always\n"));
        assert!(render(Durability::Relaxed).contains("  sync_interval: 100ms\n"));
    }

    #[test]
    fn extra_configuration_comes_last() {
        assert!(render(Durability::Strict).ends_with("}\ndebug: true\n"));
    }
}
