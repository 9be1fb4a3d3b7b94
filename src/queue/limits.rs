//! What a queue drops by itself: messages over their time and messages it has no room for; and when it is to look again.

use super::{Depth, Link, Queue};
use crate::deaths::Reason;
use crate::ids::Position;
use crate::message::Message;
use crate::queue::arguments::QueueKind;
use crate::queue::rules::{Overflow, Rules};

/// Messages that are dropped under one lock.
pub(super) const DROPS_AT_ONCE: usize = 4096;

impl Rules {
    /// When the message is over its time here, in milliseconds since 1970.
    #[must_use]
    pub fn deadline(&self, message: &Message) -> Option<u64> {
        let lifetime = message.lifetime().into_iter().chain(self.message_ttl).min()?;
        Some(message.published_at().saturating_add(lifetime))
    }

    /// Whether the number of ready messages is limited.
    #[inline]
    pub(super) fn is_limited(&self) -> bool {
        self.max_length.is_some() || self.max_length_bytes.is_some()
    }

    fn is_over(&self, messages: u64, bytes: u64) -> bool {
        self.max_length.is_some_and(|max| messages > max)
            || self.max_length_bytes.is_some_and(|max| bytes > max)
    }
}

impl<L: Link> Queue<L> {
    /// Whether there may be messages with a deadline.
    #[inline]
    pub(super) fn may_expire(&self) -> bool {
        self.has_lifetimes || self.rules.message_ttl.is_some()
    }

    /// Whether messages are kept whatever their delivery mode says: those of quorum queues.
    #[inline]
    #[must_use]
    pub fn keeps_all(&self) -> bool {
        self.traits.kind == QueueKind::Quorum
    }

    /// Whether more is to be dropped than was at once.
    #[inline]
    #[must_use]
    pub fn is_unfinished(&self) -> bool {
        self.unfinished
    }

    /// Whether it has to know the time.
    #[inline]
    #[must_use]
    pub fn needs_time(&self) -> bool {
        self.may_expire() || self.rules.expires.is_some()
    }

    /// Whether a message of so many bytes is refused now. Call [`deliver`](Self::deliver) before, so that who waits for
    /// messages has them.
    #[must_use]
    pub fn refuses(&self, bytes: u64) -> bool {
        self.refuses_more(1, bytes)
    }

    /// Whether so many messages, of so many bytes together, are refused now.
    #[must_use]
    pub fn refuses_more(&self, messages: u64, bytes: u64) -> bool {
        if self.rules.overflow == Overflow::DropHead {
            return false;
        }
        let Depth { ready, ready_bytes, .. } = self.depth;
        // As in RabbitMQ what stays until it is taken needs room like what is ready.
        let stays = self.rules.dead_letters.as_ref().is_some_and(|letters| letters.at_least_once);
        let (dead, dead_bytes) = if stays { (self.deaths.dead(), self.deaths.dead_bytes()) } else { (0, 0) };
        self.rules.is_over(ready + dead + messages, ready_bytes + dead_bytes + bytes)
    }

    /// The message at `position`, which is next, is over its time.
    pub(super) fn expire(&mut self, position: Position) {
        self.kill(position, Reason::Expired);
    }

    /// Drops from the front what is too much, and then what is over its time, up to `drops` messages.
    ///
    /// As in RabbitMQ only the front is looked at: a message behind one that has more time is kept, and counted. One that
    /// is both too much and over its time died for lack of room there too.
    pub(super) fn drop_surplus(&mut self, now: u64, mut drops: usize) {
        self.unfinished = !self.drop_excess(&mut drops) || !self.drop_expired(now, &mut drops);
    }

    /// As [`drop_surplus`](Self::drop_surplus), and then whatever else at the front is over its time and in memory: who
    /// asks for a message gets none that is.
    pub(super) fn drop_before_get(&mut self, now: u64) {
        self.drop_surplus(now, DROPS_AT_ONCE);
        if self.unfinished {
            let mut all = usize::MAX;
            self.drop_expired(now, &mut all);
            self.unfinished = self.has_excess();
        }
    }

    fn has_excess(&self) -> bool {
        self.rules.overflow == Overflow::DropHead
            && self.rules.is_over(self.depth.ready, self.depth.ready_bytes)
    }

    /// Drops what is too much. Returns whether that is all of it that can be dropped now.
    fn drop_excess(&mut self, drops: &mut usize) -> bool {
        while self.has_excess()
            && let Some(position) = self.next_ready()
        {
            if self.lanes.get(position).is_none() {
                // How long it is has to be read.
                self.paging.want();
                return true;
            }
            if *drops == 0 {
                return false;
            }
            *drops -= 1;
            self.kill(position, Reason::MaxLen);
        }
        true
    }

    /// Drops from the front what is over its time. Returns whether that is all of it that can be dropped now.
    fn drop_expired(&mut self, now: u64, drops: &mut usize) -> bool {
        while self.front_deadline().is_some_and(|deadline| deadline <= now)
            && let Some(position) = self.next_ready()
        {
            if *drops == 0 {
                return false;
            }
            *drops -= 1;
            self.expire(position);
        }
        true
    }

    /// The deadline of the next message, if that is in memory. Otherwise it is asked for.
    fn front_deadline(&mut self) -> Option<u64> {
        if !self.may_expire() {
            return None;
        }
        let position = self.next_ready()?;
        let Some(message) = self.lanes.get(position).and_then(|entry| entry.message.as_ref()) else {
            self.paging.want();
            return None;
        };
        self.rules.deadline(message)
    }

    /// The queue was used, which puts off its end by [`Rules::expires`].
    pub fn touch(&mut self, now: u64) {
        self.used_at = now;
    }

    /// Whether it was not used for as long as [`Rules::expires`] says.
    #[must_use]
    pub fn is_expired(&self, now: u64) -> bool {
        self.expires_at().is_some_and(|at| at <= now)
    }

    fn expires_at(&self) -> Option<u64> {
        let expires = self.rules.expires.filter(|_| self.consumers.count() == 0)?;
        Some(self.used_at.saturating_add(expires))
    }

    /// When the queue has to be looked at again, in milliseconds since 1970: to drop what is over its time, or the queue
    /// itself. Zero if there is something to be done at once.
    #[must_use]
    pub fn next_deadline(&mut self) -> Option<u64> {
        if self.unfinished {
            return Some(0);
        }
        self.front_deadline().into_iter().chain(self.expires_at()).min()
    }
}
