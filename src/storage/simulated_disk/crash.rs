//! What a crash leaves on the disk.

use std::collections::BTreeMap;

use super::state::{Change, FileId, Medium, State, size, write};

/// The unit that arrives on a medium whole or not at all.
const SECTOR: u64 = 512;

/// What becomes of the changes that no sync followed. Contents are changed by writes and lengths, names by creating,
/// renaming and removing files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// The process is killed and the machine goes on. All changes are there and still unsynced: a power cut later may
    /// take them, unless the next process syncs.
    KeepAll,
    /// A power cut that takes all of them.
    DropUnsynced,
    /// A power cut that keeps the first of them, as many as chance will, in the order they were made.
    KeepPrefix,
    /// A power cut that keeps what chance will: each sector as it was after any of its unsynced writes or before
    /// all of them, each change of a name or length or not. A file that was lengthened may show zeros.
    RandomSubset,
    /// A power cut that keeps all, but of the last write only the first bytes. See
    /// [`last_unsynced_write`](super::SimulatedDisk::last_unsynced_write).
    TearLast {
        /// How much of that write arrived.
        bytes: usize,
    },
    /// A power cut that keeps names and lengths and loses what was written: old bytes, or zeros where a file was
    /// lengthened.
    KeepLengths,
    /// A power cut that keeps names and loses contents: a rename that came before what was renamed.
    KeepNames,
    /// A power cut that keeps contents and loses names: a created file that is whole and cannot be found.
    KeepContents,
}

impl Crash {
    /// All of them but [`TearLast`](Self::TearLast), for tests that try each.
    pub const EACH: [Self; 7] = [
        Self::KeepAll,
        Self::DropUnsynced,
        Self::KeepPrefix,
        Self::RandomSubset,
        Self::KeepLengths,
        Self::KeepNames,
        Self::KeepContents,
    ];
}

/// Numbers that a seed decides: SplitMix64.
#[derive(Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to `most`, both included.
    fn up_to(&mut self, most: usize) -> usize {
        // The remainder is below a length in memory, so it fits.
        size(self.next() % (most as u64).saturating_add(1))
    }

    fn coin(&mut self) -> bool {
        self.next() >> 63 == 1
    }
}

impl State {
    /// The disk of the next process.
    pub(super) fn after_crash(&mut self, how: Crash) -> Self {
        let random = Random::new(self.random.next());
        if how == Crash::KeepAll {
            return self.for_next_process(random);
        }
        let mut found = self.durable();
        match how {
            Crash::KeepAll | Crash::DropUnsynced => {}
            Crash::KeepPrefix => {
                let kept = self.random.up_to(self.log.len());
                self.log.iter().take(kept).for_each(|change| found.apply(change));
            }
            Crash::RandomSubset => random_subset(&self.log, &mut self.random, &mut found),
            Crash::TearLast { bytes } => tear_last(&self.log, bytes, &mut found),
            Crash::KeepLengths => self.log.iter().for_each(|change| apply_length(change, &mut found)),
            Crash::KeepNames => self.names_changed().for_each(|change| found.apply(change)),
            Crash::KeepContents => self.contents_changed().for_each(|change| found.apply(change)),
        }
        let Medium { names, contents } = &mut found;
        contents.retain(|file, _| names.values().any(|named| named == file));
        let mut next = Self::found(found, random);
        next.capacity = self.capacity;
        next
    }

    fn names_changed(&self) -> impl Iterator<Item = &Change> {
        self.log.iter().filter(|change| change.content_of().is_none())
    }

    fn contents_changed(&self) -> impl Iterator<Item = &Change> {
        self.log.iter().filter(|change| change.content_of().is_some())
    }
}

/// Makes a file as long as a write would, and no more.
fn extend(content: &mut Vec<u8>, at: u64, bytes: &[u8]) {
    let end = size(at) + bytes.len();
    if content.len() < end {
        content.resize(end, 0);
    }
}

fn apply_length(change: &Change, found: &mut Medium) {
    match change {
        Change::Write { file, at, bytes } => extend(found.content(*file), *at, bytes),
        change => found.apply(change),
    }
}

fn tear_last(log: &[Change], arrived: usize, found: &mut Medium) {
    let last = log.iter().rposition(|change| matches!(change, Change::Write { .. }));
    for (index, change) in log.iter().enumerate() {
        match change {
            Change::Write { file, at, bytes } if Some(index) == last => {
                let bytes = &bytes[..arrived.min(bytes.len())];
                if !bytes.is_empty() {
                    write(found.content(*file), *at, bytes);
                }
            }
            change => found.apply(change),
        }
    }
}

/// A write as pieces that each lie in one sector, with their offsets.
fn sectors(at: u64, bytes: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    let (mut at, mut rest) = (at, bytes);
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (piece, left) = rest.split_at(size(SECTOR - at % SECTOR).min(rest.len()));
        let start = at;
        at += piece.len() as u64;
        rest = left;
        Some((start, piece))
    })
}

/// A sector carries all that was written to it before it went out, so a later write to it never arrives without the
/// earlier ones: chance chooses, for each, after how many of its writes that was.
fn random_subset(log: &[Change], random: &mut Random, found: &mut Medium) {
    let mut unsynced: BTreeMap<(FileId, u64), usize> = BTreeMap::new();
    for change in log {
        if let Change::Write { file, at, bytes } = change {
            for (start, _) in sectors(*at, bytes) {
                *unsynced.entry((*file, start / SECTOR)).or_default() += 1;
            }
        }
    }
    for writes in unsynced.values_mut() {
        *writes = match random.up_to(3) {
            0 => 0,
            1 => *writes,
            _ => random.up_to(*writes),
        };
    }
    for change in log {
        match change {
            Change::Write { file, at, bytes } => {
                for (start, piece) in sectors(*at, bytes) {
                    if let Some(left) = unsynced.get_mut(&(*file, start / SECTOR)).filter(|left| **left > 0) {
                        *left -= 1;
                        write(found.content(*file), start, piece);
                    }
                }
                if random.coin() {
                    extend(found.content(*file), *at, bytes);
                }
            }
            change if random.coin() => found.apply(change),
            _ => {}
        }
    }
}
