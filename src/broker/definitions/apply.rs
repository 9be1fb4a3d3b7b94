//! An import: everything is held still, looked at, and changed at once.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use serde_json::Value;

use super::document::{Document, Secret};
use super::item::quoted;
use super::plan::{Plan, State, plan};
use super::report::Report;
use super::{Problem, Scope};
use crate::broker::Broker;
use crate::broker::events::Event;
use crate::broker::globals::Changing;
use crate::broker::parameters::GLOBAL as COMPONENT;
use crate::broker::users::{Details, User};
use crate::broker::vhost::{Importing, VHost};
use crate::broker::vhosts::Metadata;
use crate::channel::gates::Gate;
use crate::identity::password::PasswordHash;
use crate::ids::Lsn;
use crate::storage::image::{Definitions, GLOBAL, VHOST};
use crate::storage::journal::Encoded;
use crate::storage::record::{Parameter, Record};

/// The component and the name of the parameter that says which definitions were loaded last.
const LOADED: (&str, &str) = ("definitions", "loaded");

/// How a document is imported.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImportOptions {
    /// Nothing is changed: it is only said what would be.
    pub dry_run: bool,
    /// What [`Broker::loaded_definitions`] says from then on.
    pub loaded: Option<String>,
    /// Who imports: the user's name, or a word of RabbitMQ's such as [`INTERNAL`](crate::broker::events::INTERNAL).
    pub by: String,
}

/// Users by name, with what holds for them. Their passwords are hashed.
type Known = HashMap<String, (Arc<User>, Details)>;

impl Broker {
    /// Imports a document: all of it, in one batch of the journal, or nothing. What is there and is not in it stays.
    /// Queues and exchanges that are there with other properties stay what they are; everything else is overwritten. The
    /// gate opens when it is durable.
    ///
    /// Blocks: passwords may have to be hashed, a checkpoint may have to end, and whoever declares something or looks for
    /// a route in a vhost that is spoken of waits meanwhile. So it wants a thread of its own.
    ///
    /// # Errors
    /// Everything that is wrong with the document; nothing has changed then.
    pub fn import(
        &self,
        document: &Document,
        options: &ImportOptions,
    ) -> Result<(Report, Gate), Vec<Problem>> {
        let (hashes, problems) = self.hash_passwords(document);
        let _events = self.events.after();
        // No checkpoint sees a part of it: what is in the catalogue is there whole, or is in the journal.
        let _committed = self.storage.as_ref().map(|storage| storage.committed.lock());
        let _parameters = self.global_parameters.changing.lock();
        let _users = self.users.hold();
        let _vhosts = self.vhosts.hold();
        let users = self.known_users().map_err(|problem| vec![problem])?;
        let (involved, new) = self.involved(document);
        let known_vhosts = self.vhosts.all().len();
        let new_names: HashSet<String> = new.iter().map(|vhost| vhost.name.clone()).collect();
        let mut globals = self.globals.change();
        // By name, in which order they have to be locked.
        let held: BTreeMap<String, Importing<'_>> =
            involved.iter().map(|(name, vhost)| (name.clone(), vhost.importing(&options.by))).collect();
        let state = State {
            vhosts: &held,
            new_vhosts: &new_names,
            globals: &globals,
            users: &users,
            limits: &self.limits,
            hashes,
        };
        let mut plan = plan(document, &state);
        plan.problems.extend(problems);
        self.check_vhost_room(&mut plan, known_vhosts, new.len());
        self.hold_room(&mut plan);
        if !plan.problems.is_empty() {
            return Err(plan.problems);
        }
        if options.dry_run {
            self.limits.queues.release(plan.queues);
            self.limits.exchanges.release(plan.exchanges);
            return Ok((plan.report, Gate::OPEN));
        }
        self.limits.queues.fill(plan.queues);
        self.limits.exchanges.fill(plan.exchanges);
        self.limits.queues_declared.add(plan.queues);
        if let Some(value) = options.loaded.clone() {
            let (component, name) = (LOADED.0.to_owned(), LOADED.1.to_owned());
            plan.globals.push(Parameter { component, name, value: Value::from(value).to_string() });
        }
        let recheck =
            plan.vhosts.values().any(|plan| !(plan.permissions.is_empty() && plan.topics.is_empty()));
        self.note_globals(&plan, &new_names, &held, &options.by);
        let (lsn, held) = self.append(&mut plan, &mut globals, held);
        let mut new_users = Vec::new();
        for (name, details) in plan.users {
            let before = users.get(&name).map(|(_, details)| details);
            self.users.note_put(&name, before, &details, &options.by);
            match users.get(&name) {
                Some((user, _)) => user.set_details(details),
                None => new_users.push((name, details)),
            }
        }
        held.into_values().for_each(|vhost| vhost.follow(lsn));
        drop(globals);
        self.users.publish(new_users);
        new.into_iter().for_each(|vhost| self.vhosts.publish(vhost));
        plan.global_values.iter().for_each(|(name, value)| self.global_parameters.follow(name, Some(value)));
        if recheck {
            self.recheck_access();
        }
        plan.report.log();
        Ok((plan.report, Gate::durable(lsn)))
    }

    /// What [`ImportOptions::loaded`] was at the last import that had it.
    #[must_use]
    pub fn loaded_definitions(&self) -> Option<String> {
        serde_json::from_str(&self.globals.get(LOADED.0, LOADED.1)?).ok()
    }

