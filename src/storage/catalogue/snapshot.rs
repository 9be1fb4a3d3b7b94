//! What the catalogue holds, and how a checkpoint changes it.

use roaring::RoaringTreemap;

use crate::ids::QueueId;
use crate::queue::Marks;

/// All that checkpoints have folded away, as of the last commit.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// The number of the first journal file that is needed; 0 if nothing was ever committed.
    pub oldest: u64,
    /// The highest number that was given to a queue.
    pub last_queue: u64,
    /// The highest number that was given to a segment file.
    pub last_segment: u64,
    /// For each vhost, by name, its definitions as records. Opaque here.
    pub definitions: Vec<(String, Vec<u8>)>,
    /// The durable queues, by number.
    pub queues: Vec<StoredQueue>,
    /// The segment files that are referred to, by number.
    pub segments: Vec<StoredSegment>,
}

/// What is known of a queue's folded messages.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StoredQueue {
    /// The queue.
    pub id: QueueId,
    /// How far it has come, and what is known of single messages.
    pub marks: Marks,
    /// Where its messages lie, in the order of their positions.
    pub runs: Vec<StoredRun>,
}

/// Messages of one queue that lie side by side in a segment file, in the order of their positions.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StoredRun {
    /// The number of the segment file.
    pub segment: u64,
    /// The offset of its first byte.
    pub from: u64,
    /// The offset behind its last byte.
    pub until: u64,
    /// Bytes of the messages that are left.
    pub bytes: u64,
    /// The positions that are left.
    pub live: RoaringTreemap,
}

/// A segment file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoredSegment {
    /// Its number.
    pub number: u64,
    /// Its length in bytes.
    pub len: u64,
}

/// One commit. What is not named stays as it is; of what is named twice the last counts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Change {
    /// See [`Snapshot::oldest`].
    pub oldest: u64,
    /// See [`Snapshot::last_queue`].
    pub last_queue: u64,
    /// See [`Snapshot::last_segment`].
    pub last_segment: u64,
    /// Vhosts and their new definitions, of less than 3 GiB; `None` removes them.
    pub definitions: Vec<(String, Option<Vec<u8>>)>,
    /// Queues as they are now, under their own number; `None` removes them.
    pub queues: Vec<(QueueId, Option<StoredQueue>)>,
    /// Segment files and their lengths; `None` removes them.
    pub segments: Vec<(u64, Option<u64>)>,
}
