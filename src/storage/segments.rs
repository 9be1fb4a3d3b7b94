//! The segment files there are: their numbers, and handles to read them by.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::storage::disk::{Disk, DiskFile, Open};
use crate::storage::segment::{self, Kind, SegmentWriter};

/// Files kept open for the next read of them.
const OPEN_FILES: usize = 32;

/// All segment files of a data directory.
#[derive(Debug)]
pub struct Segments {
    disk: Arc<dyn Disk>,
    inner: Mutex<Inner>,
}

/// What all segments take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SegmentsUsage {
    /// Finished files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// How many of these were needed when a checkpoint [looked last](Segments::note_needed): all before the first one
    /// does, and all of files that are newer.
    pub needed: u64,
    /// Bytes of all that were finished since the start.
    pub written: u64,
}

#[derive(Debug, Default)]
struct Inner {
    last: u64,
    /// Lengths of the files that are finished, by number.
    lengths: BTreeMap<u64, u64>,
    needed: u64,
    written: u64,
    transient: BTreeSet<u64>,
    /// Files that stay as long as somebody [pins](Segments::pin) them, and those of them to be removed then.
    pinned: BTreeSet<u64>,
    doomed: Vec<u64>,
    /// Lately read first.
    open: VecDeque<(u64, Arc<dyn DiskFile>)>,
}

impl Segments {
    /// The segments of `disk`: those that the catalogue names, with their lengths. `last` is the highest number that was
    /// ever given. Other segment files were begun by a process that died, or are transient ones, and are removed.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn open(
        disk: Arc<dyn Disk>,
        last: u64,
        known: impl IntoIterator<Item = (u64, u64)>,
    ) -> io::Result<Self> {
        let lengths: BTreeMap<u64, u64> = known.into_iter().collect();
        let mut last = lengths.keys().next_back().copied().unwrap_or(0).max(last);
        let names = disk.list()?;
        let mut missing: BTreeSet<u64> = lengths.keys().copied().collect();
        for name in names {
            let Some(number) = segment::number_of(&name) else { continue };
            if !missing.remove(&number) {
                // Its number is not given again while a removal that is not durable could bring it back.
                last = last.max(number);
                disk.remove(&name)?;
            }
        }
        for number in missing {
            let file = segment::name_of(number);
            tracing::error!(file, "a segment file is missing; the messages in it are left out");
        }
        let needed = lengths.values().sum();
        let inner = Mutex::new(Inner { last, lengths, needed, ..Inner::default() });
        Ok(Self { disk, inner })
    }

    /// Begins a new segment. [`added`](Self::added) once it is finished, [`discard`](Self::discard) if it never is.
    ///
    /// # Errors
    /// If the disk fails, or has no room.
    pub fn create(&self, kind: Kind) -> io::Result<SegmentWriter> {
        let number = {
            let mut inner = self.inner.lock();
            inner.last += 1;
            inner.last
        };
        let writer = SegmentWriter::create(&*self.disk, number, kind);
        if writer.is_err() {
            self.discard(number);
        }
        writer
    }

    /// A segment is finished, and has `len` bytes.
    pub fn added(&self, number: u64, len: u64, kind: Kind) {
        let mut inner = self.inner.lock();
        inner.lengths.insert(number, len);
        inner.needed += len;
        inner.written += len;
        if kind == Kind::Transient {
            inner.transient.insert(number);
        }
    }

    /// Notes how many bytes of all segments something refers to.
    pub fn note_needed(&self, bytes: u64) {
        self.inner.lock().needed = bytes;
    }

    /// What all segments take.
    #[must_use]
    pub fn usage(&self) -> SegmentsUsage {
        let inner = self.inner.lock();
        let bytes = inner.lengths.values().sum();
        SegmentsUsage {
            files: inner.lengths.len() as u64,
            bytes,
            needed: inner.needed.min(bytes),
            written: inner.written,
        }
    }

    /// Removes a segment that nothing refers to, or will. The file of one that is pinned goes later.
    pub fn discard(&self, number: u64) {
        {
            let mut inner = self.inner.lock();
            inner.lengths.remove(&number);
            inner.transient.remove(&number);
            inner.open.retain(|(open, _)| *open != number);
            if inner.pinned.contains(&number) {
                inner.doomed.push(number);
                return;
            }
        }
        self.remove(number);
    }

    /// Keeps the files of segments until what this returns is dropped, whoever discards them meanwhile. One pin at a
    /// time: another takes its place.
    #[must_use]
    pub fn pin(self: &Arc<Self>, numbers: impl IntoIterator<Item = u64>) -> Pinned {
        self.inner.lock().pinned = numbers.into_iter().collect();
        Pinned(self.clone())
    }

    fn remove(&self, number: u64) {
        match self.disk.remove(&segment::name_of(number)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                // The next start will.
                tracing::warn!(number, %error, "a segment file cannot be removed");
            }
            _ => {}
        }
    }

    /// Finished segments with their lengths, and whether they are transient.
    #[must_use]
    pub fn all(&self) -> Vec<(u64, u64, bool)> {
        let inner = self.inner.lock();
        inner.lengths.iter().map(|(number, len)| (*number, *len, inner.transient.contains(number))).collect()
    }

    /// The highest number that was ever given.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.inner.lock().last
    }

    /// A segment's file, to be read.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub fn file(&self, number: u64) -> io::Result<Arc<dyn DiskFile>> {
        if let Some((_, file)) = self.inner.lock().open.iter().find(|(open, _)| *open == number) {
            return Ok(file.clone());
        }
        let file = self.disk.open(&segment::name_of(number), Open::Read)?;
        let mut inner = self.inner.lock();
        inner.open.push_front((number, file.clone()));
        inner.open.truncate(OPEN_FILES);
        Ok(file)
    }

    /// Makes the names of all finished segments durable.
    ///
    /// # Errors
    /// If the sync fails.
    pub fn sync_names(&self) -> io::Result<()> {
        self.disk.sync_dir()
    }
}

