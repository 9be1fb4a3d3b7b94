//! Publishes of one read, collected so that each queue is locked once.
//!
//! Messages that go the same way are kept as one run, whatever their keys are. When ways alternate, the run is spread over a
//! line for each queue; order within a queue is the order of publishing either way.

use std::collections::HashMap;
use std::sync::Arc;

use crate::broker::exchange_counts::ExchangeCounts;
use crate::broker::queue_cell::{QueueCell, Taken};
use crate::broker::vhost::{Route, RouteScratch, VHost};
use crate::ids::QueueId;
use crate::message::Message;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct PublishBatch {
    route: Option<Arc<Route>>,
    run: Vec<Message>,
    /// The channel of the last messages of the run, and how many they are.
    last: (u16, u64),
    /// Those before, to be counted.
    groups: Vec<Group>,
    lines: Lines,
    /// Publishes on channels in confirm mode, in order: channel and how many in a row.
    confirms: Vec<(u16, u64)>,
    /// There are publishes that may be refused, and that nobody is told of.
    may_refuse: bool,
}

/// Publishes of one channel to one exchange.
#[derive(Debug)]
struct Group {
    channel: u16,
    exchange: Arc<ExchangeCounts>,
    count: u64,
    /// Messages times the queues that they go to.
    routed: u64,
}

/// Groups that are looked through for the one that more belongs to, last ones first.
const NEAR: usize = 16;

/// Counts publishes along one route. Routes of one exchange have one group, so that what connections share is written
/// once for a batch, however many keys it has.
fn gather(groups: &mut Vec<Group>, channel: u16, count: u64, route: &Route) {
    let routed = count * route.queues.len() as u64;
    let belongs =
        |group: &&mut Group| group.channel == channel && Arc::ptr_eq(&group.exchange, &route.exchange);
    if let Some(group) = groups.iter_mut().rev().take(NEAR).find(belongs) {
        group.count += count;
        group.routed += routed;
    } else {
        groups.push(Group { channel, exchange: route.exchange.clone(), count, routed });
    }
}

impl PublishBatch {
    pub(super) fn is_empty(&self) -> bool {
        self.run.is_empty() && self.lines.is_empty() && self.confirms.is_empty() && self.groups.is_empty()
    }

    /// Adds a message that goes to at least one queue.
    #[inline]
    pub(super) fn add(&mut self, channel: u16, route: &Arc<Route>, message: Message) {
        let same = self.route.as_ref().is_some_and(|run| Arc::ptr_eq(run, route) || run.leads_as(route));
        if !same {
            self.spread();
            self.end_group();
            self.route = Some(route.clone());
            self.last.0 = channel;
        } else if self.last.0 != channel {
            self.end_group();
            self.last.0 = channel;
        }
        self.last.1 += 1;
        self.run.push(message);
    }

    /// Adds a message on the same channel and route as the last one.
    #[inline]
    pub(super) fn add_alike(&mut self, message: Message) {
        self.last.1 += 1;
        self.run.push(message);
    }

    /// Counts a message that is not added: it goes nowhere, or is part of a transaction.
    pub(super) fn count_alone(&mut self, channel: u16, route: &Arc<Route>) {
        gather(&mut self.groups, channel, 1, route);
    }

    /// Counts the last messages of the run with those before.
    fn end_group(&mut self) {
        let (channel, count) = (self.last.0, std::mem::take(&mut self.last.1));
        if count > 0
            && let Some(route) = &self.route
        {
            gather(&mut self.groups, channel, count, route);
        }
    }

    /// Tells how many messages each channel has published to which exchange since the last call, and how often one of them
    /// goes to a queue.
    pub(super) fn count(&mut self, mut each: impl FnMut(u16, (u64, u64), &Arc<ExchangeCounts>)) {
        if self.groups.is_empty()
            && let Some(route) = &self.route
        {
            // Most batches go one way.
            let (channel, count) = (self.last.0, std::mem::take(&mut self.last.1));
            if count > 0 {
                each(channel, (count, count * route.queues.len() as u64), &route.exchange);
            }
            return;
        }
        self.end_group();
        self.groups
            .drain(..)
            .for_each(|group| each(group.channel, (group.count, group.routed), &group.exchange));
    }

    /// Counts publishes on a channel in confirm mode.
    #[inline]
    pub(super) fn count_confirms(&mut self, channel: u16, more: u64) {
        match self.confirms.last_mut() {
            Some((last, count)) if *last == channel => *count += more,
            _ => self.confirms.push((channel, more)),
        }
    }

    /// Whether a publish has to wait until those before it are with their queues: what is refused is told to all that are
    /// to be confirmed with it. `confirms` says that this is one of them, `may_refuse` that it may be refused.
    #[inline]
    pub(super) fn has_to_wait(&self, confirms: bool, may_refuse: bool) -> bool {
        confirms && self.may_refuse || may_refuse && !self.confirms.is_empty()
    }

