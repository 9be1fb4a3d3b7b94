//! What goes to the disk: bytes for a message, syncs for confirms.

use std::io::{self, IoSlice};
use std::sync::Arc;

use leveret::broker::Broker;
use leveret::broker::options::BrokerOptions;
use leveret::protocol::method::{basic, confirm, queue, write_method};
use leveret::protocol::properties::PropertiesBuilder;
use leveret::session::Session;
use leveret::storage::disk::{Disk, DiskFile, Open, Space};
use leveret::storage::options::{JournalOptions, Sync};
use leveret::storage::simulated_disk::SimulatedDisk;
use parking_lot::{Condvar, Mutex};

use crate::client::{NOW, drain, feed, open};
use crate::paths::{BATCH, Content, publishes};

/// Publishers that share syncs.
const PUBLISHERS: usize = 64;

/// A disk whose syncs can be held up.
#[derive(Debug)]
struct HeldDisk {
    inner: SimulatedDisk,
    hold: Arc<Hold>,
}

#[derive(Debug)]
struct HeldFile {
    inner: Arc<dyn DiskFile>,
    hold: Arc<Hold>,
}

#[derive(Debug, Default)]
struct Hold {
    state: Mutex<Held>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Held {
    is_on: bool,
    /// How many syncs wait.
    waiting: usize,
}

impl Hold {
    fn set(&self, is_on: bool) {
        self.state.lock().is_on = is_on;
        self.changed.notify_all();
    }

    /// Returns once a sync waits.
    fn wait_for_sync(&self) {
        self.changed.wait_while(&mut self.state.lock(), |held| held.waiting == 0);
    }

    fn pass(&self) {
        let mut held = self.state.lock();
        held.waiting += 1;
        self.changed.notify_all();
        self.changed.wait_while(&mut held, |held| held.is_on);
        held.waiting -= 1;
    }
}

impl Disk for HeldDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        self.inner.list()
    }

    fn open(&self, name: &str, how: Open) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(HeldFile { inner: self.inner.open(name, how)?, hold: self.hold.clone() }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.inner.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.inner.remove(name)
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.inner.sync_dir()
    }

    fn space(&self) -> io::Result<Space> {
        self.inner.space()
    }

    fn lock(&self) -> io::Result<Box<dyn Send>> {
        self.inner.lock()
    }
}

impl DiskFile for HeldFile {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        self.inner.read_at(buffer, at)
    }

    fn write_at(&self, slices: &[IoSlice<'_>], at: u64) -> io::Result<usize> {
        self.inner.write_at(slices, at)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.inner.allocate(len)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.inner.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.hold.pass();
        self.inner.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.inner.sync_all()
    }
}

/// A broker that syncs before each confirm, on a disk that can be held up.
fn synced() -> (Arc<Broker>, Arc<Hold>) {
    let hold = Arc::new(Hold::default());
    let disk = HeldDisk { inner: SimulatedDisk::new(1), hold: hold.clone() };
    let options = JournalOptions { sync: Sync::Always, ..Default::default() };
    let broker = Broker::open(BrokerOptions::default(), Arc::new(disk), options, |error| {
        panic!("the disk fails: {error}");
    });
    (broker.expect("a broker"), hold)
}

/// A session with a durable queue `q`, and confirms.
fn publisher(broker: &Arc<Broker>) -> Session {
    let mut session = open(broker);
    let mut bytes = Vec::new();
    write_method(&mut bytes, 1, &queue::Declare { queue: "q", durable: true, ..Default::default() });
    write_method(&mut bytes, 1, &confirm::Select::default());
    feed(&mut session, &bytes);
    settle(broker);
    drain(&mut session);
    session
}

fn settle(broker: &Broker) {
    assert!(broker.journal.wait_durable(broker.journal.end()), "the journal goes on");
}

