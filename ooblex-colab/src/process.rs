//! What the operating system says about this process.

use std::time::Duration;

/// Memory, time and files of this process, as far as the system tells.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    /// Resident memory in bytes.
    pub(crate) resident_bytes: Option<u64>,
    /// User and system time.
    pub(crate) cpu: Option<Duration>,
    /// Open files.
    pub(crate) open_files: Option<u64>,
    /// Threads.
    pub(crate) threads: Option<u64>,
}

impl Usage {
    /// The figures now, from procfs (proc(5)); all absent where there is none.
    pub(crate) fn now() -> Self {
        let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
        let pages: Option<u64> = statm.split(' ').nth(1).and_then(|p| p.parse().ok());
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
        // The second field is the program's name in parentheses and may contain anything.
        let fields: Vec<u64> = stat
            .rsplit_once(')')
            .map(|(_, rest)| rest.split_whitespace().skip(1).map(|f| f.parse().unwrap_or(0)).collect())
            .unwrap_or_default();
        // Fields 14, 15 and 20 of proc(5), counted from 4 here.
        let field = |n: usize| fields.get(n - 4).copied();
        Self {
            resident_bytes: pages.map(|p| p * rustix::param::page_size() as u64),
            cpu: field(14).zip(field(15)).map(|(user, system)| {
                Duration::from_secs_f64(
                    (user + system) as f64 / rustix::param::clock_ticks_per_second() as f64,
                )
            }),
            open_files: std::fs::read_dir("/proc/self/fd").ok().map(|dir| dir.count() as u64),
            threads: field(20),
        }
    }
}

/// Limit on open files: soft and hard; `None` is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileLimit {
    pub(crate) soft: Option<u64>,
    pub(crate) hard: Option<u64>,
}

/// The limit now.
pub(crate) fn file_limit() -> FileLimit {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    FileLimit { soft: limit.current, hard: limit.maximum }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_tells() {
        let usage = Usage::now();
        assert!(usage.resident_bytes.expect("memory") > 100_000);
        assert!(usage.open_files.expect("files") >= 3);
        assert!((1..10_000).contains(&usage.threads.expect("threads")));
        let burnt = (0..60_000_000u64).fold(0, |a, b| std::hint::black_box(a ^ b));
        assert!(usage.cpu.expect("time") <= Usage::now().cpu.expect("time"), "{burnt}");
    }
}
