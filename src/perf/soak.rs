//! A broker under load for hours: is every confirmed message delivered, once, whole and in order?
//!
//! Each message carries its publisher, its number and a checksum. An account for each publisher ([`ledger`]) knows what was
//! sent, confirmed and received. Clients come back when their connection ends, so that brokers can be restarted meanwhile.
//! Memory is bounded by how many messages may be under way.

mod consumer;
mod ledger;
mod payload;
mod publisher;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread::Builder;
use std::time::Duration;

use parking_lot::Mutex;
use serde::Serialize;

use self::ledger::Ledger;
use super::clock::Clock;
use super::error::PerfError;
use super::fields;
use super::load::{check_rate, seconds};
use super::process::{Process, Usage};
use super::run::Control;
use super::topology::{CHANNEL, QueueForm, delete_queue, run_name};
use super::wire::{Connection, Server, Target};

/// How often accounts are looked at.
const LOOK: Duration = Duration::from_millis(100);

/// How often progress is told, and how often a line of it is kept.
const TELL: Duration = Duration::from_secs(1);
const TELL_LASTING: Duration = Duration::from_secs(60);

/// Between two attempts to connect.
const PAUSE: Duration = Duration::from_millis(100);

/// Texts that wait to be told. Those that do not fit are counted all the same.
const TEXTS: usize = 100;

/// What to do.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// Publishers; publisher `i` sends to queue `i` modulo their number.
    pub publishers: usize,
    /// Consumers; consumer `i` consumes from queue `i` modulo their number.
    pub consumers: usize,
    /// Durable queues.
    pub queues: usize,
    /// The beginning of the names of the queues; None for one that no other run has.
    pub name: Option<String>,
    /// Arguments of the queues.
    pub queue_args: Vec<(String, String)>,
    /// Messages a second of all publishers together.
    pub rate: f64,
    /// Sizes of bodies in bytes; messages take them in turn.
    pub sizes: Vec<usize>,
    /// Messages of each publisher without a confirm.
    pub confirm: usize,
    /// Messages of each publisher that are not consumed; it waits when there are as many.
    pub backlog: usize,
    /// Messages that a consumer may have unacknowledged.
    pub prefetch: u16,
    /// Consumers acknowledge every so many messages.
    pub ack: u32,
    /// Consumers give every so manyth message back to its queue; 0 for none.
    pub requeue: u64,
    /// How long.
    #[serde(rename = "duration_seconds", serialize_with = "seconds")]
    pub duration: Duration,
    /// How long a confirmed message may not come while consumers are there before it is lost, and how long nothing may come
    /// at the end.
    #[serde(rename = "patience_seconds", serialize_with = "seconds")]
    pub patience: Duration,
    /// How long a broker may be away.
    #[serde(rename = "reconnect_seconds", serialize_with = "seconds")]
    pub reconnect: Duration,
    /// Whether queues stay there afterwards.
    pub keep: bool,
    /// The broker's process, to measure what it uses. One that ends is not measured any more.
    pub pid: Option<u32>,
}

/// What has happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Messages that were sent.
    pub published: u64,
    /// Messages the broker has confirmed.
    pub confirmed: u64,
    /// Messages the broker has refused.
    pub refused: u64,
    /// Messages whose connection ended before they were confirmed: they may have come or not.
    pub doubtful: u64,
    /// Messages that have come, each time counted.
    pub received: u64,
    /// Of these, those that are marked as redelivered.
    pub redelivered: u64,
    /// Messages that consumers gave back.
    pub requeued: u64,
    /// Connections that ended and were opened again.
    pub reconnects: u64,
    /// Messages that came after they had been given up as lost; they do not count as such any more.
    pub late: u64,
    /// Confirmed messages that did not come. A violation, as are all that follow.
    pub lost: u64,
    /// Messages that came again and are not marked as redelivered.
    pub duplicates: u64,
    /// Messages that came after later ones of their publisher, though they are not marked as redelivered.
    pub reordered: u64,
    /// Messages that are not as they were sent.
    pub corrupt: u64,
    /// Messages that were never sent.
    pub unknown: u64,
}

impl Counts {
    /// How often the broker has not kept its promises.
    #[must_use]
    pub fn violations(&self) -> u64 {
        self.lost + self.duplicates + self.reordered + self.corrupt + self.unknown
    }
}

