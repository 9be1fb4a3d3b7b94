//! Watches the process's memory and raises the alarm that blocks publishers.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::broker::Broker;
use crate::broker::node::MemoryFigures;

/// How often resident memory is looked at, which is cheap; messages are counted only when it is over the watermark.
const QUICK_LOOK: Duration = Duration::from_millis(100);

/// Looks whether the process uses more than the watermark, if there is one, until `stop`. Messages are counted every
/// `interval` and, so that a flood is stopped in time, whenever resident memory is over the watermark.
pub(super) async fn watch(broker: Arc<Broker>, interval: Duration, stop: CancellationToken) {
    let mut gauge = Gauge::default();
    let mut since_count = interval;
    // On its own time: quick looks may count messages all the time.
    let (mut since_files, mut files) = (interval, None);
    let step = interval.min(QUICK_LOOK);
    loop {
        // Somebody may have set another one.
        let watermark = broker.thresholds.memory();
        let resident = match resident_bytes() {
            Ok(resident) => resident,
            Err(error) => {
                tracing::warn!(%error, "the process's memory cannot be read; there will be no memory alarm");
                return;
            }
        };
        since_count += step;
        since_files += step;
        if since_files >= interval && files.as_ref().is_none_or(JoinHandle::is_finished) {
            since_files = Duration::ZERO;
            let broker = broker.clone();
            files = Some(tokio::task::spawn_blocking(move || count_open_files(&broker)));
        }
        if (watermark > 0 && resident > watermark) || since_count >= interval {
            since_count = Duration::ZERO;
            let used = gauge.used(resident, broker.message_memory());
            broker.node.set_memory(MemoryFigures { used, resident });
            let over = watermark > 0 && used > watermark;
            if broker.set_memory_alarm(over) {
                if over {
                    tracing::warn!(used, resident, watermark, "memory alarm: publishers are blocked");
                } else {
                    tracing::info!(used, resident, watermark, "memory alarm is off: publishers go on");
                }
            }
        }
        if stop.run_until_cancelled(tokio::time::sleep(step)).await.is_none() {
            return;
        }
    }
}

/// Has the allocator give back what it keeps since more than a second. It looks for that only when something is taken
/// that is not small, and a broker that idles never takes any.
///
/// What is taken here is out of that look itself, each time. So it is more than what was used before and freed would have
/// room for: it lies where no page was ever touched, and takes none.
pub(super) fn give_back_memory() {
    const UNTOUCHED: usize = 64 << 20;
    let mut room = Vec::<u8>::new();
    // Where the address space is limited there is no such room, and nothing is given back.
    if room.try_reserve_exact(UNTOUCHED).is_ok() {
        drop(std::hint::black_box(room));
    }
}

/// Tells the memory in use from what the allocator keeps.
///
/// An allocator gives freed memory back late or never, so resident memory alone would keep publishers blocked after
/// the queues were drained. Resident memory grows beyond its highest only when nothing of it is spare: so what the
/// rest of the broker takes has grown by that much at most, and is never more than what is not messages.
#[derive(Debug, Default)]
struct Gauge {
    highest: u64,
    /// Resident memory that is not messages.
    rest: u64,
}

impl Gauge {
    /// The memory in use, given what is resident and what messages take.
    fn used(&mut self, resident: u64, messages: u64) -> u64 {
        self.rest += resident.saturating_sub(self.highest);
        self.rest = self.rest.min(resident.saturating_sub(messages));
        self.highest = self.highest.max(resident);
        resident.min(self.rest + messages)
    }
}

/// Resident memory of this process.
pub(super) fn resident_bytes() -> io::Result<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm")?;
    let pages: Option<u64> = statm.split_whitespace().nth(1).and_then(|pages| pages.parse().ok());
    let pages = pages.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "/proc/self/statm"))?;
    Ok(pages * rustix::param::page_size() as u64)
}

/// Counts the files that this process has open. There may be very many.
fn count_open_files(broker: &Broker) {
    if let Ok(files) = std::fs::read_dir("/proc/self/fd") {
        // One of them is what lists them.
        broker.node.set_open_files((files.count() as u64).saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::options::BrokerOptions;

    #[tokio::test]
    async fn open_files_are_counted_also_over_the_watermark() {
        let broker = Broker::new(BrokerOptions::default());
        broker.thresholds.set_memory(1);
        let stop = CancellationToken::new();
        let watching = tokio::spawn(watch(broker.clone(), 3 * QUICK_LOOK, stop.clone()));
        for _ in 0..2 {
            broker.node.set_open_files(0);
            let counted = async {
                while broker.node.open_files() == 0 {
                    tokio::time::sleep(QUICK_LOOK / 10).await;
                }
            };
            tokio::time::timeout(Duration::from_secs(20), counted).await.unwrap();
        }
        stop.cancel();
        watching.await.unwrap();
    }

    #[test]
    fn memory_that_the_allocator_keeps_is_not_in_use() {
        let mut gauge = Gauge::default();
        assert_eq!(gauge.used(10, 0), 10);
        assert_eq!(gauge.used(110, 100), 110);
        // Drained, and nothing was given back.
        assert_eq!(gauge.used(110, 20), 30);
        assert_eq!(gauge.used(111, 0), 11);
        // Filled again, without more from the operating system.
        assert_eq!(gauge.used(111, 100), 111);
        assert_eq!(gauge.used(211, 150), 211);
        assert_eq!(gauge.used(211, 0), 61);
    }

    #[test]
    fn messages_in_many_queues_count_once_at_most() {
        let mut gauge = Gauge::default();
        assert_eq!(gauge.used(50, 400), 50);
        assert_eq!(gauge.used(40, 0), 0);
        assert_eq!(gauge.used(60, 0), 10);
    }
}
