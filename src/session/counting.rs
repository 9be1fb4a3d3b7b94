//! What a session counts, for its channels and for the vhost. Where it can, once for a row of messages and not for each.

use std::sync::Arc;

use crate::broker::connections::{ConnectionState, OpenChannel, PublishedTo};
use crate::broker::exchange_counts::ExchangeCounts;
use crate::broker::outlet::Delivery;
use crate::broker::queue_cell::QueueCell;
use crate::broker::totals::Event;
use crate::queue::Settle;
use crate::session::channel::Mode;
use crate::session::open::Open;
use crate::session::wire::Wire;

/// What a channel has published to which exchange; the one that was published to last comes first.
#[derive(Debug, Default)]
pub(super) struct PublishCounts {
    known: Vec<(Arc<ExchangeCounts>, Arc<PublishedTo>)>,
    /// The channel has as many as it may: for so many that are not known it is not looked whether there is room again.
    full: u32,
}

/// How many that are not known go by until a full channel is looked through for exchanges that are gone.
const PATIENCE: u32 = 256;

impl PublishCounts {
    fn add(&mut self, shown: &OpenChannel, exchange: &Arc<ExchangeCounts>, count: u64) {
        let at = self.known.iter().position(|(known, _)| Arc::ptr_eq(known, exchange));
        let at = match at {
            Some(at) => at,
            None if self.full > 0 => {
                self.full -= 1;
                return;
            }
            None => {
                let counts = shown.published_to(&exchange.name).or_else(|| {
                    self.forget_gone(shown);
                    shown.published_to(&exchange.name)
                });
                let Some(counts) = counts else {
                    self.full = PATIENCE;
                    return;
                };
                // One that was deleted and declared again is counted as the same.
                self.known.retain(|(_, known)| !Arc::ptr_eq(known, &counts));
                self.known.push((exchange.clone(), counts));
                self.known.len() - 1
            }
        };
        self.known[at].1.publish.add(count);
        self.known.swap(0, at);
    }

    /// Forgets exchanges that nobody has any more: they were deleted.
    fn forget_gone(&mut self, shown: &OpenChannel) {
        self.known.retain(|(exchange, counts)| {
            let stands = Arc::strong_count(exchange) > 1;
            if !stands {
                shown.forget_published_to(counts);
            }
            stands
        });
    }
}

/// Deliveries in a row for one consumer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub(super) consumer: u32,
    /// How many they are.
    pub(super) len: usize,
    redelivered: u64,
}

impl Row {
    /// The row that `deliveries` begin with; `None` if there are none.
    #[inline]
    pub(super) fn at_front(deliveries: &[Delivery]) -> Option<Self> {
        let row = deliveries.chunk_by(|one, next| one.consumer == next.consumer).next()?;
        let redelivered = row.iter().filter(|delivery| delivery.redelivered).count() as u64;
        Some(Self { consumer: row[0].consumer, len: row.len(), redelivered })
    }
}

impl Open {
    /// Counts what was published since the last time.
    pub(super) fn count_publishes(&mut self) {
        let Self { publishes, channels, tally, unix_ms, .. } = self;
        publishes.count(|number, (count, routed), exchange| {
            exchange.add(count, routed);
            tally.count(Event::Received, count);
            tally.count(Event::Routed, routed);
            let Some(channel) = channels.get_mut(&number) else { return };
            if matches!(channel.mode, Mode::Confirm(_)) {
                tally.count(Event::ReceivedConfirm, count);
            }
            let counters = &channel.shown.counters;
            counters.publish.add(count);
            counters.active_at.set(*unix_ms);
            channel.published.add(&channel.shown, exchange, count);
        });
    }

    /// Counts a message for which no queue was found.
    pub(super) fn count_unroutable(&mut self, number: u16, mandatory: bool) {
        let Some(channel) = self.channels.get(&number) else { return };
        let counters = &channel.shown.counters;
        if mandatory {
            counters.return_unroutable.add(1);
            self.tally.count(Event::UnroutableReturned, 1);
        } else {
            counters.drop_unroutable.add(1);
            self.tally.count(Event::UnroutableDropped, 1);
        }
    }

    /// Counts deliveries for one consumer, once they are sent.
    pub(super) fn count_row(&mut self, row: Row) {
        let Row { consumer, len, redelivered } = row;
        let count = len as u64;
        let Self { consumers, channels, tally, unix_ms, .. } = self;
        let Some(consumer) = consumers.get(consumer) else { return };
        let Some(channel) = channels.get_mut(&consumer.channel) else { return };
        let counters = &channel.shown.counters;
        let of_queue = consumer.counts.as_ref();
        if consumer.no_ack {
            counters.deliver_no_ack.add(count);
            of_queue.iter().for_each(|counts| counts.deliver_no_ack.add(count));
            tally.count(Event::DeliveredAutoAck, count);
        } else {
            counters.deliver.add(count);
            of_queue.iter().for_each(|counts| counts.deliver.add(count));
            tally.count(Event::DeliveredManualAck, count);
            channel.count_unacked();
        }
        if redelivered > 0 {
            counters.redeliver.add(redelivered);
            of_queue.iter().for_each(|counts| counts.redeliver.add(redelivered));
            tally.count(Event::Redelivered, redelivered);
        }
        counters.active_at.set(*unix_ms);
    }

