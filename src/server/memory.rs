//! Watches the process's memory and raises the alarm that blocks publishers.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::broker::Broker;

/// Looks every `interval` whether the process is over `watermark` bytes, until `stop`.
pub(super) async fn watch(broker: Arc<Broker>, watermark: u64, interval: Duration, stop: CancellationToken) {
    loop {
        match resident_bytes() {
            Ok(resident) => {
                let over = resident > watermark;
                if broker.set_memory_alarm(over) {
                    if over {
                        tracing::warn!(resident, watermark, "memory alarm: publishers are blocked");
                    } else {
                        tracing::info!(resident, watermark, "memory alarm is off: publishers go on");
                    }
                }
            }
            Err(error) => {
                tracing::warn!(%error, "the process's memory cannot be read; there will be no memory alarm");
                return;
            }
        }
        if stop.run_until_cancelled(tokio::time::sleep(interval)).await.is_none() {
            return;
        }
    }
}

/// Resident memory of this process.
fn resident_bytes() -> io::Result<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm")?;
    let pages: Option<u64> = statm.split_whitespace().nth(1).and_then(|pages| pages.parse().ok());
    let pages = pages.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "/proc/self/statm"))?;
    Ok(pages * rustix::param::page_size() as u64)
}
