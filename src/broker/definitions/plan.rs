//! What an import would change: each item of a document compared with what is there and with the rest of the document.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use serde_json::Value;

use super::document::{BindingItem, Document, ExchangeItem, Parameter as Said, QueueItem, Secret, VHostItem};
use super::item::{At, binding_label, quoted, quoted_in, visible};
use super::reading::{QUEUE_TYPE, RESERVED_PREFIX, typed};
use super::report::{Change, Report};
use super::{Problem, Scope};
use crate::broker::globals::Changing;
use crate::broker::limits::NodeLimits;
use crate::broker::parameters::GLOBAL_PARAMETER;
use crate::broker::policies::policy::Policy;
use crate::broker::users::{COMPONENT, Details, User};
use crate::broker::vhost::{Importing, NewBinding, VHostPlan};
use crate::broker::vhosts::{Metadata, QueueType};
use crate::identity::password::PasswordHash;
use crate::protocol::field::Table;
use crate::queue::arguments::{self, Flags, Place};
use crate::routing::{Destination, check_arguments};
use crate::storage::image::VHOST;
use crate::storage::record::Parameter;

/// The most that one batch of the journal is to have, in bytes: recovery holds a batch in memory.
const LARGEST_BATCH: usize = 256 * 1024 * 1024;

/// About how many bytes a record takes beside names, arguments and values.
const RECORD: usize = 48;

/// What is there, held still.
pub(super) struct State<'a> {
    /// The vhosts that are spoken of, and those that are to be made.
    pub(super) vhosts: &'a BTreeMap<String, Importing<'a>>,
    /// Those that are to be made.
    pub(super) new_vhosts: &'a HashSet<String>,
    pub(super) globals: &'a Changing<'a>,
    pub(super) users: &'a HashMap<String, (Arc<User>, Details)>,
    pub(super) limits: &'a NodeLimits,
    /// Hashes of the passwords that the document has in clear, by the users' places in it.
    pub(super) hashes: HashMap<usize, PasswordHash>,
}

/// What an import would change.
#[derive(Default)]
pub(super) struct Plan {
    pub(super) report: Report,
    pub(super) problems: Vec<Problem>,
    pub(super) vhosts: BTreeMap<String, VHostPlan>,
    pub(super) users: BTreeMap<String, Details>,
    /// Global parameters that are set, users and vhosts included.
    pub(super) globals: Vec<Parameter>,
    /// The same of RabbitMQ's global parameters.
    pub(super) global_values: Vec<(String, Value)>,
    /// New queues and exchanges of all vhosts.
    pub(super) queues: u64,
    pub(super) exchanges: u64,
    bytes: usize,
}

/// What of a vhost's plan has to be found by name.
#[derive(Default)]
struct Planned {
    exchanges: HashMap<String, usize>,
    queues: HashMap<String, usize>,
    /// Users whose permissions change.
    granted: HashSet<String>,
    /// Users and exchanges about which something changes.
    topics: HashSet<(String, String)>,
    bindings: HashSet<(String, Destination<String>, String, Table)>,
}

struct Checker<'a> {
    document: &'a Document,
    state: &'a State<'a>,
    plan: Plan,
    planned: HashMap<String, Planned>,
}

/// Compares a document with what is there.
pub(super) fn plan(document: &Document, state: &State<'_>) -> Plan {
    let mut checker = Checker { document, state, plan: Plan::default(), planned: HashMap::new() };
    checker.plan.problems.clone_from(&document.problems);
    checker.plan.report.skipped.clone_from(&document.skipped);
    checker.plan.report.unsupported.clone_from(&document.unsupported);
    checker.users();
    document.vhosts.iter().for_each(|item| checker.vhost(item));
    checker.grants();
    checker.globals();
    checker.parameters();
    document.exchanges.iter().for_each(|item| checker.exchange(item));
    document.queues.iter().for_each(|item| checker.queue(item));
    checker.room();
    document.bindings.iter().for_each(|item| checker.binding(item));
    checker.binding_room();
    let bytes = checker.plan.bytes;
    if bytes > LARGEST_BATCH {
        let text = format!(
            "it is too large to be imported at once: {bytes} bytes, and {LARGEST_BATCH} are possible"
        );
        checker.plan.problems.push(Problem::new("the document", text));
    }
    checker.plan
}

