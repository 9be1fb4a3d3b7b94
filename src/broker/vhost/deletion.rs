//! The end of a vhost: all that is in it goes at once.

use std::convert::Infallible;
use std::sync::atomic::Ordering;

use super::parameters::Parameters;
use super::{Topology, VHost, is_own};
use crate::broker::queue_cell::wake;
use crate::ids::Lsn;
use crate::protocol::reply::{AmqpError, ReplyCode};
use crate::storage::journal::Append;
use crate::storage::record::Record;

impl VHost {
    /// Closes all queues and forgets everything, as one batch of the journal with what `record` adds. Nothing is
    /// declared here any more. Connections learn of it by [`is_deleted`](Self::is_deleted).
    /// The caller has events be published.
    pub(in crate::broker) fn delete(&self, by: &str, record: &dyn Fn(&mut Append<'_>)) -> Lsn {
        let mut wakes = Vec::new();
        // Dropped after the lock, like the messages they hold.
        let (_closed, _cells, lsn) = {
            let mut topology = self.topology.write();
            self.note_end(&topology, by);
            let Topology { router, queues: cells, .. } =
                std::mem::replace(&mut *topology, Topology::with_predeclared(Parameters::default()));
            let nothing_keeps = |_: &_| Ok::<(), Infallible>(());
            let closed: Vec<_> = cells.values().map(|cell| cell.close(nothing_keeps, &mut wakes)).collect();
            let exchanges = router.exchanges().filter(|exchange| is_own(&exchange.name)).count();
            self.shared.node.queues.give_back(cells.len() as u64);
            self.shared.node.exchanges.give_back(exchanges as u64);
            let mut durable: Vec<_> =
                cells.values().filter(|cell| cell.spec.durable).map(|cell| cell.id).collect();
            durable.sort_unstable();
            let lsn = self.redefine(|batch| {
                durable.into_iter().for_each(|id| batch.record(&Record::QueueDeleted { id }));
                record(batch);
            });
            self.deleted.store(true, Ordering::SeqCst);
            self.changed(&topology);
            if self.has_events {
                self.shared.events.set_wanted(false);
            }
            (closed, cells, lsn)
        };
        wake(wakes);
        lsn
    }

    /// Whether the vhost was deleted: then none of this name exists, or another one.
    #[must_use]
    pub fn is_deleted(&self) -> bool {
        self.deleted.load(Ordering::SeqCst)
    }

    /// Fails if the vhost was deleted. Called with the topology locked.
    pub(super) fn check_exists(&self) -> Result<(), AmqpError> {
        if self.is_deleted() { Err(self.deleted_error()) } else { Ok(()) }
    }

    /// What connections are closed with.
    pub(in crate::broker) fn deleted_error(&self) -> AmqpError {
        AmqpError::new(ReplyCode::ConnectionForced, format!("vhost '{}' is deleted", self.name))
    }
}
