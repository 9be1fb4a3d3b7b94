//! A binding: how callers name it, how it is kept, and what a removal says.

use std::cmp::Ordering;
use std::sync::Arc;

use thiserror::Error;

use super::exchange::ExchangeSpec;
use crate::protocol::field::{Table, TableBuilder, Value};

/// Where a binding leads, as callers name it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Destination<Q> {
    /// A queue. The router does not know which queues exist; the caller does.
    Queue(Q),
    /// An exchange of the same vhost.
    Exchange(String),
}

/// One binding, as listings and the journal see it. All four fields together are its identity.
#[derive(Clone, Debug, PartialEq)]
pub struct BindingSpec<Q> {
    /// The exchange that messages come from.
    pub source: String,
    /// Where they go.
    pub destination: Destination<Q>,
    /// The binding key.
    pub key: String,
    /// The arguments, sorted by name: their order is no part of the identity.
    pub arguments: Table,
}

/// Why a binding was refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BindError {
    /// There is no source exchange of that name (404).
    #[error("no such source exchange")]
    NoSource,
    /// There is no destination exchange of that name (404).
    #[error("no such destination exchange")]
    NoDestination,
    /// The source exchange's type does not take such arguments (406); the text is meant for the client.
    #[error("{0}")]
    InvalidArguments(String),
}

/// Everything that went with one removal, so that the caller can journal and announce it.
#[derive(Clone, Debug, PartialEq)]
pub struct Removed<Q> {
    /// The exchanges: a deleted one first, then the auto-delete exchanges that went with it.
    pub exchanges: Vec<ExchangeSpec>,
    /// The bindings, also those that only went with an exchange.
    pub bindings: Vec<BindingSpec<Q>>,
}

impl<Q> Removed<Q> {
    /// Whether nothing was removed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.exchanges.is_empty() && self.bindings.is_empty()
    }
}

impl<Q> Default for Removed<Q> {
    fn default() -> Self {
        Self { exchanges: Vec::new(), bindings: Vec::new() }
    }
}

/// An exchange's slot in its router. Reused after a delete, when no binding names it any more.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct ExchangeId(pub(super) u32);

/// Where a binding leads, inside. Queues sort before exchanges.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Target<Q> {
    Queue(Q),
    Exchange(ExchangeId),
}

/// One binding as it is kept, shared by its source's and its destination's lists. Its order puts bindings to one
/// destination next to each other.
#[derive(Debug)]
pub(super) struct Binding<Q> {
    pub(super) source: ExchangeId,
    pub(super) target: Target<Q>,
    pub(super) key: Box<str>,
    /// As [`sorted`] gives them.
    pub(super) arguments: Table,
}

/// A binding that was listed, by which it is found again. It takes little room beside the binding itself.
#[derive(Clone, Debug)]
pub struct Listed<Q>(pub(super) Arc<Binding<Q>>);

/// An end of bindings.
#[derive(Clone, Copy, Debug)]
pub enum End<'a, Q> {
    /// The exchange that they come from.
    Source(&'a str),
    /// The exchange that they lead to.
    Exchange(&'a str),
    /// The queue that they lead to.
    Queue(Q),
}

impl<Q: Ord> Ord for Binding<Q> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.source
            .cmp(&other.source)
            .then_with(|| self.target.cmp(&other.target))
            .then_with(|| self.key.cmp(&other.key))
            .then_with(|| self.arguments.as_ref().as_bytes().cmp(other.arguments.as_ref().as_bytes()))
    }
}

impl<Q: Ord> PartialOrd for Binding<Q> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<Q: Ord> PartialEq for Binding<Q> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<Q: Ord> Eq for Binding<Q> {}

/// The same table with its entries in the order of their names, so that equal arguments are equal bytes. Entries of
/// one name keep their order; nested tables stay as they are.
pub(super) fn sorted(arguments: &Table) -> Table {
    let mut entries: Vec<(&str, Value<'_>)> = arguments.as_ref().iter().collect();
    if entries.is_sorted_by_key(|(name, _)| *name) {
        return arguments.clone();
    }
    entries.sort_by_key(|(name, _)| *name);
    table_of(entries)
}

/// A table of these entries.
pub(super) fn table_of<'a>(entries: impl IntoIterator<Item = (&'a str, Value<'a>)>) -> Table {
    let mut table = TableBuilder::new();
    for (name, value) in entries {
        table.value(name, value);
    }
    table.finish()
}
