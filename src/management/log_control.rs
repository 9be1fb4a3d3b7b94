//! The log of the process, as far as it can be changed and looked at while it runs.

use std::io;

use tracing::level_filters::LevelFilter;

use crate::management::log_tail::LogTail;

/// Whoever has the log.
pub trait LogControl: Send + Sync {
    /// Opens the file anew, under the same name, which does nothing if the log is no file. The old one stays in use if that
    /// fails.
    ///
    /// # Errors
    /// The file cannot be opened.
    fn reopen(&self) -> io::Result<()>;

    /// The least severe level that is logged.
    fn level(&self) -> LevelFilter;

    /// Changes it.
    fn set_level(&self, level: LevelFilter);

    /// The last lines of it.
    fn tail(&self) -> &LogTail;
}
