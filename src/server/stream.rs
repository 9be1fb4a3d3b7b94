//! What a connection runs on.

#[cfg(test)]
pub(super) mod pieces;

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::AsFd;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::server::TlsStream;

/// A stream of bytes to a client.
pub(super) trait ClientStream: AsyncRead + AsyncWrite + Unpin {
    /// Makes the coming close a reset: what the peer has not taken is dropped.
    fn reset_on_close(&self);

    /// Whether the peer can still be heard after we have said our last.
    fn can_half_close(&self) -> bool {
        true
    }

    /// How many bytes the socket has taken so far, if the stream takes them before it does.
    fn taken(&self) -> u64 {
        0
    }

    /// Whether the socket has failed, or both of its sides are closed: nobody will read or say anything any more. A peer
    /// that has only ended its own side is still there.
    fn is_cut(&self) -> bool;
}

fn is_cut(socket: &impl AsFd) -> bool {
    let gone = PollFlags::HUP | PollFlags::ERR;
    let mut polled = [PollFd::new(socket, PollFlags::empty())];
    let looked = poll(&mut polled, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
    looked.is_ok() && polled[0].revents().intersects(gone)
}

impl ClientStream for TcpStream {
    fn is_cut(&self) -> bool {
        is_cut(self)
    }

    fn reset_on_close(&self) {
        if let Err(error) = SockRef::from(self).set_linger(Some(Duration::ZERO)) {
            tracing::debug!(%error, "cannot set linger");
        }
    }
}

impl ClientStream for UnixStream {
    /// There is nothing to do: what the peer has not taken is in its own socket, and goes with that.
    fn reset_on_close(&self) {}

    fn is_cut(&self) -> bool {
        is_cut(self)
    }
}

impl<S: ClientStream> ClientStream for TlsStream<S> {
    fn is_cut(&self) -> bool {
        self.get_ref().0.is_cut()
    }

    fn reset_on_close(&self) {
        self.get_ref().0.reset_on_close();
    }

    fn taken(&self) -> u64 {
        self.get_ref().0.taken()
    }
}

/// A stream that counts the bytes it takes, for one above it that holds some back.
#[derive(Debug)]
pub(super) struct Counted<S> {
    stream: S,
    taken: u64,
}

impl<S> Counted<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, taken: 0 }
    }

    fn count(&mut self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(n)) = written {
            self.taken += n as u64;
        }
        written
    }
}

impl<S: ClientStream> ClientStream for Counted<S> {
    fn is_cut(&self) -> bool {
        self.stream.is_cut()
    }

    fn reset_on_close(&self) {
        self.stream.reset_on_close();
    }

    fn taken(&self) -> u64 {
        self.taken
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        target: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, target)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.count(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.count(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    /// A socket that takes so many bytes and then no more.
    struct Narrow(usize);

    impl AsyncRead for Narrow {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    impl AsyncWrite for Narrow {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            let taken = self.0.min(bytes.len());
            self.0 -= taken;
            if taken == 0 { Poll::Pending } else { Poll::Ready(Ok(taken)) }
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    impl ClientStream for Narrow {
        fn reset_on_close(&self) {}

        fn is_cut(&self) -> bool {
            false
        }
    }

    #[test]
    fn what_a_socket_takes_is_counted() {
        let mut counted = Counted::new(Narrow(5));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut counted).poll_write(&mut cx, b"har").is_ready());
        assert_eq!(counted.taken(), 3);
        let both = [IoSlice::new(b"es"), IoSlice::new(b"leverets")];
        assert!(Pin::new(&mut counted).poll_write_vectored(&mut cx, &both).is_ready());
        assert!(Pin::new(&mut counted).poll_write_vectored(&mut cx, &both).is_pending());
        assert_eq!(counted.taken(), 5);
    }
}
