//! Segment files: where messages lie that left the journal.
//!
//! A segment is written once, from the front to the end, and never changed. It is a header block and *items*, each a
//! message with the queue and the position that it has; where several queues have a message, one item holds it and
//! the others refer to it. The items of one queue that stand one behind the other, in rising position order, are a
//! *run*. A segment has no index: the catalogue knows the runs, and the items tell the rest.

mod check;
mod header;
mod item;
mod reader;
#[cfg(test)]
mod tests;
mod writer;

pub use check::{Damage, Report, check};
pub use header::{Header, HeaderError, read_header};
pub use reader::{Content, Found, Item, Run, RunReader, read_item};
pub use writer::SegmentWriter;

/// Names of segment files begin so.
pub const PREFIX: &str = "segment-";

/// What a segment promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Synced before anything refers to it.
    Durable,
    /// Never synced, and of no use to the next process: it holds messages that a restart may lose.
    Transient,
}

/// The name of segment `number`.
#[must_use]
pub fn name_of(number: u64) -> String {
    format!("{PREFIX}{number:08}")
}

/// The number of the segment that is called so; `None` if none is.
#[must_use]
pub fn number_of(name: &str) -> Option<u64> {
    let number = name.strip_prefix(PREFIX)?.parse().ok()?;
    (name_of(number) == name).then_some(number)
}
