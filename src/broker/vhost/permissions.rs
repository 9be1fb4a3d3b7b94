//! The permissions of users in a vhost: set, cleared, listed, and what they come to.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Topology, VHost};
use crate::broker::events::Event;
use crate::broker::options::UserOptions;
use crate::broker::permissions::{TopicRow, of_given, of_permissions, of_topic};
use crate::channel::gates::Gate;
use crate::identity::access::{Access, Permissions};
use crate::pattern::PatternError;
use crate::routing::ExchangeKind;
use crate::storage::record::Parameter;

impl VHost {
    /// Whether a user may open it: there are permissions for the user, even if they allow nothing.
    #[must_use]
    pub fn admits(&self, user: &str) -> bool {
        self.topology.read().parameters.grants.admit(user)
    }

    /// What a user may do in it, as long as [`access_epoch`](Self::access_epoch) stays what it was before the call.
    #[must_use]
    pub fn access_of(&self, user: &str) -> Arc<Access> {
        self.topology.read().parameters.grants.access_of(user)
    }

    /// Changes with every change of permissions, and [`epoch`](Self::epoch) after it.
    #[must_use]
    pub fn access_epoch(&self) -> u64 {
        self.access_epoch.load(Ordering::Acquire)
    }

    /// Whether there is a topic exchange of this name.
    #[must_use]
    pub fn is_topic(&self, exchange: &str) -> bool {
        let topology = self.topology.read();
        topology.router.exchange(exchange).is_some_and(|spec| spec.kind == ExchangeKind::Topic)
    }

    /// Sets a user's permissions, in the place of those there were. They hold for the next operation of all the user's
    /// connections; [`Broker::recheck_access`](crate::broker::Broker::recheck_access) has their consumers follow. The gate
    /// opens when they are durable.
    pub fn set_permissions(&self, user: &str, permissions: Permissions, by: &str) -> Gate {
        let _events = self.shared.events.after();
        let mut topology = self.topology.write();
        self.shared.events.note(|| Event::permission_created(&self.name, user, &permissions, by));
        let gate = self.store(&of_permissions(user, &permissions));
        topology.parameters.grants.set(user, Some(permissions));
        self.access_changed(&topology);
        gate
    }

    /// Takes a user's permissions away, so that the user may not open the vhost any more, and do nothing in it. None
    /// need be there.
    pub fn clear_permissions(&self, user: &str, by: &str) -> Gate {
        let _events = self.shared.events.after();
        let mut topology = self.topology.write();
        let Some(gate) = self.take_permissions(&mut topology, user) else { return self.unchanged(true) };
        self.shared.events.note(|| Event::permission_deleted(&self.name, user, by));
        gate
    }

    /// `None` if there are none.
    fn take_permissions(&self, topology: &mut Topology, user: &str) -> Option<Gate> {
        let permissions = topology.parameters.grants.get(user)?;
        let gate = self.remove(&of_permissions(user, permissions));
        topology.parameters.grants.set(user, None);
        self.access_changed(topology);
        Some(gate)
    }

    /// Users with their permissions, by name.
    #[must_use]
    pub fn permissions(&self) -> Vec<(String, Permissions)> {
        let topology = self.topology.read();
        topology.parameters.grants.all().map(|(user, row)| (user.to_owned(), row.clone())).collect()
    }

    /// Sets what a user may do with the routing keys of a topic exchange, which need not exist. The gate opens when it is
    /// durable.
    ///
    /// # Errors
    /// If one of the two is no pattern.
    pub fn set_topic_permission(&self, row: TopicRow, by: &str) -> Result<Gate, PatternError> {
        let events = &self.shared.events;
        let _events = events.after();
        let mut topology = self.topology.write();
        let parameter = of_topic(&row);
        let event = events.are_wanted().then(|| Event::topic_permission_created(&self.name, &row, by));
        topology.parameters.grants.set_topic(row)?;
        event.into_iter().for_each(|event| events.note(|| event));
        let gate = self.store(&parameter);
        self.access_changed(&topology);
        Ok(gate)
    }

