//! The direct exchange's index: a map from key to destinations.

use std::collections::HashMap;

use super::binding::Target;
use super::reach::Reached;
use super::targets::Targets;

/// Keys come from clients, so the map uses the standard keyed hash.
#[derive(Debug)]
pub(super) struct Direct<Q> {
    keys: HashMap<Box<str>, Targets<Q>>,
}

impl<Q: Copy + Ord> Direct<Q> {
    pub(super) fn new() -> Self {
        Self { keys: HashMap::new() }
    }

    pub(super) fn insert(&mut self, key: &str, target: Target<Q>) {
        if let Some(targets) = self.keys.get_mut(key) {
            targets.add(target);
        } else {
            self.keys.insert(key.into(), Targets::One(target, 1));
        }
    }

    pub(super) fn remove(&mut self, key: &str, target: Target<Q>) {
        if let Some(targets) = self.keys.get_mut(key) {
            targets.remove(target);
            if targets.is_empty() {
                self.keys.remove(key);
            }
        }
    }

    pub(super) fn collect(&self, key: &str, reached: &mut Reached<Q>) -> bool {
        self.keys.get(key).is_some_and(|targets| targets.collect(reached))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_very_same_key_matches_and_nothing_stays_behind() {
        let mut direct = Direct::new();
        direct.insert("a.b", Target::Queue(1));
        direct.insert("a.b", Target::Queue(2));
        direct.insert("", Target::Queue(3));
        let found = |direct: &Direct<u8>, key: &str| {
            let mut reached = Reached::default();
            direct.collect(key, &mut reached).then(|| reached.queues().to_vec())
        };
        assert_eq!(found(&direct, "a.b"), Some(vec![1, 2]));
        assert_eq!(found(&direct, ""), Some(vec![3]));
        assert_eq!(found(&direct, "A.b"), None);
        assert_eq!(found(&direct, "*.b"), None);
        direct.remove("a.b", Target::Queue(2));
        direct.remove("a.b", Target::Queue(1));
        direct.remove("a.b", Target::Queue(1));
        direct.remove("", Target::Queue(3));
        assert_eq!(found(&direct, "a.b"), None);
        assert!(direct.keys.is_empty());
    }
}
