use proptest::prelude::*;

use super::super::model::topic_matches;
use super::*;

fn found(trie: &Trie<usize>, key: &str) -> Vec<usize> {
    let (mut walk, mut reached) = (Walk::default(), Reached::default());
    let any = trie.collect(key, &mut walk, &mut reached);
    let queues = reached.queues().to_vec();
    assert_eq!(any, !queues.is_empty());
    queues
}

fn trie_of(patterns: &[&str]) -> Trie<usize> {
    let mut trie = Trie::new();
    for (queue, pattern) in patterns.iter().enumerate() {
        trie.insert(pattern, Target::Queue(queue));
    }
    trie
}

fn assert_pristine(trie: &Trie<usize>) {
    assert_eq!((trie.nodes.len(), trie.edges.len(), trie.words.numbers.len()), (1, 0, 0));
    assert!(trie.nodes.get(ROOT).unwrap().is_empty());
}

#[test]
fn a_star_is_one_word_and_a_hash_any_number() {
    let trie = trie_of(&["a.*.c", "a.#", "#", "*", "a.#.c", "a.b.c"]);
    assert_eq!(found(&trie, "a.b.c"), [0, 1, 2, 4, 5]);
    assert_eq!(found(&trie, "a.c"), [1, 2, 4]);
    assert_eq!(found(&trie, "a"), [1, 2, 3]);
    assert_eq!(found(&trie, "b"), [2, 3]);
    assert_eq!(found(&trie, "a.b.b.c"), [1, 2, 4]);
}

#[test]
fn the_empty_key_has_no_words() {
    let trie = trie_of(&["", "*", "#", "#.#", "#.*", "*.#"]);
    assert_eq!(found(&trie, ""), [0, 2, 3]);
}

#[test]
fn an_empty_word_is_a_word() {
    let trie = trie_of(&["a..b", "a.*.b", "a.b", "*.*", "."]);
    assert_eq!(found(&trie, "a..b"), [0, 1]);
    assert_eq!(found(&trie, "."), [3, 4]);
}

#[test]
fn wildcards_inside_a_word_or_a_routing_key_are_letters() {
    let trie = trie_of(&["a*", "#b", "*", "x.#"]);
    assert_eq!(found(&trie, "ab"), [2]);
    assert_eq!(found(&trie, "a*"), [0, 2]);
    assert_eq!(found(&trie, "#b"), [1, 2]);
    assert_eq!(found(&trie, "#"), [2]);
    assert_eq!(found(&trie, "x.*"), [3]);
}

#[test]
fn removing_prunes_but_leaves_what_others_use() {
    let mut trie = trie_of(&["a.b.c", "a.b", "a.*.#", "a.b"]);
    trie.remove("a.b.c", Target::Queue(0));
    trie.remove("a.b.c", Target::Queue(0));
    trie.remove("a.b", Target::Queue(1));
    trie.remove("never.there", Target::Queue(1));
    trie.remove("a.*", Target::Queue(2));
    assert_eq!(found(&trie, "a.b"), [2, 3]);
    assert_eq!(trie.words.numbers.len(), 2);
    trie.remove("a.*.#", Target::Queue(2));
    trie.remove("a.b", Target::Queue(3));
    assert_pristine(&trie);
}

/// A matcher that tries all splits would need longer than the universe has lasted.
#[test]
fn many_hashes_against_many_empty_words_are_no_explosion() {
    let dots = ".".repeat(127);
    let hashes = ["#"; 128].join(".");
    let unmet = format!("{hashes}.x");
    let apart = ["#.*"; 60].join(".");
    let trie = trie_of(&["#.#.#.#", &hashes, &unmet, &apart]);
    assert_eq!(found(&trie, &dots), [0, 1, 3]);
    let mut walk = Walk::default();
    trie.collect(&dots, &mut walk, &mut Reached::default());
    assert!(walk.current.len() + walk.hashes.len() <= trie.nodes.len());
}

fn key() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(vec!["", "a", "b", "c"]), 0..7)
        .prop_map(|words| words.join("."))
}

fn pattern() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec!["", "a", "b", "*", "*", "#", "#"]);
    prop::collection::vec(word, 0..6).prop_map(|words| words.join("."))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1000) })]

    #[test]
    fn it_agrees_with_the_naive_matcher(
        patterns in prop::collection::vec((pattern(), any::<bool>()), 0..24),
        keys in prop::collection::vec(key(), 1..12),
    ) {
        let mut trie = Trie::new();
        for (queue, (pattern, _)) in patterns.iter().enumerate() {
            trie.insert(pattern, Target::Queue(queue));
        }
        for (queue, (pattern, _)) in patterns.iter().enumerate().filter(|(_, (_, stays))| !stays) {
            trie.remove(pattern, Target::Queue(queue));
        }
        let left = patterns.iter().enumerate().filter(|(_, (_, stays))| *stays);
        for key in &keys {
            let matching = left.clone().filter(|(_, (pattern, _))| topic_matches(pattern, key));
            let expected: Vec<usize> = matching.map(|(queue, _)| queue).collect();
            prop_assert_eq!(found(&trie, key), expected, "key {:?} patterns {:?}", key, &patterns);
        }
        for (queue, (pattern, _)) in left {
            trie.remove(pattern, Target::Queue(queue));
        }
        assert_pristine(&trie);
    }
}