impl<'a> Checker<'a> {
    fn problem(&mut self, place: String, text: impl Into<String>) {
        self.plan.problems.push(Problem::new(place, text));
    }

    fn is_broken(&self, list: &'static str, vhost: &str, name: &str) -> bool {
        self.document.broken.contains(&(list, vhost.to_owned(), name.to_owned()))
    }

    /// The vhost that an item is in.
    fn target(&mut self, at: &At, what: &str, vhost: &str) -> Option<&'a Importing<'a>> {
        let target = self.state.vhosts.get(vhost);
        if target.is_none() && !self.is_broken("vhosts", "", vhost) {
            self.problem(at.place(what), format!("vhost {} does not exist", quoted(vhost)));
        }
        target
    }

    fn vhost_plan(&mut self, vhost: &str) -> &mut VHostPlan {
        self.plan.vhosts.entry(vhost.to_owned()).or_default()
    }

    fn set_global(&mut self, component: &str, name: &str, value: String) {
        self.plan.bytes += component.len() + name.len() + value.len() + RECORD;
        let (component, name) = (component.to_owned(), name.to_owned());
        self.plan.globals.push(Parameter { component, name, value });
    }

    fn users(&mut self) {
        for (index, item) in self.document.users.iter().enumerate() {
            let before = self.state.users.get(&item.name).map(|(_, details)| details);
            let mut details = self.plan.users.get(&item.name).or(before).cloned().unwrap_or_default();
            details.tags = item.tags.clone();
            if let Some(limits) = item.limits {
                details.limits = limits;
            }
            match &item.secret {
                Secret::Unsaid => {}
                Secret::Hash(hash) => details.set_hash(hash.clone()),
                // One that could not be hashed is a problem already.
                Secret::Clear(_) => {
                    if let Some(hash) = self.state.hashes.get(&index) {
                        details.set_hash(hash.clone());
                    }
                }
            }
            let change = Change::of(before, &details);
            self.plan.report.count("users", change);
            // Of several the last one counts, also if it is what there is.
            let is_again = self.plan.users.contains_key(&item.name);
            if (change != Change::Unchanged || is_again)
                && let Some(value) = details.value()
            {
                self.set_global(COMPONENT, &item.name, value.to_string());
                self.plan.users.insert(item.name.clone(), details);
            }
        }
    }

    fn vhost(&mut self, item: &VHostItem) {
        let Some(target) = self.state.vhosts.get(&item.name) else {
            // In one about the whole broker all of them are there, or are to be made.
            self.problem("the document".to_owned(), format!("vhost {} does not exist", quoted(&item.name)));
            return;
        };
        let stored = self.state.globals.get(VHOST, &item.name).map(Metadata::from_text);
        let is_new = self.state.new_vhosts.contains(&item.name);
        let mut metadata = stored.clone().unwrap_or_default();
        // It may be in the document more than once.
        let said =
            self.plan.globals.iter().rev().find(|said| said.component == VHOST && said.name == item.name);
        if let Some(said) = said {
            metadata = Metadata::from_text(&said.value);
        }
        let is_again = said.is_some();
        item.description.iter().for_each(|text| metadata.description.clone_from(text));
        item.tags.iter().for_each(|tags| metadata.tags.clone_from(tags));
        item.default_queue_type.iter().for_each(|kind| metadata.default_queue_type = *kind);
        item.protected.iter().for_each(|protected| metadata.protected_from_deletion = *protected);
        let change = if is_new { Change::Created } else { Change::of(stored.as_ref(), &metadata) };
        if !is_again && self.document.scope == Scope::Whole {
            self.plan.report.count("vhosts", change);
        }
        if change != Change::Unchanged || is_again {
            self.set_global(VHOST, &item.name, metadata.value().to_string());
            self.vhost_plan(&item.name).default_queue_type = Some(metadata.default_queue_type);
        }
        if let Some(limits) = item.limits {
            let plan = self.vhost_plan(&item.name);
            if plan.limits.is_some() || limits != target.limits() {
                plan.limits = Some(limits);
            }
        }
    }

