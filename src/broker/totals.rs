//! What is counted for a whole vhost: numbers that only grow, also when connections, channels and queues go.
//!
//! A session counts in a [`Tally`] of its own, plain numbers, and hands it over once for each batch of work. The totals
//! lie in several shards, so that connections that do so at the same time rarely meet.

use std::ops::{AddAssign, Sub};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::deaths::Reason;
use crate::ids::ConnectionId;

/// Something that is counted for vhosts. The terms are those of RabbitMQ's `rabbitmq_global_*` metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Event {
    /// Messages that were published. Those of a transaction count when it is committed.
    Received,
    /// How many of these were published on channels with confirms.
    ReceivedConfirm,
    /// Publishes that were confirmed, by ack or nack.
    Confirmed,
    /// Messages times the queues that they went to.
    Routed,
    /// Messages for which no queue was found, and that were not mandatory.
    UnroutableDropped,
    /// Mandatory messages for which no queue was found.
    UnroutableReturned,
    /// Deliveries to consumers that acknowledge.
    DeliveredManualAck,
    /// Deliveries to consumers that do not.
    DeliveredAutoAck,
    /// Messages taken by basic.get that are to be acknowledged.
    GotManualAck,
    /// Messages taken by basic.get that are not.
    GotAutoAck,
    /// Times that basic.get found nothing.
    GetEmpty,
    /// How many of the deliveries and gets were of messages that had been delivered before.
    Redelivered,
    /// Acknowledgements, without rejections.
    Acknowledged,
    /// Publishes whose route was looked up, since their connection did not remember it.
    RouteLookups,
}

/// How many events there are.
const EVENTS: usize = Event::RouteLookups as usize + 1;

/// Where the sizes of messages begin: one number for each bucket, and their sum.
const SIZES: usize = EVENTS;

/// Upper bounds of the buckets of message sizes, in bytes; beyond the last there is one more.
pub const SIZE_BOUNDS: [u64; 8] =
    [100, 1000, 10_000, 100_000, 1_000_000, 10_000_000, 50_000_000, 100_000_000];

const SIZE_SUM: usize = SIZES + SIZE_BOUNDS.len() + 1;

/// Where dead letters begin: four reasons for each of two strategies.
const DEAD: usize = SIZE_SUM + 1;

const REASONS: [Reason; 4] = [Reason::Expired, Reason::Rejected, Reason::MaxLen, Reason::DeliveryLimit];

const ALL: usize = DEAD + 2 * REASONS.len();

/// Numbers that were read at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted([u64; ALL]);

impl Default for Counted {
    fn default() -> Self {
        Self([0; ALL])
    }
}

impl Counted {
    /// How often something happened.
    #[must_use]
    pub const fn of(&self, event: Event) -> u64 {
        self.0[event as usize]
    }

    /// Deliveries and gets of all kinds.
    #[must_use]
    pub const fn delivered(&self) -> u64 {
        self.of(Event::DeliveredManualAck)
            + self.of(Event::DeliveredAutoAck)
            + self.of(Event::GotManualAck)
            + self.of(Event::GotAutoAck)
    }

    /// How many messages were published of a size in each bucket, not counting those in lower ones. The bounds are
    /// [`SIZE_BOUNDS`], and the last one is for all beyond.
    #[must_use]
    pub fn sizes(&self) -> [u64; SIZE_BOUNDS.len() + 1] {
        std::array::from_fn(|at| self.0[SIZES + at])
    }

    /// The body bytes of all published messages.
    #[must_use]
    pub const fn size_sum(&self) -> u64 {
        self.0[SIZE_SUM]
    }

    /// Messages that went to a dead-letter exchange for this reason, with the strategy at-least-once or at-most-once.
    #[must_use]
    pub fn dead_lettered(&self, reason: Reason, at_least_once: bool) -> u64 {
        self.0[dead(reason, at_least_once)]
    }
}

impl AddAssign for Counted {
    fn add_assign(&mut self, other: Self) {
        self.0.iter_mut().zip(other.0).for_each(|(sum, n)| *sum += n);
    }
}

impl Sub for Counted {
    type Output = Self;

    /// What came since `earlier`.
    fn sub(self, earlier: Self) -> Self {
        Self(std::array::from_fn(|at| self.0[at].saturating_sub(earlier.0[at])))
    }
}

fn dead(reason: Reason, at_least_once: bool) -> usize {
    let place = REASONS.iter().position(|known| *known == reason).unwrap_or_default();
    DEAD + 2 * place + usize::from(at_least_once)
}

/// What one session has counted and not handed over yet.
#[derive(Debug, Default)]
pub struct Tally {
    counted: Counted,
    /// Which of them are not zero, a bit for each.
    touched: u64,
}

impl Tally {
    /// Counts something.
    #[inline]
    pub fn count(&mut self, event: Event, n: u64) {
        self.add(event as usize, n);
    }

    /// Counts the bodies, of so many bytes each, of messages that were published.
    #[inline]
    pub fn count_sizes(&mut self, bytes: u64, messages: u64) {
        let bucket = SIZE_BOUNDS.iter().position(|bound| bytes <= *bound).unwrap_or(SIZE_BOUNDS.len());
        self.add(SIZES + bucket, messages);
        self.add(SIZE_SUM, bytes * messages);
    }

