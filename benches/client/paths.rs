//! Ways of messages through a broker in process, as publishers and consumers use them: a publisher's bytes in, all
//! consumers' bytes out. For the benchmark of the whole path, for counting its instructions, and for tests of what it costs.

use std::sync::Arc;

use leveret::broker::Broker;
use leveret::broker::options::BrokerOptions;
use leveret::protocol::content::{write_body, write_header};
use leveret::protocol::method::{basic, confirm, exchange, queue, write_method};
use leveret::protocol::properties::PropertiesBuilder;
use leveret::session::Session;
use leveret::storage::disk::RealDisk;
use leveret::storage::options::{JournalOptions, Sync};
use tempfile::TempDir;

use crate::client::{NOW, drain, feed, open};

/// Messages of one batch.
pub const BATCH: usize = 1000;

/// What the broker reads of a busy socket at once.
const READ: usize = 256 * 1024;
/// What RabbitMQ's clients agree on.
const FRAME_MAX: u32 = 131_072;
/// Of consumers that acknowledge.
const PREFETCH: u16 = 200;
/// Deliveries that one acknowledgement covers.
const ACK_EVERY: u64 = 10;
/// Of every consumer.
const TAG: &str = "c";
/// Publishes of which a publisher of persistent messages waits for the confirms.
const IN_FLIGHT: usize = 100;

/// A broker with one publisher and what it sends, and consumers.
pub struct Path {
    broker: Arc<Broker>,
    publisher: Session,
    consumers: Vec<Consumer>,
    /// One batch of publishes.
    input: Vec<u8>,
    /// Bytes of it that are handed in at once.
    read: usize,
    /// Where a broker with a journal has it.
    _directory: Option<TempDir>,
}

struct Consumer {
    session: Session,
    /// Bytes of one delivery.
    delivery: usize,
    /// Deliveries so far, if the consumer acknowledges them.
    delivered: Option<u64>,
    acks: Vec<u8>,
}

/// What a publisher sends.
pub struct Content<'a> {
    /// Where to.
    pub exchange: &'a str,
    /// Bytes of the body.
    pub size: usize,
    /// As a header frame has them.
    pub properties: &'a [u8],
}

impl Path {
    /// One auto-ack consumer, the default exchange, transient messages of `size` bytes.
    pub fn direct(size: usize) -> Self {
        let mut path = Self::in_memory();
        path.declare("q", None, &[]);
        path.consume("q", false);
        path.send(&Content { size, ..Content::plain("") }, &["q".to_owned()]);
        path
    }

    /// As `direct`, with publisher confirms.
    pub fn confirmed() -> Self {
        let mut path = Self::direct(16);
        path.select();
        path
    }

    /// As `direct`, with a consumer that acknowledges every tenth delivery and all before it, and a prefetch of 200.
    pub fn acknowledged() -> Self {
        let mut path = Self::in_memory();
        path.declare("q", None, &[]);
        path.consume("q", true);
        path.send(&Content::plain(""), &["q".to_owned()]);
        path
    }

    /// A fanout exchange with ten queues, each with an auto-ack consumer of its own connection.
    pub fn fanout() -> Self {
        let mut path = Self::in_memory();
        for number in 0..10 {
            let queue = format!("q{number}");
            path.declare(&queue, Some(("fan", "fanout")), &[String::new()]);
            path.consume(&queue, false);
        }
        path.send(&Content::plain("fan"), &[String::new()]);
        path
    }

    /// A topic exchange with a hundred bindings to one queue, and `keys` routing keys in turn, each of which one
    /// binding matches.
    pub fn topic(keys: usize) -> Self {
        let mut path = Self::in_memory();
        let patterns: Vec<_> = (0..100).map(|number| format!("orders.*.{number}")).collect();
        path.declare("q", Some(("orders", "topic")), &patterns);
        path.consume("q", false);
        let keys: Vec<_> = (0..keys).map(|number| format!("orders.eu.{:02}", number % 90 + 10)).collect();
        path.send(&Content::plain("orders"), &keys);
        path
    }

