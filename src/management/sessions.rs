//! Who has logged in with `/api/login`, and goes on by a token instead of a password.
//!
//! A token is 256 random bits. It is kept in memory alone, as its digest, until its time is over or that of the access token it
//! was had for, its user is deleted or has another password, or it is given up. Whoever has it shows it as a bearer's or in a
//! cookie.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderMap;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};

use crate::broker::users::{LoginError, User, allowed_from};
use crate::management::cookies;
use crate::time::Moment;

/// What tokens begin with, so that they are taken for no access token.
const PREFIX: &str = "lvrt.";

/// What the name of the cookie begins with.
const NAME: &str = "leveret_session";

/// Most sessions of one user; the oldest makes room.
const MOST_OF_USER: usize = 100;

/// Most sessions of all.
const MOST: usize = 10_000;

/// Somebody whose password or access token was right.
#[derive(Clone, Debug)]
pub(crate) struct Login {
    pub(crate) user: Arc<User>,
    /// The [version](User::password_version) that it had before it was checked.
    pub(crate) password: u64,
}

impl Login {
    /// Whether another password would be asked for now.
    fn is_stale(&self) -> bool {
        self.user.is_deleted() || self.user.password_version() != self.password
    }
}

type Key = [u8; 32];

#[derive(Debug)]
struct Session {
    login: Login,
    /// In the order in which they began.
    number: u64,
    ends: Moment,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Sessions {
    lasting: Duration,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    by_key: HashMap<Key, Session>,
    begun: u64,
}

impl Open {
    /// Drops those that are over.
    fn prune(&mut self, now: Moment) {
        self.by_key.retain(|_, session| now < session.ends && !session.login.is_stale());
    }

    /// Drops the oldest of those that are meant, if there are as many as may be.
    fn make_room(&mut self, most: usize, is_meant: impl Fn(&Session) -> bool) {
        let meant = || self.by_key.iter().filter(|(_, session)| is_meant(session));
        if meant().count() < most {
            return;
        }
        let oldest = meant().min_by_key(|(_, session)| session.number).map(|(key, _)| *key);
        oldest.map(|key| self.by_key.remove(&key));
    }
}

impl Sessions {
    /// None yet. Each lasts so long at most.
    pub(crate) fn new(lasting: Duration) -> Self {
        Self { lasting, open: Mutex::default() }
    }

    /// How long each lasts at most.
    pub(crate) fn lasting(&self) -> Duration {
        self.lasting
    }

