//! What is in a vhost, as a plan that would make the same in another one.

use super::{NewBinding, Topology, VHost, VHostPlan, is_own};
use crate::broker::policies::PolicyKind;
use crate::broker::policies::policy::Policy;
use crate::ids::QueueId;
use crate::routing::{BindingSpec, Destination};

impl VHost {
    /// All of it at one moment, by name, without what every vhost has and what belongs to connections.
    pub(in crate::broker) fn contents(&self) -> VHostPlan {
        let topology = self.topology.read();
        let parameters = &topology.parameters;
        let of_kind = |kind: PolicyKind| {
            parameters.policies.all_set(kind).map(move |policy| (kind, Policy::clone(policy)))
        };
        let own = topology.router.exchanges().filter(|exchange| is_own(&exchange.name));
        let shared = topology.queues.values().filter(|cell| cell.spec.owner.is_none());
        let mut queues: Vec<_> = shared.map(|cell| cell.spec.clone()).collect();
        queues.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        let limits = parameters.limits;
        let kept = parameters.kept.iter();
        VHostPlan {
            exchanges: own.cloned().collect(),
            queues,
            bindings: topology.router.bindings().filter_map(|binding| named(&topology, binding)).collect(),
            policies: of_kind(PolicyKind::User).chain(of_kind(PolicyKind::Operator)).collect(),
            limits: Some(limits).filter(|limits| !limits.is_empty()),
            kept: kept.map(|((component, name), value)| (*component, name.clone(), value.clone())).collect(),
            permissions: parameters.grants.all().map(|(user, row)| (user.to_owned(), row.clone())).collect(),
            topics: parameters.grants.topics().collect(),
            default_queue_type: None,
        }
    }
}

/// A binding with the names of its ends, unless it is of a queue that belongs to a connection.
fn named(topology: &Topology, binding: BindingSpec<QueueId>) -> Option<NewBinding> {
    let BindingSpec { source, destination, key, arguments } = binding;
    let destination = match destination {
        Destination::Exchange(name) => Destination::Exchange(name),
        Destination::Queue(id) => {
            let cell = topology.by_id.get(&id).filter(|cell| cell.spec.owner.is_none())?;
            Destination::Queue(cell.spec.name.clone())
        }
    };
    Some(NewBinding { source, destination, key, arguments })
}
