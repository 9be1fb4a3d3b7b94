//! WebSocket (RFC 6455) as a stream of bytes: AMQP travels in the payload of binary messages, cut and joined at will.
//!
//! Nothing is collected. What comes is unmasked where it lies and its headers are squeezed out, so that a message may be
//! of any size and costs no memory; what goes gets a header in front of the caller's own bytes. The [request](upgrade) and
//! the form of headers are tungstenite's.

mod incoming;
mod outgoing;
#[cfg(test)]
mod tests;
pub mod upgrade;

use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use self::incoming::{Incoming, Said};
use self::outgoing::Outgoing;
use crate::server::stream::ClientStream;

/// See the module.
pub(super) struct WebSocket<S> {
    stream: S,
    incoming: Incoming,
    outgoing: Outgoing,
    /// What came right behind the request.
    early: Vec<u8>,
}

impl<S: ClientStream> WebSocket<S> {
    /// Over a stream whose client was told 101, and from which `early` has been read beyond the request.
    fn new(stream: S, early: Vec<u8>) -> Self {
        Self { stream, incoming: Incoming::default(), outgoing: Outgoing::default(), early }
    }

    /// Takes bytes from below to the end of `target`.
    fn poll_raw(&mut self, cx: &mut Context<'_>, target: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.early.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, target);
        }
        let taken = self.early.len().min(target.remaining());
        target.put_slice(&self.early[..taken]);
        self.early.drain(..taken);
        if self.early.is_empty() {
            self.early = Vec::new();
        }
        Poll::Ready(Ok(()))
    }

    /// Does what the peer's control frames ask for.
    fn hear(&mut self) {
        match self.incoming.said.take() {
            Some(Said::Ping(payload)) => self.outgoing.pong(payload),
            Some(Said::Close(code)) => self.outgoing.close(code),
            None => {}
        }
    }
}

impl<S: ClientStream> AsyncRead for WebSocket<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        target: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            // What is owed goes out as soon as it can; that it cannot yet is no reason not to read.
            if let Poll::Ready(sent) = this.outgoing.poll_control(cx, &mut this.stream) {
                sent?;
            }
            if this.incoming.is_closed {
                return Poll::Ready(Ok(()));
            }
            let start = target.filled().len();
            ready!(this.poll_raw(cx, target))?;
            let raw = target.filled().len() - start;
            if raw == 0 {
                return Poll::Ready(Ok(()));
            }
            let taken = this.incoming.take(&mut target.filled_mut()[start..]);
            target.set_filled(start + *taken.as_ref().unwrap_or(&0));
            this.hear();
            match taken {
                Ok(0) => {}
                Ok(_) => {
                    if let Poll::Ready(sent) = this.outgoing.poll_control(cx, &mut this.stream) {
                        sent?;
                    }
                    return Poll::Ready(Ok(()));
                }
                Err(refusal) => {
                    this.outgoing.close(Some(refusal.code));
                    // If it does not go out now the peer sees the end without a reason.
                    let _ = this.outgoing.poll_control(cx, &mut this.stream);
                    return Poll::Ready(Err(io::Error::new(ErrorKind::InvalidData, refusal.why)));
                }
            }
        }
    }
}

impl<S: ClientStream> AsyncWrite for WebSocket<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        ready!(this.outgoing.poll_control(cx, &mut this.stream))?;
        let written = ready!(this.outgoing.poll_payload(cx, &mut this.stream, slices))?;
        // It may have waited for the end of the message.
        if let Poll::Ready(sent) = this.outgoing.poll_control(cx, &mut this.stream) {
            sent?;
        }
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        ready!(this.outgoing.poll_control(cx, &mut this.stream))?;
        Pin::new(&mut this.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        this.outgoing.close(Some(CloseCode::Normal));
        ready!(this.outgoing.poll_control(cx, &mut this.stream))?;
        Pin::new(&mut this.stream).poll_shutdown(cx)
    }
}

impl<S: ClientStream> ClientStream for WebSocket<S> {
    fn is_cut(&self) -> bool {
        self.stream.is_cut()
    }

    fn reset_on_close(&self) {
        self.stream.reset_on_close();
    }

    fn can_half_close(&self) -> bool {
        false
    }

    fn taken(&self) -> u64 {
        self.stream.taken()
    }
}
