//! What a message of a soak run carries: who sent it as which, and a checksum over all of it.

/// Bytes that a body has at least.
pub const SMALLEST: usize = 24;

const CHECKSUM: usize = 4;

/// Which message it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label {
    /// The run.
    pub run: u64,
    /// Its publisher.
    pub publisher: u32,
    /// Its number among those of its publisher, from 0.
    pub sequence: u64,
}

/// A body of this size, at least [`SMALLEST`].
pub fn write(label: Label, size: usize) -> Vec<u8> {
    let mut body = Vec::with_capacity(size.max(SMALLEST));
    body.extend_from_slice(&label.run.to_be_bytes());
    body.extend_from_slice(&label.publisher.to_be_bytes());
    body.extend_from_slice(&label.sequence.to_be_bytes());
    // Bytes that differ from message to message, so that a part of another one is seen.
    let mut next = label.sequence;
    while body.len() + CHECKSUM < size {
        body.push(next as u8);
        next = next.wrapping_mul(31).wrapping_add(7);
    }
    body.extend_from_slice(&crc32fast::hash(&body).to_be_bytes());
    body
}

/// What a body says, if it is as it was sent.
pub fn read(body: &[u8]) -> Option<Label> {
    let (told, checksum) = body.split_last_chunk::<CHECKSUM>()?;
    if crc32fast::hash(told) != u32::from_be_bytes(*checksum) {
        return None;
    }
    let (run, rest) = told.split_first_chunk()?;
    let (publisher, rest) = rest.split_first_chunk()?;
    let sequence = rest.first_chunk()?;
    Some(Label {
        run: u64::from_be_bytes(*run),
        publisher: u32::from_be_bytes(*publisher),
        sequence: u64::from_be_bytes(*sequence),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_read_as_it_was_written_and_no_byte_may_change() {
        let label = Label { run: 0x0102_0304_0506_0708, publisher: 9, sequence: 1 << 40 };
        for size in [0, SMALLEST, SMALLEST + 1, 1000] {
            let body = write(label, size);
            assert_eq!(body.len(), size.max(SMALLEST));
            assert_eq!(read(&body), Some(label));
            for at in 0..body.len() {
                let mut other = body.clone();
                other[at] ^= 0x10;
                assert_eq!(read(&other), None, "byte {at} of {size}");
            }
            assert_eq!(read(&body[..body.len() - 1]), None);
        }
        assert_eq!(read(b""), None);
    }
}
