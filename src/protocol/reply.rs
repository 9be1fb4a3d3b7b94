//! Reply codes, and the error that closes a channel or a connection with one.

use std::borrow::Cow;
use std::fmt;

use thiserror::Error;

/// Longest reply text in bytes: it travels as a short string.
const REPLY_TEXT_MAX: usize = 255;

macro_rules! reply_codes {
    ($($(#[$doc:meta])* $variant:ident = $code:literal $name:literal $fate:ident,)*) => {
        /// The reply codes of AMQP 0-9-1. A hard one closes the connection, a soft one the channel.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u16)]
        pub enum ReplyCode {
            $($(#[$doc])* $variant = $code,)*
        }

        impl ReplyCode {
            /// The specification's name, as reply texts begin with it: `NOT_FOUND`.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// Whether an error of this code closes the whole connection.
            pub fn is_hard(self) -> bool {
                match self {
                    $(Self::$variant => reply_codes!(@ $fate),)*
                }
            }
        }
    };
    (@ hard) => { true };
    (@ soft) => { false };
}

reply_codes! {
    /// Not an error: a close without a fault.
    ReplySuccess = 200 "REPLY_SUCCESS" soft,
    /// A message is too large.
    ContentTooLarge = 311 "CONTENT_TOO_LARGE" soft,
    /// A mandatory message reached no queue.
    NoRoute = 312 "NO_ROUTE" soft,
    /// An immediate message found no consumer.
    NoConsumers = 313 "NO_CONSUMERS" soft,
    /// An operator, or the broker's shutdown, ends the connection.
    ConnectionForced = 320 "CONNECTION_FORCED" hard,
    /// The vhost cannot be opened.
    InvalidPath = 402 "INVALID_PATH" hard,
    /// The user lacks the permission.
    AccessRefused = 403 "ACCESS_REFUSED" soft,
    /// The named thing does not exist.
    NotFound = 404 "NOT_FOUND" soft,
    /// The thing belongs to another connection.
    ResourceLocked = 405 "RESOURCE_LOCKED" soft,
    /// A request contradicts the state it meets.
    PreconditionFailed = 406 "PRECONDITION_FAILED" soft,
    /// The bytes are no frame, or its contents cannot be decoded.
    FrameError = 501 "FRAME_ERROR" hard,
    /// A field holds a value it may not have.
    SyntaxError = 502 "SYNTAX_ERROR" hard,
    /// A method that is not allowed here.
    CommandInvalid = 503 "COMMAND_INVALID" hard,
    /// A channel that is not open, or already is.
    ChannelError = 504 "CHANNEL_ERROR" hard,
    /// A frame out of its order.
    UnexpectedFrame = 505 "UNEXPECTED_FRAME" hard,
    /// The broker lacks a resource.
    ResourceError = 506 "RESOURCE_ERROR" hard,
    /// Something that is forbidden by agreement or configuration.
    NotAllowed = 530 "NOT_ALLOWED" hard,
    /// Something this broker does not do.
    NotImplemented = 540 "NOT_IMPLEMENTED" hard,
    /// The broker's own fault.
    InternalError = 541 "INTERNAL_ERROR" hard,
}

impl ReplyCode {
    /// The number on the wire.
    pub fn code(self) -> u16 {
        self as u16
    }
}

/// Class and method id, as `connection.close` and `channel.close` name the offending method.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct MethodId {
    /// Class id, 60 for `basic`.
    pub class: u16,
    /// Method id within its class, 40 for `basic.publish`.
    pub method: u16,
}

impl MethodId {
    /// No method, or one that is not known: 0, 0.
    pub const NONE: Self = Self { class: 0, method: 0 };

    /// The method with these ids.
    pub const fn new(class: u16, method: u16) -> Self {
        Self { class, method }
    }
}

impl fmt::Display for MethodId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.class, self.method)
    }
}

/// An error as the peer is told about it, with the code that decides what dies of it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{}", self.reply_text())]
pub struct AmqpError {
    /// What kind of error, and whether it closes the channel or the connection.
    pub code: ReplyCode,
    /// What happened, without the code's name.
    pub text: Cow<'static, str>,
    /// The method at fault, [`MethodId::NONE`] if there is none.
    pub method: MethodId,
}

impl AmqpError {
    /// An error that names no method yet.
    pub fn new(code: ReplyCode, text: impl Into<Cow<'static, str>>) -> Self {
        Self { code, text: text.into(), method: MethodId::NONE }
    }

    /// Names the method at fault, unless one is named already: the place nearest to the fault wins.
    #[must_use]
    pub fn at(mut self, method: MethodId) -> Self {
        if self.method == MethodId::NONE {
            self.method = method;
        }
        self
    }

    /// The text for the wire, `NOT_FOUND - no queue 'q' in vhost '/'`: at most 255 bytes, cut on a
    /// character boundary.
    pub fn reply_text(&self) -> String {
        let mut text = format!("{} - {}", self.code.name(), self.text);
        text.truncate(text.floor_char_boundary(REPLY_TEXT_MAX));
        text
    }

    /// Whether the connection dies of it, and not only the channel.
    pub fn closes_connection(&self) -> bool {
        self.code.is_hard()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_text_begins_with_the_name_and_fits_a_short_string() {
        let error = AmqpError::new(ReplyCode::NotFound, "no queue 'q' in vhost '/'");
        assert_eq!(error.reply_text(), "NOT_FOUND - no queue 'q' in vhost '/'");
        assert_eq!(error.to_string(), error.reply_text());

        let long = AmqpError::new(ReplyCode::NotFound, "é".repeat(200));
        let text = long.reply_text();
        assert_eq!(text.len(), 254, "an odd prefix would split the last character at 255");
        assert!(text.ends_with('é'));
    }

    #[test]
    fn the_first_named_method_stays() {
        let error = AmqpError::new(ReplyCode::NotFound, "x").at(MethodId::new(50, 20));
        assert_eq!(error.clone().at(MethodId::new(60, 40)), error);
    }

    #[test]
    fn hard_codes_close_the_connection() {
        for code in [320, 402, 501, 502, 503, 504, 505, 506, 530, 540, 541] {
            assert!(by_number(code).is_hard(), "{code}");
        }
        for code in [200, 311, 312, 313, 403, 404, 405, 406] {
            assert!(!by_number(code).is_hard(), "{code}");
        }
    }

    fn by_number(code: u16) -> ReplyCode {
        use ReplyCode::*;
        let all = [
            ReplySuccess,
            ContentTooLarge,
            NoRoute,
            NoConsumers,
            ConnectionForced,
            InvalidPath,
            AccessRefused,
            NotFound,
            ResourceLocked,
            PreconditionFailed,
            FrameError,
            SyntaxError,
            CommandInvalid,
            ChannelError,
            UnexpectedFrame,
            ResourceError,
            NotAllowed,
            NotImplemented,
            InternalError,
        ];
        all.into_iter().find(|known| known.code() == code).expect("a listed code")
    }
}