    /// Begins a session. Returns its token, and how long it lasts: not longer than an access token that the user came with.
    pub(crate) fn begin(&self, login: Login, now: Moment) -> (String, Duration) {
        let token = format!("{PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>()));
        let mut open = self.open.lock();
        open.prune(now);
        open.make_room(MOST_OF_USER, |session| session.login.user.is_same(&login.user));
        open.make_room(MOST, |_| true);
        open.begun += 1;
        let token_ends = login.user.token().and_then(|vouched| vouched.ends);
        let lasting = token_ends.map_or(self.lasting, |ends| self.lasting.min(ends.since(now)));
        let session = Session { login, number: open.begun, ends: now.after(lasting) };
        open.by_key.insert(key(&token), session);
        (token, lasting)
    }

    /// Whose a token is.
    ///
    /// # Errors
    /// If it is nobody's, or not any more, or its user may not come from there.
    pub(crate) fn find(
        &self,
        token: &str,
        from_loopback: bool,
        now: Moment,
    ) -> Result<Arc<User>, LoginError> {
        let key = key(token);
        let mut open = self.open.lock();
        let session = open.by_key.get(&key).ok_or(LoginError::Credentials)?;
        if session.ends <= now || session.login.is_stale() {
            open.by_key.remove(&key);
            return Err(LoginError::Credentials);
        }
        allowed_from(session.login.user.clone(), from_loopback)
    }

    /// Ends a session, if there is one.
    pub(crate) fn end(&self, token: &str) {
        self.open.lock().by_key.remove(&key(token));
    }
}

fn key(token: &str) -> Key {
    Sha256::digest(token).into()
}

/// Whether a bearer's token is one of a session.
pub(crate) fn is_token(text: &str) -> bool {
    text.starts_with(PREFIX)
}

/// The token in the cookie of a head.
pub(crate) fn in_cookie(headers: &HeaderMap) -> Option<&str> {
    cookies::values(headers, NAME).find(|value| is_token(value))
}

/// The cookie that has a browser that asks with this head show a token, to this site's own pages alone and to no script; without
/// a token the one that has it forgotten.
pub(crate) fn cookie(
    headers: &HeaderMap,
    token: Option<&str>,
    prefix: &str,
    lasting: Duration,
    is_secure: bool,
) -> String {
    let seconds = if token.is_some() { lasting.as_secs() } else { 0 };
    let secure = if is_secure { "; Secure" } else { "" };
    let (name, token) = (cookies::name(headers, NAME), token.unwrap_or_default());
    format!("{name}={token}; Path={prefix}/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}")
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use axum::http::header::{COOKIE, HOST};

    use super::*;
    use crate::broker::Broker;
    use crate::broker::options::BrokerOptions;
    use crate::identity::tags::Tags;

    const NOW: Moment = Moment(1000);

    fn login(name: &str) -> Login {
        Login { user: User::foreign(name, Tags::default()), password: 0 }
    }

    fn sessions() -> Sessions {
        Sessions::new(Duration::from_secs(1))
    }

    #[test]
    fn a_token_is_good_until_its_time_is_over_or_it_is_given_up() {
        let sessions = sessions();
        let ((one, lasting), (other, _)) = (sessions.begin(login("a"), NOW), sessions.begin(login("a"), NOW));
        assert_eq!(lasting, Duration::from_secs(1));
        assert!(one != other && is_token(&one) && one.len() == PREFIX.len() + 43, "{one}");
        assert_eq!(sessions.find(&one, true, Moment(1999)).unwrap().name, "a");
        sessions.end(&one);
        assert_eq!(sessions.find(&one, true, NOW).unwrap_err(), LoginError::Credentials);
        assert!(sessions.find(&other, true, NOW).is_ok());
        assert!(sessions.find(&other, true, Moment(2000)).is_err());
        assert!(sessions.open.lock().by_key.is_empty(), "nothing is left of it");
        assert!(sessions.find(PREFIX, true, NOW).is_err());
    }

    #[test]
    fn it_ends_with_the_password_and_the_user() {
        let broker = Broker::new(BrokerOptions::default());
        let users = &broker.users;
        let add = |name: &str| {
            let hash = users.hash_new(b"secret").unwrap();
            let _ = users.add(name, hash, "").unwrap();
            users.find(name).unwrap()
        };
        let (user, sessions) = (add("u"), sessions());
        let begin =
            |user: &Arc<User>, password| sessions.begin(Login { user: user.clone(), password }, NOW).0;
        let old = user.password_version();
        let token = begin(&user, old);
        assert!(sessions.find(&token, false, NOW).is_ok());
        let _ = users.set_tags("u", Tags::parse(["management"]).unwrap(), "").unwrap();
        assert!(sessions.find(&token, false, NOW).is_ok(), "whatever the tags");
        let _ = users.set_password("u", users.hash_new(b"another").unwrap(), "").unwrap();
        assert!(sessions.find(&token, false, NOW).is_err());
        assert!(
            sessions.find(&begin(&user, old), false, NOW).is_err(),
            "that was checked before it was changed"
        );
        let token = begin(&user, user.password_version());
        let _ = broker.delete_user("u", "").unwrap();
        add("u");
        assert!(sessions.find(&token, false, NOW).is_err());
    }

    #[test]
    fn who_may_come_from_this_machine_only_does_so_with_a_token_too() {
        let broker =
            Broker::new(BrokerOptions { loopback_users: vec!["l".to_owned()], ..BrokerOptions::default() });
        let _ = broker.users.add("l", broker.users.hash_new(b"secret").unwrap(), "").unwrap();
        let (user, sessions) = (broker.users.find("l").unwrap(), sessions());
        let (token, _) = sessions.begin(Login { password: user.password_version(), user }, NOW);
        assert_eq!(sessions.find(&token, false, NOW).unwrap_err(), LoginError::NotLoopback);
        assert!(sessions.find(&token, true, NOW).is_ok());
    }

    #[test]
    fn there_are_not_more_and_more_of_them() {
        let sessions = sessions();
        let (other, _) = sessions.begin(login("b"), NOW);
        let tokens: Vec<String> = (0..=MOST_OF_USER).map(|_| sessions.begin(login("a"), NOW).0).collect();
        let is_open = |token: &str| sessions.find(token, true, NOW).is_ok();
        assert!(
            !is_open(&tokens[0]) && is_open(&tokens[1]) && is_open(&other),
            "the user's oldest makes room"
        );
        assert_eq!(sessions.open.lock().by_key.len(), 1 + MOST_OF_USER);
        let mut open = sessions.open.lock();
        open.make_room(1 + MOST_OF_USER, |_| true);
        drop(open);
        assert!(!is_open(&other), "and else the oldest of all");
        sessions.begin(login("c"), Moment(5000));
        assert_eq!(sessions.open.lock().by_key.len(), 1, "those whose time is over are dropped");
    }

    fn head(host: &'static str, cookies: &[&'static str]) -> HeaderMap {
        let cookies = cookies.iter().map(|text| (COOKIE, HeaderValue::from_static(text)));
        [(HOST, HeaderValue::from_static(host))].into_iter().chain(cookies).collect()
    }

