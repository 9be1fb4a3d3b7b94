//! The body of a request, which says how much of it is on its way.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::body::{Body, Bytes, Frame, SizeHint};

/// Bytes that go off together.
const CHUNK: usize = 64 << 10;

/// What is told how many bytes of how many are on their way.
pub(in crate::cli) type Progress = Box<dyn FnMut(u64, u64) + Send>;

/// See the module.
#[derive(Default)]
pub(in crate::cli) struct Upload {
    bytes: Bytes,
    size: u64,
    progress: Option<Progress>,
}

impl Upload {
    /// These bytes.
    pub(in crate::cli) fn new(bytes: Vec<u8>) -> Self {
        Self { size: bytes.len() as u64, bytes: bytes.into(), progress: None }
    }

    /// These bytes, of which somebody wants to know how far they are.
    pub(in crate::cli) fn watched(bytes: Vec<u8>, progress: Progress) -> Self {
        Self { progress: Some(progress), ..Self::new(bytes) }
    }

    /// Whether there is nothing in it.
    pub(in crate::cli) fn is_empty(&self) -> bool {
        self.size == 0
    }
}

impl fmt::Debug for Upload {
    /// Not what is in it: there may be a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upload").field("size", &self.size).finish_non_exhaustive()
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.bytes.is_empty() {
            return Poll::Ready(None);
        }
        let most = self.bytes.len().min(CHUNK);
        let chunk = self.bytes.split_to(most);
        let (sent, size) = (self.size - self.bytes.len() as u64, self.size);
        if let Some(progress) = &mut self.progress {
            progress(sent, size);
        }
        Poll::Ready(Some(Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.len() as u64)
    }
}
