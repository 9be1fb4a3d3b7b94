//! From the outlet to the socket: delivery tags, encoding, and what happens when the bytes are written.

use std::collections::VecDeque;

use crate::broker::outlet::Delivery;
use crate::channel::unacked::Unacked;
use crate::ids::Position;
use crate::protocol::frame::FRAME_HEADER;
use crate::protocol::method::basic;
use crate::queue::Settle;
use crate::session::counting::Row;
use crate::session::open::Open;
use crate::session::wire::Wire;

/// What deliveries of one stretch of output cost at most, but for the last of them. Room in the outlet comes back in such
/// steps, and what came back of a stretch of which a part was written may be delivered twice.
const STRETCH: usize = 64 * 1024;

/// Deliveries that are encoded and not written yet, in the order of the output.
#[derive(Debug, Default)]
pub(super) struct Sent {
    stretches: VecDeque<Stretch>,
    resume: Vec<u32>,
}

/// Neighbouring deliveries in the output.
#[derive(Debug)]
struct Stretch {
    /// The output's mark behind the last of them.
    until: u64,
    /// What they count in the outlet.
    cost: usize,
    /// Those that are settled once written.
    auto_ack: Option<Held>,
}

/// Neighbouring messages of a queue that are settled once they are written.
#[derive(Clone, Copy, Debug)]
struct Held {
    /// The session's key of their consumer.
    consumer: u32,
    first: Position,
    count: u64,
}

impl Held {
    /// Takes `more` along if they follow. Returns whether they do.
    #[inline]
    fn join(&mut self, more: Self) -> bool {
        let follows = self.consumer == more.consumer && self.first.0 + self.count == more.first.0;
        if follows {
            self.count += more.count;
        }
        follows
    }

    fn positions(self) -> impl Iterator<Item = Position> {
        (self.first.0..self.first.0 + self.count).map(Position)
    }
}

impl Sent {
    /// Notes deliveries up to the output's mark `until`.
    #[inline]
    fn note(&mut self, until: u64, cost: usize, auto_ack: Option<Held>) {
        if let Some(last) = self.stretches.back_mut()
            && last.cost + cost <= STRETCH
        {
            let joins = match (&mut last.auto_ack, auto_ack) {
                (None, None) => true,
                (Some(held), Some(more)) => held.join(more),
                _ => false,
            };
            if joins {
                last.until = until;
                last.cost += cost;
                return;
            }
        }
        self.stretches.push_back(Stretch { until, cost, auto_ack });
    }
}

impl Open {
    /// Encodes what was taken from the outlet.
    pub(super) fn send_deliveries(&mut self, wire: &mut Wire) {
        if self.taken.deliveries.is_empty() {
            return;
        }
        let mut deliveries = std::mem::take(&mut self.taken.deliveries);
        if self.traced {
            self.trace_deliveries(wire, &deliveries);
        }
        let mut rest = deliveries.drain(..);
        while let Some(row) = Row::at_front(rest.as_slice()) {
            self.send_row(wire, row.consumer, rest.by_ref().take(row.len));
            if let Some(consumer) = self.consumers.get(row.consumer) {
                self.bound_unacked(wire, consumer.channel);
            }
            self.count_row(row);
        }
        drop(rest);
        self.taken.deliveries = deliveries;
    }

    /// Encodes the next deliveries, which are all for one consumer.
    #[inline]
    fn send_row(&mut self, wire: &mut Wire, key: u32, row: impl ExactSizeIterator<Item = Delivery>) {
        let consumer = self.consumers.get_mut(key);
        debug_assert!(consumer.is_some(), "deliveries for a consumer that is not there");
        let found = consumer.and_then(|consumer| Some((self.channels.get_mut(&consumer.channel)?, consumer)));
        let Some((channel, consumer)) = found else {
            return row.for_each(drop);
        };
        consumer.outstanding += u32::try_from(row.len()).unwrap_or(u32::MAX);
        self.timeouts.delivered |= !consumer.no_ack;
        let (prefix, number, frame_max) = (&*consumer.prefix, consumer.channel, wire.frame_max);
        let auto_ack = |first, count| consumer.no_ack.then_some(Held { consumer: key, first, count });
        // Neighbours that are not noted yet.
        let (mut first, mut count, mut cost) = (Position::default(), 0, 0);
        for delivery in row {
            if cost >= STRETCH || first.0 + count != delivery.position.0 {
                if count > 0 {
                    self.sent.note(wire.out.queued(), cost, auto_ack(first, count));
                }
                (first, count, cost) = (delivery.position, 0, 0);
            }
            count += 1;
            cost += delivery.cost();
            let Delivery { message, position, redelivered, .. } = delivery;
            let tag = if consumer.no_ack {
                channel.unacked.skip()
            } else {
                channel.unacked.push(Unacked { consumer: key, position })
            };
            let args = prefix.len() - FRAME_HEADER + 9 + message.names_len();
            wire.out.append(|out| {
                let start = out.len();
                out.extend_from_slice(prefix);
                let size = u32::try_from(args).unwrap_or(u32::MAX).to_be_bytes();
                out[start + 3..start + FRAME_HEADER].copy_from_slice(&size);
                let [t0, t1, t2, t3, t4, t5, t6, t7] = tag.to_be_bytes();
                out.extend_from_slice(&[t0, t1, t2, t3, t4, t5, t6, t7, u8::from(redelivered)]);
            });
            message.write_names_and_content(&mut wire.out, number, frame_max);
        }
        if count > 0 {
            self.sent.note(wire.out.queued(), cost, auto_ack(first, count));
        }
    }

