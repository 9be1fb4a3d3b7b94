//! A connection to a broker over a plain std socket: handshake, methods that are answered, and raw reading.

mod stream;

use std::io::{self, ErrorKind, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;

pub use self::stream::{Ready, Stream, Waiting};
use super::error::PerfError;
use super::input::{Filled, Input};
use super::url::Url;
use crate::protocol::PROTOCOL_HEADER;
use crate::protocol::field::TableBuilder;
use crate::protocol::frame::{Frame, FrameKind, HEARTBEAT};
use crate::protocol::method::{Args, Method, basic, channel, connection, write_method};
use crate::protocol::reply::MethodId;

/// How long to wait for a connection and for an answer.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// How long to wait for the broker's answer to a goodbye. Brokers that hold back a publisher read nothing at all.
const FAREWELL: Duration = Duration::from_secs(5);

/// The largest frame that is agreed to: a body of up to this size goes in one piece.
const FRAME_MAX: u32 = 131_072;

/// How to reach a broker.
#[derive(Clone, Debug)]
pub struct Target {
    /// Where, and who.
    pub url: Url,
    /// For `amqps`.
    pub tls: Option<Arc<ClientConfig>>,
}

/// What a broker says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Server {
    /// Its name, such as `RabbitMQ`.
    pub product: String,
    /// Its version.
    pub version: String,
}

/// What the broker says beside what a run is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Nothing of concern here.
    Other,
    /// It wants to know whether the client is alive; the answer is a heartbeat.
    Heartbeat,
    /// It does not take messages now, and why.
    Blocked(String),
    /// It takes messages again.
    Unblocked,
}

/// An open connection.
#[derive(Debug)]
pub struct Connection {
    /// The socket.
    pub stream: Stream,
    /// What was read from it.
    pub input: Input,
    frame_max: u32,
    server: Server,
}

impl Connection {
    /// Connects, logs in and opens the vhost.
    ///
    /// # Errors
    ///
    /// If nobody is there, or the broker refuses: then with its words.
    pub fn open(target: &Target) -> Result<Self, PerfError> {
        Self::open_with(target, Input::default())
    }

    /// The same with an input buffer of one's own, for those who open thousands of connections.
    ///
    /// # Errors
    ///
    /// Those of [`Connection::open`].
    pub fn open_with(target: &Target, input: Input) -> Result<Self, PerfError> {
        let stream = Stream::connect(target)?;
        let mut connection = Self { stream, input, frame_max: 0, server: Server::default() };
        connection.shake_hands(&target.url)?;
        Ok(connection)
    }

    /// What the broker says about itself.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// The agreed size of frames, overhead included; 0 if there is no limit.
    pub fn frame_max(&self) -> u32 {
        self.frame_max
    }

    /// The socket below.
    pub fn socket(&self) -> &TcpStream {
        self.stream.socket()
    }

    fn shake_hands(&mut self, url: &Url) -> Result<(), PerfError> {
        self.stream.write_all(&PROTOCOL_HEADER)?;
        let payload = match self.answer(0, "the protocol header", connection::Start::ID) {
            Err(PerfError::Protocol(text)) => {
                let came = self.input.rest();
                let text = match came.strip_prefix(b"AMQP") {
                    Some([_, major, minor, revision, ..]) => {
                        format!("it wants version {major}-{minor}-{revision}")
                    }
                    _ => text,
                };
                return Err(PerfError::NotAmqp { address: url.address(), text });
            }
            other => other?,
        };
        if let Method::Connection(connection::Method::Start(start)) = Method::decode(&payload)? {
            let text = |key| start.server_properties.get(key).and_then(|value| value.as_str());
            let told = |key| text(key).unwrap_or_default().to_owned();
            self.server = Server { product: told("product"), version: told("version") };
        }
        let properties = client_properties();
        let response = format!("\0{}\0{}", url.user, *url.password);
        let start_ok = connection::StartOk {
            client_properties: properties.as_ref(),
            mechanism: "PLAIN",
            response: response.as_bytes(),
            locale: "en_US",
        };
        let tune = match self.call(0, &start_ok, connection::Tune::ID) {
            // Brokers that do not know how to say it close the socket.
            Err(PerfError::HungUp(_)) => {
                return Err(PerfError::HungUp("it was logged in to: are user and password right?"));
            }
            other => other?,
        };
        let Method::Connection(connection::Method::Tune(tune)) = Method::decode(&tune)? else {
            return Err(PerfError::Protocol("no tune".to_owned()));
        };
        // To both 0 is no limit.
        self.frame_max = if tune.frame_max == 0 { FRAME_MAX } else { tune.frame_max.min(FRAME_MAX) };
        // A load generator is never silent for long, and sees a dead broker by its socket.
        let tune_ok =
            connection::TuneOk { channel_max: tune.channel_max, frame_max: self.frame_max, heartbeat: 0 };
        let open = connection::Open { virtual_host: &url.vhost, capabilities: "", insist: false };
        // The first has no answer: both in one write, or the broker wakes up twice.
        let mut both = Vec::new();
        write_method(&mut both, 0, &tune_ok);
        write_method(&mut both, 0, &open);
        self.write(&both)?;
        self.answer(0, connection::Open::NAME, connection::OpenOk::ID).map(drop)
    }

