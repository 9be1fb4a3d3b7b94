//! Facts about the machine that the meaning of some options depends on.

use std::path::Path;

use super::memory;

/// The machine the program runs on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Its name.
    pub host_name: String,
    /// The memory this process may have, in bytes; `None` if the operating system does not tell.
    pub memory: Option<u64>,
    /// How many files this process may have open at a time; `None` if any number.
    pub open_files: Option<u64>,
}

impl Machine {
    /// Asks the operating system.
    #[must_use]
    pub fn read() -> Self {
        let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let name = name.trim();
        let host_name = if name.is_empty() { "leveret" } else { name }.to_owned();
        // The program raises the soft limit to the hard one.
        let open_files = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum;
        Self { host_name, memory: memory::available(Path::new("/")), open_files }
    }
}
