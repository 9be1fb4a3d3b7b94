//! The permissions of users in one vhost, as they were set, and what they come to for each user.
//!
//! Users are names here: whether there is such a user is for those who set permissions to know.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::identity::access::{Access, Permissions, Right, TopicPermission};
use crate::pattern::PatternError;
use crate::storage::record::Parameter;

/// The component of the parameter with a user's permissions, by the user's name.
const PERMISSION: &str = "permission";

/// The component of the parameter with a user's permissions on a topic exchange, by user and exchange in a JSON array.
const TOPIC_PERMISSION: &str = "topic_permission";

/// The component of the parameter that says what the configuration gave to a user, by the user's name.
const GIVEN_PERMISSION: &str = "given_permission";

/// What a user may do with the routing keys of one topic exchange, as it was set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicRow {
    /// The user.
    pub user: String,
    /// The exchange, which need not exist.
    pub exchange: String,
    /// A pattern of routing keys to publish with.
    pub write: String,
    /// A pattern of routing keys to bind with.
    pub read: String,
}

/// All permissions of a vhost.
#[derive(Debug, Default)]
pub(super) struct Grants {
    vhost: String,
    by_user: BTreeMap<String, Grant>,
    /// What the configuration gave, whatever became of it.
    given: BTreeMap<String, Permissions>,
}

/// What was set for one user.
#[derive(Debug)]
struct Grant {
    /// Without them the user may not open the vhost.
    permissions: Option<Permissions>,
    /// By exchange: the patterns to write and to read with.
    topics: BTreeMap<String, (String, String)>,
    /// What that comes to.
    access: Arc<Access>,
}

impl Default for Grant {
    fn default() -> Self {
        Self { permissions: None, topics: BTreeMap::new(), access: nothing() }
    }
}

fn nothing() -> Arc<Access> {
    Arc::new(Access::new(Permissions::nothing(), BTreeMap::new()))
}

impl Grants {
    pub(super) fn new(vhost: &str) -> Self {
        Self { vhost: vhost.to_owned(), ..Self::default() }
    }

    /// Whether a user may open the vhost.
    pub(super) fn admit(&self, user: &str) -> bool {
        self.by_user.get(user).is_some_and(|grant| grant.permissions.is_some())
    }

    /// What a user may do in it; nothing without permissions.
    pub(super) fn access_of(&self, user: &str) -> Arc<Access> {
        self.by_user.get(user).map_or_else(nothing, |grant| grant.access.clone())
    }

