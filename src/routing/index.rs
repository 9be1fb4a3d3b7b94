//! An exchange's bindings in the form its type looks them up.

use super::binding::{BindError, Binding};
use super::direct::Direct;
use super::exchange::ExchangeKind;
use super::headers::{self, Headers};
use super::reach::Scratch;
use super::targets::Targets;
use super::topic::Trie;
use crate::protocol::field::TableRef;

/// What each exchange type knows of the bindings. A fanout exchange knows only where they lead.
#[derive(Debug)]
pub(super) enum Index<Q> {
    Direct(Direct<Q>),
    Fanout(Targets<Q>),
    Topic(Trie<Q>),
    Headers(Headers<Q>),
}

/// Checks the arguments of a binding whose source is an exchange of a type.
///
/// # Errors
/// [`BindError::InvalidArguments`].
pub fn check_arguments(kind: ExchangeKind, arguments: TableRef<'_>) -> Result<(), BindError> {
    match kind {
        ExchangeKind::Headers => headers::check(arguments),
        ExchangeKind::Direct | ExchangeKind::Fanout | ExchangeKind::Topic => Ok(()),
    }
}

impl<Q: Copy + Ord> Index<Q> {
    pub(super) fn new(kind: ExchangeKind) -> Self {
        match kind {
            ExchangeKind::Direct => Self::Direct(Direct::new()),
            ExchangeKind::Fanout => Self::Fanout(Targets::None),
            ExchangeKind::Topic => Self::Topic(Trie::new()),
            ExchangeKind::Headers => Self::Headers(Headers::new()),
        }
    }

    /// Adds a binding that is not in it yet and gives its number here, which [`remove`](Self::remove) wants back.
    ///
    /// # Errors
    /// [`BindError::InvalidArguments`] if the exchange's type does not take the binding's arguments.
    pub(super) fn insert(&mut self, binding: &Binding<Q>) -> Result<u32, BindError> {
        match self {
            Self::Direct(direct) => direct.insert(&binding.key, binding.target),
            Self::Fanout(targets) => targets.add(binding.target),
            Self::Topic(trie) => trie.insert(&binding.key, binding.target),
            Self::Headers(headers) => return headers.insert(&binding.arguments, binding.target),
        }
        Ok(0)
    }

    /// Removes a binding that is in it, by itself and the number it got.
    pub(super) fn remove(&mut self, binding: &Binding<Q>, number: u32) {
        match self {
            Self::Direct(direct) => direct.remove(&binding.key, binding.target),
            Self::Fanout(targets) => targets.remove(binding.target),
            Self::Topic(trie) => trie.remove(&binding.key, binding.target),
            Self::Headers(headers) => headers.remove(number),
        }
    }

    /// Adds the destinations of all bindings that match the message; says whether there were any.
    #[inline]
    pub(super) fn collect(&self, key: &str, headers: TableRef<'_>, scratch: &mut Scratch<Q>) -> bool {
        let Scratch { reached, topic, headers: trial } = scratch;
        match self {
            Self::Direct(direct) => direct.collect(key, reached),
            Self::Fanout(targets) => targets.collect(reached),
            Self::Topic(trie) => trie.collect(key, topic, reached),
            Self::Headers(index) => index.collect(headers, trial, reached),
        }
    }
}
