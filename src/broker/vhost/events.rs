//! What happens in a vhost, as events. All of it is noted under the topology lock.

use std::sync::Arc;

use serde_json::Value;

use super::{Topology, VHost};
use crate::broker::events::{Event, INTERNAL, NewQueue};
use crate::broker::limits::{VHOST_LIMITS, VHostLimits};
use crate::broker::masking::masked;
use crate::broker::policies::PolicyKind;
use crate::broker::policies::policy::Policy;
use crate::broker::queue_cell::{QueueCell, QueueSpec};
use crate::ids::QueueId;
use crate::routing::{BindingSpec, Destination, Removed};

/// The queues of a vhost in the order of their ids, and the policy of one kind that holds for each.
pub(super) type Followed = Vec<(Arc<QueueCell>, Option<Arc<Policy>>)>;

impl VHost {
    pub(super) fn note_queue(&self, spec: &QueueSpec, by: &str) {
        let events = &self.shared.events;
        events.note(|| {
            let owner = spec.owner.map(|owner| events.pid_of(owner));
            let queue = NewQueue {
                vhost: &self.name,
                name: &spec.name,
                durable: spec.durable,
                auto_delete: spec.auto_delete,
                owner: owner.as_deref(),
                arguments: spec.arguments.as_ref(),
            };
            Event::queue_created(queue, by)
        });
    }

    pub(super) fn note_bound(&self, topology: &Topology, binding: &BindingSpec<QueueId>, by: &str) {
        let queue = || topology.name_of(&binding.destination);
        self.shared.events.note(|| Event::binding_created(&self.name, binding, queue(), by));
    }

    /// Notes what a removal took with it, while the queues that bindings led to are still known.
    pub(super) fn note_removed(&self, topology: &Topology, removed: &Removed<QueueId>, by: &str) {
        let (events, vhost) = (&self.shared.events, &*self.name);
        for exchange in &removed.exchanges {
            events.note(|| Event::exchange_deleted(vhost, &exchange.name, by));
        }
        for binding in &removed.bindings {
            let queue = || topology.name_of(&binding.destination);
            events.note(|| Event::binding_deleted(vhost, binding, queue(), by));
        }
    }

    /// Notes all that was in a vhost which is deleted.
    pub(super) fn note_end(&self, topology: &Topology, by: &str) {
        let (events, vhost) = (&self.shared.events, &*self.name);
        if !events.are_wanted() {
            return;
        }
        for (user, _) in topology.parameters.grants.all() {
            events.note(|| Event::permission_deleted(vhost, user, by));
        }
        for cell in topology.in_order() {
            for binding in topology.router.bindings_of_queue(cell.id) {
                events.note(|| Event::binding_deleted(vhost, &binding, &cell.spec.name, INTERNAL));
            }
            events.note(|| Event::queue_deleted(vhost, &cell.spec.name, by));
        }
        for exchange in topology.router.exchanges() {
            events.note(|| Event::exchange_deleted(vhost, &exchange.name, by));
        }
        for binding in topology.router.bindings() {
            if matches!(binding.destination, Destination::Exchange(_)) {
                events.note(|| Event::binding_deleted(vhost, &binding, "", by));
            }
        }
    }

    /// The exchanges of a vhost that was made just now.
    pub(in crate::broker) fn note_exchanges(&self, by: &str) {
        self.note_all_exchanges(&self.topology.read(), by);
    }

    pub(super) fn note_all_exchanges(&self, topology: &Topology, by: &str) {
        for exchange in topology.router.exchanges() {
            self.shared.events.note(|| Event::exchange_created(&self.name, exchange, by));
        }
    }

    /// One of a component that is not here. Nobody reads passwords of other brokers in it.
    pub(super) fn note_parameter(&self, component: &str, name: &str, value: &Value, by: &str) {
        let vhost = Some(&*self.name);
        self.shared.events.note(|| Event::parameter_set(vhost, component, name, &masked(value), by));
    }

    pub(super) fn note_policy(&self, kind: PolicyKind, policy: &Policy, by: &str) {
        if kind == PolicyKind::Operator {
            self.shared.events.note(|| {
                Event::parameter_set(Some(&self.name), kind.component(), &policy.name, &policy.value(), by)
            });
        }
        self.shared.events.note(|| Event::policy_set(&self.name, policy, by));
    }

    pub(super) fn note_limits(&self, limits: VHostLimits, by: &str) {
        let (events, vhost, (component, name)) = (&self.shared.events, &*self.name, VHOST_LIMITS);
        if limits.is_empty() {
            events.note(|| Event::parameter_cleared(Some(vhost), component, name, by));
            events.note(|| Event::vhost_limits_cleared(vhost, by));
        } else {
            events.note(|| Event::parameter_set(Some(vhost), component, name, &limits.value(), by));
            events.note(|| Event::vhost_limits_set(vhost, &limits.value(), by));
        }
    }

    /// What holds for queues before policies change, for [`note_followed`](Self::note_followed). Empty if nobody wants to
    /// know.
    pub(super) fn followed(&self, topology: &Topology, kind: PolicyKind) -> Followed {
        if !self.shared.events.are_wanted() {
            return Followed::new();
        }
        topology.in_order().into_iter().map(|cell| (cell.clone(), topology.policy_of(&cell, kind))).collect()
    }

    /// Notes for which queues another policy holds now.
    pub(super) fn note_followed(&self, topology: &Topology, kind: PolicyKind, before: &Followed, by: &str) {
        for (cell, before) in before {
            let policy = topology.policy_of(cell, kind);
            let is_same = match (before, &policy) {
                (Some(before), Some(policy)) => Arc::ptr_eq(before, policy),
                (None, None) => true,
                _ => false,
            };
            if !is_same {
                let (name, queue) = (&*cell.spec.name, cell.traits().kind);
                let event = || Event::queue_policy(&self.name, name, queue, policy.as_deref(), by);
                self.shared.events.note(event);
            }
        }
    }
}

impl Topology {
    /// The name of the queue that a binding leads to; empty if it leads to an exchange.
    fn name_of(&self, destination: &Destination<QueueId>) -> &str {
        match destination {
            Destination::Queue(id) => self.by_id.get(id).map_or("", |cell| &cell.spec.name),
            Destination::Exchange(_) => "",
        }
    }

    fn in_order(&self) -> Vec<Arc<QueueCell>> {
        let mut cells: Vec<_> = self.by_id.values().cloned().collect();
        cells.sort_unstable_by_key(|cell| cell.id);
        cells
    }

    fn policy_of(&self, cell: &QueueCell, kind: PolicyKind) -> Option<Arc<Policy>> {
        let applied = self.parameters.policies.on_queue(&cell.spec.name, cell.traits().kind);
        match kind {
            PolicyKind::User => applied.user,
            PolicyKind::Operator => applied.operator,
        }
    }
}
