//! The outlet of a connection: where queues put deliveries down and others leave word for it.
//!
//! Bounded in bytes, counting what the connection took but has not written to its socket yet. A queue that finds it
//! full goes on to another consumer; the outlet remembers whom to call back when there is room again.

use std::sync::Arc;
use std::task::Waker;

use crate::ids::{ConnectionId, Position};
use crate::lock::{Rank, RankedMutex, RankedMutexGuard};
use crate::message::Message;
use crate::protocol::reply::AmqpError;
use crate::queue::{Intake, Link, Push};

/// Bytes of deliveries that a connection may have waiting, unless a single message is larger.
pub const CAPACITY: usize = 4 * 1024 * 1024;

/// Entries for which an emptied buffer keeps room, however few the last batch had.
const KEPT_ENTRIES: usize = 1024;

/// What a delivery counts beside the message. It is more than it takes, so that of small ones there are some thousands at
/// most: those are still in the processor's caches when they are written and freed.
const OVERHEAD: usize = 1024;

/// A message for one of the connection's consumers.
#[derive(Debug)]
pub struct Delivery {
    /// The message.
    pub message: Message,
    /// Its place in the consumer's queue.
    pub position: Position,
    /// The session's key of the consumer.
    pub consumer: u32,
    /// Whether it was delivered before.
    pub redelivered: bool,
}

impl Delivery {
    /// What it counts in the outlet until it is written.
    #[must_use]
    pub fn cost(&self) -> usize {
        cost(&self.message)
    }
}

fn cost(message: &Message) -> usize {
    message.wire_size() + OVERHEAD
}

/// What a connection finds in its outlet. Keep it and hand it in again, so that its buffers are reused.
#[derive(Debug, Default)]
pub struct Taken {
    /// Deliveries in the order of their queues.
    pub deliveries: Vec<Delivery>,
    /// Consumers whose queue is gone. Their deliveries above came before.
    pub gone: Vec<u32>,
    /// The connection is to close, for this reason.
    pub close: Option<AmqpError>,
}

/// See the module.
#[derive(Debug)]
pub struct Outlet {
    state: RankedMutex<State>,
}

#[derive(Debug, Default)]
struct State {
    deliveries: Vec<Delivery>,
    gone: Vec<u32>,
    close: Option<AmqpError>,
    bytes: usize,
    parked: Vec<u32>,
    windows: Vec<Window>,
    waker: Option<Waker>,
    /// Somebody was told to wake the connection, and it has not looked yet.
    notified: bool,
    closed: bool,
}

/// A channel-wide prefetch limit (basic.qos with global).
#[derive(Debug)]
struct Window {
    channel: u16,
    limit: u32,
    unacked: u32,
    parked: Vec<u32>,
}

impl Outlet {
    /// An empty outlet.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self { state: RankedMutex::new(Rank::Outlet, State::default()) })
    }

    /// Names the task to wake. Call it before [`take`](Self::take).
    pub fn register(&self, waker: &Waker) {
        let mut state = self.state.lock();
        if !state.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            state.waker = Some(waker.clone());
        }
    }

    /// The task to wake, for others that wake it.
    #[must_use]
    pub fn waker(&self) -> Option<Waker> {
        self.state.lock().waker.clone()
    }

    /// Wakes the connection.
    pub fn wake(&self) {
        if let Some(waker) = self.waker() {
            waker.wake();
        }
    }

    /// Swaps everything out into `taken`, which has to be empty.
    pub fn take(&self, taken: &mut Taken) {
        let mut state = self.state.lock();
        state.notified = false;
        swap(&mut state.deliveries, &mut taken.deliveries);
        swap(&mut state.gone, &mut taken.gone);
        if let Some(reason) = state.close.take() {
            taken.close.get_or_insert(reason);
        }
    }

    /// A consumer leaves its queue: there is nobody to call back. Call it after the queue was told, which may still
    /// offer it a message until then.
    pub fn forget(&self, consumer: u32) {
        let mut state = self.state.lock();
        let State { parked, windows, .. } = &mut *state;
        for list in windows.iter_mut().map(|window| &mut window.parked).chain([parked]) {
            list.retain(|&key| key != consumer);
        }
    }

    /// `bytes` of deliveries are written to the socket or went back to their queues. The consumers to resume are
    /// added to `resume`.
    pub fn release(&self, bytes: usize, resume: &mut Vec<u32>) {
        let mut state = self.state.lock();
        state.bytes = state.bytes.saturating_sub(bytes);
        if state.bytes <= CAPACITY / 2 {
            resume.append(&mut state.parked);
        }
    }

    /// Asks the connection to close with `reason`; the first reason counts.
    pub fn request_close(&self, reason: AmqpError) {
        self.state.lock().close.get_or_insert(reason);
        self.wake();
    }

    /// The reason to close, if one was given. Looks at nothing else.
    #[must_use]
    pub fn close_requested(&self) -> Option<AmqpError> {
        self.state.lock().close.take()
    }

    /// Refuses everything from now on, and returns what was waiting.
    pub fn close(&self, taken: &mut Taken) {
        self.state.lock().closed = true;
        self.take(taken);
    }

    /// Limits `channel` to `limit` unacked deliveries over all its consumers, of which `unacked` are out now; 0
    /// lifts the limit. The consumers to resume are added to `resume`.
    pub fn set_window(&self, channel: u16, limit: u32, unacked: u32, resume: &mut Vec<u32>) {
        let mut state = self.state.lock();
        if let Some(at) = state.windows.iter().position(|window| window.channel == channel) {
            resume.append(&mut state.windows.swap_remove(at).parked);
        }
        if limit > 0 {
            state.windows.push(Window { channel, limit, unacked, parked: Vec::new() });
        }
    }

    /// Counts a delivery on `channel` that did not come through the outlet (basic.get).
    pub fn use_window(&self, channel: u16) {
        let mut state = self.state.lock();
        if let Some(window) = state.windows.iter_mut().find(|window| window.channel == channel) {
            window.unacked += 1;
        }
    }

    /// `n` deliveries of `channel` are settled. The consumers to resume are added to `resume`.
    pub fn open_window(&self, channel: u16, n: u32, resume: &mut Vec<u32>) {
        let mut state = self.state.lock();
        if let Some(window) = state.windows.iter_mut().find(|window| window.channel == channel) {
            window.unacked = window.unacked.saturating_sub(n);
            if window.unacked < window.limit {
                resume.append(&mut window.parked);
            }
        }
    }
}

