//! The connection's consumers, and what stands in for one when messages were taken by basic.get.
//!
//! A key stays taken until everything given under it is settled, so an unacked entry needs no reference of its own.

use std::sync::Arc;

use crate::broker::connections::DeliveredFrom;
use crate::broker::queue_cell::QueueCell;
use crate::broker::vhost::is_reply_name;
use crate::ids::{ConsumerId, Position};
use crate::protocol::frame::FrameKind;
use crate::queue::Settle;

/// A consumer.
#[derive(Debug)]
pub(super) struct Consumer {
    pub(super) channel: u16,
    pub(super) tag: Box<str>,
    pub(super) cell: Arc<QueueCell>,
    /// Its number in the queue; `None` for basic.get, and once it is cancelled.
    pub(super) id: Option<ConsumerId>,
    pub(super) no_ack: bool,
    /// Milliseconds that its deliveries may be out, if it says so itself; 0 is for ever.
    pub(super) timeout: Option<u64>,
    /// Deliveries under this key that are not settled.
    pub(super) outstanding: u32,
    /// It may be given messages, or messages be taken under its key.
    pub(super) live: bool,
    /// What its channel counts of its queue.
    pub(super) counts: Option<Arc<DeliveredFrom>>,
    /// How every delivery begins: frame header, method ids, consumer tag.
    pub(super) prefix: Box<[u8]>,
}

/// The first bytes of a basic.deliver frame on `channel`; the frame's size is patched in with each delivery.
fn deliver_prefix(channel: u16, tag: &str) -> Box<[u8]> {
    let tag = tag.as_bytes();
    let mut prefix = vec![FrameKind::Method as u8];
    prefix.extend_from_slice(&channel.to_be_bytes());
    prefix.extend_from_slice(&[0, 0, 0, 0]);
    prefix.extend_from_slice(&[0, 60, 0, 60]);
    prefix.push(u8::try_from(tag.len()).unwrap_or(u8::MAX));
    prefix.extend_from_slice(tag);
    prefix.into_boxed_slice()
}

/// All of them by key.
#[derive(Debug, Default)]
pub(super) struct Consumers {
    slots: Vec<Option<Consumer>>,
    /// Keys that are free, so that giving one is no search.
    free: Vec<u32>,
}

impl Consumers {
    /// The key that [`add`](Self::add) will give next.
    pub(super) fn next_key(&self) -> u32 {
        let unused = || u32::try_from(self.slots.len()).unwrap_or(u32::MAX);
        self.free.last().copied().unwrap_or_else(unused)
    }

    /// Adds a consumer, `id` being its number in the queue, or without one a stand-in for basic.get.
    pub(super) fn add(
        &mut self,
        channel: u16,
        tag: &str,
        cell: Arc<QueueCell>,
        id: Option<ConsumerId>,
        no_ack: bool,
    ) -> u32 {
        let key = self.next_key();
        let prefix = if id.is_some() { deliver_prefix(channel, tag) } else { Box::default() };
        let consumer = Consumer {
            channel,
            tag: tag.into(),
            cell,
            id,
            no_ack,
            timeout: None,
            outstanding: 0,
            live: true,
            counts: None,
            prefix,
        };
        if self.free.pop().is_some() {
            self.slots[key as usize] = Some(consumer);
        } else {
            self.slots.push(Some(consumer));
        }
        key
    }

    /// By key: the one at its place, if there is one.
    pub(super) fn all(&self) -> impl Iterator<Item = Option<&Consumer>> {
        self.slots.iter().map(Option::as_ref)
    }

    /// The keys of consumers, of queues that clients name, for whose queue `wanted` is true.
    pub(super) fn of_queues(&self, wanted: impl Fn(&str) -> bool) -> Vec<u32> {
        let is_wanted = |consumer: &Consumer| {
            let name = &consumer.cell.spec.name;
            consumer.id.is_some() && !is_reply_name(name) && wanted(name)
        };
        let keys = (0..).zip(self.all()).filter(|(_, consumer)| consumer.is_some_and(is_wanted));
        keys.map(|(key, _)| key).collect()
    }

