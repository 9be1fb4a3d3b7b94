//! Properties made anew, or from others with some changed.

use std::borrow::Cow;

use super::{
    FLAG_APP_ID, FLAG_CLUSTER_ID, FLAG_CONTENT_ENCODING, FLAG_CONTENT_TYPE, FLAG_CORRELATION_ID,
    FLAG_DELIVERY_MODE, FLAG_EXPIRATION, FLAG_HEADERS, FLAG_KIND, FLAG_MESSAGE_ID, FLAG_PRIORITY,
    FLAG_REPLY_TO, FLAG_TIMESTAMP, FLAG_USER_ID, NAMES, Properties,
};
use crate::protocol::field::Table;
use crate::protocol::wire::{SHORT_STR_MAX, put_long_str};

/// Makes encoded properties; what is not set is taken over from the properties it began with.
///
/// A string over 255 bytes is cut, on a character boundary where it is UTF-8.
#[derive(Clone, Debug, Default)]
pub struct PropertiesBuilder<'a> {
    /// A property's bytes without a length, in the order of the properties.
    slots: [Option<Cow<'a, [u8]>>; NAMES.len()],
}

impl<'a> PropertiesBuilder<'a> {
    /// A builder of no properties.
    pub fn new() -> Self {
        Self::default()
    }

    /// A builder of properties equal to these, whose bytes are copied only by `finish`.
    pub fn from_properties(properties: Properties<'a>) -> Self {
        let slot = |i: usize| properties.find(flag_of(i)).map(Cow::Borrowed);
        Self { slots: std::array::from_fn(slot) }
    }

    /// Sets or removes `headers`.
    pub fn set_headers(&mut self, headers: Option<&Table>) -> &mut Self {
        self.put(FLAG_HEADERS, headers.map(|table| table.as_ref().as_bytes().to_vec()))
    }

    /// Sets `content_type`.
    pub fn set_content_type(&mut self, text: impl AsRef<[u8]>) -> &mut Self {
        self.put_text(FLAG_CONTENT_TYPE, text.as_ref())
    }

    /// Sets `content_encoding`.
    pub fn set_content_encoding(&mut self, text: impl AsRef<[u8]>) -> &mut Self {
        self.put_text(FLAG_CONTENT_ENCODING, text.as_ref())
    }

    /// Sets `delivery_mode`.
    pub fn set_delivery_mode(&mut self, mode: u8) -> &mut Self {
        self.put(FLAG_DELIVERY_MODE, Some(vec![mode]))
    }

    /// Sets `priority`.
    pub fn set_priority(&mut self, priority: u8) -> &mut Self {
        self.put(FLAG_PRIORITY, Some(vec![priority]))
    }

    /// Sets `correlation_id`.
    pub fn set_correlation_id(&mut self, text: impl AsRef<[u8]>) -> &mut Self {
        self.put_text(FLAG_CORRELATION_ID, text.as_ref())
    }

    /// Sets `reply_to`.
    pub fn set_reply_to(&mut self, text: impl AsRef<[u8]>) -> &mut Self {
        self.put_text(FLAG_REPLY_TO, text.as_ref())
    }

    /// Sets `expiration`.
    pub fn set_expiration(&mut self, text: impl AsRef<[u8]>) -> &mut Self {
        self.put_text(FLAG_EXPIRATION, text.as_ref())
    }

    /// Removes `expiration`, as dead-lettering does.
    pub fn clear_expiration(&mut self) -> &mut Self {
        self.clear(FLAG_EXPIRATION)
    }

    /// Sets `message_id`.
    pub fn set_message_id(&mut self, text: impl AsRef<[u8]>) -> &mut Self {
        self.put_text(FLAG_MESSAGE_ID, text.as_ref())
    }

    /// Sets `timestamp`.
    pub fn set_timestamp(&mut self, seconds: u64) -> &mut Self {
        self.put(FLAG_TIMESTAMP, Some(seconds.to_be_bytes().to_vec()))
    }

    /// Sets `kind`, the specification's `type`.
    pub fn set_kind(&mut self, text: impl AsRef<[u8]>) -> &mut Self {
        self.put_text(FLAG_KIND, text.as_ref())
    }

    /// Sets `user_id`.
    pub fn set_user_id(&mut self, text: impl AsRef<[u8]>) -> &mut Self {
        self.put_text(FLAG_USER_ID, text.as_ref())
    }

    /// Sets `app_id`.
    pub fn set_app_id(&mut self, text: impl AsRef<[u8]>) -> &mut Self {
        self.put_text(FLAG_APP_ID, text.as_ref())
    }

    /// Sets `cluster_id`.
    pub fn set_cluster_id(&mut self, text: impl AsRef<[u8]>) -> &mut Self {
        self.put_text(FLAG_CLUSTER_ID, text.as_ref())
    }

    /// Removes the properties of these flags.
    pub fn clear(&mut self, flags: u16) -> &mut Self {
        for (i, slot) in self.slots.iter_mut().enumerate() {
            if flags & flag_of(i) != 0 {
                *slot = None;
            }
        }
        self
    }

    /// The encoded properties, flags included, as [`Properties::parse`] takes them.
    pub fn finish(&self) -> Vec<u8> {
        let content: usize = self.slots.iter().flatten().map(|bytes| bytes.len() + 4).sum();
        let mut raw = Vec::with_capacity(2 + content);
        raw.extend_from_slice(&[0, 0]);
        let mut flags = 0;
        for (i, slot) in self.slots.iter().enumerate() {
            let Some(bytes) = slot else { continue };
            flags |= flag_of(i);
            match flag_of(i) {
                FLAG_HEADERS => put_long_str(&mut raw, bytes),
                FLAG_DELIVERY_MODE | FLAG_PRIORITY | FLAG_TIMESTAMP => raw.extend_from_slice(bytes),
                _ => {
                    raw.push(bytes.len() as u8);
                    raw.extend_from_slice(bytes);
                }
            }
        }
        raw[..2].copy_from_slice(&flags.to_be_bytes());
        raw
    }

    fn put(&mut self, flag: u16, bytes: Option<Vec<u8>>) -> &mut Self {
        self.slots[flag.leading_zeros() as usize] = bytes.map(Cow::Owned);
        self
    }

    fn put_text(&mut self, flag: u16, text: &[u8]) -> &mut Self {
        let len = match std::str::from_utf8(text) {
            Ok(text) => text.floor_char_boundary(SHORT_STR_MAX),
            Err(_) => text.len().min(SHORT_STR_MAX),
        };
        self.put(flag, Some(text[..len].to_vec()))
    }
}

/// The flag of the property at this place in the order.
fn flag_of(slot: usize) -> u16 {
    FLAG_CONTENT_TYPE >> slot
}
