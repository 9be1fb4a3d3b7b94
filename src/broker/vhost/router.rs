//! The router of a vhost, together with what its exchanges count: neither comes or goes without the other.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::Arc;

use crate::broker::exchange_counts::ExchangeCounts;
use crate::ids::QueueId;
use crate::protocol::field::Table;
use crate::routing::{BindError, Destination, ExchangeSpec, Removed, Router};

/// See the module. What changes nothing is that of [`Router`].
#[derive(Debug, Default)]
pub(super) struct CountedRouter {
    router: Router<QueueId>,
    /// Of all exchanges but the default one.
    counts: HashMap<String, Arc<ExchangeCounts>>,
}

impl Deref for CountedRouter {
    type Target = Router<QueueId>;

    fn deref(&self) -> &Self::Target {
        &self.router
    }
}

impl CountedRouter {
    /// Has the exchanges that every vhost has.
    pub(super) fn with_predeclared() -> Self {
        let router = Router::with_predeclared();
        let names = router.exchanges().map(|exchange| &exchange.name);
        let counts = names.map(|name| (name.clone(), ExchangeCounts::new(name))).collect();
        Self { router, counts }
    }

    /// Adds an exchange, unless there is one of its name.
    pub(super) fn declare(&mut self, exchange: ExchangeSpec) {
        let counts = || ExchangeCounts::new(&exchange.name);
        self.counts.entry(exchange.name.clone()).or_insert_with(counts);
        self.router.declare(exchange);
    }

    /// See [`Router::set_fallback`].
    pub(super) fn set_fallback(&mut self, name: &str, fallback: Option<String>) {
        self.router.set_fallback(name, fallback);
    }

    /// See [`Router::bind`].
    pub(super) fn bind(
        &mut self,
        source: &str,
        destination: &Destination<QueueId>,
        key: &str,
        arguments: &Table,
    ) -> Result<bool, BindError> {
        self.router.bind(source, destination, key, arguments)
    }

    /// See [`Router::unbind`].
    pub(super) fn unbind(
        &mut self,
        source: &str,
        destination: &Destination<QueueId>,
        key: &str,
        arguments: &Table,
    ) -> Removed<QueueId> {
        let removed = self.router.unbind(source, destination, key, arguments);
        self.forget(removed)
    }

    /// See [`Router::delete`].
    pub(super) fn delete(&mut self, name: &str) -> Option<Removed<QueueId>> {
        let removed = self.router.delete(name)?;
        Some(self.forget(removed))
    }

    /// See [`Router::remove_queue`].
    pub(super) fn remove_queue(&mut self, queue: QueueId) -> Removed<QueueId> {
        let removed = self.router.remove_queue(queue);
        self.forget(removed)
    }

    fn forget(&mut self, removed: Removed<QueueId>) -> Removed<QueueId> {
        for exchange in &removed.exchanges {
            self.counts.remove(&exchange.name);
        }
        removed
    }

    /// What an exchange counts; `None` if there is no such exchange, and for the default one.
    pub(super) fn counts(&self, name: &str) -> Option<&Arc<ExchangeCounts>> {
        self.counts.get(name)
    }

    /// What all exchanges count.
    pub(super) fn all_counts(&self) -> impl Iterator<Item = &Arc<ExchangeCounts>> {
        self.counts.values()
    }
}
