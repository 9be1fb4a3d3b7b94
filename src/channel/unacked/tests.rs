//! The list compared with a map, and examples.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Op {
    Push,
    /// So many deliveries that need no acknowledgement.
    Skip(u64),
    /// So many deliveries that are settled at once, one by one.
    Pass(u64),
    Settle(Pick, bool),
    Drain,
}

/// Which tag is settled.
#[derive(Clone, Debug)]
enum Pick {
    /// One of those outstanding.
    Known(prop::sample::Index),
    /// Any number, mostly one that was given.
    Any(u64),
}

fn op() -> impl Strategy<Value = Op> {
    let pick = prop_oneof![
        2 => any::<prop::sample::Index>().prop_map(Pick::Known),
        1 => (0u64..60).prop_map(Pick::Any),
    ];
    prop_oneof![
        8 => Just(Op::Push),
        2 => Just(Op::Skip(1)),
        1 => (1..3 * FEW_SLOTS as u64).prop_map(Op::Skip),
        1 => (1..3 * FEW_SLOTS as u64).prop_map(Op::Pass),
        8 => (pick, prop::bool::weighted(0.3)).prop_map(|(pick, multiple)| Op::Settle(pick, multiple)),
        1 => Just(Op::Drain),
    ]
}

fn delivery(tag: u64) -> Unacked {
    Unacked { consumer: tag as u32, position: Position(tag * 10) }
}

fn is_bounded(list: &UnackedList) -> bool {
    list.slots.len() <= FEW_SLOTS.max(SPREAD * list.outstanding)
}

proptest! {
    #[test]
    fn agrees_with_a_map(ops in prop::collection::vec(op(), 1..120)) {
        let (mut list, mut model, mut next) = (UnackedList::default(), BTreeMap::new(), 1u64);
        for op in ops {
            match op {
                Op::Push => {
                    prop_assert_eq!(list.push(delivery(next)), next);
                    model.insert(next, delivery(next));
                    next += 1;
                }
                Op::Skip(count) => for _ in 0..count {
                    prop_assert_eq!(list.skip(), next);
                    next += 1;
                }
                Op::Pass(count) => for _ in 0..count {
                    prop_assert_eq!(list.push(delivery(next)), next);
                    prop_assert_eq!(list.settle(next, false, |_, _| {}), Ok(()));
                    next += 1;
                }
                Op::Settle(pick, multiple) => {
                    let keys: Vec<u64> = model.keys().copied().collect();
                    let tag = match pick {
                        Pick::Known(index) if !keys.is_empty() => *index.get(&keys),
                        Pick::Known(_) => 0,
                        Pick::Any(tag) => tag,
                    };
                    let mut settled = Vec::new();
                    let result = list.settle(tag, multiple, |tag, d| settled.push((tag, d)));
                    let expected: Option<Vec<_>> = match (tag, multiple) {
                        (0, true) => Some(model.keys().copied().collect()),
                        (tag, _) if !model.contains_key(&tag) => None,
                        (tag, true) => Some(model.range(..=tag).map(|(&t, _)| t).collect()),
                        (tag, false) => Some(vec![tag]),
                    };
                    prop_assert_eq!(result.is_ok(), expected.is_some());
                    let expected: Vec<_> =
                        expected.unwrap_or_default().iter().filter_map(|t| model.remove_entry(t)).collect();
                    prop_assert_eq!(settled, expected);
                }
                Op::Drain => {
                    let drained: Vec<_> = list.drain().collect();
                    prop_assert_eq!(drained, std::mem::take(&mut model).into_values().collect::<Vec<_>>());
                }
            }
            prop_assert_eq!(list.len(), model.len());
            prop_assert!(list.slots.len() <= FEW_SLOTS.max(SPREAD * 120));
        }
    }

    #[test]
    fn a_rollback_gives_every_tag_back(
        count in 1u64..40,
        tags in prop::collection::vec((1u64..40, any::<bool>()), 1..10),
        later in 0..3 * FEW_SLOTS as u64,
    ) {
        let mut list = UnackedList::default();
        for tag in 1..=count {
            list.push(delivery(tag));
        }
        let mut taken = Vec::new();
        for (tag, multiple) in tags {
            let _ = list.settle(tag, multiple, |tag, d| taken.push((tag, d)));
        }
        for tag in count + 1..=count + later {
            prop_assert_eq!(list.skip(), tag);
        }
        list.restore(taken);
        prop_assert_eq!(list.len() as u64, count);
        let mut all = Vec::new();
        for tag in 1..=count {
            prop_assert!(list.settle(tag, false, |_, d| all.push(d.position.0 / 10)).is_ok());
        }
        prop_assert_eq!(all, (1..=count).collect::<Vec<_>>());
        prop_assert!(list.is_empty() && list.aside.is_empty());
        prop_assert_eq!(list.skip(), count + later + 1);
    }
}

#[test]
fn a_tag_that_stays_does_not_keep_those_after_it() {
    let mut list = UnackedList::default();
    for tag in [1, 2, 3] {
        list.push(delivery(tag));
    }
    for tag in 4..100_000 {
        if tag % 2 == 0 {
            list.skip();
        } else {
            list.push(delivery(tag));
            assert_eq!(list.settle(tag, false, |_, _| {}), Ok(()));
        }
        assert!(is_bounded(&list));
    }
    assert!(list.slots.capacity() <= 4 * FEW_SLOTS);
    assert_eq!(list.len(), 3);
    assert_eq!(list.settle(4, true, |_, _| panic!("nothing")), Err(UnknownTag(4)));
    list.push(delivery(100_000));
    let mut settled = Vec::new();
    assert_eq!(list.settle(2, true, |tag, _| settled.push(tag)), Ok(()));
    assert_eq!(list.settle(0, true, |tag, _| settled.push(tag)), Ok(()));
    assert_eq!(settled, [1, 2, 3, 100_000]);
    assert!(list.is_empty());
}

#[test]
fn a_multiple_ack_of_a_settled_tag_settles_nothing() {
    let mut list = UnackedList::default();
    for i in 0..3 {
        list.push(Unacked { consumer: 0, position: Position(i) });
    }
    assert!(list.settle(2, false, |_, _| {}).is_ok());
    assert_eq!(list.settle(2, true, |_, _| panic!("nothing")), Err(UnknownTag(2)));
    assert_eq!(list.settle(0, false, |_, _| panic!("nothing")), Err(UnknownTag(0)));
    assert_eq!(list.len(), 2);
}

#[test]
fn the_oldest_and_those_below_a_tag_are_found_aside_too() {
    let mut list = UnackedList::default();
    assert_eq!((list.oldest(), list.next_tag()), (None, 1));
    let delivery = |n: u64| Unacked { consumer: 1, position: Position(n) };
    for n in 1..=5000 {
        list.push(delivery(n));
        // All but every thousandth is settled at once, so that these are set aside.
        if n % 1000 != 0 {
            list.settle(n, false, |_, _| {}).unwrap();
        }
    }
    assert!(!list.aside.is_empty());
    list.push(delivery(5001));
    assert_eq!((list.oldest(), list.next_tag()), (Some(1000), 5002));
    let below = |tag| list.below(tag).map(|(tag, delivery)| (tag, delivery.position.0)).collect::<Vec<_>>();
    assert_eq!(below(1000), []);
    assert_eq!(below(3000), [(1000, 1000), (2000, 2000)]);
    assert_eq!(below(u64::MAX).len(), 6);
    assert_eq!(below(5001).last(), Some(&(5000, 5000)));
}
