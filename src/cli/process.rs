//! The process itself: who it runs as, and who else may look at what it holds.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::process::geteuid;
use tracing::warn;

use crate::config::Loaded;

/// Permissions of everybody but the owner.
const OF_OTHERS: u32 = 0o077;

/// Permissions of everybody but the owner and a group.
const OF_EVERYBODY: u32 = 0o007;

/// Makes sure that the memory of the process, which has passwords in it, does not end in a file when it crashes, and is
/// not read by other processes of its user.
#[cfg(target_os = "linux")]
pub(super) fn forbid_core_dumps() {
    use rustix::process::{DumpableBehavior, set_dumpable_behavior};
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(io::Error::from) {
        warn!(%error, "core dumps cannot be forbidden");
    }
}

/// Makes sure that the memory of the process does not end in a file when it crashes.
#[cfg(not(target_os = "linux"))]
pub(super) fn forbid_core_dumps() {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    if let Err(error) = setrlimit(Resource::Core, none).map_err(io::Error::from) {
        warn!(%error, "core dumps cannot be forbidden");
    }
}

/// Warns of more rights than a broker should have.
pub(super) fn warn_of_root() {
    if geteuid().is_root() {
        warn!("running as root, which Leveret never needs; give it a user of its own");
    }
}

/// Warns of a configuration file that everybody may read and that has secrets in it. A group may: so services have it.
pub(super) fn warn_of_readers_of_secrets(loaded: &Loaded) {
    let Some(path) = loaded.file_with_secrets() else { return };
    let Ok(metadata) = std::fs::metadata(path) else { return };
    let mode = metadata.mode() & 0o7777;
    if mode & OF_EVERYBODY != 0 {
        let (path, mode) = (path.display(), format!("{mode:04o}"));
        warn!(%path, mode, "everybody may read the passwords in the configuration; chmod 0640 keeps them out");
    }
}

/// Warns of a data directory that others may use: messages and hashes of passwords are in it.
pub(super) fn warn_of_readers(data_dir: &Path) {
    // Whoever opens it next says what is wrong if this cannot.
    let Ok(metadata) = std::fs::metadata(data_dir) else { return };
    let mode = metadata.mode() & 0o7777;
    if mode & OF_OTHERS != 0 {
        let (path, mode) = (data_dir.display(), format!("{mode:04o}"));
        warn!(%path, mode, "the data directory is open to others; chmod 0700 keeps them out");
    }
}
