//! What one user may do in one vhost: three patterns, and more of them for the routing keys of topic exchanges.

use std::collections::HashMap;

use super::oauth::scope::ScopeGrant;
use crate::pattern::{Pattern, PatternError};

/// A kind of use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Right {
    /// Making, changing and deleting it.
    Configure,
    /// Putting messages into it.
    Write,
    /// Taking messages from it.
    Read,
}

impl Right {
    /// RabbitMQ's word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Configure => "configure",
            Self::Write => "write",
            Self::Read => "read",
        }
    }
}

/// What a user may do with exchanges and queues, by their names.
#[derive(Clone, Debug, PartialEq)]
pub struct Permissions([Grant; 3]);

/// A pattern of names, where an empty text matches none.
#[derive(Clone, Debug, PartialEq)]
struct Grant(Option<Pattern>);

impl Grant {
    fn new(pattern: &str) -> Result<Self, PatternError> {
        if pattern.is_empty() {
            Ok(Self(None))
        } else {
            Pattern::new(pattern).map(|pattern| Self(Some(pattern)))
        }
    }

    fn allows(&self, name: &str) -> bool {
        self.0.as_ref().is_some_and(|pattern| pattern.is_in(name))
    }

    fn as_str(&self) -> &str {
        self.0.as_ref().map_or("", Pattern::as_str)
    }
}

impl Permissions {
    /// Permissions from three patterns. An empty one allows nothing, as in RabbitMQ.
    ///
    /// # Errors
    /// If one of them is no pattern.
    pub fn new(configure: &str, write: &str, read: &str) -> Result<Self, PatternError> {
        Ok(Self([Grant::new(configure)?, Grant::new(write)?, Grant::new(read)?]))
    }

    /// Whether they have `right` on the exchange or queue of this name. The default exchange is called `amq.default`.
    #[must_use]
    pub fn allow(&self, right: Right, name: &str) -> bool {
        self.grant(right).allows(name)
    }

    /// The text of a pattern.
    #[must_use]
    pub fn pattern(&self, right: Right) -> &str {
        self.grant(right).as_str()
    }

    fn grant(&self, right: Right) -> &Grant {
        let [configure, write, read] = &self.0;
        match right {
            Right::Configure => configure,
            Right::Write => write,
            Right::Read => read,
        }
    }
}

/// What a user may do in a vhost. It does not change: after a change there is a new one.
#[derive(Clone, Debug, PartialEq)]
pub struct Access(Source);

/// Where it comes from.
#[derive(Clone, Debug, PartialEq)]
enum Source {
    /// Permissions that were set for the user.
    Permissions {
        permissions: Permissions,
        /// By exchange: what is allowed for routing keys, to write and to read.
        topics: HashMap<String, [TopicGrant; 2]>,
    },
    /// Scopes of an access token.
    Scopes(Vec<ScopeGrant>),
}

/// A pattern of routing keys, with the variables filled in.
pub type TopicGrant = Option<Pattern>;

impl Access {
    /// What these permissions allow, with `topics` for single topic exchanges: the pattern to write and to read by;
    /// `None` allows no key.
    #[must_use]
    pub fn new(permissions: Permissions, topics: HashMap<String, [TopicGrant; 2]>) -> Self {
        Self(Source::Permissions { permissions, topics })
    }

    /// What these scopes of an access token allow together.
    #[must_use]
    pub fn of_scopes(grants: Vec<ScopeGrant>) -> Self {
        Self(Source::Scopes(grants))
    }

    /// Whether `right` is given on the exchange or queue of this name.
    #[must_use]
    pub fn allows(&self, right: Right, name: &str) -> bool {
        match &self.0 {
            Source::Permissions { permissions, .. } => permissions.allow(right, name),
            Source::Scopes(grants) => grants.iter().any(|grant| grant.allows(right, name)),
        }
    }

    /// Whether a routing key of a topic exchange may be used. Permissions say nothing of most exchanges, and then it
    /// may; scopes must name the key. Of the rights only [`Right::Write`] and [`Right::Read`] make a difference.
    #[must_use]
    pub fn allows_topic(&self, right: Right, exchange: &str, key: &str) -> bool {
        if right == Right::Configure {
            return true;
        }
        match &self.0 {
            Source::Permissions { topics, .. } => {
                let Some([write, read]) = topics.get(exchange) else { return true };
                let pattern = if right == Right::Write { write } else { read };
                pattern.as_ref().is_some_and(|pattern| pattern.is_in(key))
            }
            Source::Scopes(grants) => grants.iter().any(|grant| grant.allows_topic(right, exchange, key)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_pattern_allows_nothing() {
        let permissions = Permissions::new("^a", "", ".*").unwrap();
        let allowed =
            |name| [Right::Configure, Right::Write, Right::Read].map(|r| permissions.allow(r, name));
        assert_eq!((allowed("ab"), allowed("b")), ([true, false, true], [false, false, true]));
        assert_eq!(permissions.pattern(Right::Write), "");
    }

    #[test]
    fn topics_are_free_where_nothing_was_said() {
        let permissions = Permissions::new(".*", ".*", ".*").unwrap();
        let topics = HashMap::from([("x".to_owned(), [Some(Pattern::new("^a").unwrap()), None])]);
        let access = Access::new(permissions, topics);
        assert!(access.allows_topic(Right::Write, "y", "b") && access.allows_topic(Right::Write, "x", "ab"));
        assert!(!access.allows_topic(Right::Write, "x", "b") && !access.allows_topic(Right::Read, "x", "ab"));
    }
}
