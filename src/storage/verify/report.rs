//! What a check of a data directory found.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::ids::{Position, QueueId};

/// What is in a data directory, and what is wrong with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The journal files that are needed, oldest first.
    pub journal: Vec<JournalFile>,
    /// Journal files that are not, by name.
    pub spare: Vec<String>,
    /// The segment files that are there and needed.
    pub segments: Vec<SegmentFile>,
    /// Segment files that nothing refers to, by name: the next start removes them.
    pub leftovers: Vec<String>,
    /// The catalogue, if there is one that can be read.
    pub catalogue: Option<CatalogueFile>,
    /// Files that a repair has kept, by name.
    pub kept: Vec<String>,
    /// Files that are none of a broker's.
    pub others: Vec<String>,
    /// What is wrong.
    pub problems: Vec<Problem>,
    /// What a broker would have. If something is wrong: what is known of it.
    pub totals: Totals,
}

/// A journal file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JournalFile {
    /// Its name.
    pub name: String,
    /// Its number.
    pub number: u64,
    /// Records in it that are sound.
    pub records: u64,
    /// Messages stored with them, those that were removed since among them.
    pub messages: u64,
    /// Its length.
    pub bytes: u64,
    /// Where its last group ends.
    pub end: u64,
    /// Behind the end there is something that was never durable. It is cut off at a start.
    pub torn: bool,
}

/// A segment file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SegmentFile {
    /// Its name.
    pub name: String,
    /// Sound messages and references to messages in it, those that were removed since among them.
    pub messages: u64,
    /// Its length.
    pub bytes: u64,
}

/// The catalogue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CatalogueFile {
    /// The number of the first journal file that is needed.
    pub oldest: u64,
    /// Queues in it.
    pub queues: u64,
    /// Segment files it refers to.
    pub segments: u64,
}

/// What is in all vhosts together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Vhosts that have something durable.
    pub vhosts: u64,
    /// Exchanges, without those that every vhost has.
    pub exchanges: u64,
    /// Queues.
    pub queues: u64,
    /// Bindings.
    pub bindings: u64,
    /// Messages that can be read.
    pub messages: u64,
    /// Messages that are known to be there, and are damaged.
    pub lost: u64,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file's name.
    pub file: String,
    /// Where in the file.
    pub offset: u64,
    /// What is wrong.
    pub what: String,
    /// What is affected; empty if nothing that is in a queue is.
    pub affected: Vec<Affected>,
}

/// What damage affects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Affected {
    /// Messages of a queue.
    Messages {
        /// The queue and its vhost.
        queue: String,
        /// How many.
        count: u64,
        /// The position of the first.
        first: Position,
        /// The position of the last.
        last: Position,
    },
    /// Records: changes of definitions, messages and acknowledgements.
    Records {
        /// How many.
        count: u64,
        /// The queues that they seem to be about, as far as that can be told.
        queues: Vec<String>,
    },
    /// Records, nobody knows how many.
    UnknownRecords,
    /// Everything that is found through the file.
    Everything,
}

impl Problem {
    pub(super) fn new(file: impl Into<String>, offset: u64, what: impl Into<String>) -> Self {
        Self { file: file.into(), offset, what: what.into(), affected: Vec::new() }
    }

    pub(super) fn with(mut self, affected: impl IntoIterator<Item = Affected>) -> Self {
        self.affected.extend(affected);
        self
    }
}

impl Report {
    /// Whether a broker starts on it and has everything that ever was durable, as far as that can be known.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.problems.is_empty()
    }
}

impl fmt::Display for Affected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Messages { queue, count: 1, first, .. } => {
                write!(f, "{queue}: the message at position {first}")
            }
            Self::Messages { queue, count, first, last } => {
                write!(f, "{queue}: {count} messages between the positions {first} and {last}")
            }
            Self::Records { count, queues } => {
                let records = if *count == 1 { "record" } else { "records" };
                write!(f, "{count} {records}: definitions, messages or acknowledgements")?;
                if queues.is_empty() { Ok(()) } else { write!(f, "; perhaps of {}", queues.join(", ")) }
            }
            Self::UnknownRecords => write!(f, "records: definitions, messages or acknowledgements"),
            Self::Everything => write!(f, "definitions, and all messages in segment files"),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at offset {}: {}", self.file, self.offset, self.what)
    }
}

/// Queues by number, as people know them.
#[derive(Clone, Debug, Default)]
pub(super) struct Names(BTreeMap<QueueId, String>);

impl Names {
    pub(super) fn add(&mut self, id: QueueId, vhost: &str, name: &str) {
        self.0.insert(id, format!("queue {name:?} in vhost {vhost:?}"));
    }

    pub(super) fn of(&self, id: QueueId) -> String {
        self.0.get(&id).cloned().unwrap_or_else(|| format!("queue number {id}, which nothing declares"))
    }

    /// Those of these queues that are known.
    pub(super) fn known(&self, queues: &BTreeSet<QueueId>) -> Vec<String> {
        queues.iter().filter_map(|id| self.0.get(id).cloned()).collect()
    }
}

/// Messages that are lost, by queue.
#[derive(Clone, Debug, Default)]
pub(super) struct Lost(BTreeMap<QueueId, (u64, Position, Position)>);

impl Lost {
    pub(super) fn add(&mut self, queue: QueueId, position: Position) {
        let (count, first, last) = self.0.entry(queue).or_insert((0, position, position));
        *count += 1;
        *first = position.min(*first);
        *last = position.max(*last);
    }

    pub(super) fn count(&self) -> u64 {
        self.0.values().map(|(count, ..)| count).sum()
    }

    pub(super) fn affected(&self, names: &Names) -> Vec<Affected> {
        let affected = self.0.iter().map(|(id, &(count, first, last))| Affected::Messages {
            queue: names.of(*id),
            count,
            first,
            last,
        });
        affected.collect()
    }
}
