//! What the connection's user may do: asked before each operation, and of the vhost only when permissions have changed.
//!
//! A publish whose route is remembered was asked about before: a change of permissions makes all routes forgotten.

use std::sync::Arc;

use crate::broker::users::User;
use crate::broker::vhost::VHost;
use crate::identity::access::{Access, Right};
use crate::identity::operation::{Missing, Operation, Resource};
use crate::protocol::method::basic;
use crate::protocol::reply::{AmqpError, ReplyCode};
use crate::session::open::Open;
use crate::session::wire::Wire;

/// What the user may do, as the vhost said it last.
#[derive(Debug)]
pub(super) struct Rights {
    access: Arc<Access>,
    epoch: u64,
    /// The epoch at which consumers were last looked at.
    consumers_epoch: u64,
    /// The exchange last published to of those whose routes cannot be remembered. The user may do that.
    written: Option<String>,
}

impl Rights {
    /// Of a user, in a vhost.
    pub(super) fn of(user: &User, vhost: &VHost) -> Self {
        // The epoch first: what is read after it is at least as new.
        let epoch = vhost.access_epoch();
        let access = match user.token() {
            Some(vouched) => Arc::new(vouched.token.access_or_none(&vhost.name)),
            None => vhost.access_of(&user.name),
        };
        Self { access, epoch, consumers_epoch: epoch, written: None }
    }

    /// Of a user who has come with a newer access token: consumers are yet to be looked at.
    pub(super) fn renewed(user: &User, vhost: &VHost) -> Self {
        // Epochs begin at 1.
        Self { consumers_epoch: 0, ..Self::of(user, vhost) }
    }

    fn refresh(&mut self, user: &User, vhost: &VHost) {
        let consumers_epoch = self.consumers_epoch;
        *self = Self { consumers_epoch, ..Self::of(user, vhost) };
    }
}

impl Open {
    fn access(&mut self) -> &Arc<Access> {
        if self.rights.epoch != self.vhost.access_epoch() {
            self.rights.refresh(&self.user, &self.vhost);
        }
        &self.rights.access
    }

    /// Whether the user may do this.
    ///
    /// # Errors
    /// 403 if not.
    pub(super) fn check(&mut self, operation: Operation<'_>) -> Result<(), AmqpError> {
        operation.check(self.access()).map_err(|missing| self.refused(missing))
    }

    /// As [`check`](Self::check), for what is asked only if something does not exist yet.
    pub(super) fn objection(&mut self, operation: Operation<'_>) -> Option<AmqpError> {
        self.check(operation).err()
    }

    /// Whether the user may publish to this exchange. Cheap when it is the same one again.
    pub(super) fn check_publish(&mut self, exchange: &str) -> Result<(), AmqpError> {
        let is_known = self.rights.epoch == self.vhost.access_epoch()
            && self.rights.written.as_deref().is_some_and(|known| known == exchange);
        if !is_known {
            self.check(Operation::PublishTo(exchange))?;
            let written = self.rights.written.get_or_insert_default();
            written.clear();
            written.push_str(exchange);
        }
        Ok(())
    }

    /// Whether the user may use these routing keys of an exchange, which matters if it is a topic exchange.
    pub(super) fn check_keys(
        &mut self,
        right: Right,
        exchange: &str,
        keys: &[&str],
    ) -> Result<(), AmqpError> {
        // The default exchange is none, and is asked about for each direct reply.
        if exchange.is_empty() || !self.access().minds_topics_of(exchange) || !self.vhost.is_topic(exchange) {
            return Ok(());
        }
        let access = &self.rights.access;
        let Some(key) = keys.iter().find(|key| !access.allows_topic(right, exchange, key)) else {
            return Ok(());
        };
        // The doubled word is RabbitMQ's.
        let text = format!(
            "{} access to topic '{key}' in exchange exchange '{exchange}' in vhost '{}' refused for user '{}'",
            right.name(),
            self.vhost.name,
            self.user.name
        );
        Err(AmqpError::new(ReplyCode::AccessRefused, text))
    }

    /// Whether the user may make or remove a binding from `source` to `target`: as RabbitMQ, first what it leads to, then
    /// where it comes from.
    pub(super) fn check_binding(
        &mut self,
        source: &str,
        target: Resource<'_>,
        key: &str,
    ) -> Result<(), AmqpError> {
        self.check(Operation::BindTo(target))?;
        let is_default = source.is_empty() || target == Resource::Exchange("");
        if is_default {
            // Whoever makes the binding says what is wrong with it.
            return Ok(());
        }
        self.check(Operation::BindFrom(source))?;
        self.check_keys(Right::Read, source, &[key])
    }

    /// After a change of permissions: consumers of queues that the user may not read any more end, as if these were gone.
    pub(super) fn end_forbidden_consumers(&mut self, wire: &mut Wire) {
        let epoch = self.vhost.access_epoch();
        if self.rights.consumers_epoch == epoch {
            return;
        }
        self.rights.consumers_epoch = epoch;
        let access = self.access().clone();
        let keys = self.consumers.of_queues(|queue| Operation::TakeFrom(queue).check(&access).is_err());
        for &key in &keys {
            let left = self.consumers.get(key).map(|consumer| (consumer.channel, consumer.tag.clone()));
            if let Some((number, tag)) = left
                && let Some(channel) = self.channels.get_mut(&number)
            {
                channel.tags.remove(&tag);
            }
            self.leave_queue(wire, key);
        }
        if keys.is_empty() {
            return;
        }
        self.sweep_outlet(wire);
        self.flush_settlements(wire);
        self.hand_over();
        for key in keys {
            let Some(consumer) = self.consumers.get(key) else { continue };
            if wire.capabilities.consumer_cancel_notify {
                wire.send(consumer.channel, &basic::Cancel { consumer_tag: &consumer.tag, no_wait: true });
            }
            self.consumers.retire(key);
        }
    }

    fn refused(&self, Missing { right, on }: Missing<'_>) -> AmqpError {
        let text = format!(
            "{} access to {} '{}' in vhost '{}' refused for user '{}'",
            right.name(),
            on.noun(),
            on.name(),
            self.vhost.name,
            self.user.name
        );
        AmqpError::new(ReplyCode::AccessRefused, text)
    }
}
