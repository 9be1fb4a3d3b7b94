//! A vhost held still for an import: what is in it is looked at, and then much changes at once.
//!
//! Whoever imports holds all vhosts it is about, [applies](Importing::apply) a plan to each, appends what that recorded to
//! the journal in one batch, and lets all of them [follow](Importing::follow). Nobody sees anything in between.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde_json::Value;

use super::events::Followed;
use super::exchanges::ExchangeDeclare;
use super::parameters::{of_kept, of_limits, of_policy};
use super::queues::QueueDeclare;
use super::{Topology, VHost};
use crate::broker::events::Event;
use crate::broker::limits::{VHOST_LIMITS, VHostLimits};
use crate::broker::permissions::{TopicRow, of_permissions, of_topic};
use crate::broker::policies::PolicyKind;
use crate::broker::policies::policy::Policy;
use crate::broker::queue_cell::{QueueCell, QueueSpec};
use crate::broker::vhosts::QueueType;
use crate::identity::access::Permissions;
use crate::ids::{ConnectionId, Lsn, QueueId};
use crate::lock::RankedWriteGuard;
use crate::protocol::field::Table;
use crate::routing::{BindingSpec, Destination, ExchangeSpec};
use crate::storage::journal::Encoded;
use crate::storage::record::{Parameter, Record};

/// A connection that there never is: nothing is its.
const NOBODY: ConnectionId = ConnectionId(u64::MAX);

/// A binding that is to be made. Its ends have names.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::broker) struct NewBinding {
    pub(in crate::broker) source: String,
    pub(in crate::broker) destination: Destination<String>,
    pub(in crate::broker) key: String,
    pub(in crate::broker) arguments: Table,
}

/// What is to change in a vhost. All of it was checked.
#[derive(Debug, Default)]
pub(in crate::broker) struct VHostPlan {
    /// New ones.
    pub(in crate::broker) exchanges: Vec<ExchangeSpec>,
    /// New ones.
    pub(in crate::broker) queues: Vec<QueueSpec>,
    /// New ones, whose ends are there or among these.
    pub(in crate::broker) bindings: Vec<NewBinding>,
    /// In the place of those of their names.
    pub(in crate::broker) policies: Vec<(PolicyKind, Policy)>,
    pub(in crate::broker) limits: Option<VHostLimits>,
    /// Parameters of components that are not here: component, name, value.
    pub(in crate::broker) kept: Vec<(&'static str, String, Value)>,
    /// By user.
    pub(in crate::broker) permissions: Vec<(String, Permissions)>,
    pub(in crate::broker) topics: Vec<TopicRow>,
    pub(in crate::broker) default_queue_type: Option<QueueType>,
}

/// See the module.
pub(in crate::broker) struct Importing<'a> {
    vhost: &'a VHost,
    topology: RankedWriteGuard<'a, Topology>,
    /// Who imports.
    by: &'a str,
    /// What policies of each kind did, if one of them changes.
    before: Vec<(PolicyKind, Followed)>,
    policies: bool,
    access: bool,
}

impl VHost {
    /// Holds it still. Several are held in the order of their names.
    pub(in crate::broker) fn importing<'a>(&'a self, by: &'a str) -> Importing<'a> {
        let topology = self.topology.write_also();
        Importing { vhost: self, topology, by, before: Vec::new(), policies: false, access: false }
    }
}

