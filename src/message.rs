//! A published message: immutable, shared by all queues and deliveries, one allocation.
//!
//! What a delivery sends after its own prefix lies ready in one piece: exchange and routing key as they end the
//! basic.deliver arguments, the frame end, the header frame and, for small bodies, the body frame. Encoding a
//! delivery is one copy and two patched channel numbers. Larger bodies are separate and shared by reference.
//!
//! Behind it, and stored with it, stands a stamp: when the message was published and what the broker did to it.

use std::fmt;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use bytes::Bytes;
use triomphe::ThinArc;

use crate::output::{COPY_LIMIT, Output};
use crate::protocol::content::{self, ContentHeader};
use crate::protocol::field::{TableBuilder, TableRef};
use crate::protocol::frame::{
    FRAME_END, FRAME_HEADER, FRAME_OVERHEAD, FrameKind, Next, begin_frame, end_frame, next_frame,
};
use crate::protocol::properties::{FLAG_EXPIRATION, Properties, PropertiesBuilder};
use crate::protocol::reply::MethodId;

/// Content class, weight and body size before the property flags in a header payload.
const HEADER_FIXED: usize = 12;

/// Bytes that storage puts before a message: two lengths and a checksum.
pub const ITEM_HEADER: usize = 12;

/// The header that tells a consumer how often a message came back.
const DELIVERY_COUNT: &str = "x-delivery-count";
const ACQUIRED_COUNT: &str = "x-acquired-count";

/// Bytes of the stamp behind a message's frames.
const STAMP: usize = 8;

/// How often a message came back from consumers, where that is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Returns {
    /// Altogether: `x-acquired-count`.
    pub all: u32,
    /// Because a consumer failed: `x-delivery-count`.
    pub failed: u32,
}

/// What the broker has noted about a message beside its time, in the low bits of the stamp.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// The broker has dead-lettered it: what its `x-death` header says is the broker's own word.
    pub has_died: bool,
    /// It has a BCC header that is not to be seen by consumers.
    pub hides_bcc: bool,
    /// It was dead-lettered with a key of the queue's rules: its CC and BCC headers lead nowhere any more.
    pub own_key_only: bool,
}

const HAS_DIED: u64 = 1;
const HIDES_BCC: u64 = 2;
const OWN_KEY_ONLY: u64 = 4;
/// Bits of the marks; the time in milliseconds since 1970 is above them.
const MARK_BITS: u32 = 3;

impl Marks {
    fn stamp(self, unix_ms: u64) -> [u8; STAMP] {
        let has_died = if self.has_died { HAS_DIED } else { 0 };
        let hides_bcc = if self.hides_bcc { HIDES_BCC } else { 0 };
        let own_key_only = if self.own_key_only { OWN_KEY_ONLY } else { 0 };
        (unix_ms << MARK_BITS | has_died | hides_bcc | own_key_only).to_le_bytes()
    }
}

/// Stands in a message's frames until a delivery puts its channel there. Zero would not be a content frame's.
const ANY_CHANNEL: u16 = 1;

/// What is asked of a message without looking into its bytes.
#[derive(Debug)]
struct Meta {
    shape: Shape,
    /// Of everything stored, computed before any lock; zero if the message is not persistent and nobody asked yet.
    checksum: AtomicU32,
    /// The body address of the message in the journal, once it has one.
    stored_at: AtomicU64,
    /// The body, if it is larger than [`COPY_LIMIT`].
    large: Option<Bytes>,
}

/// What is known of a message beside its bytes.
#[derive(Clone, Copy, Debug, Default)]
struct Shape {
    body_len: u64,
    /// Offset of the routing key's length octet.
    routing_key_at: u16,
    /// Offset of the header frame; the octet before it ends the method frame.
    header_at: u16,
    /// Offset of the body frame; that of the stamp if there is none.
    body_at: u32,
    persistent: bool,
    /// It has a lifetime of its own.
    has_lifetime: bool,
    /// See [`Marks`].
    hides_bcc: bool,
    priority: Option<u8>,
}

/// A handle on a message; cloning it shares the message.
#[derive(Clone)]
pub struct Message(ThinArc<Meta, u8>);

/// The body of a message being built.
pub enum Body<'a> {
    /// Copied into the message if at most [`COPY_LIMIT`] long, otherwise into a buffer of its own.
    Borrowed(&'a [u8]),
    /// Kept as it is if longer than [`COPY_LIMIT`].
    Owned(Vec<u8>),
    /// Another message's, kept as it is if longer than [`COPY_LIMIT`].
    Shared(Bytes),
}

