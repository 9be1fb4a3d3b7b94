//! What a queue counts: what happened in it, and what its messages take, by the ways in which people ask for it.
//!
//! All of it is plain numbers under the queue's lock, next to what a step changes anyway.

use std::iter::Sum;
use std::ops::{AddAssign, SubAssign};

use super::{ConsumerSpec, Depth, Entry, Link, Queue, memory_of};
use crate::ids::ConsumerId;
use crate::message::Message;
use crate::protocol::properties::Properties;

/// What happened in a queue since it was declared, or the broker was started. The terms are RabbitMQ's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Messages that came: from publishers, and as dead letters of other queues.
    pub publish: u64,
    /// Deliveries to consumers that acknowledge. One that never left the broker since its connection ended counts too.
    pub deliver: u64,
    /// Deliveries to consumers that do not.
    pub deliver_no_ack: u64,
    /// Messages taken by basic.get that are to be acknowledged.
    pub get: u64,
    /// Messages taken by basic.get that are not.
    pub get_no_ack: u64,
    /// Times that basic.get found nothing.
    pub get_empty: u64,
    /// How many of the deliveries and gets were of messages that had been delivered before.
    pub redeliver: u64,
    /// Acknowledgements, without rejections.
    pub ack: u64,
    /// Messages that were read from the disk again.
    pub disk_reads: u64,
    /// Messages that left memory and are on disk only.
    pub paged_out: u64,
    /// Messages that got a record in the journal.
    pub disk_writes: u64,
    /// Times that a consumer was passed over since its connection had no room.
    pub parked: u64,
}

impl Counts {
    /// Deliveries and gets of all kinds, RabbitMQ's `deliver_get`.
    #[must_use]
    pub const fn deliver_get(&self) -> u64 {
        self.deliver + self.deliver_no_ack + self.get + self.get_no_ack
    }

    #[inline]
    pub(super) fn delivered(&mut self, no_ack: bool, messages: u64, redelivered: u64) {
        if no_ack {
            self.deliver_no_ack += messages;
        } else {
            self.deliver += messages;
        }
        self.redeliver += redelivered;
    }

    pub(super) fn got(&mut self, no_ack: bool, redelivered: bool) {
        if no_ack {
            self.get_no_ack += 1;
        } else {
            self.get += 1;
        }
        self.redeliver += u64::from(redelivered);
    }
}

/// What messages take in memory.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Memory {
    /// About how many bytes, with all that belongs to a message.
    pub(super) bytes: u64,
    /// How many messages.
    pub(super) messages: u64,
    /// Their body bytes.
    pub(super) bodies: u64,
}

impl Memory {
    /// Returns what the message takes.
    #[inline]
    pub(super) fn add(&mut self, message: &Message) -> u64 {
        let bytes = memory_of(message);
        self.bytes += bytes;
        self.messages += 1;
        self.bodies += message.body_len();
        bytes
    }

    /// Returns what the message took.
    #[inline]
    pub(super) fn remove(&mut self, message: &Message) -> u64 {
        let bytes = memory_of(message);
        self.bytes -= bytes;
        self.messages -= 1;
        self.bodies -= message.body_len();
        bytes
    }
}

impl<'a> Sum<&'a Entry> for Memory {
    fn sum<I: Iterator<Item = &'a Entry>>(entries: I) -> Self {
        let mut memory = Self::default();
        entries.filter_map(|entry| entry.message.as_ref()).for_each(|message| {
            memory.add(message);
        });
        memory
    }
}

impl AddAssign for Memory {
    fn add_assign(&mut self, other: Self) {
        self.bytes += other.bytes;
        self.messages += other.messages;
        self.bodies += other.bodies;
    }
}

impl SubAssign for Memory {
    fn sub_assign(&mut self, other: Self) {
        self.bytes -= other.bytes;
        self.messages -= other.messages;
        self.bodies -= other.bodies;
    }
}

/// Body bytes of what was delivered and is not settled.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Outstanding {
    pub(super) unacked_bytes: u64,
    pub(super) held_bytes: u64,
}

/// Messages that storage keeps for this queue. Bytes may be an estimate after a crash.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Stored {
    messages: u64,
    bytes: u64,
}

impl Stored {
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.messages == 0
    }

    #[inline]
    pub(super) fn add(&mut self, bytes: u64) {
        self.add_many(1, bytes);
    }

    pub(super) fn add_many(&mut self, messages: u64, bytes: u64) {
        self.messages += messages;
        self.bytes += bytes;
    }

    #[inline]
    pub(super) fn remove(&mut self, bytes: u64) {
        *self -= Self { messages: 1, bytes };
    }
}

