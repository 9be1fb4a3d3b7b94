//! Which published messages the broker has not confirmed yet.

/// The messages in flight of a channel in confirm mode: how many there may be, and which are left.
#[derive(Debug)]
pub struct Window {
    /// Settled tags above `low`, at their number modulo the length, a power of two.
    settled: Vec<bool>,
    /// The lowest tag in flight.
    low: u64,
    /// The tag of the next message.
    next: u64,
    in_flight: usize,
    limit: usize,
    confirmed: u64,
    nacked: u64,
}

impl Window {
    /// With at most so many messages in flight.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        let len = limit.max(1).next_power_of_two();
        Self {
            settled: vec![false; len],
            low: 1,
            next: 1,
            in_flight: 0,
            limit: limit.max(1),
            confirmed: 0,
            nacked: 0,
        }
    }

    /// How many messages may be sent now. A message that is confirmed late holds up as many as the window is long.
    #[inline]
    #[must_use]
    pub fn room(&self) -> usize {
        let span = usize::try_from(self.next - self.low).unwrap_or(usize::MAX);
        self.limit.saturating_sub(self.in_flight).min(self.settled.len().saturating_sub(span))
    }

    /// Notes so many messages as sent, at most as many as there is room for; returns the tag of the first.
    #[inline]
    pub fn send(&mut self, count: usize) -> u64 {
        debug_assert!(count <= self.room(), "the window has room");
        let first = self.next;
        self.next += count as u64;
        self.in_flight += count;
        first
    }

    /// Takes the broker's word for one message, or for all up to one, and calls `each` with every tag that is settled by it.
    #[inline]
    pub fn settle(&mut self, tag: u64, multiple: bool, is_ack: bool, mut each: impl FnMut(u64)) {
        let mask = self.settled.len() - 1;
        // RabbitMQ's word for "all" is tag 0 with multiple.
        let last = if tag == 0 && multiple { self.next - 1 } else { tag };
        if last < self.low || last >= self.next {
            return;
        }
        let first = if multiple { self.low } else { last };
        let mut count = 0;
        for tag in first..=last {
            let slot = &mut self.settled[tag as usize & mask];
            if !std::mem::replace(slot, true) {
                count += 1;
                each(tag);
            }
        }
        self.in_flight -= count;
        let total = if is_ack { &mut self.confirmed } else { &mut self.nacked };
        *total += count as u64;
        while self.low < self.next && std::mem::take(&mut self.settled[self.low as usize & mask]) {
            self.low += 1;
        }
    }

    /// Messages that are not settled.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Messages the broker has taken.
    #[must_use]
    pub fn confirmed(&self) -> u64 {
        self.confirmed
    }

    /// Messages the broker has refused.
    #[must_use]
    pub fn nacked(&self) -> u64 {
        self.nacked
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn multiple_leaves_out_what_is_settled_already() {
        let mut window = Window::new(5);
        assert_eq!((window.room(), window.send(5), window.room()), (5, 1, 0));
        let mut seen = Vec::new();
        window.settle(2, false, true, |tag| seen.push(tag));
        window.settle(2, false, true, |tag| seen.push(tag));
        assert_eq!((window.in_flight(), window.confirmed()), (4, 1));
        window.settle(3, true, false, |tag| seen.push(tag));
        assert_eq!((seen.as_slice(), window.nacked(), window.in_flight()), ([2, 1, 3].as_slice(), 2, 2));
        window.settle(0, true, true, |_| {});
        assert_eq!((window.in_flight(), window.confirmed(), window.room()), (0, 3, 5));
        window.settle(9, true, true, |_| {});
        assert_eq!(window.confirmed(), 3, "what was never sent is not confirmed");
    }

    proptest! {
        #[test]
        fn it_counts_like_a_set(limit in 1usize..20, steps in prop::collection::vec((0u8..3, 0u64..40), 0..200)) {
            let mut window = Window::new(limit);
            let (mut open, mut next) = (BTreeSet::new(), 1);
            for (kind, number) in steps {
                if kind == 0 {
                    let count = window.room().min(number as usize);
                    window.send(count);
                    open.extend(next..next + count as u64);
                    next += count as u64;
                    prop_assert!(open.len() <= limit);
                    continue;
                }
                let tag = (next.saturating_sub(20) + number).max(1);
                let multiple = kind == 1;
                let mut gone = BTreeSet::new();
                window.settle(tag, multiple, true, |tag| { gone.insert(tag); });
                let expected: BTreeSet<u64> = open.iter().copied()
                    .filter(|other| tag < next && (*other == tag || (multiple && *other < tag))).collect();
                prop_assert_eq!(&gone, &expected);
                open.retain(|tag| !gone.contains(tag));
                prop_assert_eq!(window.in_flight(), open.len());
            }
        }
    }
}