/// Keeps the files of segments.
#[derive(Debug)]
pub struct Pinned(Arc<Segments>);

impl Drop for Pinned {
    fn drop(&mut self) {
        let doomed = {
            let mut inner = self.0.inner.lock();
            inner.pinned.clear();
            std::mem::take(&mut inner.doomed)
        };
        doomed.into_iter().for_each(|number| self.0.remove(number));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::simulated_disk::SimulatedDisk;

    #[test]
    fn what_nothing_refers_to_is_removed_at_the_start_and_its_number_not_given_again() {
        let disk: Arc<dyn Disk> = Arc::new(SimulatedDisk::new(1));
        let segments = Segments::open(disk.clone(), 0, []).unwrap();
        for expected in 1..=3 {
            let writer = segments.create(Kind::Durable).unwrap();
            assert_eq!(writer.number(), expected);
            segments.added(expected, writer.finish().unwrap(), Kind::Durable);
        }
        segments.discard(1);
        assert_eq!(segments.all().iter().map(|(number, ..)| *number).collect::<Vec<_>>(), [2, 3]);
        assert_eq!(segments.file(1).unwrap_err().kind(), io::ErrorKind::NotFound);
        drop(segments);
        let segments = Segments::open(disk.clone(), 2, [(2, 4096)]).unwrap();
        assert_eq!(disk.list().unwrap(), ["segment-00000002"]);
        assert_eq!((segments.all(), segments.last()), (vec![(2, 4096, false)], 3));
        assert!(segments.file(2).is_ok());
    }

    #[test]
    fn what_segments_take_is_told() {
        let disk: Arc<dyn Disk> = Arc::new(SimulatedDisk::new(1));
        let segments = Segments::open(disk.clone(), 0, []).unwrap();
        assert_eq!(segments.usage(), SegmentsUsage::default());
        segments.added(1, 1000, Kind::Durable);
        segments.added(2, 500, Kind::Transient);
        let usage = SegmentsUsage { files: 2, bytes: 1500, needed: 1500, written: 1500 };
        assert_eq!(segments.usage(), usage);
        segments.note_needed(700);
        segments.added(3, 10, Kind::Durable);
        let usage = segments.usage();
        assert_eq!((usage.bytes, usage.needed), (1510, 710));
        segments.discard(1);
        let usage = segments.usage();
        assert_eq!((usage.files, usage.bytes, usage.needed, usage.written), (2, 510, 510, 1510));
        let usage = Segments::open(disk, 4, [(4, 4096)]).unwrap().usage();
        assert_eq!(
            (usage.files, usage.needed, usage.written),
            (1, 4096, 0),
            "all that was there may be needed"
        );
    }

    #[test]
    fn what_is_pinned_is_removed_when_nobody_pins_it_any_more() {
        let disk: Arc<dyn Disk> = Arc::new(SimulatedDisk::new(1));
        let segments = Arc::new(Segments::open(disk.clone(), 0, []).unwrap());
        for number in 1..=3 {
            let writer = segments.create(Kind::Durable).unwrap();
            segments.added(number, writer.finish().unwrap(), Kind::Durable);
        }
        let pinned = segments.pin([1, 2]);
        segments.discard(1);
        segments.discard(3);
        assert_eq!(segments.all().len(), 1);
        assert_eq!(disk.list().unwrap(), ["segment-00000001", "segment-00000002"]);
        drop(pinned);
        assert_eq!(disk.list().unwrap(), ["segment-00000002"]);
    }
}
