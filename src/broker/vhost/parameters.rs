//! What can be set for a vhost while it runs, and is kept: policies, limits and permissions.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::{Topology, VHost};
use crate::broker::events::Event;
use crate::broker::limits::{VHOST_LIMITS, VHostLimits};
use crate::broker::parameters::Component;
use crate::broker::permissions::Grants;
use crate::broker::policies::policy::{Operator, Policy};
use crate::broker::policies::{Applied, Policies, PolicyKind};
use crate::broker::queue_cell::QueueCell;
use crate::channel::gates::Gate;
use crate::queue::rules::{Rules, Settings};
use crate::storage::record::{Parameter, Record};

/// What the topology has beside exchanges, queues and bindings.
#[derive(Debug, Default)]
pub(super) struct Parameters {
    pub(super) policies: Policies,
    pub(super) grants: Grants,
    /// Limits as they were set.
    pub(super) limits: VHostLimits,
    /// Limits of vhosts for which none was set, from the configuration.
    pub(super) default_limits: VHostLimits,
    /// Those of components that are not here.
    pub(super) kept: BTreeMap<(&'static str, String), Value>,
    /// Parameters that are not understood are kept as they are.
    others: Vec<Parameter>,
}

impl Parameters {
    /// What was stored; what is not valid is told in the log, and kept.
    pub(super) fn restored(
        vhost: &str,
        operators: &[Operator],
        default_limits: VHostLimits,
        stored: Vec<Parameter>,
    ) -> Self {
        let policies = Policies::new(vhost, operators);
        let mut parameters = Self { policies, grants: Grants::new(vhost), default_limits, ..Self::default() };
        for parameter in stored {
            if let Err(error) = parameters.restore(&parameter) {
                let Parameter { component, name, .. } = &parameter;
                tracing::warn!(?vhost, ?component, ?name, %error, "a stored parameter has no effect");
                parameters.others.push(parameter);
            }
        }
        parameters
    }

    fn restore(&mut self, parameter: &Parameter) -> Result<(), String> {
        let value: Value = serde_json::from_str(&parameter.value).map_err(|error| error.to_string())?;
        let kinds = [PolicyKind::User, PolicyKind::Operator];
        if let Some(kind) = kinds.into_iter().find(|kind| kind.component() == parameter.component) {
            let policy = Policy::from_value(&parameter.name, &value, kind);
            self.policies.set(kind, policy.map_err(|error| error.to_string())?);
        } else if (&*parameter.component, &*parameter.name) == VHOST_LIMITS {
            self.limits = VHostLimits::from_value(&value)?;
        } else if let Ok(Component::Unsupported(component)) = Component::parse(&parameter.component) {
            self.kept.insert((component, parameter.name.clone()), value);
        } else if !self.grants.restore(parameter, &value)? {
            return Err("it is unknown".to_owned());
        }
        Ok(())
    }

    /// All that was set, as parameters.
    pub(super) fn stored(&self) -> Vec<Parameter> {
        let mut stored = self.others.clone();
        for kind in [PolicyKind::User, PolicyKind::Operator] {
            stored.extend(self.policies.all_set(kind).map(|policy| of_policy(kind, policy)));
        }
        if !self.limits.is_empty() {
            stored.push(of_limits(self.limits));
        }
        stored.extend(self.kept.iter().map(|((component, name), value)| of_kept(component, name, value)));
        stored.extend(self.grants.stored());
        stored
    }

    /// Most connections and most queues.
    pub(super) fn limits(&self) -> (Option<u32>, Option<u32>) {
        self.limits.or(self.default_limits)
    }

    /// What holds for a queue.
    pub(super) fn rules_of(&self, cell: &QueueCell) -> Rules {
        let kind = cell.traits().kind;
        let applied = self.policies.on_queue(&cell.spec.name, kind);
        let arguments = Settings::of_arguments(cell.spec.arguments.as_ref());
        Rules::new(kind, arguments.with_policy(&applied.settings()))
    }

