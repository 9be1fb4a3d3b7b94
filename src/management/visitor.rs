//! Who asks, and what they may see.

use std::sync::Arc;

use crate::broker::Broker;
use crate::broker::events::CLI;
use crate::broker::users::User;
use crate::broker::vhost::VHost;
use crate::identity::access::Access;
use crate::identity::tags::Tag;
use crate::management::error::ApiError;
use crate::time::Moment;

/// Who asks.
#[derive(Clone, Debug)]
pub(crate) enum Visitor {
    /// Nobody in particular.
    Nobody,
    /// A user who has logged in.
    User(Arc<User>),
    /// Whoever may open the control socket: the broker's own user of the operating system.
    Local,
}

/// What a tag lets its user do. Each but the first implies `Management`; an administrator may do everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    /// Anybody may ask, without logging in.
    Anyone,
    /// `management`.
    Management,
    /// `policymaker`.
    Policymaker,
    /// `monitoring`.
    Monitoring,
    /// `administrator`.
    Administrator,
    /// Nobody but who comes by the control socket.
    Local,
}

impl Visitor {
    /// The name.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Nobody => "",
            Self::User(user) => &user.name,
            Self::Local => CLI,
        }
    }

    /// Whether it is this user.
    pub(crate) fn is_user(&self, other: &User) -> bool {
        matches!(self, Self::User(user) if user.is_same(other))
    }

    /// Whether it has a tag that lets it do this.
    pub(crate) fn is(&self, level: Level) -> bool {
        let user = match self {
            Self::Local => return true,
            Self::Nobody => return level == Level::Anyone,
            Self::User(user) => user,
        };
        let tags = user.details().tags.clone();
        let has = |any: &[Tag]| any.iter().any(|tag| tags.has(tag));
        match level {
            Level::Anyone => true,
            Level::Management => {
                has(&[Tag::Management, Tag::Policymaker, Tag::Monitoring, Tag::Administrator])
            }
            Level::Policymaker => has(&[Tag::Policymaker, Tag::Administrator]),
            Level::Monitoring => has(&[Tag::Monitoring, Tag::Administrator]),
            Level::Administrator => has(&[Tag::Administrator]),
            Level::Local => false,
        }
    }

    /// Refuses who was deleted meanwhile, or whose access token has ended.
    ///
    /// # Errors
    /// As if nobody were known by that name.
    pub(crate) fn check_standing(&self, now: Moment) -> Result<(), ApiError> {
        let Self::User(user) = self else { return Ok(()) };
        let has_ended = user.token().and_then(|vouched| vouched.ends).is_some_and(|ends| ends <= now);
        if user.is_deleted() || has_ended { Err(ApiError::Unknown) } else { Ok(()) }
    }

    /// Refuses who has no tag that lets them do this.
    ///
    /// # Errors
    /// With RabbitMQ's reasons.
    pub(crate) fn require(&self, level: Level) -> Result<(), ApiError> {
        if self.is(level) {
            return Ok(());
        }
        Err(ApiError::refused(match level {
            Level::Monitoring => "Not monitor user",
            Level::Administrator => "Not administrator user",
            Level::Policymaker => "Not policymaker user",
            Level::Local => "Only by the control socket",
            Level::Anyone | Level::Management => "Not management user",
        }))
    }

    /// Whether it may use a vhost: it has permissions there, even if these allow nothing.
    pub(crate) fn enters(&self, broker: &Broker, vhost: &str) -> bool {
        match self {
            Self::Local => true,
            Self::Nobody => false,
            Self::User(user) => broker.open_vhost(vhost, user).is_ok(),
        }
    }

    /// Whether it may see what is in a vhost: it may use it, or monitors everything.
    pub(crate) fn sees(&self, broker: &Broker, vhost: &str) -> bool {
        self.is(Level::Monitoring) || self.enters(broker, vhost)
    }

    /// What it may do with the queues and exchanges of a vhost.
    pub(crate) fn access(&self, vhost: &VHost) -> Arc<Access> {
        match self {
            Self::Local => Arc::new(Access::everything()),
            Self::Nobody => Arc::new(Access::nothing()),
            Self::User(user) => match user.token() {
                Some(vouched) => Arc::new(vouched.token.access_or_none(&vhost.name)),
                None => vhost.access_of(&user.name),
            },
        }
    }
}
