//! The topic exchange's index: a trie of the words of the binding keys.
//!
//! Words are split on `.`. `*` stands for exactly one word, which may be empty; `#` for any number of words, also
//! none. The empty key has no words at all.
//!
//! Matching never goes back: it walks the routing key once, word by word, with the set of all trie nodes that the
//! words so far can lead to. A node is in that set at most once, so the work is bounded by words times nodes, also
//! for patterns like `#.#.#.#`.

use std::collections::{HashMap, HashSet};
use std::mem;
use std::num::NonZeroU32;

use foldhash::fast::RandomState;

use super::binding::Target;
use super::reach::Reached;
use super::slab::Slab;
use super::targets::Targets;

/// The node where every pattern starts. It is never removed and no node's child.
const ROOT: u32 = 0;

/// The words of a key or pattern.
fn words(key: &str) -> impl Iterator<Item = &str> {
    key.split('.').take(if key.is_empty() { 0 } else { usize::MAX })
}

/// All patterns of one topic exchange.
#[derive(Debug)]
pub(super) struct Trie<Q> {
    nodes: Slab<Node<Q>>,
    /// From (node, word) to that child.
    edges: HashMap<(u32, u32), u32, RandomState>,
    words: Words,
}

/// What is left of a pattern after the words that lead here.
#[derive(Debug)]
struct Node<Q> {
    /// Of the patterns that end here.
    targets: Targets<Q>,
    star: Option<NonZeroU32>,
    hash: Option<NonZeroU32>,
    /// How many edges start here.
    literals: u32,
}

impl<Q: Copy + Ord> Node<Q> {
    const fn new() -> Self {
        Self { targets: Targets::None, star: None, hash: None, literals: 0 }
    }

    fn is_empty(&self) -> bool {
        self.targets.is_empty() && self.star.is_none() && self.hash.is_none() && self.literals == 0
    }
}

impl<Q: Copy + Ord> Trie<Q> {
    pub(super) fn new() -> Self {
        let mut nodes = Slab::new();
        nodes.insert(Node::new());
        Self { nodes, edges: HashMap::default(), words: Words::default() }
    }

    pub(super) fn insert(&mut self, pattern: &str, target: Target<Q>) {
        let mut at = ROOT;
        for word in words(pattern) {
            at = self.child(at, word).unwrap_or_else(|| self.grow(at, word));
        }
        if let Some(node) = self.nodes.get_mut(at) {
            node.targets.add(target);
        }
    }

    /// Takes one binding out, and the nodes and words that only its pattern needed.
    pub(super) fn remove(&mut self, pattern: &str, target: Target<Q>) {
        let mut path = Vec::new();
        let mut at = ROOT;
        for word in words(pattern) {
            let Some(child) = self.child(at, word) else { return };
            path.push((at, word, child));
            at = child;
        }
        if let Some(node) = self.nodes.get_mut(at) {
            node.targets.remove(target);
        }
        for (parent, word, child) in path.into_iter().rev() {
            if self.nodes.get(child).is_some_and(|node| !node.is_empty()) {
                return;
            }
            self.nodes.remove(child);
            self.cut(parent, word);
        }
    }

    /// The child of a node for one word of a pattern.
    fn child(&self, parent: u32, word: &str) -> Option<u32> {
        let node = self.nodes.get(parent)?;
        match word {
            "*" => node.star.map(NonZeroU32::get),
            "#" => node.hash.map(NonZeroU32::get),
            _ => self.edges.get(&(parent, self.words.number(word)?)).copied(),
        }
    }

    /// A new child for a word that the node has no child for.
    fn grow(&mut self, parent: u32, word: &str) -> u32 {
        let child = self.nodes.insert(Node::new());
        if let Some(node) = self.nodes.get_mut(parent) {
            match word {
                "*" => node.star = NonZeroU32::new(child),
                "#" => node.hash = NonZeroU32::new(child),
                _ => {
                    node.literals += 1;
                    self.edges.insert((parent, self.words.take(word)), child);
                }
            }
        }
        child
    }

