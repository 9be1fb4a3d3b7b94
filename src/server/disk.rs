//! Watches the free space of the disk and raises the alarm that blocks publishers.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::broker::Broker;
use crate::broker::node::DiskFigures;
use crate::broker::thresholds::FreeLimit;
use crate::storage::disk::Space;

/// How often the disk is looked at, which is cheap. The journal's writer looks whenever it has written.
const EVERY: Duration = Duration::from_millis(100);

/// How much more than the limit has to be free before publishers go on, at least, unless the limit itself is less: two
/// journal files of the usual size, so that one that comes or goes does not turn the alarm on and off.
const LEAST_GAP: u64 = 128 << 20;

/// Looks at the disk, and remembers what it told of it.
pub(super) struct DiskWatch {
    broker: Arc<Broker>,
    /// The alarm was on after the last look.
    on: bool,
    /// The size of the disk could not be read the last time.
    unreadable: bool,
}

/// Where the alarm is turned on and off, in bytes of free space.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Marks {
    /// Less is too little.
    limit: u64,
    /// So much is enough again.
    enough: u64,
}

/// What a look found.
#[derive(Debug)]
struct Seen {
    /// Bytes that are free, as far as is known.
    free: u64,
    marks: Marks,
    figures: DiskFigures,
}

impl Marks {
    fn new(limit: FreeLimit, total: u64) -> Self {
        let limit = limit.bytes(total);
        let gap = (limit / 10).max(LEAST_GAP).min(limit);
        Self { limit, enough: limit.saturating_add(gap) }
    }

    fn is_low(self, free: u64, was_on: bool) -> bool {
        free < if was_on { self.enough } else { self.limit }
    }
}

impl DiskWatch {
    /// `None` if the broker keeps nothing on a disk.
    pub(super) fn new(broker: Arc<Broker>) -> Option<Self> {
        broker.journal.room()?;
        Some(Self { broker, on: false, unreadable: false })
    }

