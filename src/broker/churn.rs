//! How often things came and went since the start.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that anybody may raise. For what does not happen for every message.
#[derive(Debug, Default)]
pub struct Tick(AtomicU64);

impl Tick {
    /// One more.
    pub fn count(&self) {
        self.add(1);
    }

    /// So many more.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// How many there were.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn forget(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

/// How many connections, channels and queues there ever were since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Churn {
    /// Connections that opened a vhost.
    pub connections_opened: u64,
    /// How many of them have ended.
    pub connections_closed: u64,
    /// Channels that were opened.
    pub channels_opened: u64,
    /// How many of them have ended.
    pub channels_closed: u64,
    /// Declarations of queues that were successful, also of queues that existed.
    pub queues_declared: u64,
    /// Queues that were made by one.
    pub queues_created: u64,
    /// Queues that were deleted, in whichever way.
    pub queues_deleted: u64,
}

/// By what somebody tries to log in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginProtocol {
    /// A connection's handshake.
    Amqp091,
    /// The management API.
    Http,
}

impl LoginProtocol {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Amqp091, Self::Http];

    /// RabbitMQ's word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Amqp091 => "amqp091",
            Self::Http => "http",
        }
    }
}

/// Attempts to log in.
#[derive(Debug, Default)]
pub struct LoginAttempts([Outcomes; LoginProtocol::ALL.len()]);

#[derive(Debug, Default)]
struct Outcomes {
    succeeded: Tick,
    failed: Tick,
}

impl LoginAttempts {
    /// Somebody tried.
    pub fn note(&self, protocol: LoginProtocol, succeeded: bool) {
        let outcomes = &self.0[protocol as usize];
        if succeeded { outcomes.succeeded.count() } else { outcomes.failed.count() }
    }

    /// Begins anew.
    pub fn forget(&self) {
        self.0.iter().flat_map(|outcomes| [&outcomes.succeeded, &outcomes.failed]).for_each(Tick::forget);
    }

    /// How many attempts succeeded and how many failed.
    #[must_use]
    pub fn of(&self, protocol: LoginProtocol) -> (u64, u64) {
        let outcomes = &self.0[protocol as usize];
        (outcomes.succeeded.get(), outcomes.failed.get())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_are_told_apart() {
        let attempts = LoginAttempts::default();
        attempts.note(LoginProtocol::Amqp091, true);
        attempts.note(LoginProtocol::Http, false);
        attempts.note(LoginProtocol::Http, false);
        assert_eq!(LoginProtocol::ALL.map(|protocol| attempts.of(protocol)), [(1, 0), (0, 2)]);
        attempts.forget();
        assert_eq!(LoginProtocol::ALL.map(|protocol| attempts.of(protocol)), [(0, 0), (0, 0)]);
    }
}
