//! `leveret perf soak` finds what a broker does wrong, and nothing where it does not.

#![allow(clippy::expect_used, clippy::panic, reason = "a test says what it expected by failing")]

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::thread;
use std::time::Duration;

use leveret::perf::frames::{Batch, MessageForm};
use leveret::perf::url::Url;
use leveret::perf::wire::{Connection, Target, has_id};
use leveret::protocol::field::TableRef;
use leveret::protocol::frame::FrameKind;
use leveret::protocol::method::{Args as _, Method, basic, queue, write_method};
use serde_json::Value;

#[allow(dead_code, reason = "these tests need no names of their own")]
mod support;

#[path = "support/restartable.rs"]
mod restartable;

const CHANNEL: u16 = 1;
const NAME: &str = "soaked";
const QUEUE: &str = "soaked.0";
const POLL_INTERVAL: Duration = Duration::from_millis(10);
const POLLS: u32 = 6000;

/// A soak run of one publisher, one consumer and one queue that is under way.
struct Soak {
    child: Child,
    events: BufReader<ChildStderr>,
}

impl Soak {
    fn start(url: &str, more: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_leveret"));
        command.args(["perf", "soak", "--url", url, "--json", "-", "--name", NAME]);
        command.args(["--publishers", "1", "--consumers", "1", "--queues", "1", "--size", "24,1000"]);
        command.args(more).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program runs");
        let events = BufReader::new(child.stderr.take().expect("a pipe"));
        Self { child, events }
    }

    /// Reads what it tells until all of these were told.
    fn wait_for(&mut self, texts: &[&str]) {
        let mut missing = texts.to_vec();
        let mut told = String::new();
        while !missing.is_empty() {
            let start = told.len();
            let count = self.events.read_line(&mut told).expect("UTF-8");
            assert!(count > 0, "no {missing:?} in {told}");
            missing.retain(|text| !told[start..].contains(text));
        }
    }

    /// Interrupts it: exit code and result.
    fn end(&mut self) -> (i32, Value) {
        let pid = rustix::process::Pid::from_raw(self.child.id().cast_signed()).expect("a pid");
        rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("SIGINT is delivered");
        self.result()
    }

    fn result(&mut self) -> (i32, Value) {
        let (mut stdout, mut stderr) = (String::new(), String::new());
        self.events.read_to_string(&mut stderr).expect("UTF-8");
        self.child.stdout.take().expect("a pipe").read_to_string(&mut stdout).expect("UTF-8");
        let code = self.child.wait().expect("an end").code().expect("an exit code");
        (code, serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {stdout} {stderr}")))
    }
}

impl Drop for Soak {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn number(json: &Value, name: &str) -> u64 {
    json[name].as_u64().unwrap_or_else(|| panic!("no {name} in {json:#}"))
}

/// Somebody who meddles with the queue.
struct Meddler(Connection);

impl Meddler {
    fn new(url: &str) -> Self {
        let target = Target { url: Url::parse(url).expect("a URL"), tls: None };
        let mut connection = Connection::open(&target).expect("a connection");
        connection.open_channel(CHANNEL).expect("a channel");
        Self(connection)
    }

    /// Declares a durable queue.
    fn declare(&mut self, queue: &str) {
        let declare = queue::Declare { queue, durable: true, ..queue::Declare::default() };
        self.0.call(CHANNEL, &declare, queue::DeclareOk::ID).expect("an answer");
    }

    /// Waits until there is a consumer, and more messages than so many are not with it.
    fn wait_for_flow(url: &str, messages: u32) {
        for _ in 0..POLLS {
            // A queue that is not there closes the channel.
            let declare = queue::Declare {
                ticket: 0,
                queue: QUEUE,
                passive: true,
                durable: true,
                exclusive: false,
                auto_delete: false,
                no_wait: false,
                arguments: TableRef::EMPTY,
            };
            if let Ok(answer) = Self::new(url).0.call(CHANNEL, &declare, queue::DeclareOk::ID)
                && let Method::Queue(queue::Method::DeclareOk(ok)) =
                    Method::decode(&answer).expect("a method")
                && ok.message_count > messages
                && ok.consumer_count > 0
            {
                return;
            }
            thread::sleep(POLL_INTERVAL);
        }
        panic!("there are no {messages} messages and a consumer");
    }

    /// Purges until there was something to purge.
    fn purge(&mut self) {
        let purge = queue::Purge { ticket: 0, queue: QUEUE, no_wait: false };
        for _ in 0..POLLS {
            let answer = self.0.call(CHANNEL, &purge, queue::PurgeOk::ID).expect("an answer");
            match Method::decode(&answer).expect("a method") {
                Method::Queue(queue::Method::PurgeOk(ok)) if ok.message_count > 0 => return,
                _ => thread::sleep(POLL_INTERVAL),
            }
        }
        panic!("there was nothing to purge");
    }

    /// Takes a message away; its body.
    fn steal(&mut self) -> Vec<u8> {
        let get = basic::Get { ticket: 0, queue: QUEUE, no_ack: true };
        self.0.send(CHANNEL, &get).expect("sent");
        let mut polls = 0;
        while polls < POLLS {
            while let Some(frame) = self.0.input.frame().expect("frames") {
                if frame.kind == FrameKind::Body {
                    return frame.payload.to_vec();
                }
                if has_id(&frame, basic::GetEmpty::ID) {
                    polls += 1;
                    thread::sleep(POLL_INTERVAL);
                    self.0.send(CHANNEL, &get).expect("sent");
                    break;
                }
            }
            self.0.input.fill(&mut self.0.stream).expect("a body");
        }
        panic!("the queue stays empty");
    }

