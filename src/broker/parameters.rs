//! Runtime parameters, as RabbitMQ has them: values by name that a component was told about a vhost, and global ones.
//!
//! Those of a vhost are policies of operators, limits, and what is kept for components that are not here; see
//! [`VHost::set_parameter`](crate::broker::vhost::VHost::set_parameter). Global ones may have any name. The broker itself
//! heeds `cluster_name`.

use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::Value;

use crate::broker::Broker;
use crate::broker::events::Event;
use crate::broker::globals::Globals;
use crate::broker::limits::VHOST_LIMITS;
use crate::broker::names::Names;
use crate::broker::policies::PolicyKind;
use crate::channel::gates::Gate;
use crate::lock::{Rank, RankedRwLock};

/// The component in the journal of global parameters.
pub(super) const GLOBAL_PARAMETER: &str = "global_parameter";

/// The global parameter that is the cluster's name.
pub const CLUSTER_NAME: &str = "cluster_name";

/// The global parameter that tells this cluster from all others, also after it was given another name.
pub const CLUSTER_ID: &str = "internal_cluster_id";

/// The component of global parameters, as events call it.
pub(super) const GLOBAL: &str = "global";

/// The longest name of a parameter in bytes.
const LONGEST_NAME: usize = 1024;

/// Components of RabbitMQ whose parameters are kept, and make no difference here.
const UNSUPPORTED: [&str; 3] = ["shovel", "federation-upstream", "federation-upstream-set"];

/// For whom a parameter of a vhost is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Component {
    /// Policies.
    Policy(PolicyKind),
    /// Limits of the vhost.
    Limits,
    /// What is kept, and makes no difference here.
    Unsupported(&'static str),
}

impl Component {
    /// The component of this name.
    ///
    /// # Errors
    /// If there is none.
    pub fn parse(name: &str) -> Result<Self, ParameterError> {
        let kinds = [PolicyKind::User, PolicyKind::Operator];
        if let Some(kind) = kinds.into_iter().find(|kind| kind.component() == name) {
            return Ok(Self::Policy(kind));
        }
        if name == VHOST_LIMITS.0 {
            return Ok(Self::Limits);
        }
        let known = UNSUPPORTED.into_iter().find(|known| *known == name);
        known.map(Self::Unsupported).ok_or_else(|| ParameterError::NoComponent(name.to_owned()))
    }

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Policy(kind) => kind.component(),
            Self::Limits => VHOST_LIMITS.0,
            Self::Unsupported(name) => name,
        }
    }
}

/// A parameter of a vhost.
#[derive(Clone, Debug, PartialEq)]
pub struct RuntimeParameter {
    /// For whom it is.
    pub component: Component,
    /// Its name, unique within the component.
    pub name: String,
    /// What it says.
    pub value: Value,
}

/// Why a parameter is not set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParameterError {
    /// There is no such component.
    #[error("component {0} not found")]
    NoComponent(String),
    /// Policies of users are set in another way.
    #[error("policies may not be set using this method")]
    Policy,
    /// The name cannot be one.
    #[error("a parameter's name should be 1 to {LONGEST_NAME} bytes of text without control characters")]
    BadName,
    /// The component does not know a parameter of this name.
    #[error("name not recognised: {0}")]
    UnknownName(String),
    /// The value is none of the component's.
    #[error("{0}")]
    BadValue(String),
}

/// Checks the name of a parameter.
///
/// # Errors
/// [`ParameterError::BadName`].
pub(super) fn check_name(name: &str) -> Result<(), ParameterError> {
    let is_one = !name.is_empty() && name.len() <= LONGEST_NAME && !name.chars().any(char::is_control);
    if is_one { Ok(()) } else { Err(ParameterError::BadName) }
}

/// Checks a global parameter.
///
/// # Errors
/// If the name cannot be one, or the value is not what the broker could heed.
pub(super) fn check_global(name: &str, value: &Value) -> Result<(), ParameterError> {
    check_name(name)?;
    if name == CLUSTER_NAME && value.as_str().is_none_or(str::is_empty) {
        return Err(ParameterError::BadValue(format!("{CLUSTER_NAME} should be a string that is not empty")));
    }
    Ok(())
}

