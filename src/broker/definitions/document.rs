//! A document that was read: its items, each of which is valid by itself, and what is wrong with the others.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::item::{At, Item};
use super::reading::{self, Outcome};
use super::{Problem, Scope};
use crate::broker::limits::VHostLimits;
use crate::broker::permissions::TopicRow;
use crate::broker::policies::PolicyKind;
use crate::broker::policies::policy::Policy;
use crate::broker::queue_cell::QueueSpec;
use crate::broker::users::UserLimits;
use crate::broker::vhost::NewBinding;
use crate::broker::vhosts::QueueType;
use crate::identity::access::Permissions;
use crate::identity::password::PasswordHash;
use crate::identity::tags::Tags;
use crate::routing::ExchangeSpec;

/// Keys that say where a document comes from, and nothing else.
const INFORMATION: [&str; 8] = [
    "rabbit_version",
    "rabbitmq_version",
    "product_name",
    "product_version",
    "rabbitmq_definition_format",
    "original_cluster_name",
    "original_vhost_name",
    "explanation",
];

/// What a document about one vhost says about it. In one about the whole broker the vhosts' items do.
const OF_VHOST: [&str; 5] = ["metadata", "description", "tags", "default_queue_type", "limits"];

/// The lists there may be.
const LISTS: [&str; 10] = [
    "users",
    "vhosts",
    "permissions",
    "topic_permissions",
    "parameters",
    "global_parameters",
    "policies",
    "queues",
    "exchanges",
    "bindings",
];

/// Lists that a document about one vhost cannot have.
const OF_BROKER: [&str; 5] = ["users", "vhosts", "permissions", "topic_permissions", "global_parameters"];