    /// Where unroutable messages of an exchange go that says nothing itself.
    pub(super) fn alternate_of(&self, exchange: &str) -> Option<String> {
        self.policies.on_exchange(exchange).user.and_then(|policy| policy.definition.alternate.clone())
    }
}

pub(super) fn of_policy(kind: PolicyKind, policy: &Policy) -> Parameter {
    Parameter {
        component: kind.component().to_owned(),
        name: policy.name.clone(),
        value: policy.value().to_string(),
    }
}

pub(super) fn of_limits(limits: VHostLimits) -> Parameter {
    let (component, name) = VHOST_LIMITS;
    Parameter { component: component.to_owned(), name: name.to_owned(), value: limits.value().to_string() }
}

pub(super) fn of_kept(component: &str, name: &str, value: &Value) -> Parameter {
    let (component, name) = (component.to_owned(), name.to_owned());
    Parameter { component, name, value: value.to_string() }
}

impl VHost {
    /// Sets a policy, in the place of one of the same name, and has all queues and exchanges follow it at once. The
    /// gate opens when it is durable.
    pub fn set_policy(&self, kind: PolicyKind, policy: Policy, by: &str) -> Gate {
        let events = &self.shared.events;
        let _events = events.after();
        let mut topology = self.topology.write();
        let before = self.followed(&topology, kind);
        let set = events
            .are_wanted()
            .then(|| (Event::policy_set(&self.name, &policy, by), policy.name.clone(), policy.value()));
        let gate = self.store(&of_policy(kind, &policy));
        topology.parameters.policies.set(kind, policy);
        self.follow_policies(&mut topology);
        if let Some((event, name, value)) = set {
            if kind == PolicyKind::Operator {
                events.note(|| Event::parameter_set(Some(&self.name), kind.component(), &name, &value, by));
            }
            self.note_followed(&topology, kind, &before, by);
            events.note(|| event);
        }
        gate
    }

    /// Takes a policy away. `None` if none of this name was set.
    pub fn clear_policy(&self, kind: PolicyKind, name: &str, by: &str) -> Option<Gate> {
        let events = &self.shared.events;
        let _events = events.after();
        let mut topology = self.topology.write();
        let before = self.followed(&topology, kind);
        if !topology.parameters.policies.clear(kind, name) {
            return None;
        }
        let gate = self.clear(kind.component(), name);
        self.follow_policies(&mut topology);
        if kind == PolicyKind::Operator {
            events.note(|| Event::parameter_cleared(Some(&self.name), kind.component(), name, by));
        }
        self.note_followed(&topology, kind, &before, by);
        events.note(|| Event::policy_cleared(&self.name, kind, name, by));
        Some(gate)
    }

    /// All policies of a kind by name, with those of the configuration.
    #[must_use]
    pub fn policies(&self, kind: PolicyKind) -> Vec<Arc<Policy>> {
        self.topology.read().parameters.policies.all(kind).cloned().collect()
    }

    /// The policies that apply to a queue.
    #[must_use]
    pub fn policies_of(&self, cell: &QueueCell) -> Applied {
        self.topology.read().parameters.policies.on_queue(&cell.spec.name, cell.traits().kind)
    }

    /// Sets the limits of the vhost, in the place of those there were. The gate opens when it is durable.
    pub fn set_limits(&self, limits: VHostLimits, by: &str) -> Gate {
        self.change_limits(|known| *known = limits, by)
    }

    /// Changes the limits that were set. The gate opens when it is durable.
    pub fn change_limits(&self, change: impl FnOnce(&mut VHostLimits), by: &str) -> Gate {
        let _events = self.shared.events.after();
        let mut topology = self.topology.write();
        let mut limits = topology.parameters.limits;
        change(&mut limits);
        let gate = if limits.is_empty() {
            self.clear(VHOST_LIMITS.0, VHOST_LIMITS.1)
        } else {
            self.store(&of_limits(limits))
        };
        topology.parameters.limits = limits;
        self.note_limits(limits, by);
        self.follow_limits(&topology);
        gate
    }

    /// The limits that were set.
    #[must_use]
    pub fn limits(&self) -> VHostLimits {
        self.topology.read().parameters.limits
    }

    /// What the configuration says now about limits of vhosts for which none was set.
    pub(in crate::broker) fn set_default_limits(&self, limits: VHostLimits) {
        let mut topology = self.topology.write();
        topology.parameters.default_limits = limits;
        self.follow_limits(&topology);
    }

    pub(super) fn follow_limits(&self, topology: &Topology) {
        self.connections.set_limit(topology.parameters.limits().0);
    }

    pub(super) fn store(&self, parameter: &Parameter) -> Gate {
        let record = Record::ParameterSet { vhost: &self.name, parameter };
        Gate::durable(self.redefine(|batch| batch.record(&record)))
    }

    pub(super) fn clear(&self, component: &str, name: &str) -> Gate {
        let record = Record::ParameterCleared { vhost: &self.name, component, name };
        Gate::durable(self.redefine(|batch| batch.record(&record)))
    }

    /// Has all queues and exchanges do what policies say now.
    pub(super) fn follow_policies(&self, topology: &mut Topology) {
        for cell in topology.queues.values() {
            cell.follow_rules(topology.parameters.rules_of(cell));
        }
        topology.follow_alternates();
        self.changed(topology);
    }
}
