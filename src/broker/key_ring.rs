//! The keys of access tokens that a thread of the server fetches.
//!
//! A token whose key is unknown may be signed with a new one. Who waits for it leaves a job, which is done after the next
//! fetch. Fetches have a least distance; between them unknown keys are just unknown, so that nobody can make this broker
//! ask as often as they like.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::identity::oauth::KeySet;

/// What becomes of the keys that were fetched when others say how tokens are judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fetched {
    /// They stay, and whoever fetches them goes on.
    Stay,
    /// They stay until somebody else has fetched them, from the same place.
    StayForNow,
    /// They go: others come from another place, or none do.
    Go,
}

/// What is to be done after a fetch. It must not block for long.
pub type Job = Box<dyn FnOnce() + Send>;

/// Most jobs that wait for a fetch. Each is a login.
const MOST_WAITING: usize = 1024;

/// See the module.
pub struct KeyRing {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    fetched: Arc<KeySet>,
    phase: Phase,
    waiting: Vec<Job>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Nobody fetches keys, or nobody does any more.
    Closed,
    /// Keys are fetched, or will be at once.
    Fetching,
    /// They were just fetched.
    Resting,
    /// They will be fetched when somebody asks, or after a while.
    Idle,
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyRing").field("phase", &self.state.lock().phase).finish_non_exhaustive()
    }
}

impl KeyRing {
    /// None yet, and if `is_fetched` those that a thread will put here, which begins by fetching them.
    #[must_use]
    pub fn new(is_fetched: bool) -> Self {
        let phase = if is_fetched { Phase::Fetching } else { Phase::Closed };
        let state = State { fetched: Arc::default(), phase, waiting: Vec::new() };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// One for whoever fetches keys from the same place after this one is closed: it has what is known so far.
    #[must_use]
    pub fn successor(&self) -> Self {
        let next = Self::new(true);
        next.state.lock().fetched = self.fetched();
        next
    }

    /// The keys that were fetched last.
    #[must_use]
    pub fn fetched(&self) -> Arc<KeySet> {
        self.state.lock().fetched.clone()
    }

    /// Has keys fetched, if that was not done just now, and the job done afterwards.
    ///
    /// # Errors
    /// The job, if keys will not be fetched for it.
    pub fn after_fetch(&self, job: Job) -> Result<(), Job> {
        let mut state = self.state.lock();
        match state.phase {
            Phase::Closed | Phase::Resting => return Err(job),
            Phase::Fetching if state.waiting.len() >= MOST_WAITING => return Err(job),
            Phase::Fetching => {}
            Phase::Idle => {
                state.phase = Phase::Fetching;
                self.changed.notify_all();
            }
        }
        state.waiting.push(job);
        Ok(())
    }

    /// Ends a fetch: these are the keys now, or the old ones stay.
    pub fn put(&self, keys: Option<KeySet>) {
        let mut state = self.state.lock();
        if let Some(keys) = keys {
            state.fetched = Arc::new(keys);
        }
        self.end_fetch(state, Phase::Resting);
    }

    /// Nobody fetches keys any more.
    pub fn close(&self) {
        self.end_fetch(self.state.lock(), Phase::Closed);
        self.changed.notify_all();
    }

    fn end_fetch(&self, mut state: parking_lot::MutexGuard<'_, State>, next: Phase) {
        if state.phase != Phase::Closed {
            state.phase = next;
        }
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        for job in waiting {
            job();
        }
    }

    /// After a fetch: sleeps for so long, in which nobody can ask for another one. Returns whether to go on.
    #[must_use]
    pub fn rest(&self, time: Duration) -> bool {
        let mut state = self.state.lock();
        self.changed.wait_while_for(&mut state, |state| state.phase != Phase::Closed, time);
        let is_open = state.phase != Phase::Closed;
        if is_open {
            state.phase = Phase::Idle;
        }
        is_open
    }

    /// Sleeps until somebody asks for keys, but not longer than this. Returns whether to fetch them; else nobody needs
    /// them any more.
    #[must_use]
    pub fn wait(&self, at_most: Duration) -> bool {
        let mut state = self.state.lock();
        self.changed.wait_while_for(&mut state, |state| state.phase == Phase::Idle, at_most);
        let is_open = state.phase != Phase::Closed;
        if is_open {
            state.phase = Phase::Fetching;
        }
        is_open
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// A job that counts, and whether it was taken.
    fn ask(ring: &KeyRing, done: &Arc<AtomicUsize>) -> bool {
        let done = done.clone();
        ring.after_fetch(Box::new(move || {
            done.fetch_add(1, Ordering::Relaxed);
        }))
        .is_ok()
    }

    #[test]
    fn who_asks_is_told_after_the_fetch_and_not_too_often() {
        let (ring, done) = (KeyRing::new(true), Arc::new(AtomicUsize::new(0)));
        assert!(ask(&ring, &done) && ask(&ring, &done), "the first fetch is under way");
        assert_eq!(done.load(Ordering::Relaxed), 0);
        ring.put(None);
        assert_eq!(done.load(Ordering::Relaxed), 2);
        assert!(!ask(&ring, &done), "it was just done");
        assert!(ring.rest(Duration::ZERO));
        assert!(ask(&ring, &done));
        assert!(ring.wait(Duration::from_secs(60)), "somebody asks");
        ring.put(Some(KeySet::default()));
        assert_eq!(done.load(Ordering::Relaxed), 3);
        assert!(ring.rest(Duration::ZERO) && ring.wait(Duration::ZERO), "it is time again");
        assert!(ask(&ring, &done));
        ring.close();
        assert_eq!(done.load(Ordering::Relaxed), 4, "nobody waits for ever");
        ring.put(None);
        assert!(
            !ring.rest(Duration::from_secs(60)) && !ring.wait(Duration::from_secs(60)) && !ask(&ring, &done)
        );
    }

    #[test]
    fn jobs_have_a_bound() {
        let (ring, done) = (KeyRing::new(true), Arc::new(AtomicUsize::new(0)));
        assert!((0..MOST_WAITING).all(|_| ask(&ring, &done)) && !ask(&ring, &done));
    }

    #[test]
    fn without_a_source_nobody_waits() {
        assert!(!ask(&KeyRing::new(false), &Arc::default()));
    }
}
