//! The files of TLS: read, and watched for changes.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::{Identity, TlsError, TlsOptions};

/// No certificate, key or list of revocations is larger.
const LARGEST: u64 = 64 << 20;

/// Permissions of those who are neither owner nor of the group.
const OTHERS: u32 = 0o007;

/// Reads a file of certificates or revocations.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let failed = |error: io::Error| TlsError::file(path, error.to_string());
    let mut text = Vec::new();
    File::open(path).and_then(|file| file.take(LARGEST).read_to_end(&mut text)).map_err(failed)?;
    Ok(text)
}

/// Reads a file with a private key. A group may read it, as certbot sets up; nobody else.
pub(super) fn read_key(path: &Path) -> Result<Zeroizing<Vec<u8>>, TlsError> {
    let failed = |error: io::Error| TlsError::file(path, error.to_string());
    let file = File::open(path).map_err(failed)?;
    let found = file.metadata().map_err(failed)?;
    if found.mode() & OTHERS != 0 {
        let mode = found.mode() & 0o7777;
        let why =
            format!("everybody on this machine can get at the private key (mode {mode:04o}); chmod o= it");
        return Err(TlsError::file(path, why));
    }
    // With room for all of it at once no copy is left behind.
    let mut text =
        Zeroizing::new(Vec::with_capacity(usize::try_from(found.len().min(LARGEST)).unwrap_or(0) + 1));
    file.take(LARGEST).read_to_end(&mut text).map_err(failed)?;
    Ok(text)
}

/// How the files look, without reading them. Two that are equal were most likely not written in between.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stamps(Vec<Option<Stamp>>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    /// It changes with permissions too.
    changed: (i64, i64),
}

impl Stamps {
    /// Looks at every file that `options` name. One that is missing is part of the picture.
    pub(super) fn of(options: &TlsOptions) -> Self {
        Self(paths(options).map(|path| stamp(path)).collect())
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let found = fs::metadata(path).ok()?;
    Some(Stamp {
        device: found.dev(),
        inode: found.ino(),
        size: found.size(),
        modified: (found.mtime(), found.mtime_nsec()),
        changed: (found.ctime(), found.ctime_nsec()),
    })
}

fn paths(options: &TlsOptions) -> impl Iterator<Item = &PathBuf> {
    let identities = std::iter::once(&options.identity).chain(options.hosts.values());
    let all = identities.flat_map(paths_of).chain([options.authorities.as_ref(), options.revoked.as_ref()]);
    all.flatten()
}

fn paths_of(identity: &Identity) -> [Option<&PathBuf>; 3] {
    [Some(&identity.cert), Some(&identity.key), identity.chain.as_ref()]
}
