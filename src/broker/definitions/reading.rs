//! How each kind of item is read and checked by itself.

use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::document::{
    BindingItem, ExchangeItem, GlobalItem, Parameter, ParameterItem, PermissionItem, QueueItem, Secret,
    TopicItem, UserItem, VHostItem,
};
use super::item::{Item, check_length};
use crate::broker::limits::VHostLimits;
use crate::broker::parameters::{self, CLUSTER_ID, Component};
use crate::broker::permissions::TopicRow;
use crate::broker::policies::PolicyKind;
use crate::broker::policies::policy::Policy;
use crate::broker::queue_cell::QueueSpec;
use crate::broker::users::{self, UserLimits};
use crate::broker::vhost::{ALTERNATE, NewBinding, check_limits_name, exchange_kind};
use crate::broker::vhosts::{self, QueueType};
use crate::identity::access::{Permissions, TopicPermission};
use crate::identity::password::{HashError, PasswordHash};
use crate::identity::tags::Tags;
use crate::protocol::field::TableBuilder;
use crate::protocol::field::{Table, Value as Field};
use crate::routing::{Destination, ExchangeSpec};

/// Names that begin so are the server's.
pub(super) const RESERVED_PREFIX: &str = "amq.";

/// The argument that says what a queue is.
pub(super) const QUEUE_TYPE: &str = "x-queue-type";