/// Swaps what is waiting with an empty buffer. One with room for far more than there is now comes from a burst; a
/// connection that is idle after it gives that memory back.
fn swap<T>(waiting: &mut Vec<T>, buffer: &mut Vec<T>) {
    std::mem::swap(waiting, buffer);
    let enough = KEPT_ENTRIES.max(4 * buffer.len());
    for buffer in [waiting, buffer] {
        if buffer.capacity() > enough {
            buffer.shrink_to(KEPT_ENTRIES);
        }
    }
}

/// A queue's way to a consumer: its connection's outlet and who it is there.
#[derive(Clone, Debug)]
pub struct OutletLink {
    /// The connection's outlet.
    pub outlet: Arc<Outlet>,
    /// The connection.
    pub connection: ConnectionId,
    /// The session's key of the consumer.
    pub consumer: u32,
    /// Its channel, for the channel-wide prefetch.
    pub channel: u16,
    /// It does not acknowledge, so channel-wide prefetch does not count it.
    pub no_ack: bool,
}

/// The outlet while a queue offers messages to one of its consumers.
pub struct OutletIntake<'a> {
    link: &'a OutletLink,
    state: RankedMutexGuard<'a, State>,
}

impl Intake for OutletIntake<'_> {
    #[inline]
    fn push(&mut self, message: &Message, position: Position, redelivered: bool) -> Push {
        let Self { link, state } = self;
        let state = &mut **state;
        if state.closed {
            return Push::Closed;
        }
        let cost = cost(message);
        if state.bytes > 0 && state.bytes + cost > CAPACITY {
            state.parked.push(link.consumer);
            return Push::Full;
        }
        if !link.no_ack && !state.windows.is_empty() {
            let window = state.windows.iter_mut().find(|window| window.channel == link.channel);
            if let Some(window) = window {
                if window.unacked >= window.limit {
                    window.parked.push(link.consumer);
                    return Push::Full;
                }
                window.unacked += 1;
            }
        }
        state.bytes += cost;
        state.deliveries.push(Delivery {
            message: message.clone(),
            position,
            consumer: link.consumer,
            redelivered,
        });
        Push::Taken { wake: !std::mem::replace(&mut state.notified, true) }
    }
}

impl Link for OutletLink {
    type Intake<'a> = OutletIntake<'a>;