    /// Forgets the child for a word.
    fn cut(&mut self, parent: u32, word: &str) {
        let Some(node) = self.nodes.get_mut(parent) else { return };
        match word {
            "*" => node.star = None,
            "#" => node.hash = None,
            _ => {
                node.literals -= 1;
                if let Some(number) = self.words.give_back(word) {
                    self.edges.remove(&(parent, number));
                }
            }
        }
    }

    /// Adds the destinations of all patterns that match `key`; says whether there were any.
    pub(super) fn collect(&self, key: &str, walk: &mut Walk, reached: &mut Reached<Q>) -> bool {
        walk.clear();
        walk.current.push(ROOT);
        self.enter_hashes(ROOT, walk);
        for word in words(key) {
            let number = self.words.number(word);
            for &at in walk.current.iter().chain(&walk.hashes) {
                self.step(at, number, &mut walk.following);
            }
            mem::swap(&mut walk.current, &mut walk.following);
            walk.following.clear();
            for i in 0..walk.current.len() {
                if let Some(&at) = walk.current.get(i) {
                    self.enter_hashes(at, walk);
                }
            }
            if walk.current.is_empty() && walk.hashes.is_empty() {
                return false;
            }
        }
        let mut matched = false;
        for &at in walk.current.iter().chain(&walk.hashes) {
            if let Some(node) = self.nodes.get(at) {
                matched |= node.targets.collect(reached);
            }
        }
        matched
    }

    /// The nodes that one word leads to from `at`, apart from `#` nodes.
    fn step(&self, at: u32, word: Option<u32>, following: &mut Vec<u32>) {
        let Some(node) = self.nodes.get(at) else { return };
        following.extend(node.star.map(NonZeroU32::get));
        if node.literals > 0
            && let Some(word) = word
        {
            following.extend(self.edges.get(&(at, word)));
        }
    }

    /// The `#` nodes that no word at all leads to from `at`.
    fn enter_hashes(&self, mut at: u32, walk: &mut Walk) {
        while let Some(hash) = self.nodes.get(at).and_then(|node| node.hash) {
            at = hash.get();
            if !walk.entered.insert(at) {
                return;
            }
            walk.hashes.push(at);
        }
    }
}

/// The nodes that the words so far can lead to.
#[derive(Debug, Default)]
pub(super) struct Walk {
    /// Nodes whose last word was `*` or a literal. Each has one parent, so none comes twice.
    current: Vec<u32>,
    following: Vec<u32>,
    /// Nodes whose last word was `#`. It takes every further word, so once here they stay.
    hashes: Vec<u32>,
    /// `hashes` as a set: a `#` node may be entered again by another split of the words.
    entered: HashSet<u32, RandomState>,
}

impl Walk {
    fn clear(&mut self) {
        self.current.clear();
        self.following.clear();
        self.hashes.clear();
        self.entered.clear();
    }
}

/// Numbers for the literal words of all patterns, so that a word is hashed once and not once per node. Words come
/// from clients, so the map uses the standard keyed hash.
#[derive(Debug, Default)]
struct Words {
    numbers: HashMap<Box<str>, Word>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Word {
    number: u32,
    edges: u32,
}

impl Words {
    fn number(&self, word: &str) -> Option<u32> {
        self.numbers.get(word).map(|word| word.number)
    }

    /// The number of a word, for one more edge.
    fn take(&mut self, word: &str) -> u32 {
        if let Some(known) = self.numbers.get_mut(word) {
            known.edges += 1;
            return known.number;
        }
        // All numbers below the count of words ever live at once are in use or free, so this one is new.
        let number = self.free.pop().unwrap_or(self.numbers.len() as u32);
        self.numbers.insert(word.into(), Word { number, edges: 1 });
        number
    }

    /// The number of a word that one edge no longer needs.
    fn give_back(&mut self, word: &str) -> Option<u32> {
        let known = self.numbers.get_mut(word)?;
        let number = known.number;
        known.edges -= 1;
        if known.edges == 0 {
            self.numbers.remove(word);
            self.free.push(number);
        }
        Some(number)
    }
}

#[cfg(test)]
mod tests;
