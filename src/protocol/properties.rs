//! Content properties of class `basic` as validated bytes.
//!
//! Properties stay encoded: publishing checks them once and a delivery copies them. A property is
//! looked up by walking over those before it, which are few.

mod build;
#[cfg(test)]
mod tests;

use std::fmt;

pub use self::build::PropertiesBuilder;
use super::field::{FieldError, TableRef};
use super::reply::{AmqpError, ReplyCode};
use super::wire::{Truncated, take_long_str, take_short_str};

/// Flag of `content_type`.
pub const FLAG_CONTENT_TYPE: u16 = 1 << 15;
/// Flag of `content_encoding`.
pub const FLAG_CONTENT_ENCODING: u16 = 1 << 14;
/// Flag of `headers`.
pub const FLAG_HEADERS: u16 = 1 << 13;
/// Flag of `delivery_mode`.
pub const FLAG_DELIVERY_MODE: u16 = 1 << 12;
/// Flag of `priority`.
pub const FLAG_PRIORITY: u16 = 1 << 11;
/// Flag of `correlation_id`.
pub const FLAG_CORRELATION_ID: u16 = 1 << 10;
/// Flag of `reply_to`.
pub const FLAG_REPLY_TO: u16 = 1 << 9;
/// Flag of `expiration`.
pub const FLAG_EXPIRATION: u16 = 1 << 8;
/// Flag of `message_id`.
pub const FLAG_MESSAGE_ID: u16 = 1 << 7;
/// Flag of `timestamp`.
pub const FLAG_TIMESTAMP: u16 = 1 << 6;
/// Flag of `kind`, the specification's `type`.
pub const FLAG_KIND: u16 = 1 << 5;
/// Flag of `user_id`.
pub const FLAG_USER_ID: u16 = 1 << 4;
/// Flag of `app_id`.
pub const FLAG_APP_ID: u16 = 1 << 3;
/// Flag of `cluster_id`.
pub const FLAG_CLUSTER_ID: u16 = 1 << 2;

/// The properties' names in their order, the one of the highest flag first.
const NAMES: [&str; 14] = [
    "content_type",
    "content_encoding",
    "headers",
    "delivery_mode",
    "priority",
    "correlation_id",
    "reply_to",
    "expiration",
    "message_id",
    "timestamp",
    "kind",
    "user_id",
    "app_id",
    "cluster_id",
];

/// Bits that stand for no property: bit 0 would announce a second word of flags, which no property
/// of `basic` needs.
const FLAGS_UNUSED: u16 = 0b11;

/// Valid properties, from the word of flags on. Strings are bytes: nothing promises UTF-8.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Properties<'a> {
    raw: &'a [u8],
}

