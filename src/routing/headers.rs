//! The headers exchange's index: bindings whose arguments are conditions on the message's headers.
//!
//! `x-match` says whether `all` conditions (the default) or `any` of them must hold; other arguments whose names begin
//! with `x-` are conditions only with `all-with-x` and `any-with-x`. A void argument asks only for the header's
//! presence; any other asks for an equal value, where integers of different widths may be equal and values of
//! different types are not. Without conditions, `all` holds for every message and `any` for none. Of several entries
//! with one name, in arguments or headers, the first counts.
//!
//! A binding is not tried on every message: `all` is filed under one of its conditions and `any` under each, by a
//! hash of name and value, and a message tries only what is filed under its own headers.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::mem;

use super::binding::{BindError, Target, table_of};
use super::reach::Reached;
use super::slab::Slab;
use super::targets::Targets;
use crate::protocol::field::{Table, TableRef, Value};

/// All bindings of one headers exchange.
#[derive(Debug)]
pub(super) struct Headers<Q> {
    bindings: Slab<Filed<Q>>,
    /// Under the hash of a condition: the bindings that need it.
    files: HashMap<u64, BTreeSet<u32>, foldhash::fast::RandomState>,
    /// Bindings without conditions that match everything.
    unconditional: Targets<Q>,
    /// Names and values come from clients, so they go through the standard keyed hash.
    hasher: RandomState,
}

#[derive(Debug)]
struct Filed<Q> {
    target: Target<Q>,
    rule: Rule,
    /// The files it is in.
    under: Box<[u64]>,
}

impl<Q: Copy + Ord> Headers<Q> {
    pub(super) fn new() -> Self {
        Self {
            bindings: Slab::new(),
            files: HashMap::default(),
            unconditional: Targets::None,
            hasher: RandomState::new(),
        }
    }

    /// Adds a binding and gives the number to remove it by.
    ///
    /// # Errors
    /// [`BindError::InvalidArguments`] if `x-match` is none of the four words.
    pub(super) fn insert(&mut self, arguments: &Table, target: Target<Q>) -> Result<u32, BindError> {
        let rule = Rule::parse(arguments.as_ref())?;
        let under = self.files_for(&rule);
        if rule.always() {
            self.unconditional.add(target);
        }
        let number = self.bindings.insert(Filed { target, rule, under: under.clone() });
        for file in under {
            self.files.entry(file).or_default().insert(number);
        }
        Ok(number)
    }

    pub(super) fn remove(&mut self, number: u32) {
        let Some(filed) = self.bindings.remove(number) else { return };
        if filed.rule.always() {
            self.unconditional.remove(filed.target);
        }
        for file in filed.under {
            if let Some(bindings) = self.files.get_mut(&file) {
                bindings.remove(&number);
                if bindings.is_empty() {
                    self.files.remove(&file);
                }
            }
        }
    }

    /// Where a message must look to find this rule: for `any` every condition, for `all` the one with the fewest
    /// bindings so far, since a message that meets the rule has that one too.
    fn files_for(&self, rule: &Rule) -> Box<[u64]> {
        let files = rule.conditions.iter().map(|condition| match condition.value() {
            None | Some(Value::Void) => self.presence(&condition.name),
            Some(value) => self.equality(&condition.name, value),
        });
        if rule.any {
            files.collect::<BTreeSet<_>>().into_iter().collect()
        } else {
            files.min_by_key(|file| self.files.get(file).map_or(0, BTreeSet::len)).into_iter().collect()
        }
    }

    fn presence(&self, name: &str) -> u64 {
        self.hasher.hash_one(name)
    }

    /// Equal for equal values. Where equality is no comparison of bytes, only the type counts: a file may hold
    /// more than what matches, each binding is tried anyway.
    fn equality(&self, name: &str, value: Value<'_>) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        name.hash(&mut hasher);
        if let Some(number) = value.as_int() {
            number.hash(&mut hasher);
            return hasher.finish();
        }
        value.type_name().hash(&mut hasher);
        match value {
            Value::LongStr(bytes) | Value::Bytes(bytes) => bytes.hash(&mut hasher),
            Value::Bool(on) => on.hash(&mut hasher),
            Value::Timestamp(seconds) => seconds.hash(&mut hasher),
            _ => {}
        }
        hasher.finish()
    }

