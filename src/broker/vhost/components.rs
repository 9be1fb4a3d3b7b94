//! The runtime parameters of a vhost by component and name, as tools see them: what is kept for components that are not
//! here, and policies of operators and limits once more.

use serde_json::Value;

use super::VHost;
use super::parameters::of_kept;
use crate::broker::events::Event;
use crate::broker::limits::{VHOST_LIMITS, VHostLimits};
use crate::broker::parameters::{Component, ParameterError, RuntimeParameter, check_name};
use crate::broker::policies::PolicyKind;
use crate::broker::policies::policy::Policy;
use crate::channel::gates::Gate;

impl VHost {
    /// Sets a parameter, in the place of one of the same component and name. What is for a component that is not here is
    /// kept, makes no difference, and the log says so. The gate opens when it is durable.
    ///
    /// # Errors
    /// See [`ParameterError`].
    pub fn set_parameter(
        &self,
        component: &str,
        name: &str,
        value: &Value,
        by: &str,
    ) -> Result<Gate, ParameterError> {
        let component = Component::parse(component)?;
        check_name(name)?;
        match component {
            Component::Policy(PolicyKind::User) => Err(ParameterError::Policy),
            Component::Policy(kind) => {
                let policy = Policy::from_value(name, value, kind);
                let policy = policy.map_err(|error| ParameterError::BadValue(error.to_string()))?;
                Ok(self.set_policy(kind, policy, by))
            }
            Component::Limits => {
                check_limits_name(name)?;
                let limits = VHostLimits::from_value(value).map_err(ParameterError::BadValue)?;
                Ok(self.set_limits(limits, by))
            }
            Component::Unsupported(component) => {
                tracing::warn!(vhost = ?self.name, component, ?name, "a parameter is kept and has no effect: unsupported");
                let _events = self.shared.events.after();
                let mut topology = self.topology.write();
                self.note_parameter(component, name, value, by);
                let gate = self.store(&of_kept(component, name, value));
                topology.parameters.kept.insert((component, name.to_owned()), value.clone());
                Ok(gate)
            }
        }
    }

    /// Takes a parameter away. `None` if none of this name was set.
    ///
    /// # Errors
    /// If there is no such component, or it is that of users' policies.
    pub fn clear_parameter(
        &self,
        component: &str,
        name: &str,
        by: &str,
    ) -> Result<Option<Gate>, ParameterError> {
        match Component::parse(component)? {
            Component::Policy(PolicyKind::User) => Err(ParameterError::Policy),
            Component::Policy(kind) => Ok(self.clear_policy(kind, name, by)),
            Component::Limits if name != VHOST_LIMITS.1 || self.limits().is_empty() => Ok(None),
            Component::Limits => Ok(Some(self.set_limits(VHostLimits::default(), by))),
            Component::Unsupported(component) => {
                let events = &self.shared.events;
                let _events = events.after();
                let mut topology = self.topology.write();
                if topology.parameters.kept.remove(&(component, name.to_owned())).is_none() {
                    return Ok(None);
                }
                events.note(|| Event::parameter_cleared(Some(&self.name), component, name, by));
                Ok(Some(self.clear(component, name)))
            }
        }
    }

    /// All parameters that were set but the policies of users, by component and name.
    #[must_use]
    pub fn parameters(&self) -> Vec<RuntimeParameter> {
        let topology = self.topology.read();
        let parameters = &topology.parameters;
        let operator = Component::Policy(PolicyKind::Operator);
        let policies = parameters.policies.all_set(PolicyKind::Operator);
        let policies = policies.map(|policy| RuntimeParameter {
            component: operator,
            name: policy.name.clone(),
            value: policy.value(),
        });
        let limits = (!parameters.limits.is_empty()).then(|| RuntimeParameter {
            component: Component::Limits,
            name: VHOST_LIMITS.1.to_owned(),
            value: parameters.limits.value(),
        });
        let kept = parameters.kept.iter().map(|((component, name), value)| RuntimeParameter {
            component: Component::Unsupported(component),
            name: name.clone(),
            value: value.clone(),
        });
        let mut all: Vec<_> = policies.chain(limits).chain(kept).collect();
        all.sort_by(|one, other| {
            (one.component.name(), &one.name).cmp(&(other.component.name(), &other.name))
        });
        all
    }
}

/// Limits have one name.
pub(in crate::broker) fn check_limits_name(name: &str) -> Result<(), ParameterError> {
    if name == VHOST_LIMITS.1 { Ok(()) } else { Err(ParameterError::UnknownName(name.to_owned())) }
}
