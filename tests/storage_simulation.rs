//! Crashes of the broker at every call of its disk, and what is there afterwards.
//!
//! A broker lives on a simulated disk and does random things, all noted with the journal position at which they are
//! done. Before each call that changes the disk, on whatever thread, a crash is tried: another broker starts on what
//! it left. Where its journal ends has to lie between what was promised and what was ever appended, and its state
//! has to be exactly the history's there: bodies to the byte, order, definitions, whole commits, flags, policies. A
//! message that its queue may have dropped is in one of the places where it may be then, and in no other. Then life
//! goes on after one of the crashes, three times on each disk; crashes of the recovery are tried too. Copies that the
//! broker makes of itself meanwhile are checked in the same way, and life may go on after one of them.
//!
//! The writer is a real thread, so that a run is not exactly repeatable; the seed and the place are told all the
//! same. `LEVERET_SIM_SEEDS=n` runs n seeds with every kind of crash at every call, from `LEVERET_SIM_FIRST` on.
//! `LEVERET_SIM_KEEP=dir` keeps the files of a disk on which something was missing, and what was done on it.

#![allow(clippy::expect_used, clippy::panic, reason = "a test says what it expected by failing")]

#[path = "storage_simulation/check.rs"]
mod check;
#[path = "storage_simulation/dropping.rs"]
mod dropping;
#[path = "storage_simulation/letters.rs"]
mod letters;
#[path = "storage_simulation/life.rs"]
mod life;
#[path = "storage_simulation/messages.rs"]
mod messages;
#[path = "storage_simulation/model.rs"]
mod model;
#[path = "storage_simulation/watched.rs"]
mod watched;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use leveret::broker::Broker;
use leveret::broker::options::BrokerOptions;
use leveret::broker::queue_cell::{GetResult, QueueCell};
use leveret::protocol::field::Table;
use leveret::storage::options::{JournalOptions, Sync};
use leveret::storage::simulated_disk::{Call, Crash, FaultKind, SimulatedDisk, When};
use leveret::time::Clock;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use check::Expected;
use life::{Life, ME, get, queue_declare, vhost};
use messages::{Kind, Messages};
use model::{Change, History};
use watched::{Bounds, Density, Photograph, Watch};

/// Lives of one disk.
const LIVES: u32 = 3;

/// Crashes tried so far.
static TRIED: AtomicU64 = AtomicU64::new(0);

/// Copies of running brokers among them.
static BACKUPS: AtomicU64 = AtomicU64::new(0);

/// One disk and what is known of it.
struct World {
    seed: u64,
    random: StdRng,
    options: JournalOptions,
    density: Density,
    history: History,
    messages: Messages,
    touched: BTreeSet<String>,
    clock: Arc<AtomicU64>,
}