    #[inline]
    pub(super) fn get(&self, key: u32) -> Option<&Consumer> {
        self.slots.get(key as usize)?.as_ref()
    }

    #[inline]
    pub(super) fn get_mut(&mut self, key: u32) -> Option<&mut Consumer> {
        self.slots.get_mut(key as usize)?.as_mut()
    }

    /// `n` deliveries under `key` are settled.
    #[inline]
    pub(super) fn settled(&mut self, key: u32, n: u32) {
        if let Some(consumer) = self.get_mut(key) {
            consumer.outstanding = consumer.outstanding.saturating_sub(n);
        }
        self.free_if_done(key);
    }

    fn free_if_done(&mut self, key: u32) {
        if self.get(key).is_some_and(|consumer| !consumer.live && consumer.outstanding == 0) {
            self.slots[key as usize] = None;
            self.free.push(key);
            if self.free.len() == self.slots.len() {
                *self = Self::default();
            }
        }
    }

    /// Nothing is given under `key` any more; it is free once all is settled.
    pub(super) fn retire(&mut self, key: u32) {
        if let Some(consumer) = self.get_mut(key) {
            consumer.live = false;
            consumer.id = None;
        }
        self.free_if_done(key);
    }

    /// Starts or stops deliveries.
    pub(super) fn set_active(&self, key: u32, active: bool) {
        if let Some((consumer, id)) = self.get(key).and_then(|consumer| Some((consumer, consumer.id?))) {
            consumer.cell.set_active(id, active);
        }
    }

    /// Lets consumers go on whose outlet or window was full.
    pub(super) fn resume(&self, keys: &[u32]) {
        for &key in keys {
            if let Some((consumer, id)) = self.get(key).and_then(|consumer| Some((consumer, consumer.id?))) {
                consumer.cell.resume(id);
            }
        }
    }

    /// Gives messages that were delivered under `key` back to their queue.
    pub(super) fn give_back(&self, key: u32, positions: impl Iterator<Item = Position>, how: Settle) {
        if let Some(consumer) = self.get(key) {
            consumer.cell.settle(consumer.id, positions, how);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::Broker;
    use crate::broker::options::BrokerOptions;
    use crate::broker::vhost::QueueDeclare;
    use crate::ids::ConnectionId;

    fn cell() -> Arc<QueueCell> {
        let broker = Broker::new(BrokerOptions::default());
        let user = broker.users.login("guest", b"guest", true).unwrap();
        let request = QueueDeclare { name: "q", ..Default::default() };
        broker.open_vhost("/", &user).unwrap().declare_queue(request, ConnectionId(1)).unwrap().cell
    }

    #[test]
    fn a_key_is_given_again_once_all_under_it_is_settled() {
        let cell = cell();
        let mut consumers = Consumers::default();
        let add = |consumers: &mut Consumers| {
            let next = consumers.next_key();
            assert_eq!(consumers.add(1, "tag", cell.clone(), None, false), next);
            next
        };
        let keys: Vec<u32> = (0..4).map(|_| add(&mut consumers)).collect();
        assert_eq!(keys, [0, 1, 2, 3]);
        if let Some(consumer) = consumers.get_mut(1) {
            consumer.outstanding = 2;
        }
        consumers.retire(1);
        consumers.retire(3);
        assert_eq!((add(&mut consumers), add(&mut consumers)), (3, 4), "1 is not free yet");
        consumers.settled(1, 1);
        consumers.settled(1, 1);
        consumers.settled(1, 1);
        consumers.retire(1);
        assert_eq!((add(&mut consumers), add(&mut consumers)), (1, 5), "1 was freed once");
        for key in 0..6 {
            consumers.retire(key);
            assert!(consumers.get(key).is_none());
        }
        assert_eq!((consumers.slots.capacity(), consumers.free.capacity()), (0, 0));
        assert_eq!(add(&mut consumers), 0);
    }
}