/// What became of an item.
pub(super) enum Outcome<T> {
    Read(T),
    /// It is not imported, for this reason.
    Skipped(&'static str),
    /// This is wrong with it.
    Wrong(String),
}

impl<T> From<Result<T, String>> for Outcome<T> {
    fn from(read: Result<T, String>) -> Self {
        match read {
            Ok(value) => Self::Read(value),
            Err(text) => Self::Wrong(text),
        }
    }
}

fn told(error: impl std::fmt::Display) -> String {
    // Some texts of RabbitMQ have empty lines in them.
    error.to_string().replace("\n\n", ": ")
}

/// Whether hashes without an algorithm are MD5: those of RabbitMQ before 3.6.
pub(super) fn has_old_hashes(root: &Map<String, Value>) -> bool {
    let version = root.get("rabbit_version").or_else(|| root.get("rabbitmq_version")).and_then(Value::as_str);
    let mut parts = version.unwrap_or_default().split('.').map(|part| part.parse::<u32>().ok());
    matches!((parts.next().flatten(), parts.next().flatten()), (Some(3), Some(0..=5)))
}

pub(super) fn user(item: &Item<'_>, old_hashes: bool) -> Outcome<UserItem> {
    let read = || {
        let name = item.text("name")?;
        users::check_name(name).map_err(told)?;
        let algorithm = item.text_or("hashing_algorithm", "")?;
        let secret = match (item.value("password_hash"), item.value("password")) {
            (Some(_), Some(_)) => return Err("it has both a password and a password_hash".to_owned()),
            (None, None) => Secret::Unsaid,
            (None, Some(_)) => Secret::Clear(Zeroizing::new(item.text("password")?.to_owned())),
            (Some(_), None) => {
                let text = item.text("password_hash")?;
                if old_hashes && algorithm.is_empty() && !text.is_empty() {
                    return Err(told(HashError::Md5));
                }
                // What RabbitMQ writes for a user without a password says nothing of how it would be hashed.
                let algorithm = Some(algorithm).filter(|_| !text.is_empty());
                Secret::Hash(PasswordHash::parse(text, algorithm).map_err(told)?)
            }
        };
        let tags = user_tags(item.value("tags"))?;
        let limits = item.value("limits").map(|value| match value {
            Value::Array(items) if items.is_empty() => Ok(UserLimits::default()),
            value => UserLimits::from_value(value),
        });
        Ok(UserItem { at: item.at.clone(), name: name.to_owned(), secret, tags, limits: limits.transpose()? })
    };
    read().into()
}

/// Tags in a list, or in one string with commas.
fn user_tags(value: Option<&Value>) -> Result<Tags, String> {
    Tags::parse(words(value)?.iter().map(String::as_str)).map_err(told)
}

fn words(value: Option<&Value>) -> Result<Vec<String>, String> {
    let wrong = || "tags should be a list of strings, or one string with commas".to_owned();
    match value {
        None => Ok(Vec::new()),
        Some(Value::String(text)) => {
            Ok(text.split(',').map(str::trim).filter(|tag| !tag.is_empty()).map(str::to_owned).collect())
        }
        Some(Value::Array(items)) => {
            items.iter().map(|item| item.as_str().map(str::to_owned).ok_or_else(wrong)).collect()
        }
        Some(_) => Err(wrong()),
    }
}

pub(super) fn vhost(item: &Item<'_>, unsupported: &mut Vec<String>) -> Outcome<VHostItem> {
    let mut read = || {
        let name = item.text("name")?;
        vhosts::check_name(name).map_err(told)?;
        if item.flag_or("tracing", false)? {
            unsupported.push(format!("{}: tracing is not turned on, see vhosts.traced", item.place()));
        }
        vhost_named(item, name, unsupported)
    };
    read().into()
}

/// What an object says about the vhost of this name. Newer versions say it within "metadata", and some do both.
pub(super) fn vhost_named(
    item: &Item<'_>,
    name: &str,
    unsupported: &mut Vec<String>,
) -> Result<VHostItem, String> {
    let empty = Map::new();
    let metadata = match item.value("metadata") {
        None => &empty,
        Some(value) => value.as_object().ok_or("metadata should be an object")?,
    };
    let inner = Item { object: metadata, ..item.clone() };
    let value = |key: &str| inner.value(key).or_else(|| item.value(key));
    let description = value("description").map(|value| match value {
        Value::String(text) => Ok(text.clone()),
        _ => Err("description should be a string".to_owned()),
    });
    let default_queue_type = value("default_queue_type").map(|value| match value.as_str() {
        None => Err("default_queue_type should be a string".to_owned()),
        Some("" | "undefined") => Ok(None),
        Some(word) => QueueType::parse(word).map(Some).ok_or_else(|| {
            format!("default_queue_type is \"{}\"; there are classic and quorum", word.escape_debug())
        }),
    });
    let protected = value("protected_from_deletion").map(|value| {
        value.as_bool().ok_or_else(|| "protected_from_deletion should be true or false".to_owned())
    });
    let limits = item.value("limits").map(|value| match value {
        // As RabbitMQ writes that there are none.
        Value::Array(items) if items.is_empty() => Ok(None),
        value => {
            VHostLimits::from_value(value).map(|limits| Some(limits).filter(|limits| !limits.is_empty()))
        }
    });
    let known = ["description", "tags", "default_queue_type", "protected_from_deletion"];
    for key in metadata.keys().filter(|key| !known.contains(&key.as_str())) {
        unsupported.push(format!("{}: {} of the metadata", item.place(), key.escape_debug()));
    }
    Ok(VHostItem {
        name: name.to_owned(),
        description: description.transpose()?,
        tags: value("tags").map(|value| words(Some(value))).transpose()?,
        default_queue_type: default_queue_type.transpose()?.flatten(),
        protected: protected.transpose()?,
        limits: limits.transpose()?.flatten(),
    })
}

pub(super) fn permission(item: &Item<'_>) -> Outcome<PermissionItem> {
    let read = || {
        let patterns = [item.text("configure")?, item.text("write")?, item.text("read")?];
        let [configure, write, read] = patterns;
        Ok(PermissionItem {
            at: item.at.clone(),
            vhost: item.vhost()?.to_owned(),
            user: item.text("user")?.to_owned(),
            permissions: Permissions::new(configure, write, read).map_err(told)?,
        })
    };
    read().into()
}

pub(super) fn topic(item: &Item<'_>) -> Outcome<TopicItem> {
    let read = || {
        let [user, exchange, write, read] = ["user", "exchange", "write", "read"].map(|key| item.text(key));
        let (user, exchange, write, read) = (user?, exchange?, write?, read?);
        let vhost = item.vhost()?;
        TopicPermission::new(write, read, user, vhost).map_err(told)?;
        let [user, exchange, write, read] = [user, exchange, write, read].map(str::to_owned);
        let row = TopicRow { user, exchange, write, read };
        Ok(TopicItem { at: item.at.clone(), vhost: vhost.to_owned(), row })
    };
    read().into()
}

pub(super) fn global(item: &Item<'_>) -> Outcome<GlobalItem> {
    let read = || {
        let name = item.text("name")?;
        let value = item.object.get("value").ok_or("it has no value")?;
        parameters::check_global(name, value).map_err(told)?;
        Ok(GlobalItem { name: name.to_owned(), value: value.clone() })
    };
    if item.text("name") == Ok(CLUSTER_ID) {
        return Outcome::Skipped("the id of a cluster is its own");
    }
    read().into()
}

pub(super) fn policy(item: &Item<'_>, unsupported: &mut Vec<String>) -> Outcome<ParameterItem> {
    let own = ["pattern", "definition", "priority", "apply-to"];
    let value = item.object.iter().filter(|(key, value)| own.contains(&key.as_str()) && !value.is_null());
    let value = Value::Object(value.map(|(key, value)| (key.clone(), value.clone())).collect());
    policy_of(item, PolicyKind::User, &value, unsupported).into()
}

fn policy_of(
    item: &Item<'_>,
    kind: PolicyKind,
    value: &Value,
    unsupported: &mut Vec<String>,
) -> Result<ParameterItem, String> {
    let name = item.text("name")?;
    let vhost = item.vhost()?;
    let policy = Policy::from_value(name, value, kind).map_err(told)?;
    let unheeded = policy.definition.unheeded();
    if !unheeded.is_empty() {
        unsupported.push(format!("{}: {}", item.place(), unheeded.join(", ")));
    }
    let what = Parameter::Policy(kind, Box::new(policy));
    Ok(ParameterItem { at: item.at.clone(), vhost: vhost.to_owned(), name: name.to_owned(), what })
}

pub(super) fn parameter(item: &Item<'_>, unsupported: &mut Vec<String>) -> Outcome<ParameterItem> {
    let mut read = || {
        let component = Component::parse(item.text("component")?).map_err(told)?;
        let name = item.text("name")?;
        parameters::check_name(name).map_err(told)?;
        let value = item.object.get("value").ok_or("it has no value")?;
        let what = match component {
            Component::Policy(kind) => return policy_of(item, kind, value, unsupported),
            Component::Limits => {
                check_limits_name(name).map_err(told)?;
                Parameter::Limits(VHostLimits::from_value(value)?)
            }
            Component::Unsupported(component) => {
                unsupported.push(format!("{}: a parameter of {component}", item.place()));
                Parameter::Kept(component, value.clone())
            }
        };
        let vhost = item.vhost()?.to_owned();
        Ok(ParameterItem { at: item.at.clone(), vhost, name: name.to_owned(), what })
    };
    read().into()
}

pub(super) fn exchange(item: &Item<'_>) -> Outcome<ExchangeItem> {
    let read = || {
        let vhost = item.vhost()?.to_owned();
        let arguments = item.arguments()?;
        let alternate = arguments.as_ref().get(ALTERNATE).map(|value| {
            let wrong = || format!("invalid type '{}' for arg '{ALTERNATE}'", value.type_name());
            value.as_str().map(str::to_owned).ok_or_else(wrong)
        });
        let spec = ExchangeSpec {
            name: item.declared_name("name")?,
            kind: exchange_kind(item.text("type")?).map_err(|error| error.text.into_owned())?,
            durable: item.flag_or("durable", true)?,
            auto_delete: item.flag_or("auto_delete", false)?,
            internal: item.flag_or("internal", false)?,
            alternate: alternate.transpose()?,
            arguments,
        };
        Ok(ExchangeItem { at: item.at.clone(), vhost, spec })
    };
    let Ok(name) = item.declared_name("name") else { return read().into() };
    match item.vhost() {
        Ok(_) if name.is_empty() => Outcome::Skipped("every vhost has the default exchange"),
        Ok(_) if name.starts_with(RESERVED_PREFIX) => Outcome::Skipped("names with amq. are the server's"),
        _ => read().into(),
    }
}

pub(super) fn queue(item: &Item<'_>) -> Outcome<QueueItem> {
    let read = || {
        let vhost = item.vhost()?.to_owned();
        let mut arguments = item.arguments()?;
        let kind = item.text_or("type", "")?;
        // LavinMQ's word for one without a type, and RabbitMQ's in some versions.
        let kind = kind.strip_prefix("rabbit_").and_then(|kind| kind.strip_suffix("_queue")).unwrap_or(kind);
        if !matches!(kind, "" | "classic") && arguments.as_ref().get(QUEUE_TYPE).is_none() {
            arguments = typed(&arguments, kind);
        }
        let name = item.declared_name("name")?;
        if name.is_empty() {
            return Err("a queue has to have a name".to_owned());
        }
        let spec = QueueSpec {
            name,
            durable: item.flag_or("durable", true)?,
            auto_delete: item.flag_or("auto_delete", false)?,
            owner: None,
            arguments,
        };
        Ok(QueueItem { at: item.at.clone(), vhost, spec, is_typed: !kind.is_empty() })
    };
    match (item.vhost(), item.declared_name("name")) {
        (Ok(_), Ok(name)) if name.starts_with(RESERVED_PREFIX) => {
            Outcome::Skipped("names with amq. are the server's")
        }
        _ => read().into(),
    }
}

/// The arguments with the type of a queue.
pub(super) fn typed(arguments: &Table, kind: &str) -> Table {
    let mut table = TableBuilder::new();
    for (key, value) in arguments.as_ref().iter() {
        table.value(key, value);
    }
    table.value(QUEUE_TYPE, Field::LongStr(kind.as_bytes()));
    table.finish()
}

pub(super) fn binding(item: &Item<'_>) -> Outcome<BindingItem> {
    let read = || {
        let vhost = item.vhost()?.to_owned();
        let name = item.declared_name("destination")?;
        let key = item.text_or("routing_key", "")?;
        check_length("routing_key", key)?;
        let destination = match item.text_or("destination_type", "queue")? {
            "queue" | "q" => Destination::Queue(name),
            "exchange" | "e" => Destination::Exchange(name),
            _ => return Err("destination_type should be \"queue\" or \"exchange\"".to_owned()),
        };
        let source = item.declared_name("source")?;
        let binding = NewBinding { source, destination, key: key.to_owned(), arguments: item.arguments()? };
        Ok(BindingItem { at: item.at.clone(), vhost, binding })
    };
    match (item.vhost(), item.text("source")) {
        (Ok(_), Ok("")) => Outcome::Skipped("every queue is bound to the default exchange"),
        _ => read().into(),
    }
}
