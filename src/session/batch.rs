//! Publishes of one read, collected so that each queue is locked once.
//!
//! Messages with the same route are kept as one run. When routes alternate, the run is spread over a line for each
//! queue; order within a queue is the order of publishing either way.

use std::sync::Arc;

use crate::broker::queue_cell::{Gone, QueueCell};
use crate::broker::vhost::{Route, RouteScratch, VHost};
use crate::ids::Lsn;
use crate::message::Message;
use crate::protocol::properties::Properties;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct PublishBatch {
    route: Option<Arc<Route>>,
    run: Vec<Message>,
    lines: Vec<(Arc<QueueCell>, Vec<Message>)>,
    /// Publishes on channels in confirm mode, in order: channel and how many in a row.
    confirms: Vec<(u16, u64)>,
}

impl PublishBatch {
    pub(super) fn is_empty(&self) -> bool {
        self.run.is_empty() && self.lines.is_empty() && self.confirms.is_empty()
    }

    /// Adds a message that goes to at least one queue.
    #[inline]
    pub(super) fn add(&mut self, route: &Arc<Route>, message: Message) {
        let same = self.route.as_ref().is_some_and(|run| Arc::ptr_eq(run, route));
        if !same {
            self.spread();
            self.route = Some(route.clone());
        }
        self.run.push(message);
    }

    /// Counts a publish on a channel in confirm mode.
    #[inline]
    pub(super) fn count_confirm(&mut self, channel: u16) {
        match self.confirms.last_mut() {
            Some((last, count)) if *last == channel => *count += 1,
            _ => self.confirms.push((channel, 1)),
        }
    }

    /// Moves the run into the lines of its queues.
    fn spread(&mut self) {
        let Some(route) = self.route.take() else { return };
        if let [cell] = &*route.queues {
            let at = line_of(&mut self.lines, cell);
            self.lines[at].1.append(&mut self.run);
            return;
        }
        for cell in &route.queues {
            let at = line_of(&mut self.lines, cell);
            self.lines[at].1.extend(self.run.iter().cloned());
        }
        self.run.clear();
    }

    /// Hands everything to the queues. Returns the journal position after which it is safe, and calls `confirm` for
    /// each count of publishes to be confirmed then.
    pub(super) fn flush(
        &mut self,
        vhost: &VHost,
        scratch: &mut RouteScratch,
        mut confirm: impl FnMut(u16, u64, Lsn),
    ) {
        let mut safe = Lsn::ZERO;
        if self.lines.is_empty() {
            if let Some(route) = self.route.take() {
                safe = publish_run(vhost, scratch, &route.queues, &mut self.run);
                // The next read probably goes the same way.
                self.route = Some(route);
            }
        } else {
            self.spread();
            for (cell, mut line) in self.lines.drain(..) {
                safe = safe.max(publish_run(vhost, scratch, std::slice::from_ref(&cell), &mut line));
            }
        }
        for (channel, count) in self.confirms.drain(..) {
            confirm(channel, count, safe);
        }
    }
}

fn line_of(lines: &mut Vec<(Arc<QueueCell>, Vec<Message>)>, cell: &Arc<QueueCell>) -> usize {
    match lines.iter().rposition(|(known, _)| Arc::ptr_eq(known, cell)) {
        Some(at) => at,
        None => {
            lines.push((cell.clone(), Vec::new()));
            lines.len() - 1
        }
    }
}

/// Publishes `run` to each of `cells` and empties it.
fn publish_run(
    vhost: &VHost,
    scratch: &mut RouteScratch,
    cells: &[Arc<QueueCell>],
    run: &mut Vec<Message>,
) -> Lsn {
    if run.is_empty() {
        return Lsn::ZERO;
    }
    let [cell] = cells else {
        // A queue of several that is gone was deleted after this publish, as far as anyone can tell.
        let publish = |cell: &Arc<QueueCell>| cell.publish(run.iter().cloned()).unwrap_or(Lsn::ZERO);
        let safe = cells.iter().map(publish).max().unwrap_or(Lsn::ZERO);
        run.clear();
        return safe;
    };
    if let Ok(safe) = cell.publish_all(run) {
        return safe;
    }
    run.drain(..).map(|message| route_again(vhost, scratch, &message)).max().unwrap_or(Lsn::ZERO)
}

/// The only queue a message was for is gone; it may exist again under its name.
fn route_again(vhost: &VHost, scratch: &mut RouteScratch, message: &Message) -> Lsn {
    let properties = Properties::assume_valid(message.raw_properties());
    let Ok(routed) = vhost.route(message.exchange(), message.routing_key(), properties.headers(), scratch)
    else {
        return Lsn::ZERO;
    };
    let publish = |cell: &Arc<QueueCell>| match cell.publish(std::iter::once(message.clone())) {
        Ok(safe) => safe,
        Err(Gone) => Lsn::ZERO,
    };
    routed.route.queues.iter().map(publish).max().unwrap_or(Lsn::ZERO)
}
