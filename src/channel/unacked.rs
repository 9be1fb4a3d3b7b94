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

    /// The tag that the next delivery gets.
    #[must_use]
    pub fn next_tag(&self) -> u64 {
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

    /// The lowest tag that is outstanding.
    #[must_use]
    pub fn oldest(&self) -> Option<u64> {
        self.below(u64::MAX).next().map(|(tag, _)| tag)
    }

    /// The outstanding deliveries with lower tags, lowest first.
    pub fn below(&self, tag: u64) -> impl Iterator<Item = (u64, Unacked)> {
        let slots = usize::try_from(tag.saturating_sub(self.first)).unwrap_or(usize::MAX);
        let slots = (self.first..).zip(&self.slots).take(slots).filter(|(_, slot)| slot.consumer != SETTLED);
        self.aside
            .range(..tag)
            .map(|(tag, delivery)| (*tag, *delivery))
            .chain(slots.map(|(tag, slot)| (tag, *slot)))
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
mod tests;
