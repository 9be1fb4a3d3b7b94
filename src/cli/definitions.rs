//! Definitions that are imported at the start, from a file or from all files of a directory.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use tracing::info;

use super::failure::Failure;
use crate::broker::Broker;
use crate::broker::definitions::{Document, ImportOptions, Problem, Scope, parse};
use crate::broker::events::INTERNAL;

/// The most that one file may have, in bytes.
const LARGEST_FILE: u64 = 512 << 20;

/// What the names of files in a directory end with.
const SUFFIX: &str = ".json";

/// Definitions that were read.
pub(super) struct Found {
    path: PathBuf,
    document: Document,
    /// Differs if anything in the files, or their names, does.
    hash: String,
}

/// Reads definitions.
pub(super) fn read(path: &Path) -> Result<Found, Failure> {
    let unread = |path: &Path, error| Failure::DefinitionsUnread { path: path.to_path_buf(), error };
    let is_directory = fs::metadata(path).map_err(|error| unread(path, error))?.is_dir();
    let files = if is_directory {
        files_in(path).map_err(|error| unread(path, error))?
    } else {
        vec![path.to_path_buf()]
    };
    let mut hash = Sha256::new();
    let mut problems = Vec::new();
    let mut all: Option<Document> = None;
    for file in &files {
        let bytes = contents(file).map_err(|error| unread(file, error))?;
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        for part in [name.as_bytes(), &bytes] {
            hash.update(part.len().to_le_bytes());
            hash.update(part);
        }
        info!(file = %file.display(), bytes = bytes.len(), "definitions");
        match parse(&bytes, Scope::Whole) {
            Ok(mut document) => {
                if is_directory {
                    document.set_file(&name);
                }
                match &mut all {
                    Some(all) => all.extend(document),
                    None => all = Some(document),
                }
            }
            Err(found) => problems.extend(found.into_iter().map(|Problem { place, text }| Problem {
                place: if is_directory { format!("{name}: {place}") } else { place },
                text,
            })),
        }
    }
    let path = path.to_path_buf();
    match all {
        Some(document) if problems.is_empty() => {
            let hash = hash.finalize().iter().map(|octet| format!("{octet:02x}")).collect();
            Ok(Found { path, document, hash })
        }
        None if problems.is_empty() => {
            let text = format!("there is no file that ends in \"{SUFFIX}\"");
            Err(unread(&path, io::Error::new(ErrorKind::NotFound, text)))
        }
        _ => Err(Failure::Definitions { path, problems }),
    }
}

impl Found {
    /// Whether they bring users along.
    pub(super) fn has_users(&self) -> bool {
        self.document.has_users()
    }

    /// Imports them, and waits until they are durable.
    pub(super) fn import(self, broker: &Broker, skip_if_unchanged: bool) -> Result<(), Failure> {
        let Self { path, document, hash } = self;
        if skip_if_unchanged && broker.loaded_definitions().as_ref() == Some(&hash) {
            info!(path = %path.display(), "definitions are unchanged and not imported");
            return Ok(());
        }
        let options = ImportOptions { dry_run: false, loaded: Some(hash), by: INTERNAL.to_owned() };
        match broker.import(&document, &options) {
            Ok((_, gate)) if broker.journal.wait_durable(gate.durable) => Ok(()),
            Ok(_) => Err(Failure::StorageFailed("definitions could not be stored".to_owned())),
            Err(problems) => Err(Failure::Definitions { path, problems }),
        }
    }
}

/// The files in a directory, by name. Those whose names begin with a dot are somebody else's.
fn files_in(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.ends_with(SUFFIX) && !name.starts_with('.') && path.is_file() {
            files.push(path);
        }
    }
    files.sort_unstable();
    Ok(files)
}

fn contents(file: &Path) -> io::Result<Vec<u8>> {
    let len = fs::metadata(file)?.len();
    if len > LARGEST_FILE {
        let text = format!("it has {len} bytes, and at most {LARGEST_FILE} are taken");
        return Err(io::Error::new(ErrorKind::FileTooLarge, text));
    }
    fs::read(file)
}
