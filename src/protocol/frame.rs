//! Frames: the envelope of seven header bytes, a payload and one end octet.
//!
//! Splits input into frames and writes them. What a payload means, and whether a frame may come
//! now, is decided elsewhere.

use std::fmt::Write as _;

use super::reply::{AmqpError, ReplyCode};

/// The octet that ends every frame.
pub const FRAME_END: u8 = 0xCE;
/// Bytes of a frame besides its payload.
pub const FRAME_OVERHEAD: usize = 8;
/// Bytes before the payload: type, channel, payload size.
pub const FRAME_HEADER: usize = 7;
/// The smallest frame size a peer may ask for, overhead included.
pub const FRAME_MIN: u32 = 4096;
/// A whole heartbeat frame.
pub const HEARTBEAT: [u8; 8] = [FrameKind::Heartbeat as u8, 0, 0, 0, 0, 0, 0, FRAME_END];

/// Shortest payload of a method frame: class and method id.
const METHOD_MIN: u32 = 4;
/// Payload bytes an error text shows.
const SNIPPET: usize = 16;

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum FrameKind {
    /// A method and its arguments.
    Method = 1,
    /// The header of a content: its size and properties.
    Header = 2,
    /// A part of a content's body.
    Body = 3,
    /// A sign of life.
    Heartbeat = 8,
}

/// One whole frame, its payload still in the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What it carries.
    pub kind: FrameKind,
    /// Its channel, 0 for the connection itself.
    pub channel: u16,
    /// The bytes between header and end octet.
    pub payload: &'a [u8],
}

impl Frame<'_> {
    /// Bytes the whole frame takes in the input.
    #[inline]
    pub fn wire_len(&self) -> usize {
        self.payload.len() + FRAME_OVERHEAD
    }
}

/// What the front of the input is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next<'a> {
    /// A whole frame.
    Frame(Frame<'a>),
    /// The beginning of a frame.
    Incomplete {
        /// Bytes of this frame, overhead included; [`FRAME_HEADER`] while its header is not there.
        needed: usize,
    },
}

/// Looks at the frame at the front of `input`; the caller skips [`Frame::wire_len`] bytes of it.
///
/// `max_payload` is the largest payload accepted, `u32::MAX` for no limit. Peers may exceed the
/// agreed frame size by the overhead, so a caller passes that size itself.
///
/// # Errors
///
/// 501 for an unknown type, a payload over `max_payload`, a heartbeat with a payload, a method
/// frame without ids and a wrong end octet; 505 for a heartbeat on a channel and for content on
/// channel 0. All but the end octet are found in the header, before any payload has come, and the
/// type in the first byte.
#[inline]
pub fn next_frame(input: &[u8], max_payload: u32) -> Result<Next<'_>, AmqpError> {
    let &[kind, c1, c0, s3, s2, s1, s0, ref rest @ ..] = input else {
        return short_header(input);
    };
    let channel = u16::from_be_bytes([c1, c0]);
    let size = u32::from_be_bytes([s3, s2, s1, s0]);
    let kind = match kind {
        1 if size >= METHOD_MIN => FrameKind::Method,
        2 if channel != 0 => FrameKind::Header,
        3 if channel != 0 => FrameKind::Body,
        8 if channel == 0 && size == 0 => FrameKind::Heartbeat,
        _ => return Err(bad_header(kind, channel, size, max_payload)),
    };
    if size > max_payload {
        return Err(bad_header(kind as u8, channel, size, max_payload));
    }
    let size = size as usize;
    match rest.get(size) {
        Some(&FRAME_END) => Ok(Next::Frame(Frame { kind, channel, payload: &rest[..size] })),
        Some(&end) => Err(bad_end(kind, &rest[..size], end)),
        None => Ok(Next::Incomplete { needed: size.saturating_add(FRAME_OVERHEAD) }),
    }
}

/// Appends a frame's header with the size left open; returns where the frame starts, for
/// [`end_frame`].
#[inline]
pub fn begin_frame(out: &mut Vec<u8>, kind: FrameKind, channel: u16) -> usize {
    let start = out.len();
    let [c1, c0] = channel.to_be_bytes();
    out.extend_from_slice(&[kind as u8, c1, c0, 0, 0, 0, 0]);
    start
}

/// Completes the frame begun at `start`: everything appended since is its payload, which must be
/// under 4 GiB.
#[inline]
pub fn end_frame(out: &mut Vec<u8>, start: usize) {
    let size = out.len().saturating_sub(start + FRAME_HEADER);
    debug_assert!(u32::try_from(size).is_ok(), "a frame's size is four octets");
    if let Some(field) = out.get_mut(start + 3..start + FRAME_HEADER) {
        field.copy_from_slice(&(size as u32).to_be_bytes());
    }
    out.push(FRAME_END);
}

fn short_header(input: &[u8]) -> Result<Next<'_>, AmqpError> {
    match input.first() {
        None | Some(1 | 2 | 3 | 8) => Ok(Next::Incomplete { needed: FRAME_HEADER }),
        Some(&kind) => Err(frame_error(kind, &[], "unknown_frame")),
    }
}

#[cold]
fn bad_header(kind: u8, channel: u16, size: u32, max_payload: u32) -> AmqpError {
    if !matches!(kind, 1 | 2 | 3 | 8) {
        return frame_error(kind, &[], "unknown_frame");
    }
    if size > max_payload {
        return frame_error(kind, &[], &format!("{{frame_too_large,{size},{max_payload}}}"));
    }
    match kind {
        1 => frame_error(kind, &[], &format!("method frame of {size} octets")),
        8 if channel == 0 => frame_error(kind, &[], &format!("heartbeat with a payload of {size} octets")),
        _ => AmqpError::new(ReplyCode::UnexpectedFrame, format!("type {kind} on channel {channel}")),
    }
}

#[cold]
fn bad_end(kind: FrameKind, payload: &[u8], end: u8) -> AmqpError {
    frame_error(kind as u8, payload, &format!("{{invalid_frame_end_marker,{end}}}"))
}

/// RabbitMQ's wording: people search logs for it.
fn frame_error(kind: u8, payload: &[u8], what: &str) -> AmqpError {
    let shown = &payload[..payload.len().min(SNIPPET)];
    let extent = if shown.len() == payload.len() { "all" } else { "first 16" };
    let mut octets = String::new();
    for (i, octet) in shown.iter().enumerate() {
        let comma = if i == 0 { "" } else { "," };
        let _ = write!(octets, "{comma}{octet}");
    }
    AmqpError::new(ReplyCode::FrameError, format!("type {kind}, {extent} octets = <<{octets}>>: {what}"))
}

#[cfg(test)]
mod tests;
