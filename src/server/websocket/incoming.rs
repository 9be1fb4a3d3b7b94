//! What comes from a WebSocket client: frames taken apart where they lie.

use std::io::Cursor;

use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Control, Data, OpCode};

/// The longest header of a frame.
const LONGEST_HEADER: usize = 14;

/// The longest payload of a control frame (RFC 6455, section 5.5).
const LONGEST_CONTROL: u64 = 125;

/// Where the stream of frames stands.
#[derive(Debug, Default)]
pub(super) struct Incoming {
    /// The beginning of a header.
    head: Vec<u8>,
    frame: Option<Frame>,
    /// Whether a message has begun that has further frames.
    in_message: bool,
    /// The payload of a control frame as far as it has come.
    control: Vec<u8>,
    /// The last thing that asks for an answer. A later ping replaces one before it (section 5.5.3).
    pub(super) said: Option<Said>,
    /// The peer has said goodbye: whatever follows is nothing.
    pub(super) is_closed: bool,
}

/// A frame whose payload is not there yet, or not all of it.
#[derive(Debug)]
struct Frame {
    kind: Kind,
    /// Of the payload.
    left: u64,
    /// From the next byte on.
    mask: [u8; 4],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Data,
    Ping,
    Pong,
    Close,
}

/// What the peer said apart from data.
#[derive(Debug, PartialEq)]
pub(super) enum Said {
    /// It wants this back.
    Ping(Vec<u8>),
    /// Goodbye; with this code it is to be answered.
    Close(Option<CloseCode>),
}

/// Why the connection ends.
#[derive(Debug, PartialEq)]
pub(super) struct Refusal {
    pub(super) code: CloseCode,
    pub(super) why: &'static str,
}

const fn malformed(why: &'static str) -> Refusal {
    Refusal { code: CloseCode::Protocol, why }
}

impl Incoming {
    /// Takes all of `bytes` and moves the payload of data frames to their front. Returns how much that is.
    pub(super) fn take(&mut self, bytes: &mut [u8]) -> Result<usize, Refusal> {
        let (mut at, mut kept) = (0, 0);
        while at < bytes.len() && !self.is_closed {
            let Some(frame) = &mut self.frame else {
                at += self.take_header(&bytes[at..])?;
                continue;
            };
            let here = usize::try_from(frame.left).unwrap_or(usize::MAX).min(bytes.len() - at);
            unmask(&mut bytes[at..at + here], frame.mask);
            frame.mask.rotate_left(here % 4);
            // A usize is not larger than a u64.
            frame.left -= here as u64;
            if frame.kind == Kind::Data {
                bytes.copy_within(at..at + here, kept);
                kept += here;
            } else {
                self.control.extend_from_slice(&bytes[at..at + here]);
            }
            at += here;
            self.end_frame()?;
        }
        Ok(kept)
    }

    /// How many bytes of what came are kept.
    #[cfg(test)]
    pub(super) fn kept(&self) -> usize {
        self.head.len() + self.control.len()
    }

    /// Takes a header or a part of one. Returns how many bytes of it were here.
    fn take_header(&mut self, bytes: &[u8]) -> Result<usize, Refusal> {
        let had = self.head.len();
        let here = bytes.len().min(LONGEST_HEADER - had);
        self.head.extend_from_slice(&bytes[..here]);
        let mut cursor = Cursor::new(&self.head[..]);
        let parsed =
            FrameHeader::parse(&mut cursor).map_err(|_| malformed("WebSocket: an unknown opcode"))?;
        let Some((header, length)) = parsed else { return Ok(here) };
        let used = usize::try_from(cursor.position()).unwrap_or(LONGEST_HEADER) - had;
        self.head.clear();
        self.frame = Some(self.begin_frame(&header, length)?);
        self.end_frame()?;
        Ok(used)
    }

    fn begin_frame(&mut self, header: &FrameHeader, length: u64) -> Result<Frame, Refusal> {
        if header.rsv1 || header.rsv2 || header.rsv3 {
            return Err(malformed("WebSocket: a reserved bit is set"));
        }
        let mask = header.mask.ok_or(malformed("WebSocket: a frame is not masked"))?;
        if length > i64::MAX.unsigned_abs() {
            return Err(malformed("WebSocket: a frame is longer than frames can be"));
        }
        let kind = match header.opcode {
            OpCode::Control(control) => {
                if !header.is_final || length > LONGEST_CONTROL {
                    return Err(malformed("WebSocket: a control frame is too long or in parts"));
                }
                match control {
                    Control::Ping => Kind::Ping,
                    Control::Pong => Kind::Pong,
                    Control::Close => Kind::Close,
                    Control::Reserved(_) => return Err(malformed("WebSocket: an unknown opcode")),
                }
            }
            OpCode::Data(data) => {
                match (data, self.in_message) {
                    (Data::Continue, true) | (Data::Binary, false) => {}
                    (Data::Text, false) => {
                        let why = "WebSocket: a text message, and AMQP is binary";
                        return Err(Refusal { code: CloseCode::Unsupported, why });
                    }
                    _ => return Err(malformed("WebSocket: a message within another, or none to go on with")),
                }
                self.in_message = !header.is_final;
                Kind::Data
            }
        };
        Ok(Frame { kind, left: length, mask })
    }

    /// If the frame's payload is all there: what it was for.
    fn end_frame(&mut self) -> Result<(), Refusal> {
        let Some(frame) = self.frame.take_if(|frame| frame.left == 0) else { return Ok(()) };
        match frame.kind {
            Kind::Data => {}
            Kind::Pong => self.control.clear(),
            Kind::Ping => self.said = Some(Said::Ping(std::mem::take(&mut self.control))),
            Kind::Close => {
                self.is_closed = true;
                let code = close_code(&std::mem::take(&mut self.control))?;
                self.said = Some(Said::Close(code));
            }
        }
        Ok(())
    }
}

/// The code of a close frame, which may have none, with a text behind it that nobody reads.
fn close_code(payload: &[u8]) -> Result<Option<CloseCode>, Refusal> {
    let code = match payload {
        [] => return Ok(None),
        [high, low, ..] => CloseCode::from(u16::from_be_bytes([*high, *low])),
        [_] => return Err(malformed("WebSocket: half a close code")),
    };
    if code.is_allowed() {
        Ok(Some(code))
    } else {
        Err(malformed("WebSocket: a close code that must not be sent"))
    }
}

/// Takes a mask off, or puts it on.
fn unmask(bytes: &mut [u8], mask: [u8; 4]) {
    let (words, rest) = bytes.as_chunks_mut::<4>();
    let key = u32::from_ne_bytes(mask);
    for word in words {
        *word = (u32::from_ne_bytes(*word) ^ key).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(mask) {
        *byte ^= key;
    }
}
