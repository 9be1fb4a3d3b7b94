//! What a process costs, by the kernel's account of it in `/proc`.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use rustix::process::{Pid, Signal, kill_process};
use serde::Serialize;

use super::error::PerfError;

/// A process whose cost is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    pid: u32,
}

/// A process's figures at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Figures {
    /// CPU seconds, user and system, of all threads since it started; in steps of the kernel's ticks, mostly 10 ms.
    pub cpu_seconds: f64,
    /// Resident memory in bytes.
    pub rss_bytes: u64,
    /// The most resident memory it ever had, in bytes.
    pub peak_rss_bytes: u64,
    /// Bytes it caused to be written to disks since it started. None if the kernel does not tell: it does so to the owner
    /// of the process, and to root alone if the process forbids to be looked into.
    pub written_bytes: Option<u64>,
}

/// What a process used between two moments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Usage {
    /// CPU seconds, user and system, of all threads.
    pub cpu_seconds: f64,
    /// Messages for each of them; none if it used no CPU that could be measured, or it is not messages that were counted.
    pub messages_per_cpu_second: Option<f64>,
    /// Resident memory at the end, in bytes.
    pub rss_bytes: u64,
    /// The most resident memory the process ever had, in bytes.
    pub peak_rss_bytes: u64,
    /// Bytes written to disks meanwhile; none if the kernel does not tell.
    pub written_bytes: Option<u64>,
}

impl Figures {
    /// What was used since `before`, for so many messages.
    #[must_use]
    pub fn since(&self, before: &Self, messages: u64) -> Usage {
        let cpu_seconds = (self.cpu_seconds - before.cpu_seconds).max(0.0);
        let written = self.written_bytes.zip(before.written_bytes);
        Usage {
            cpu_seconds,
            messages_per_cpu_second: (cpu_seconds > 0.0).then(|| messages as f64 / cpu_seconds),
            rss_bytes: self.rss_bytes,
            peak_rss_bytes: self.peak_rss_bytes,
            written_bytes: written.map(|(after, before)| after.saturating_sub(before)),
        }
    }

    /// What was used since `before` for something that is not counted in messages.
    #[must_use]
    pub fn used_since(&self, before: &Self) -> Usage {
        Usage { messages_per_cpu_second: None, ..self.since(before, 0) }
    }
}

impl Process {
    /// The process with this pid.
    #[must_use]
    pub fn of(pid: u32) -> Self {
        Self { pid }
    }

    /// The process whose pid is in a file.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, or has no number.
    pub fn of_file(path: &Path) -> Result<Self, PerfError> {
        let failed = |error| PerfError::File { path: path.to_owned(), error };
        let text = fs::read_to_string(path).map_err(failed)?;
        let pid = text.trim().parse();
        pid.map(Self::of).map_err(|_| failed(io::Error::new(ErrorKind::InvalidData, "it has no pid")))
    }

