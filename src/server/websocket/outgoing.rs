//! What goes to a WebSocket client: headers in front of the caller's bytes, and answers to control frames.

use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Control, Data, OpCode};

use crate::output::MAX_SLICES;
use crate::server::stream::ClientStream;

/// The longest message. Some clients have a limit, the strictest of them one of 1 MiB.
const LONGEST_MESSAGE: usize = 64 * 1024;

/// Where the stream of frames stands.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    /// What is left of the header of the message that goes out.
    header: Vec<u8>,
    /// How much of its payload is to follow.
    left: usize,
    /// What is left of a control frame. Once it has begun to go out it goes before anything else.
    control: Vec<u8>,
    /// The payload of the pong that is owed.
    pong: Option<Vec<u8>>,
    close: Close,
}

#[derive(Debug, Default)]
enum Close {
    #[default]
    NotYet,
    /// To be sent.
    Owed(Option<CloseCode>),
    Sent,
}

impl Outgoing {
    /// A pong is owed. One before it that has not gone out is not owed any more.
    pub(super) fn pong(&mut self, payload: Vec<u8>) {
        self.pong = Some(payload);
    }

    /// The last frame is owed, unless it has been before.
    pub(super) fn close(&mut self, code: Option<CloseCode>) {
        if matches!(self.close, Close::NotYet) {
            self.close = Close::Owed(code);
        }
    }

    /// Sends the control frames that are owed, if no message is on its way. Ready if none is left that can go now.
    pub(super) fn poll_control<S: ClientStream>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut S,
    ) -> Poll<io::Result<()>> {
        loop {
            while !self.control.is_empty() {
                let written = ready!(Pin::new(&mut *stream).poll_write(cx, &self.control))?;
                self.control.drain(..none_is_an_error(written)?);
            }
            if self.left > 0 || matches!(self.close, Close::Sent) {
                return Poll::Ready(Ok(()));
            }
            if let Some(payload) = self.pong.take() {
                begin_frame(&mut self.control, OpCode::Control(Control::Pong), payload.len());
                self.control.extend_from_slice(&payload);
            } else if let Close::Owed(code) = self.close {
                let payload = code.map(|code| u16::from(code).to_be_bytes());
                let length = if payload.is_some() { 2 } else { 0 };
                begin_frame(&mut self.control, OpCode::Control(Control::Close), length);
                self.control.extend(payload.into_iter().flatten());
                self.close = Close::Sent;
            } else {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Sends some of the bytes in `slices`. Those of a message that has begun are the first of them: the caller comes
    /// back with what was not taken.
    pub(super) fn poll_payload<S: ClientStream>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut S,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if matches!(self.close, Close::Sent) {
            return Poll::Ready(Err(io::Error::new(ErrorKind::BrokenPipe, "the WebSocket is closed")));
        }
        if self.left == 0 {
            let all: usize = slices.iter().map(|slice| slice.len()).sum();
            if all == 0 {
                return Poll::Ready(Ok(0));
            }
            self.left = all.min(LONGEST_MESSAGE);
            begin_frame(&mut self.header, OpCode::Data(Data::Binary), self.left);
        }
        loop {
            let written = {
                let mut out = [IoSlice::new(&[]); MAX_SLICES + 1];
                out[0] = IoSlice::new(&self.header);
                let filled = within(self.left, slices, &mut out[1..]);
                ready!(Pin::new(&mut *stream).poll_write_vectored(cx, &out[..=filled]))?
            };
            let of_header = none_is_an_error(written)?.min(self.header.len());
            self.header.drain(..of_header);
            let of_payload = written - of_header;
            if of_payload > 0 {
                self.left -= of_payload;
                return Poll::Ready(Ok(of_payload));
            }
        }
    }
}

/// The first `limit` bytes of `slices`. Returns how many slices that are.
fn within<'a>(limit: usize, slices: &'a [IoSlice<'a>], out: &mut [IoSlice<'a>]) -> usize {
    let (mut left, mut filled) = (limit, 0);
    for (slice, place) in slices.iter().zip(out) {
        if left == 0 {
            break;
        }
        let here = slice.len().min(left);
        *place = IoSlice::new(&slice[..here]);
        left -= here;
        filled += 1;
    }
    filled
}

fn none_is_an_error(written: usize) -> io::Result<usize> {
    if written == 0 { Err(ErrorKind::WriteZero.into()) } else { Ok(written) }
}

/// Puts the header of a whole frame down, which a server does not mask.
fn begin_frame(bytes: &mut Vec<u8>, opcode: OpCode, length: usize) {
    let header = FrameHeader { opcode, ..FrameHeader::default() };
    // A vector takes all there is, and a usize is not larger than a u64.
    let _ = header.format(length as u64, bytes);
}