impl World {
    fn new(seed: u64, density: Density) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let sync = match random.random_range(0..10) {
            0 => Sync::Never,
            1 => Sync::Every(Duration::from_millis(1)),
            _ => Sync::Always,
        };
        let file_size = 4096 << random.random_range(0..5);
        let budget = file_size * random.random_range(1..6);
        let options = JournalOptions { sync, file_size, budget };
        let (history, messages, touched) = (History::default(), Messages::default(), BTreeSet::new());
        let clock = Arc::new(AtomicU64::new(Clock::default().unix_ms()));
        Self { seed, random, options, density, history, messages, touched, clock }
    }

    fn run(&mut self) {
        let (mut disk, mut bounds) = (SimulatedDisk::new(self.seed), Bounds::exactly(0));
        for life in 0..LIVES {
            let photographs = self.live(&disk, bounds);
            let next = self.random.random_range(0..photographs.len());
            let mut found = (disk, 0);
            for (index, photograph) in photographs.iter().enumerate() {
                let end = self.check(photograph, &format!("life {life}"), u64::MAX);
                if self.random.random_range(0..100) < 3 {
                    self.check_recovery(photograph, end);
                }
                if index == next {
                    found = (photograph.disk.clone(), end);
                    bounds = bounds_after(photograph, end);
                }
            }
            let end = found.1;
            disk = found.0;
            self.history.cut(end);
            // From here on what was delivered is ready, and late.
            let now = self.clock.load(Ordering::Relaxed);
            self.history.note(end, vec![Change::Time(now), Change::Restart]);
        }
    }

    /// One life on `disk`, of which `bounds` are known. Returns the crashes to try.
    fn live(&mut self, disk: &SimulatedDisk, bounds: Bounds) -> Vec<Photograph> {
        let watch = Watch::new(disk.clone(), bounds, self.options.sync, self.density, self.random.random());
        let options = BrokerOptions { clock: Clock::Set(self.clock.clone()), ..BrokerOptions::default() };
        let opened = Broker::open(options, watch.watched(), self.options, |_| {});
        let broker = opened.expect("it was opened before");
        watch.follow(&broker.journal);
        self.plan_fault(disk);
        let beside = self.random.random_range(0..2) == 0;
        let backups = self.random.random_range(0..3) == 0;
        let operations = self.random.random_range(20..200);
        let Self { history, messages, touched, random, clock, .. } = self;
        let mut life = Life::new(broker.clone(), history, messages, touched, random, clock.clone());
        life.go_on(operations, beside, backups);
        let copies = life.backups;
        watch.photograph("the end");
        if self.random.random_range(0..4) == 0 {
            broker.journal.close();
        }
        let mut photographs = watch.take();
        broker.journal.close();
        BACKUPS.fetch_add(copies.len() as u64, Ordering::Relaxed);
        photographs.extend(copies);
        if photographs.is_empty() {
            let disk = disk.after_crash(Crash::KeepAll);
            // All of it, unless the disk has failed.
            let written = broker.journal.progress().written.0;
            let bounds = Bounds { durable: written, written, end: broker.journal.end().0 };
            return vec![Photograph { disk, how: Crash::KeepAll, bounds, before: "nothing".to_owned() }];
        }
        photographs
    }

    /// Some lives end by a disk that fails.
    fn plan_fault(&mut self, disk: &SimulatedDisk) {
        if self.random.random_range(0..4) > 0 {
            return;
        }
        let (call, fault) = match self.random.random_range(0..4) {
            0 => (Call::Write, FaultKind::Io),
            1 => (Call::Sync, FaultKind::Io),
            _ => (Call::Sync, FaultKind::LostSync),
        };
        disk.fail(When::Nth(call, self.random.random_range(1..40)), fault);
    }

    /// Checks one crash. What the history says of positions behind `known` is about another journal.
    fn check(&self, photograph: &Photograph, place: &str, known: u64) -> u64 {
        TRIED.fetch_add(1, Ordering::Relaxed);
        let Photograph { disk, how, bounds, before } = photograph;
        let copy = Arc::new(disk.after_crash(Crash::KeepAll));
        let Self { history, messages, touched, options, .. } = self;
        let expected = Expected { history, messages, touched, options: *options, known };
        match expected.check(copy, bounds.least(*how), bounds.end) {
            Ok(end) => end,
            Err(error) => {
                self.keep(disk);
                panic!(
                    "seed {}, {place}, {:?}: after {how:?} before {before} ({bounds:?}): {error}\n{:?}",
                    self.seed,
                    self.options,
                    listing(disk)
                )
            }
        }
    }

    /// Keeps what is on a disk that failed, and the history, for whoever looks into it.
    fn keep(&self, disk: &SimulatedDisk) {
        let Ok(directory) = std::env::var("LEVERET_SIM_KEEP") else { return };
        let directory = std::path::Path::new(&directory).join(format!("seed-{}", self.seed));
        std::fs::create_dir_all(&directory).expect("a directory");
        for (name, content) in disk.snapshot() {
            std::fs::write(directory.join(name), content).expect("a file");
        }
        std::fs::write(directory.join("history"), format!("{:#?}", self.history)).expect("a file");
    }

    /// Crashes while a broker starts on what another crash left, at `end`.
    fn check_recovery(&mut self, photograph: &Photograph, end: u64) {
        let bounds = bounds_after(photograph, end);
        let disk = photograph.disk.after_crash(Crash::KeepAll);
        let watch = Watch::new(disk, bounds, self.options.sync, Density::All, self.random.random());
        let opened = Broker::open(BrokerOptions::default(), watch.watched(), self.options, |_| {});
        drop(opened.expect("it was opened before"));
        for again in watch.take() {
            let place = format!("in the recovery after {:?} before {}", photograph.how, photograph.before);
            self.check(&again, &place, end);
        }
    }
}

