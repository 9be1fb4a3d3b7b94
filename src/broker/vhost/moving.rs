//! Moving messages from one queue to another, as an operator asks for it.
//!
//! Each slice is one batch of the journal under the locks of both queues: enqueued there and removed here, or neither. So
//! none is lost or doubled, whatever becomes of the process or of the queues.

use std::sync::Arc;
use std::task::{Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

use super::VHost;
use crate::broker::outlet::Outlet;
use crate::broker::queue_cell::{GetResult, QueueCell, wake};
use crate::ids::Lsn;
use crate::message::{Message, MessageBuilder};
use crate::protocol::properties::Properties;
use crate::queue::{Got, Settle};

/// Messages that are moved in one step.
const SLICE: usize = 256;

/// About how many bytes of them.
const SLICE_BYTES: usize = 4 * 1024 * 1024;

/// How long a message that is being read is waited for before somebody is asked whether to go on.
const LOOK: Duration = Duration::from_millis(500);

/// Why not all messages were moved.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MoveError {
    /// Both are the same queue.
    #[error("a queue is not moved to itself")]
    Same,
    /// The queue has no room for more, and refuses.
    #[error("queue '{0}' has no room for more")]
    Full(String),
    /// One of the queues is gone.
    #[error("one of the queues was deleted meanwhile")]
    Gone,
    /// Nobody wants it any more.
    #[error("it was stopped")]
    Stopped,
}

/// What has become of a move.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    /// Messages that are in the other queue now.
    pub messages: u64,
    /// The position of the journal after which they are safe there.
    pub safe: Lsn,
    /// Whether it was all of them.
    pub outcome: Result<(), MoveError>,
}

/// Wakes the thread that waits until a message is read.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// A move under way.
struct Mover<'a> {
    vhost: &'a VHost,
    source: &'a Arc<QueueCell>,
    target: &'a Arc<QueueCell>,
    /// Woken when a message that was not in memory is.
    outlet: Arc<Outlet>,
    builder: MessageBuilder,
    moved: u64,
    safe: Lsn,
}

impl VHost {
    /// Moves the messages that are ready in `source` now to the end of `target`. They keep what they were published with;
    /// their time begins anew, and nothing says any more that they were delivered before. `go_on` is told how many are
    /// moved, every now and then, and ends it. Blocks, so it wants a thread of its own. What the move has to be sure of
    /// is [`Moved::safe`].
    pub fn move_messages(
        &self,
        source: &Arc<QueueCell>,
        target: &Arc<QueueCell>,
        mut go_on: impl FnMut(u64) -> bool,
    ) -> Moved {
        let outlet = Outlet::new();
        outlet.register(&Waker::from(Arc::new(Unpark(std::thread::current()))));
        let builder = MessageBuilder::default();
        let mut mover = Mover { vhost: self, source, target, outlet, builder, moved: 0, safe: Lsn::ZERO };
        let outcome = if source.id == target.id { Err(MoveError::Same) } else { mover.move_all(&mut go_on) };
        Moved { messages: mover.moved, safe: mover.safe, outcome }
    }
}

impl Mover<'_> {
    fn move_all(&mut self, go_on: &mut impl FnMut(u64) -> bool) -> Result<(), MoveError> {
        // Those that come meanwhile stay: otherwise two moves that cross would never end.
        let mut left = self.source.counts().0.ready;
        while left > 0 {
            let slice = self.take(left, go_on)?;
            if slice.is_empty() {
                return Ok(());
            }
            left = left.saturating_sub(slice.len() as u64);
            let carried = self.carry(&slice);
            self.vhost.move_letters();
            carried?;
            if !go_on(self.moved) {
                return Err(MoveError::Stopped);
            }
        }
        Ok(())
    }

    /// The next messages; none if the queue is empty.
    fn take(&self, most: u64, go_on: &mut impl FnMut(u64) -> bool) -> Result<Vec<Got>, MoveError> {
        let most = usize::try_from(most).map_or(SLICE, |most| most.min(SLICE));
        let mut slice: Vec<Got> = Vec::new();
        let mut bytes = 0;
        while slice.len() < most && bytes < SLICE_BYTES {
            match self.source.get(false, &self.outlet) {
                GetResult::Got(got) => {
                    bytes += got.message.wire_size();
                    slice.push(got);
                }
                GetResult::Absent if slice.is_empty() => {
                    std::thread::park_timeout(LOOK);
                    if !go_on(self.moved) {
                        return Err(MoveError::Stopped);
                    }
                }
                GetResult::Gone if slice.is_empty() => return Err(MoveError::Gone),
                GetResult::Absent | GetResult::Empty | GetResult::Gone => break,
            }
        }
        Ok(slice)
    }

    /// A message as it is published anew.
    fn anew(&mut self, message: &Message) -> Message {
        self.builder.build_marked(
            message.exchange(),
            message.routing_key(),
            Properties::assume_valid(message.raw_properties()),
            message.body_to_share(),
            message.marks(),
        )
    }

    /// Puts messages that were taken into the other queue, in one step; what has no place there goes back.
    fn carry(&mut self, slice: &[Got]) -> Result<(), MoveError> {
        let now = self.vhost.agenda.now();
        self.builder.set_time(now);
        let messages: Vec<Message> = slice.iter().map(|got| self.anew(&got.message)).collect();
        let (source, target) = (self.source, self.target);
        // Rising ids: the order in which everyone who holds several queues takes them.
        let (cells, s, t) =
            if source.id < target.id { ([source, target], 0, 1) } else { ([target, source], 1, 0) };
        let mut wakes = Vec::new();
        let mut moved = 0;
        let outcome = {
            let mut states = cells.map(|cell| cell.lock_also());
            if states[s].gone {
                // What was taken has gone with it.
                return Err(MoveError::Gone);
            }
            let is_gone = states[t].gone;
            self.safe = self.vhost.shared.bodies.journal.append(|batch| {
                let mut has_room = !is_gone;
                for message in messages {
                    has_room = has_room && target.has_room(&mut states[t], &message, &mut wakes);
                    if !has_room {
                        break;
                    }
                    target.enqueue_one(&mut states[t], message, batch);
                    moved += 1;
                }
                let position = |got: &Got| got.position;
                let (gone, back) = slice.split_at(moved);
                source.settle_in(&mut states[s], None, gone.iter().map(position), Settle::Ack, batch);
                source.settle_in(&mut states[s], None, back.iter().map(position), Settle::Unsent, batch);
            });
            for (cell, state) in cells.iter().zip(&mut states) {
                cell.deliver(state, &mut wakes);
            }
            if is_gone {
                Err(MoveError::Gone)
            } else if moved < slice.len() {
                Err(MoveError::Full(target.spec.name.clone()))
            } else {
                Ok(())
            }
        };
        wake(wakes);
        self.moved += moved as u64;
        outcome
    }
}