    /// Opens a channel.
    ///
    /// # Errors
    ///
    /// If the broker refuses, or the connection fails.
    pub fn open_channel(&mut self, number: u16) -> Result<(), PerfError> {
        self.call(number, &channel::Open { out_of_band: "" }, channel::OpenOk::ID).map(drop)
    }

    /// Sends a method.
    ///
    /// # Errors
    ///
    /// If the connection fails.
    pub fn send<M: Args>(&mut self, channel: u16, method: &M) -> Result<(), PerfError> {
        let mut bytes = Vec::new();
        write_method(&mut bytes, channel, method);
        self.write(&bytes)
    }

    /// Sends whole frames.
    ///
    /// # Errors
    ///
    /// If the connection fails.
    pub fn write(&mut self, frames: &[u8]) -> Result<(), PerfError> {
        Ok(self.stream.write_all(frames).and_then(|()| self.stream.flush())?)
    }

    /// Sends a method and waits for its answer, the payload of a method frame. What else comes on the channel meanwhile is
    /// skipped. The socket has to wait, see [`Stream::wait`].
    ///
    /// # Errors
    ///
    /// If the broker closes channel or connection, does not answer, or the connection fails.
    pub fn call<M: Args>(
        &mut self,
        channel: u16,
        method: &M,
        answer: MethodId,
    ) -> Result<Vec<u8>, PerfError> {
        self.send(channel, method)?;
        self.answer(channel, M::NAME, answer)
    }

    /// Waits for a method that comes without being asked for, and returns its payload; what else comes is skipped.
    ///
    /// # Errors
    ///
    /// Those of [`Connection::call`].
    pub fn wait_for(
        &mut self,
        channel: u16,
        asked: &'static str,
        method: MethodId,
    ) -> Result<Vec<u8>, PerfError> {
        self.answer(channel, asked, method)
    }

    fn answer(&mut self, channel: u16, asked: &'static str, answer: MethodId) -> Result<Vec<u8>, PerfError> {
        loop {
            let mut is_alive_asked = false;
            while let Some(frame) = self.input.frame()? {
                if frame.kind == FrameKind::Method && frame.channel == channel && has_id(&frame, answer) {
                    return Ok(frame.payload.to_vec());
                }
                is_alive_asked |= notice(&frame)? == Notice::Heartbeat;
            }
            if is_alive_asked {
                self.write(&HEARTBEAT)?;
            }
            match self.input.fill(&mut self.stream)? {
                Filled::Bytes(..) => {}
                Filled::Nothing => return Err(PerfError::Silent { method: asked, patience: PATIENCE }),
                Filled::End => return Err(PerfError::HungUp("an answer was due")),
            }
        }
    }

    /// Says goodbye: the broker has taken everything that was sent before when this returns.
    ///
    /// # Errors
    ///
    /// If the broker closes the connection first, or does not answer within some seconds.
    pub fn close(self) -> Result<(), PerfError> {
        self.close_within(FAREWELL)
    }

    /// As [`close`](Self::close), for who may have sent much that the broker has yet to read.
    ///
    /// # Errors
    ///
    /// If the broker closes the connection first, or does not answer in time.
    pub fn close_within(mut self, patience: Duration) -> Result<(), PerfError> {
        self.stream.wait(Waiting::AtMost(patience))?;
        let close = connection::Close { reply_code: 200, reply_text: "done", class_id: 0, method_id: 0 };
        match self.call(0, &close, connection::CloseOk::ID) {
            Err(PerfError::Silent { method, .. }) => Err(PerfError::Silent { method, patience }),
            other => other.map(drop),
        }
    }
}

