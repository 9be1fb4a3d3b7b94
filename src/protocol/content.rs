//! Content: the header and body frames that follow a method such as `basic.publish`.
//!
//! The assembler knows for one channel what must come next and puts the pieces together; the
//! writers take them apart. Memory grows with what has come, never with what was announced.

#[cfg(test)]
mod tests;

use super::frame::{FRAME_OVERHEAD, FrameKind, begin_frame, end_frame};
use super::properties::Properties;
use super::reply::{AmqpError, MethodId, ReplyCode};
use super::wire::take;

/// Class id of `basic`, the only class with content.
pub const CLASS_BASIC: u16 = 60;

/// Largest body a header may announce, RabbitMQ's limit; above it the frame counts as broken.
const BODY_SIZE_MAX: u64 = 512 * 1024 * 1024;
/// Empty body frames accepted in a row: they are legal, but make no progress.
const EMPTY_FRAMES_MAX: u32 = 1_000;
/// The one method of a client that carries content.
const PUBLISH: MethodId = MethodId::new(CLASS_BASIC, 40);
/// Bytes of a content header before the properties: class, weight, body size.
const PREFIX: usize = 12;

/// A content header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentHeader<'a> {
    /// Bytes of the body to come.
    pub body_size: u64,
    /// The message's properties.
    pub properties: Properties<'a>,
}

impl<'a> ContentHeader<'a> {
    /// Decodes a header frame's payload. `method` is the method it belongs to, for errors.
    ///
    /// # Errors
    ///
    /// 501 if it is too short, announces over 512 MiB or its properties are malformed; 505 for
    /// another class than `basic` or a weight other than 0.
    #[inline]
    pub fn parse(payload: &'a [u8], method: MethodId) -> Result<Self, AmqpError> {
        let mut rest = payload;
        let Ok([c1, c0, w1, w0]) = take(&mut rest) else {
            return Err(short_header(payload).at(method));
        };
        let Ok(size) = take(&mut rest) else {
            return Err(short_header(payload).at(method));
        };
        let class = u16::from_be_bytes([c1, c0]);
        let weight = u16::from_be_bytes([w1, w0]);
        let body_size = u64::from_be_bytes(size);
        if rest.len() < 2 {
            return Err(short_header(payload).at(method));
        }
        if class != CLASS_BASIC || weight != 0 || body_size > BODY_SIZE_MAX {
            return Err(bad_header(class, weight, body_size).at(method));
        }
        match Properties::parse(rest) {
            Ok(properties) => Ok(Self { body_size, properties }),
            Err(error) => Err(error.at(method)),
        }
    }

    /// Reads a payload that [`ContentHeader::parse`] has accepted before. Of other bytes it reads
    /// what it can; it never panics.
    #[inline]
    pub fn assume_valid(payload: &'a [u8]) -> Self {
        match payload.split_first_chunk::<PREFIX>() {
            Some((&[_, _, _, _, size @ ..], raw)) => {
                Self { body_size: u64::from_be_bytes(size), properties: Properties::assume_valid(raw) }
            }
            None => Self { body_size: 0, properties: Properties::EMPTY },
        }
    }
}

/// A method with all of its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content<M> {
    /// What the owner of the channel kept of the method.
    pub method: M,
    /// The header frame's payload, valid.
    pub header: Vec<u8>,
    /// The whole body.
    pub body: Vec<u8>,
}

impl<M> Content<M> {
    /// The decoded header.
    pub fn header(&self) -> ContentHeader<'_> {
        ContentHeader::assume_valid(&self.header)
    }
}

/// What one channel expects next, and the content it has so far.
///
/// Every error but 406 closes the connection, 406 the channel: either way the assembler has done
/// its work, and expects a method again.
#[derive(Clone, Debug)]
pub struct Assembler<M> {
    due: Due<M>,
}

#[derive(Clone, Debug)]
enum Due<M> {
    Method,
    Header(M),
    Body { content: Content<M>, remaining: u64, empty_frames: u32 },
}

impl<M> Default for Assembler<M> {
    fn default() -> Self {
        Self::new()
    }
}

impl<M> Assembler<M> {
    /// An assembler that expects a method.
    pub fn new() -> Self {
        Self { due: Due::Method }
    }

    /// Whether a method may come now; if not, content is due.
    #[inline]
    pub fn expects_method(&self) -> bool {
        matches!(self.due, Due::Method)
    }

    /// A method with content has come: its header is due. Content begun before is dropped.
    #[inline]
    pub fn begin(&mut self, method: M) {
        self.due = Due::Header(method);
    }

    /// Takes a header frame's payload. The content is complete if its body is empty.
    ///
    /// # Errors
    ///
    /// 505 if no header is due, 406 if the body is to be larger than `max_message_size` bytes, and
    /// those of [`ContentHeader::parse`].
    pub fn header(&mut self, payload: &[u8], max_message_size: u64) -> Result<Option<Content<M>>, AmqpError> {
        let method = match std::mem::replace(&mut self.due, Due::Method) {
            Due::Header(method) => method,
            Due::Method => return Err(method_was_due()),
            Due::Body { .. } => return Err(body_was_due()),
        };
        let header = ContentHeader::parse(payload, PUBLISH)?;
        if header.body_size > max_message_size {
            return Err(too_large(header.body_size, max_message_size));
        }
        let content = Content { method, header: payload.to_vec(), body: Vec::new() };
        if header.body_size == 0 {
            return Ok(Some(content));
        }
        self.due = Due::Body { content, remaining: header.body_size, empty_frames: 0 };
        Ok(None)
    }

