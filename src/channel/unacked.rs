//! Deliveries that await their acknowledgement, by delivery tag.
//!
//! Tags are dense from 1, so the list is a deque indexed by tag: no map, 16 bytes an entry. A few tags that stay while
//! many later ones come and go would keep all slots after them; they are set aside, by tag, and the deque begins anew.

use std::collections::{BTreeMap, VecDeque};

use crate::ids::Position;

/// A delivery that was not acknowledged yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unacked {
    /// The session's key of the consumer it was given to.
    pub consumer: u32,
    /// Where it lies in that consumer's queue.
    pub position: Position,
}

/// A delivery tag that is not outstanding: never given, settled before, or of another channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown delivery tag {0}")]
pub struct UnknownTag(pub u64);

/// Marks a slot whose delivery is settled or needed no acknowledgement.
const SETTLED: u32 = u32::MAX;

/// Slots that the deque may have whatever is outstanding.
const FEW_SLOTS: usize = 1024;

/// Slots for each outstanding delivery that the deque may have beyond that.
const SPREAD: usize = 8;

/// The unacked deliveries of a channel.
#[derive(Debug)]
pub struct UnackedList {
    /// Those that were set aside. Their tags are lower than `first`.
    aside: BTreeMap<u64, Unacked>,
    slots: VecDeque<Unacked>,
    /// The tag of the first slot.
    first: u64,
    /// Of both.
    outstanding: usize,
}

impl Default for UnackedList {
    fn default() -> Self {
        Self { aside: BTreeMap::new(), slots: VecDeque::new(), first: 1, outstanding: 0 }
    }
}

impl UnackedList {
    /// Gives the next tag to a delivery that will be acknowledged.
    #[inline]
    pub fn push(&mut self, delivery: Unacked) -> u64 {
        let tag = self.next_tag();
        self.slots.push_back(delivery);
        self.outstanding += 1;
        self.bound();
        tag
    }

    /// Gives the next tag to a delivery that needs no acknowledgement.
    #[inline]
    pub fn skip(&mut self) -> u64 {
        let tag = self.next_tag();
        if self.slots.is_empty() {
            self.first += 1;
        } else {
            self.slots.push_back(Unacked { consumer: SETTLED, position: Position::default() });
            self.bound();
        }
        tag
    }

    fn next_tag(&self) -> u64 {
        self.first + self.slots.len() as u64
    }

    #[inline]
    fn bound(&mut self) {
        if self.slots.len() > FEW_SLOTS && self.slots.len() > SPREAD * self.outstanding {
            self.set_aside();
        }
    }

    /// Sets all that is outstanding aside and begins the deque anew at the next tag. As the deque has to grow long
    /// again before the next time, this costs little for each tag.
    #[cold]
    fn set_aside(&mut self) {
        let next = self.next_tag();
        let tags = self.first..;
        let outstanding =
            tags.zip(std::mem::take(&mut self.slots)).filter(|(_, slot)| slot.consumer != SETTLED);
        self.aside.extend(outstanding);
        self.first = next;
    }

    /// How many deliveries are outstanding.
    #[must_use]
    pub fn len(&self) -> usize {
        self.outstanding
    }

    /// Whether none is outstanding.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.outstanding == 0
    }

    /// Settles `tag`, or with `multiple` all up to it (0: all there are), and hands each with its tag to `settled`, lowest first.
    ///
    /// # Errors
    /// If `tag` itself is not outstanding, also with `multiple`; nothing is settled then. Zero is a tag only with
    /// `multiple`, as in RabbitMQ.
    pub fn settle(
        &mut self,
        tag: u64,
        multiple: bool,
        mut settled: impl FnMut(u64, Unacked),
    ) -> Result<(), UnknownTag> {
        let all = multiple && tag == 0;
        if !all && tag < self.first {
            return self.settle_aside(tag, multiple, settled);
        }
        let end = if all { self.slots.len() } else { self.index(tag).ok_or(UnknownTag(tag))? + 1 };
        if multiple {
            for (tag, delivery) in std::mem::take(&mut self.aside) {
                self.outstanding -= 1;
                settled(tag, delivery);
            }
            for delivery in self.slots.drain(..end) {
                if delivery.consumer != SETTLED {
                    self.outstanding -= 1;
                    settled(self.first, delivery);
                }
                self.first += 1;
            }
        } else {
            let index = end - 1;
            settled(tag, self.slots[index]);
            self.slots[index].consumer = SETTLED;
            self.outstanding -= 1;
        }
        self.trim();
        Ok(())
    }

    fn settle_aside(
        &mut self,
        tag: u64,
        multiple: bool,
        mut settled: impl FnMut(u64, Unacked),
    ) -> Result<(), UnknownTag> {
        if !self.aside.contains_key(&tag) {
            return Err(UnknownTag(tag));
        }
        while multiple
            && let Some(lowest) = self.aside.first_entry()
            && *lowest.key() < tag
        {
            self.outstanding -= 1;
            let (tag, delivery) = lowest.remove_entry();
            settled(tag, delivery);
        }
        if let Some(delivery) = self.aside.remove(&tag) {
            self.outstanding -= 1;
            settled(tag, delivery);
        }
        Ok(())
    }

    fn index(&self, tag: u64) -> Option<usize> {
        let index = usize::try_from(tag.checked_sub(self.first)?).ok()?;
        let slot = self.slots.get(index)?;
        (slot.consumer != SETTLED).then_some(index)
    }

    fn trim(&mut self) {
        while self.slots.front().is_some_and(|slot| slot.consumer == SETTLED) {
            self.slots.pop_front();
            self.first += 1;
        }
        if self.slots.is_empty() && self.slots.capacity() > FEW_SLOTS {
            self.slots = VecDeque::new();
        }
    }

    /// Takes all outstanding deliveries out, lowest tag first. Tags go on from where they were.
    pub fn drain(&mut self) -> impl Iterator<Item = Unacked> + use<> {
        self.first = self.next_tag();
        self.outstanding = 0;
        let slots = std::mem::take(&mut self.slots).into_iter().filter(|slot| slot.consumer != SETTLED);
        std::mem::take(&mut self.aside).into_values().chain(slots)
    }

    /// Puts deliveries that [`settle`](Self::settle) took out back under their tags: a transaction was rolled back.
    pub fn restore(&mut self, taken: impl IntoIterator<Item = (u64, Unacked)>) {
        for (tag, delivery) in taken {
            let Some(index) = tag.checked_sub(self.first) else {
                // The deque has gone on without it.
                self.outstanding += usize::from(self.aside.insert(tag, delivery).is_none());
                continue;
            };
            let Ok(index) = usize::try_from(index) else { continue };
            if let Some(slot) = self.slots.get_mut(index) {
                *slot = delivery;
                self.outstanding += 1;
            }
        }
        self.trim();
    }
}

#[cfg(test)]
mod tests {
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
}
