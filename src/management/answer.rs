//! What comes back: a status, and mostly JSON. A long list is sent as it is made, so that it never lies in memory whole.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE, LOCATION};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use hyper::body::Frame;
use serde_json::Value;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::{Instant, timeout_at};

/// Bytes that go off together.
const CHUNK: usize = 64 << 10;

/// Chunks that may wait for a slow reader.
const WAITING: usize = 4;

/// How long a reader may take for one.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long a reader may take for all.
const LONGEST: Duration = Duration::from_secs(600);

const JSON: &str = "application/json";

const EVENTS: &str = "text/event-stream";

/// The answer to a request.
pub(crate) enum Answer {
    /// 200 with this.
    Json(Value),
    /// 200 with this, which browsers are to save under this name.
    File(String, Value),
    /// Another status with this.
    Status(StatusCode, Value),
    /// 200 with a text of this type.
    Text(&'static str, String),
    /// 200 with what a function writes, of this type. It runs after the head of the answer is sent: if it panics, or its
    /// reader is too slow, the answer breaks off.
    Stream(&'static str, Box<dyn FnOnce(&mut Sink) + Send>),
    /// 201.
    Created,
    /// 201, and where it is.
    CreatedAt(String),
    /// 204.
    NoContent,
    /// Another answer, with words about it in a header of this name.
    Noted(Box<Self>, &'static str, String),
}

/// The header that names what is kept and makes no difference.
pub(crate) const UNHEEDED: &str = "leveret-unheeded";

impl Answer {
    /// JSON that a function writes.
    pub(crate) fn stream(write: impl FnOnce(&mut Sink) + Send + 'static) -> Self {
        Self::Stream(JSON, Box::new(write))
    }

    /// 201 for what is new and 204 for what was there.
    pub(crate) fn put(is_new: bool) -> Self {
        if is_new { Self::Created } else { Self::NoContent }
    }

    /// As HTTP has it. What is left to be written, if anything, is to be run on a thread that may block.
    pub(crate) fn into_response(self) -> (Response, Option<Job>) {
        match self {
            Self::Json(value) => (json(StatusCode::OK, &value), None),
            Self::File(name, value) => {
                let mut response = json(StatusCode::OK, &value);
                let plain = |c: char| if c.is_ascii_alphanumeric() || ".-_ ".contains(c) { c } else { '_' };
                let name: String = name.chars().map(plain).collect();
                if let Ok(how) = HeaderValue::try_from(format!("attachment; filename=\"{name}\"")) {
                    response.headers_mut().insert(CONTENT_DISPOSITION, how);
                }
                (response, None)
            }
            Self::Status(status, value) => (json(status, &value), None),
            Self::Text(kind, text) => (whole(StatusCode::OK, kind, text.into()), None),
            Self::Stream(kind, write) => {
                let (sender, chunks) = channel(WAITING);
                let response = whole(StatusCode::OK, kind, Body::new(Chunks { chunks, is_at_end: false }));
                (response, Some(Job { sink: Sink::new(sender), write }))
            }
            Self::Created => (empty(StatusCode::CREATED), None),
            Self::CreatedAt(place) => {
                let mut response = empty(StatusCode::CREATED);
                if let Ok(place) = HeaderValue::try_from(place) {
                    response.headers_mut().insert(LOCATION, place);
                }
                (response, None)
            }
            Self::NoContent => (empty(StatusCode::NO_CONTENT), None),
            Self::Noted(answer, name, words) => {
                let (mut response, job) = answer.into_response();
                if let Ok(words) = HeaderValue::try_from(words) {
                    response.headers_mut().insert(name, words);
                }
                (response, job)
            }
        }
    }
}

/// An answer with a body of JSON.
pub(crate) fn json(status: StatusCode, value: &Value) -> Response {
    whole(status, JSON, value.to_string().into())
}

fn whole(status: StatusCode, kind: &'static str, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// The rest of an answer.
pub(crate) struct Job {
    sink: Sink,
    write: Box<dyn FnOnce(&mut Sink) + Send>,
}

impl Job {
    /// Writes it. For a thread that may block.
    pub(crate) fn run(mut self) {
        (self.write)(&mut self.sink);
        self.sink.flush();
        self.sink.send(Chunk::End);
    }
}

/// Where a long answer is written to.
pub(crate) struct Sink {
    buffer: Vec<u8>,
    /// None once the reader has gone.
    sender: Option<Sender<Chunk>>,
    /// When a reader has had time enough.
    deadline: Instant,
}

/// A piece of an answer.
#[derive(Debug)]
pub(crate) enum Chunk {
    /// Some of it.
    Bytes(Bytes),
    /// All of it is sent. Without it the answer broke off.
    End,
}

impl Sink {
    fn new(sender: Sender<Chunk>) -> Self {
        Self { buffer: Vec::new(), sender: Some(sender), deadline: Instant::now() + LONGEST }
    }

    /// Writes text.
    pub(crate) fn text(&mut self, text: &str) {
        self.buffer.extend_from_slice(text.as_bytes());
        self.send_full();
    }

    /// Writes JSON.
    pub(crate) fn value(&mut self, value: &Value) {
        // Into memory, of a value whose keys are strings: it does not fail.
        let _ = serde_json::to_writer(&mut self.buffer, value);
        self.send_full();
    }

    /// Whether anybody still reads. Who writes much may stop then.
    pub(crate) fn is_open(&self) -> bool {
        self.sender.is_some()
    }

    fn send_full(&mut self) {
        if self.buffer.len() >= CHUNK {
            self.flush();
        }
    }

    /// Sends what is there, and waits for a slow reader, but not for ever.
    pub(crate) fn flush(&mut self) {
        let bytes = std::mem::take(&mut self.buffer);
        if !bytes.is_empty() {
            self.send(Chunk::Bytes(bytes.into()));
        }
    }

    fn send(&mut self, chunk: Chunk) {
        let Some(sender) = &self.sender else { return };
        let until = self.deadline.min(Instant::now() + PATIENCE);
        let sending = async { timeout_at(until, sender.send(chunk)).await };
        if !matches!(tokio::runtime::Handle::current().block_on(sending), Ok(Ok(()))) {
            self.sender = None;
        }
    }
}

/// An answer of server-sent events, and the way into it. What was sent is taken before there is room for more.
pub(crate) fn events() -> (Sender<Chunk>, Response) {
    let (sender, chunks) = channel(1);
    let body = Body::new(Chunks { chunks, is_at_end: false });
    let mut response = whole(StatusCode::OK, EVENTS, body);
    // Proxies that know this header pass events on at once.
    response.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    (sender, response)
}

/// A sink, and what comes out of it.
#[cfg(test)]
pub(crate) fn piped() -> (Sink, Receiver<Chunk>) {
    let (sender, chunks) = channel(WAITING);
    (Sink::new(sender), chunks)
}

/// The body that a [`Sink`] fills.
struct Chunks {
    chunks: Receiver<Chunk>,
    /// Whoever compresses asks once more after the end.
    is_at_end: bool,
}

impl hyper::body::Body for Chunks {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.is_at_end {
            return Poll::Ready(None);
        }
        self.chunks.poll_recv(cx).map(|chunk| match chunk {
            Some(Chunk::Bytes(bytes)) => Some(Ok(Frame::data(bytes))),
            Some(Chunk::End) => {
                self.is_at_end = true;
                None
            }
            None => Some(Err(std::io::Error::other("the answer broke off"))),
        })
    }
}
