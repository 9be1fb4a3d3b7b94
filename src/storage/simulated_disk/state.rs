//! What the disk holds: as the process sees it, as the medium has it, and the changes between the two.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::sync::Arc;

use super::crash::Random;
use super::faults::Faults;

/// A file by itself, whatever its name.
pub(super) type FileId = u64;

/// The files by name.
pub(super) type Names = BTreeMap<String, FileId>;

/// A change that may be lost until a sync.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Write { file: FileId, at: u64, bytes: Arc<[u8]> },
    SetLen { file: FileId, len: u64 },
    Create { name: String, file: FileId },
    Rename { file: FileId, to: String },
    Remove { name: String, file: FileId },
}

impl Change {
    /// The file whose content it changes, or none if it changes names.
    pub(super) fn content_of(&self) -> Option<FileId> {
        match self {
            Self::Write { file, .. } | Self::SetLen { file, .. } => Some(*file),
            Self::Create { .. } | Self::Rename { .. } | Self::Remove { .. } => None,
        }
    }

    fn apply_to_content(&self, content: &mut Vec<u8>) {
        match self {
            Self::Write { at, bytes, .. } => write(content, *at, bytes),
            Self::SetLen { len, .. } => content.resize(size(*len), 0),
            Self::Create { .. } | Self::Rename { .. } | Self::Remove { .. } => {}
        }
    }

    /// On the medium an earlier change may be missing, so the names found need not be the ones the process saw.
    fn apply_to_names(&self, names: &mut Names) {
        match self {
            Self::Create { name, file } => {
                names.insert(name.clone(), *file);
            }
            Self::Rename { file, to } => {
                names.retain(|_, named| named != file);
                names.insert(to.clone(), *file);
            }
            Self::Remove { name, file } => {
                if names.get(name) == Some(file) {
                    names.remove(name);
                }
            }
            Self::Write { .. } | Self::SetLen { .. } => {}
        }
    }
}

/// Lengths are checked when they come in, so that they fit.
pub(super) fn size(len: u64) -> usize {
    usize::try_from(len).unwrap_or(usize::MAX)
}

/// Writes into a content, with zeros up to `at` if it is shorter.
pub(super) fn write(content: &mut Vec<u8>, at: u64, bytes: &[u8]) {
    let start = size(at);
    let end = start + bytes.len();
    if content.len() < end {
        content.resize(end, 0);
    }
    content[start..end].copy_from_slice(bytes);
}

/// The contents of a file. Shared with the disks before and after a crash until one of them writes.
#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    pub(super) live: Arc<Vec<u8>>,
    pub(super) durable: Arc<Vec<u8>>,
    /// How often the file is open: without a name it takes space as long as it is.
    pub(super) handles: u32,
}

/// What is on a medium, or would be.
#[derive(Clone, Debug, Default)]
pub(super) struct Medium {
    pub(super) names: Names,
    pub(super) contents: BTreeMap<FileId, Arc<Vec<u8>>>,
}

impl Medium {
    pub(super) fn content(&mut self, file: FileId) -> &mut Vec<u8> {
        Arc::make_mut(self.contents.entry(file).or_default())
    }

    pub(super) fn apply(&mut self, change: &Change) {
        match change.content_of() {
            Some(file) => change.apply_to_content(self.content(file)),
            None => change.apply_to_names(&mut self.names),
        }
    }
}

/// A simulated disk.
#[derive(Debug)]
pub(super) struct State {
    pub(super) faults: Faults,
    pub(super) random: Random,
    pub(super) capacity: Option<u64>,
    pub(super) locked: bool,
    pub(super) log: Vec<Change>,
    live_names: Names,
    durable_names: Names,
    files: BTreeMap<FileId, Content>,
    last_file: FileId,
}

impl State {
    pub(super) fn new(seed: u64) -> Self {
        Self::found(Medium::default(), Random::new(seed))
    }

    /// A disk on which all is durable.
    pub(super) fn found(medium: Medium, random: Random) -> Self {
        let Medium { names, contents } = medium;
        let all = |content: Arc<Vec<u8>>| Content { durable: content.clone(), live: content, handles: 0 };
        Self {
            faults: Faults::default(),
            random,
            capacity: None,
            locked: false,
            log: Vec::new(),
            live_names: names.clone(),
            durable_names: names,
            last_file: contents.keys().next_back().copied().unwrap_or_default(),
            files: contents.into_iter().map(|(file, content)| (file, all(content))).collect(),
        }
    }