    /// Persistent messages of 1 KiB through a durable queue and a journal on a disk that is never synced, with
    /// confirms for a hundred publishes at a time, and a consumer that acknowledges as in `acknowledged`.
    pub fn persistent() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let disk = RealDisk::open(directory.path()).expect("a disk");
        let options = JournalOptions { sync: Sync::Never, ..Default::default() };
        let broker = Broker::open(BrokerOptions::default(), Arc::new(disk), options, |error| {
            panic!("the disk fails: {error}");
        });
        let mut path = Self::new(broker.expect("a broker"), Some(directory));
        path.declare("q", None, &[]);
        path.select();
        path.consume("q", true);
        let properties = PropertiesBuilder::new().set_delivery_mode(2).finish();
        path.send(&Content { size: 1024, properties: &properties, exchange: "" }, &["q".to_owned()]);
        path.read = path.input.len() / BATCH * IN_FLIGHT;
        path
    }

    fn in_memory() -> Self {
        Self::new(Broker::new(BrokerOptions::default()), None)
    }

    fn new(broker: Arc<Broker>, directory: Option<TempDir>) -> Self {
        let publisher = open(&broker);
        Self {
            broker,
            publisher,
            consumers: Vec::new(),
            input: Vec::new(),
            read: READ,
            _directory: directory,
        }
    }

    /// A queue, with bindings to an exchange.
    fn declare(&mut self, queue: &str, exchange: Option<(&str, &str)>, keys: &[String]) {
        let mut bytes = Vec::new();
        write_method(&mut bytes, 1, &queue::Declare { queue, durable: true, ..Default::default() });
        if let Some((exchange, kind)) = exchange {
            write_method(&mut bytes, 1, &exchange::Declare { exchange, kind, ..Default::default() });
            for key in keys {
                let bind = queue::Bind { queue, exchange, routing_key: key, ..Default::default() };
                write_method(&mut bytes, 1, &bind);
            }
        }
        feed(&mut self.publisher, &bytes);
        self.settle();
    }

    /// A consumer on a connection of its own.
    fn consume(&mut self, queue: &str, acknowledges: bool) {
        let mut session = open(&self.broker);
        let mut bytes = Vec::new();
        write_method(&mut bytes, 1, &basic::Qos { prefetch_count: PREFETCH, ..Default::default() });
        let consume =
            basic::Consume { queue, consumer_tag: TAG, no_ack: !acknowledges, ..Default::default() };
        write_method(&mut bytes, 1, &consume);
        feed(&mut session, &bytes);
        let delivered = acknowledges.then_some(0);
        self.consumers.push(Consumer { session, delivery: 0, delivered, acks: Vec::new() });
    }

    /// The publisher wants confirms.
    fn select(&mut self) {
        let mut bytes = Vec::new();
        write_method(&mut bytes, 1, &confirm::Select::default());
        feed(&mut self.publisher, &bytes);
    }

    /// Makes the batch, with `keys` in turn, all of the same length.
    fn send(&mut self, content: &Content<'_>, keys: &[String]) {
        self.input = publishes(content, keys);
        let bytes = delivery(content, &keys[0]).len();
        self.consumers.iter_mut().for_each(|consumer| consumer.delivery = bytes);
    }

    /// Sends one batch, and takes all that comes of it. The number of deliveries.
    pub fn run(&mut self) -> usize {
        let (mut at, mut delivered) = (0, 0);
        while at < self.input.len() {
            let until = (at + self.read).min(self.input.len());
            at += self.publisher.handle_input(&self.input[at..until], NOW);
            self.settle();
            drain(&mut self.publisher);
            delivered += self.consumers.iter_mut().map(Consumer::take).sum::<usize>();
        }
        delivered
    }

    /// Deliveries that a batch has to bring.
    pub fn deliveries(&self) -> usize {
        BATCH * self.consumers.len()
    }

    /// Waits for the journal, and has it give back what it needs no more.
    fn settle(&self) {
        assert!(self.broker.journal.wait_durable(self.broker.journal.end()), "the journal fails");
        self.broker.checkpoint(false);
    }
}

impl Consumer {
    /// Takes all deliveries, and acknowledges them. How many there were.
    fn take(&mut self) -> usize {
        let mut all = 0;
        loop {
            let bytes = drain(&mut self.session);
            if bytes == 0 {
                return all;
            }
            assert_eq!(bytes % self.delivery, 0, "something else than deliveries");
            let taken = bytes / self.delivery;
            all += taken;
            let Some(delivered) = &mut self.delivered else { continue };
            let from = *delivered / ACK_EVERY;
            *delivered += taken as u64;
            self.acks.clear();
            for tenth in from + 1..=*delivered / ACK_EVERY {
                let ack = basic::Ack { delivery_tag: tenth * ACK_EVERY, multiple: true };
                write_method(&mut self.acks, 1, &ack);
            }
            assert_eq!(self.session.handle_input(&self.acks, NOW), self.acks.len());
        }
    }
}

/// A batch of publishes, with `keys` in turn.
pub fn publishes(content: &Content<'_>, keys: &[String]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for key in keys.iter().cycle().take(BATCH) {
        let publish = basic::Publish { exchange: content.exchange, routing_key: key, ..Default::default() };
        write_method(&mut bytes, 1, &publish);
        content.write(&mut bytes);
    }
    bytes
}

/// A delivery as a consumer with the tag "c" gets it.
pub fn delivery(content: &Content<'_>, routing_key: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let deliver = basic::Deliver {
        consumer_tag: TAG,
        delivery_tag: 1,
        redelivered: false,
        exchange: content.exchange,
        routing_key,
    };
    write_method(&mut bytes, 1, &deliver);
    content.write(&mut bytes);
    bytes
}

impl<'a> Content<'a> {
    /// A transient message of 16 bytes without properties.
    pub fn plain(exchange: &'a str) -> Self {
        Self { exchange, size: 16, properties: &[0, 0] }
    }

    fn write(&self, bytes: &mut Vec<u8>) {
        write_header(bytes, 1, self.size as u64, self.properties);
        write_body(bytes, 1, &vec![b'x'; self.size], FRAME_MAX);
    }
}
