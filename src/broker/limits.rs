//! How much of a thing there may be: for the broker, for a vhost, for a user.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering};

use serde_json::{Map, Value};

use crate::broker::churn::Tick;
use crate::broker::users::User;
use crate::broker::vhost::VHost;
use crate::protocol::reply::{AmqpError, ReplyCode};

/// A number of things, and the most there may be.
#[derive(Debug)]
pub struct Quota {
    used: AtomicU64,
    /// Below 0 any number.
    limit: AtomicI64,
    taken: Tick,
    given_back: Tick,
}

impl Quota {
    /// None is used, and so many may be; any number if `None`.
    #[must_use]
    pub fn new(limit: Option<u32>) -> Self {
        let limit = AtomicI64::new(as_number(limit));
        Self { used: AtomicU64::new(0), limit, taken: Tick::default(), given_back: Tick::default() }
    }

    /// So many may be from now on. Those that are stay.
    pub fn set_limit(&self, limit: Option<u32>) {
        self.limit.store(as_number(limit), Ordering::Relaxed);
    }

    /// Counts one more, unless there are as many as may be: then this number is the error.
    ///
    /// # Errors
    /// The limit.
    pub fn take(&self) -> Result<(), u64> {
        let limit = self.limit.load(Ordering::Relaxed);
        let one_more = |used: u64| match u64::try_from(limit) {
            Ok(limit) if used >= limit => None,
            _ => Some(used + 1),
        };
        let taken = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
        taken.map(|_| self.taken.count()).map_err(|_| limit.unsigned_abs())
    }

    /// Holds room for so many more, unless there may not be as many: then the limit is the error. They have come with
    /// [`fill`](Self::fill), or never come with [`release`](Self::release).
    ///
    /// # Errors
    /// The limit.
    pub fn reserve(&self, count: u64) -> Result<(), u64> {
        let limit = self.limit.load(Ordering::Relaxed);
        let more = |used: u64| match u64::try_from(limit) {
            Ok(limit) if count > 0 && used.saturating_add(count) > limit => None,
            _ => Some(used.saturating_add(count)),
        };
        let taken = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        taken.map(|_| ()).map_err(|_| limit.unsigned_abs())
    }

    /// So many came of those for which room is held.
    pub fn fill(&self, count: u64) {
        self.taken.add(count);
    }

    /// So many do not come of those for which room is held.
    pub fn release(&self, count: u64) {
        self.used.fetch_sub(count, Ordering::Relaxed);
    }

    /// Counts things that are there whatever the limit.
    pub fn add(&self, count: u64) {
        self.used.fetch_add(count, Ordering::Relaxed);
    }

    /// Counts so many less: they are gone.
    pub fn give_back(&self, count: u64) {
        self.used.fetch_sub(count, Ordering::Relaxed);
        self.given_back.add(count);
    }

    /// How many came: were [taken](Self::take), or [filled](Self::fill) room that was held.
    #[must_use]
    pub fn taken(&self) -> u64 {
        self.taken.get()
    }

    /// How many were given back, of those that were there from the start too.
    #[must_use]
    pub fn given_back(&self) -> u64 {
        self.given_back.get()
    }

    /// How many there are.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }
}

fn as_number(limit: Option<u32>) -> i64 {
    limit.map_or(-1, i64::from)
}

/// The most there may be of things that are counted where they are.
#[derive(Debug, Default)]
pub struct Most(AtomicU32);

impl Most {
    /// So many may be from now on; 0 is no limit. Those that are stay.
    fn set(&self, most: u32) {
        self.0.store(most, Ordering::Relaxed);
    }

    /// The limit, if so many are more than that.
    #[must_use]
    pub fn exceeded_by(&self, count: usize) -> Option<u32> {
        let most = self.0.load(Ordering::Relaxed);
        (most > 0 && count as u64 > u64::from(most)).then_some(most)
    }
}

/// What is limited for the broker as a whole. In the options 0 is no limit.
#[derive(Debug)]
pub struct NodeLimits {
    /// Channels of all connections.
    pub channels: Quota,
    /// Queues in all vhosts.
    pub queues: Quota,
    /// Exchanges in all vhosts, without those that every vhost has.
    pub exchanges: Quota,
    /// Vhosts.
    pub vhosts: Most,
    /// Bindings of one queue.
    pub bindings_per_queue: Most,
    /// Successful declarations of queues.
    pub queues_declared: Tick,
}

