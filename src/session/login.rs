//! SASL responses: from bytes to a user name and a password. Nothing in here may reach a log.

use crate::protocol::field::TableRef;
use crate::session::limits::Mechanism;

/// What a client presents.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Credentials<'a> {
    pub(super) user: &'a str,
    pub(super) password: &'a [u8],
}

impl<'a> Credentials<'a> {
    /// Reads a response; `None` if it is not what the mechanism asks for.
    pub(super) fn parse(mechanism: Mechanism, response: &'a [u8]) -> Option<Self> {
        match mechanism {
            Mechanism::Plain => Self::plain(response),
            Mechanism::AmqPlain => Self::amqplain(response),
            // It has none; the certificate came with the TLS handshake.
            Mechanism::External => None,
        }
    }

    /// `[authorization id] NUL user NUL password`; the authorization id has to be empty, as in RabbitMQ.
    fn plain(response: &'a [u8]) -> Option<Self> {
        let rest = response.strip_prefix(&[0])?;
        let mut parts = rest.split(|&byte| byte == 0);
        let (user, password) = (parts.next()?, parts.next()?);
        if parts.next().is_some() {
            return None;
        }
        Some(Self { user: std::str::from_utf8(user).ok()?, password })
    }

    /// A field table without its length.
    fn amqplain(response: &'a [u8]) -> Option<Self> {
        use crate::protocol::field::Value;
        let table = TableRef::parse(response).ok()?;
        let text = |key| match table.get(key) {
            Some(Value::LongStr(text)) => Some(text),
            _ => None,
        };
        Some(Self { user: std::str::from_utf8(text("LOGIN")?).ok()?, password: text("PASSWORD")? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::field::TableBuilder;

    fn plain(response: &[u8]) -> Option<(String, Vec<u8>)> {
        let credentials = Credentials::parse(Mechanism::Plain, response)?;
        Some((credentials.user.to_owned(), credentials.password.to_vec()))
    }

    #[test]
    fn plain_is_taken_exactly() {
        assert_eq!(plain(b"\0guest\0secret"), Some(("guest".into(), b"secret".to_vec())));
        // An empty user name is legal: access tokens come as the password alone.
        assert_eq!(plain(b"\0\0token"), Some((String::new(), b"token".to_vec())));
        for bad in [&b""[..], b"guest\0guest", b"\0guest", b"\0a\0b\0c", b"\0\xff\0b"] {
            assert_eq!(plain(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn amqplain_needs_both_as_strings() {
        let table = TableBuilder::new().long_str("LOGIN", "guest").long_str("PASSWORD", "pw").finish();
        let response = table.as_ref().as_bytes().to_vec();
        let credentials = Credentials::parse(Mechanism::AmqPlain, &response).unwrap();
        assert_eq!((credentials.user, credentials.password), ("guest", &b"pw"[..]));
        let table = TableBuilder::new().long_str("LOGIN", "guest").bool("PASSWORD", true).finish();
        assert!(Credentials::parse(Mechanism::AmqPlain, table.as_ref().as_bytes()).is_none());
        assert!(Credentials::parse(Mechanism::AmqPlain, b"garbage").is_none());
    }
}
