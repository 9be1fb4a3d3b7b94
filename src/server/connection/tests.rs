//! The driver on streams that take bytes before the socket does.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Wake, Waker};

use tokio::io::{AsyncRead, AsyncWrite};

use super::*;
use crate::broker::Broker;
use crate::broker::options::BrokerOptions;
use crate::session::Peer;
use crate::session::limits::SessionLimits;

/// A stream whose client says one thing, and whose socket is full.
struct Full {
    said: &'static [u8],
    /// It has room for bytes that are written, but not for what the stream says at its end.
    takes_bytes: bool,
}

impl AsyncRead for Full {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        target: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.said.is_empty() {
            return Poll::Pending;
        }
        target.put_slice(std::mem::take(&mut self.said));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Full {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.takes_bytes { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

impl ClientStream for Full {
    fn reset_on_close(&self) {}
}

#[derive(Default)]
struct Turns(AtomicUsize);

impl Wake for Turns {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn who_does_not_take_the_last_bytes_costs_no_turns_meanwhile() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _entered = runtime.enter();
    for takes_bytes in [false, true] {
        let peer = Peer { address: "test".to_owned(), is_loopback: true, tls: None };
        let (broker, limits) = (Broker::new(BrokerOptions::default()), Arc::new(SessionLimits::default()));
        let timeout = std::time::Duration::from_secs(30);
        let session = Session::new(broker, limits, peer, timeout, clock::now());
        // It is answered with the right header, and that is all.
        let stream = Full { said: b"HTTP/1.1", takes_bytes };
        let mut connection = Box::pin(Connection::new(session, stream));
        let turns = Arc::new(Turns::default());
        let waker = Waker::from(turns.clone());
        assert!(connection.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        assert_eq!(turns.0.load(Ordering::Relaxed), 0, "takes bytes: {takes_bytes}");
    }
}
