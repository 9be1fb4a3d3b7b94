//! The rules of routing written down a second time, as plainly as possible and without any index, for tests to
//! compare with.

use std::collections::BTreeSet;

use super::binding::sorted;
use super::{BindError, BindingSpec, Destination, ExchangeKind, ExchangeSpec};
use crate::protocol::field::{Table, TableRef, Value};

/// Whether a topic pattern matches a key.
pub(super) fn topic_matches(pattern: &str, key: &str) -> bool {
    fn split(text: &str) -> Vec<&str> {
        if text.is_empty() { Vec::new() } else { text.split('.').collect() }
    }
    fn matches(pattern: &[&str], key: &[&str]) -> bool {
        match (pattern, key) {
            ([], []) => true,
            (["#", rest @ ..], _) => (0..=key.len()).any(|n| matches(rest, &key[n..])),
            (["*", rest @ ..], [_, words @ ..]) => matches(rest, words),
            ([want, rest @ ..], [word, words @ ..]) => want == word && matches(rest, words),
            _ => false,
        }
    }
    matches(&split(pattern), &split(key))
}

/// Whether a headers binding's arguments match a message's headers. Of entries with one name the first counts.
pub(super) fn headers_match(arguments: TableRef<'_>, headers: TableRef<'_>) -> bool {
    let mode = arguments.get("x-match").and_then(Value::as_str).unwrap_or("all");
    let mut names = BTreeSet::new();
    let mut outcomes = arguments
        .iter()
        .filter(|(name, _)| names.insert(*name) && *name != "x-match")
        .filter(|(name, _)| !name.starts_with("x-") || mode.ends_with("-with-x"))
        .map(|(name, wanted)| match headers.get(name) {
            None => false,
            Some(_) if matches!(wanted, Value::Void) => true,
            Some(value) => match (wanted.as_int(), value.as_int()) {
                (Some(wanted), Some(value)) => wanted == value,
                (None, None) => wanted == value,
                _ => false,
            },
        });
    if mode.starts_with("any") { outcomes.any(|met| met) } else { outcomes.all(|met| met) }
}

/// Exchanges and bindings as two lists.
#[derive(Clone, Debug, Default)]
pub(super) struct Model {
    pub(super) exchanges: Vec<ExchangeSpec>,
    pub(super) bindings: Vec<BindingSpec<u8>>,
}

impl Model {
    fn exchange(&self, name: &str) -> Option<&ExchangeSpec> {
        self.exchanges.iter().find(|exchange| exchange.name == name)
    }

    pub(super) fn bind(&mut self, mut binding: BindingSpec<u8>) -> Result<bool, BindError> {
        binding.arguments = sorted(&binding.arguments);
        if self.exchange(&binding.source).is_none() {
            return Err(BindError::NoSource);
        }
        if let Destination::Exchange(name) = &binding.destination
            && self.exchange(name).is_none()
        {
            return Err(BindError::NoDestination);
        }
        let new = !self.bindings.contains(&binding);
        if new {
            self.bindings.push(binding);
        }
        Ok(new)
    }

    /// Removes the bindings that `gone` says, then whatever exchanges are due, until none is.
    pub(super) fn remove(&mut self, gone: impl Fn(&BindingSpec<u8>) -> bool) {
        let sources: BTreeSet<String> = self
            .bindings
            .iter()
            .filter(|binding| gone(binding))
            .map(|binding| binding.source.clone())
            .collect();
        self.bindings.retain(|binding| !gone(binding));
        for source in sources {
            let unused = !self.bindings.iter().any(|binding| binding.source == source);
            if unused && self.exchange(&source).is_some_and(|exchange| exchange.auto_delete) {
                self.delete(&source);
            }
        }
    }

    pub(super) fn delete(&mut self, name: &str) {
        self.exchanges.retain(|exchange| exchange.name != name);
        let destination = Destination::Exchange(name.to_owned());
        self.remove(|binding| binding.source == name || binding.destination == destination);
    }

    fn binding_matches(&self, binding: &BindingSpec<u8>, key: &str, headers: &Table) -> bool {
        match self.exchange(&binding.source).map(|exchange| exchange.kind) {
            None => false,
            Some(ExchangeKind::Fanout) => true,
            Some(ExchangeKind::Direct) => binding.key == key,
            Some(ExchangeKind::Topic) => topic_matches(&binding.key, key),
            Some(ExchangeKind::Headers) => headers_match(binding.arguments.as_ref(), headers.as_ref()),
        }
    }

    /// The queues reached, in order.
    pub(super) fn route(&self, exchange: &str, key: &str, headers: &Table) -> Option<Vec<u8>> {
        self.exchange(exchange)?;
        let mut exchanges = vec![exchange.to_owned()];
        let mut queues = BTreeSet::new();
        let mut at = 0;
        while let Some(name) = exchanges.get(at).cloned() {
            at += 1;
            let Some(exchange) = self.exchange(&name) else { continue };
            let mut destinations: Vec<Destination<u8>> = self
                .bindings
                .iter()
                .filter(|binding| binding.source == name && self.binding_matches(binding, key, headers))
                .map(|binding| binding.destination.clone())
                .collect();
            if destinations.is_empty() {
                destinations.extend(exchange.alternate.clone().map(Destination::Exchange));
            }
            for destination in destinations {
                match destination {
                    Destination::Queue(queue) => {
                        queues.insert(queue);
                    }
                    Destination::Exchange(name) if exchanges.contains(&name) => {}
                    Destination::Exchange(name) => exchanges.push(name),
                }
            }
        }
        Some(queues.into_iter().collect())
    }

    /// Whether any way of bindings and alternate exchanges leads from this exchange to a headers exchange.
    pub(super) fn headers_matter(&self, exchange: &str) -> bool {
        let mut exchanges: BTreeSet<&str> = BTreeSet::from([exchange]);
        loop {
            let known = exchanges.len();
            for binding in &self.bindings {
                if let Destination::Exchange(name) = &binding.destination
                    && exchanges.contains(binding.source.as_str())
                {
                    exchanges.insert(name);
                }
            }
            for spec in &self.exchanges {
                if exchanges.contains(spec.name.as_str()) {
                    exchanges.extend(spec.alternate.as_deref());
                }
            }
            if exchanges.len() == known {
                break;
            }
        }
        self.exchanges.iter().any(|x| x.kind == ExchangeKind::Headers && exchanges.contains(x.name.as_str()))
    }
}