/// A document, which may have problems: those are told when it is imported, together with those that show only then.
#[derive(Debug)]
pub struct Document {
    pub(super) scope: Scope,
    pub(super) users: Vec<UserItem>,
    pub(super) vhosts: Vec<VHostItem>,
    pub(super) permissions: Vec<PermissionItem>,
    pub(super) topics: Vec<TopicItem>,
    pub(super) parameters: Vec<ParameterItem>,
    pub(super) globals: Vec<GlobalItem>,
    pub(super) exchanges: Vec<ExchangeItem>,
    pub(super) queues: Vec<QueueItem>,
    pub(super) bindings: Vec<BindingItem>,
    pub(super) problems: Vec<Problem>,
    /// What is not imported, and why.
    pub(super) skipped: Vec<String>,
    /// What makes no difference.
    pub(super) unsupported: Vec<String>,
    /// List, vhost and name of items with problems: that they are missing is no other problem.
    pub(super) broken: HashSet<(&'static str, String, String)>,
}

/// What a user logs in with.
pub(super) enum Secret {
    /// As before; nothing for a new user.
    Unsaid,
    Hash(PasswordHash),
    Clear(Zeroizing<String>),
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[derive(Debug)]
pub(super) struct UserItem {
    pub(super) at: At,
    pub(super) name: String,
    pub(super) secret: Secret,
    pub(super) tags: Tags,
    pub(super) limits: Option<UserLimits>,
}

/// What is said about a vhost; `None` where nothing is.
#[derive(Debug)]
pub(super) struct VHostItem {
    pub(super) name: String,
    pub(super) description: Option<String>,
    pub(super) tags: Option<Vec<String>>,
    pub(super) default_queue_type: Option<QueueType>,
    pub(super) protected: Option<bool>,
    pub(super) limits: Option<VHostLimits>,
}

#[derive(Debug)]
pub(super) struct PermissionItem {
    pub(super) at: At,
    pub(super) vhost: String,
    pub(super) user: String,
    pub(super) permissions: Permissions,
}

#[derive(Debug)]
pub(super) struct TopicItem {
    pub(super) at: At,
    pub(super) vhost: String,
    pub(super) row: TopicRow,
}

#[derive(Debug)]
pub(super) struct ParameterItem {
    pub(super) at: At,
    pub(super) vhost: String,
    pub(super) name: String,
    pub(super) what: Parameter,
}

/// A parameter of a vhost, or a policy.
#[derive(Debug)]
pub(super) enum Parameter {
    Policy(PolicyKind, Box<Policy>),
    Limits(VHostLimits),
    /// Of a component that is not here.
    Kept(&'static str, Value),
}

#[derive(Debug)]
pub(super) struct GlobalItem {
    pub(super) name: String,
    pub(super) value: Value,
}

#[derive(Debug)]
pub(super) struct ExchangeItem {
    pub(super) at: At,
    pub(super) vhost: String,
    pub(super) spec: ExchangeSpec,
}

#[derive(Debug)]
pub(super) struct QueueItem {
    pub(super) at: At,
    pub(super) vhost: String,
    pub(super) spec: QueueSpec,
    /// It says that it is a classic queue, so that the vhost's default does not count.
    pub(super) is_typed: bool,
}

#[derive(Debug)]
pub(super) struct BindingItem {
    pub(super) at: At,
    pub(super) vhost: String,
    pub(super) binding: NewBinding,
}

/// Reads a document.
///
/// # Errors
/// If it is no JSON object. What is wrong with its items is told when it is imported.
pub fn parse(bytes: &[u8], scope: Scope) -> Result<Document, Vec<Problem>> {
    let value = serde_json::from_slice(bytes).map_err(|error| {
        // Only where, and not what: there may be a password.
        let (line, column) = (error.line(), error.column());
        vec![Problem::new("the document", format!("it is not valid JSON at line {line}, column {column}"))]
    })?;
    parse_value(&value, scope)
}

/// As [`parse`], of JSON that was read.
///
/// # Errors
/// If it is no object.
pub fn parse_value(value: &Value, scope: Scope) -> Result<Document, Vec<Problem>> {
    let Some(root) = value.as_object() else {
        return Err(vec![Problem::new("the document", "it should be a JSON object")]);
    };
    let mut document = Document::empty(scope);
    document.read(root);
    Ok(document)
}

impl Document {
    fn empty(scope: Scope) -> Self {
        Self {
            scope,
            users: Vec::new(),
            vhosts: Vec::new(),
            permissions: Vec::new(),
            topics: Vec::new(),
            parameters: Vec::new(),
            globals: Vec::new(),
            exchanges: Vec::new(),
            queues: Vec::new(),
            bindings: Vec::new(),
            problems: Vec::new(),
            skipped: Vec::new(),
            unsupported: Vec::new(),
            broken: HashSet::new(),
        }
    }

    /// Whether an import would make or change users.
    #[must_use]
    pub fn has_users(&self) -> bool {
        !self.users.is_empty()
    }

    /// Names the file it was read from, for its problems.
    pub fn set_file(&mut self, name: &str) {
        let file: Arc<str> = name.into();
        let told = |text: &mut String| text.insert_str(0, &format!("{name}: "));
        self.problems.iter_mut().for_each(|problem| told(&mut problem.place));
        self.skipped.iter_mut().chain(&mut self.unsupported).for_each(told);
        let places = self.users.iter_mut().map(|item| &mut item.at);
        let places = places.chain(self.permissions.iter_mut().map(|item| &mut item.at));
        let places = places.chain(self.topics.iter_mut().map(|item| &mut item.at));
        let places = places.chain(self.parameters.iter_mut().map(|item| &mut item.at));
        let places = places.chain(self.exchanges.iter_mut().map(|item| &mut item.at));
        let places = places.chain(self.queues.iter_mut().map(|item| &mut item.at));
        let places = places.chain(self.bindings.iter_mut().map(|item| &mut item.at));
        places.for_each(|at| at.file = Some(file.clone()));
    }

