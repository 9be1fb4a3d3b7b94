//! The journal's files as appenders, readers and checkpoints see them, and where in them the bodies are.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::storage::disk::DiskFile;
use crate::storage::item;

/// A journal file that is needed.
#[derive(Debug)]
pub(super) struct FileState {
    /// Its number, which is its epoch.
    pub(super) number: u64,
    /// The position before its first record.
    pub(super) base: u64,
    /// The body address of its first item.
    pub(super) address: u64,
    /// Once the writer has begun it.
    pub(super) begun: Option<Begun>,
    /// Bytes on disk, zeros ahead included.
    pub(super) bytes: u64,
    /// The offset behind its last written group.
    pub(super) end: u64,
    pub(super) bodies: Bodies,
}

/// A file that exists: its header and its name are on disk.
#[derive(Clone, Debug)]
pub(super) struct Begun {
    pub(super) name: Arc<str>,
    pub(super) file: Arc<dyn DiskFile>,
}

impl Begun {
    /// Whether somebody reads from the file. Asked under the journal's lock, of a file that is not needed any more:
    /// then nobody new comes to it.
    pub(super) fn is_pinned(&self) -> bool {
        Arc::strong_count(&self.file) > 1
    }
}

/// Where in a file the body blocks are.
#[derive(Debug, Default)]
pub(super) struct Bodies {
    /// The body address of each block and its offset in the file; both rise.
    blocks: Vec<(u64, u64)>,
    /// The address behind the last one.
    until: u64,
}

impl Bodies {
    /// Adds a block of `len` bytes behind those there are.
    pub(super) fn push(&mut self, address: u64, offset: u64, len: u64) {
        if len > 0 {
            self.blocks.push((address, offset));
            self.until = address.saturating_add(len);
        }
    }

    /// The block with `address`: offset of this address, and offset behind the block. `near` is a place in the list
    /// to look first, and becomes the one where it was.
    fn find(&self, address: u64, near: &mut usize) -> Option<(u64, u64)> {
        let is_in = |at: usize| {
            let begins = self.blocks.get(at).is_some_and(|(first, _)| *first <= address);
            begins && self.blocks.get(at + 1).is_none_or(|(next, _)| address < *next)
        };
        if !is_in(*near) {
            *near = self.blocks.partition_point(|(first, _)| *first <= address).checked_sub(1)?;
        }
        let (first, offset) = *self.blocks.get(*near)?;
        let until = self.blocks.get(*near + 1).map_or(self.until, |(next, _)| *next);
        (address < until).then(|| (offset + (address - first), offset + (until - first)))
    }
}

/// Where a message lies in the journal. As long as it is held, the file is not written over.
#[derive(Clone, Debug)]
pub struct Located {
    /// The file.
    pub file: Arc<dyn DiskFile>,
    /// Its name.
    pub name: Arc<str>,
    /// Where in it the message's item begins.
    pub offset: u64,
    /// The seal of items in this file.
    pub seal: u32,
    /// Where the bodies end that were written together with it: no item goes further.
    pub until: u64,
}

/// A journal file that is needed, up to its last group. As long as it is held, it is not written over; what lies before
/// `len` is not changed any more.
#[derive(Clone, Debug)]
pub struct Held {
    /// Its name.
    pub name: Arc<str>,
    /// The file.
    pub file: Arc<dyn DiskFile>,
    /// Where its last written group ends.
    pub len: u64,
}

/// Finds addresses, fast if they rise.
pub(super) struct Finder<'a> {
    files: &'a VecDeque<FileState>,
    file: usize,
    block: usize,
}

impl<'a> Finder<'a> {
    pub(super) fn new(files: &'a VecDeque<FileState>) -> Self {
        Self { files, file: 0, block: 0 }
    }

    /// Where `address` is; `None` if it is not written yet, or not needed any more.
    pub(super) fn find(&mut self, address: u64) -> Option<Located> {
        let is_in = |at: usize| {
            let begins = self.files.get(at).is_some_and(|file| file.address <= address);
            begins && self.files.get(at + 1).is_none_or(|next| address < next.address)
        };
        if !is_in(self.file) {
            self.file = self.files.partition_point(|file| file.address <= address).checked_sub(1)?;
            self.block = 0;
        }
        let state = self.files.get(self.file)?;
        let (offset, until) = state.bodies.find(address, &mut self.block)?;
        let Begun { name, file } = state.begun.clone()?;
        Some(Located { file, name, offset, seal: item::seal(state.number), until })
    }
}
