//! The destinations of one key.

use std::collections::BTreeMap;
use std::mem;

use super::binding::Target;
use super::reach::Reached;

/// The distinct destinations that bindings with one key (or pattern) lead to, in order, each with the number of
/// bindings behind it: bindings may differ in their arguments alone. Nearly always there is one, which costs no
/// allocation of its own.
#[derive(Debug, Default)]
pub(super) enum Targets<Q> {
    #[default]
    None,
    One(Target<Q>, u32),
    Many(BTreeMap<Target<Q>, u32>),
}

impl<Q: Copy + Ord> Targets<Q> {
    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Self::None)
    }

    /// Counts one more binding to `target`.
    pub(super) fn add(&mut self, target: Target<Q>) {
        match self {
            Self::None => *self = Self::One(target, 1),
            Self::One(only, bindings) if *only == target => *bindings += 1,
            Self::One(only, bindings) => {
                *self = Self::Many(BTreeMap::from([(*only, *bindings), (target, 1)]));
            }
            Self::Many(targets) => *targets.entry(target).or_insert(0) += 1,
        }
    }

    /// Counts one binding to `target` less.
    pub(super) fn remove(&mut self, target: Target<Q>) {
        match self {
            Self::None => {}
            Self::One(only, bindings) => {
                if *only == target {
                    *bindings -= 1;
                    if *bindings == 0 {
                        *self = Self::None;
                    }
                }
            }
            Self::Many(targets) => {
                if let Some(bindings) = targets.get_mut(&target) {
                    *bindings -= 1;
                    if *bindings == 0 {
                        targets.remove(&target);
                    }
                }
                if targets.len() <= 1 {
                    let last = mem::take(targets).pop_first();
                    *self = last.map_or(Self::None, |(target, bindings)| Self::One(target, bindings));
                }
            }
        }
    }

    /// Adds all of them to what a message reaches; says whether there were any.
    pub(super) fn collect(&self, reached: &mut Reached<Q>) -> bool {
        match self {
            Self::None => return false,
            Self::One(target, _) => reached.add(*target),
            Self::Many(targets) => targets.keys().for_each(|target| reached.add(*target)),
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_stays_until_its_last_binding_goes() {
        let mut targets = Targets::default();
        for queue in [3, 1, 3, 2] {
            targets.add(Target::Queue(queue));
        }
        targets.remove(Target::Queue(3));
        targets.remove(Target::Queue(7));
        let mut reached = Reached::default();
        assert!(targets.collect(&mut reached));
        assert_eq!(reached.queues(), [1, 2, 3]);
        targets.remove(Target::Queue(2));
        targets.remove(Target::Queue(3));
        assert!(matches!(targets, Targets::One(Target::Queue(1), 1)));
        targets.remove(Target::Queue(2));
        targets.remove(Target::Queue(1));
        assert!(targets.is_empty());
        assert!(!targets.collect(&mut reached));
    }
}