    /// Adds the destinations of all bindings that match; says whether there were any. Each binding is tried at most
    /// once, whatever the headers repeat.
    pub(super) fn collect(&self, headers: TableRef<'_>, trial: &mut Trial, reached: &mut Reached<Q>) -> bool {
        let mut matched = self.unconditional.collect(reached);
        if self.files.is_empty() {
            return matched;
        }
        trial.files.clear();
        trial.bindings.clear();
        for (name, value) in headers.iter() {
            for file in [self.presence(name), self.equality(name, value)] {
                let Some(bindings) = self.files.get(&file) else { continue };
                if !trial.files.insert(file) {
                    continue;
                }
                for &number in bindings {
                    let Some(filed) = self.bindings.get(number) else { continue };
                    if filed.under.len() > 1 && !trial.bindings.insert(number) {
                        continue;
                    }
                    if filed.rule.holds(headers, &mut trial.met) {
                        reached.add(filed.target);
                        matched = true;
                    }
                }
            }
        }
        matched
    }
}

/// Working memory for one message at one headers exchange.
#[derive(Debug, Default)]
pub(super) struct Trial {
    /// Files already gone through.
    files: HashSet<u64, foldhash::fast::RandomState>,
    /// Bindings already tried, of those that are in several files.
    bindings: HashSet<u32, foldhash::fast::RandomState>,
    /// The conditions of the current rule whose header was seen.
    met: Vec<bool>,
}

/// When a binding matches.
#[derive(Debug)]
struct Rule {
    any: bool,
    /// Sorted by name, each name once.
    conditions: Box<[Condition]>,
}

#[derive(Debug)]
struct Condition {
    name: Box<str>,
    /// The wanted value as the one entry of a table, which is the owned form of a value.
    wanted: Table,
}

impl Condition {
    fn value(&self) -> Option<Value<'_>> {
        self.wanted.as_ref().iter().next().map(|(_, value)| value)
    }

    fn holds(&self, value: Value<'_>) -> bool {
        match self.value() {
            None | Some(Value::Void) => true,
            Some(wanted) => wanted.equivalent(value),
        }
    }
}

/// Checks the arguments of a binding.
///
/// # Errors
/// [`BindError::InvalidArguments`].
pub(super) fn check(arguments: TableRef<'_>) -> Result<(), BindError> {
    Rule::parse(arguments).map(|_| ())
}

impl Rule {
    fn parse(arguments: TableRef<'_>) -> Result<Self, BindError> {
        let (any, with_x) = match arguments.get("x-match") {
            None => (false, false),
            Some(Value::LongStr(b"all")) => (false, false),
            Some(Value::LongStr(b"any")) => (true, false),
            Some(Value::LongStr(b"all-with-x")) => (false, true),
            Some(Value::LongStr(b"any-with-x")) => (true, true),
            Some(Value::LongStr(other)) => {
                return Err(BindError::InvalidArguments(format!(
                    "Invalid x-match field value <<\"{}\">>; expected all, any, all-with-x, or any-with-x",
                    other.escape_ascii()
                )));
            }
            Some(other) => {
                return Err(BindError::InvalidArguments(format!(
                    "Invalid x-match field type {} (value {other}); expected longstr",
                    other.type_name()
                )));
            }
        };
        let mut conditions: Vec<Condition> = arguments
            .iter()
            .filter(|(name, _)| *name != "x-match" && (with_x || !name.starts_with("x-")))
            .map(|(name, value)| Condition { name: name.into(), wanted: table_of([(name, value)]) })
            .collect();
        conditions.sort_by(|a, b| a.name.cmp(&b.name));
        conditions.dedup_by(|later, first| later.name == first.name);
        Ok(Self { any, conditions: conditions.into() })
    }

    /// Whether it holds for every message.
    fn always(&self) -> bool {
        !self.any && self.conditions.is_empty()
    }

    /// Goes through the headers once and looks each up among the conditions, since both may be long.
    fn holds(&self, headers: TableRef<'_>, met: &mut Vec<bool>) -> bool {
        met.clear();
        met.resize(self.conditions.len(), false);
        let mut open = self.conditions.len();
        for (name, value) in headers.iter() {
            let Ok(at) = self.conditions.binary_search_by(|condition| (*condition.name).cmp(name)) else {
                continue;
            };
            let (Some(condition), Some(met)) = (self.conditions.get(at), met.get_mut(at)) else { continue };
            if mem::replace(met, true) {
                continue;
            }
            let holds = condition.holds(value);
            if holds == self.any {
                return self.any;
            }
            open -= usize::from(holds);
            if open == 0 {
                return true;
            }
        }
        self.always()
    }
}

#[cfg(test)]
mod tests;
