//! What commands speak with a broker: HTTP over its control socket, or over TCP with or without TLS.

mod connect;
mod upload;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1::handshake;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio::time::timeout;

use self::connect::Stream;
pub(super) use self::connect::{Login, Remote};
pub(super) use self::upload::Upload;

/// How long a broker may be silent in an answer that says how far something is. It tells more often than that.
const SILENCE: Duration = Duration::from_secs(30);

/// Where the broker is.
#[derive(Debug)]
pub(super) enum Target {
    /// On this machine, with its data in this directory.
    Local(PathBuf),
    /// Anywhere.
    Remote(Box<Remote>),
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    /// Nobody is there.
    #[error(transparent)]
    Unreachable(io::Error),
    /// It takes too long.
    #[error("the broker does not answer")]
    TimedOut,
    /// There was somebody, and then there was not.
    #[error("the broker has ended the conversation")]
    Broken,
}

/// What is asked.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) method: Method,
    /// Below `/api`, encoded, with what is behind a question mark.
    pub(super) path: String,
    /// Beside those that every request has.
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Upload,
}

impl Question {
    /// Without a body.
    pub(super) fn new(method: Method, path: String) -> Self {
        Self { method, path, headers: Vec::new(), body: Upload::default() }
    }
}

/// What is answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
}

impl Answer {
    /// Whether it is done.
    pub(super) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The body as JSON; null if it is none.
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// What the broker says about it, in one line.
    pub(super) fn reason(&self) -> String {
        let json = self.json();
        let reason = json.get("reason").or_else(|| json.get("error"));
        let text = match reason {
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
            None => format!("the broker answers with {}", self.status),
        };
        one_line(&text)
    }
}

/// A text of several lines, as RabbitMQ has some, in one.
pub(super) fn one_line(text: &str) -> String {
    let text = text.trim().replace("\n\n", ": ");
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// A path of names, each of which may have any letters.
pub(super) fn path(names: &[&str]) -> String {
    let mut path = String::new();
    for name in names {
        path.push('/');
        for byte in name.bytes() {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                path.push(char::from(byte));
            } else {
                path.push_str(&format!("%{byte:02X}"));
            }
        }
    }
    path
}

/// See the module. Every question has a connection of its own.
#[derive(Debug)]
pub(super) struct Client {
    runtime: Runtime,
    target: Target,
    patience: Duration,
}

impl Client {
    /// A client that waits so long for an answer.
    ///
    /// # Errors
    /// If the operating system does not let it wait for sockets.
    pub(super) fn new(target: Target, patience: Duration) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { runtime, target, patience })
    }

    /// Where the broker is.
    pub(super) fn target(&self) -> &Target {
        &self.target
    }

    /// The number by which this process knows that of a broker on this machine; None if it does not, since the broker is
    /// in a namespace that cannot be seen from here, or is not on this machine.
    ///
    /// # Errors
    /// If there is no broker.
    pub(super) fn process(&self) -> Result<Option<i32>, CallError> {
        self.runtime.block_on(self.target.process()).map_err(CallError::Unreachable)
    }

    /// Asks, and waits for the whole answer.
    ///
    /// # Errors
    /// If there is none.
    pub(super) fn ask(&self, question: Question) -> Result<Answer, CallError> {
        self.watch(question, |_, _| {})
    }

    /// The same for a large answer: after each part of it `progress` is told how many bytes are there, and of how many, if the
    /// broker says it.
    ///
    /// # Errors
    /// If there is none.
    pub(super) fn watch(
        &self,
        question: Question,
        mut progress: impl FnMut(u64, u64),
    ) -> Result<Answer, CallError> {
        let asked = async {
            let response = self.send(question).await?;
            let status = response.status().as_u16();
            let size = response.body().size_hint().exact();
            let (mut body, mut read) = (response.into_body(), Vec::new());
            while let Some(frame) = body.frame().await {
                let Ok(data) = frame.map_err(|_| CallError::Broken)?.into_data() else { continue };
                read.extend_from_slice(&data);
                if let Some(size) = size {
                    progress(read.len() as u64, size);
                }
            }
            Ok(Answer { status, body: read })
        };
        self.runtime.block_on(async { timeout(self.patience, asked).await.map_err(|_| CallError::TimedOut)? })
    }

    /// Asks for something that takes its time, and hears how far it is: every line but the last is told to `progress`. What
    /// is no success has one answer.
    ///
    /// # Errors
    /// If there is no last line.
    pub(super) fn follow(
        &self,
        question: Question,
        mut progress: impl FnMut(&Value),
    ) -> Result<Result<Value, Answer>, CallError> {
        self.runtime.block_on(async {
            let sent = timeout(self.patience, self.send(question)).await;
            let response = sent.map_err(|_| CallError::TimedOut)??;
            let status = response.status().as_u16();
            let mut body = response.into_body();
            let mut read = Vec::new();
            let mut last = Value::Null;
            while let Some(frame) = timeout(SILENCE, body.frame()).await.map_err(|_| CallError::TimedOut)? {
                let Ok(data) = frame.map_err(|_| CallError::Broken)?.into_data() else { continue };
                read.extend_from_slice(&data);
                if status != 200 {
                    continue;
                }
                while let Some(end) = read.iter().position(|byte| *byte == b'\n') {
                    let line: Vec<u8> = read.drain(..=end).collect();
                    last = serde_json::from_slice(&line).unwrap_or_default();
                    progress(&last);
                }
            }
            match status {
                200 if last.get("ok").is_some() || last.get("error").is_some() => Ok(Ok(last)),
                200 => Err(CallError::Broken),
                _ => Ok(Err(Answer { status, body: read })),
            }
        })
    }

    async fn send(&self, question: Question) -> Result<Response<Incoming>, CallError> {
        let Question { method, path, headers, body } = question;
        let stream: Box<dyn Stream> = self.target.connect().await.map_err(CallError::Unreachable)?;
        let (mut sender, connection) =
            handshake(TokioIo::new(stream)).await.map_err(|_| CallError::Broken)?;
        // It ends with the answer, or with the sender.
        tokio::spawn(connection);
        let mut request = Request::builder().method(method);
        request = match &self.target {
            Target::Local(_) => request.uri(format!("/api{path}")).header(HOST, "localhost"),
            Target::Remote(remote) => {
                let request = request.uri(format!("{}/api{path}", remote.prefix));
                let request = request.header(HOST, remote.authority());
                match &remote.login {
                    Some(login) => request.header(AUTHORIZATION, login.header()),
                    None => request,
                }
            }
        };
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let wrong = |error: hyper::http::Error| {
            CallError::Unreachable(io::Error::new(io::ErrorKind::InvalidInput, error.to_string()))
        };
        sender.send_request(request.body(body).map_err(wrong)?).await.map_err(|_| CallError::Broken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_any_kind_are_parts_of_a_path() {
        assert_eq!(path(&["queues", "/", "a b/%2F", "ü~-._"]), "/queues/%2F/a%20b%2F%252F/%C3%BC~-._");
        assert_eq!(path(&["x", ""]), "/x/");
    }

    #[test]
    fn reasons_are_one_line() {
        let said = |body: &str| Answer { status: 400, body: body.as_bytes().to_vec() }.reason();
        assert_eq!(
            said(r#"{"error":"bad_request","reason":"Validation failed\n\nx\n"}"#),
            "Validation failed: x"
        );
        assert_eq!(said(r#"{"error":"conflict"}"#), "conflict");
        assert_eq!(said(r#"{"reason":["a"]}"#), r#"["a"]"#);
        assert_eq!(said("<html>"), "the broker answers with 400");
    }
}