impl<'a> Sum<&'a Entry> for Stored {
    fn sum<I: Iterator<Item = &'a Entry>>(entries: I) -> Self {
        let mut stored = Self::default();
        entries.filter(|entry| entry.is_stored()).for_each(|entry| stored.add(entry.body_len()));
        stored
    }
}

impl SubAssign for Stored {
    fn sub_assign(&mut self, other: Self) {
        self.messages = self.messages.saturating_sub(other.messages);
        // What is left of an estimate goes with the last message.
        self.bytes = if self.messages == 0 { 0 } else { self.bytes.saturating_sub(other.bytes) };
    }
}

/// What there is in a queue at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Messages by state.
    pub depth: Depth,
    /// Body bytes of what was delivered and is not settled.
    pub unacked_bytes: u64,
    /// Body bytes of what is on its way to consumers that do not acknowledge.
    pub held_bytes: u64,
    /// Dead messages that wait for their way to the dead-letter exchange. They count nowhere else.
    pub dead: u64,
    /// Body bytes of these.
    pub dead_bytes: u64,
    /// Ready messages that are in memory.
    pub ready_in_memory: u64,
    /// Messages in any state that are in memory.
    pub in_memory: u64,
    /// Body bytes of these.
    pub in_memory_bytes: u64,
    /// Messages in any state that storage keeps.
    pub persistent: u64,
    /// Body bytes of these. After a crash it may be an estimate.
    pub persistent_bytes: u64,
    /// About how many bytes of memory its messages and their table take.
    pub memory: u64,
    /// Consumers.
    pub consumers: u32,
    /// The timestamp property of the message that is next, in seconds since 1970, if it has one and is in memory.
    pub head_timestamp: Option<u64>,
}

/// A consumer as the queue has it.
#[derive(Clone, Copy, Debug)]
pub struct ConsumerState<'a, L> {
    /// Its number.
    pub id: ConsumerId,
    /// What it asked for.
    pub spec: &'a ConsumerSpec,
    /// The way to it.
    pub link: &'a L,
    /// What it was given and has not settled.
    pub unacked: u32,
    /// Where only one is given messages at a time: whether it is this one.
    pub single_active: Option<bool>,
}

impl<L: Link> Queue<L> {
    /// What happened in it.
    #[must_use]
    pub fn event_counts(&self) -> Counts {
        Counts { paged_out: self.paging.gone(), ..self.counts }
    }

    /// What there is in it.
    #[must_use]
    pub fn figures(&self) -> Figures {
        let next = self.next_ready().and_then(|position| self.lanes.get(position)?.message.as_ref());
        let timestamp = |message: &Message| Properties::assume_valid(message.raw_properties()).timestamp();
        Figures {
            depth: self.depth,
            unacked_bytes: self.outstanding.unacked_bytes,
            held_bytes: self.outstanding.held_bytes,
            dead: self.deaths.dead(),
            dead_bytes: self.deaths.dead_bytes(),
            ready_in_memory: self.depth.ready.saturating_sub(self.absent()),
            in_memory: self.memory.messages,
            in_memory_bytes: self.memory.bodies,
            persistent: self.stored.messages,
            persistent_bytes: self.stored.bytes,
            memory: self.memory(),
            consumers: self.consumer_count(),
            head_timestamp: next.and_then(timestamp),
        }
    }

    /// All consumers, in the order of their numbers.
    pub fn consumer_states(&self) -> impl Iterator<Item = ConsumerState<'_, L>> {
        self.consumers.states()
    }

    /// Whether a consumer could take a message now.
    #[must_use]
    pub fn has_willing_consumer(&self) -> bool {
        self.consumers.turn().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_stored_messages_there_are_no_stored_bytes() {
        let estimate = || {
            let mut stored = Stored::default();
            stored.add_many(2, 1000);
            stored
        };
        let mut stored = estimate();
        stored.remove(10);
        assert_eq!((stored.messages, stored.bytes), (1, 990));
        stored.remove(10);
        assert_eq!((stored.messages, stored.bytes), (0, 0));
        let mut stored = estimate();
        stored -= Stored { messages: 2, bytes: 20 };
        assert_eq!((stored.messages, stored.bytes), (0, 0));
    }
}
