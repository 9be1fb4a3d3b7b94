//! Alarms: while one is on, connections that publish are blocked; consumers go on.

use std::sync::atomic::{AtomicBool, Ordering};

/// The state of all alarms.
#[derive(Debug, Default)]
pub struct Alarms {
    memory: AtomicBool,
}

impl Alarms {
    /// Why publishers are blocked now, in RabbitMQ's words, if they are.
    #[must_use]
    pub fn reason(&self) -> Option<&'static str> {
        self.memory.load(Ordering::Acquire).then_some("low on memory")
    }

    /// Sets the memory alarm. Returns whether that changed it; then the connections have to be woken.
    pub(super) fn set_memory(&self, on: bool) -> bool {
        self.memory.swap(on, Ordering::AcqRel) != on
    }
}
