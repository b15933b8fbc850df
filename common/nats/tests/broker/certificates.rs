//! An authority of the test's own, and what it has signed: a server on loopback and a client.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
use tempfile::TempDir;

/// `authority.pem`, and for `server` and `client` a `.pem` and a `.key` each, in a folder of their own.
pub(crate) struct Certificates(TempDir);

impl Certificates {
    pub(crate) fn make() -> Self {
        let files = Self(tempfile::tempdir().unwrap());
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
        files.write("authority.pem", authority.pem());
        for name in ["server", "client"] {
            let key = KeyPair::generate().unwrap();
            let mut certified = CertificateParams::default();
            certified.subject_alt_names = vec![SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST))];
            let certificate = certified.signed_by(&key, &authority).unwrap();
            files.write(&format!("{name}.pem"), certificate.pem());
            files.write(&format!("{name}.key"), key.serialize_pem());
        }
        files
    }

    /// The server's side of it.
    pub(crate) fn server_config(&self) -> String {
        let [authority, certificate, key] =
            ["authority.pem", "server.pem", "server.key"].map(|file| self.path(file).display().to_string());
        format!("tls {{ ca_file: {authority:?}, cert_file: {certificate:?}, key_file: {key:?}, verify: true }}\n")
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.0.path().join(file)
    }

    fn write(&self, file: &str, text: String) {
        std::fs::write(self.path(file), text).unwrap();
    }
}