    fn publish(&mut self, body: &[u8]) {
        let form = MessageForm {
            channel: CHANNEL,
            exchange: "",
            routing_key: QUEUE,
            properties: &[0, 0],
            sizes: &[body.len()],
            frame_max: 0,
        };
        let mut bytes = Batch::one(&form).bytes().to_vec();
        let at = bytes.len() - 1 - body.len();
        bytes[at..at + body.len()].copy_from_slice(body);
        // An answer says that what came before it has arrived.
        let mut after = Vec::new();
        write_method(&mut after, CHANNEL, &basic::Qos { prefetch_size: 0, prefetch_count: 1, global: false });
        self.0.write(&[bytes, after].concat()).expect("written");
        self.0.wait_for(CHANNEL, "basic.qos", basic::QosOk::ID).expect("an answer");
    }
}

/// The number of a message.
fn sequence(body: &[u8]) -> u64 {
    u64::from_be_bytes(*body[12..].first_chunk().expect("a label"))
}

/// More than one consumer with a small prefetch can take, so that the queue has messages at all times.
const MUCH: [&str; 10] =
    ["--rate", "1000000", "--prefetch", "1", "--ack", "1", "--backlog", "3000", "--duration", "1h"];

#[test]
fn a_broker_that_keeps_its_promises_passes() {
    support::with_broker(async |broker| {
        let url = format!("amqp://{}/", broker.address);
        let many = ["--publishers", "3", "--consumers", "4", "--queues", "2", "--size", "24,200000"];
        let mut command = Command::new(env!("CARGO_BIN_EXE_leveret"));
        command.args(["perf", "soak", "--url", &url, "--json", "-", "--duration", "1", "--requeue", "20"]);
        let output = command.args(many).args(["--rate", "600"]).output().expect("the program runs");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), stderr.as_ref()), (Some(0), ""));
        let json: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let [published, confirmed, received, requeued, redelivered] =
            ["published", "confirmed", "received", "requeued", "redelivered"].map(|name| number(&json, name));
        assert!(published > 0 && requeued > 0, "{json:#}");
        assert_eq!((confirmed, received, redelivered), (published, published, requeued));
        assert_eq!((number(&json, "violations"), number(&json, "reconnects")), (0, 0));
    });
}

#[test]
fn loss_duplicates_reordering_and_damage_are_found() {
    support::with_broker(async |broker| {
        let url = format!("amqp://{}/", broker.address);
        let mut soak = Soak::start(
            &url,
            &[&MUCH[..], &["--confirm", "3000", "--patience", "3", "--requeue", "0"]].concat(),
        );
        Meddler::wait_for_flow(&url, 0);
        let mut meddler = Meddler::new(&url);
        meddler.purge();
        soak.wait_for(&["are lost"]);

        let mut first = meddler.steal();
        // Until the consumer has had one that comes after it.
        while sequence(&meddler.steal()) == sequence(&first) + 1 {
            first = meddler.steal();
        }
        // At the end it comes after those that it was before; then it has come already.
        meddler.publish(&first);
        meddler.publish(&first);
        first[10] ^= 1;
        meddler.publish(&first);
        soak.wait_for(&["came after message", "came twice", "wrong checksum"]);
        let (code, json) = soak.end();
        assert_eq!(code, 1);
        assert!(number(&json, "lost") > 0, "{json:#}");
        let found = ["duplicates", "reordered", "corrupt", "unknown"].map(|name| number(&json, name));
        assert_eq!(found, [1, 1, 1, 0]);
        assert_eq!(number(&json, "violations"), number(&json, "lost") + 3);
    });
}

#[test]
fn a_broker_may_crash_and_come_back() {
    let mut broker = restartable::Restartable::start();
    let url = format!("amqp://{}/", broker.address);
    // What was under way in a crash is waited for so long, and with so small a backlog nothing goes on meanwhile.
    let mut soak = Soak::start(&url, &[&MUCH[..], &["--confirm", "100", "--patience", "4"]].concat());
    // With as many some were confirmed.
    Meddler::wait_for_flow(&url, 100);
    // What is answered when it is durable is so after the mark of what was delivered.
    Meddler::new(&url).declare("other");
    for _ in 0..2 {
        broker.crash();
        let told = ["has to come back", "is back"]
            .map(|what| ["publisher", "consumer"].map(|who| format!("{who} 0 {what}")));
        soak.wait_for(&told.as_flattened().iter().map(String::as_str).collect::<Vec<_>>());
    }
    let (code, json) = soak.end();
    assert_eq!((code, number(&json, "violations")), (0, 0), "{json:#}");
    assert!(number(&json, "reconnects") >= 4 && number(&json, "confirmed") > 0, "{json:#}");
}

#[test]
fn a_broker_that_stays_away_ends_the_run() {
    let broker = restartable::Restartable::start();
    let url = format!("amqp://{}/", broker.address);
    let mut soak = Soak::start(&url, &[&MUCH[..], &["--reconnect", "0.2"]].concat());
    Meddler::wait_for_flow(&url, 0);
    drop(broker);
    let mut told = String::new();
    soak.events.read_to_string(&mut told).expect("UTF-8");
    assert!(told.contains("has to come back") && told.contains("refused"), "{told}");
    assert_eq!(soak.child.wait().expect("an end").code(), Some(1));
}