    /// Takes a parameter over that was stored. Returns whether it is one of these.
    pub(super) fn restore(&mut self, parameter: &Parameter, value: &Value) -> Result<bool, String> {
        let name = &parameter.name;
        match parameter.component.as_str() {
            PERMISSION => self.set(name, Some(permissions_of(value)?)),
            GIVEN_PERMISSION => {
                self.given.insert(name.clone(), permissions_of(value)?);
            }
            TOPIC_PERMISSION => {
                let (user, exchange) = serde_json::from_str(name).map_err(|error| error.to_string())?;
                let [write, read] = ["write", "read"].map(|key| text_of(value, key));
                self.insert_topic(TopicRow { user, exchange, write: write?, read: read? });
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// All of them, as parameters.
    pub(super) fn stored(&self) -> impl Iterator<Item = Parameter> {
        let own = self.all().map(|(user, permissions)| of_permissions(user, permissions));
        let given = self.given.iter().map(|(user, permissions)| of_given(user, permissions));
        own.chain(self.topics().map(|row| of_topic(&row))).chain(given)
    }

    /// Users with their permissions, by name.
    pub(super) fn all(&self) -> impl Iterator<Item = (&str, &Permissions)> {
        self.by_user.iter().filter_map(|(user, grant)| Some((&**user, grant.permissions.as_ref()?)))
    }

    /// The permissions of a user.
    pub(super) fn get(&self, user: &str) -> Option<&Permissions> {
        self.by_user.get(user)?.permissions.as_ref()
    }

    /// What the configuration gave to users, by name.
    pub(super) fn given(&self) -> &BTreeMap<String, Permissions> {
        &self.given
    }

    /// Notes what the configuration gave to a user; nothing any more if `None`.
    pub(super) fn note_given(&mut self, user: &str, permissions: Option<Permissions>) {
        match permissions {
            Some(permissions) => self.given.insert(user.to_owned(), permissions),
            None => self.given.remove(user),
        };
    }

    /// Sets a user's permissions, or takes them away.
    pub(super) fn set(&mut self, user: &str, permissions: Option<Permissions>) {
        self.change(user, |grant| grant.permissions = permissions);
    }

    /// Permissions on topic exchanges, by user and exchange.
    pub(super) fn topics(&self) -> impl Iterator<Item = TopicRow> {
        let of_user = |(user, grant): (&String, &Grant)| {
            let user = user.clone();
            let row = move |(exchange, (write, read)): (String, (String, String))| TopicRow {
                user: user.clone(),
                exchange,
                write,
                read,
            };
            grant.topics.clone().into_iter().map(row)
        };
        self.by_user.iter().flat_map(of_user)
    }

    /// What was said of an exchange for a user.
    pub(super) fn topic(&self, user: &str, exchange: &str) -> Option<TopicRow> {
        let (write, read) = self.by_user.get(user)?.topics.get(exchange)?.clone();
        Some(TopicRow { user: user.to_owned(), exchange: exchange.to_owned(), write, read })
    }

    /// Sets what a user may do with the keys of an exchange.
    pub(super) fn set_topic(&mut self, row: TopicRow) -> Result<(), PatternError> {
        // Both as they are and filled in: what is set is to be good for what it says.
        TopicPermission::new(&row.write, &row.read, &row.user, &self.vhost)?;
        self.insert_topic(row);
        Ok(())
    }

    fn insert_topic(&mut self, TopicRow { user, exchange, write, read }: TopicRow) {
        self.change(&user, |grant| {
            grant.topics.insert(exchange, (write, read));
        });
    }

    /// Takes away what was said of an exchange for a user. Returns whether anything was.
    pub(super) fn clear_topic(&mut self, user: &str, exchange: &str) -> bool {
        let mut was_there = false;
        self.change(user, |grant| was_there = grant.topics.remove(exchange).is_some());
        was_there
    }

    fn change(&mut self, user: &str, how: impl FnOnce(&mut Grant)) {
        let grant = self.by_user.entry(user.to_owned()).or_default();
        how(grant);
        if grant.permissions.is_none() && grant.topics.is_empty() {
            self.by_user.remove(user);
            return;
        }
        let topic = |(exchange, (write, read)): (&String, &(String, String))| {
            // A stored pattern that this version does not understand allows nothing.
            let topic = TopicPermission::new(write, read, user, &self.vhost);
            (exchange.clone(), topic.unwrap_or_else(|_| TopicPermission::nothing()))
        };
        let topics = grant.topics.iter().map(topic).collect();
        let permissions = grant.permissions.clone().unwrap_or_else(Permissions::nothing);
        grant.access = Arc::new(Access::new(permissions, topics));
    }
}

fn permissions_of(value: &Value) -> Result<Permissions, String> {
    let [configure, write, read] = ["configure", "write", "read"].map(|key| text_of(value, key));
    Permissions::new(&configure?, &write?, &read?).map_err(|error| error.to_string())
}

fn text_of(value: &Value, key: &str) -> Result<String, String> {
    let text = value.get(key).and_then(Value::as_str);
    text.map(str::to_owned).ok_or_else(|| format!("it has no pattern \"{key}\""))
}

/// A user's permissions as a parameter.
pub(super) fn of_permissions(user: &str, permissions: &Permissions) -> Parameter {
    parameter(PERMISSION, user.to_owned(), &value_of(permissions))
}

/// What the configuration gave to a user, as a parameter.
pub(super) fn of_given(user: &str, permissions: &Permissions) -> Parameter {
    parameter(GIVEN_PERMISSION, user.to_owned(), &value_of(permissions))
}

/// A permission on a topic exchange as a parameter.
pub(super) fn of_topic(row: &TopicRow) -> Parameter {
    let value = json!({ "exchange": row.exchange, "write": row.write, "read": row.read });
    parameter(TOPIC_PERMISSION, json!([row.user, row.exchange]).to_string(), &value)
}

fn value_of(permissions: &Permissions) -> Value {
    let [configure, write, read] =
        [Right::Configure, Right::Write, Right::Read].map(|right| permissions.pattern(right));
    json!({ "configure": configure, "write": write, "read": read })
}

fn parameter(component: &str, name: String, value: &Value) -> Parameter {
    Parameter { component: component.to_owned(), name, value: value.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(user: &str, exchange: &str, write: &str, read: &str) -> TopicRow {
        let [user, exchange, write, read] = [user, exchange, write, read].map(str::to_owned);
        TopicRow { user, exchange, write, read }
    }

    fn restored(from: &Grants) -> Grants {
        let mut grants = Grants::new(&from.vhost);
        for parameter in from.stored() {
            let value = serde_json::from_str(&parameter.value).unwrap();
            assert_eq!(grants.restore(&parameter, &value), Ok(true));
        }
        grants
    }

    #[test]
    fn permissions_come_back_as_they_were_set() {
        let mut grants = Grants::new("v");
        grants.set("a", Some(Permissions::new("^a", "", ".*").unwrap()));
        grants.set("b", Some(Permissions::nothing()));
        grants.note_given("c", Some(Permissions::everything()));
        grants.set_topic(row("b", "x", "^{username}$", "")).unwrap();
        grants.set_topic(row("d", "[\"", "", ".")).unwrap();
        let grants = restored(&grants);
        assert_eq!((grants.admit("a"), grants.admit("b"), grants.admit("c")), (true, true, false));
        assert!(!grants.admit("d"), "topics alone do not open it");
        let access = grants.access_of("b");
        assert!(access.allows_topic(Right::Write, "x", "b") && !access.allows_topic(Right::Write, "x", "a"));
        assert!(grants.access_of("a").allows(Right::Configure, "ab"));
        assert!(!grants.access_of("c").allows(Right::Read, "ab"));
        assert_eq!(grants.given().len(), 1);
        assert_eq!(grants.topics().last(), Some(row("d", "[\"", "", ".")));
    }

    #[test]
    fn what_is_taken_away_leaves_nothing() {
        let mut grants = Grants::new("v");
        grants.set("a", Some(Permissions::everything()));
        grants.set_topic(row("a", "x", "", "")).unwrap();
        assert!(grants.set_topic(row("a", "x", "(", "")).is_err());
        assert_eq!((grants.clear_topic("a", "y"), grants.clear_topic("a", "x")), (false, true));
        assert!(grants.access_of("a").allows_topic(Right::Read, "x", "k"));
        grants.set("a", None);
        assert!(!grants.admit("a") && grants.by_user.is_empty());
        assert!(!grants.access_of("a").allows(Right::Read, "q"));
    }

    #[test]
    fn a_stored_pattern_that_is_not_understood_allows_nothing() {
        let mut grants = Grants::new("v");
        let restore = |grants: &mut Grants, component: &str, name: &str, value: Value| {
            let parameter = parameter(component, name.to_owned(), &value);
            grants.restore(&parameter, &value)
        };
        let topic = json!({ "exchange": "x", "write": "(", "read": ".*" });
        assert_eq!(restore(&mut grants, TOPIC_PERMISSION, r#"["a","x"]"#, topic), Ok(true));
        let access = grants.access_of("a");
        assert!(!access.allows_topic(Right::Write, "x", "k") && !access.allows_topic(Right::Read, "x", "k"));
        let broken = json!({ "configure": "(", "write": "", "read": "" });
        assert!(restore(&mut grants, PERMISSION, "a", broken).is_err());
        assert!(restore(&mut grants, PERMISSION, "a", json!({ "write": "" })).is_err());
        assert!(!grants.admit("a"));
        assert_eq!(restore(&mut grants, "policy", "a", json!({})), Ok(false));
    }
}