/// What the broker heeds of global parameters.
#[derive(Debug)]
pub(super) struct GlobalParameters {
    /// Held by whoever changes one. Taken before all other locks.
    pub(super) changing: Mutex<()>,
    /// Where none is set.
    default_name: Arc<str>,
    cluster_name: RankedRwLock<Arc<str>>,
    cluster_id: String,
}

impl GlobalParameters {
    /// What was stored. The cluster's id is made where there is none.
    pub(super) fn restored(globals: &Globals, names: &Names, default_name: &str) -> Self {
        let text = |name: &str| {
            let value: Value = serde_json::from_str(&globals.get(GLOBAL_PARAMETER, name)?).ok()?;
            value.as_str().map(str::to_owned)
        };
        let cluster_id = text(CLUSTER_ID).unwrap_or_else(|| {
            let id = names.generate("rabbitmq-cluster-id-");
            // Nobody waits for it: nothing that could be lost with it was told by it.
            globals.set(GLOBAL_PARAMETER, CLUSTER_ID, Value::from(id.clone()).to_string());
            id
        });
        let default_name: Arc<str> = default_name.into();
        let name = text(CLUSTER_NAME).map_or_else(|| default_name.clone(), Arc::from);
        Self {
            changing: Mutex::new(()),
            default_name,
            cluster_name: RankedRwLock::new(Rank::Outlet, name),
            cluster_id,
        }
    }

    /// Heeds what was set, or cleared.
    pub(super) fn follow(&self, name: &str, value: Option<&Value>) {
        if name == CLUSTER_NAME {
            let set = value.and_then(Value::as_str);
            *self.cluster_name.write() = set.map_or_else(|| self.default_name.clone(), Arc::from);
        }
    }
}

impl Broker {
    /// The cluster's name: that of its global parameter, or else of the configuration.
    #[must_use]
    pub fn cluster_name(&self) -> Arc<str> {
        self.global_parameters.cluster_name.read().clone()
    }

    /// Tells this cluster from all others. It is made at the first start, and stays.
    #[must_use]
    pub fn cluster_id(&self) -> &str {
        &self.global_parameters.cluster_id
    }

    /// Sets a global parameter. The gate opens when it is durable.
    ///
    /// # Errors
    /// If the name cannot be one or is that of the [id](Self::cluster_id), or the value is not what is heeded.
    pub fn set_global_parameter(&self, name: &str, value: &Value, by: &str) -> Result<Gate, ParameterError> {
        check_global(name, value)?;
        if name == CLUSTER_ID {
            return Err(ParameterError::UnknownName(name.to_owned()));
        }
        let _events = self.events.after();
        let _changing = self.global_parameters.changing.lock();
        self.events.note(|| Event::parameter_set(None, GLOBAL, name, value, by));
        let gate = self.globals.set(GLOBAL_PARAMETER, name, value.to_string());
        self.global_parameters.follow(name, Some(value));
        Ok(gate)
    }

    /// Takes a global parameter away. `None` if none of this name was set, or it is the [id](Self::cluster_id).
    pub fn clear_global_parameter(&self, name: &str, by: &str) -> Option<Gate> {
        if name == CLUSTER_ID {
            return None;
        }
        let _events = self.events.after();
        let _changing = self.global_parameters.changing.lock();
        let gate = self.globals.clear(GLOBAL_PARAMETER, name)?;
        self.events.note(|| Event::parameter_cleared(None, GLOBAL, name, by));
        self.global_parameters.follow(name, None);
        Some(gate)
    }

    /// All global parameters by name, that with the [id](Self::cluster_id) among them.
    #[must_use]
    pub fn global_parameters(&self) -> Vec<(String, Value)> {
        let stored = self.globals.all(GLOBAL_PARAMETER).into_iter();
        stored.map(|(name, text)| (name, serde_json::from_str(&text).unwrap_or_default())).collect()
    }

    /// The value of a global parameter, if it is set.
    #[must_use]
    pub fn global_parameter(&self, name: &str) -> Option<Value> {
        serde_json::from_str(&self.globals.get(GLOBAL_PARAMETER, name)?).ok()
    }
}