/// What a client of confirms, blocked connections and refused logins says it understands.
fn client_properties() -> crate::protocol::field::Table {
    let mut capabilities = TableBuilder::new();
    for name in [
        "authentication_failure_close",
        "basic.nack",
        "connection.blocked",
        "consumer_cancel_notify",
        "publisher_confirms",
    ] {
        capabilities.bool(name, true);
    }
    TableBuilder::new()
        .long_str("product", "leveret perf")
        .long_str("version", env!("CARGO_PKG_VERSION"))
        .long_str("platform", "Rust")
        .long_str("connection_name", "leveret perf")
        .table("capabilities", capabilities.finish().as_ref())
        .finish()
}

/// Whether a method frame is this method.
#[inline]
pub fn has_id(frame: &Frame<'_>, id: MethodId) -> bool {
    let ([c1, c0], [m1, m0]) = (id.class.to_be_bytes(), id.method.to_be_bytes());
    frame.payload.starts_with(&[c1, c0, m1, m0])
}

/// What to make of a frame that is none of those a run is about.
///
/// # Errors
///
/// If the broker closes channel or connection with it, or cancels a consumer.
#[cold]
pub fn notice(frame: &Frame<'_>) -> Result<Notice, PerfError> {
    match frame.kind {
        FrameKind::Heartbeat => return Ok(Notice::Heartbeat),
        FrameKind::Header | FrameKind::Body => return Ok(Notice::Other),
        FrameKind::Method => {}
    }
    match Method::decode(frame.payload)? {
        Method::Connection(connection::Method::Close(close)) => {
            Err(PerfError::ConnectionClosed { code: close.reply_code, text: close.reply_text.to_owned() })
        }
        Method::Channel(channel::Method::Close(close)) => {
            Err(PerfError::ChannelClosed { code: close.reply_code, text: close.reply_text.to_owned() })
        }
        Method::Basic(basic::Method::Cancel(cancel)) => {
            Err(PerfError::Cancelled(cancel.consumer_tag.to_owned()))
        }
        Method::Connection(connection::Method::Blocked(blocked)) => {
            Ok(Notice::Blocked(blocked.reason.to_owned()))
        }
        Method::Connection(connection::Method::Unblocked(_)) => Ok(Notice::Unblocked),
        _ => Ok(Notice::Other),
    }
}

/// A socket to the first address of `host` that answers.
fn connect(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut last = None;
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| io::Error::new(ErrorKind::NotFound, "the host has no address")))
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    /// What a client hears from a peer that answers the protocol header with these bytes and leaves.
    fn refused_by(answer: &'static [u8]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("amqp://{}", listener.local_addr().expect("an address"));
        let peer = thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a connection");
            stream.read_exact(&mut [0; 8]).expect("a protocol header");
            stream.write_all(answer).expect("the client reads");
        });
        let target = Target { url: Url::parse(&url).expect("a URL"), tls: None };
        let error = Connection::open(&target).expect_err("no broker").to_string();
        peer.join().expect("the peer is content");
        error
    }

    #[test]
    fn what_is_no_broker_is_told_apart() {
        assert!(refused_by(b"AMQP\0\x01\0\0").contains("does not speak AMQP 0-9-1: it wants version 1-0-0"));
        assert!(refused_by(b"HTTP/1.1 400 Bad Request\r\n").contains("does not speak AMQP 0-9-1"));
        assert!(refused_by(b"").contains("without a reason"));
    }

    #[test]
    fn an_answer_is_waited_for_and_a_close_has_its_words() {
        let (target, broker) = crate::perf::fake::broker(|peer| {
            peer.send(&HEARTBEAT);
            peer.say(0, &connection::Blocked { reason: "why" });
            peer.hear_method("basic.qos");
            peer.say(1, &basic::QosOk {});
            peer.hear_method("basic.qos");
            let text = "RESOURCE_ERROR - enough";
            peer.say(0, &connection::Close { reply_code: 506, reply_text: text, class_id: 0, method_id: 0 });
            peer.hear(|_, _| None::<()>);
        });
        let mut connection = Connection::open(&target).expect("a connection");
        assert_eq!(connection.frame_max(), 4096, "what the broker wants is less");
        connection.open_channel(1).expect("a channel");
        let qos = basic::Qos { prefetch_size: 0, prefetch_count: 1, global: false };
        connection.call(1, &qos, basic::QosOk::ID).expect("an answer");
        let error = connection.call(1, &qos, basic::QosOk::ID).expect_err("a close");
        assert_eq!(error.to_string(), "the broker closed the connection: RESOURCE_ERROR - enough (506)");
        drop(connection);
        broker.join().expect("the broker is content");
    }
}
