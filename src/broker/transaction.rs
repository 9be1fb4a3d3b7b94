//! Commit of a transaction: all its publishes and settlements at once, under the locks of all queues it touches and
//! in one journal batch.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::broker::queue_cell::{QueueCell, wake};
use crate::ids::{ConsumerId, Lsn, Position, QueueId};
use crate::message::Message;
use crate::queue::Settle;
use crate::storage::journal::Journal;

/// A queue had no room for all that a transaction wanted to put into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused;

/// What a transaction does, by queue.
#[derive(Debug, Default)]
pub struct Commit {
    queues: BTreeMap<QueueId, QueueWork>,
}

#[derive(Debug)]
struct QueueWork {
    cell: Arc<QueueCell>,
    messages: Vec<Message>,
    settlements: Vec<(Option<ConsumerId>, Position, Settle)>,
}

impl Commit {
    fn work(&mut self, cell: &Arc<QueueCell>) -> &mut QueueWork {
        self.queues.entry(cell.id).or_insert_with(|| QueueWork {
            cell: cell.clone(),
            messages: Vec::new(),
            settlements: Vec::new(),
        })
    }

    /// Adds a publish to one queue, after those added before.
    pub fn publish(&mut self, cell: &Arc<QueueCell>, message: Message) {
        self.work(cell).messages.push(message);
    }

    /// Adds a settlement.
    pub fn settle(
        &mut self,
        cell: &Arc<QueueCell>,
        consumer: Option<ConsumerId>,
        position: Position,
        how: Settle,
    ) {
        self.work(cell).settlements.push((consumer, position, how));
    }

    /// Applies everything, publishes before settlements, and returns the journal position after which it is safe.
    /// What concerns a queue that was deleted meanwhile is as gone as the queue.
    ///
    /// # Errors
    /// If a queue has no room for a message and refuses it: then nothing is applied.
    pub fn apply(self, journal: &Journal) -> Result<Lsn, Refused> {
        let mut wakes = Vec::new();
        let work: Vec<QueueWork> = self.queues.into_values().collect();
        let lsn = {
            // Rising ids: the order in which everyone who holds several queues takes them.
            let mut states: Vec<_> = work.iter().map(|work| work.cell.lock_also()).collect();
            let refuses = |(work, state): (&QueueWork, &_)| work.cell.refuses_all(state, &work.messages);
            if work.iter().zip(states.iter().map(|state| &**state)).any(refuses) {
                return Err(Refused);
            }
            let lsn = journal.append(|batch| {
                for (work, state) in work.iter().zip(&mut states).filter(|(_, state)| !state.gone) {
                    for message in &work.messages {
                        work.cell.enqueue_one(state, message.clone(), batch);
                    }
                    for &(consumer, position, how) in &work.settlements {
                        work.cell.settle_in(state, consumer, std::iter::once(position), how, batch);
                    }
                }
            });
            for (work, state) in work.iter().zip(&mut states) {
                let came = work.messages.last().map_or(u64::MAX, Message::published_at);
                work.cell.deliver_at(state, &mut wakes, came);
            }
            lsn
        };
        wake(wakes);
        Ok(lsn)
    }
}
