//! Who may log in. Users come from the configuration.

use std::collections::HashMap;
use std::sync::Arc;

use subtle::ConstantTimeEq;

use crate::broker::limits::Quota;
use crate::broker::options::{Tag, UserOptions};

/// A user who has logged in.
#[derive(Debug)]
pub struct User {
    /// The name.
    pub name: String,
    tags: Vec<Tag>,
    loopback_only: bool,
    /// Open connections.
    pub(super) connections: Quota,
    /// Channels of these.
    pub(super) channels: Quota,
}

impl User {
    /// Whether the user may publish in the name of `other`.
    #[must_use]
    pub fn may_publish_as(&self, other: &[u8]) -> bool {
        other == self.name.as_bytes() || self.tags.contains(&Tag::Impersonator)
    }
}

/// Why a login was refused. For the log; clients are not told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoginError {
    /// No such user, or the wrong password.
    #[error("invalid credentials")]
    Credentials,
    /// The user may only come from the loopback interface.
    #[error("the user can only connect via localhost")]
    NotLoopback,
}

/// All users.
#[derive(Debug)]
pub struct Users {
    by_name: HashMap<String, (Arc<User>, Box<[u8]>)>,
}

impl Users {
    /// The users of the configuration.
    #[must_use]
    pub fn new(options: &[UserOptions]) -> Self {
        let entry = |user: &UserOptions| {
            let password = user.password.as_bytes().into();
            let UserOptions { name, tags, loopback_only, .. } = user.clone();
            let (connections, channels) = (Quota::new(user.max_connections), Quota::new(user.max_channels));
            let user = User { name, tags, loopback_only, connections, channels };
            (user.name.clone(), (Arc::new(user), password))
        };
        Self { by_name: options.iter().map(entry).collect() }
    }

    /// Whether there is a user of this name.
    #[must_use]
    pub fn exists(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    /// Checks a password. The work done does not depend on whether the user exists. An empty password is always
    /// refused.
    ///
    /// # Errors
    /// See [`LoginError`].
    pub fn login(&self, name: &str, password: &[u8], from_loopback: bool) -> Result<Arc<User>, LoginError> {
        let found = self.by_name.get(name);
        let expected = found.map_or(&b""[..], |(_, password)| password);
        let matches = bool::from(expected.ct_eq(password));
        let (user, _) = found.filter(|_| matches && !password.is_empty()).ok_or(LoginError::Credentials)?;
        if user.loopback_only && !from_loopback {
            return Err(LoginError::NotLoopback);
        }
        Ok(user.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::options::BrokerOptions;

    #[test]
    fn guest_is_let_in_from_loopback_only() {
        let users = Users::new(&BrokerOptions::default().users);
        assert_eq!(users.login("guest", b"guest", true).unwrap().name, "guest");
        assert!(users.exists("guest") && !users.exists("nobody"));
        assert_eq!(users.login("guest", b"guest", false).unwrap_err(), LoginError::NotLoopback);
        assert_eq!(users.login("guest", b"Guest", true).unwrap_err(), LoginError::Credentials);
        assert_eq!(users.login("nobody", b"guest", true).unwrap_err(), LoginError::Credentials);
    }

    #[test]
    fn an_empty_password_never_logs_in() {
        let user = UserOptions {
            name: "ci".into(),
            password: String::new(),
            vhosts: vec!["/".into()],
            tags: Vec::new(),
            max_connections: None,
            max_channels: None,
            loopback_only: false,
        };
        let users = Users::new(&[user]);
        assert_eq!(users.login("ci", b"", true).unwrap_err(), LoginError::Credentials);
        assert_eq!(users.login("nobody", b"", true).unwrap_err(), LoginError::Credentials);
    }
}