/// Most things of the broker; 0 is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeOptions {
    /// Channels of all connections.
    pub channels: u32,
    /// Queues in all vhosts.
    pub queues: u32,
    /// Exchanges in all vhosts, without those that every vhost has.
    pub exchanges: u32,
    /// Vhosts.
    pub vhosts: u32,
    /// Bindings of one queue.
    pub bindings_per_queue: u32,
}

impl Default for NodeOptions {
    fn default() -> Self {
        Self { channels: 0, queues: 0, exchanges: 0, vhosts: 1000, bindings_per_queue: 100_000 }
    }
}

impl NodeLimits {
    pub(super) fn new(options: NodeOptions) -> Self {
        let quota = || Quota::new(None);
        let limits = Self {
            channels: quota(),
            queues: quota(),
            exchanges: quota(),
            vhosts: Most::default(),
            bindings_per_queue: Most::default(),
            queues_declared: Tick::default(),
        };
        limits.set(options);
        limits
    }

    /// From now on. What is there stays.
    pub fn set(&self, options: NodeOptions) {
        let limit = |number: u32| (number > 0).then_some(number);
        self.channels.set_limit(limit(options.channels));
        self.queues.set_limit(limit(options.queues));
        self.exchanges.set_limit(limit(options.exchanges));
        self.vhosts.set(options.vhosts);
        self.bindings_per_queue.set(options.bindings_per_queue);
    }
}

/// The limits of a vhost, as they were set: -1 is no limit, whatever the configuration says for all vhosts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VHostLimits {
    /// Most open connections.
    pub max_connections: Option<i64>,
    /// Most queues.
    pub max_queues: Option<i64>,
}

/// The component of the parameter that limits a vhost, and the parameter's name, as in RabbitMQ.
pub const VHOST_LIMITS: (&str, &str) = ("vhost-limits", "limits");

impl VHostLimits {
    const NAMES: [&str; 2] = ["max-connections", "max-queues"];

    /// Limits from the value of their parameter.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn from_value(value: &Value) -> Result<Self, String> {
        let object = value.as_object().ok_or("the limits should be an object")?;
        if let Some(key) = object.keys().find(|key| !Self::NAMES.contains(&key.as_str())) {
            return Err(format!("there is no limit {key}; there are {}", Self::NAMES.join(" and ")));
        }
        let number = |name: &str| match object.get(name) {
            None => Ok(None),
            Some(value) => match value.as_i64() {
                Some(number) if (-1..=i64::from(u32::MAX)).contains(&number) => Ok(Some(number)),
                _ => Err(format!("{name} should be a number, and at least 0, or -1 for no limit")),
            },
        };
        Ok(Self { max_connections: number(Self::NAMES[0])?, max_queues: number(Self::NAMES[1])? })
    }

    /// The value of their parameter.
    #[must_use]
    pub fn value(self) -> Value {
        let limits = Self::NAMES.into_iter().zip([self.max_connections, self.max_queues]);
        let set = limits.filter_map(|(name, limit)| Some((name.to_owned(), limit?.into())));
        Value::Object(Map::from_iter(set))
    }

    /// Whether nothing is set.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self == Self::default()
    }

    /// What holds where these are silent and `others` may not be: connections, and queues.
    pub(super) fn or(self, others: Self) -> (Option<u32>, Option<u32>) {
        let limit = |own: Option<i64>, other: Option<i64>| own.or(other).and_then(|n| u32::try_from(n).ok());
        (limit(self.max_connections, others.max_connections), limit(self.max_queues, others.max_queues))
    }
}

/// The place of an open connection in its vhost and among those of its user, until it is dropped.
#[derive(Debug)]
pub struct ConnectionSeat {
    vhost: Option<Arc<VHost>>,
    user: Arc<User>,
}