impl Importing<'_> {
    pub(in crate::broker) fn exchange(&self, name: &str) -> Option<&ExchangeSpec> {
        self.topology.router.exchange(name)
    }

    pub(in crate::broker) fn queue(&self, name: &str) -> Option<&Arc<QueueCell>> {
        self.topology.queues.get(name)
    }

    /// How many queues there are.
    pub(in crate::broker) fn queues(&self) -> u64 {
        self.topology.queues.len() as u64
    }

    /// Most queues, if `limits` are set or those there are stay.
    pub(in crate::broker) fn most_queues(&self, limits: Option<VHostLimits>) -> Option<u32> {
        let parameters = &self.topology.parameters;
        limits.map_or(parameters.limits(), |limits| limits.or(parameters.default_limits)).1
    }

    /// Whether there is this binding. Its ends may be missing.
    pub(in crate::broker) fn is_bound(&self, binding: &NewBinding) -> bool {
        self.resolved(binding).is_some_and(|BindingSpec { source, destination, key, arguments }| {
            self.topology.router.is_bound(&source, &destination, &key, &arguments)
        })
    }

    /// How many bindings a queue has.
    pub(in crate::broker) fn bindings_to(&self, queue: &str) -> usize {
        let cell = self.topology.queues.get(queue);
        cell.map_or(0, |cell| self.topology.router.count_to_queue(cell.id))
    }

    /// The policy of this name that was set.
    pub(in crate::broker) fn policy(&self, kind: PolicyKind, name: &str) -> Option<&Policy> {
        self.topology.parameters.policies.get_set(kind, name).map(|policy| &**policy)
    }

    pub(in crate::broker) fn limits(&self) -> VHostLimits {
        self.topology.parameters.limits
    }

    pub(in crate::broker) fn kept(&self, component: &'static str, name: &str) -> Option<&Value> {
        self.topology.parameters.kept.get(&(component, name.to_owned()))
    }

    pub(in crate::broker) fn permissions(&self, user: &str) -> Option<&Permissions> {
        self.topology.parameters.grants.get(user)
    }

    /// What was said of a topic exchange for a user.
    pub(in crate::broker) fn topic(&self, user: &str, exchange: &str) -> Option<TopicRow> {
        self.topology.parameters.grants.topic(user, exchange)
    }

    /// Whether queues that can be are quorum queues unless they say otherwise.
    pub(in crate::broker) fn prefers_quorum(&self) -> bool {
        self.vhost.prefers_quorum.load(Ordering::Relaxed)
    }

    /// What is different about a queue of the same name that is there.
    pub(in crate::broker) fn queue_differs(&self, cell: &QueueCell, spec: &QueueSpec) -> Option<String> {
        let QueueSpec { name, durable, auto_delete, arguments, .. } = spec;
        let request = QueueDeclare {
            name,
            durable: *durable,
            auto_delete: *auto_delete,
            arguments: arguments.as_ref(),
            ..QueueDeclare::default()
        };
        let checked = self.vhost.check_same(cell, request, *durable, NOBODY);
        checked.err().map(|error| error.text.into_owned())
    }

    /// What is different about an exchange of the same name that is there.
    pub(in crate::broker) fn exchange_differs(
        &self,
        current: &ExchangeSpec,
        spec: &ExchangeSpec,
    ) -> Option<String> {
        let ExchangeSpec { name, kind, durable, auto_delete, internal, arguments, .. } = spec;
        let request = ExchangeDeclare {
            name,
            kind: kind.name(),
            durable: *durable,
            auto_delete: *auto_delete,
            internal: *internal,
            arguments: arguments.as_ref(),
            objection: None,
            by: self.by,
        };
        let checked = self.vhost.check_equivalent(current, *kind, request);
        checked.err().map(|error| error.text.into_owned())
    }

    fn resolved(&self, binding: &NewBinding) -> Option<BindingSpec<QueueId>> {
        let destination = match &binding.destination {
            Destination::Queue(name) => Destination::Queue(self.topology.queues.get(name)?.id),
            Destination::Exchange(name) => Destination::Exchange(name.clone()),
        };
        let NewBinding { source, key, arguments, .. } = binding.clone();
        Some(BindingSpec { source, destination, key, arguments })
    }

    /// Notes that the vhost is new.
    pub(in crate::broker) fn note_made(&self) {
        self.vhost.note_all_exchanges(&self.topology, self.by);
    }

    /// Whether messages of the vhost are traced.
    pub(in crate::broker) fn is_traced(&self) -> bool {
        self.vhost.is_traced()
    }

    /// Does what is planned. What of it is durable is recorded in `batch`, which has to be appended before anybody else
    /// gets to the vhost.
    pub(in crate::broker) fn apply(&mut self, plan: VHostPlan, batch: &mut Encoded) {
        // Counted first, as for every change.
        let number = self.vhost.shared.redefinitions.fetch_add(1, Ordering::AcqRel) + 1;
        self.vhost.redefined.fetch_max(number, Ordering::AcqRel);
        let VHostPlan { exchanges, queues, bindings, policies, limits, kept, permissions, topics, .. } = plan;
        self.policies = !policies.is_empty();
        if self.policies {
            let followed = |kind| (kind, self.vhost.followed(&self.topology, kind));
            self.before = [PolicyKind::User, PolicyKind::Operator].map(followed).into();
        }
        self.access = !(permissions.is_empty() && topics.is_empty());
        if let Some(kind) = plan.default_queue_type {
            self.vhost.set_default_queue_type(kind);
        }
        self.put_parameters(policies, limits, kept, batch);
        self.put_grants(permissions, topics, batch);
        exchanges.into_iter().for_each(|exchange| self.put_exchange(exchange, batch));
        queues.into_iter().for_each(|queue| self.put_queue(queue, batch));
        bindings.iter().for_each(|binding| self.put_binding(binding, batch));
    }

    fn put_parameters(
        &mut self,
        policies: Vec<(PolicyKind, Policy)>,
        limits: Option<VHostLimits>,
        kept: Vec<(&'static str, String, Value)>,
        batch: &mut Encoded,
    ) {
        let vhost = &self.vhost.name;
        let mut set = |parameter: &Parameter| batch.record(&Record::ParameterSet { vhost, parameter });
        let parameters = &mut self.topology.parameters;
        for (kind, policy) in policies {
            set(&of_policy(kind, &policy));
            self.vhost.note_policy(kind, &policy, self.by);
            parameters.policies.set(kind, policy);
        }
        for (component, name, value) in kept {
            set(&of_kept(component, &name, &value));
            self.vhost.note_parameter(component, &name, &value, self.by);
            parameters.kept.insert((component, name), value);
        }
        match limits {
            Some(limits) if limits.is_empty() => {
                let (component, name) = VHOST_LIMITS;
                batch.record(&Record::ParameterCleared { vhost, component, name });
            }
            Some(limits) => set(&of_limits(limits)),
            None => return,
        }
        parameters.limits = limits.unwrap_or_default();
        self.vhost.note_limits(parameters.limits, self.by);
    }

    fn put_grants(
        &mut self,
        permissions: Vec<(String, Permissions)>,
        topics: Vec<TopicRow>,
        batch: &mut Encoded,
    ) {
        let vhost = &self.vhost.name;
        let mut set = |parameter: &Parameter| batch.record(&Record::ParameterSet { vhost, parameter });
        let events = &self.vhost.shared.events;
        let grants = &mut self.topology.parameters.grants;
        for (user, row) in permissions {
            set(&of_permissions(&user, &row));
            events.note(|| Event::permission_created(vhost, &user, &row, self.by));
            grants.set(&user, Some(row));
        }
        for row in topics {
            let parameter = of_topic(&row);
            let event = events.are_wanted().then(|| Event::topic_permission_created(vhost, &row, self.by));
            match grants.set_topic(row) {
                Ok(()) => {
                    set(&parameter);
                    event.into_iter().for_each(|event| events.note(|| event));
                }
                Err(error) => tracing::error!(?vhost, %error, "a topic permission is left out"),
            }
        }
    }

    fn put_exchange(&mut self, exchange: ExchangeSpec, batch: &mut Encoded) {
        let topology = &mut *self.topology;
        if exchange.durable {
            batch.record(&Record::ExchangeDeclared { vhost: &self.vhost.name, exchange: &exchange });
        }
        let events = &self.vhost.shared.events;
        events.note(|| Event::exchange_created(&self.vhost.name, &exchange, self.by));
        let (name, fallback) = (exchange.name.clone(), topology.parameters.alternate_of(&exchange.name));
        topology.router.declare(exchange);
        topology.router.set_fallback(&name, fallback);
    }

    fn put_queue(&mut self, spec: QueueSpec, batch: &mut Encoded) {
        let shared = &self.vhost.shared;
        let id = QueueId(shared.last_queue.fetch_add(1, Ordering::Relaxed) + 1);
        if spec.durable {
            let QueueSpec { name, auto_delete, arguments, .. } = &spec;
            let (vhost, auto_delete) = (&*self.vhost.name, *auto_delete);
            batch.record(&Record::QueueDeclared { vhost, id, name, auto_delete, arguments });
        }
        let cell = QueueCell::new(id, spec, shared.bodies.clone(), self.vhost.agenda.clone());
        cell.set_rules(self.topology.parameters.rules_of(&cell));
        self.vhost.note_queue(&cell.spec, self.by);
        self.topology.add(cell);
    }

    fn put_binding(&mut self, binding: &NewBinding, batch: &mut Encoded) {
        let Some(binding) = self.resolved(binding) else { return };
        let BindingSpec { source, destination, key, arguments } = &binding;
        match self.topology.router.bind(source, destination, key, arguments) {
            Ok(true) => {
                self.vhost.note_bound(&self.topology, &binding, self.by);
                if self.vhost.is_durable(&self.topology, &binding) {
                    batch.record(&Record::Bound { vhost: &self.vhost.name, binding: &binding });
                }
            }
            Ok(false) => {}
            Err(error) => tracing::error!(?source, ?key, %error, "a binding is left out"),
        }
    }

    /// Has all that is there do what holds now. What was applied is in the journal up to `lsn`.
    pub(in crate::broker) fn follow(mut self, lsn: Lsn) {
        self.vhost.redefined_at.fetch_max(lsn.0, Ordering::AcqRel);
        if self.policies {
            self.vhost.follow_policies(&mut self.topology);
        }
        for (kind, before) in &self.before {
            self.vhost.note_followed(&self.topology, *kind, before, self.by);
        }
        self.vhost.follow_limits(&self.topology);
        if self.access {
            self.vhost.access_changed(&self.topology);
        }
        self.vhost.changed(&self.topology);
    }
}