    /// Notes that a publish may be refused that is not to be confirmed.
    #[inline]
    pub(super) fn note_may_refuse(&mut self) {
        self.may_refuse = true;
    }

    /// Moves the run into the lines of its queues.
    fn spread(&mut self) {
        let Self { route: Some(route), run, lines, .. } = self else { return };
        if let [cell] = &*route.queues {
            lines.of(cell).append(run);
            return;
        }
        for cell in &route.queues {
            lines.of(cell).extend(run.iter().cloned());
        }
        run.clear();
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
            self.route = None;
            for (cell, mut line) in std::mem::take(&mut self.lines).lines {
                taken = taken.and(publish_run(vhost, scratch, std::slice::from_ref(&cell), &mut line));
            }
        }
        self.may_refuse = false;
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

    fn counts(batch: &mut PublishBatch) -> Vec<(u16, u64, u64)> {
        let mut counts = Vec::new();
        batch.count(|channel, (count, routed), _| counts.push((channel, count, routed)));
        counts
    }

    #[test]
    fn publishes_are_counted_for_each_channel_and_exchange() {
        let cells = queues(&vhost(), 3);
        let route = |cells: &[Arc<QueueCell>], exchange: &Arc<ExchangeCounts>| {
            Arc::new(Route { queues: cells.into(), exchange: exchange.clone() })
        };
        let (one, other) = (ExchangeCounts::new("one"), ExchangeCounts::new("other"));
        let (few, all) = (route(&cells[..1], &one), route(&cells, &one));
        let (elsewhere, nowhere) = (route(&cells[..2], &other), route(&[], &other));
        let mut batch = PublishBatch::default();
        for (channel, route) in [(1, &few), (1, &elsewhere), (2, &few), (1, &all), (1, &few), (2, &elsewhere)]
        {
            batch.add(channel, route, message(b""));
        }
        batch.count_alone(1, &nowhere);
        // Channel, messages, messages times queues.
        assert_eq!(counts(&mut batch), [(1, 3, 5), (1, 2, 2), (2, 1, 1), (2, 1, 2)]);
        batch.add(2, &elsewhere, message(b""));
        assert_eq!(counts(&mut batch), [(2, 1, 2)]);
    }

    #[test]
    fn keys_that_lead_the_same_way_share_a_run() {
        let vhost = vhost();
        let cells = queues(&vhost, 3);
        let (one, other) = (ExchangeCounts::new("one"), ExchangeCounts::new("other"));
        let route = |cells: &[Arc<QueueCell>], exchange: &Arc<ExchangeCounts>| {
            Arc::new(Route { queues: cells.into(), exchange: exchange.clone() })
        };
        for (first, second, shared) in [
            (route(&cells[..2], &one), route(&cells[..2], &one), true),
            (route(&cells[..2], &one), route(&cells[..2], &other), false),
            (route(&cells[..2], &one), route(&cells[1..], &one), false),
            (route(&cells[..2], &one), route(&cells, &one), false),
        ] {
            let mut batch = PublishBatch::default();
            for route in [&first, &second, &first] {
                batch.add(1, route, message(b""));
            }
            assert_eq!((batch.lines.is_empty(), batch.run.len()), (shared, if shared { 3 } else { 1 }));
            let counted: u64 = counts(&mut batch).iter().map(|(_, count, _)| count).sum();
            assert_eq!(counted, 3);
            batch.flush(&vhost, &mut RouteScratch::default(), |_, _, _| {});
            assert!(batch.is_empty());
        }
        let ready: Vec<u64> = cells.iter().map(|cell| cell.counts().0.ready).collect();
        assert_eq!(ready, [3 + 3 + 2 + 3, 3 + 3 + 3 + 3, 1 + 1]);
    }

    #[test]
    fn routes_that_alternate_keep_the_order_in_every_queue() {
        let vhost = vhost();
        let cells = queues(&vhost, 2 * FEW_LINES);
        let exchange = ExchangeCounts::new("");
        let route =
            |cells: &[Arc<QueueCell>]| Arc::new(Route { queues: cells.into(), exchange: exchange.clone() });
        let (all, half) = (route(&cells), route(&cells[FEW_LINES..]));
        let (mut batch, mut scratch) = (PublishBatch::default(), RouteScratch::default());
        for number in 0..20_u8 {
            batch.add(1, if number % 2 == 0 { &all } else { &half }, message(&[number]));
        }
        let routed = 10 * 3 * FEW_LINES as u64;
        assert_eq!(counts(&mut batch), [(1, 20, routed)], "all at once, since they are of one exchange");
        assert_eq!(counts(&mut batch), [], "only once");
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