    /// The socket took bytes: settles what needed no acknowledgement, and makes room in the outlet.
    pub(super) fn on_written(&mut self, wire: &mut Wire) {
        let written = wire.out.written();
        let (mut room, mut done) = (0, None::<Held>);
        while self.sent.stretches.front().is_some_and(|stretch| stretch.until <= written) {
            let Some(stretch) = self.sent.stretches.pop_front() else { break };
            room += stretch.cost;
            // Each queue is locked once for what follows.
            if let Some(held) = stretch.auto_ack
                && !done.as_mut().is_some_and(|done| done.join(held))
                && let Some(before) = done.replace(held)
            {
                self.settle_written(before);
            }
        }
        if let Some(held) = done {
            self.settle_written(held);
        }
        if room > 0 {
            self.release_room(wire, room);
        }
        self.move_letters();
    }

    fn settle_written(&mut self, held: Held) {
        self.consumers.give_back(held.consumer, held.positions(), Settle::Ack);
        self.consumers.settled(held.consumer, u32::try_from(held.count).unwrap_or(u32::MAX));
    }

    fn release_room(&mut self, wire: &Wire, room: usize) {
        let mut resume = std::mem::take(&mut self.sent.resume);
        wire.outlet.release(room, &mut resume);
        self.consumers.resume(&resume);
        resume.clear();
        self.sent.resume = resume;
    }

    /// A consumer's queue was deleted.
    pub(super) fn on_queue_gone(&mut self, wire: &mut Wire, key: u32) {
        // One that was cancelled meanwhile needs no notice, and its key and tag may be another's.
        let Some(consumer) = self.consumers.get(key).filter(|consumer| consumer.id.is_some()) else { return };
        let (number, tag) = (consumer.channel, consumer.tag.clone());
        self.announce_consumer_end(wire, key);
        self.consumers.retire(key);
        let Some(channel) = self.channels.get_mut(&number) else { return };
        channel.tags.remove(&tag);
        channel.count_consumers();
        if wire.capabilities.consumer_cancel_notify {
            wire.send(number, &basic::Cancel { consumer_tag: &tag, no_wait: true });
        }
    }

    /// Empties the outlet, after consumers left their queues and before their keys are free: what is for them is noted
    /// to go back to its place, the rest is sent.
    pub(super) fn sweep_outlet(&mut self, wire: &mut Wire) {
        wire.outlet.take(&mut self.taken);
        let mut room = 0;
        for delivery in std::mem::take(&mut self.taken.deliveries) {
            if self.consumers.get(delivery.consumer).is_some_and(|consumer| consumer.id.is_some()) {
                if self.traced {
                    self.trace_deliveries(wire, std::slice::from_ref(&delivery));
                }
                let row = Row::at_front(std::slice::from_ref(&delivery));
                self.send_row(wire, delivery.consumer, std::iter::once(delivery));
                row.into_iter().for_each(|row| self.count_row(row));
            } else {
                room += delivery.cost();
                self.settlements.push((delivery.consumer, delivery.position, Settle::Unsent));
            }
        }
        for key in std::mem::take(&mut self.taken.gone) {
            self.on_queue_gone(wire, key);
        }
        self.release_room(wire, room);
    }

    /// Notes that everything in the outlet goes back: the connection is over.
    pub(super) fn return_taken(&mut self) {
        let deliveries = std::mem::take(&mut self.taken.deliveries);
        self.settlements.extend(deliveries.into_iter().map(|d| (d.consumer, d.position, Settle::Unsent)));
    }

    /// Notes that auto-ack deliveries which are not written go back: the connection is over. Those of which a part may
    /// reach the client, all of them if the output `is_flushed` all the same, come back flagged.
    pub(super) fn return_unwritten(&mut self, wire: &Wire, is_flushed: bool) {
        let written = wire.out.written();
        let mut from = 0;
        for stretch in std::mem::take(&mut self.sent.stretches) {
            let how = if from >= written && !is_flushed { Settle::Unsent } else { Settle::Requeue };
            from = stretch.until;
            if let Some(held) = stretch.auto_ack {
                self.settlements.extend(held.positions().map(|position| (held.consumer, position, how)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(consumer: u32, first: u64, count: u64) -> Option<Held> {
        Some(Held { consumer, first: Position(first), count })
    }

    #[test]
    fn a_stretch_has_neighbours_of_one_consumer_and_no_more_than_it_may() {
        let mut sent = Sent::default();
        for (until, cost, auto_ack) in [
            (1, STRETCH / 2, held(1, 0, 3)),
            (2, STRETCH / 2, held(1, 3, 2)),
            // No room, a gap, another consumer, and one that acknowledges.
            (3, 1, held(1, 5, 1)),
            (4, 1, held(1, 7, 1)),
            (5, 1, held(2, 8, 1)),
            (6, 1, None),
            (7, 1, None),
            (8, 2 * STRETCH, None),
            (9, 1, None),
        ] {
            sent.note(until, cost, auto_ack);
        }
        let seen = |stretch: &Stretch| {
            let held = stretch.auto_ack.map_or((0, 0, 0), |held| (held.consumer, held.first.0, held.count));
            (stretch.until, stretch.cost, held)
        };
        let expected = [
            (2, STRETCH, (1, 0, 5)),
            (3, 1, (1, 5, 1)),
            (4, 1, (1, 7, 1)),
            (5, 1, (2, 8, 1)),
            (7, 2, (0, 0, 0)),
            (8, 2 * STRETCH, (0, 0, 0)),
            (9, 1, (0, 0, 0)),
        ];
        assert_eq!(sent.stretches.iter().map(seen).collect::<Vec<_>>(), expected);
    }
}