impl Body<'_> {
    fn as_slice(&self) -> &[u8] {
        match self {
            Self::Borrowed(body) => body,
            Self::Owned(body) => body,
            Self::Shared(body) => body,
        }
    }

    fn into_bytes(self) -> Bytes {
        match self {
            Self::Borrowed(body) => Bytes::copy_from_slice(body),
            Self::Owned(body) => Bytes::from(body),
            Self::Shared(body) => body,
        }
    }
}

/// Makes messages. Holds the scratch buffer in which one is put together before its single allocation.
#[derive(Debug, Default)]
pub struct MessageBuilder {
    scratch: Vec<u8>,
    /// Of what lies there.
    shape: Shape,
    unix_ms: u64,
}

impl MessageBuilder {
    /// Says when messages are published from now on, in milliseconds since 1970.
    pub fn set_time(&mut self, unix_ms: u64) {
        self.unix_ms = unix_ms;
    }

    /// Builds a message from names of at most 255 bytes and properties that were parsed.
    #[inline]
    pub fn build(
        &mut self,
        exchange: &str,
        routing_key: &str,
        properties: Properties<'_>,
        body: Body<'_>,
    ) -> Message {
        self.build_marked(exchange, routing_key, properties, body, Marks::default())
    }

    /// As [`build`](Self::build), for a message that the broker has something to note about.
    pub fn build_marked(
        &mut self,
        exchange: &str,
        routing_key: &str,
        properties: Properties<'_>,
        body: Body<'_>,
        marks: Marks,
    ) -> Message {
        let out = &mut self.scratch;
        out.clear();
        push_short(out, exchange.as_bytes());
        let routing_key_at = out.len();
        push_short(out, routing_key.as_bytes());
        out.push(FRAME_END);
        let header_at = out.len();
        let body_len = body.as_slice().len();
        content::write_header(out, ANY_CHANNEL, body_len as u64, properties.raw());
        let body_at = out.len();
        let large = if body_len > COPY_LIMIT {
            Some(body.into_bytes())
        } else {
            if body_len > 0 {
                let start = begin_frame(out, FrameKind::Body, ANY_CHANNEL);
                out.extend_from_slice(body.as_slice());
                end_frame(out, start);
            }
            None
        };
        self.seal(body_len, [routing_key_at, header_at, body_at], properties, large, marks)
    }

    /// As [`build`](Self::build), from what stands in the input and was checked: `names`, exchange and routing key as
    /// basic.publish has them, each behind its length, and `frames`, the header frame of `header_len` bytes and, unless
    /// the body is empty, one frame with all of it. The body is at most [`COPY_LIMIT`] long.
    #[inline]
    pub fn build_from_frames(
        &mut self,
        names: &[u8],
        frames: &[u8],
        header_len: usize,
        properties: Properties<'_>,
    ) -> Message {
        let out = &mut self.scratch;
        out.clear();
        out.extend_from_slice(names);
        out.push(FRAME_END);
        let header_at = out.len();
        out.extend_from_slice(frames);
        let body_at = header_at + header_len;
        let any = ANY_CHANNEL.to_be_bytes();
        out[header_at + 1..header_at + 3].copy_from_slice(&any);
        let body_len = (frames.len() - header_len).saturating_sub(FRAME_OVERHEAD);
        if body_len > 0 {
            out[body_at + 1..body_at + 3].copy_from_slice(&any);
        }
        let places = [1 + usize::from(names[0]), header_at, body_at];
        self.seal(body_len, places, properties, None, Marks::default())
    }

    /// A message like the one that [`build_from_frames`](Self::build_from_frames) has just built, but for its body, which
    /// is as long.
    #[inline]
    pub fn build_alike(&mut self, body: &[u8]) -> Message {
        let from = self.shape.body_at as usize + FRAME_HEADER;
        self.scratch[from..from + body.len()].copy_from_slice(body);
        self.make(None)
    }

