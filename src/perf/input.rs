//! Raw reading: frames are found by their headers, in one large buffer, and decoded no further.

use std::io::{self, ErrorKind, Read};

use crate::protocol::frame::{FRAME_OVERHEAD, Frame, Next, next_frame};
use crate::protocol::reply::AmqpError;

/// Bytes that one read may take.
pub const READ_SIZE: usize = 256 * 1024;

/// The largest frame that is put up with, however large the agreed one is.
const LARGEST_FRAME: usize = 256 * 1024 * 1024;

/// What has been read and not been looked at yet.
#[derive(Debug)]
pub struct Input {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

/// What a read has given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filled {
    /// So many bytes, and whether they filled all the room there was: then there may be more at once.
    Bytes(usize, bool),
    /// Nothing is there now: the socket does not wait, or has waited as long as it may.
    Nothing,
    /// The peer has ended the connection.
    End,
}

impl Default for Input {
    fn default() -> Self {
        Self::new(READ_SIZE)
    }
}

impl Input {
    /// With a buffer of this size; it grows only for a frame that does not fit.
    #[must_use]
    pub fn new(size: usize) -> Self {
        Self { buffer: vec![0; size.max(FRAME_OVERHEAD)], start: 0, end: 0 }
    }

    /// Reads once.
    ///
    /// # Errors
    ///
    /// Those of `from` other than that nothing is there.
    pub fn fill(&mut self, from: &mut impl Read) -> io::Result<Filled> {
        self.make_room();
        let room = self.buffer.len() - self.end;
        loop {
            return match from.read(&mut self.buffer[self.end..]) {
                Ok(0) => Ok(Filled::End),
                Ok(count) => {
                    self.end += count;
                    Ok(Filled::Bytes(count, count == room))
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    Ok(Filled::Nothing)
                }
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(Filled::End),
                Err(error) => Err(error),
            };
        }
    }

    /// The next whole frame, if there is one.
    ///
    /// # Errors
    ///
    /// If the bytes are no frame.
    #[inline]
    pub fn frame(&mut self) -> Result<Option<Frame<'_>>, AmqpError> {
        match next_frame(&self.buffer[self.start..self.end], LARGEST_FRAME as u32)? {
            Next::Frame(frame) => {
                self.start += frame.wire_len();
                Ok(Some(frame))
            }
            Next::Incomplete { .. } => Ok(None),
        }
    }

    /// The bytes that were not taken.
    pub fn rest(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Moves what is left to the front, and grows if that fills the buffer.
    fn make_room(&mut self) {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if self.end == self.buffer.len() {
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::content::write_body;
    use crate::protocol::frame::HEARTBEAT;
    use crate::protocol::method::{basic, write_method};

    /// Gives its bytes in pieces, with nothing in between now and then.
    struct Pieces<'a> {
        bytes: &'a [u8],
        cuts: std::vec::IntoIter<usize>,
    }

    impl Read for Pieces<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let cut = self.cuts.next().unwrap_or(usize::MAX);
            if cut == 0 {
                return Err(ErrorKind::WouldBlock.into());
            }
            let count = cut.min(self.bytes.len()).min(into.len());
            into[..count].copy_from_slice(&self.bytes[..count]);
            self.bytes = &self.bytes[count..];
            Ok(count)
        }
    }

    type Seen = Vec<(u8, u16, Vec<u8>)>;

    fn read_all(bytes: &[u8], cuts: Vec<usize>, size: usize) -> Seen {
        let mut from = Pieces { bytes, cuts: cuts.into_iter() };
        let mut input = Input::new(size);
        let mut seen = Vec::new();
        loop {
            let filled = input.fill(&mut from).expect("no errors");
            while let Some(frame) = input.frame().expect("frames") {
                seen.push((frame.kind as u8, frame.channel, frame.payload.to_vec()));
            }
            if filled == Filled::End {
                assert!(input.rest().is_empty(), "all of it was frames");
                return seen;
            }
        }
    }

    proptest! {
        #[test]
        fn frames_come_whole_wherever_the_bytes_are_cut(
            bodies in prop::collection::vec(0usize..600, 1..20),
            cuts in prop::collection::vec(0usize..90, 0..300),
            size in 8usize..300,
        ) {
            let mut bytes = Vec::new();
            for (number, len) in bodies.iter().enumerate() {
                write_method(&mut bytes, 1, &basic::Ack { delivery_tag: number as u64, multiple: true });
                write_body(&mut bytes, 7, &vec![number as u8; *len], 0);
                bytes.extend_from_slice(&HEARTBEAT);
            }
            let mut expected = Seen::new();
            for (number, len) in bodies.iter().enumerate() {
                let mut payload = vec![0, 60, 0, 80];
                payload.extend_from_slice(&(number as u64).to_be_bytes());
                payload.push(1);
                expected.push((1, 1, payload));
                if *len > 0 {
                    expected.push((3, 7, vec![number as u8; *len]));
                }
                expected.push((8, 0, Vec::new()));
            }
            prop_assert_eq!(read_all(&bytes, cuts, size), expected);
        }
    }

    #[test]
    fn a_full_read_tells_that_there_may_be_more() {
        let mut from = Pieces { bytes: &HEARTBEAT, cuts: vec![5, 0].into_iter() };
        let mut input = Input::new(8);
        assert_eq!(input.fill(&mut from).expect("bytes"), Filled::Bytes(5, false));
        assert_eq!(input.fill(&mut from).expect("nothing"), Filled::Nothing);
        assert_eq!(input.fill(&mut from).expect("bytes"), Filled::Bytes(3, true));
        assert!(input.frame().expect("a frame").is_some());
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        let mut input = Input::new(64);
        input.fill(&mut &b"HTTP/1.1 400 Bad Request"[..]).expect("bytes");
        assert!(input.frame().is_err());
    }
}
