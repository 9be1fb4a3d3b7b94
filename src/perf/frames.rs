//! Pre-encoded publish frames: what is sent is encoded once, before the run, and written from there again and again.

use std::ops::Range;

use crate::protocol::content::{write_body, write_header};
use crate::protocol::method::{basic, write_method};

/// Bytes of a batch: enough that a system call costs little for each message.
pub const BATCH_SIZE: usize = 256 * 1024;

/// Bytes at the front of a body that can be set for each message.
pub const STAMP_SIZE: usize = 8;

/// What the messages of a publisher are.
#[derive(Clone, Debug)]
pub struct MessageForm<'a> {
    /// The channel they are published on.
    pub channel: u16,
    /// The exchange, empty for the default one.
    pub exchange: &'a str,
    /// The routing key.
    pub routing_key: &'a str,
    /// The encoded properties, flags included.
    pub properties: &'a [u8],
    /// Sizes of the bodies in bytes; messages take them in turn.
    pub sizes: &'a [usize],
    /// The largest frame the broker takes, overhead included; 0 for any.
    pub frame_max: u32,
}

/// Messages one after the other, as they go to the socket.
#[derive(Clone, Debug)]
pub struct Batch {
    bytes: Vec<u8>,
    /// Where each message ends.
    ends: Vec<usize>,
    /// Where the body of each message begins.
    bodies: Vec<usize>,
}

impl Batch {
    /// As many messages as fit into `size` bytes, at least one of each size.
    #[must_use]
    pub fn new(form: &MessageForm<'_>, size: usize) -> Self {
        let mut batch = Self { bytes: Vec::new(), ends: Vec::new(), bodies: Vec::new() };
        for len in form.sizes {
            batch.push(form, *len);
        }
        let (round, len) = (batch.ends.len(), batch.bytes.len());
        if round == 0 {
            return batch;
        }
        for copy in 1..(size / len).max(1) {
            batch.bytes.extend_from_within(..len);
            for message in 0..round {
                batch.ends.push(batch.ends[message] + copy * len);
                batch.bodies.push(batch.bodies[message] + copy * len);
            }
        }
        batch
    }

    /// One message of the first size.
    #[must_use]
    pub fn one(form: &MessageForm<'_>) -> Self {
        Self::new(&MessageForm { sizes: &form.sizes[..form.sizes.len().min(1)], ..form.clone() }, 0)
    }

    fn push(&mut self, form: &MessageForm<'_>, len: usize) {
        let MessageForm { channel, exchange, routing_key, properties, frame_max, .. } = form;
        let publish = basic::Publish { ticket: 0, exchange, routing_key, mandatory: false, immediate: false };
        write_method(&mut self.bytes, *channel, &publish);
        write_header(&mut self.bytes, *channel, len as u64, properties);
        self.bodies.push(self.bytes.len() + crate::protocol::frame::FRAME_HEADER);
        // Letters, so that a person who looks at a message sees what it is.
        let body: Vec<u8> = (b'a'..=b'z').cycle().take(len).collect();
        write_body(&mut self.bytes, *channel, &body, *frame_max);
        self.ends.push(self.bytes.len());
    }

    /// How many messages it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none, as when there is no size.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// All of it.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Where `count` messages from the given one on lie in the bytes.
    #[must_use]
    pub fn range(&self, first: usize, count: usize) -> Range<usize> {
        let end_of = |message: usize| match message {
            0 => 0,
            message => self.ends.get(message - 1).copied().unwrap_or(self.bytes.len()),
        };
        end_of(first)..end_of(first.saturating_add(count))
    }

    /// How many messages end at this byte or before it.
    #[must_use]
    pub fn whole_until(&self, at: usize) -> usize {
        self.ends.partition_point(|end| *end <= at)
    }