impl Default for Properties<'_> {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl<'a> Properties<'a> {
    /// No properties at all.
    pub const EMPTY: Properties<'static> = Properties { raw: &[0, 0] };

    /// Checks the bytes after the body size of a content header: every property that a flag
    /// announces is there, the headers are a valid table, and nothing follows.
    ///
    /// # Errors
    ///
    /// 501, without a method.
    #[inline]
    pub fn parse(raw: &'a [u8]) -> Result<Self, AmqpError> {
        let &[f1, f0, ref rest @ ..] = raw else {
            return Err(malformed("no flags"));
        };
        let mut flags = u16::from_be_bytes([f1, f0]);
        if flags & FLAGS_UNUSED != 0 {
            return Err(malformed("unknown flags"));
        }
        let mut rest = rest;
        while flags != 0 {
            let flag = highest(flags);
            flags ^= flag;
            let bytes = match take_property(&mut rest, flag) {
                Ok(bytes) => bytes,
                Err(Truncated) => return Err(malformed("a property is cut short")),
            };
            if flag == FLAG_HEADERS
                && let Err(error) = TableRef::parse(bytes)
            {
                return Err(malformed_headers(error));
            }
        }
        if !rest.is_empty() {
            return Err(malformed("bytes after the last property"));
        }
        Ok(Self { raw })
    }

    /// Bytes that [`Properties::parse`] has accepted before, such as a stored message's. Of other
    /// bytes the accessors find what they can; they never panic.
    #[inline]
    pub fn assume_valid(raw: &'a [u8]) -> Self {
        Self { raw }
    }

    /// The encoded properties, flags included.
    #[inline]
    pub fn raw(self) -> &'a [u8] {
        self.raw
    }

    /// The flags of the properties that are there.
    #[inline]
    pub fn flags(self) -> u16 {
        match self.raw {
            &[f1, f0, ..] => u16::from_be_bytes([f1, f0]) & !FLAGS_UNUSED,
            _ => 0,
        }
    }

    /// Whether the property of this flag is there.
    #[inline]
    pub fn has(self, flag: u16) -> bool {
        self.flags() & flag != 0
    }

    /// MIME type of the body.
    pub fn content_type(self) -> Option<&'a [u8]> {
        self.find(FLAG_CONTENT_TYPE)
    }

    /// MIME encoding of the body.
    pub fn content_encoding(self) -> Option<&'a [u8]> {
        self.find(FLAG_CONTENT_ENCODING)
    }

    /// The publisher's and the broker's headers.
    pub fn headers(self) -> Option<TableRef<'a>> {
        self.find(FLAG_HEADERS).map(TableRef::assume_valid)
    }

    /// 2 for a persistent message; every other value is transient.
    pub fn delivery_mode(self) -> Option<u8> {
        self.find(FLAG_DELIVERY_MODE)?.first().copied()
    }

    /// Priority in the queue, higher first. Any octet: queues clamp it.
    pub fn priority(self) -> Option<u8> {
        self.find(FLAG_PRIORITY)?.first().copied()
    }

    /// Names the request a reply belongs to.
    pub fn correlation_id(self) -> Option<&'a [u8]> {
        self.find(FLAG_CORRELATION_ID)
    }

    /// Queue that replies go to.
    pub fn reply_to(self) -> Option<&'a [u8]> {
        self.find(FLAG_REPLY_TO)
    }

    /// Time to live in milliseconds, in decimal digits; not checked here.
    pub fn expiration(self) -> Option<&'a [u8]> {
        self.find(FLAG_EXPIRATION)
    }

    /// The publisher's name for the message.
    pub fn message_id(self) -> Option<&'a [u8]> {
        self.find(FLAG_MESSAGE_ID)
    }

    /// Seconds since 1970 UTC by custom, but any number.
    pub fn timestamp(self) -> Option<u64> {
        self.find(FLAG_TIMESTAMP)?.try_into().ok().map(u64::from_be_bytes)
    }

    /// The publisher's name for the kind of message, the specification's `type`.
    pub fn kind(self) -> Option<&'a [u8]> {
        self.find(FLAG_KIND)
    }

    /// The publishing user; checked against the connection's where it is published.
    pub fn user_id(self) -> Option<&'a [u8]> {
        self.find(FLAG_USER_ID)
    }

    /// The publishing application.
    pub fn app_id(self) -> Option<&'a [u8]> {
        self.find(FLAG_APP_ID)
    }

    /// Of protocol 0-8.
    pub fn cluster_id(self) -> Option<&'a [u8]> {
        self.find(FLAG_CLUSTER_ID)
    }

    /// A property's bytes, without a length.
    #[inline]
    fn find(self, flag: u16) -> Option<&'a [u8]> {
        if !self.has(flag) {
            return None;
        }
        let mut rest = &self.raw[2..];
        let mut before = self.flags() & !(flag | (flag - 1));
        while before != 0 {
            let other = highest(before);
            before ^= other;
            take_property(&mut rest, other).ok()?;
        }
        take_property(&mut rest, flag).ok()
    }
}

impl fmt::Debug for Properties<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Properties");
        let mut flags = self.flags();
        while flags != 0 {
            let flag = highest(flags);
            flags ^= flag;
            let name = NAMES[flag.leading_zeros() as usize];
            match (flag, self.find(flag)) {
                (FLAG_HEADERS, Some(bytes)) => shown.field(name, &TableRef::assume_valid(bytes)),
                (FLAG_DELIVERY_MODE | FLAG_PRIORITY, Some([octet])) => shown.field(name, octet),
                (FLAG_TIMESTAMP, Some(_)) => shown.field(name, &self.timestamp().unwrap_or_default()),
                (_, Some(text)) => shown.field(name, &format_args!("\"{}\"", text.escape_ascii())),
                (_, None) => &mut shown,
            };
        }
        shown.finish()
    }
}

/// The highest of some flags, at least one: the order of the flags is that of the properties.
#[inline]
fn highest(flags: u16) -> u16 {
    1 << (15 - flags.leading_zeros())
}

/// Takes the bytes of the property of this flag, without a length.
#[inline]
fn take_property<'a>(rest: &mut &'a [u8], flag: u16) -> Result<&'a [u8], Truncated> {
    match flag {
        FLAG_HEADERS => take_long_str(rest),
        FLAG_DELIVERY_MODE | FLAG_PRIORITY => take_fixed(rest, 1),
        FLAG_TIMESTAMP => take_fixed(rest, 8),
        _ => take_short_str(rest),
    }
}

#[inline]
fn take_fixed<'a>(rest: &mut &'a [u8], len: usize) -> Result<&'a [u8], Truncated> {
    let (bytes, after) = rest.split_at_checked(len).ok_or(Truncated)?;
    *rest = after;
    Ok(bytes)
}

#[cold]
fn malformed(what: &'static str) -> AmqpError {
    AmqpError::new(ReplyCode::FrameError, format!("cannot decode content properties: {what}"))
}

#[cold]
fn malformed_headers(error: FieldError) -> AmqpError {
    AmqpError::new(ReplyCode::FrameError, format!("cannot decode content properties: {error}"))
}