    /// Has what is given under `key` counted for its queue too.
    pub(super) fn count_by_queue(&mut self, key: u32) {
        let Some(consumer) = self.consumers.get_mut(key) else { return };
        let Some(channel) = self.channels.get(&consumer.channel) else { return };
        consumer.counts = channel.shown.delivered_from(consumer.cell.id, &consumer.cell.spec.name);
    }

    /// Counts a message taken by basic.get.
    pub(super) fn count_got(&mut self, number: u16, cell: &QueueCell, no_ack: bool, redelivered: bool) {
        let Some(channel) = self.channels.get(&number) else { return };
        let counters = &channel.shown.counters;
        let of_queue = channel.shown.delivered_from(cell.id, &cell.spec.name);
        let redelivered = u64::from(redelivered);
        if no_ack {
            counters.get_no_ack.add(1);
            of_queue.iter().for_each(|counts| counts.get_no_ack.add(1));
            self.tally.count(Event::GotAutoAck, 1);
        } else {
            counters.get.add(1);
            of_queue.iter().for_each(|counts| counts.get.add(1));
            self.tally.count(Event::GotManualAck, 1);
        }
        counters.redeliver.add(redelivered);
        of_queue.iter().for_each(|counts| counts.redeliver.add(redelivered));
        self.tally.count(Event::Redelivered, redelivered);
        counters.active_at.set(self.unix_ms);
    }

    /// Counts a basic.get that found nothing.
    pub(super) fn count_get_empty(&mut self, number: u16, cell: &QueueCell) {
        let Some(channel) = self.channels.get(&number) else { return };
        channel.shown.counters.get_empty.add(1);
        let of_queue = channel.shown.delivered_from(cell.id, &cell.spec.name);
        of_queue.iter().for_each(|counts| counts.get_empty.add(1));
        channel.shown.counters.active_at.set(self.unix_ms);
        self.tally.count(Event::GetEmpty, 1);
    }

    /// Counts deliveries of one consumer, or messages it has got, that are settled.
    pub(super) fn count_settled(&mut self, consumer: u32, how: Settle, count: u64) {
        let Self { consumers, channels, tally, unix_ms, .. } = self;
        let Some(consumer) = consumers.get(consumer) else { return };
        if how != Settle::Ack || consumer.no_ack {
            return;
        }
        let Some(channel) = channels.get_mut(&consumer.channel) else { return };
        channel.shown.counters.ack.add(count);
        channel.shown.counters.active_at.set(*unix_ms);
        consumer.counts.iter().for_each(|counts| counts.ack.add(count));
        tally.count(Event::Acknowledged, count);
    }

    /// Counts bytes that came.
    pub(super) fn count_input(&self, bytes: usize) {
        self.shown.counters.received_bytes.add(bytes as u64);
        self.shown.counters.received.add(1);
    }

    /// Counts bytes that the socket took.
    pub(super) fn count_output(&self, wire: &Wire, bytes: usize) {
        self.shown.counters.sent_bytes.add(bytes as u64);
        self.shown.counters.sent.add(1);
        self.shown.counters.pending.set(wire.out.len() as u64);
    }

    /// Hands over what was counted in a batch of work, and says how the connection stands.
    #[inline]
    pub(super) fn report(&mut self, wire: &Wire) {
        self.vhost.totals.take(&mut self.tally, wire.id);
        self.shown.counters.pending.set(wire.out.len() as u64);
        self.shown.set_state(self.standing());
    }

    #[inline]
    fn standing(&self) -> ConnectionState {
        if self.blocked {
            ConnectionState::Blocked
        } else if self.is_held_up() {
            ConnectionState::Flow
        } else {
            ConnectionState::Running
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_channel_forgets_exchanges_that_are_gone() {
        let (shown, mut published) = (OpenChannel::new(1), PublishCounts::default());
        let mut exchanges: Vec<_> = (0..300).map(|number| ExchangeCounts::new(&number.to_string())).collect();
        exchanges.iter().for_each(|exchange| published.add(&shown, exchange, 1));
        let named = |name: &str| shown.published().iter().find(|counts| counts.exchange == name).cloned();
        assert_eq!((shown.published().len(), named("299").is_none()), (256, true));
        let last = exchanges[299].clone();
        exchanges.truncate(10);
        (0..=PATIENCE).for_each(|_| published.add(&shown, &last, 1));
        assert_eq!(shown.published().len(), 11);
        assert!(named("299").is_some_and(|counts| counts.publish.get() > 0));
        assert!(named("9").is_some_and(|counts| counts.publish.get() == 1));
    }
}