    #[inline]
    fn add(&mut self, at: usize, n: u64) {
        self.counted.0[at] += n;
        self.touched |= 1 << at;
    }
}

/// A shard has its lines of the processors' caches for itself.
#[derive(Debug)]
#[repr(align(128))]
struct Shard([AtomicU64; ALL]);

/// Connections at a time that write without meeting.
const SHARDS: usize = 8;

/// See the module.
#[derive(Debug)]
pub struct Totals(Box<[Shard; SHARDS]>);

impl Default for Totals {
    fn default() -> Self {
        let shard = |_| Shard(std::array::from_fn(|_| AtomicU64::new(0)));
        Self(Box::new(std::array::from_fn(shard)))
    }
}

impl Totals {
    /// Takes over what a connection has counted, and empties its tally.
    #[inline]
    pub fn take(&self, tally: &mut Tally, who: ConnectionId) {
        if tally.touched == 0 {
            return;
        }
        let shard = &self.0[who.0 as usize % SHARDS];
        let mut left = std::mem::take(&mut tally.touched);
        while left != 0 {
            let at = left.trailing_zeros() as usize;
            left &= left - 1;
            let n = std::mem::take(&mut tally.counted.0[at]);
            shard.0[at].fetch_add(n, Ordering::Relaxed);
        }
    }

    /// Counts messages that go to a dead-letter exchange.
    pub fn count_dead(&self, reason: Reason, at_least_once: bool, n: u64) {
        self.0[0].0[dead(reason, at_least_once)].fetch_add(n, Ordering::Relaxed);
    }

    /// How much it is. What a connection counts right now may be in it in part.
    #[must_use]
    pub fn counted(&self) -> Counted {
        let of_all = |at: usize| self.0.iter().map(|shard| shard.0[at].load(Ordering::Relaxed)).sum();
        Counted(std::array::from_fn(of_all))
    }
}

/// The totals of all vhosts there ever were.
#[derive(Debug, Default)]
pub struct AllTotals(Mutex<Everything>);

#[derive(Debug, Default)]
struct Everything {
    of_vhosts: Vec<Arc<Totals>>,
    /// Those of vhosts that nobody has any more.
    gone: Counted,
}

impl AllTotals {
    /// The totals of a new vhost.
    pub(super) fn begin(&self) -> Arc<Totals> {
        let totals = Arc::<Totals>::default();
        self.0.lock().of_vhosts.push(totals.clone());
        totals
    }

    /// How much it is for all vhosts together. It never shrinks.
    #[must_use]
    pub fn counted(&self) -> Counted {
        let mut all = self.0.lock();
        let Everything { of_vhosts, gone } = &mut *all;
        // Whoever counts has the vhost, so nothing is added to these any more.
        of_vhosts.retain(|totals| {
            let is_used = Arc::strong_count(totals) > 1;
            if !is_used {
                *gone += totals.counted();
            }
            is_used
        });
        let mut sum = *gone;
        of_vhosts.iter().for_each(|totals| sum += totals.counted());
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_arrives_once() {
        let totals = Totals::default();
        let mut tally = Tally::default();
        for n in [3, 4] {
            tally.count(Event::Received, n);
            tally.count(Event::Acknowledged, 1);
            totals.take(&mut tally, ConnectionId(n));
            totals.take(&mut tally, ConnectionId(n));
        }
        totals.count_dead(Reason::DeliveryLimit, true, 5);
        let counted = totals.counted();
        assert_eq!((counted.of(Event::Received), counted.of(Event::Acknowledged)), (7, 2));
        assert_eq!(counted.dead_lettered(Reason::DeliveryLimit, true), 5);
        assert_eq!(counted.dead_lettered(Reason::DeliveryLimit, false), 0);
        assert_eq!(counted.dead_lettered(Reason::Expired, true), 0);
        let before = counted;
        totals.count_dead(Reason::Expired, false, 1);
        assert_eq!((totals.counted() - before).0.iter().sum::<u64>(), 1);
    }

    #[test]
    fn a_size_is_in_the_first_bucket_that_holds_it() {
        let totals = Totals::default();
        let mut tally = Tally::default();
        for size in [0, 100, 101, 1000, 100_000_000, 100_000_001] {
            tally.count_sizes(size, 1);
        }
        totals.take(&mut tally, ConnectionId(1));
        assert_eq!(totals.counted().sizes(), [2, 2, 0, 0, 0, 0, 0, 1, 1]);
        assert_eq!(totals.counted().size_sum(), 200_001_202);
    }

    #[test]
    fn what_a_vhost_counted_stays_when_it_goes() {
        let all = AllTotals::default();
        let (kept, gone) = (all.begin(), all.begin());
        kept.count_dead(Reason::MaxLen, false, 1);
        gone.count_dead(Reason::MaxLen, false, 2);
        assert_eq!(all.counted().dead_lettered(Reason::MaxLen, false), 3);
        gone.count_dead(Reason::MaxLen, false, 4);
        drop(gone);
        for _ in 0..2 {
            assert_eq!(all.counted().dead_lettered(Reason::MaxLen, false), 7);
        }
        assert_eq!(all.0.lock().of_vhosts.len(), 1);
    }
}