    /// Whether there is a user, or will be.
    fn check_user(&mut self, at: &At, user: &str, vhost: &str) -> bool {
        let is_there = self.state.users.contains_key(user) || self.plan.users.contains_key(user);
        if !is_there && !self.is_broken("users", "", user) {
            self.problem(at.place(&quoted_in(user, vhost)), format!("user {} does not exist", quoted(user)));
        }
        is_there
    }

    fn grants(&mut self) {
        for item in &self.document.permissions {
            let is_there = self.check_user(&item.at, &item.user, &item.vhost);
            let target = self.target(&item.at, &quoted_in(&item.user, &item.vhost), &item.vhost);
            let Some(target) = target.filter(|_| is_there) else { continue };
            let change = Change::of(target.permissions(&item.user), &item.permissions);
            self.plan.report.count("permissions", change);
            self.plan.bytes += item.vhost.len() + item.user.len() + RECORD * 2;
            // Of several the last one counts, also if it is what there is.
            let granted = &mut self.planned.entry(item.vhost.clone()).or_default().granted;
            if change != Change::Unchanged || granted.contains(&item.user) {
                granted.insert(item.user.clone());
                self.vhost_plan(&item.vhost).permissions.push((item.user.clone(), item.permissions.clone()));
            }
        }
        for item in &self.document.topics {
            let is_there = self.check_user(&item.at, &item.row.user, &item.vhost);
            let target = self.target(&item.at, &quoted_in(&item.row.user, &item.vhost), &item.vhost);
            let Some(target) = target.filter(|_| is_there) else { continue };
            let current = target.topic(&item.row.user, &item.row.exchange);
            let change = Change::of(current.as_ref(), &item.row);
            self.plan.report.count("topic_permissions", change);
            self.plan.bytes += item.vhost.len() + item.row.exchange.len() + RECORD * 2;
            let topics = &mut self.planned.entry(item.vhost.clone()).or_default().topics;
            let key = (item.row.user.clone(), item.row.exchange.clone());
            if change != Change::Unchanged || topics.contains(&key) {
                topics.insert(key);
                self.vhost_plan(&item.vhost).topics.push(item.row.clone());
            }
        }
    }

    fn globals(&mut self) {
        for item in &self.document.globals {
            let current = self.state.globals.get(GLOBAL_PARAMETER, &item.name);
            let current: Option<Value> = current.and_then(|text| serde_json::from_str(text).ok());
            self.plan.report.count("global_parameters", Change::of(current.as_ref(), &item.value));
            self.set_global(GLOBAL_PARAMETER, &item.name, item.value.to_string());
            self.plan.global_values.push((item.name.clone(), item.value.clone()));
        }
    }

    fn parameters(&mut self) {
        for item in &self.document.parameters {
            let label = quoted_in(&item.name, &item.vhost);
            let Some(target) = self.target(&item.at, &label, &item.vhost) else { continue };
            let change = match &item.what {
                Said::Policy(kind, policy) => Change::of(target.policy(*kind, &item.name), &**policy),
                Said::Limits(limits) => {
                    let current = target.limits();
                    Change::of(Some(&current).filter(|current| !current.is_empty()), limits)
                }
                Said::Kept(component, value) => Change::of(target.kept(component, &item.name), value),
            };
            self.plan.report.count(item.at.list, change);
            let plan = self.plan.vhosts.entry(item.vhost.clone()).or_default();
            let value = match &item.what {
                Said::Policy(kind, policy) => {
                    plan.policies.push((*kind, Policy::clone(policy)));
                    policy.value()
                }
                Said::Limits(limits) => {
                    plan.limits = Some(*limits);
                    limits.value()
                }
                Said::Kept(component, value) => {
                    plan.kept.push((component, item.name.clone(), value.clone()));
                    value.clone()
                }
            };
            self.plan.bytes += item.vhost.len() + item.name.len() + value.to_string().len() + RECORD;
        }
    }

