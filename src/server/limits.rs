//! The limits that new connections get, replaceable while the server runs.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::session::limits::SessionLimits;

/// A handle on the limits; clones share them.
#[derive(Clone, Debug)]
pub struct SharedLimits(Arc<Mutex<Arc<SessionLimits>>>);

impl SharedLimits {
    /// Starts with `limits`.
    #[must_use]
    pub fn new(limits: SessionLimits) -> Self {
        Self(Arc::new(Mutex::new(Arc::new(limits))))
    }

    /// What a connection accepted now gets.
    #[must_use]
    pub fn current(&self) -> Arc<SessionLimits> {
        self.0.lock().clone()
    }

    /// Sets the limits of connections accepted from now on.
    pub fn replace(&self, limits: SessionLimits) {
        *self.0.lock() = Arc::new(limits);
    }
}
