//! Finds a nats-server that is new enough.
//!
//! `scripts/nats-server` follows the same order and fetches one when there is none; this code never does.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::error::Error;

/// The oldest nats-server that has everything the journal rests on.
pub const MINIMUM_VERSION: &str = "2.15.1";

/// Where `scripts/nats-server` puts what it fetches, below the project's folder.
const TOOL: &str = ".tools/nats-server";

/// The nats-server to run: the given one, else `EVERSTEP_NATS_SERVER`, else the first good one on `PATH`, else the project's own.
///
/// Runs each candidate to see its version, so it blocks for some milliseconds.
pub fn find_server(given: Option<&Path>) -> Result<PathBuf, Error> {
    Search::of_this_process(given).run()
}

/// Everything the search looks at, as data, so that tests need not touch the environment of the process.
struct Search {
    /// Named by the caller or by the environment. It must be good: a wrong setting is an error, never passed over.
    named: Option<PathBuf>,
    /// The value of `PATH`.
    path: Option<OsString>,
    /// Folders whose ancestors may be the project's: tests run in their crate's folder, binaries lie below `target`.
    inside_project: Vec<PathBuf>,
}

impl Search {
    fn of_this_process(given: Option<&Path>) -> Self {
        let named = given
            .map(Path::to_path_buf)
            .or_else(|| env::var_os("EVERSTEP_NATS_SERVER").map(PathBuf::from));
        let inside_project = [env::current_exe(), env::current_dir()].into_iter().flatten().collect();
        Self {
            named: named.filter(|path| !path.as_os_str().is_empty()),
            path: env::var_os("PATH"),
            inside_project,
        }
    }

    fn run(self) -> Result<PathBuf, Error> {
        if let Some(path) = self.named {
            return match check(&path) {
                Ok(()) => Ok(path),
                Err(reason) => Err(Error::Unusable { path, reason }),
            };
        }
        let mut rejected = Vec::new();
        for candidate in self.candidates() {
            match check(&candidate) {
                Ok(()) => return Ok(candidate),
                Err(reason) => rejected.push(format!("{}: {reason}", candidate.display())),
            }
        }
        if rejected.is_empty() {
            rejected.push(format!("there is none on PATH, and no {TOOL}"));
        }
        Err(Error::NotFound { rejected })
    }

    fn candidates(&self) -> Vec<PathBuf> {
        let on_path = self
            .path
            .iter()
            .flat_map(env::split_paths)
            .map(|folder| folder.join("nats-server"));
        let ancestors = self.inside_project.iter().flat_map(|folder| folder.ancestors());
        on_path
            .chain(ancestors.map(|folder| folder.join(TOOL)))
            .filter(|path| path.is_file())
            .collect()
    }
}

/// Runs the binary to see its version; the reason why it will not do, if so.
fn check(path: &Path) -> Result<(), String> {
    let output = Command::new(path)
        .arg("--version")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| error.to_string())?;
    let printed = String::from_utf8_lossy(&output.stdout);
    let version = parse_version(&printed).ok_or_else(|| "it does not print a version of nats-server".to_owned())?;
    if version < parse_numbers(MINIMUM_VERSION).expect("the minimum is a version") {
        let [major, minor, patch] = version;
        return Err(format!(
            "it is version {major}.{minor}.{patch}, and {MINIMUM_VERSION} or later is needed"
        ));
    }
    Ok(())
}

/// Reads `nats-server: v2.15.1`.
fn parse_version(printed: &str) -> Option<[u32; 3]> {
    parse_numbers(printed.trim().strip_prefix("nats-server: v")?)
}

/// The three numbers at the head of `2.15.1` or `2.16.0-RC.2`.
fn parse_numbers(version: &str) -> Option<[u32; 3]> {
    let release = version.split(['-', '+']).next()?;
    let numbers: Vec<u32> = release.split('.').map(str::parse).collect::<Result<_, _>>().ok()?;
    numbers.try_into().ok()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A folder with an executable `name` that prints the given version.
    fn fake(name: &str, version: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        // By a child: a file that this process itself had open for writing cannot be run while another thread forks.
        let write = r#"printf '#!/bin/sh\necho "nats-server: v%s"\n' "$2" > "$1" && chmod +x "$1""#;
        let written = Command::new("/bin/sh")
            .args(["-c", write, "sh"])
            .arg(&path)
            .arg(version)
            .status()
            .unwrap();
        assert!(written.success());
        folder
    }

    fn search(path: &[&Path], project: Option<&Path>) -> Result<PathBuf, Error> {
        let inside_project = project.map(|folder| folder.join("target/debug")).into_iter().collect();
        Search {
            named: None,
            path: Some(env::join_paths(path).unwrap()),
            inside_project,
        }
        .run()
    }

    #[test]
    fn the_first_good_one_on_path_wins_over_the_projects_own() {
        let (old, new, project) = (
            fake("nats-server", "2.15.0"),
            fake("nats-server", "2.16.0-RC.2"),
            fake(TOOL, "2.15.1"),
        );
        let found = search(&[old.path(), new.path()], Some(project.path())).unwrap();
        assert_eq!(found, new.path().join("nats-server"));
    }

    #[test]
    fn the_projects_own_is_found_from_a_folder_below_it() {
        let (old, project) = (fake("nats-server", "2.9.25"), fake(TOOL, "2.15.1"));
        assert_eq!(
            search(&[old.path()], Some(project.path())).unwrap(),
            project.path().join(TOOL)
        );
    }

    #[test]
    fn a_missing_binary_says_what_to_run() {
        let message = search(&[], None).unwrap_err().to_string();
        assert!(
            message.contains("no nats-server >= 2.15.1 found: there is none on PATH"),
            "{message}"
        );
        assert!(message.contains("run `make nats-server`"), "{message}");
    }

    #[test]
    fn what_was_found_and_is_too_old_is_named() {
        let old = fake("nats-server", "2.9.25");
        let message = search(&[old.path()], None).unwrap_err().to_string();
        assert!(
            message.contains("it is version 2.9.25, and 2.15.1 or later is needed"),
            "{message}"
        );
        assert!(message.contains(&old.path().display().to_string()), "{message}");
    }

    #[test]
    fn a_named_binary_that_is_wrong_is_not_passed_over() {
        let good = fake("nats-server", "2.15.1");
        let named = Some(good.path().join("nowhere"));
        let result = Search {
            named,
            path: Some(good.path().into()),
            inside_project: Vec::new(),
        }
        .run();
        assert!(matches!(result, Err(Error::Unusable { .. })), "{result:?}");
    }

    #[test]
    fn versions_compare_as_numbers() {
        let check = |older: &str, newer: &str| assert!(parse_numbers(older).unwrap() < parse_numbers(newer).unwrap());
        check("2.9.25", "2.15.1");
        check("2.15.1", "2.15.10");
        check("2.15.1", "3.0.0-preview.1");
        assert_eq!(parse_version("nats-server: v2.15.1\n"), Some([2, 15, 1]));
        assert_eq!(parse_version("something else 2.15.1"), None);
    }
}
