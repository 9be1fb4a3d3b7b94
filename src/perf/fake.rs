//! A broker of a few lines, that says what a test wants it to say.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::input::{Filled, Input};
use super::url::Url;
use super::wire::Target;
use crate::protocol::field::TableRef;
use crate::protocol::frame::FrameKind;
use crate::protocol::method::{Args, Method, channel, connection, write_method};

/// How long a test may wait for the other side.
const PATIENCE: Duration = Duration::from_secs(20);

/// The broker's end of a connection.
pub(super) struct Peer {
    stream: TcpStream,
    input: Input,
}

impl Peer {
    /// Sends a method.
    pub(super) fn say<M: Args>(&mut self, channel: u16, method: &M) {
        let mut bytes = Vec::new();
        write_method(&mut bytes, channel, method);
        self.send(&bytes);
    }

    /// Sends bytes.
    pub(super) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the client reads");
    }

    /// Reads frames until there is one that `wanted` wants; None at the end of the stream.
    pub(super) fn hear<T>(&mut self, mut wanted: impl FnMut(FrameKind, &[u8]) -> Option<T>) -> Option<T> {
        loop {
            while let Some(frame) = self.input.frame().expect("frames") {
                if let Some(found) = wanted(frame.kind, frame.payload) {
                    return Some(found);
                }
            }
            match self.input.fill(&mut self.stream) {
                Ok(Filled::Bytes(..)) => {}
                Ok(Filled::Nothing) => panic!("the client says nothing"),
                Ok(Filled::End) | Err(_) => return None,
            }
        }
    }

    /// Reads until a method of this name; what came before is skipped.
    pub(super) fn hear_method(&mut self, name: &str) {
        let heard = self.hear(|kind, payload| {
            let is_it =
                kind == FrameKind::Method && Method::decode(payload).expect("a method").name() == name;
            is_it.then_some(())
        });
        assert!(heard.is_some(), "no {name}");
    }

    fn welcome(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let mut peer = Self { stream, input: Input::default() };
        let mut header = [0; 8];
        peer.stream.read_exact(&mut header).expect("a protocol header");
        assert_eq!(header, crate::protocol::PROTOCOL_HEADER);
        let start = connection::Start {
            version_major: 0,
            version_minor: 9,
            server_properties: TableRef::EMPTY,
            mechanisms: b"PLAIN",
            locales: b"en_US",
        };
        peer.say(0, &start);
        peer.hear_method("connection.start-ok");
        peer.say(0, &connection::Tune { channel_max: 2047, frame_max: 4096, heartbeat: 60 });
        let heartbeat = peer.hear(|_, payload| match Method::decode(payload).expect("a method") {
            Method::Connection(connection::Method::TuneOk(tune_ok)) => Some(tune_ok.heartbeat),
            _ => None,
        });
        assert_eq!(heartbeat, Some(0), "a load generator wants no heartbeats");
        peer.hear_method("connection.open");
        peer.say(0, &connection::OpenOk { known_hosts: "" });
        peer.hear_method("channel.open");
        peer.say(1, &channel::OpenOk { channel_id: b"" });
        peer
    }
}

/// A broker for one connection, which has a channel already when `then` begins.
pub(super) fn broker<T: Send + 'static>(
    then: impl FnOnce(&mut Peer) -> T + Send + 'static,
) -> (Target, JoinHandle<T>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("amqp://{}/", listener.local_addr().expect("an address"));
    let serve = move || {
        let (stream, _) = listener.accept().expect("a connection");
        then(&mut Peer::welcome(stream))
    };
    (Target { url: Url::parse(&url).expect("a URL"), tls: None }, thread::spawn(serve))
}