    /// Writes a number into the front of a message's body, which has to have [`STAMP_SIZE`] bytes in its first frame.
    pub fn stamp(&mut self, message: usize, number: u64) {
        let Some(&at) = self.bodies.get(message) else { return };
        if let Some(place) = self.bytes.get_mut(at..at + STAMP_SIZE) {
            place.copy_from_slice(&number.to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::content::ContentHeader;
    use crate::protocol::frame::{FrameKind, Next, next_frame};
    use crate::protocol::method::Method;
    use crate::protocol::properties::PropertiesBuilder;

    /// Exchange, key, properties and body of each message.
    fn decoded(mut bytes: &[u8]) -> Vec<(String, String, Vec<u8>, Vec<u8>)> {
        let mut messages = Vec::new();
        let mut left = 0;
        while !bytes.is_empty() {
            let Next::Frame(frame) = next_frame(bytes, 4096).expect("a frame") else { panic!("cut short") };
            assert_eq!(frame.channel, 3);
            match frame.kind {
                FrameKind::Method => {
                    assert_eq!(left, 0, "the body before was whole");
                    let Method::Basic(basic::Method::Publish(publish)) =
                        Method::decode(frame.payload).expect("a method")
                    else {
                        panic!("not a publish")
                    };
                    messages.push((
                        publish.exchange.into(),
                        publish.routing_key.into(),
                        Vec::new(),
                        Vec::new(),
                    ));
                }
                FrameKind::Header => {
                    let header = ContentHeader::parse(frame.payload, Default::default()).expect("a header");
                    left = header.body_size;
                    messages.last_mut().expect("a publish").2 = header.properties.raw().to_vec();
                }
                FrameKind::Body => {
                    left -= frame.payload.len() as u64;
                    messages.last_mut().expect("a publish").3.extend_from_slice(frame.payload);
                }
                FrameKind::Heartbeat => panic!("no heartbeats"),
            }
            bytes = &bytes[frame.wire_len()..];
        }
        assert_eq!(left, 0);
        messages
    }

    #[test]
    fn frames_decode_to_what_was_asked_for() {
        let properties =
            PropertiesBuilder::new().set_delivery_mode(2).set_content_type("text/plain").finish();
        let form = MessageForm {
            channel: 3,
            exchange: "e",
            routing_key: "k.l",
            properties: &properties,
            sizes: &[16, 0, 5000],
            frame_max: 4096,
        };
        let batch = Batch::new(&form, 20_000);
        let messages = decoded(batch.bytes());
        assert_eq!((messages.len(), batch.len()), (9, 9));
        for (number, (exchange, key, raw, body)) in messages.iter().enumerate() {
            assert_eq!((exchange.as_str(), key.as_str(), raw), ("e", "k.l", &properties));
            assert_eq!(body.len(), form.sizes[number % 3]);
            assert!(body.iter().all(u8::is_ascii_lowercase));
        }
        for (first, count) in [(0, 1), (0, 9), (3, 2), (8, 1), (9, 0)] {
            let part = &batch.bytes()[batch.range(first, count)];
            assert_eq!(decoded(part), messages[first..first + count]);
        }
        assert_eq!(Batch::one(&form).len(), 1);
        assert_eq!(decoded(Batch::one(&form).bytes()), messages[..1]);
    }

    #[test]
    fn whole_messages_are_counted_by_where_they_end() {
        let form = MessageForm {
            channel: 3,
            exchange: "",
            routing_key: "q",
            properties: &[0, 0],
            sizes: &[10],
            frame_max: 0,
        };
        let batch = Batch::new(&form, 1000);
        let one = batch.range(0, 1).len();
        assert_eq!([0, one - 1, one, 2 * one - 1, 2 * one].map(|at| batch.whole_until(at)), [0, 0, 1, 1, 2]);
        assert_eq!(batch.whole_until(batch.bytes().len()), batch.len());
    }

    #[test]
    fn a_stamp_goes_into_its_body_and_nowhere_else() {
        let form = MessageForm {
            channel: 3,
            exchange: "",
            routing_key: "q",
            properties: &[0, 0],
            sizes: &[16],
            frame_max: 0,
        };
        let mut batch = Batch::new(&form, 200);
        assert!(batch.len() > 1);
        batch.stamp(1, 0x0102_0304_0506_0708);
        let messages = decoded(batch.bytes());
        assert_eq!(messages[0].3, b"abcdefghijklmnop");
        assert_eq!(messages[1].3, b"\x01\x02\x03\x04\x05\x06\x07\x08ijklmnop");
    }
}