    #[inline]
    fn intake(&self) -> OutletIntake<'_> {
        OutletIntake { link: self, state: self.outlet.state.lock() }
    }

    fn gone(&self) -> bool {
        let mut state = self.outlet.state.lock();
        if state.closed {
            return false;
        }
        state.gone.push(self.consumer);
        !std::mem::replace(&mut state.notified, true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Body, MessageBuilder};
    use crate::protocol::properties::Properties;
    use crate::protocol::reply::ReplyCode;

    fn message(size: usize) -> Message {
        let properties = Properties::parse(&[0, 0]).unwrap();
        MessageBuilder::default().build("", "q", properties, Body::Owned(vec![0; size]))
    }

    fn link(outlet: &Arc<Outlet>, consumer: u32, no_ack: bool) -> OutletLink {
        OutletLink { outlet: outlet.clone(), connection: ConnectionId(1), consumer, channel: 1, no_ack }
    }

    #[test]
    fn one_wake_until_the_connection_looks() {
        let outlet = Outlet::new();
        let link = link(&outlet, 7, true);
        let message = message(10);
        assert_eq!(link.intake().push(&message, Position(0), false), Push::Taken { wake: true });
        assert_eq!(link.intake().push(&message, Position(1), false), Push::Taken { wake: false });
        let mut taken = Taken::default();
        outlet.take(&mut taken);
        assert_eq!(taken.deliveries.iter().map(|d| d.position.0).collect::<Vec<_>>(), [0, 1]);
        assert_eq!(link.intake().push(&message, Position(2), false), Push::Taken { wake: true });
    }

    #[test]
    fn full_is_counted_until_written_and_one_message_always_fits() {
        let outlet = Outlet::new();
        let (a, b) = (link(&outlet, 1, true), link(&outlet, 2, true));
        let huge = message(CAPACITY * 2);
        assert!(matches!(a.intake().push(&huge, Position(0), false), Push::Taken { .. }));
        assert_eq!(b.intake().push(&message(1), Position(0), false), Push::Full);
        let mut taken = Taken::default();
        outlet.take(&mut taken);
        assert_eq!(b.intake().push(&message(1), Position(0), false), Push::Full);
        let mut resume = Vec::new();
        outlet.release(taken.deliveries[0].cost(), &mut resume);
        assert_eq!(resume, [2, 2]);
        assert!(matches!(b.intake().push(&message(1), Position(0), false), Push::Taken { .. }));
    }

    #[test]
    fn a_channel_window_holds_back_only_who_acknowledges() {
        let outlet = Outlet::new();
        let (acking, free) = (link(&outlet, 1, false), link(&outlet, 2, true));
        let mut resume = Vec::new();
        outlet.set_window(1, 2, 1, &mut resume);
        let message = message(1);
        assert!(matches!(acking.intake().push(&message, Position(0), false), Push::Taken { .. }));
        assert_eq!(acking.intake().push(&message, Position(1), false), Push::Full);
        assert!(matches!(free.intake().push(&message, Position(1), false), Push::Taken { .. }));
        outlet.open_window(1, 1, &mut resume);
        assert_eq!(resume, [1]);
        assert!(matches!(acking.intake().push(&message, Position(1), false), Push::Taken { .. }));
    }

    #[test]
    fn a_closed_outlet_takes_nothing() {
        let outlet = Outlet::new();
        let link = link(&outlet, 1, false);
        outlet.close(&mut Taken::default());
        assert_eq!(link.intake().push(&message(1), Position(0), false), Push::Closed);
        assert!(!link.gone());
    }

    #[test]
    fn a_consumer_that_left_is_not_called_back() {
        let outlet = Outlet::new();
        let mut resume = Vec::new();
        outlet.set_window(1, 1, 1, &mut resume);
        for key in 0..1000 {
            assert_eq!(link(&outlet, key, false).intake().push(&message(1), Position(0), false), Push::Full);
            outlet.forget(key);
        }
        assert_eq!(outlet.state.lock().windows[0].parked, [0; 0]);
        let filler = link(&outlet, 2000, true);
        assert!(matches!(filler.intake().push(&message(CAPACITY), Position(0), false), Push::Taken { .. }));
        for key in [1, 2, 3] {
            assert_eq!(link(&outlet, key, true).intake().push(&message(1), Position(0), false), Push::Full);
        }
        outlet.forget(2);
        outlet.release(CAPACITY * 2, &mut resume);
        assert_eq!(resume, [1, 3]);
    }

    #[test]
    fn the_room_of_a_burst_is_given_back_when_it_is_over() {
        let outlet = Outlet::new();
        let link = link(&outlet, 1, true);
        let message = message(0);
        let mut taken = Taken::default();
        let mut resume = Vec::new();
        for burst in [3000, 3900, 0, 10, 0] {
            for position in 0..burst {
                assert!(matches!(
                    link.intake().push(&message, Position(position), false),
                    Push::Taken { .. }
                ));
                assert!(!link.gone(), "it was told before");
            }
            outlet.take(&mut taken);
            assert_eq!((taken.deliveries.len() as u64, taken.gone.len() as u64), (burst, burst));
            let capacity = |state: &State, taken: &Taken| {
                let deliveries = [state.deliveries.capacity(), taken.deliveries.capacity()];
                let gone = [state.gone.capacity(), taken.gone.capacity()];
                deliveries.into_iter().chain(gone).max()
            };
            let most = KEPT_ENTRIES.max(4 * burst as usize);
            assert!(capacity(&outlet.state.lock(), &taken).is_some_and(|capacity| capacity <= most));
            taken.deliveries.clear();
            taken.gone.clear();
            outlet.release(CAPACITY, &mut resume);
        }
    }

    #[test]
    fn the_first_reason_to_close_counts_also_when_it_was_taken_before() {
        let outlet = Outlet::new();
        let reason = |text: &str| AmqpError::new(ReplyCode::ConnectionForced, text.to_owned());
        let mut taken = Taken::default();
        outlet.request_close(reason("first"));
        outlet.request_close(reason("second"));
        for _ in 0..2 {
            outlet.take(&mut taken);
            assert_eq!(taken.close.as_ref().map(|reason| &*reason.text), Some("first"));
            outlet.request_close(reason("third"));
        }
    }
}
