//! The task that does what queues want to have done later: it sleeps until the first moment that any of them named.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::broker::Broker;

/// The longest sleep: a wall clock that is set does not matter to a timer, but then nothing is late by more.
const LONGEST: Duration = Duration::from_secs(60);

/// Runs until `stop`.
pub(super) async fn run(broker: Arc<Broker>, stop: CancellationToken) {
    loop {
        // From here on whatever comes up wakes this task.
        poll_fn(|context| {
            broker.register_agendas(context.waker());
            Poll::Ready(())
        })
        .await;
        let mut first = true;
        let woken = poll_fn(|_| if std::mem::take(&mut first) { Poll::Pending } else { Poll::Ready(()) });
        let pause = broker.look_at_due().map_or(LONGEST, |next| next.min(LONGEST));
        let turn = async {
            if pause.is_zero() {
                tokio::task::yield_now().await;
            } else {
                let _ = tokio::time::timeout(pause, woken).await;
            }
        };
        if stop.run_until_cancelled(turn).await.is_none() {
            return;
        }
    }
}