/// What is told while it goes on.
#[derive(Clone, Debug, PartialEq)]
pub enum Progress {
    /// How it is going; `is_lasting` once a minute.
    State {
        /// Time since the beginning.
        elapsed: Duration,
        /// What has happened so far.
        counts: Counts,
        /// Received per second, since the last time of this kind.
        received_per_second: f64,
        /// Memory of the broker in bytes, if its pid is known.
        rss_bytes: Option<u64>,
        /// Whether it is a minute's line.
        is_lasting: bool,
    },
    /// Something has happened: a violation, or a connection has ended.
    Event(String),
}

/// What was found.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What the broker says about itself.
    pub broker: Server,
    /// The queues.
    pub queues: Vec<String>,
    /// Seconds from the beginning until all had come.
    pub seconds: f64,
    /// What has happened.
    #[serde(flatten)]
    pub counts: Counts,
    /// All violations.
    pub violations: u64,
    /// Why the queues could not be removed, if so.
    pub not_removed: Option<String>,
    /// What the broker used, if its pid is known and it still runs.
    pub broker_process: Option<Usage>,
    /// What the client used.
    pub client_process: Usage,
}

/// What the threads have in common.
struct Shared<'a> {
    plan: &'a Plan,
    target: &'a Target,
    run: u64,
    queues: Vec<String>,
    clock: Clock,
    ledgers: Vec<Mutex<Ledger>>,
    counts: Mutex<Counts>,
    /// Consumers that are consuming.
    consuming: AtomicUsize,
    stop_publishers: AtomicBool,
    stop_consumers: AtomicBool,
    has_failed: AtomicBool,
}

/// Where threads tell what has happened.
struct Tell {
    texts: SyncSender<String>,
    untold: AtomicU64,
}

impl Tell {
    fn violation(&self, text: impl FnOnce() -> String) {
        self.event(text());
    }