    fn exchange(&mut self, item: &ExchangeItem) {
        let ExchangeItem { at, vhost, spec } = item;
        let label = quoted_in(&spec.name, vhost);
        let Some(target) = self.target(at, &label, vhost) else { return };
        let planned = self.planned.entry(vhost.clone()).or_default();
        let plan = self.plan.vhosts.entry(vhost.clone()).or_default();
        let first = planned.exchanges.get(&spec.name).and_then(|index| plan.exchanges.get(*index));
        if let Some(current) = first.or_else(|| target.exchange(&spec.name)) {
            if let Some(text) = target.exchange_differs(current, spec) {
                self.plan.report.left.push(format!("{}: {}", at.place(&label), visible(&text)));
            }
            self.plan.report.count("exchanges", Change::Unchanged);
            return;
        }
        planned.exchanges.insert(spec.name.clone(), plan.exchanges.len());
        plan.exchanges.push(spec.clone());
        self.plan.exchanges += 1;
        self.plan.bytes += vhost.len() + spec.name.len() + spec.arguments.as_ref().as_bytes().len() + RECORD;
        self.plan.report.count("exchanges", Change::Created);
    }

    fn queue(&mut self, item: &QueueItem) {
        let QueueItem { at, vhost, spec, is_typed } = item;
        let label = quoted_in(&spec.name, vhost);
        let Some(target) = self.target(at, &label, vhost) else { return };
        let planned = self.planned.entry(vhost.clone()).or_default();
        let plan = self.plan.vhosts.entry(vhost.clone()).or_default();
        let mut spec = spec.clone();
        let prefers_quorum =
            plan.default_queue_type.map_or(target.prefers_quorum(), |kind| kind == QueueType::Quorum);
        let has_type = *is_typed || spec.arguments.as_ref().get(QUEUE_TYPE).is_some();
        if prefers_quorum && !has_type && spec.durable && !spec.auto_delete {
            spec.arguments = typed(&spec.arguments, QueueType::Quorum.name());
        }
        let there = target.queue(&spec.name).map(|cell| target.queue_differs(cell, &spec));
        let first = planned.queues.get(&spec.name).and_then(|index| plan.queues.get(*index));
        let again = first.map(|first| {
            let same = (first.durable, first.auto_delete, &first.arguments)
                == (spec.durable, spec.auto_delete, &spec.arguments);
            (!same).then(|| "the document has another queue of this name before it".to_owned())
        });
        if let Some(differs) = there.or(again) {
            if let Some(text) = differs {
                self.plan.report.left.push(format!("{}: {}", at.place(&label), visible(&text)));
            }
            self.plan.report.count("queues", Change::Unchanged);
            return;
        }
        let flags = Flags {
            durable: spec.durable,
            exclusive: false,
            auto_delete: spec.auto_delete,
            server_named: false,
        };
        let place = Place { queue: &spec.name, vhost };
        if let Err(error) = arguments::check(spec.arguments.as_ref(), flags, place) {
            self.problem(at.place(&label), error.text);
            // So that bindings to it are no problems of their own.
            let planned = self.planned.entry(vhost.clone()).or_default();
            planned.queues.insert(spec.name, usize::MAX);
            return;
        }
        planned.queues.insert(spec.name.clone(), plan.queues.len());
        self.plan.bytes += vhost.len() + spec.name.len() + spec.arguments.as_ref().as_bytes().len() + RECORD;
        plan.queues.push(spec);
        self.plan.queues += 1;
        self.plan.report.count("queues", Change::Created);
    }

    /// Whether vhosts may have so many queues.
    fn room(&mut self) {
        let mut problems = Vec::new();
        for (vhost, plan) in &self.plan.vhosts {
            let Some(target) = self.state.vhosts.get(vhost) else { continue };
            let all = target.queues() + plan.queues.len() as u64;
            if let Some(limit) = target.most_queues(plan.limits)
                && all > u64::from(limit)
                && !plan.queues.is_empty()
            {
                let text = format!("it would have {all} queues, and its queue limit is {limit}");
                problems.push(Problem::new(format!("vhost {}", quoted(vhost)), text));
            }
        }
        self.plan.problems.extend(problems);
    }

