//! What storage is told at its start. Filled by `config`.

use std::time::Duration;

/// When journal groups are synced to disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sync {
    /// Before anything is called durable. A confirm means: it survives a power cut.
    Always,
    /// So often, in the background. A confirm means: it survives a kill of the process; a power cut loses at most
    /// what was confirmed in the last interval.
    Every(Duration),
    /// When the operating system decides. A confirm means: it survives a kill of the process.
    Never,
}

/// The journal's ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalOptions {
    /// When to sync.
    pub sync: Sync,
    /// Bytes after which a new file is begun.
    pub file_size: u64,
    /// Bytes of all files from which on the oldest are retired, unless most of what is in them is needed.
    pub budget: u64,
}

impl JournalOptions {
    /// Files from which on the oldest are retired, however small they are.
    #[must_use]
    pub fn most_files(&self) -> u64 {
        (self.budget / self.file_size.max(1)).max(2)
    }
}

impl Default for JournalOptions {
    fn default() -> Self {
        Self { sync: Sync::Always, file_size: 64 * 1024 * 1024, budget: 256 * 1024 * 1024 }
    }
}