    /// Ends it at once, as a crash would.
    ///
    /// # Errors
    ///
    /// If it is not there, or belongs to somebody else. The first process of a system is left alone.
    pub fn kill(self) -> Result<(), PerfError> {
        let pid = i32::try_from(self.pid).ok().filter(|pid| *pid > 1).and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| io::Error::from(ErrorKind::InvalidInput));
        let killed = pid.and_then(|pid| Ok(kill_process(pid, Signal::KILL)?));
        killed.map_err(|error| PerfError::Process { pid: self.pid, error })
    }

    /// Whether it runs: it is there, and not just waited for by who started it.
    #[must_use]
    pub fn is_running(self) -> bool {
        let Ok(stat) = fs::read_to_string(self.file("stat")) else { return false };
        let state = stat.rsplit_once(')').and_then(|(_, rest)| rest.trim_start().chars().next());
        !matches!(state, None | Some('Z' | 'X'))
    }

    /// Whether the system knows it, be it only to tell who started it how it ended.
    #[must_use]
    pub fn is_known(self) -> bool {
        self.file("stat").exists()
    }

    /// The process that asks.
    #[must_use]
    pub fn own() -> Self {
        Self { pid: std::process::id() }
    }

    /// Its figures now.
    ///
    /// # Errors
    ///
    /// If there is no such process, or no `/proc`.
    pub fn figures(self) -> Result<Figures, PerfError> {
        self.read().map_err(|error| PerfError::Process { pid: self.pid, error })
    }

    fn read(self) -> io::Result<Figures> {
        let ticks = ticks(&fs::read_to_string(self.file("stat"))?).ok_or_else(|| odd("stat"))?;
        let status = fs::read_to_string(self.file("status"))?;
        // A process that has ended and was not waited for yet has no memory.
        let bytes = |name| field(&status, name).unwrap_or(0).saturating_mul(1024);
        let written_bytes = match fs::read_to_string(self.file("io")) {
            Ok(text) => Some(field(&text, "write_bytes").ok_or_else(|| odd("io"))?),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) if error.kind() == ErrorKind::PermissionDenied => None,
            Err(error) => return Err(error),
        };
        Ok(Figures {
            cpu_seconds: ticks as f64 / rustix::param::clock_ticks_per_second() as f64,
            rss_bytes: bytes("VmRSS"),
            peak_rss_bytes: bytes("VmHWM"),
            written_bytes,
        })
    }

    fn file(self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{name}", self.pid))
    }
}

/// User and system ticks of a line of `/proc/PID/stat`. The name in it may have any letters, parentheses included.
fn ticks(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    user.checked_add(system)
}

/// The number of a line `name: number`, whatever unit is behind it.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

fn odd(file: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, format!("'{file}' is not in the form it should be"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_any_kind_are_skipped() {
        let stat = "42 (a) b (c) S 1 42 42 0 -1 4194560 2149 0 0 0 130 21 0 0 20 0 5 0";
        assert_eq!(ticks(stat), Some(151));
        assert_eq!(ticks("42 (x) S 1"), None);
        assert_eq!(ticks(""), None);
    }

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let text = "VmRSSx:\t1 kB\nVmRSS:\t  12 kB\ncancelled_write_bytes: 7\nwrite_bytes: 8\n";
        assert_eq!(field(text, "VmRSS"), Some(12));
        assert_eq!(field(text, "write_bytes"), Some(8));
        assert_eq!(field(text, "Vm"), None);
    }

    #[test]
    fn the_own_process_has_memory_and_uses_cpu() {
        let before = Process::own().figures().expect("figures");
        assert!(before.rss_bytes > 0 && before.peak_rss_bytes >= before.rss_bytes / 2);
        let mut after = before;
        // Looking costs CPU too, so that this ends.
        while after.cpu_seconds <= before.cpu_seconds {
            after = Process::own().figures().expect("figures");
        }
        let usage = after.since(&before, 100);
        assert!(usage.cpu_seconds > 0.0);
        assert_eq!(usage.messages_per_cpu_second, Some(100.0 / usage.cpu_seconds));
        assert_eq!(before.since(&before, 5).messages_per_cpu_second, None);
    }

    #[test]
    fn a_process_is_killed_and_then_does_not_run() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().expect("a process");
        let process = Process::of(child.id());
        assert!(process.is_running());
        process.kill().expect("killed");
        // Nobody has waited for it yet, and it does not run all the same.
        while process.is_running() {
            std::thread::yield_now();
        }
        assert!(process.is_known());
        child.wait().expect("an end");
        assert!(!process.is_known());
        assert!(!process.is_running() && process.kill().is_err());
        for pid in [0, 1, u32::MAX] {
            assert!(Process::of(pid).kill().is_err(), "{pid}");
        }
    }

    #[test]
    fn a_process_that_is_not_there_is_named() {
        let error = Process::of(u32::MAX).figures().expect_err("no such pid");
        assert!(error.to_string().contains("4294967295"), "{error}");
    }
}
