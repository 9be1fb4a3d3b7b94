//! What an import did, or would do.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// Lines of the log about things of one kind.
const MOST_LINES: usize = 100;

/// Things of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// That were not there.
    pub created: u64,
    /// That were something else.
    pub changed: u64,
    /// That were there, the same or left as they are.
    pub unchanged: u64,
}

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// By the lists of the document.
    pub counts: BTreeMap<&'static str, Count>,
    /// Queues and exchanges that are there with other properties, which they keep.
    pub left: Vec<String>,
    /// What of the document was not imported, since it is the server's or means nothing.
    pub skipped: Vec<String>,
    /// What was imported and makes no difference here.
    pub unsupported: Vec<String>,
}

/// What an item is to what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Created,
    Changed,
    Unchanged,
}

impl Change {
    /// From what is there, and what is to be.
    pub(super) fn of<T: PartialEq>(current: Option<&T>, wanted: &T) -> Self {
        match current {
            None => Self::Created,
            Some(current) if current == wanted => Self::Unchanged,
            Some(_) => Self::Changed,
        }
    }
}

impl Report {
    pub(super) fn count(&mut self, list: &'static str, change: Change) {
        let count = self.counts.entry(list).or_default();
        match change {
            Change::Created => count.created += 1,
            Change::Changed => count.changed += 1,
            Change::Unchanged => count.unchanged += 1,
        }
    }

    /// As an object for tools.
    #[must_use]
    pub fn value(&self) -> Value {
        let count = |count: &Count| json!({ "created": count.created, "changed": count.changed, "unchanged": count.unchanged });
        let counts: serde_json::Map<String, Value> =
            self.counts.iter().map(|(list, of_it)| ((*list).to_owned(), count(of_it))).collect();
        json!({
            "counts": counts,
            "left_unchanged": self.left,
            "skipped": self.skipped,
            "unsupported": self.unsupported,
        })
    }

    /// Tells the log of an import that was done.
    pub(super) fn log(&self) {
        let counts: Vec<String> = self
            .counts
            .iter()
            .map(|(list, Count { created, changed, unchanged })| {
                format!("{list}: {created} new, {changed} changed, {unchanged} as they were")
            })
            .collect();
        tracing::info!("definitions are imported: {}", counts.join("; "));
        for line in lines(&self.left) {
            tracing::warn!("left as it is: {line}");
        }
        for line in lines(&self.skipped) {
            tracing::info!("not imported: {line}");
        }
        for line in lines(&self.unsupported) {
            tracing::warn!("imported and without effect: {line}");
        }
    }
}

fn lines(all: &[String]) -> impl Iterator<Item = String> {
    let more = all.len().saturating_sub(MOST_LINES);
    let rest = (more > 0).then(|| format!("{more} more"));
    all.iter().take(MOST_LINES).cloned().chain(rest)
}
