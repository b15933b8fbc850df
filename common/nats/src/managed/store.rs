//! The folder of one node: store, configuration and log.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::error::Error;

/// A folder whose owner was killed is held for a moment more by that owner's server, until the watchdog has ended it.
const LOCK_WITHIN: Duration = Duration::from_secs(2);
const LOCK_POLL: Duration = Duration::from_millis(10);

/// How much of the end of the log an error shows.
const LOG_TAIL_BYTES_MAX: usize = 2_000;

/// A node's folder, locked against other owners.
///
/// The log doubles as the lock: the server writes to the same open file, so the lock lasts until owner *and* server are gone.
#[derive(Debug)]
pub(super) struct Store {
    folder: PathBuf,
    log: File,
}

impl Store {
    /// Makes the folder if need be and takes it, with an empty log.
    pub(super) async fn open(folder: PathBuf) -> Result<Self, Error> {
        // Absolute, since the server's configuration must not depend on anyone's working directory.
        let folder = fs::create_dir_all(&folder)
            .and_then(|()| folder.canonicalize())
            .map_err(|source| Error::Store {
                action: "making the folder",
                path: folder.clone(),
                source,
            })?;
        let path = folder.join("nats-server.log");
        let log = OpenOptions::new().create(true).read(true).append(true).open(&path);
        let log = log.map_err(|source| Error::Store {
            action: "opening the log",
            path: path.clone(),
            source,
        })?;
        lock(&log, &folder).await?;
        log.set_len(0).map_err(|source| Error::Store {
            action: "emptying the log",
            path,
            source,
        })?;
        Ok(Self { folder, log })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn log(&self) -> &File {
        &self.log
    }

    pub(super) fn config_path(&self) -> PathBuf {
        self.folder.join("nats-server.conf")
    }

    pub(super) fn write_config(&self, text: &str) -> Result<(), Error> {
        let path = self.config_path();
        fs::write(&path, text).map_err(|source| Error::Store {
            action: "writing the configuration",
            path,
            source,
        })
    }

    /// The end of the log, for error messages.
    pub(super) fn log_tail(&self) -> String {
        self.read_log_tail()
            .unwrap_or_else(|error| format!("(its log cannot be read: {error})"))
    }

    fn read_log_tail(&self) -> std::io::Result<String> {
        let length = self.log.metadata()?.len();
        let mut bytes = vec![0; LOG_TAIL_BYTES_MAX];
        // At a position, since the file's own is shared with the server that writes to it.
        let read = self
            .log
            .read_at(&mut bytes, length.saturating_sub(LOG_TAIL_BYTES_MAX as u64))?;
        bytes.truncate(read);
        Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
    }

    /// Writes everything the file system of this folder still holds in memory to the disk, new files and folders included.
    pub(super) async fn flush(&self) -> Result<(), Error> {
        let path = self.folder.clone();
        // It waits for the disk, which is nothing for the runtime's own threads.
        let flushed = tokio::task::spawn_blocking(move || match sync_file_system(&path) {
            Ok(()) => Ok(()),
            Err(source) => Err(Error::Store {
                action: "flushing",
                path,
                source,
            }),
        });
        flushed.await.expect("flushing does not panic")
    }
}

async fn lock(log: &File, folder: &Path) -> Result<(), Error> {
    let failed = |source| Error::Store {
        action: "locking the log in",
        path: folder.to_path_buf(),
        source,
    };
    let taken = async {
        let mut poll = tokio::time::interval(LOCK_POLL);
        loop {
            poll.tick().await;
            match log.try_lock() {
                Ok(()) => return Ok(()),
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(source)) => return Err(failed(source)),
            }
        }
    };
    let in_use = |_| Error::StoreInUse {
        path: folder.to_path_buf(),
    };
    tokio::time::timeout(LOCK_WITHIN, taken).await.map_err(in_use)?
}

#[cfg(target_os = "linux")]
fn sync_file_system(folder: &Path) -> std::io::Result<()> {
    Ok(rustix::fs::syncfs(File::open(folder)?)?)
}

#[cfg(not(target_os = "linux"))]
fn sync_file_system(_folder: &Path) -> std::io::Result<()> {
    rustix::fs::sync();
    Ok(())
}