impl ConnectionSeat {
    /// Takes a place for `user`, in `vhost` if there is one of that name: what is wrong with the name is told after
    /// what is wrong with numbers, as in RabbitMQ.
    pub(super) fn take(user: &Arc<User>, name: &str, vhost: Option<&Arc<VHost>>) -> Result<Self, AmqpError> {
        let refused = |text: String| AmqpError::new(ReplyCode::NotAllowed, text);
        if let Some(vhost) = vhost {
            vhost.connections.take().map_err(|limit| {
                let user = &user.name;
                refused(format!(
                    "access to vhost '{name}' refused for user '{user}': connection limit ({limit}) is reached"
                ))
            })?;
        }
        if let Err(limit) = user.connections.take() {
            vhost.inspect(|vhost| vhost.connections.give_back(1));
            let user = &user.name;
            return Err(refused(format!(
                "connection refused for user '{user}': user connection limit ({limit}) is reached"
            )));
        }
        Ok(Self { vhost: vhost.cloned(), user: user.clone() })
    }
}

impl Drop for ConnectionSeat {
    fn drop(&mut self) {
        self.vhost.iter().for_each(|vhost| vhost.connections.give_back(1));
        self.user.connections.give_back(1);
    }
}

/// The place of a channel among those of its user and those of the broker, until it is dropped.
#[derive(Debug)]
pub struct ChannelSeat {
    node: Arc<NodeLimits>,
    user: Arc<User>,
}

impl ChannelSeat {
    /// Takes a place.
    ///
    /// # Errors
    /// 530 if there is none, with RabbitMQ's text.
    pub fn take(node: &Arc<NodeLimits>, user: &Arc<User>) -> Result<Self, AmqpError> {
        let refused = |text: String| AmqpError::new(ReplyCode::NotAllowed, text);
        user.channels.take().map_err(|limit| {
            let user = &user.name;
            refused(format!(
                "number of channels opened for user '{user}' has reached the maximum allowed user limit of ({limit})"
            ))
        })?;
        if let Err(limit) = node.channels.take() {
            user.channels.give_back(1);
            return Err(refused(format!(
                "number of channels opened has reached the maximum allowed limit of ({limit})"
            )));
        }
        Ok(Self { node: node.clone(), user: user.clone() })
    }
}

impl Drop for ChannelSeat {
    fn drop(&mut self) {
        self.node.channels.give_back(1);
        self.user.channels.give_back(1);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_quota_is_used_up_and_given_back() {
        let quota = Quota::new(Some(2));
        assert_eq!((quota.take(), quota.take(), quota.take()), (Ok(()), Ok(()), Err(2)));
        quota.give_back(1);
        assert_eq!((quota.take(), quota.used()), (Ok(()), 2));
        quota.set_limit(Some(0));
        assert_eq!(quota.take(), Err(0));
        quota.set_limit(None);
        assert_eq!(quota.take(), Ok(()));
        let several = Quota::new(Some(3));
        assert_eq!((several.reserve(2), several.reserve(2), several.used()), (Ok(()), Err(3), 2));
        several.release(1);
        assert_eq!((several.used(), several.taken(), several.given_back()), (1, 0, 0), "none came or went");
        several.fill(1);
        assert_eq!((several.used(), several.taken()), (1, 1));
        several.add(5);
        assert_eq!((several.reserve(0), several.reserve(1)), (Ok(()), Err(3)));
        let all = Quota::new(None);
        all.add(5);
        assert_eq!((all.take(), all.used()), (Ok(()), 6));
    }

    #[test]
    fn more_than_may_be_is_told_by_the_limit() {
        let most = Most::default();
        assert_eq!(most.exceeded_by(usize::MAX), None);
        most.set(2);
        assert_eq!((most.exceeded_by(2), most.exceeded_by(3)), (None, Some(2)));
    }

    #[test]
    fn limits_of_a_vhost_are_numbers_from_minus_one_on() {
        let limits = VHostLimits::from_value(&json!({"max-connections": -1, "max-queues": 0})).unwrap();
        assert_eq!(limits.value(), json!({"max-connections": -1, "max-queues": 0}));
        let defaults = VHostLimits { max_connections: Some(5), max_queues: Some(5) };
        assert_eq!(limits.or(defaults), (None, Some(0)));
        assert_eq!(VHostLimits::default().or(defaults), (Some(5), Some(5)));
        assert!(VHostLimits::default().is_empty());
        for (value, text) in [
            (json!({"max-connections": -2}), "max-connections should be a number"),
            (json!({"max-queues": "3"}), "max-queues should be a number"),
            (json!({"max-users": 3}), "there is no limit max-users"),
            (json!(3), "should be an object"),
        ] {
            let told = VHostLimits::from_value(&value).unwrap_err();
            assert!(told.contains(text), "{told}");
        }
    }
}
