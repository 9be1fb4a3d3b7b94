//! Bytes on their way to a socket: small pieces copied together, large bodies by reference.
//!
//! A connection encodes into its [`Output`], the driver writes what [`Output::slices`] shows with one vectored
//! write and reports what the socket took by [`Output::advance`].

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes};

/// A body up to this size is copied; a larger one is referred to.
pub const COPY_LIMIT: usize = 16 * 1024;

/// Most slices handed to one vectored write.
pub const MAX_SLICES: usize = 64;

/// A first-in first-out line of bytes.
#[derive(Debug, Default)]
pub struct Output {
    /// Copied bytes. Those before `start` are written.
    copied: Vec<u8>,
    start: usize,
    /// Referred bytes, each due when `copied` is written up to its offset.
    referred: VecDeque<(usize, Bytes)>,
    /// Bytes ever put in and ever taken out: a mark in the stream that survives the buffers' reuse.
    queued: u64,
    written: u64,
}

impl Output {
    /// An empty line that has allocated nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Runs `encode` on the copied bytes; it may only append.
    #[inline]
    pub fn append<R>(&mut self, encode: impl FnOnce(&mut Vec<u8>) -> R) -> R {
        let before = self.copied.len();
        let result = encode(&mut self.copied);
        self.queued += (self.copied.len() - before) as u64;
        result
    }

    /// Appends `body`, by reference if it is large.
    pub fn refer(&mut self, body: Bytes) {
        if body.len() <= COPY_LIMIT {
            self.append(|out| out.extend_from_slice(&body));
            return;
        }
        self.queued += body.len() as u64;
        self.referred.push_back((self.copied.len(), body));
    }

    /// Bytes that wait to be written.
    #[must_use]
    pub fn len(&self) -> usize {
        usize::try_from(self.queued - self.written).unwrap_or(usize::MAX)
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queued == self.written
    }

    /// The mark after everything queued so far; compare with [`written`](Self::written).
    #[must_use]
    pub fn queued(&self) -> u64 {
        self.queued
    }

    /// How many bytes the socket ever took.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.written
    }

    /// The next bytes in order, for a vectored write. Returns how many of `slices` are filled.
    pub fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>; MAX_SLICES]) -> usize {
        let mut filled = 0;
        let mut at = self.start;
        for (offset, body) in &self.referred {
            if filled + 2 > MAX_SLICES {
                return filled;
            }
            if at < *offset {
                slices[filled] = IoSlice::new(&self.copied[at..*offset]);
                filled += 1;
                at = *offset;
            }
            slices[filled] = IoSlice::new(body);
            filled += 1;
        }
        if at < self.copied.len() && filled < MAX_SLICES {
            slices[filled] = IoSlice::new(&self.copied[at..]);
            filled += 1;
        }
        filled
    }

    /// Forgets the first `n` bytes, which the socket took.
    pub fn advance(&mut self, mut n: usize) {
        self.written += n as u64;
        while n > 0 {
            let copied_until = self.referred.front().map_or(self.copied.len(), |(offset, _)| *offset);
            let from_copied = n.min(copied_until - self.start);
            self.start += from_copied;
            n -= from_copied;
            if n == 0 {
                break;
            }
            let Some((_, body)) = self.referred.front_mut() else { break };
            let from_body = n.min(body.len());
            body.advance(from_body);
            n -= from_body;
            if body.is_empty() {
                self.referred.pop_front();
            }
        }
        self.reclaim();
    }

    fn reclaim(&mut self) {
        const COMPACT_FROM: usize = 256 * 1024;
        if self.start == self.copied.len() && self.referred.is_empty() {
            self.copied.clear();
            self.start = 0;
        } else if self.start >= COMPACT_FROM && self.start * 2 >= self.copied.len() {
            self.copied.drain(..self.start);
            for (offset, _) in &mut self.referred {
                *offset -= self.start;
            }
            self.start = 0;
        }
    }

    /// Takes the buffer if nothing waits in it, so that an idle connection holds none.
    pub fn release(&mut self) -> Option<Vec<u8>> {
        (self.is_empty() && self.copied.capacity() > 0).then(|| std::mem::take(&mut self.copied))
    }

    /// Gives a buffer to an output that has none. Its content is dropped.
    pub fn adopt(&mut self, mut buffer: Vec<u8>) {
        if self.copied.capacity() == 0 {
            buffer.clear();
            self.copied = buffer;
        }
    }

    /// Drops everything that still waits.
    pub fn clear(&mut self) {
        self.copied.clear();
        self.start = 0;
        self.referred.clear();
        self.written = self.queued;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(output: &mut Output, step: usize) -> Vec<u8> {
        let mut all = Vec::new();
        while !output.is_empty() {
            let mut slices = [IoSlice::new(&[]); MAX_SLICES];
            let filled = output.slices(&mut slices);
            let joined: Vec<u8> = slices[..filled].iter().flat_map(|s| s.iter().copied()).collect();
            let taken = step.min(joined.len());
            all.extend_from_slice(&joined[..taken]);
            output.advance(taken);
        }
        all
    }

    #[test]
    fn order_is_kept_between_copies_and_references() {
        for step in [1, 7, 1000, 100_000] {
            let mut output = Output::new();
            let mut expected = Vec::new();
            for i in 0..5u8 {
                output.append(|out| out.extend_from_slice(&[i; 10]));
                expected.extend_from_slice(&[i; 10]);
                let body = vec![100 + i; COPY_LIMIT + usize::from(i)];
                output.refer(Bytes::from(body.clone()));
                expected.extend_from_slice(&body);
            }
            output.append(|out| out.push(9));
            expected.push(9);
            assert_eq!(output.len(), expected.len());
            assert_eq!(drain(&mut output, step.max(expected.len() / 5000)), expected);
            assert_eq!(output.queued(), output.written());
        }
    }

    #[test]
    fn an_idle_output_gives_its_buffer_away() {
        let mut output = Output::new();
        output.append(|out| out.extend_from_slice(b"abc"));
        assert!(output.release().is_none());
        output.advance(3);
        let buffer = output.release().unwrap();
        assert!(buffer.capacity() >= 3);
        output.adopt(buffer);
        output.append(|out| out.push(1));
        assert_eq!(drain(&mut output, 10), [1]);
    }
}