/// What is known of the disk after a crash, where the journal ends at `end`.
fn bounds_after(photograph: &Photograph, end: u64) -> Bounds {
    if photograph.how == Crash::KeepAll {
        Bounds { durable: photograph.bounds.durable, written: end, end }
    } else {
        Bounds::exactly(end)
    }
}

fn listing(disk: &SimulatedDisk) -> Vec<(String, usize)> {
    disk.snapshot().into_iter().map(|(name, content)| (name, content.len())).collect()
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

#[test]
fn what_was_promised_survives_every_crash() {
    let first = number("LEVERET_SIM_FIRST").unwrap_or(1);
    let (seeds, density) = match number("LEVERET_SIM_SEEDS") {
        Some(seeds) => (seeds, Density::All),
        None => (16, Density::Some(40)),
    };
    let next = AtomicU64::new(first);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + seeds {
                        break;
                    }
                    World::new(seed, density).run();
                }
            });
        }
    });
    let (tried, backups) = (TRIED.load(Ordering::Relaxed), BACKUPS.load(Ordering::Relaxed));
    assert!(backups > 0 || density == Density::All, "no copy was made");
    println!("{tried} crashes tried, {backups} of them copies of a running broker");
}

/// What a queue's messages are flagged with after a kill, in order; and the disk of the next life.
fn flags_after(
    disk: &SimulatedDisk,
    messages: &mut Messages,
    live: impl FnOnce(&QueueCell, &mut Messages),
) -> (Vec<bool>, SimulatedDisk) {
    let open = |disk: &SimulatedDisk| {
        let options = JournalOptions { file_size: 4096, ..JournalOptions::default() };
        Broker::open(BrokerOptions::default(), Arc::new(disk.clone()), options, |_| {}).expect("a broker")
    };
    let broker = open(disk);
    let declared = vhost(&broker).declare_queue(queue_declare("q0", &Table::default()), ME).expect("a queue");
    live(&declared.cell, messages);
    assert!(broker.journal.wait_durable(broker.journal.end()));
    let after = disk.after_crash(Crash::KeepAll);
    let looking = open(&after.after_crash(Crash::KeepAll));
    let cell = vhost(&looking).find_queue("q0", ME).expect("a queue");
    let mut flags = Vec::new();
    while let GetResult::Got(got) = get(&cell) {
        messages.check(&got.message).expect("as it was sent");
        flags.push(got.redelivered);
    }
    (flags, after)
}

#[test]
fn what_came_after_a_restart_and_was_not_delivered_is_not_flagged() {
    let mut messages = Messages::default();
    let publish = |cell: &QueueCell, messages: &mut Messages| {
        let (_, message) = messages.make("", "q0", 10, Kind { persistent: true, ..Kind::default() });
        cell.publish(std::iter::once(message)).expect("a queue");
    };
    let disk = SimulatedDisk::new(1);
    let (flags, disk) = flags_after(&disk, &mut messages, |cell, messages| {
        (0..2).for_each(|_| publish(cell, messages));
    });
    assert_eq!(flags, [false, false]);
    let (flags, disk) = flags_after(&disk, &mut messages, publish);
    assert_eq!(flags, [false, false, false], "a restart delivers nothing");
    let (flags, disk) = flags_after(&disk, &mut messages, |cell, _| {
        assert_eq!(cell.purge().0, 3);
    });
    assert_eq!(flags, [false; 0]);
    let (flags, disk) = flags_after(&disk, &mut messages, |cell, messages| {
        publish(cell, messages);
        assert!(matches!(get(cell), GetResult::Got(_)));
    });
    assert_eq!(flags, [true]);
    let (flags, _) = flags_after(&disk, &mut messages, publish);
    assert_eq!(flags, [true, false], "the mark is far ahead, but what is new is behind it");
}
