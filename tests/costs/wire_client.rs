//! A client with a socket that knows beforehand how many bytes come back, so that it costs next to nothing.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use leveret::protocol::PROTOCOL_HEADER;
use leveret::protocol::field::TableRef;
use leveret::protocol::frame::{FrameKind, Next, next_frame};
use leveret::protocol::method::{Method, basic, channel, confirm, connection, queue, write_method};

/// What RabbitMQ's clients agree on.
const FRAME_MAX: u32 = 131_072;
/// Nothing waits for it when all is well.
const PATIENCE: Duration = Duration::from_secs(60);

/// A connection with channel 1 open.
pub struct WireClient {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl WireClient {
    /// Connects and logs in.
    pub fn connect(address: &str) -> Self {
        let stream = TcpStream::connect(address).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_nodelay(true).expect("an option");
        let mut client = Self { stream, buffer: Vec::new() };
        let mut bytes = PROTOCOL_HEADER.to_vec();
        let start_ok = connection::StartOk {
            client_properties: TableRef::EMPTY,
            mechanism: "PLAIN",
            response: b"\0guest\0guest",
            locale: "en_US",
        };
        write_method(&mut bytes, 0, &start_ok);
        client.write(&bytes);
        client.wait_for(|method| matches!(method, Method::Connection(connection::Method::Tune(_))));
        bytes.clear();
        let tune_ok = connection::TuneOk { channel_max: 2047, frame_max: FRAME_MAX, heartbeat: 0 };
        write_method(&mut bytes, 0, &tune_ok);
        write_method(&mut bytes, 0, &connection::Open { virtual_host: "/", capabilities: "", insist: false });
        write_method(&mut bytes, 1, &channel::Open { out_of_band: "" });
        client.write(&bytes);
        client.wait_for(|method| matches!(method, Method::Channel(channel::Method::OpenOk(_))));
        client
    }

    /// A durable queue.
    pub fn declare(&mut self, queue: &str) {
        let mut bytes = Vec::new();
        write_method(&mut bytes, 1, &queue::Declare { queue, durable: true, ..Default::default() });
        self.write(&bytes);
        self.wait_for(|method| matches!(method, Method::Queue(queue::Method::DeclareOk(_))));
    }

    /// A consumer with the tag "c" that acknowledges nothing.
    pub fn consume(&mut self, queue: &str) {
        let mut bytes = Vec::new();
        let consume = basic::Consume { queue, consumer_tag: "c", no_ack: true, ..Default::default() };
        write_method(&mut bytes, 1, &consume);
        self.write(&bytes);
        self.wait_for(|method| matches!(method, Method::Basic(basic::Method::ConsumeOk(_))));
    }

    /// The broker is to confirm what is published.
    pub fn select(&mut self) {
        let mut bytes = Vec::new();
        write_method(&mut bytes, 1, &confirm::Select::default());
        self.write(&bytes);
        self.wait_for(|method| matches!(method, Method::Confirm(confirm::Method::SelectOk(_))));
    }

    /// Reads confirms until the one for the publish `number`, which is the last one.
    pub fn wait_for_confirm(&mut self, number: u64) {
        self.wait_for(|method| match method {
            Method::Basic(basic::Method::Ack(ack)) => ack.delivery_tag == number,
            _ => false,
        });
    }

    /// Sends.
    pub fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("written");
    }

    /// Takes exactly so many bytes, whatever they are.
    pub fn skip(&mut self, mut bytes: usize) {
        self.buffer.resize(256 * 1024, 0);
        while bytes > 0 {
            let most = bytes.min(self.buffer.len());
            let read = self.stream.read(&mut self.buffer[..most]).expect("an answer");
            assert!(read > 0, "the broker closed the connection");
            bytes -= read;
        }
        self.buffer.clear();
    }

    /// Reads methods up to the first that is wanted. It has to be the last thing that comes.
    pub fn wait_for(&mut self, is_wanted: impl Fn(&Method<'_>) -> bool) {
        loop {
            while let Next::Frame(frame) = next_frame(&self.buffer, FRAME_MAX).expect("frames") {
                assert_eq!(frame.kind, FrameKind::Method);
                let method = Method::decode(frame.payload).expect("a method");
                let (is_there, length) = (is_wanted(&method), frame.wire_len());
                self.buffer.drain(..length);
                if is_there {
                    assert!(self.buffer.is_empty(), "more than what was asked for");
                    return;
                }
            }
            let mut more = [0; 4096];
            let read = self.stream.read(&mut more).expect("an answer");
            assert!(read > 0, "the broker closed the connection");
            self.buffer.extend_from_slice(&more[..read]);
        }
    }
}
