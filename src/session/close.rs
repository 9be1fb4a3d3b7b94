//! The end of a connection: last bytes out, then the peer's close-ok or end of stream, within bounded time.

use std::time::Duration;

use crate::protocol::frame::{FrameKind, Next, next_frame};
use crate::protocol::method::{Method, connection};
use crate::time::{Moment, Now};

/// How long the peer has to answer our close.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long the peer has to close its side after everything is said.
const AFTER_FIN: Duration = Duration::from_secs(1);

/// How long a connection that gets no frame is held before it is closed, to slow a guessing client down.
const SILENT_DELAY: Duration = Duration::from_secs(1);

/// A connection that is ending. Input is discarded.
#[derive(Debug)]
pub(super) struct Farewell {
    fin_at: Moment,
    until: Moment,
    /// Our close wants an answer.
    awaits_close_ok: bool,
    over: bool,
    fin_sent: bool,
    /// Frames can be told apart no more.
    garbled: bool,
    /// The peer does not take what was said: its socket is reset.
    abrupt: bool,
}

impl Farewell {
    fn new(fin_at: Moment, until: Moment, awaits_close_ok: bool) -> Self {
        Self { fin_at, until, awaits_close_ok, over: false, fin_sent: false, garbled: false, abrupt: false }
    }

    /// We sent connection.close.
    pub(super) fn await_close_ok(now: Now) -> Self {
        Self::new(now.moment, now.moment.after(PATIENCE), true)
    }

    /// Everything is said; the peer is to read it and close.
    pub(super) fn after_flush(now: Now) -> Self {
        Self::new(now.moment, now.moment.after(AFTER_FIN), false)
    }

    /// Nothing will be said.
    pub(super) fn silent(now: Now) -> Self {
        let fin_at = now.moment.after(SILENT_DELAY);
        Self::new(fin_at, fin_at.after(AFTER_FIN), false)
    }

    /// The peer is gone already.
    pub(super) fn over() -> Self {
        Self { over: true, ..Self::new(Moment(0), Moment(0), false) }
    }

    /// The peer does not answer any more.
    pub(super) fn abrupt() -> Self {
        Self { abrupt: true, ..Self::over() }
    }

    /// Whether the socket is to be reset, because its peer did not take what it was sent.
    pub(super) fn is_abrupt(&self, now: Now) -> bool {
        self.abrupt || (self.awaits_close_ok && !self.over && self.until <= now.moment)
    }

    /// Throws input away, looking for the answer to our close.
    pub(super) fn discard(&mut self, rest: &[u8]) -> usize {
        if self.garbled || !self.awaits_close_ok {
            return rest.len();
        }
        match next_frame(rest, u32::MAX) {
            // An announced size is not waited for: what is there is thrown away, and frames are lost track of.
            Ok(Next::Incomplete { needed }) if needed > 64 * 1024 => {
                self.garbled = true;
                rest.len()
            }
            Ok(Next::Incomplete { .. }) => 0,
            Ok(Next::Frame(frame)) => {
                let answers = frame.kind == FrameKind::Method
                    && frame.channel == 0
                    && matches!(
                        Method::decode(frame.payload),
                        Ok(Method::Connection(connection::Method::CloseOk(_) | connection::Method::Close(_)))
                    );
                if answers {
                    self.over = true;
                }
                frame.wire_len()
            }
            Err(_) => {
                self.garbled = true;
                rest.len()
            }
        }
    }

    pub(super) fn is_fin_due(&self, now: Now, flushed: bool) -> bool {
        flushed && !self.fin_sent && self.fin_at <= now.moment
    }

    pub(super) fn awaits_close_ok(&self) -> bool {
        self.awaits_close_ok
    }

    /// Our side of the socket is shut down.
    pub(super) fn fin_sent(&mut self) {
        self.fin_sent = true;
    }

    pub(super) fn is_over(&self, now: Now, flushed: bool) -> bool {
        (self.over && flushed) || self.until <= now.moment
    }

    pub(super) fn next_timeout(&self, flushed: bool) -> Option<Moment> {
        let fin = (flushed && !self.fin_sent).then_some(self.fin_at);
        Some(fin.map_or(self.until, |fin| fin.min(self.until)))
    }
}
