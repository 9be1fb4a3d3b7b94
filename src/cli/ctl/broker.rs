//! The broker as commands ask it, and what they make of what it refuses.

use std::io::{self, Write as _};

use hyper::Method;
use serde_json::Value;

use super::options::Options;
use super::{NO_USER, SOFTWARE, TIMED_OUT, UNAVAILABLE};
use crate::cli::client::{Answer, CallError, Client, Question, Target, Upload, path};
use crate::cli::failure::Failure;

/// How long a broker may take, in seconds.
const PATIENCE: u64 = 60;

/// What a request is about, for what is said if something of it is not there.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct About<'a> {
    pub(super) vhost: Option<&'a str>,
    pub(super) user: Option<&'a str>,
    /// What kind of thing, and its name.
    pub(super) thing: Option<(&'static str, &'a str)>,
}

impl<'a> About<'a> {
    /// A user.
    pub(super) fn user(user: &'a str) -> Self {
        Self { user: Some(user), ..Self::default() }
    }

    /// A vhost.
    pub(super) fn vhost(vhost: &'a str) -> Self {
        Self { vhost: Some(vhost), ..Self::default() }
    }

    /// A user in a vhost.
    pub(super) fn both(vhost: &'a str, user: &'a str) -> Self {
        Self { vhost: Some(vhost), user: Some(user), thing: None }
    }

    /// Something of this kind and name.
    pub(super) fn thing(mut self, kind: &'static str, name: &'a str) -> Self {
        self.thing = Some((kind, name));
        self
    }
}

/// See the module.
pub(super) struct Broker<'a> {
    pub(super) client: Client,
    pub(super) options: &'a Options,
}

impl<'a> Broker<'a> {
    /// The broker that the options speak of. Whether it runs is not known yet.
    pub(super) fn find(options: &'a Options) -> Result<Self, Failure> {
        let client = Client::new(options.target()?, options.patience(PATIENCE)).map_err(Failure::Runtime)?;
        Ok(Self { client, options })
    }

    /// Looks whether it is the node that was meant, if one was named. There may be a host in the name, or not.
    pub(super) fn check_node(&self) -> Result<(), Failure> {
        let Some(meant) = self.options.node() else { return Ok(()) };
        let overview = self.get(&["overview"], About::default())?;
        let node = overview["node"].as_str().unwrap_or_default();
        if node == meant || node.split_once('@').is_some_and(|(name, _)| name == meant) {
            return Ok(());
        }
        let text = format!("there is no node {meant} here, the broker is {node}");
        Err(Failure::RefusedAs { code: UNAVAILABLE, text })
    }

    /// Asks, whatever is answered.
    pub(super) fn ask(&self, question: Question) -> Result<Answer, Failure> {
        self.client.ask(question).map_err(|error| self.silence(error))
    }

    /// What is said if there is no answer.
    pub(super) fn silence(&self, error: CallError) -> Failure {
        match (error, self.client.target()) {
            (CallError::Unreachable(error), Target::Local(path)) => {
                Failure::NoBroker { path: path.clone(), error }
            }
            (CallError::Unreachable(error), Target::Remote(remote)) => {
                let text = format!("cannot reach a broker at {}:{}: {error}", remote.host, remote.port);
                Failure::RefusedAs { code: UNAVAILABLE, text }
            }
            (error @ CallError::TimedOut, _) => {
                Failure::RefusedAs { code: TIMED_OUT, text: error.to_string() }
            }
            (error @ CallError::Broken, _) => {
                Failure::RefusedAs { code: UNAVAILABLE, text: error.to_string() }
            }
        }
    }

    /// What is at a path.
    pub(super) fn get(&self, names: &[&str], about: About<'_>) -> Result<Value, Failure> {
        self.get_at(path(names), about)
    }

    /// What is at a path that is encoded, and may have something behind a question mark.
    pub(super) fn get_at(&self, path: String, about: About<'_>) -> Result<Value, Failure> {
        self.done(self.ask(Question::new(Method::GET, path))?, about).map(|answer| answer.json())
    }

    /// Puts something to a path. Returns whether it is new there.
    pub(super) fn put(&self, names: &[&str], value: &Value, about: About<'_>) -> Result<bool, Failure> {
        let answer = self.send(Method::PUT, names, value)?;
        self.done(answer, about).map(|answer| answer.status == 201)
    }

    /// Sends something to a path.
    pub(super) fn post(&self, names: &[&str], value: &Value, about: About<'_>) -> Result<Value, Failure> {
        let answer = self.send(Method::POST, names, value)?;
        self.done(answer, about).map(|answer| answer.json())
    }

    fn send(&self, method: Method, names: &[&str], value: &Value) -> Result<Answer, Failure> {
        let body = Upload::new(value.to_string().into_bytes());
        self.ask(Question { body, ..Question::new(method, path(names)) })
    }

    /// Takes what is at a path away.
    pub(super) fn delete(&self, names: &[&str], about: About<'_>) -> Result<(), Failure> {
        self.done(self.ask(Question::new(Method::DELETE, path(names)))?, about).map(|_| ())
    }

    /// The same; that it is not there is no failure, if what it belongs to is.
    pub(super) fn delete_any(&self, names: &[&str], about: About<'_>) -> Result<(), Failure> {
        let answer = self.ask(Question::new(Method::DELETE, path(names)))?;
        if answer.status != 404 {
            return self.done(answer, about).map(|_| ());
        }
        self.missing(about).map_or(Ok(()), Err)
    }

    /// An answer that says that it is done, or what has to be said of another one.
    pub(super) fn done(&self, answer: Answer, about: About<'_>) -> Result<Answer, Failure> {
        if answer.is_success() {
            return Ok(answer);
        }
        let reason = answer.reason();
        let refused = |code, text| Err(Failure::RefusedAs { code, text });
        match answer.status {
            401 if answer.json()["error"] == "not_authorized" => {
                let text = "the broker does not let in who asks: is the user name right, and the password?";
                refused(UNAVAILABLE, text.to_owned())
            }
            401 => refused(UNAVAILABLE, format!("the broker refuses: {reason}")),
            404 | 400 if let Some(missing) = self.missing(about) => Err(missing),
            404 => match about.thing {
                Some((kind, name)) => Err(Failure::Refused(format!("there is no {kind} {name:?}"))),
                None => Err(Failure::Refused(format!("the broker does not know this: {reason}"))),
            },
            400 => Err(Failure::Refused(reason)),
            405 => refused(UNAVAILABLE, "the broker cannot do this; is it of another version?".to_owned()),
            _ => refused(SOFTWARE, reason),
        }
    }

    /// Which of vhost and user there is not.
    fn missing(&self, about: About<'_>) -> Option<Failure> {
        let is_missing = |names: &[&str]| {
            self.client.ask(Question::new(Method::GET, path(names))).is_ok_and(|answer| answer.status == 404)
        };
        if let Some(vhost) = about.vhost.filter(|vhost| is_missing(&["vhosts", vhost])) {
            return Some(Failure::Refused(format!("there is no vhost {vhost:?}")));
        }
        let user = about.user.filter(|user| is_missing(&["users", user]))?;
        Some(Failure::RefusedAs { code: NO_USER, text: format!("User {user:?} does not exist") })
    }

    /// Tells the person at the console something beside what was asked for.
    pub(super) fn remark(&self, text: &str) {
        if !self.options.is_quiet() {
            // Without a console there is nobody to tell.
            let _ = writeln!(io::stderr(), "leveret: {text}");
        }
    }
}