    /// Completes what stands in the scratch buffer, where routing key, header frame and body frame are at `places`, and
    /// makes the message.
    #[inline]
    fn seal(
        &mut self,
        body_len: usize,
        places: [usize; 3],
        properties: Properties<'_>,
        large: Option<Bytes>,
        marks: Marks,
    ) -> Message {
        self.scratch.extend_from_slice(&marks.stamp(self.unix_ms));
        let [routing_key_at, header_at, body_at] = places;
        self.shape = Shape {
            body_len: body_len as u64,
            // Two names of at most 255 bytes and their lengths fit; a header frame fits the frame limit.
            routing_key_at: u16::try_from(routing_key_at).unwrap_or(u16::MAX),
            header_at: u16::try_from(header_at).unwrap_or(u16::MAX),
            body_at: u32::try_from(body_at).unwrap_or(u32::MAX),
            persistent: properties.delivery_mode() == Some(2),
            has_lifetime: properties.flags() & FLAG_EXPIRATION != 0,
            hides_bcc: marks.hides_bcc,
            priority: properties.priority(),
        };
        self.make(large)
    }

    /// The message of what stands in the scratch buffer.
    #[inline]
    fn make(&self, large: Option<Bytes>) -> Message {
        let checksum = if self.shape.persistent { checksum(&self.scratch, large.as_deref()) } else { 0 };
        let meta = Meta {
            shape: self.shape,
            checksum: AtomicU32::new(checksum),
            stored_at: AtomicU64::new(0),
            large,
        };
        Message(ThinArc::from_header_and_slice(meta, &self.scratch))
    }

    /// The message as if it were published now: it is itself if that is so.
    #[must_use]
    pub fn renew(&mut self, message: Message) -> Message {
        if message.published_at() == self.unix_ms {
            return message;
        }
        let properties = Properties::assume_valid(message.raw_properties());
        let (exchange, key, marks) = (message.exchange(), message.routing_key(), message.marks());
        self.build_marked(exchange, key, properties, message.body_to_share(), marks)
    }
}

fn checksum(contiguous: &[u8], large: Option<&[u8]>) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(contiguous);
    hasher.update(large.unwrap_or_default());
    hasher.finalize()
}

fn push_short(out: &mut Vec<u8>, bytes: &[u8]) {
    let bytes = &bytes[..bytes.len().min(255)];
    out.push(bytes.len() as u8);
    out.extend_from_slice(bytes);
}

impl Message {
    fn meta(&self) -> &Meta {
        &self.0.header.header
    }

    /// What is sent of the contiguous part.
    fn bytes(&self) -> &[u8] {
        let slice = &self.0.slice;
        &slice[..slice.len() - STAMP]
    }

    /// What is stored of it: the contiguous part, and the body if that is apart.
    #[must_use]
    pub fn stored(&self) -> (&[u8], Option<&Bytes>) {
        (&self.0.slice, self.meta().large.as_ref())
    }

    /// How many bytes it takes where it is stored, the header of its item included.
    #[must_use]
    pub fn stored_len(&self) -> u64 {
        (ITEM_HEADER + self.wire_size() + STAMP) as u64
    }

    fn stamp(&self) -> u64 {
        self.0.slice.last_chunk().copied().map_or(0, u64::from_le_bytes)
    }

    /// When it was published, or dead-lettered, in milliseconds since 1970.
    #[must_use]
    pub fn published_at(&self) -> u64 {
        self.stamp() >> MARK_BITS
    }

    /// What the broker has noted about it.
    #[must_use]
    pub fn marks(&self) -> Marks {
        let stamp = self.stamp();
        Marks {
            has_died: stamp & HAS_DIED != 0,
            hides_bcc: stamp & HIDES_BCC != 0,
            own_key_only: stamp & OWN_KEY_ONLY != 0,
        }
    }

    /// Whether it has a lifetime of its own.
    #[inline]
    #[must_use]
    pub fn has_lifetime(&self) -> bool {
        self.meta().shape.has_lifetime
    }

    /// How long it may wait in a queue by its own `expiration`, in milliseconds.
    #[must_use]
    pub fn lifetime(&self) -> Option<u64> {
        if !self.has_lifetime() {
            return None;
        }
        let properties = Properties::assume_valid(self.raw_properties());
        let text = std::str::from_utf8(properties.expiration()?).ok()?;
        text.parse().ok()
    }

    /// The message as consumers see it after these `returns`, which they are told in headers, and without what is not to
    /// be seen. `None` if that is the message itself.
    #[inline]
    #[must_use]
    pub fn as_seen(&self, returns: Returns) -> Option<Self> {
        let hides_bcc = self.meta().shape.hides_bcc;
        if returns.all == 0 && !hides_bcc {
            return None;
        }
        Some(self.seen(returns, hides_bcc))
    }

