//! What a process has used, from `/proc`.

use std::time::Duration;

use anyhow::Context;

/// The unit of CPU times in `/proc`; Linux promises 100 a second to user space whatever the kernel's own rate.
const TICKS_PER_SECOND: u64 = 100;

/// CPU time so far, and memory now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// User and system time of all threads, to the hundredth of a second.
    pub cpu: Duration,
    /// Resident memory in KiB.
    pub rss_kib: u64,
}

impl Usage {
    /// Of the process `pid`, which must be running.
    pub fn of(pid: u32) -> anyhow::Result<Self> {
        let read = |file: &str| {
            let path = format!("/proc/{pid}/{file}");
            std::fs::read_to_string(&path).with_context(|| format!("reading {path}"))
        };
        Ok(Self {
            cpu: cpu_of_stat(&read("stat")?).with_context(|| format!("/proc/{pid}/stat has another form"))?,
            rss_kib: rss_of_status(&read("status")?).with_context(|| format!("/proc/{pid}/status has no VmRSS"))?,
        })
    }

    /// What was used since `earlier`; memory stays what it is now.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self {
            cpu: self.cpu.saturating_sub(earlier.cpu),
            ..self
        }
    }

    /// Together with what an earlier process in the same place had used; memory stays what it is now.
    #[must_use]
    pub fn and(self, earlier: Self) -> Self {
        Self {
            cpu: self.cpu + earlier.cpu,
            ..self
        }
    }

    /// Resident memory in MiB.
    pub fn rss_mib(self) -> f64 {
        self.rss_kib as f64 / 1024.0
    }
}

/// The load average of the last minute: whether anything else ran beside the measurement.
pub fn load_1m() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/loadavg").ok()?;
    text.split_whitespace().next()?.parse().ok()
}

/// `pid (any (name)) state …`: the 12th and 13th fields after the name are user and system time.
fn cpu_of_stat(stat: &str) -> Option<Duration> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(Duration::from_millis((user + system) * 1_000 / TICKS_PER_SECOND))
}

fn rss_of_status(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_blanks_and_brackets_does_not_shift_the_fields() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4194560 100 0 0 0 150 25 0 0 20 0 3 0 100 1000 200";
        assert_eq!(cpu_of_stat(stat), Some(Duration::from_millis(1_750)));
        assert_eq!(cpu_of_stat("7 (a) S 1"), None);
    }

    #[test]
    fn resident_memory_is_found_by_its_name() {
        assert_eq!(rss_of_status("VmHWM:\t 9 kB\nVmRSS:\t   2048 kB\nThreads:\t1\n"), Some(2_048));
        assert_eq!(rss_of_status("Threads:\t1\n"), None);
    }

    #[test]
    fn this_process_has_used_memory() {
        assert!(Usage::of(std::process::id()).unwrap().rss_kib > 0);
        assert!(load_1m().is_some());
    }
}