    #[test]
    fn the_cookie_is_found_among_others() {
        let of = |texts: &[&'static str]| in_cookie(&head("mq", texts)).map(str::to_owned);
        assert_eq!(of(&["a=b; leveret_session=lvrt.x; c=d"]).as_deref(), Some("lvrt.x"));
        assert_eq!(of(&["a=b", "leveret_session=lvrt.y"]).as_deref(), Some("lvrt.y"));
        assert_eq!(of(&["leveret_session=; xleveret_session=lvrt.z", "leveret_session"]), None);
        let mq = head("mq", &[]);
        assert_eq!(
            cookie(&mq, Some("lvrt.x"), "/mq", Duration::from_secs(60), true),
            "leveret_session=lvrt.x; Path=/mq/; Max-Age=60; HttpOnly; SameSite=Strict; Secure"
        );
        assert!(
            cookie(&mq, None, "", Duration::from_secs(60), false)
                .starts_with("leveret_session=; Path=/; Max-Age=0;")
        );
    }

    #[test]
    fn brokers_on_one_host_have_cookies_of_their_own() {
        let both = "leveret_session=lvrt.0; leveret_session_1=lvrt.1; leveret_session_15672=lvrt.2";
        for (host, token, name) in [
            ("mq", "lvrt.0", "leveret_session="),
            ("mq:1", "lvrt.1", "leveret_session_1="),
            ("127.0.0.1:15672", "lvrt.2", "leveret_session_15672="),
            ("[::1]:15672", "lvrt.2", "leveret_session_15672="),
            ("[::1]", "lvrt.0", "leveret_session="),
            ("mq:99999", "lvrt.0", "leveret_session="),
            ("mq:x; evil=1", "lvrt.0", "leveret_session="),
        ] {
            let head = head(host, &[both]);
            assert_eq!(in_cookie(&head), Some(token), "{host}");
            assert!(cookie(&head, None, "", Duration::ZERO, false).starts_with(name), "{host}");
        }
        assert_eq!(in_cookie(&head("mq:2", &[both])), None, "that of another broker is none");
    }
}