    #[cold]
    fn seen(&self, returns: Returns, hides_bcc: bool) -> Self {
        let properties = Properties::assume_valid(self.raw_properties());
        let mut table = TableBuilder::new();
        for (key, value) in properties.headers().unwrap_or(TableRef::EMPTY).iter() {
            let is_count = matches!(key, DELIVERY_COUNT | ACQUIRED_COUNT);
            if !(hides_bcc && key == "BCC" || returns.all > 0 && is_count) {
                table.value(key, value);
            }
        }
        if returns.all > 0 {
            table.int64(ACQUIRED_COUNT, i64::from(returns.all));
            table.int64(DELIVERY_COUNT, i64::from(returns.failed));
        }
        let mut builder = PropertiesBuilder::from_properties(properties);
        builder.set_headers(Some(&table.finish()));
        let raw = builder.finish();
        let properties = Properties::assume_valid(&raw);
        let mut builder = MessageBuilder { unix_ms: self.published_at(), ..MessageBuilder::default() };
        builder.build(self.exchange(), self.routing_key(), properties, self.body_to_share())
    }

    /// The body for another message, which shares it if it is large.
    #[must_use]
    pub fn body_to_share(&self) -> Body<'_> {
        match &self.meta().large {
            Some(large) => Body::Shared(large.clone()),
            None => Body::Borrowed(self.body()),
        }
    }

    /// The checksum of what is stored.
    #[must_use]
    pub fn checksum(&self) -> u32 {
        let known = self.meta().checksum.load(Ordering::Relaxed);
        if known != 0 {
            return known;
        }
        let (contiguous, large) = self.stored();
        let checksum = checksum(contiguous, large.map(|large| &large[..]));
        self.meta().checksum.store(checksum, Ordering::Relaxed);
        checksum
    }

    /// The body address of the message in the journal; zero before it has one. A message in several queues is stored
    /// once, and the records of all but the first refer to it.
    #[must_use]
    pub fn stored_at(&self) -> u64 {
        self.meta().stored_at.load(Ordering::Relaxed)
    }

    /// Notes where the message is stored. Called under the journal's lock.
    pub fn set_stored_at(&self, address: u64) {
        self.meta().stored_at.store(address, Ordering::Relaxed);
    }

    /// The message of what was [stored](Self::stored), if it is one.
    #[must_use]
    pub fn from_stored(contiguous: &[u8], large: Option<Bytes>, expected_checksum: u32) -> Option<Self> {
        if checksum(contiguous, large.as_deref()) != expected_checksum {
            return None;
        }
        let routing_key_at = 1 + usize::from(*contiguous.first()?);
        let header_at = routing_key_at + 2 + usize::from(*contiguous.get(routing_key_at)?);
        let Ok(Next::Frame(header)) = next_frame(contiguous.get(header_at..)?, u32::MAX) else { return None };
        let content = ContentHeader::parse(header.payload, MethodId::NONE).ok()?;
        let body_at = header_at + header.wire_len();
        // The checksum is over both parts together, so it does not say where one ends.
        let body_frame = if large.is_none() && content.body_size > 0 {
            // Far from the end of the numbers, or not all there.
            content.body_size.checked_add(FRAME_OVERHEAD as u64).filter(|len| *len < 1 << 40)?
        } else {
            0
        };
        let is_whole = contiguous.len() as u64 == (body_at + STAMP) as u64 + body_frame
            && large
                .as_ref()
                .is_none_or(|large| !large.is_empty() && large.len() as u64 == content.body_size);
        if !is_whole {
            return None;
        }
        let shape = Shape {
            body_len: content.body_size,
            routing_key_at: u16::try_from(routing_key_at).ok()?,
            header_at: u16::try_from(header_at).ok()?,
            body_at: u32::try_from(body_at).ok()?,
            persistent: content.properties.delivery_mode() == Some(2),
            has_lifetime: content.properties.flags() & FLAG_EXPIRATION != 0,
            hides_bcc: u64::from_le_bytes(*contiguous.last_chunk()?) & HIDES_BCC != 0,
            priority: content.properties.priority(),
        };
        let meta =
            Meta { shape, checksum: AtomicU32::new(expected_checksum), stored_at: AtomicU64::new(0), large };
        Some(Self(ThinArc::from_header_and_slice(meta, contiguous)))
    }

    /// The exchange it was published to; empty for the default exchange.
    #[must_use]
    pub fn exchange(&self) -> &str {
        self.name_at(0)
    }

    /// The routing key it was published with.
    #[must_use]
    pub fn routing_key(&self) -> &str {
        self.name_at(usize::from(self.meta().shape.routing_key_at))
    }

    fn name_at(&self, at: usize) -> &str {
        let bytes = self.bytes();
        let len = usize::from(bytes[at]);
        std::str::from_utf8(&bytes[at + 1..at + 1 + len]).unwrap_or_default()
    }

    /// The properties, from the flags word on, exactly as the publisher sent them.
    #[must_use]
    pub fn raw_properties(&self) -> &[u8] {
        let from = usize::from(self.meta().shape.header_at) + FRAME_HEADER + HEADER_FIXED;
        &self.bytes()[from..self.meta().shape.body_at as usize - 1]
    }

    /// The body.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        match &self.meta().large {
            Some(body) => body,
            None if self.meta().shape.body_len == 0 => &[],
            None => {
                let bytes = self.bytes();
                &bytes[self.meta().shape.body_at as usize + FRAME_HEADER..bytes.len() - 1]
            }
        }
    }

    /// Length of the body in bytes.
    #[must_use]
    pub fn body_len(&self) -> u64 {
        self.meta().shape.body_len
    }

    /// Whether delivery mode is 2. Any other value is transient, as RabbitMQ has it.
    #[must_use]
    pub fn is_persistent(&self) -> bool {
        self.meta().shape.persistent
    }

    /// The priority property.
    #[inline]
    #[must_use]
    pub fn priority(&self) -> Option<u8> {
        self.meta().shape.priority
    }

    /// About how many bytes a delivery of it takes on the wire and the message itself in memory.
    #[must_use]
    pub fn wire_size(&self) -> usize {
        self.bytes().len() + self.meta().large.as_ref().map_or(0, Bytes::len)
    }

    /// Length of exchange and routing key as method arguments.
    #[must_use]
    pub fn names_len(&self) -> usize {
        usize::from(self.meta().shape.header_at) - 1
    }

    /// Appends exchange and routing key as the last arguments of a method frame that the caller began on `channel`,
    /// ends that frame and appends the content. `frame_max` is the client's; 0 is no limit.
    ///
    /// The caller wrote the method frame's header with a size that counts [`names_len`](Self::names_len).
    #[inline]
    pub fn write_names_and_content(&self, out: &mut Output, channel: u16, frame_max: u32) {
        let meta = self.meta();
        let fits = frame_max == 0 || meta.shape.body_len <= u64::from(frame_max) - FRAME_OVERHEAD as u64;
        if fits && meta.large.is_none() {
            out.append(|out| {
                let start = out.len();
                out.extend_from_slice(self.bytes());
                let channel = channel.to_be_bytes();
                let header = start + usize::from(meta.shape.header_at) + 1;
                out[header..header + 2].copy_from_slice(&channel);
                if meta.shape.body_len > 0 {
                    let body = start + meta.shape.body_at as usize + 1;
                    out[body..body + 2].copy_from_slice(&channel);
                }
            });
            return;
        }
        out.append(|out| out.extend_from_slice(&self.bytes()[..usize::from(meta.shape.header_at)]));
        self.write_content(out, channel, frame_max);
    }

    /// Appends header and body frames on `channel`.
    pub fn write_content(&self, out: &mut Output, channel: u16, frame_max: u32) {
        out.append(|out| content::write_header(out, channel, self.body_len(), self.raw_properties()));
        let Some(large) = &self.meta().large else {
            out.append(|out| content::write_body(out, channel, self.body(), frame_max));
            return;
        };
        let step = match frame_max {
            0 => large.len(),
            max => max as usize - FRAME_OVERHEAD,
        };
        let mut at = 0;
        while at < large.len() {
            let chunk = large.slice(at..large.len().min(at + step));
            at += chunk.len();
            out.append(|out| {
                out.push(FrameKind::Body as u8);
                out.extend_from_slice(&channel.to_be_bytes());
                out.extend_from_slice(&u32::try_from(chunk.len()).unwrap_or(u32::MAX).to_be_bytes());
            });
            out.refer(chunk);
            out.append(|out| out.push(FRAME_END));
        }
    }

    /// As [`write_content`](Self::write_content), with large bodies copied too.
    pub fn write_content_copied(&self, out: &mut Vec<u8>, channel: u16, frame_max: u32) {
        content::write_header(out, channel, self.body_len(), self.raw_properties());
        content::write_body(out, channel, self.body(), frame_max);
    }

    /// Appends the names alone, as method arguments.
    pub fn write_names(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.bytes()[..self.names_len()]);
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("exchange", &self.exchange())
            .field("routing_key", &self.routing_key())
            .field("body_len", &self.body_len())
            .finish()
    }
}

#[cfg(test)]
mod tests;
