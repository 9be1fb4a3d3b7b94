//! Policies: what holds for all queues and exchanges whose name matches a pattern, beside what their declarations say.
//!
//! One policy and one operator policy at most apply to an object: of those that match, the one with the highest
//! priority, and of equals the one whose name comes first. Arguments win over policies, operators over users; see
//! [`Settings`] for how numbers are merged.

pub mod definition;
pub mod policy;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::queue::arguments::QueueKind;
use crate::queue::rules::Settings;
use policy::{Operator, Policy, Subject};

/// Whose policy it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyKind {
    /// A user's.
    User,
    /// An operator's, who bounds what users ask for.
    Operator,
}

impl PolicyKind {
    /// The component that its policies are parameters of, as in RabbitMQ.
    #[must_use]
    pub const fn component(self) -> &'static str {
        match self {
            Self::User => "policy",
            Self::Operator => "operator_policy",
        }
    }
}

/// Policies of one kind.
#[derive(Debug, Default)]
struct Set {
    by_name: BTreeMap<String, Arc<Policy>>,
    /// The same, the first that matches being the one that applies.
    ranked: Vec<Arc<Policy>>,
}

impl Set {
    fn rank(&mut self) {
        self.ranked = self.by_name.values().cloned().collect();
        // Stable, so that names decide between equals.
        self.ranked.sort_by_key(|policy| std::cmp::Reverse(policy.priority));
    }

    fn first(&self, subject: Subject<'_>) -> Option<&Arc<Policy>> {
        self.ranked.iter().find(|policy| policy.applies_to(subject))
    }
}

/// The policies of one vhost.
#[derive(Debug, Default)]
pub(super) struct Policies {
    user: Set,
    operator: Set,
    /// Operator policies of the configuration, which one of the same name that was set since takes the place of.
    configured: BTreeMap<String, Arc<Policy>>,
}

/// The policies that apply to one queue or exchange.
#[derive(Clone, Debug, Default)]
pub struct Applied {
    /// The user's.
    pub user: Option<Arc<Policy>>,
    /// The operator's.
    pub operator: Option<Arc<Policy>>,
}

impl Applied {
    /// What they say together about a queue.
    #[must_use]
    pub fn settings(&self) -> Settings {
        let settings = |policy: &Option<Arc<Policy>>| {
            policy.as_ref().map(|policy| policy.definition.settings.clone()).unwrap_or_default()
        };
        settings(&self.user).with_operator(&settings(&self.operator))
    }
}

impl Policies {
    /// The policies of a vhost called `vhost` in which none was set.
    pub(super) fn new(vhost: &str, configured: &[Operator]) -> Self {
        let matching = configured.iter().filter(|operator| operator.covers(vhost));
        let configured = matching.map(|operator| (operator.policy.name.clone(), operator.policy.clone()));
        let mut policies = Self { configured: configured.collect(), ..Self::default() };
        policies.operator.by_name = policies.configured.clone();
        policies.operator.rank();
        policies
    }

    fn of(&self, kind: PolicyKind) -> &Set {
        match kind {
            PolicyKind::User => &self.user,
            PolicyKind::Operator => &self.operator,
        }
    }

    fn of_mut(&mut self, kind: PolicyKind) -> &mut Set {
        match kind {
            PolicyKind::User => &mut self.user,
            PolicyKind::Operator => &mut self.operator,
        }
    }

    pub(super) fn set(&mut self, kind: PolicyKind, policy: Policy) {
        let set = self.of_mut(kind);
        set.by_name.insert(policy.name.clone(), Arc::new(policy));
        set.rank();
    }

    /// The policy of this name, unless it is the configuration's.
    pub(super) fn get_set(&self, kind: PolicyKind, name: &str) -> Option<&Arc<Policy>> {
        self.of(kind).by_name.get(name).filter(|_| self.is_set(kind, name))
    }

    /// Returns whether there was one that was set. One of the configuration takes its place again.
    pub(super) fn clear(&mut self, kind: PolicyKind, name: &str) -> bool {
        if !self.is_set(kind, name) {
            return false;
        }
        let configured = match kind {
            PolicyKind::User => None,
            PolicyKind::Operator => self.configured.get(name).cloned(),
        };
        let set = self.of_mut(kind);
        match configured {
            Some(policy) => set.by_name.insert(name.to_owned(), policy),
            None => set.by_name.remove(name),
        };
        set.rank();
        true
    }

    /// Whether there is a policy of this name that is not the configuration's.
    fn is_set(&self, kind: PolicyKind, name: &str) -> bool {
        let Some(policy) = self.of(kind).by_name.get(name) else { return false };
        kind == PolicyKind::User
            || !self.configured.get(name).is_some_and(|configured| Arc::ptr_eq(configured, policy))
    }

    /// All policies by name.
    pub(super) fn all(&self, kind: PolicyKind) -> impl Iterator<Item = &Arc<Policy>> {
        self.of(kind).by_name.values()
    }

    /// Those that are not the configuration's, by name.
    pub(super) fn all_set(&self, kind: PolicyKind) -> impl Iterator<Item = &Arc<Policy>> {
        self.all(kind).filter(move |policy| self.is_set(kind, &policy.name))
    }

    pub(super) fn on_queue(&self, name: &str, kind: QueueKind) -> Applied {
        self.on(Subject::Queue(name, kind))
    }

    pub(super) fn on_exchange(&self, name: &str) -> Applied {
        self.on(Subject::Exchange(name))
    }

    fn on(&self, subject: Subject<'_>) -> Applied {
        Applied { user: self.user.first(subject).cloned(), operator: self.operator.first(subject).cloned() }
    }
}

#[cfg(test)]
mod tests;