    fn event(&self, text: String) {
        if self.texts.try_send(text).is_err() {
            self.untold.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Runs until the time is over or it is told to stop, and waits until everything has come.
///
/// # Errors
///
/// If what is asked for cannot be done, the broker is not there at the beginning, or stays away for too long.
pub fn run(plan: &Plan, target: &Target, control: &mut Control<'_, Progress>) -> Result<Report, PerfError> {
    plan.check()?;
    let name = plan.name.clone().unwrap_or_else(run_name);
    let queues: Vec<_> = (0..plan.queues).map(|number| format!("{name}.{number}")).collect();
    let mut connection = Connection::open(target)?;
    let server = connection.server().clone();
    connection.open_channel(CHANNEL)?;
    let arguments = fields::table(&plan.queue_args);
    let form = QueueForm { is_durable: true, arguments: arguments.as_ref(), ..QueueForm::default() };
    queues.iter().try_for_each(|queue| form.declare(&mut connection, queue))?;
    connection.close()?;

    let shared = Shared {
        plan,
        target,
        run: rand::random(),
        queues,
        clock: Clock::start(),
        ledgers: (0..plan.publishers).map(|_| Mutex::new(Ledger::new(plan.backlog))).collect(),
        counts: Mutex::default(),
        consuming: AtomicUsize::new(0),
        stop_publishers: AtomicBool::new(false),
        stop_consumers: AtomicBool::new(false),
        has_failed: AtomicBool::new(false),
    };
    let done = shared.soak(server, control);
    let removed = if plan.keep { Ok(()) } else { remove(target, &shared.queues) };
    let mut done = done?;
    // What hours have shown is worth more than that.
    done.not_removed = removed.err().map(|error| error.to_string());
    Ok(done)
}

fn remove(target: &Target, queues: &[String]) -> Result<(), PerfError> {
    let mut connection = Connection::open(target)?;
    connection.open_channel(CHANNEL)?;
    queues.iter().try_for_each(|queue| delete_queue(&mut connection, queue))?;
    connection.close()
}

impl Plan {
    fn check(&self) -> Result<(), PerfError> {
        check_rate(self.rate)?;
        let refused = if self.publishers == 0 || self.queues == 0 {
            "there have to be publishers and queues".to_owned()
        } else if self.consumers < self.queues.min(self.publishers) {
            "every queue needs a consumer".to_owned()
        } else if self.confirm == 0 || self.backlog == 0 || self.prefetch == 0 {
            "--confirm, --backlog and --prefetch should be 1 at least".to_owned()
        } else if u32::from(self.prefetch) < self.ack {
            "--prefetch below --ack would wait forever".to_owned()
        } else if self.requeue == 1 {
            "--requeue 1 would give every message back".to_owned()
        } else if self.sizes.is_empty() || self.sizes.iter().any(|size| *size < payload::SMALLEST) {
            let least = payload::SMALLEST;
            format!("messages carry who sent them and a checksum: they need {least} bytes at least")
        } else {
            return Ok(());
        };
        Err(PerfError::Plan(refused))
    }
}

impl Shared<'_> {
    fn count(&self, count: impl FnOnce(&mut Counts)) {
        count(&mut self.counts.lock());
    }

    fn is_stopped(&self, stop: &AtomicBool) -> bool {
        stop.load(Ordering::Relaxed) || self.has_failed.load(Ordering::Relaxed)
    }

    /// Has a client live through one connection after the other until it is told to stop. It calls what it is given when its
    /// connection is open.
    fn again_and_again(
        &self,
        who: &str,
        number: usize,
        tell: &Tell,
        stop: &AtomicBool,
        mut session: impl FnMut(&mut dyn FnMut()) -> Result<(), PerfError>,
    ) -> Result<(), PerfError> {
        let mut away_since = None::<Duration>;
        loop {
            let mut opened = || {
                if away_since.take().is_some() {
                    tell.event(format!("{who} {number} is back"));
                }
            };
            let error = match session(&mut opened) {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            let now = self.clock.now();
            if away_since.is_none() {
                tell.event(format!("{who} {number} has to come back: {error}"));
                self.count(|counts| counts.reconnects += 1);
            }
            if self.is_stopped(stop) {
                return Ok(());
            }
            if now >= *away_since.get_or_insert(now) + self.plan.reconnect {
                return Err(error);
            }
            std::thread::sleep(PAUSE);
        }
    }

    fn soak(&self, server: Server, control: &mut Control<'_, Progress>) -> Result<Report, PerfError> {
        let broker = self.plan.pid.map(Process::of);
        let before = (broker.map(Process::figures).transpose()?, Process::own().figures()?);
        let (texts, told) = mpsc::sync_channel(TEXTS);
        let tell = Tell { texts, untold: AtomicU64::new(0) };
        std::thread::scope(|scope| {
            let tell = &tell;
            let guarded = |run: fn(&Self, usize, &Tell) -> Result<(), PerfError>, number| {
                move || {
                    let done = catch_unwind(AssertUnwindSafe(|| run(self, number, tell)));
                    let done = done.unwrap_or(Err(PerfError::Panicked("thread")));
                    if done.is_err() {
                        self.has_failed.store(true, Ordering::Relaxed);
                    }
                    done
                }
            };
            let start = |name: &str, run, number| {
                Builder::new().name(name.to_owned()).spawn_scoped(scope, guarded(run, number)).map_err(
                    |error| {
                        self.has_failed.store(true, Ordering::Relaxed);
                        PerfError::Thread(error)
                    },
                )
            };
            let consumers = (0..self.plan.consumers).map(|number| start("consumer", consumer::run, number));
            let consumers = consumers.collect::<Result<Vec<_>, _>>()?;
            let publishers =
                (0..self.plan.publishers).map(|number| start("publisher", publisher::run, number));
            let publishers = publishers.collect::<Result<Vec<_>, _>>()?;

            let mut watch = Watch::new(self, broker, told, tell, control);
            watch.until(|watch| watch.now() >= self.plan.duration || watch.is_stopped());
            self.stop_publishers.store(true, Ordering::Relaxed);
            watch.until(|_| publishers.iter().all(|thread| thread.is_finished()));
            watch.until(Watch::is_drained);
            let end = watch.now();
            self.stop_consumers.store(true, Ordering::Relaxed);
            watch.until(|_| consumers.iter().all(|thread| thread.is_finished()));
            for thread in publishers.into_iter().chain(consumers) {
                thread.join().unwrap_or(Err(PerfError::Panicked("thread")))?;
            }
            watch.finish();
            let counts = *self.counts.lock();
            let after = (broker.and_then(|broker| broker.figures().ok()), Process::own().figures()?);
            let used = after.0.zip(before.0).map(|(after, before)| after.since(&before, counts.received));
            Ok(Report {
                broker: server,
                queues: self.queues.clone(),
                seconds: end.as_secs_f64(),
                counts,
                violations: counts.violations(),
                not_removed: None,
                broker_process: used,
                client_process: after.1.since(&before.1, counts.received),
            })
        })
    }
}

/// The one who looks at the accounts and tells how it goes.
struct Watch<'s, 'c, 'p> {
    shared: &'s Shared<'s>,
    broker: Option<Process>,
    events: Receiver<String>,
    tell: &'s Tell,
    control: &'c mut Control<'p, Progress>,
    /// When it was told last, and how many had been received: each second and each minute.
    told: [(Duration, u64); 2],
    /// When something came last, or nobody was there for it to come to.
    moved: (Duration, u64),
}

impl<'s, 'c, 'p> Watch<'s, 'c, 'p> {
    fn new(
        shared: &'s Shared<'s>,
        broker: Option<Process>,
        events: Receiver<String>,
        tell: &'s Tell,
        control: &'c mut Control<'p, Progress>,
    ) -> Self {
        let start = (shared.clock.now(), 0);
        Self { shared, broker, events, tell, control, told: [start; 2], moved: start }
    }

    fn now(&self) -> Duration {
        self.shared.clock.now()
    }

    fn is_stopped(&self) -> bool {
        self.control.stop.load(Ordering::Relaxed)
    }

    fn is_consuming(&self) -> bool {
        self.shared.consuming.load(Ordering::Relaxed) == self.shared.plan.consumers
    }

    /// Looks and tells until `is_over`, or a thread has failed.
    fn until(&mut self, is_over: impl Fn(&Self) -> bool) {
        while !is_over(self) && !self.shared.has_failed.load(Ordering::Relaxed) {
            std::thread::sleep(LOOK);
            self.look();
        }
    }

    fn look(&mut self) {
        let (now, is_consuming, plan) = (self.now(), self.is_consuming(), self.shared.plan);
        for (publisher, ledger) in self.shared.ledgers.iter().enumerate() {
            let lost = ledger.lock().sweep(now, plan.patience, is_consuming);
            self.note_lost(publisher, &lost);
        }
        let received = self.shared.counts.lock().received;
        if received != self.moved.1 || !is_consuming {
            self.moved = (now, received);
        }
        self.tell_events();
        for (which, interval) in [TELL, TELL_LASTING].into_iter().enumerate() {
            let (at, before) = self.told[which];
            if now < at + interval {
                continue;
            }
            let state = Progress::State {
                elapsed: now,
                counts: *self.shared.counts.lock(),
                received_per_second: (received - before) as f64 / (now - at).as_secs_f64(),
                rss_bytes: self
                    .broker
                    .and_then(|broker| broker.figures().ok())
                    .map(|figures| figures.rss_bytes),
                is_lasting: interval == TELL_LASTING,
            };
            (self.control.progress)(&state);
            self.told[which] = (now, received);
        }
    }

    fn note_lost(&self, publisher: usize, lost: &[u64]) {
        let Some((first, last)) = lost.first().zip(lost.last()) else { return };
        self.shared.count(|counts| counts.lost += lost.len() as u64);
        let text =
            format!("{} messages of publisher {publisher} are lost, from {first} to {last}", lost.len());
        self.tell.event(text);
    }

    fn tell_events(&mut self) {
        while let Ok(text) = self.events.try_recv() {
            (self.control.progress)(&Progress::Event(text));
        }
        let untold = self.tell.untold.swap(0, Ordering::Relaxed);
        if untold > 0 {
            (self.control.progress)(&Progress::Event(format!("{untold} more events")));
        }
    }

    /// Whether all has come, or nothing comes any more though it could.
    fn is_drained(&self) -> bool {
        let is_settled = self.shared.ledgers.iter().all(|ledger| ledger.lock().outstanding() == 0);
        is_settled || self.now() >= self.moved.0 + self.shared.plan.patience
    }

    /// Nothing comes any more: what is missing is lost.
    fn finish(&mut self) {
        for (publisher, ledger) in self.shared.ledgers.iter().enumerate() {
            let lost = ledger.lock().finish();
            self.note_lost(publisher, &lost);
        }
        self.tell_events();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_done_is_refused() {
        let plan = Plan {
            publishers: 2,
            consumers: 2,
            queues: 2,
            name: None,
            queue_args: Vec::new(),
            rate: 10.0,
            sizes: vec![24],
            confirm: 1,
            backlog: 1,
            prefetch: 10,
            ack: 10,
            requeue: 0,
            duration: Duration::ZERO,
            patience: Duration::ZERO,
            reconnect: Duration::ZERO,
            keep: false,
            pid: None,
        };
        assert!(plan.check().is_ok());
        let refused = [
            Plan { publishers: 0, ..plan.clone() },
            Plan { consumers: 1, ..plan.clone() },
            Plan { confirm: 0, ..plan.clone() },
            Plan { ack: 11, ..plan.clone() },
            Plan { requeue: 1, ..plan.clone() },
            Plan { sizes: vec![24, 23], ..plan.clone() },
            Plan { rate: 0.0, ..plan },
        ];
        for plan in refused {
            assert!(matches!(plan.check(), Err(PerfError::Plan(_))), "{plan:?}");
        }
    }
}