    /// The disk after the process died and the machine went on: nothing is lost, and nothing more is durable.
    pub(super) fn for_next_process(&self, random: Random) -> Self {
        let closed = |content: &Content| Content { handles: 0, ..content.clone() };
        Self {
            faults: Faults::default(),
            random,
            capacity: self.capacity,
            locked: false,
            log: self.log.clone(),
            live_names: self.live_names.clone(),
            durable_names: self.durable_names.clone(),
            files: self.files.iter().map(|(file, content)| (*file, closed(content))).collect(),
            last_file: self.last_file,
        }
    }

    /// What is on the medium for certain.
    pub(super) fn durable(&self) -> Medium {
        Medium {
            names: self.durable_names.clone(),
            contents: self.files.iter().map(|(file, content)| (*file, content.durable.clone())).collect(),
        }
    }

    /// The names with the contents that the process sees.
    pub(super) fn names(&self) -> impl Iterator<Item = (&String, &[u8])> {
        self.live_names.iter().filter_map(|(name, file)| {
            let content = self.files.get(file)?;
            Some((name, content.live.as_slice()))
        })
    }

    pub(super) fn named(&self, name: &str) -> io::Result<FileId> {
        self.live_names.get(name).copied().ok_or_else(|| ErrorKind::NotFound.into())
    }

    pub(super) fn content(&mut self, file: FileId) -> &mut Content {
        self.files.entry(file).or_default()
    }

    pub(super) fn create(&mut self, name: &str) -> FileId {
        self.last_file += 1;
        let file = self.last_file;
        self.files.insert(file, Content::default());
        self.change(Change::Create { name: name.into(), file });
        file
    }

    /// Makes a change that the process sees at once.
    pub(super) fn change(&mut self, change: Change) {
        match change.content_of() {
            Some(file) => change.apply_to_content(Arc::make_mut(&mut self.content(file).live)),
            None => change.apply_to_names(&mut self.live_names),
        }
        self.log.push(change);
    }

    /// Makes a file's content durable, or loses what is not.
    pub(super) fn sync_content(&mut self, file: FileId, lost: bool) {
        let Self { log, files, .. } = self;
        let durable = &mut files.entry(file).or_default().durable;
        log.retain(|change| {
            let synced = change.content_of() == Some(file);
            if synced && !lost {
                change.apply_to_content(Arc::make_mut(durable));
            }
            !synced
        });
    }

    /// Makes the names durable, or loses what is not.
    pub(super) fn sync_names(&mut self, lost: bool) {
        let Self { log, durable_names, .. } = self;
        log.retain(|change| {
            let synced = change.content_of().is_none();
            if synced && !lost {
                change.apply_to_names(durable_names);
            }
            !synced
        });
        self.forget_unreachable();
    }

    /// With no names in the log, a file without a name comes back only by a handle.
    fn forget_unreachable(&mut self) {
        let named: BTreeSet<FileId> =
            self.live_names.values().chain(self.durable_names.values()).copied().collect();
        self.files.retain(|file, content| content.handles > 0 || named.contains(file));
        let files = &self.files;
        self.log.retain(|change| change.content_of().is_none_or(|file| files.contains_key(&file)));
    }

    /// Changes a file at rest.
    pub(super) fn damage(
        &mut self,
        file: FileId,
        mut damage: impl FnMut(&mut Vec<u8>) -> io::Result<()>,
    ) -> io::Result<()> {
        self.sync_content(file, false);
        let Content { live, durable, .. } = self.content(file);
        damage(Arc::make_mut(live))?;
        // After a lost sync the medium may not have what the process sees.
        let _ = damage(Arc::make_mut(durable));
        Ok(())
    }

    /// What is left of the capacity, if there is one.
    pub(super) fn free_space(&self) -> Option<u64> {
        let capacity = self.capacity?;
        let named: BTreeSet<FileId> = self.live_names.values().copied().collect();
        let taking = self.files.iter().filter(|(file, content)| content.handles > 0 || named.contains(file));
        let taken: u64 = taking.map(|(_, content)| content.live.len() as u64).sum();
        Some(capacity.saturating_sub(taken))
    }

    /// The length of the last unsynced write.
    pub(super) fn last_write(&self) -> usize {
        let last = self.log.iter().rev().find_map(|change| match change {
            Change::Write { bytes, .. } => Some(bytes.len()),
            _ => None,
        });
        last.unwrap_or_default()
    }
}
