//! Records of messages that came to one queue, one after the other, each by itself. There may be many; they are read
//! without being told apart one by one.

use crate::ids::QueueId;
use crate::storage::codec::Reader;
use crate::storage::record::{ENQUEUED, Enqueued, enqueued};

/// What the records at a reader begin with, as far as they are of one queue, and of messages that are stored with them and
/// have no lifetime of their own.
pub(super) struct Enqueues<'r, 'a> {
    reader: &'r mut Reader<'a>,
    /// The tag and the queue, as each of these records begins.
    prefix: &'a [u8],
    queue: QueueId,
    /// Records that there may be yet.
    left: &'r mut u32,
}

impl<'r, 'a> Enqueues<'r, 'a> {
    /// Those that `reader` begins with; `None` if the next record is another. Both are moved on with each that is taken;
    /// there are no more than `left`.
    pub(super) fn new(reader: &'r mut Reader<'a>, left: &'r mut u32) -> Option<Self> {
        let records = reader.0;
        let mut first = *reader;
        if first.octet()? != ENQUEUED {
            return None;
        }
        let queue = QueueId(first.int()?);
        let prefix = records.get(..records.len() - first.0.len())?;
        Some(Self { reader, prefix, queue, left })
    }

    /// Their queue.
    pub(super) fn queue(&self) -> QueueId {
        self.queue
    }
}

impl Iterator for Enqueues<'_, '_> {
    type Item = Enqueued;

    /// What is no such record stays where it is, to be read or refused as all others are.
    #[inline]
    fn next(&mut self) -> Option<Enqueued> {
        let left = self.left.checked_sub(1)?;
        let mut reader = Reader(self.reader.0.strip_prefix(self.prefix)?);
        let found = enqueued(&mut reader, ENQUEUED, self.queue)?;
        (*self.reader, *self.left) = (reader, left);
        Some(found)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ids::Position;
    use crate::storage::codec::put_int;
    use crate::storage::record::{Entry, Record, decode};

    /// Records of a few queues, cut off somewhere.
    fn records() -> impl Strategy<Value = Vec<u8>> {
        let record = (0_u8..8, 1_u64..3, 0_u64..1 << 40, 0_u64..300);
        (prop::collection::vec(record, 0..30), 0_usize..4).prop_map(|(records, cut)| {
            let mut out = Vec::new();
            for (kind, queue, position, len) in records {
                if kind == 0 {
                    Record::Removed { queue: QueueId(queue), position: Position(position), count: len }
                        .encode(&mut out);
                } else {
                    out.push(ENQUEUED);
                    [queue, position, len + 12, len].into_iter().for_each(|int| put_int(&mut out, int));
                }
            }
            out.truncate(out.len().saturating_sub(cut));
            out
        })
    }

    /// All entries up to the first that is none, and what is left of the bytes.
    fn one_by_one(bytes: &[u8], mut left: u32) -> (Vec<Entry>, usize) {
        let mut reader = Reader(bytes);
        let (mut entries, mut rest) = (Vec::new(), bytes.len());
        while left > 0
            && let Some(entry) = decode(&mut reader)
        {
            entries.push(entry);
            rest = reader.0.len();
            left -= 1;
        }
        (entries, rest)
    }

    fn in_runs(bytes: &[u8], mut left: u32) -> (Vec<Entry>, usize) {
        let mut reader = Reader(bytes);
        let (mut entries, mut rest) = (Vec::new(), bytes.len());
        while left > 0 {
            let before = left;
            if let Some(run) = Enqueues::new(&mut reader, &mut left) {
                let queue = run.queue();
                entries.extend(run.map(Entry::Enqueued));
                let of_it = |entry: &Entry| matches!(entry, Entry::Enqueued(it) if it.queue == queue);
                assert!(entries[entries.len() - (before - left) as usize..].iter().all(of_it));
                rest = reader.0.len();
            }
            if left == before {
                let Some(entry) = decode(&mut reader) else { break };
                entries.push(entry);
                rest = reader.0.len();
                left -= 1;
            }
        }
        (entries, rest)
    }

    proptest! {
        #[test]
        fn runs_give_what_single_records_do(bytes in records(), left in 0_u32..40) {
            prop_assert_eq!(in_runs(&bytes, left), one_by_one(&bytes, left));
        }

        #[test]
        fn other_bytes_give_the_same_too(bytes in prop::collection::vec(prop_oneof![Just(ENQUEUED), any::<u8>()], 0..60)) {
            prop_assert_eq!(in_runs(&bytes, 40), one_by_one(&bytes, 40));
        }
    }
}
