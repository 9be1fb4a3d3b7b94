//! Deliveries that await their acknowledgement, by delivery tag.
//!
//! Tags are dense from 1, so the list is a deque indexed by tag: no map, 16 bytes an entry.

use std::collections::VecDeque;

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

/// The unacked deliveries of a channel.
#[derive(Debug)]
pub struct UnackedList {
    slots: VecDeque<Unacked>,
    /// The tag of the first slot.
    first: u64,
    outstanding: usize,
}

impl Default for UnackedList {
    fn default() -> Self {
        Self { slots: VecDeque::new(), first: 1, outstanding: 0 }
    }
}

impl UnackedList {
    /// Gives the next tag to a delivery that will be acknowledged.
    #[inline]
    pub fn push(&mut self, delivery: Unacked) -> u64 {
        let tag = self.next_tag();
        self.slots.push_back(delivery);
        self.outstanding += 1;
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
        }
        tag
    }

    fn next_tag(&self) -> u64 {
        self.first + self.slots.len() as u64
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
        let end = if all { self.slots.len() } else { self.index(tag).ok_or(UnknownTag(tag))? + 1 };
        if multiple {
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
        if self.slots.is_empty() && self.slots.capacity() > 1024 {
            self.slots = VecDeque::new();
        }
    }

    /// Takes all outstanding deliveries out, lowest tag first. Tags go on from where they were.
    pub fn drain(&mut self) -> impl Iterator<Item = Unacked> + use<> {
        self.first = self.next_tag();
        self.outstanding = 0;
        std::mem::take(&mut self.slots).into_iter().filter(|slot| slot.consumer != SETTLED)
    }

    /// Puts deliveries that [`settle`](Self::settle) took out back under their tags: a transaction was rolled back.
    pub fn restore(&mut self, taken: impl IntoIterator<Item = (u64, Unacked)>) {
        for (tag, delivery) in taken {
            while tag < self.first {
                self.first -= 1;
                self.slots.push_front(Unacked { consumer: SETTLED, position: Position::default() });
            }
            let Ok(index) = usize::try_from(tag - self.first) else { continue };
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
        Skip,
        Settle(u64, bool),
        Drain,
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            4 => Just(Op::Push),
            1 => Just(Op::Skip),
            4 => (0u64..60, any::<bool>()).prop_map(|(tag, multiple)| Op::Settle(tag, multiple)),
            1 => Just(Op::Drain),
        ]
    }

    proptest! {
        #[test]
        fn agrees_with_a_map(ops in prop::collection::vec(op(), 1..120)) {
            let (mut list, mut model, mut next) = (UnackedList::default(), BTreeMap::new(), 1u64);
            for op in ops {
                let delivery = Unacked { consumer: next as u32, position: Position(next * 10) };
                match op {
                    Op::Push => {
                        prop_assert_eq!(list.push(delivery), next);
                        model.insert(next, delivery);
                        next += 1;
                    }
                    Op::Skip => {
                        prop_assert_eq!(list.skip(), next);
                        next += 1;
                    }
                    Op::Settle(tag, multiple) => {
                        let mut settled = Vec::new();
                        let result = list.settle(tag, multiple, |_, d| settled.push(d));
                        let expected: Option<Vec<_>> = match (tag, multiple) {
                            (0, true) => Some(model.keys().copied().collect()),
                            (tag, _) if !model.contains_key(&tag) => None,
                            (tag, true) => Some(model.range(..=tag).map(|(&t, _)| t).collect()),
                            (tag, false) => Some(vec![tag]),
                        };
                        prop_assert_eq!(result.is_ok(), expected.is_some());
                        let expected: Vec<_> =
                            expected.unwrap_or_default().iter().filter_map(|t| model.remove(t)).collect();
                        prop_assert_eq!(settled, expected);
                    }
                    Op::Drain => {
                        let drained: Vec<_> = list.drain().collect();
                        prop_assert_eq!(drained, std::mem::take(&mut model).into_values().collect::<Vec<_>>());
                    }
                }
                prop_assert_eq!(list.len(), model.len());
            }
        }

        #[test]
        fn a_rollback_gives_every_tag_back(
            count in 1u64..40, tags in prop::collection::vec((1u64..40, any::<bool>()), 1..10),
        ) {
            let mut list = UnackedList::default();
            for tag in 1..=count {
                list.push(Unacked { consumer: 1, position: Position(tag) });
            }
            let mut taken = Vec::new();
            for (tag, multiple) in tags {
                let _ = list.settle(tag, multiple, |tag, d| taken.push((tag, d)));
            }
            list.restore(taken);
            prop_assert_eq!(list.len() as u64, count);
            let mut all = Vec::new();
            for tag in 1..=count {
                prop_assert!(list.settle(tag, false, |_, d| all.push(d.position.0)).is_ok());
            }
            prop_assert_eq!(all, (1..=count).collect::<Vec<_>>());
            prop_assert_eq!(list.skip(), count + 1);
        }
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
