//! Publisher confirms of one channel: sequence numbers in, acks and nacks out.
//!
//! A publish is confirmed when the journal's durable position passes its own. Confirms leave in the order of the
//! publishes, so one basic.ack with `multiple` covers everything that became durable.

use std::collections::VecDeque;

use crate::ids::Lsn;

/// Confirms that wait, oldest first.
#[derive(Debug)]
pub struct Confirms {
    next: u64,
    pending: VecDeque<Pending>,
}

/// Consecutive sequence numbers with one fate.
#[derive(Debug)]
struct Pending {
    first: u64,
    last: u64,
    fate: Fate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Acked once the journal is durable up to here.
    DurableAt(Lsn),
    Refused,
}

/// A confirm to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Confirm {
    /// The last sequence number it covers.
    pub tag: u64,
    /// Whether it covers all outstanding ones up to `tag`.
    pub multiple: bool,
    /// basic.ack, or else basic.nack.
    pub ack: bool,
}

impl Default for Confirms {
    fn default() -> Self {
        Self { next: 1, pending: VecDeque::new() }
    }
}

impl Confirms {
    /// The next `count` publishes are taken; they are safe when the journal is durable up to `lsn`.
    pub fn taken(&mut self, count: u64, lsn: Lsn) {
        self.note(count, Fate::DurableAt(lsn));
    }

    /// The next `count` publishes could not be taken.
    pub fn refused(&mut self, count: u64) {
        self.note(count, Fate::Refused);
    }

    fn note(&mut self, count: u64, fate: Fate) {
        if count == 0 {
            return;
        }
        let first = self.next;
        self.next += count;
        match self.pending.back_mut() {
            Some(last) if last.fate == fate => last.last = self.next - 1,
            _ => self.pending.push_back(Pending { first, last: self.next - 1, fate }),
        }
    }

    /// The next confirm that may leave when the journal is durable up to `durable`.
    pub fn next_due(&mut self, durable: Lsn) -> Option<Confirm> {
        let first = self.pending.front_mut()?;
        if first.fate == Fate::Refused {
            // One by one: a nack with `multiple` would be legal, but few clients expect it.
            let tag = first.first;
            first.first += 1;
            if first.first > first.last {
                self.pending.pop_front();
            }
            return Some(Confirm { tag, multiple: false, ack: false });
        }
        let from = first.first;
        let mut last = None;
        while let Some(Pending { last: end, fate: Fate::DurableAt(lsn), .. }) = self.pending.front() {
            if *lsn > durable {
                break;
            }
            last = Some(*end);
            self.pending.pop_front();
        }
        last.map(|tag| Confirm { tag, multiple: tag > from, ack: true })
    }

    /// The position the oldest confirm waits for.
    #[must_use]
    pub fn waits_for(&self) -> Option<Lsn> {
        self.pending.iter().find_map(|pending| match pending.fate {
            Fate::DurableAt(lsn) => Some(lsn),
            Fate::Refused => None,
        })
    }

    /// The position from which on nothing waits any more.
    #[must_use]
    pub fn settled_at(&self) -> Lsn {
        let due = self.pending.iter().filter_map(|pending| match pending.fate {
            Fate::DurableAt(lsn) => Some(lsn),
            Fate::Refused => None,
        });
        due.max().unwrap_or(Lsn::ZERO)
    }

    /// How many publishes wait for their confirm.
    #[must_use]
    pub fn outstanding(&self) -> u64 {
        self.pending.front().map_or(0, |first| self.next - first.first)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn due(confirms: &mut Confirms, durable: u64) -> Vec<(u64, bool, bool)> {
        let mut all = Vec::new();
        while let Some(c) = confirms.next_due(Lsn(durable)) {
            all.push((c.tag, c.multiple, c.ack));
        }
        all
    }

    #[test]
    fn what_became_durable_leaves_as_one() {
        let mut confirms = Confirms::default();
        confirms.taken(3, Lsn(10));
        confirms.taken(1, Lsn(12));
        confirms.taken(1, Lsn(20));
        assert_eq!(due(&mut confirms, 9), []);
        assert_eq!(confirms.waits_for(), Some(Lsn(10)));
        assert_eq!(confirms.settled_at(), Lsn(20));
        assert_eq!(due(&mut confirms, 12), [(4, true, true)]);
        assert_eq!(confirms.outstanding(), 1);
        assert_eq!(due(&mut confirms, 20), [(5, false, true)]);
        assert_eq!(confirms.waits_for(), None);
    }

    #[test]
    fn refusals_are_told_apart_and_in_turn() {
        let mut confirms = Confirms::default();
        confirms.taken(2, Lsn::ZERO);
        confirms.refused(2);
        confirms.taken(1, Lsn(5));
        assert_eq!(due(&mut confirms, 0), [(2, true, true), (3, false, false), (4, false, false)]);
        assert_eq!(due(&mut confirms, 5), [(5, false, true)]);
    }

    proptest! {
        #[test]
        fn each_publish_is_confirmed_exactly_once_and_not_early(
            steps in prop::collection::vec((1u64..5, any::<bool>(), 0u64..4), 1..60),
        ) {
            let mut confirms = Confirms::default();
            let (mut lsn, mut fates, mut answered, mut covered) = (0, Vec::new(), Vec::new(), 0u64);
            let mut durable = 0;
            for (count, ack, step) in steps {
                lsn += step;
                for _ in 0..count {
                    fates.push(ack.then_some(lsn));
                }
                if ack { confirms.taken(count, Lsn(lsn)) } else { confirms.refused(count) }
                durable = lsn.saturating_sub(step * 2).max(durable);
                for (tag, multiple, ack) in due(&mut confirms, durable) {
                    let from = if multiple { covered + 1 } else { tag };
                    prop_assert_eq!(from, covered + 1, "in order");
                    for seq in from..=tag {
                        let fate = fates[seq as usize - 1];
                        prop_assert_eq!(fate.is_some(), ack);
                        prop_assert!(fate.is_none_or(|lsn| lsn <= durable));
                        answered.push(seq);
                    }
                    covered = tag;
                }
            }
            for (tag, ..) in due(&mut confirms, lsn) {
                covered = tag;
            }
            prop_assert_eq!(covered, fates.len() as u64);
            prop_assert_eq!(confirms.outstanding(), 0);
        }
    }
}
