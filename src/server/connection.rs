//! The driver of one connection: moves bytes between a socket and a [`Session`].
//!
//! No locks, no buffers while idle: reads go into a buffer of the worker thread, and only an incomplete frame is kept.
//! Which task it is in is the matter of [`pairing`](crate::server::pairing). The task yields after every batch that may
//! have woken another task, so that the other is not stuck behind it in this worker's private slot.

#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::ReadBuf;
use tokio::time::Sleep;

use crate::output::MAX_SLICES;
use crate::server::clock;
use crate::server::pairing::{Member, Moved};
use crate::server::stream::ClientStream;
use crate::session::Session;
use crate::time::{Moment, Now};

/// Size of a worker's read buffer, and so of the largest batch.
const READ_BUFFER: usize = 256 * 1024;

/// An incomplete frame up to this size is carried in front of the next read; a larger one is read to its end in a
/// buffer of its own.
const CARRY_LIMIT: usize = 4096;

/// Largest output buffer that is kept for the next connection.
const POOLED_OUTPUT: usize = 1024 * 1024;

/// How often a socket that is not read is looked at for its end, in case nothing is written to it either.
const END_LOOK: Duration = Duration::from_secs(5);

/// Read batches before other tasks have their turn.
const BATCHES: usize = 4;

thread_local! {
    static BUFFERS: RefCell<Buffers> = const { RefCell::new(Buffers { read: Vec::new(), output: Vec::new() }) };
}

/// What a worker lends to the connection it runs.
struct Buffers {
    read: Vec<u8>,
    output: Vec<Vec<u8>>,
}

/// See the module.
pub(super) struct Connection<S> {
    session: Session,
    stream: S,
    /// The start of a frame whose rest has not come yet.
    partial: Vec<u8>,
    timer: Pin<Box<Sleep>>,
    armed: Option<Moment>,
    /// When the socket is looked at for its end; only while it is not read.
    end_look_at: Option<Moment>,
    reading: bool,
    /// The stream may hold bytes that the socket has not taken.
    unflushed: bool,
    /// Bytes that the socket had taken when it was last looked at.
    taken: u64,
    /// What this turn moved, or the last one.
    moved: Moved,
    panicked: bool,
}

impl<S: ClientStream> Connection<S> {
    pub(super) fn new(session: Session, stream: S) -> Self {
        let timer = Box::pin(tokio::time::sleep(std::time::Duration::ZERO));
        Self {
            session,
            stream,
            partial: Vec::new(),
            timer,
            armed: None,
            end_look_at: None,
            reading: true,
            unflushed: false,
            taken: 0,
            moved: Moved::default(),
            panicked: false,
        }
    }

    /// What one turn does. Ready when the connection is over.
    fn move_bytes(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut now = clock::now();
        self.moved = Moved::default();
        self.lend_output();
        for _ in 0..BATCHES {
            let mut moved = self.read(cx, now);
            let read = self.session.wants_input();
            self.moved.deliveries += self.session.handle_wake(now);
            moved |= self.write(cx, now);
            moved |= self.tick(cx, now);
            // Input is wanted again, and nobody has asked the socket for it.
            moved |= !read && self.session.wants_input();
            if self.session.is_over(now) {
                if self.session.ends_abruptly(now) {
                    self.stream.reset_on_close();
                } else {
                    // What TLS says last, should the client have ended it first. It need not be there to hear it.
                    let _ = Pin::new(&mut self.stream).poll_shutdown(cx);
                }
                return Poll::Ready(());
            }
            if !moved {
                self.return_output();
                return Poll::Pending;
            }
            now = clock::now();
        }
        self.return_output();
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Reads once and hands over what came. Returns whether anything moved.
    fn read(&mut self, cx: &mut Context<'_>, now: Now) -> bool {
        if !self.reading || !self.session.wants_input() {
            return false;
        }
        if !self.partial.is_empty() && self.session.bytes_needed(&self.partial) == 0 {
            // Input was held back; what is there already comes first.
            let held = std::mem::take(&mut self.partial);
            let used = self.session.handle_input(&held, now);
            self.keep(&held[used..]);
            if used > 0 {
                return true;
            }
        }
        let read = if self.partial.len() <= CARRY_LIMIT {
            self.read_shared(cx, now)
        } else {
            self.read_own(cx, now)
        };
        match read {
            Poll::Pending => false,
            Poll::Ready(Ok(0)) => {
                self.reading = false;
                self.session
                    .handle_closed_by_peer("the client closed the socket without connection.close", now);
                true
            }
            Poll::Ready(Ok(_)) => true,
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                // TLS without its own goodbye. AMQP has one, so nothing can be cut off unnoticed.
                self.reading = false;
                self.session
                    .handle_closed_by_peer("the client closed the socket without connection.close", now);
                true
            }
            Poll::Ready(Err(error)) => {
                self.reading = false;
                self.session.handle_closed_by_peer(&format!("the socket failed: {error}"), now);
                true
            }
        }
    }