/// A batch of persistent messages of `size` bytes, and how long one is.
fn persistent(size: usize) -> (Vec<u8>, usize) {
    let properties = PropertiesBuilder::new().set_delivery_mode(2).finish();
    let content = Content { size, properties: &properties, exchange: "" };
    let batch = publishes(&content, &["q".to_owned()]);
    let each = batch.len() / BATCH;
    (batch, each)
}

#[test]
fn publishers_share_syncs() {
    let (broker, hold) = synced();
    let mut publishers: Vec<_> = (0..PUBLISHERS).map(|_| publisher(&broker)).collect();
    let (batch, each) = persistent(1024);
    let before = broker.journal.meters().syncs.metered().count;
    // While the first one's message is synced the others publish theirs, as happens where a sync takes its time.
    hold.set(true);
    let (first, others) = publishers.split_at_mut(1);
    assert_eq!(first[0].handle_input(&batch[..each], NOW), each);
    hold.wait_for_sync();
    for other in others {
        assert_eq!(other.handle_input(&batch[..each], NOW), each);
        assert_eq!(drain(other), 0, "a confirm before its sync");
    }
    assert_eq!(drain(&mut first[0]), 0, "a confirm before its sync");
    hold.set(false);
    settle(&broker);
    let mut ack = Vec::new();
    write_method(&mut ack, 1, &basic::Ack { delivery_tag: 1, multiple: false });
    for publisher in &mut publishers {
        assert_eq!(drain(publisher), ack.len(), "a confirm");
    }
    let syncs = broker.journal.meters().syncs.metered().count - before;
    println!("syncs for {PUBLISHERS} confirms of as many publishers: {syncs}");
    assert_eq!(syncs, 2);
}

#[test]
fn the_publishes_of_one_read_are_one_group() {
    let (broker, _) = synced();
    let mut publisher = publisher(&broker);
    let (batch, each) = persistent(1024);
    let meters = broker.journal.meters();
    let before = (meters.writes.metered().count, meters.syncs.metered().count);
    let hundred = &batch[..100 * each];
    assert_eq!(publisher.handle_input(hundred, NOW), hundred.len());
    settle(&broker);
    assert!(drain(&mut publisher) > 0, "confirms");
    let after = (meters.writes.metered().count, meters.syncs.metered().count);
    println!("100 publishes of one read: {} writes, {} syncs", after.0 - before.0, after.1 - before.1);
    assert_eq!((after.0 - before.0, after.1 - before.1), (1, 1));
}

/// A persistent message of 1 KiB that is published, delivered, and acknowledged with nine others.
#[test]
fn a_message_is_written_once() {
    let (broker, _) = synced();
    let mut publisher = publisher(&broker);
    let (batch, each) = persistent(1024);
    let written = || broker.journal.meters().writes.metered().bytes;
    let before = written();
    for hundred in batch.chunks(100 * each) {
        assert_eq!(publisher.handle_input(hundred, NOW), hundred.len());
        settle(&broker);
        drain(&mut publisher);
    }
    let published = (written() - before) as f64 / BATCH as f64;
    let mut consumer = open(&broker);
    let mut bytes = Vec::new();
    write_method(&mut bytes, 1, &basic::Consume { queue: "q", ..Default::default() });
    assert_eq!(consumer.handle_input(&bytes, NOW), bytes.len());
    assert!(drain(&mut consumer) > BATCH * 1024, "deliveries");
    for tag in (10..=BATCH as u64).step_by(10) {
        let mut ack = Vec::new();
        write_method(&mut ack, 1, &basic::Ack { delivery_tag: tag, multiple: true });
        feed(&mut consumer, &ack);
    }
    settle(&broker);
    let consumed = (written() - before) as f64 / BATCH as f64;
    println!(
        "bytes in the journal for a message of 1024: {published:.1} published, {consumed:.1} acknowledged"
    );
    assert!((1024.0..1024.0 + 72.0).contains(&published), "{published} bytes");
    assert!((published..published + 2.0).contains(&consumed), "{consumed} bytes");
}