    /// Whether queues may have so many bindings.
    fn binding_room(&mut self) {
        let mut problems = Vec::new();
        for (vhost, plan) in &self.plan.vhosts {
            let Some(target) = self.state.vhosts.get(vhost) else { continue };
            let mut new: BTreeMap<&str, usize> = BTreeMap::new();
            for binding in &plan.bindings {
                if let Destination::Queue(name) = &binding.destination {
                    *new.entry(name).or_default() += 1;
                }
            }
            for (name, count) in new {
                let all = target.bindings_to(name) + count;
                if let Some(limit) = self.state.limits.bindings_per_queue.exceeded_by(all) {
                    let text =
                        format!("it would have {all} bindings, and limits.bindings_per_queue is {limit}");
                    problems.push(Problem::new(format!("queue {}", quoted_in(name, vhost)), text));
                }
            }
        }
        self.plan.problems.extend(problems);
    }

    fn binding(&mut self, item: &BindingItem) {
        let BindingItem { at, vhost, binding } = item;
        let NewBinding { source, destination, key, arguments } = binding;
        let (kind, name) = match destination {
            Destination::Queue(name) => ("queue", name),
            Destination::Exchange(name) => ("exchange", name),
        };
        let label = binding_label(source, name, vhost);
        let Some(target) = self.target(at, &label, vhost) else { return };
        let planned = self.planned.entry(vhost.clone()).or_default();
        let plan = self.plan.vhosts.entry(vhost.clone()).or_default();
        let is_exchange =
            |name: &String| planned.exchanges.contains_key(name) || target.exchange(name).is_some();
        let is_there = match destination {
            Destination::Queue(name) => planned.queues.contains_key(name) || target.queue(name).is_some(),
            Destination::Exchange(name) => is_exchange(name),
        };
        let ends = [(is_exchange(source), "exchange", source), (is_there, kind, name)];
        let missing: Vec<(&str, &String)> =
            ends.into_iter().filter(|(is_there, ..)| !is_there).map(|(_, kind, name)| (kind, name)).collect();
        if !missing.is_empty() {
            self.missing(at, &label, vhost, &missing);
            return;
        }
        let planned_kind = planned.exchanges.get(source).and_then(|index| plan.exchanges.get(*index));
        let kind = planned_kind.or_else(|| target.exchange(source)).map(|exchange| exchange.kind);
        let checked = kind.map_or(Ok(()), |kind| check_arguments(kind, arguments.as_ref()));
        if let Err(error) = checked {
            self.problem(at.place(&label), error.to_string());
            return;
        }
        if let Destination::Queue(name) = destination
            && target.queue(name).is_some_and(|cell| cell.spec.owner.is_some())
        {
            self.problem(at.place(&label), "the queue is a connection's own");
            return;
        }
        let identity = (source.clone(), destination.clone(), key.clone(), arguments.clone());
        if target.is_bound(binding) || !planned.bindings.insert(identity) {
            self.plan.report.count("bindings", Change::Unchanged);
            return;
        }
        plan.bindings.push(binding.clone());
        self.plan.bytes += vhost.len() + source.len() + name.len() + key.len() + RECORD;
        self.plan.bytes += arguments.as_ref().as_bytes().len();
        self.plan.report.count("bindings", Change::Created);
    }

    /// Tells that ends of a binding are missing. What is the server's may well be.
    fn missing(&mut self, at: &At, label: &str, vhost: &str, ends: &[(&str, &String)]) {
        if ends.iter().any(|(_, name)| name.starts_with(RESERVED_PREFIX)) {
            self.plan
                .report
                .skipped
                .push(format!("{}: there is no such thing of the server's", at.place(label)));
            return;
        }
        for (kind, name) in ends {
            let list = if *kind == "queue" { "queues" } else { "exchanges" };
            if !self.is_broken(list, vhost, name) {
                self.problem(at.place(label), format!("{kind} {} does not exist", quoted(name)));
            }
        }
    }
}