    /// Reads into the worker's buffer, behind what was kept.
    fn read_shared(&mut self, cx: &mut Context<'_>, now: Now) -> Poll<io::Result<usize>> {
        BUFFERS.with_borrow_mut(|buffers| {
            let buffer = &mut buffers.read;
            if buffer.is_empty() {
                buffer.resize(READ_BUFFER, 0);
            }
            let kept = self.partial.len();
            buffer[..kept].copy_from_slice(&self.partial);
            let mut target = ReadBuf::new(&mut buffer[kept..]);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut target))?;
            let read = target.filled().len();
            if read > 0 {
                let input = &buffer[..kept + read];
                let used = self.session.handle_input(input, now);
                self.partial.clear();
                self.partial.extend_from_slice(&input[used..]);
                if self.partial.is_empty() && self.partial.capacity() > 0 {
                    self.partial = Vec::new();
                }
            }
            Poll::Ready(Ok(read))
        })
    }

    /// Reads the rest of a large frame into a buffer that grows with what comes.
    fn read_own(&mut self, cx: &mut Context<'_>, now: Now) -> Poll<io::Result<usize>> {
        let kept = self.partial.len();
        let needed = self.session.bytes_needed(&self.partial).saturating_sub(kept);
        let room = needed.clamp(CARRY_LIMIT, READ_BUFFER).min(kept.max(CARRY_LIMIT));
        self.partial.resize(kept + room, 0);
        let mut target = ReadBuf::new(&mut self.partial[kept..]);
        let result = Pin::new(&mut self.stream).poll_read(cx, &mut target);
        let read = target.filled().len();
        self.partial.truncate(kept + read);
        ready!(result)?;
        if read > 0 {
            let input = std::mem::take(&mut self.partial);
            let used = self.session.handle_input(&input, now);
            if used == 0 {
                self.partial = input;
            } else {
                self.keep(&input[used..]);
            }
        }
        Poll::Ready(Ok(read))
    }

    fn keep(&mut self, rest: &[u8]) {
        self.partial = rest.to_vec();
    }

    /// Writes as much as the socket takes. Returns whether anything moved.
    fn write(&mut self, cx: &mut Context<'_>, now: Now) -> bool {
        let moved = self.write_out(cx, now);
        let taken = self.stream.taken();
        if taken != self.taken {
            self.taken = taken;
            self.session.handle_progress(now);
        }
        moved
    }

    fn write_out(&mut self, cx: &mut Context<'_>, now: Now) -> bool {
        let mut moved = false;
        while !self.session.output().is_empty() {
            let mut slices = [IoSlice::new(&[]); MAX_SLICES];
            let filled = self.session.output().slices(&mut slices);
            let written = Pin::new(&mut self.stream).poll_write_vectored(cx, &slices[..filled]);
            match written {
                Poll::Pending => return moved,
                Poll::Ready(Ok(n)) if n > 0 => {
                    self.session.handle_written(n, now);
                    self.moved.bytes += n;
                    self.unflushed = true;
                    moved = true;
                }
                Poll::Ready(result) => {
                    let why = result.err().map_or_else(|| "it takes no bytes".to_owned(), |e| e.to_string());
                    self.session.handle_closed_by_peer(&format!("the socket failed: {why}"), now);
                    return true;
                }
            }
        }
        if self.unflushed && !self.flush(cx, now) {
            return moved;
        }
        if self.session.is_fin_due(now) {
            // The client reads our last frame, then the end; until it closes too, what it sends is thrown away. Where the
            // end is one for both sides it has to wait for the client's answer.
            let has_to_wait = !self.stream.can_half_close() && self.session.awaits_close_ok();
            if has_to_wait || Pin::new(&mut self.stream).poll_shutdown(cx).is_ready() {
                self.session.handle_fin_sent();
            } else {
                // The stream has a goodbye of its own, and the socket no room for it yet.
                self.unflushed = true;
                self.session.handle_flushing(true, now);
            }
        }
        moved
    }

    /// Sees to it that what a stream took goes out: TLS and its like take bytes before the socket does. Returns whether
    /// nothing is held back.
    fn flush(&mut self, cx: &mut Context<'_>, now: Now) -> bool {
        match Pin::new(&mut self.stream).poll_flush(cx) {
            Poll::Pending => {}
            Poll::Ready(Ok(())) => self.unflushed = false,
            Poll::Ready(Err(error)) => {
                self.unflushed = false;
                self.session.handle_closed_by_peer(&format!("the socket failed: {error}"), now);
            }
        }
        self.session.handle_flushing(self.unflushed, now);
        !self.unflushed
    }

    /// Does what is due, and sees to it that we are woken at the next deadline. Returns whether there is more to do.
    fn tick(&mut self, cx: &mut Context<'_>, now: Now) -> bool {
        let mut moved = false;
        let is_held = self.reading && !self.session.wants_input();
        self.end_look_at = is_held.then(|| self.end_look_at.unwrap_or_else(|| now.moment.after(END_LOOK)));
        while let Some(due) = self.session.poll_timeout().into_iter().chain(self.end_look_at).min() {
            if due <= now.moment {
                if moved {
                    return true;
                }
                moved = true;
                self.look_for_end(now);
                self.session.handle_timeout(now);
                continue;
            }
            // A deadline that moved away is not set anew; when the timer fires it will be seen to be early.
            if self.armed.is_none_or(|armed| due < armed) {
                self.armed = Some(due);
                self.timer.as_mut().reset(clock::instant(due));
            }
            if self.timer.as_mut().poll(cx).is_pending() {
                break;
            }
            self.armed = None;
        }
        moved
    }

    /// Notices that the client is gone though its socket is not read, if it is time to look.
    fn look_for_end(&mut self, now: Now) {
        if self.end_look_at.take_if(|at| *at <= now.moment).is_some() && self.stream.is_cut() {
            self.reading = false;
            self.session.handle_closed_by_peer("the client was gone while it was not read", now);
        }
    }

    fn lend_output(&mut self) {
        BUFFERS.with_borrow_mut(|buffers| {
            if let Some(buffer) = buffers.output.pop() {
                self.session.output().adopt(buffer);
            }
        });
    }

    fn return_output(&mut self) {
        if let Some(buffer) = self.session.output().release()
            && buffer.capacity() <= POOLED_OUTPUT
        {
            BUFFERS.with_borrow_mut(|buffers| {
                if buffers.output.is_empty() {
                    buffers.output.push(buffer);
                }
            });
        }
    }
}

impl<S: ClientStream + Send> Member for Connection<S> {
    fn turn(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match catch_unwind(AssertUnwindSafe(|| self.move_bytes(cx))) {
            Ok(poll) => poll,
            // The panic hook has logged it. The session may be in any state: say goodbye once, then let go.
            Err(_) if self.panicked => Poll::Ready(()),
            Err(_) => {
                self.panicked = true;
                // Another connection may be in this task, too.
                match catch_unwind(AssertUnwindSafe(|| self.session.handle_panic(clock::now()))) {
                    Ok(()) => {
                        cx.waker().wake_by_ref();
                        Poll::Pending
                    }
                    Err(_) => Poll::Ready(()),
                }
            }
        }
    }

    fn moved(&self) -> Moved {
        self.moved
    }

    fn peer(&mut self) -> &str {
        &self.session.peer_mut().address
    }
}
