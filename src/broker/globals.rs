//! What is set for the broker as a whole, and kept: users, vhosts and global parameters.
//!
//! In the journal and in the catalogue these are parameters of a vhost without a name, which no vhost can have.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::channel::gates::Gate;
use crate::ids::Lsn;
use crate::lock::{Rank, RankedMutex, RankedMutexGuard};
use crate::storage::bodies::Bodies;
use crate::storage::image::GLOBAL;
use crate::storage::journal::Append;
use crate::storage::record::{Parameter, Record};

/// Values as JSON, by component and name.
type Values = BTreeMap<(String, String), String>;

/// See the module.
pub struct Globals {
    bodies: Arc<Bodies>,
    values: RankedMutex<Values>,
    /// Counts changes.
    redefined: AtomicU64,
}

impl fmt::Debug for Globals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // There are hashes of passwords among them.
        f.debug_struct("Globals").finish_non_exhaustive()
    }
}

impl Globals {
    /// What was stored.
    pub(super) fn restored(bodies: Arc<Bodies>, stored: Vec<Parameter>) -> Self {
        let value = |parameter: Parameter| ((parameter.component, parameter.name), parameter.value);
        let values = stored.into_iter().map(value).collect();
        Self { bodies, values: RankedMutex::new(Rank::Registry, values), redefined: AtomicU64::new(0) }
    }

    /// Sets a parameter, in the place of one of the same component and name. The gate opens when it is durable.
    pub(super) fn set(&self, component: &str, name: &str, value: String) -> Gate {
        let parameter = Parameter { component: component.to_owned(), name: name.to_owned(), value };
        let mut values = self.values.lock();
        let record = Record::ParameterSet { vhost: GLOBAL, parameter: &parameter };
        let lsn = self.append(|batch| batch.record(&record));
        values.insert((parameter.component, parameter.name), parameter.value);
        Gate::durable(lsn)
    }

    /// Takes a parameter away, if it was set. `append` is called under the lock with what adds the record for that to a
    /// batch, which it has to append; so other things can go in the same batch.
    pub(super) fn clear_with(
        &self,
        component: &str,
        name: &str,
        append: impl FnOnce(&dyn Fn(&mut Append<'_>)) -> Lsn,
    ) -> Option<Gate> {
        let mut values = self.values.lock();
        values.remove(&(component.to_owned(), name.to_owned()))?;
        self.redefined.fetch_add(1, Ordering::AcqRel);
        let record = Record::ParameterCleared { vhost: GLOBAL, component, name };
        Some(Gate::durable(append(&|batch| batch.record(&record))))
    }

    /// Takes a parameter away. `None` if it was not set.
    pub(super) fn clear(&self, component: &str, name: &str) -> Option<Gate> {
        self.clear_with(component, name, |record| self.bodies.journal.append(|batch| record(batch)))
    }

    /// Holds all of them still, so that several change in one batch of the journal together with other things.
    pub(super) fn change(&self) -> Changing<'_> {
        Changing { values: self.values.lock(), redefined: &self.redefined }
    }

    /// The value of a parameter.
    pub(super) fn get(&self, component: &str, name: &str) -> Option<String> {
        self.values.lock().get(&(component.to_owned(), name.to_owned())).cloned()
    }

    /// The parameters of a component, as names and values.
    pub(super) fn all(&self, component: &str) -> Vec<(String, String)> {
        let values = self.values.lock();
        let of_it = values.iter().filter(|((of, _), _)| of == component);
        of_it.map(|((_, name), value)| (name.clone(), value.clone())).collect()
    }

    fn append(&self, batch: impl FnOnce(&mut Append<'_>)) -> Lsn {
        // Counted first: whoever reads the count and then the values has at least those.
        self.redefined.fetch_add(1, Ordering::AcqRel);
        self.bodies.journal.append(batch)
    }

    /// How often anything has changed, and all of it as records, unless that is `known`.
    pub(super) fn definitions(&self, known: Option<u64>) -> (u64, Option<Vec<u8>>) {
        let values = self.values.lock();
        let count = self.redefined.load(Ordering::Acquire);
        if known == Some(count) {
            return (count, None);
        }
        let mut records = Vec::new();
        for ((component, name), value) in values.iter() {
            let (component, name, value) = (component.clone(), name.clone(), value.clone());
            let parameter = &Parameter { component, name, value };
            Record::ParameterSet { vhost: GLOBAL, parameter }.encode(&mut records);
        }
        (count, Some(records))
    }
}

/// Parameters that are about to change. Whoever has it records each change itself, in a batch that is appended before
/// this is dropped.
pub(super) struct Changing<'a> {
    values: RankedMutexGuard<'a, Values>,
    redefined: &'a AtomicU64,
}

impl Changing<'_> {
    /// The value of a parameter.
    pub(super) fn get(&self, component: &str, name: &str) -> Option<&str> {
        self.values.get(&(component.to_owned(), name.to_owned())).map(String::as_str)
    }

    /// Sets a parameter, in the place of one of the same component and name.
    pub(super) fn set(&mut self, Parameter { component, name, value }: Parameter) {
        self.redefined.fetch_add(1, Ordering::AcqRel);
        self.values.insert((component, name), value);
    }
}