    /// Looks at once, and then every now and then until `stop`, on threads that may block.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        loop {
            let look = tokio::task::spawn_blocking(move || {
                self.look();
                self
            });
            // A disk that hangs does not hold up the end.
            match stop.run_until_cancelled(look).await {
                Some(Ok(watch)) => self = watch,
                Some(Err(error)) => {
                    tracing::error!(%error, "the look at the disk panicked; there will be no disk alarm");
                    return;
                }
                None => return,
            }
            if stop.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_none() {
                return;
            }
        }
    }

    /// Looks for the first time: turns the alarm on or off. Making the reserve takes longer and has time. Blocks.
    pub(super) fn first_look(&mut self) {
        if let Some(seen) = self.measure() {
            self.judge(&seen);
        }
    }

    /// Looks once: makes the reserve if there is room for it, and turns the alarm on or off. Blocks.
    fn look(&mut self) {
        let Some(seen) = self.measure() else { return };
        self.keep_reserve(&seen);
        self.judge(&seen);
    }

    /// What there is on the disk, and what is to hold. `None` if nothing is kept on one.
    fn measure(&mut self) -> Option<Seen> {
        let space = match self.broker.journal.room()?.space() {
            Ok(space) => {
                self.unreadable = false;
                Some(space)
            }
            Err(error) => {
                if !std::mem::replace(&mut self.unreadable, true) {
                    tracing::warn!(%error, "the free space of the disk cannot be read; no alarm before it is full");
                }
                None
            }
        };
        // What is not known is taken for enough: a write will tell.
        let Space { free, total } = space.unwrap_or(Space { free: u64::MAX, total: 0 });
        // Somebody may have set another limit.
        let marks = Marks::new(self.broker.thresholds.disk(), total);
        let figures = DiskFigures { free: if space.is_some() { free } else { 0 }, total, limit: marks.limit };
        Some(Seen { free, marks, figures })
    }

    fn keep_reserve(&self, seen: &Seen) {
        let Some(room) = self.broker.journal.room() else { return };
        match room.restore_reserve(seen.free, seen.marks.enough) {
            Ok(false) => {}
            Ok(true) => tracing::debug!(free = seen.free, "the reserve on the disk is there"),
            Err(error) => tracing::warn!(%error, "the reserve on the disk cannot be made; it goes without"),
        }
    }

    fn judge(&mut self, seen: &Seen) {
        if let Some(room) = self.broker.journal.room() {
            room.set_limit(seen.marks.limit);
        }
        self.broker.node.set_disk(seen.figures);
        let full = self.broker.is_disk_full();
        self.set_alarm(full, seen.free, seen.marks);
    }

    fn set_alarm(&mut self, full: bool, free: u64, marks: Marks) {
        let on = full || marks.is_low(free, self.broker.alarms.is_disk_on());
        self.broker.set_disk_alarm(on);
        if std::mem::replace(&mut self.on, on) == on {
            return;
        }
        let Marks { limit, enough } = marks;
        if on {
            tracing::warn!(free, limit, full, "disk alarm: publishers are blocked");
        } else {
            tracing::info!(free, limit, enough, "disk alarm is off: publishers go on");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::options::BrokerOptions;
    use crate::storage::disk::{Disk, Open};
    use crate::storage::options::JournalOptions;
    use crate::storage::room::RESERVE_NAME;
    use crate::storage::simulated_disk::{Call, FaultKind, SimulatedDisk, When};

    const LIMIT: u64 = 100_000;

    /// A disk of 400 KB on which a reserve of 16 KiB fits, with a file that takes all but so much of it.
    struct Small {
        disk: SimulatedDisk,
        watch: DiskWatch,
    }

    impl Small {
        fn with(limit: FreeLimit, free: u64) -> Self {
            let disk = SimulatedDisk::new(1);
            disk.set_capacity(400_000);
            disk.open("other", Open::Create).unwrap();
            let options = JournalOptions { file_size: 64 * 1024, ..JournalOptions::default() };
            let broker =
                Broker::open(BrokerOptions::default(), Arc::new(disk.clone()), options, |_| {}).unwrap();
            // What the start writes takes room too, whenever the writer gets to it.
            assert!(broker.journal.wait_durable(broker.journal.end()));
            broker.thresholds.set_disk(limit);
            let watch = DiskWatch::new(broker).unwrap();
            let mut small = Self { disk, watch };
            small.leave(free);
            small
        }

        /// Lets so much be free, and answers whether publishers are blocked after a look.
        fn leave(&mut self, free: u64) -> bool {
            let other = self.disk.open("other", Open::Write).unwrap();
            other.set_len(0).unwrap();
            other.set_len(self.disk.space().unwrap().free - free).unwrap();
            self.look()
        }

        fn look(&mut self) -> bool {
            self.watch.look();
            self.watch.broker.alarms.reason().is_some_and(|reason| reason == "low on disk")
        }

        fn has_reserve(&self) -> bool {
            self.disk.list().unwrap().iter().any(|name| name == RESERVE_NAME)
        }
    }

    #[test]
    fn the_alarm_goes_off_only_when_there_is_more_than_turned_it_on() {
        let mut small = Small::with(FreeLimit::Bytes(LIMIT), LIMIT);
        assert!(!small.look());
        assert!(small.leave(LIMIT - 1));
        assert!(small.leave(LIMIT));
        assert!(small.leave(2 * LIMIT - 1));
        assert!(!small.leave(2 * LIMIT));
        assert!(!small.leave(LIMIT));
        assert!(small.leave(0));
    }

    #[test]
    fn another_limit_holds_from_the_next_look_on() {
        let mut small = Small::with(FreeLimit::Bytes(LIMIT), LIMIT);
        assert!(!small.look());
        small.watch.broker.thresholds.set_disk(FreeLimit::Bytes(LIMIT + 1));
        assert!(small.look());
        small.watch.broker.thresholds.set_disk(FreeLimit::Bytes(LIMIT / 2));
        assert!(!small.look());
    }

    #[test]
    fn what_a_write_turned_on_a_look_turns_off() {
        let mut small = Small::with(FreeLimit::Bytes(LIMIT), 3 * LIMIT);
        assert!(!small.look());
        let broker = small.watch.broker.clone();
        let room = broker.journal.room().unwrap();
        room.set_limit(u64::MAX);
        room.check_limit();
        assert_eq!(broker.alarms.reason(), Some("low on disk"));
        assert!(!small.look());
        room.check_limit();
        assert_eq!(broker.alarms.reason(), None, "the look has set the limit");
    }

    #[test]
    fn the_gap_is_a_tenth_but_no_less_than_two_files_and_no_more_than_the_limit() {
        let marks = |limit| Marks::new(limit, 1 << 40);
        assert_eq!(marks(FreeLimit::Auto), Marks { limit: 2 << 30, enough: (2 << 30) + (2 << 30) / 10 });
        assert_eq!(marks(FreeLimit::Bytes(1 << 30)).enough, (1 << 30) + (128 << 20));
        assert_eq!(marks(FreeLimit::Bytes(50 << 20)).enough, 100 << 20);
        assert_eq!(marks(FreeLimit::Bytes(0)), Marks::default());
        assert_eq!(marks(FreeLimit::Bytes(u64::MAX)).enough, u64::MAX);
        assert!(!Marks::default().is_low(0, false) && !Marks::default().is_low(0, true));
    }

    #[test]
    fn the_reserve_is_made_when_publishers_would_go_on_without_what_it_takes() {
        const SIZE: u64 = 16 * 1024;
        let mut small = Small::with(FreeLimit::Bytes(LIMIT), 2 * LIMIT + SIZE - 1);
        assert!(!small.look() && !small.has_reserve());
        assert!(!small.leave(2 * LIMIT + SIZE) && small.has_reserve());
        assert_eq!(small.disk.space().unwrap().free, 2 * LIMIT);

        assert!(small.watch.broker.journal.room().unwrap().release_reserve());
        assert!(small.leave(2 * LIMIT + SIZE - 1), "without a reserve they are blocked");
        assert!(!small.leave(2 * LIMIT + SIZE) && small.has_reserve());
    }

    #[test]
    fn space_that_cannot_be_read_is_enough() {
        let mut small = Small::with(FreeLimit::Bytes(LIMIT), 0);
        assert!(small.look());
        small.disk.fail(When::Every(Call::Space), FaultKind::Io);
        assert!(!small.look() && small.watch.unreadable);
        small.disk.clear_faults();
        assert!(small.look() && !small.watch.unreadable);
    }

    #[test]
    fn a_broker_without_a_disk_is_not_watched() {
        assert!(DiskWatch::new(Broker::new(BrokerOptions::default())).is_none());
    }

    #[test]
    fn it_is_looked_at_until_the_end() {
        let small = Small::with(FreeLimit::Bytes(LIMIT), 2 * LIMIT);
        let (broker, stop) = (small.watch.broker.clone(), CancellationToken::new());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let watching = tokio::spawn(small.watch.run(stop.clone()));
            small.disk.set_capacity(0);
            while broker.alarms.reason().is_none() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            stop.cancel();
            watching.await.unwrap();
        });
    }
}
