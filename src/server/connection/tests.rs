//! The driver on streams that take bytes before the socket does.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Wake, Waker};
use std::time::Duration;

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
    /// What its client has taken.
    taken: Arc<AtomicU64>,
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

    fn is_cut(&self) -> bool {
        false
    }

    fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }
}

#[derive(Default)]
struct Turns(AtomicUsize);

impl Wake for Turns {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn connection(stream: Full) -> Connection<Full> {
    let peer = Peer::from(SocketAddr::from((Ipv4Addr::LOCALHOST, 1)));
    let broker = Broker::new(BrokerOptions::default());
    let limits = SessionLimits { handshake_timeout: Duration::from_secs(100), ..SessionLimits::default() };
    let session = Session::new(broker, Arc::new(limits), peer, Duration::from_secs(30), clock::now());
    Connection::new(session, stream)
}

#[test]
fn who_does_not_take_the_last_bytes_costs_no_turns_meanwhile() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _entered = runtime.enter();
    for takes_bytes in [false, true] {
        // It is answered with the right header, and that is all.
        let stream = Full { said: b"HTTP/1.1", takes_bytes, taken: Arc::default() };
        let mut connection = connection(stream);
        let turns = Arc::new(Turns::default());
        let waker = Waker::from(turns.clone());
        assert!(connection.turn(&mut Context::from_waker(&waker)).is_pending());
        assert_eq!(turns.0.load(Ordering::Relaxed), 0, "takes bytes: {takes_bytes}");
    }
}

#[test]
fn who_takes_some_of_what_is_held_back_has_more_time() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _entered = runtime.enter();
    let taken = Arc::new(AtomicU64::new(0));
    let mut connection =
        connection(Full { said: b"AMQP\0\0\x09\x01", takes_bytes: false, taken: taken.clone() });
    let mut turn = || {
        let before = clock::now();
        while clock::now().moment == before.moment {
            std::thread::yield_now();
        }
        assert!(connection.turn(&mut Context::from_waker(Waker::noop())).is_pending());
        connection.session.poll_timeout()
    };
    let first = turn();
    assert_eq!(turn(), first, "it took nothing");
    taken.store(1, Ordering::Relaxed);
    let second = turn();
    assert!(second > first);
    assert_eq!(turn(), second);
}
