//! Events of users, their permissions and limits, and of alarms.

use serde_json::{Value as Json, json};

use super::Event;
use crate::broker::permissions::TopicRow;
use crate::identity::access::{Permissions, Right};
use crate::identity::tags::{Tag, Tags};

impl Event {
    pub(in crate::broker) fn user_created(name: &str, by: &str) -> Self {
        Self::new("user.created").text("name", name).by(by)
    }

    pub(in crate::broker) fn user_deleted(name: &str, by: &str) -> Self {
        Self::new("user.deleted").text("name", name).by(by)
    }

    /// The user has another password, or none any more.
    pub(in crate::broker) fn password(name: &str, has_one: bool, by: &str) -> Self {
        let key = if has_one { "user.password.changed" } else { "user.password.cleared" };
        Self::new(key).text("name", name).by(by)
    }

    pub(in crate::broker) fn tags_set(name: &str, tags: &Tags, by: &str) -> Self {
        let tags: Vec<&str> = tags.iter().map(Tag::name).collect();
        Self::new("user.tags.set").text("name", name).json("tags", &json!(tags)).by(by)
    }

    /// The limits are an object of RabbitMQ's API; without any they are cleared.
    pub(in crate::broker) fn user_limits(user: &str, limits: &Json, by: &str) -> Self {
        let is_set = limits.as_object().is_some_and(|limits| !limits.is_empty());
        Self::new(if is_set { "user.limits.set" } else { "user.limits.cleared" })
            .text("name", "limits")
            .text("username", user)
            .json_entries(limits)
            .by(by)
    }

    pub(in crate::broker) fn permission_created(
        vhost: &str,
        user: &str,
        permissions: &Permissions,
        by: &str,
    ) -> Self {
        Self::new("permission.created")
            .text("user", user)
            .text("vhost", vhost)
            .text("configure", permissions.pattern(Right::Configure))
            .text("write", permissions.pattern(Right::Write))
            .text("read", permissions.pattern(Right::Read))
            .by(by)
    }

    pub(in crate::broker) fn permission_deleted(vhost: &str, user: &str, by: &str) -> Self {
        Self::new("permission.deleted").text("user", user).text("vhost", vhost).by(by)
    }

    pub(in crate::broker) fn topic_permission_created(vhost: &str, row: &TopicRow, by: &str) -> Self {
        Self::new("topic.permission.created")
            .text("user", &row.user)
            .text("vhost", vhost)
            .text("exchange", &row.exchange)
            .text("write", &row.write)
            .text("read", &row.read)
            .by(by)
    }

    /// `exchange` is `None` if those of all exchanges went.
    pub(in crate::broker) fn topic_permission_deleted(
        vhost: &str,
        user: &str,
        exchange: Option<&str>,
        by: &str,
    ) -> Self {
        let event = Self::new("topic.permission.deleted").text("user", user).text("vhost", vhost);
        exchange.into_iter().fold(event, |event, exchange| event.text("exchange", exchange)).by(by)
    }

    /// The alarm of a resource is on, or off again.
    pub(in crate::broker) fn alarm(resource: &str, on: bool, node: &str) -> Self {
        let key = if on { "alarm.set" } else { "alarm.cleared" };
        Self::new(key).text("source", resource).text("node", node)
    }
}
