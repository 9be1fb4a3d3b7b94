//! What one message reaches, and the memory that finding it out needs.

use super::binding::{ExchangeId, Target};
use super::{headers, topic};

/// Working memory of [`Router::route`](super::Router::route), kept by the caller and used again: once it has grown
/// to the largest route, routing allocates nothing. It may serve several routers, one at a time.
#[derive(Debug)]
pub struct Scratch<Q> {
    pub(super) reached: Reached<Q>,
    pub(super) topic: topic::Walk,
    pub(super) headers: headers::Trial,
}

impl<Q> Scratch<Q> {
    /// Empty; allocates when it is first used.
    #[must_use]
    pub fn new() -> Self {
        Self {
            reached: Reached::default(),
            topic: topic::Walk::default(),
            headers: headers::Trial::default(),
        }
    }
}

impl<Q> Default for Scratch<Q> {
    fn default() -> Self {
        Self::new()
    }
}

/// The queues found so far, and the exchanges still to be asked. An exchange is asked once, however many ways lead
/// to it, so that cycles end.
#[derive(Debug)]
pub(super) struct Reached<Q> {
    queues: Vec<Q>,
    pending: Vec<ExchangeId>,
    /// By exchange: the last message (by its number) that came there.
    visited: Vec<u32>,
    message: u32,
}

impl<Q> Default for Reached<Q> {
    fn default() -> Self {
        Self { queues: Vec::new(), pending: Vec::new(), visited: Vec::new(), message: 0 }
    }
}

impl<Q: Copy + Ord> Reached<Q> {
    /// Forgets the last message. All exchange ids are under `exchanges`.
    pub(super) fn begin(&mut self, exchanges: usize) {
        self.queues.clear();
        self.pending.clear();
        if self.visited.len() < exchanges {
            self.visited.resize(exchanges, 0);
        }
        self.message = self.message.wrapping_add(1);
        if self.message == 0 {
            self.visited.fill(0);
            self.message = 1;
        }
    }

    #[inline]
    pub(super) fn add(&mut self, target: Target<Q>) {
        match target {
            Target::Queue(queue) => self.queues.push(queue),
            Target::Exchange(exchange) => self.visit(exchange),
        }
    }

    /// Has this exchange asked, unless it was already.
    pub(super) fn visit(&mut self, exchange: ExchangeId) {
        if let Some(last) = self.visited.get_mut(exchange.0 as usize)
            && *last != self.message
        {
            *last = self.message;
            self.pending.push(exchange);
        }
    }

    /// The next exchange to ask.
    pub(super) fn next(&mut self) -> Option<ExchangeId> {
        self.pending.pop()
    }

    /// The queues, each once, in order. One exchange alone gives them nearly sorted, so this is cheap.
    pub(super) fn queues(&mut self) -> &[Q] {
        if self.queues.len() > 1 {
            self.queues.sort_unstable();
            self.queues.dedup();
        }
        &self.queues
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_queue_and_each_exchange_comes_once() {
        let mut reached = Reached::default();
        reached.begin(2);
        for queue in [5, 1, 5] {
            reached.add(Target::Queue(queue));
        }
        reached.visit(ExchangeId(1));
        reached.add(Target::Exchange(ExchangeId(1)));
        assert_eq!(reached.next(), Some(ExchangeId(1)));
        reached.visit(ExchangeId(1));
        assert_eq!(reached.next(), None);
        assert_eq!(reached.queues(), [1, 5]);
    }

    #[test]
    fn the_message_number_may_wrap() {
        let mut reached = Reached::<u8> { message: u32::MAX, visited: vec![1], ..Reached::default() };
        reached.begin(1);
        reached.visit(ExchangeId(0));
        assert_eq!(reached.next(), Some(ExchangeId(0)));
    }
}