    /// Notes the vhosts that are made or described otherwise, and global parameters. What is in vhosts is noted as it is applied.
    fn note_globals(
        &self,
        plan: &Plan,
        new: &HashSet<String>,
        held: &BTreeMap<String, Importing<'_>>,
        by: &str,
    ) {
        let events = &self.events;
        let of_vhosts = plan.globals.iter().filter(|parameter| parameter.component == VHOST);
        for Parameter { name, value, .. } in of_vhosts {
            let (vhost, metadata) = (held.get(name), || Metadata::from_text(value).value());
            if new.contains(name) {
                vhost.into_iter().for_each(Importing::note_made);
                events.note(|| Event::vhost_created(name, &metadata(), events.node(), by));
            } else {
                let is_traced = vhost.is_some_and(Importing::is_traced);
                events.note(|| Event::vhost_updated(name, &metadata(), is_traced, events.node(), by));
            }
        }
        for (name, value) in &plan.global_values {
            events.note(|| Event::parameter_set(None, COMPONENT, name, value, by));
        }
    }

    /// Puts everything into the topologies and the global parameters, and then into the journal.
    fn append<'a>(
        &self,
        plan: &mut Plan,
        globals: &mut Changing<'_>,
        mut held: BTreeMap<String, Importing<'a>>,
    ) -> (Lsn, BTreeMap<String, Importing<'a>>) {
        let mut batch = Encoded::default();
        for parameter in std::mem::take(&mut plan.globals) {
            batch.record(&Record::ParameterSet { vhost: GLOBAL, parameter: &parameter });
            globals.set(parameter);
        }
        for (name, plan) in std::mem::take(&mut plan.vhosts) {
            if let Some(vhost) = held.get_mut(&name) {
                vhost.apply(plan, &mut batch);
            }
        }
        (self.journal.append(|append| append.encoded(&batch)), held)
    }

    /// Hashes the passwords that are in clear, by their users' places in the document.
    fn hash_passwords(&self, document: &Document) -> (HashMap<usize, PasswordHash>, Vec<Problem>) {
        let (mut hashes, mut problems) = (HashMap::new(), Vec::new());
        for (index, item) in document.users.iter().enumerate() {
            let Secret::Clear(password) = &item.secret else { continue };
            match self.users.hash_new(password.as_bytes()) {
                Ok(hash) => drop(hashes.insert(index, hash)),
                Err(error) => {
                    problems.push(Problem::new(item.at.place(&quoted(&item.name)), error.to_string()));
                }
            }
        }
        (hashes, problems)
    }

    /// The users there are. Called while they are held.
    fn known_users(&self) -> Result<Known, Problem> {
        let known = |user: Arc<User>| {
            let details = self.users.hashed(&user.details());
            let failed = |error| Problem::new(format!("user {}", quoted(&user.name)), format!("{error}"));
            let details = details.map_err(failed)?;
            Ok((user.name.clone(), (user, details)))
        };
        self.users.all().into_iter().map(known).collect()
    }

    /// The vhosts that a document speaks of, with those that it wants to be made; and these alone.
    fn involved(&self, document: &Document) -> (BTreeMap<String, Arc<VHost>>, Vec<Arc<VHost>>) {
        let own = document.vhosts.iter().map(|item| &item.name);
        let names: BTreeSet<&String> = own
            .clone()
            .chain(document.permissions.iter().map(|item| &item.vhost))
            .chain(document.topics.iter().map(|item| &item.vhost))
            .chain(document.parameters.iter().map(|item| &item.vhost))
            .chain(document.exchanges.iter().map(|item| &item.vhost))
            .chain(document.queues.iter().map(|item| &item.vhost))
            .chain(document.bindings.iter().map(|item| &item.vhost))
            .collect();
        let (mut involved, mut new) = (BTreeMap::new(), Vec::new());
        for name in names {
            if let Some(vhost) = self.vhosts.get(name) {
                involved.insert(name.clone(), vhost);
            } else if document.scope == Scope::Whole && own.clone().any(|own| own == name) {
                let vhost = self.vhosts.make(name, Definitions::default());
                new.push(vhost.clone());
                involved.insert(name.clone(), vhost);
            }
        }
        (involved, new)
    }

    /// Looks whether so many new vhosts may be.
    fn check_vhost_room(&self, plan: &mut Plan, known: usize, new: usize) {
        let exceeded = (new > 0).then(|| self.limits.vhosts.exceeded_by(known + new)).flatten();
        plan.problems.extend(exceeded.map(|limit| {
            let text = format!("there are {known} vhosts and {new} would come, and limits.vhosts is {limit}");
            Problem::new("the document", text)
        }));
    }

    /// Holds room for new queues and exchanges, if nothing is wrong otherwise.
    fn hold_room(&self, plan: &mut Plan) {
        let limits = [
            ("limits.queues", "queues", &self.limits.queues, plan.queues),
            ("limits.exchanges", "exchanges", &self.limits.exchanges, plan.exchanges),
        ];
        let had_problems = !plan.problems.is_empty();
        let mut held = Vec::new();
        for (option, what, quota, count) in limits {
            match quota.reserve(count) {
                Ok(()) => held.push((quota, count)),
                Err(limit) => {
                    let text = format!(
                        "there are {} {what} and {count} would come, and {option} is {limit}",
                        quota.used()
                    );
                    plan.problems.push(Problem::new("the document", text));
                }
            }
        }
        if had_problems || !plan.problems.is_empty() {
            held.into_iter().for_each(|(quota, count)| quota.release(count));
        }
    }
}
