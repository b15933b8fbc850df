//! How fast the disk under the store is: strict figures mean little without it.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use tokio::time::Instant;

/// How many writes are timed; about 50 ms on a good disk, and enough for a median.
const PROBES: usize = 200;

/// As large as a journal entry with its record header.
const PROBE_BYTES: usize = 512;

/// The median time of appending a little to a file in `folder` and waiting for `fdatasync`.
pub fn fdatasync_p50(folder: &Path) -> anyhow::Result<Duration> {
    let path = folder.join("fdatasync-probe");
    let times = time_appends(&path).with_context(|| format!("timing fdatasync on {}", path.display()));
    // Nothing is lost by leaving it behind.
    let _ = std::fs::remove_file(&path);
    let mut times = times?;
    times.sort_unstable();
    Ok(times[PROBES / 2])
}

fn time_appends(path: &Path) -> std::io::Result<Vec<Duration>> {
    let mut file = File::create(path)?;
    let append = |_| {
        let begun = Instant::now();
        file.write_all(&[7; PROBE_BYTES])?;
        file.sync_data()?;
        Ok(begun.elapsed())
    };
    (0..PROBES).map(append).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_probe_measures_something_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        assert!(fdatasync_p50(folder.path()).unwrap() > Duration::ZERO);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_folder_that_is_not_there_is_named_in_the_error() {
        let error = fdatasync_p50(Path::new("/nonexistent/store")).unwrap_err();
        assert!(error.to_string().contains("/nonexistent/store"), "{error}");
    }
}
