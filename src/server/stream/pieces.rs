//! A made-up client whose bytes come in pieces.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::ClientStream;

/// The bytes of a client, in pieces of these lengths over and over, and then their end. What it is sent is kept.
pub(in crate::server) struct Pieces {
    bytes: Vec<u8>,
    lengths: Vec<usize>,
    /// How many pieces have come.
    count: usize,
    /// How many bytes have been read.
    pub(in crate::server) read: usize,
    pub(in crate::server) sent: Vec<u8>,
}

impl Pieces {
    pub(in crate::server) fn new(bytes: &[u8], lengths: &[usize]) -> Self {
        Self { bytes: bytes.to_vec(), lengths: lengths.to_vec(), count: 0, read: 0, sent: Vec::new() }
    }
}

/// Waits for something that never has to wait.
pub(in crate::server) fn at_once<T>(what: impl Future<Output = T>) -> T {
    let mut cx = Context::from_waker(std::task::Waker::noop());
    match std::pin::pin!(what).poll(&mut cx) {
        Poll::Ready(done) => done,
        Poll::Pending => panic!("it waits"),
    }
}

impl AsyncRead for Pieces {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        target: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let length = self.lengths[self.count % self.lengths.len()].min(target.remaining());
        let end = (self.read + length).min(self.bytes.len());
        target.put_slice(&self.bytes[self.read..end]);
        (self.read, self.count) = (end, self.count + 1);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Pieces {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.sent.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Lent, so that it can be looked at afterwards.
impl ClientStream for &mut Pieces {
    fn reset_on_close(&self) {}

    fn is_cut(&self) -> bool {
        false
    }
}