    /// Takes a body frame's payload. The content is complete when the announced size has come.
    ///
    /// # Errors
    ///
    /// 505 if no body is due; 501 if it is longer than announced, or too many empty frames came in
    /// a row.
    pub fn body(&mut self, payload: &[u8]) -> Result<Option<Content<M>>, AmqpError> {
        let (content, remaining, empty_frames) = match &mut self.due {
            Due::Body { content, remaining, empty_frames } => (content, remaining, empty_frames),
            Due::Method => return Err(method_was_due()),
            Due::Header(_) => {
                self.due = Due::Method;
                return Err(header_was_due());
            }
        };
        let len = payload.len() as u64;
        *empty_frames = if len == 0 { *empty_frames + 1 } else { 0 };
        if len > *remaining || *empty_frames > EMPTY_FRAMES_MAX {
            let error = bad_body(len);
            self.due = Due::Method;
            return Err(error);
        }
        append(&mut content.body, payload, *remaining);
        *remaining -= len;
        if *remaining > 0 {
            return Ok(None);
        }
        match std::mem::replace(&mut self.due, Due::Method) {
            Due::Body { content, .. } => Ok(Some(content)),
            Due::Method | Due::Header(_) => Ok(None),
        }
    }

    /// Drops what has come; a method is expected again.
    pub fn abandon(&mut self) {
        self.due = Due::Method;
    }

    /// The error for a method that came while content was due.
    pub fn unexpected_method(&self) -> AmqpError {
        match self.due {
            Due::Header(_) => header_was_due(),
            Due::Body { .. } | Due::Method => body_was_due(),
        }
    }
}

/// Appends a content header frame. `raw_properties` is what [`Properties::raw`] gives.
pub fn write_header(out: &mut Vec<u8>, channel: u16, body_size: u64, raw_properties: &[u8]) {
    let start = begin_frame(out, FrameKind::Header, channel);
    let [c1, c0] = CLASS_BASIC.to_be_bytes();
    out.extend_from_slice(&[c1, c0, 0, 0]);
    out.extend_from_slice(&body_size.to_be_bytes());
    out.extend_from_slice(raw_properties);
    end_frame(out, start);
}

/// Appends the body frames, none for an empty body. `frame_max` is the largest frame in bytes,
/// overhead included; 0 is no limit.
pub fn write_body(out: &mut Vec<u8>, channel: u16, body: &[u8], frame_max: u32) {
    let frame_max = if frame_max == 0 { u32::MAX } else { frame_max };
    let part_max = (frame_max as usize).saturating_sub(FRAME_OVERHEAD).max(1);
    for part in body.chunks(part_max) {
        let start = begin_frame(out, FrameKind::Body, channel);
        out.extend_from_slice(part);
        end_frame(out, start);
    }
}

/// Appends a part of a body of which `remaining` bytes, this part among them, are still to come.
/// Capacity at least doubles, so that a body of many frames is not copied for each, but never
/// exceeds the announced size, nor more than twice what has come.
fn append(body: &mut Vec<u8>, part: &[u8], remaining: u64) {
    if body.capacity() - body.len() < part.len() {
        let doubled = part.len().max(body.len());
        let announced = usize::try_from(remaining).unwrap_or(usize::MAX);
        body.reserve_exact(doubled.min(announced));
    }
    body.extend_from_slice(part);
}

#[cold]
fn short_header(payload: &[u8]) -> AmqpError {
    let text = format!("content header of {} octets is too short", payload.len());
    AmqpError::new(ReplyCode::FrameError, text)
}

#[cold]
fn bad_header(class: u16, weight: u16, body_size: u64) -> AmqpError {
    if class != CLASS_BASIC {
        let text =
            format!("expected content header for class {CLASS_BASIC}, got one for class {class} instead");
        return AmqpError::new(ReplyCode::UnexpectedFrame, text);
    }
    if weight != 0 {
        return AmqpError::new(ReplyCode::UnexpectedFrame, format!("content header with weight {weight}"));
    }
    let text = format!("content header announces {body_size} octets, more than {BODY_SIZE_MAX}");
    AmqpError::new(ReplyCode::FrameError, text)
}

#[cold]
fn bad_body(len: u64) -> AmqpError {
    let text = match len {
        0 => "too many empty content body frames",
        _ => "content body frame exceeds remaining content size",
    };
    AmqpError::new(ReplyCode::FrameError, text).at(PUBLISH)
}

#[cold]
fn too_large(size: u64, max: u64) -> AmqpError {
    let text = format!("message size {size} is larger than configured max size {max}");
    AmqpError::new(ReplyCode::PreconditionFailed, text).at(PUBLISH)
}

#[cold]
fn method_was_due() -> AmqpError {
    let text = "expected method frame, got non method frame instead";
    AmqpError::new(ReplyCode::UnexpectedFrame, text)
}

#[cold]
fn header_was_due() -> AmqpError {
    let text =
        format!("expected content header for class {CLASS_BASIC}, got non content header frame instead");
    AmqpError::new(ReplyCode::UnexpectedFrame, text).at(PUBLISH)
}

#[cold]
fn body_was_due() -> AmqpError {
    let text = "expected content body, got non content body frame instead";
    AmqpError::new(ReplyCode::UnexpectedFrame, text).at(PUBLISH)
}
