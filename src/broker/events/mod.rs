//! What happens in the broker, as messages: each event is published to the exchange [`EXCHANGE`] of the default vhost, as
//! RabbitMQ's plugin rabbitmq_event_exchange does.
//!
//! While that exchange leads nowhere an event costs a load of one flag and is not even made. Else it is made and noted
//! where it happens, also under the lock of what changes, so that events are in the order of the changes; and published
//! when the locks are gone, one thread at a time, before whoever caused it goes on. Publishing changes nothing that would
//! be an event.

mod access;
mod connections;
mod event;
#[cfg(test)]
mod tests;
mod topology;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

pub use connections::{Channel, Connection, Consumer};
pub use event::Event;
pub(in crate::broker) use topology::NewQueue;

use crate::broker::vhost::{RouteScratch, VHost};
use crate::ids::ConnectionId;
use crate::lock::{Rank, RankedMutex};
use crate::message::MessageBuilder;
use crate::time::Clock;

/// The exchange that events are published to: of type topic, durable, and internal.
pub const EXCHANGE: &str = "amq.rabbitmq.event";

/// Who did it, if it was nobody: the end of something that something else belonged to, or time.
pub const INTERNAL: &str = "rmq-internal";

/// Who did it, if it was somebody at the control socket.
pub const CLI: &str = "rmq-cli";

/// Who does something to exchanges, queues and bindings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Actor<'a> {
    /// The connection, which may have exclusive queues.
    pub connection: ConnectionId,
    /// The user's name, or a word of RabbitMQ's for who is none, such as [`INTERNAL`].
    pub user: &'a str,
}

impl From<ConnectionId> for Actor<'_> {
    /// A connection whose user does not matter.
    fn from(connection: ConnectionId) -> Self {
        Self { connection, user: INTERNAL }
    }
}

/// See the module.
#[derive(Debug)]
pub struct Events {
    /// The exchange leads somewhere.
    wanted: AtomicBool,
    /// Events are published at all.
    enabled: bool,
    /// The name of the vhost that has the exchange.
    vhost: String,
    /// What RabbitMQ calls the node.
    node: String,
    /// When the broker started, in milliseconds since 1970.
    started: u64,
    clock: Clock,
    /// How many events are noted and not published. It is written without the lock.
    waiting: AtomicUsize,
    noted: RankedMutex<Vec<Noted>>,
    /// The vhost that has the exchange, as long as there is one.
    home: RankedMutex<Weak<VHost>>,
    /// Held by whoever publishes.
    publishing: RankedMutex<Press>,
}

/// An event and when it was, in milliseconds since 1970.
#[derive(Debug)]
struct Noted {
    event: Event,
    at: u64,
}

/// What events are published with.
#[derive(Debug, Default)]
struct Press {
    builder: MessageBuilder,
    scratch: RouteScratch,
}

impl Events {
    /// Events of a broker whose node and default vhost are called so. If not `enabled` there are none.
    #[must_use]
    pub fn new(node: &str, vhost: &str, enabled: bool, clock: Clock) -> Self {
        Self {
            wanted: AtomicBool::new(false),
            enabled,
            vhost: vhost.to_owned(),
            node: node.to_owned(),
            started: clock.unix_ms(),
            clock,
            waiting: AtomicUsize::new(0),
            noted: RankedMutex::new(Rank::Outlet, Vec::new()),
            home: RankedMutex::new(Rank::Outlet, Weak::new()),
            publishing: RankedMutex::new(Rank::Events, Press::default()),
        }
    }

    /// Whether a vhost of this name has the exchange.
    pub(super) fn are_in(&self, vhost: &str) -> bool {
        self.enabled && self.vhost == vhost
    }

    /// Names the vhost that has the exchange. Any lock but a leaf may be held.
    pub(super) fn set_home(&self, vhost: &Arc<VHost>) {
        *self.home.lock() = Arc::downgrade(vhost);
    }

    /// Whether anybody gets them from now on.
    pub(super) fn set_wanted(&self, wanted: bool) {
        self.wanted.store(self.enabled && wanted, Ordering::Relaxed);
    }

    /// Whether anybody gets them.
    #[inline]
    #[must_use]
    pub fn are_wanted(&self) -> bool {
        self.wanted.load(Ordering::Relaxed)
    }

    /// What RabbitMQ calls the node.
    #[must_use]
    pub fn node(&self) -> &str {
        &self.node
    }

    /// Notes that something has happened, unless nobody wants to know. Any lock but a leaf may be held. It is published
    /// by [`publish`](Self::publish) or [`after`](Self::after).
    #[inline]
    pub fn note(&self, event: impl FnOnce() -> Event) {
        if self.are_wanted() {
            self.keep(event());
        }
    }

    fn keep(&self, event: Event) {
        let at = self.clock.unix_ms();
        // Counted first, so that whoever has noted something does not take it for published.
        self.waiting.fetch_add(1, Ordering::AcqRel);
        self.noted.lock().push(Noted { event, at });
    }

    /// As [`note`](Self::note) and [`publish`](Self::publish) together: no lock is held.
    #[inline]
    pub fn tell(&self, event: impl FnOnce() -> Event) {
        if self.are_wanted() {
            self.keep(event());
            self.publish();
        }
    }

    /// Has all that is noted be published when what this gives is dropped. Call it before the first lock is taken, so
    /// that none is held then.
    #[must_use]
    pub fn after(&self) -> After<'_> {
        After(self)
    }

    /// Publishes what is noted, or waits for whoever does. No lock is held.
    #[inline]
    pub fn publish(&self) {
        if self.waiting.load(Ordering::Acquire) > 0 {
            self.publish_noted();
        }
    }

    fn publish_noted(&self) {
        let mut press = self.publishing.lock();
        let noted = std::mem::take(&mut *self.noted.lock());
        let count = noted.len();
        let vhost = self.home.lock().upgrade();
        if let Some(vhost) = &vhost {
            noted.into_iter().for_each(|noted| press.publish(vhost, noted));
        }
        self.waiting.fetch_sub(count, Ordering::AcqRel);
        drop(press);
        // An event may have made another message of its queue die.
        vhost.iter().for_each(|vhost| vhost.move_letters());
    }
}

impl Press {
    fn publish(&mut self, vhost: &VHost, Noted { event, at }: Noted) {
        let key = event.key();
        self.builder.set_time(at);
        let message = event.into_message(at, &mut self.builder);
        for cell in vhost.event_route(key, &message, &mut self.scratch) {
            // One that is gone meanwhile gets none.
            let _ = cell.publish(std::iter::once(message.clone()));
        }
    }
}

/// See [`Events::after`].
#[derive(Debug)]
pub struct After<'a>(&'a Events);

impl Drop for After<'_> {
    fn drop(&mut self) {
        // Whoever comes next publishes what a panic leaves behind.
        if !std::thread::panicking() {
            self.0.publish();
        }
    }
}