    /// Takes away what was said for a user of a topic exchange, or of all of them. Nothing need be there.
    pub fn clear_topic_permissions(&self, user: &str, exchange: Option<&str>, by: &str) -> Gate {
        let _events = self.shared.events.after();
        let mut topology = self.topology.write();
        let Some(gate) = self.take_topic_permissions(&mut topology, user, exchange) else {
            return self.unchanged(true);
        };
        self.shared.events.note(|| Event::topic_permission_deleted(&self.name, user, exchange, by));
        gate
    }

    /// `None` if there are none.
    fn take_topic_permissions(
        &self,
        topology: &mut Topology,
        user: &str,
        exchange: Option<&str>,
    ) -> Option<Gate> {
        let is_meant =
            |row: &TopicRow| row.user == user && exchange.is_none_or(|exchange| row.exchange == exchange);
        let rows: Vec<TopicRow> = topology.parameters.grants.topics().filter(is_meant).collect();
        let mut gate = None;
        for row in rows {
            gate = Some(self.remove(&of_topic(&row)));
            topology.parameters.grants.clear_topic(user, &row.exchange);
        }
        self.access_changed(topology);
        gate
    }

    /// Forgets a user who is about to be deleted, so that another one of the same name has to be given everything. As in
    /// RabbitMQ only the end of the user is an event.
    pub(in crate::broker) fn forget_user(&self, user: &str) {
        let mut topology = self.topology.write();
        self.take_permissions(&mut topology, user);
        self.take_topic_permissions(&mut topology, user, None);
        if let Some(given) = topology.parameters.grants.given().get(user) {
            self.remove(&of_given(user, given));
            topology.parameters.grants.note_given(user, None);
        }
    }

    /// What was said of topic exchanges, by user and exchange.
    #[must_use]
    pub fn topic_permissions(&self) -> Vec<TopicRow> {
        self.topology.read().parameters.grants.topics().collect()
    }

    /// Gives users of the configuration their permissions, each once: what was changed or cleared since stays so. A user
    /// who is still in it, and may not open this vhost any more, loses what was given and not changed since.
    pub(in crate::broker) fn give_permissions<'a>(
        &self,
        users: impl IntoIterator<Item = &'a UserOptions>,
        permissions: &Permissions,
    ) {
        let mut topology = self.topology.write();
        for user in users {
            let wanted = user.vhosts.contains(&self.name).then_some(permissions);
            self.give(&mut topology, &user.name, wanted);
        }
        self.access_changed(&topology);
    }

    fn give(&self, topology: &mut Topology, user: &str, wanted: Option<&Permissions>) {
        let grants = &mut topology.parameters.grants;
        let given = grants.given().get(user).cloned();
        if given.as_ref() == wanted {
            return;
        }
        let current = grants.get(user).cloned();
        if current == given {
            let parameter = wanted.or(current.as_ref()).map(|row| of_permissions(user, row));
            parameter.iter().for_each(|parameter| self.follow(parameter, wanted.is_some()));
            grants.set(user, wanted.cloned());
        }
        let parameter = wanted.or(given.as_ref()).map(|row| of_given(user, row));
        parameter.iter().for_each(|parameter| self.follow(parameter, wanted.is_some()));
        grants.note_given(user, wanted.cloned());
    }

    fn follow(&self, parameter: &Parameter, is_there: bool) {
        // Nobody waits for it: if it is lost, the next start does it again.
        let _ = if is_there { self.store(parameter) } else { self.remove(parameter) };
    }

    fn remove(&self, parameter: &Parameter) -> Gate {
        self.clear(&parameter.component, &parameter.name)
    }

    /// Call it before the topology lock is let go.
    pub(super) fn access_changed(&self, topology: &Topology) {
        self.access_epoch.fetch_add(1, Ordering::AcqRel);
        // What is cached of routes was allowed.
        self.changed(topology);
    }
}
