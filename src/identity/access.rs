//! What one user may do in one vhost: three patterns, and more of them for the routing keys of topic exchanges.

use std::collections::BTreeMap;

use super::oauth::scope::ScopeGrant;
use crate::pattern::{Pattern, PatternError, escaped};

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

/// A pattern of names.
#[derive(Clone, Debug, PartialEq)]
enum Grant {
    /// The empty text, which matches no name.
    Nothing,
    /// `.*`, which most users have, and which needs no engine.
    Everything,
    Matching(Pattern),
}

/// The pattern of everything, as it is mostly written.
const EVERYTHING: &str = ".*";

impl Grant {
    fn new(pattern: &str) -> Result<Self, PatternError> {
        match pattern {
            "" => Ok(Self::Nothing),
            EVERYTHING => Ok(Self::Everything),
            _ => Pattern::new(pattern).map(Self::Matching),
        }
    }

    fn allows(&self, name: &str) -> bool {
        match self {
            // As RabbitMQ has it, `^$`: a routing key may be empty, a name is not.
            Self::Nothing => name.is_empty(),
            Self::Everything => true,
            Self::Matching(pattern) => pattern.is_in(name),
        }
    }

    fn as_str(&self) -> &str {
        match self {
            Self::Nothing => "",
            Self::Everything => EVERYTHING,
            Self::Matching(pattern) => pattern.as_str(),
        }
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

    /// Permissions that allow everything.
    #[must_use]
    pub const fn everything() -> Self {
        Self([Grant::Everything, Grant::Everything, Grant::Everything])
    }

    /// Permissions that allow nothing.
    #[must_use]
    pub const fn nothing() -> Self {
        Self([Grant::Nothing, Grant::Nothing, Grant::Nothing])
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

/// What a user may do with routing keys of one topic exchange.
#[derive(Clone, Debug, PartialEq)]
pub struct TopicPermission {
    write: Grant,
    read: Grant,
}

impl TopicPermission {
    /// From the pattern of keys to publish with and that of keys to bind with. In both, `{username}` and `{vhost}` stand
    /// for these names, letter by letter. An empty pattern allows the empty key alone, as in RabbitMQ.
    ///
    /// # Errors
    /// If one of them is no pattern.
    pub fn new(write: &str, read: &str, user: &str, vhost: &str) -> Result<Self, PatternError> {
        let grant = |pattern: &str| Grant::new(&filled_in(pattern, user, vhost));
        Ok(Self { write: grant(write)?, read: grant(read)? })
    }

    /// No key but the empty one.
    #[must_use]
    pub const fn nothing() -> Self {
        Self { write: Grant::Nothing, read: Grant::Nothing }
    }

    fn allows(&self, right: Right, key: &str) -> bool {
        match right {
            Right::Configure => true,
            Right::Write => self.write.allows(key),
            Right::Read => self.read.allows(key),
        }
    }
}

/// A pattern with its variables filled in. What is filled in is escaped: nobody gains by the choice of a name. There is no
/// `{client_id}` in AMQP 0-9-1, so that this stands for itself, as in RabbitMQ.
fn filled_in(pattern: &str, user: &str, vhost: &str) -> String {
    // From left to right, so that a name that looks like a variable is not one.
    let variables = [("{username}", user), ("{vhost}", vhost), ("{client_id}", "{client_id}")];
    let mut filled = String::with_capacity(pattern.len());
    let mut rest = pattern;
    while let Some(at) = rest.find('{') {
        let (before, from) = rest.split_at(at);
        filled.push_str(before);
        if let Some((variable, value)) = variables.iter().find(|(variable, _)| from.starts_with(variable)) {
            filled.push_str(&escaped(value));
            rest = &from[variable.len()..];
        } else {
            filled.push('{');
            rest = &from[1..];
        }
    }
    filled.push_str(rest);
    filled
}

/// What a user may do in a vhost. It does not change: after a change there is a new one.
#[derive(Clone, Debug, PartialEq)]
pub struct Access(Source);

/// Where it comes from.
#[derive(Clone, Debug, PartialEq)]
#[allow(clippy::large_enum_variant, reason = "connections share it")]
enum Source {
    /// Permissions that were set for the user.
    Permissions {
        permissions: Permissions,
        /// By exchange: what is allowed for routing keys.
        topics: BTreeMap<String, TopicPermission>,
    },
    /// Scopes of an access token.
    Scopes(Vec<ScopeGrant>),
}

impl Access {
    /// What these permissions allow, with `topics` for single topic exchanges.
    #[must_use]
    pub const fn new(permissions: Permissions, topics: BTreeMap<String, TopicPermission>) -> Self {
        Self(Source::Permissions { permissions, topics })
    }

    /// Everything.
    #[must_use]
    pub const fn everything() -> Self {
        Self::new(Permissions::everything(), BTreeMap::new())
    }

    /// Nothing.
    #[must_use]
    pub const fn nothing() -> Self {
        Self::new(Permissions::nothing(), BTreeMap::new())
    }

    /// What these scopes of an access token allow together.
    #[must_use]
    pub const fn of_scopes(grants: Vec<ScopeGrant>) -> Self {
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

    /// Whether it matters with which routing keys this exchange is used, if it is a topic exchange.
    #[must_use]
    pub fn minds_topics_of(&self, exchange: &str) -> bool {
        match &self.0 {
            Source::Permissions { topics, .. } => topics.contains_key(exchange),
            Source::Scopes(_) => true,
        }
    }

    /// Whether a routing key of a topic exchange may be used. Permissions say nothing of most exchanges, and then it
    /// may; scopes must name the key. Of the rights only [`Right::Write`] and [`Right::Read`] make a difference.
    #[must_use]
    pub fn allows_topic(&self, right: Right, exchange: &str, key: &str) -> bool {
        match &self.0 {
            Source::Permissions { topics, .. } => {
                topics.get(exchange).is_none_or(|topic| topic.allows(right, key))
            }
            Source::Scopes(grants) => {
                right == Right::Configure
                    || grants.iter().any(|grant| grant.allows_topic(right, exchange, key))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(write: &str, read: &str) -> TopicPermission {
        TopicPermission::new(write, read, "a.b", "v").unwrap()
    }

    #[test]
    fn an_empty_pattern_allows_nothing() {
        let permissions = Permissions::new("^a", "", ".*").unwrap();
        let allowed =
            |name| [Right::Configure, Right::Write, Right::Read].map(|r| permissions.allow(r, name));
        assert_eq!((allowed("ab"), allowed("b")), ([true, false, true], [false, false, true]));
        assert_eq!(permissions.pattern(Right::Write), "");
        assert_eq!(Permissions::new("", "", ""), Ok(Permissions::nothing()));
        assert_eq!(Permissions::new(".*", ".*", ".*"), Ok(Permissions::everything()));
    }

    #[test]
    fn topics_are_free_where_nothing_was_said() {
        let topics = BTreeMap::from([("x".to_owned(), topic("^a", ""))]);
        let access = Access::new(Permissions::everything(), topics);
        assert!(access.allows_topic(Right::Write, "y", "b") && access.allows_topic(Right::Write, "x", "ab"));
        assert!(!access.allows_topic(Right::Write, "x", "b") && !access.allows_topic(Right::Read, "x", "ab"));
        assert!(access.allows_topic(Right::Read, "x", ""), "as ^$ does");
        assert!(access.minds_topics_of("x") && !access.minds_topics_of("y"));
    }

    #[test]
    fn variables_stand_for_names_letter_by_letter() {
        let own = topic("^{username}-{vhost}$", "^[{username}]$");
        assert!(own.allows(Right::Write, "a.b-v") && !own.allows(Right::Write, "aXb-v"));
        assert!(own.allows(Right::Read, ".") && !own.allows(Right::Read, "c"));
        for name in [
            ".*", "a|b", "^", "$", "[", "]", "(", "\\", "{", "}", "a-z", "&&", "~", "#", "{vhost}", "\\E.*",
            "<", "'",
        ] {
            let own = TopicPermission::new("^{username}$", "^x[{username}]$", name, "v").unwrap();
            assert!(own.allows(Right::Write, name), "{name}");
            assert!(!own.allows(Right::Write, "other") && !own.allows(Right::Write, ""), "{name}");
            assert!(!own.allows(Right::Read, "xm"), "{name}");
        }
    }

    #[test]
    fn there_is_no_client_id() {
        let permission = topic("^{client_id}$", "{user}");
        assert!(permission.allows(Right::Write, "{client_id}") && !permission.allows(Right::Write, ""));
        assert!(permission.allows(Right::Read, "{user}") && !permission.allows(Right::Read, "user"));
    }
}
