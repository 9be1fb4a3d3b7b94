//! Publishes of one read, collected so that each queue is locked once.
//!
//! Messages with the same route are kept as one run. When routes alternate, the run is spread over a line for each
//! queue; order within a queue is the order of publishing either way.

use std::collections::HashMap;
use std::sync::Arc;

use crate::broker::queue_cell::{QueueCell, Taken};
use crate::broker::vhost::{Route, RouteScratch, VHost};
use crate::ids::QueueId;
use crate::message::Message;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct PublishBatch {
    route: Option<Arc<Route>>,
    run: Vec<Message>,
    lines: Lines,
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
            self.lines.of(cell).append(&mut self.run);
            return;
        }
        for cell in &route.queues {
            self.lines.of(cell).extend(self.run.iter().cloned());
        }
        self.run.clear();
    }

    /// Hands everything to the queues, and calls `confirm` for each count of publishes to be confirmed with what became
    /// of all. Where a queue may refuse one, that is to be alone.
    pub(super) fn flush(
        &mut self,
        vhost: &VHost,
        scratch: &mut RouteScratch,
        mut confirm: impl FnMut(u16, u64, Taken),
    ) {
        let mut taken = Taken::default();
        if self.lines.is_empty() {
            if let Some(route) = self.route.take() {
                taken = publish_run(vhost, scratch, &route.queues, &mut self.run);
                // The next read probably goes the same way.
                self.route = Some(route);
            }
        } else {
            self.spread();
            for (cell, mut line) in std::mem::take(&mut self.lines).lines {
                taken = taken.and(publish_run(vhost, scratch, std::slice::from_ref(&cell), &mut line));
            }
        }
        for (channel, count) in self.confirms.drain(..) {
            confirm(channel, count, taken);
        }
    }
}

/// Lines that are searched one by one; more have an index.
const FEW_LINES: usize = 16;

/// What goes to each queue, in the order in which the queues were first met.
#[derive(Debug, Default)]
struct Lines {
    lines: Vec<(Arc<QueueCell>, Vec<Message>)>,
    /// Where each queue's line is, once there are more than a few.
    index: HashMap<QueueId, usize, foldhash::fast::RandomState>,
}

impl Lines {
    fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// The line of a queue.
    fn of(&mut self, cell: &Arc<QueueCell>) -> &mut Vec<Message> {
        let known = if self.lines.len() <= FEW_LINES {
            self.lines.iter().rposition(|(known, _)| known.id == cell.id)
        } else {
            self.index.get(&cell.id).copied()
        };
        let at = known.unwrap_or_else(|| self.add(cell));
        &mut self.lines[at].1
    }

    fn add(&mut self, cell: &Arc<QueueCell>) -> usize {
        let at = self.lines.len();
        self.lines.push((cell.clone(), Vec::new()));
        if at == FEW_LINES {
            self.index.extend(self.lines.iter().enumerate().map(|(at, (cell, _))| (cell.id, at)));
        } else if at > FEW_LINES {
            self.index.insert(cell.id, at);
        }
        at
    }
}

/// Publishes `run` to each of `cells` and empties it.
fn publish_run(
    vhost: &VHost,
    scratch: &mut RouteScratch,
    cells: &[Arc<QueueCell>],
    run: &mut Vec<Message>,
) -> Taken {
    if run.is_empty() {
        return Taken::default();
    }
    let [cell] = cells else {
        // A queue of several that is gone was deleted after this publish, as far as anyone can tell.
        let publish = |cell: &Arc<QueueCell>| cell.publish(run.iter().cloned()).unwrap_or_default();
        let taken = cells.iter().map(publish).fold(Taken::default(), Taken::and);
        run.clear();
        return taken;
    };
    if let Ok(taken) = cell.publish_all(run) {
        return taken;
    }
    run.drain(..).map(|message| route_again(vhost, scratch, &message)).fold(Taken::default(), Taken::and)
}

/// The only queue a message was for is gone; it may exist again under its name.
fn route_again(vhost: &VHost, scratch: &mut RouteScratch, message: &Message) -> Taken {
    // One that is gone by now takes nothing.
    let publish = |cell: &Arc<QueueCell>| cell.publish(std::iter::once(message.clone())).unwrap_or_default();
    vhost.route_of(message, scratch).queues.iter().map(publish).fold(Taken::default(), Taken::and)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::Broker;
    use crate::broker::options::BrokerOptions;
    use crate::broker::outlet::Outlet;
    use crate::broker::queue_cell::GetResult;
    use crate::broker::vhost::QueueDeclare;
    use crate::ids::ConnectionId;
    use crate::message::{Body, MessageBuilder};
    use crate::protocol::properties::Properties;

    fn vhost() -> Arc<VHost> {
        let broker = Broker::new(BrokerOptions::default());
        let user = broker.users.login("guest", b"guest", true).unwrap();
        broker.open_vhost("/", &user).unwrap()
    }

    fn queues(vhost: &VHost, count: usize) -> Vec<Arc<QueueCell>> {
        let declare = |number: usize| {
            let request = QueueDeclare { name: &number.to_string(), ..Default::default() };
            vhost.declare_queue(request, ConnectionId(1)).unwrap().cell
        };
        (0..count).map(declare).collect()
    }

    fn message(body: &[u8]) -> Message {
        MessageBuilder::default().build("", "q", Properties::parse(&[0, 0]).unwrap(), Body::Borrowed(body))
    }

    #[test]
    fn a_queue_has_one_line_however_many_there_are() {
        let cells = queues(&vhost(), 3 * FEW_LINES);
        let mut lines = Lines::default();
        for round in 1..=3 {
            for (number, cell) in cells.iter().enumerate() {
                let line = lines.of(cell);
                line.push(message(b""));
                assert_eq!(line.len(), round);
                // Few are searched, many are looked up.
                let indexed = if lines.lines.len() > FEW_LINES { lines.lines.len() } else { 0 };
                assert_eq!((lines.index.len(), lines.lines.len() > number), (indexed, true));
            }
        }
        assert!(lines.lines.iter().zip(&cells).all(|((line, _), cell)| Arc::ptr_eq(line, cell)));
    }

    #[test]
    fn routes_that_alternate_keep_the_order_in_every_queue() {
        let vhost = vhost();
        let cells = queues(&vhost, 2 * FEW_LINES);
        let all = Arc::new(Route { queues: cells.clone().into() });
        let half = Arc::new(Route { queues: cells[FEW_LINES..].into() });
        let (mut batch, mut scratch) = (PublishBatch::default(), RouteScratch::default());
        for number in 0..20_u8 {
            batch.add(if number % 2 == 0 { &all } else { &half }, message(&[number]));
        }
        batch.flush(&vhost, &mut scratch, |_, _, _| {});
        assert!(batch.is_empty());
        for (at, cell) in cells.iter().enumerate() {
            let step = if at < FEW_LINES { 2 } else { 1 };
            for number in (0..20_u8).step_by(step) {
                let GetResult::Got(got) = cell.get(true, &Outlet::new()) else {
                    panic!("message {number} is missing")
                };
                assert_eq!(got.message.body(), [number]);
            }
            assert!(matches!(cell.get(true, &Outlet::new()), GetResult::Empty));
        }
    }
}