    /// Adds what is in another document, which counts where both speak of the same thing. Both are imported at once.
    pub fn extend(&mut self, other: Self) {
        self.users.extend(other.users);
        self.vhosts.extend(other.vhosts);
        self.permissions.extend(other.permissions);
        self.topics.extend(other.topics);
        self.parameters.extend(other.parameters);
        self.globals.extend(other.globals);
        self.exchanges.extend(other.exchanges);
        self.queues.extend(other.queues);
        self.bindings.extend(other.bindings);
        self.problems.extend(other.problems);
        self.skipped.extend(other.skipped);
        self.unsupported.extend(other.unsupported);
        self.broken.extend(other.broken);
    }

    fn read(&mut self, root: &Map<String, Value>) {
        let scope = self.scope.clone();
        for key in root.keys().map(String::as_str) {
            let of_vhost = OF_VHOST.contains(&key) && scope != Scope::Whole;
            if !(INFORMATION.contains(&key) || LISTS.contains(&key) || of_vhost) {
                self.skipped.push(format!("the document's {key:?} is not known"));
            }
        }
        if let Scope::VHost(name) = &scope {
            for list in OF_BROKER.iter().filter(|list| root.contains_key(**list)) {
                self.skipped.push(format!("{list} are left out: this is about one vhost"));
            }
            let at = At { file: None, list: "vhosts", index: 0 };
            let item = Item { at, object: root, scope: &scope };
            match reading::vhost_named(&item, name, &mut self.unsupported) {
                Ok(item) => self.vhosts.push(item),
                Err(text) => self.problems.push(Problem::new("the document", text)),
            }
        } else {
            let old_hashes = reading::has_old_hashes(root);
            self.users = self.each(root, "users", |item, _| reading::user(item, old_hashes));
            self.vhosts = self.each(root, "vhosts", reading::vhost);
            self.permissions = self.each(root, "permissions", |item, _| reading::permission(item));
            self.topics = self.each(root, "topic_permissions", |item, _| reading::topic(item));
            self.globals = self.each(root, "global_parameters", |item, _| reading::global(item));
        }
        self.parameters = self.each(root, "policies", reading::policy);
        let parameters = self.each(root, "parameters", reading::parameter);
        self.parameters.extend(parameters);
        self.exchanges = self.each(root, "exchanges", |item, _| reading::exchange(item));
        self.queues = self.each(root, "queues", |item, _| reading::queue(item));
        self.bindings = self.each(root, "bindings", |item, _| reading::binding(item));
    }

    /// Reads the items of a list. `read` gets a place for what makes no difference.
    fn each<T>(
        &mut self,
        root: &Map<String, Value>,
        list: &'static str,
        read: impl Fn(&Item<'_>, &mut Vec<String>) -> Outcome<T>,
    ) -> Vec<T> {
        let items = match root.get(list) {
            None | Some(Value::Null) => return Vec::new(),
            Some(Value::Array(items)) => items,
            Some(_) => {
                self.problems.push(Problem::new(list, "it should be a list"));
                return Vec::new();
            }
        };
        let scope = self.scope.clone();
        let mut all = Vec::with_capacity(items.len());
        for (index, value) in items.iter().enumerate() {
            let at = At { file: None, list, index };
            let Some(object) = value.as_object() else {
                self.problems.push(Problem::new(at.place(""), "it should be an object"));
                continue;
            };
            let item = Item { at, object, scope: &scope };
            match read(&item, &mut self.unsupported) {
                Outcome::Read(value) => all.push(value),
                Outcome::Skipped(why) => self.skipped.push(format!("{}: {why}", item.place())),
                Outcome::Wrong(text) => {
                    self.problems.push(Problem::new(item.place(), text));
                    let name = item.text("name").unwrap_or_default().to_owned();
                    let vhost = if matches!(list, "users" | "vhosts") {
                        ""
                    } else {
                        item.vhost().unwrap_or_default()
                    };
                    self.broken.insert((list, vhost.to_owned(), name));
                }
            }
        }
        all
    }
}
