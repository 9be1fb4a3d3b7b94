//! A run: connections are opened, threads started, watched and ended, and what they did is counted between two moments.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread::{Builder, Scope};
use std::time::Duration;

use super::clock::Clock;
use super::consumer::{self, Consumer};
use super::counters::{Counters, Counts};
use super::error::PerfError;
use super::fields;
use super::frames::{BATCH_SIZE, Batch, MessageForm};
use super::load::{Load, Timing};
use super::pace::Pace;
use super::percentiles::Times;
use super::process::{Figures, Process, Usage};
use super::publisher::{self, Publisher};
use super::topology::{CHANNEL, Names, Topology};
use super::wire::{Connection, Server, Target};

/// How often progress is told.
const TELL: Duration = Duration::from_secs(1);

/// How often to look whether everything has come.
const LOOK: Duration = Duration::from_millis(1);

/// How long consumers may get nothing at the end before what is missing counts as lost.
pub const QUIET: Duration = Duration::from_secs(5);

/// Bytes of all batches together, so that thousands of publishers do not need gigabytes.
const BATCHES: usize = 64 * 1024 * 1024;

/// The stack of a connection's thread: there may be thousands of them.
const STACK: usize = 256 * 1024;

/// What a run does.
#[derive(Clone, Debug)]
pub struct Job<'a> {
    /// Connections, queues and messages.
    pub load: &'a Load,
    /// How long.
    pub timing: &'a Timing,
    /// Messages a second of all publishers together; None for as many as they can.
    pub rate: Option<f64>,
    /// Whether messages are sent to the microsecond and carry when they were due. Needs a rate.
    pub is_timed: bool,
    /// Messages that lie in the queues already, for consumers to get as well.
    pub backlog: u64,
    /// The broker's process, if it is on this machine and known.
    pub broker: Option<Process>,
}

/// How a run is watched and ended from outside.
pub struct Control<'a, P = Progress> {
    /// Set to end the run early; what was measured until then is its result.
    pub stop: &'a AtomicBool,
    /// Called about once a second.
    pub progress: &'a mut dyn FnMut(&P),
}

/// How a run is going.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// What is being done.
    pub phase: Phase,
    /// Time since the publishers began.
    pub elapsed: Duration,
    /// Published per second, since the last time.
    pub published: f64,
    /// Confirmed per second, since the last time.
    pub confirmed: f64,
    /// Consumed per second, since the last time.
    pub consumed: f64,
    /// Why the broker has blocked a publisher, if it ever did.
    pub blocked: Option<String>,
}

/// What a run is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// What is sent does not count yet.
    WarmUp,
    /// What is sent counts.
    Measure,
    /// Publishers have stopped or are about to; consumers get the rest.
    Drain,
}

/// What a run has found.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What the broker says about itself.
    pub server: Server,
    /// What its exchange and queues are called, or were.
    pub names: Names,
    /// Seconds that were measured.
    pub seconds: f64,
    /// What was done in them.
    pub counted: Counts,
    /// What was done in all, warm-up and end included.
    pub total: Counts,
    /// Messages that should have come to consumers, one for each queue that a message reaches.
    pub expected: u64,
    /// Messages that were to be timed, and were due and could not be sent.
    pub unsent: u64,
    /// Why the broker has blocked a publisher, if it did.
    pub blocked: Option<String>,
    /// What the broker used in the measured time.
    pub broker: Option<Usage>,
    /// What the client itself used in it.
    pub client: Usage,
    /// From when a message was due until it was confirmed, if messages are timed.
    pub confirm_times: Times,
    /// From when a message was due until it came, if messages are timed.
    pub delivery_times: Times,
}

/// Everything that is read at the ends of the measured time.
#[derive(Clone, Copy, Debug)]
struct Moment {
    at: Duration,
    counts: Counts,
    client: Figures,
    broker: Option<Figures>,
}

/// What the threads have in common.
struct Shared<'a> {
    job: &'a Job<'a>,
    clock: Clock,
    publishers: Vec<Counters>,
    consumers: Vec<Counters>,
    stop_publishers: AtomicBool,
    stop_consumers: AtomicBool,
}

/// A thread's end.
enum Ended {
    Publisher(Result<Times, PerfError>),
    Consumer(Result<Times, PerfError>),
}

/// Carries out a run. Queues and exchange are removed afterwards, unless they are to be kept, also if it fails.
///
/// # Errors
///
/// If what is asked for cannot be done, the broker refuses, or the connection of a publisher or consumer ends.
pub fn carry_out(job: &Job<'_>, target: &Target, control: &mut Control<'_>) -> Result<Outcome, PerfError> {
    job.load.check()?;
    if job.load.publishers == 0 && job.backlog == 0 && job.timing.duration.is_none() {
        return Err(PerfError::Plan("without publishers there has to be a --duration".to_owned()));
    }
    let topology = Topology::new(job.load);
    let mut connection = Connection::open(target)?;
    let server = connection.server().clone();
    let outcome = topology.declare(&mut connection, job.load).and_then(|()| {
        connection.close()?;
        measure(job, target, &topology, server, control)
    });
    let removed = if job.load.keep { Ok(()) } else { topology.remove(target) };
    // Who could not declare anything need not hear that it could not be removed either.
    let outcome = outcome?;
    removed.map(|()| outcome)
}

fn measure(
    job: &Job<'_>,
    target: &Target,
    topology: &Topology,
    server: Server,
    control: &mut Control<'_>,
) -> Result<Outcome, PerfError> {
    let counters = |count| (0..count).map(|_| Counters::default()).collect();
    let shared = Shared {
        job,
        clock: Clock::start(),
        publishers: counters(job.load.publishers),
        consumers: counters(job.load.consumers),
        stop_publishers: AtomicBool::new(false),
        stop_consumers: AtomicBool::new(false),
    };
    // Fails before anything is started if the process is not there.
    if let Some(broker) = job.broker {
        broker.figures()?;
    }
    let consumers = shared.open_consumers(target, topology)?;
    let mut publishers = shared.open_publishers(target, topology)?;
    let start = shared.clock.now();
    for (number, publisher) in publishers.iter_mut().enumerate() {
        let count = job.load.publishers;
        publisher.set_pace(job.rate.map(|rate| Pace::share(start, rate, number, count)));
        publisher.time_from(start + job.timing.warmup);
    }
    std::thread::scope(|scope| {
        let (ended, ends) = mpsc::sync_channel(job.load.publishers + job.load.consumers);
        let mut watch = Watch::new(&shared, start, ends, control)?;
        // Before anything is sent: without a warm-up all of it counts.
        let before = watch.moment()?;
        let started = start_all(scope, &ended, publishers, consumers, start + job.timing.warmup);
        drop(ended);
        let watched = started.and_then(|()| watch.through(before, topology));
        shared.stop_publishers.store(true, Ordering::Relaxed);
        shared.stop_consumers.store(true, Ordering::Relaxed);
        watch.wait_for_all();
        let (first, last) = watched?;
        watch.outcome(server, topology, first, last)
    })
}

fn start_all<'scope, 'a: 'scope>(
    scope: &'scope Scope<'scope, '_>,
    ended: &mpsc::SyncSender<Ended>,
    publishers: Vec<Publisher<'a>>,
    consumers: Vec<Consumer<'a>>,
    timed_from: Duration,
) -> Result<(), PerfError> {
    let builder = |name: &str| Builder::new().name(name.to_owned()).stack_size(STACK);
    for mut consumer in consumers {
        consumer.time_from(timed_from);
        let ended = ended.clone();
        // Nobody listens any more only when the run has failed already.
        let run = move || drop(ended.send(Ended::Consumer(unless_it_panics("consumer", || consumer.run()))));
        builder("consumer").spawn_scoped(scope, run).map_err(PerfError::Thread)?;
    }
    for publisher in publishers {
        let ended = ended.clone();
        let run =
            move || drop(ended.send(Ended::Publisher(unless_it_panics("publisher", || publisher.run()))));
        builder("publisher").spawn_scoped(scope, run).map_err(PerfError::Thread)?;
    }
    Ok(())
}

/// What a thread ends with. Who waits for its end would wait forever if it just vanished.
fn unless_it_panics(
    name: &'static str,
    run: impl FnOnce() -> Result<Times, PerfError>,
) -> Result<Times, PerfError> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or(Err(PerfError::Panicked(name)))
}

impl Shared<'_> {
    fn open_consumers<'s>(
        &'s self,
        target: &Target,
        topology: &'s Topology,
    ) -> Result<Vec<Consumer<'s>>, PerfError> {
        let open = |(number, counters): (usize, &'s Counters)| {
            let orders = consumer::Orders {
                queue: topology.queue_of(number),
                ack: self.job.load.ack,
                prefetch: self.job.load.prefetch,
                is_timed: self.job.is_timed,
                clock: self.clock,
                timed_from: Duration::ZERO,
                counters,
                stop: &self.stop_consumers,
            };
            Consumer::new(Connection::open(target)?, orders)
        };
        self.consumers.iter().enumerate().map(open).collect()
    }

    fn open_publishers<'s>(
        &'s self,
        target: &Target,
        topology: &Topology,
    ) -> Result<Vec<Publisher<'s>>, PerfError> {
        let load = self.job.load;
        let open = |(number, counters): (usize, &'s Counters)| {
            let more = topology.headers_of(number);
            let properties =
                fields::properties(&load.properties, load.persistent, &more).map_err(PerfError::Plan)?;
            let connection = Connection::open(target)?;
            let form = MessageForm {
                channel: CHANNEL,
                exchange: topology.exchange(),
                routing_key: topology.key_of(number),
                properties: &properties,
                sizes: &load.sizes,
                frame_max: connection.frame_max(),
            };
            let orders = publisher::Orders {
                batch: Batch::new(&form, BATCH_SIZE.min(BATCHES / load.publishers.max(1))),
                confirm: load.confirm,
                messages: self.job.timing.messages,
                pace: None,
                is_timed: self.job.is_timed,
                clock: self.clock,
                timed_from: Duration::ZERO,
                patience: self.job.timing.drain,
                finish: publisher::FINISH,
                counters,
                stop: &self.stop_publishers,
            };
            Publisher::new(connection, orders)
        };
        self.publishers.iter().enumerate().map(open).collect()
    }

    fn counts(&self) -> Counts {
        self.publishers.iter().chain(&self.consumers).map(Counters::counts).sum()
    }

    fn blocked(&self) -> Option<String> {
        self.publishers.iter().find_map(Counters::blocked).map(str::to_owned)
    }

    /// Messages that should come to the consumers there are, of those published and not refused.
    fn expected(&self, topology: &Topology) -> u64 {
        let sent = |publisher: usize| {
            let counts = self.publishers[publisher].counts();
            counts.published.saturating_sub(counts.nacked)
        };
        let consumed = topology.queues().len().min(self.consumers.len());
        let to_queue = |queue| {
            let reaching =
                (0..self.publishers.len()).filter(move |publisher| topology.reaches(*publisher, queue));
            reaching.map(sent).sum::<u64>()
        };
        let left = if self.consumers.is_empty() { 0 } else { self.job.backlog };
        left + (0..consumed).map(to_queue).sum::<u64>()
    }
}

/// The thread that started the others, and looks after them.
struct Watch<'s, 'c, 'p> {
    shared: &'s Shared<'s>,
    start: Duration,
    ends: Receiver<Ended>,
    control: &'c mut Control<'p>,
    publishers_left: usize,
    consumers_left: usize,
    told: (Duration, Counts),
    confirm_times: Times,
    delivery_times: Times,
}

impl<'s, 'c, 'p> Watch<'s, 'c, 'p> {
    fn new(
        shared: &'s Shared<'s>,
        start: Duration,
        ends: Receiver<Ended>,
        control: &'c mut Control<'p>,
    ) -> Result<Self, PerfError> {
        Ok(Self {
            shared,
            start,
            ends,
            control,
            publishers_left: shared.publishers.len(),
            consumers_left: shared.consumers.len(),
            told: (start, Counts::default()),
            confirm_times: Times::new()?,
            delivery_times: Times::new()?,
        })
    }

    /// Sees the run through until publishers and consumers have done their work; they still run. The ends of what was
    /// measured.
    fn through(&mut self, before: Moment, topology: &Topology) -> Result<(Moment, Moment), PerfError> {
        let timing = self.shared.job.timing;
        let first = if timing.warmup.is_zero() {
            before
        } else {
            self.wait(Phase::WarmUp, Some(self.start + timing.warmup))?;
            self.moment()?
        };
        self.wait(Phase::Measure, timing.duration.map(|duration| first.at + duration))?;
        // With nothing but a number of messages, the time until all are consumed is what is measured.
        let is_over = self.is_stopped() || timing.duration.is_some_and(|time| self.now() >= first.at + time);
        let last = if is_over { Some(self.moment()?) } else { None };
        self.shared.stop_publishers.store(true, Ordering::Relaxed);
        while self.publishers_left > 0 {
            self.look(Phase::Drain, LOOK)?;
        }
        self.drain(topology)?;
        let last = match last {
            Some(last) => last,
            None => self.moment()?,
        };
        Ok((first, last))
    }

    /// Waits until a moment, the end of all publishers, or an order to stop. Without publishers the moment alone ends it.
    fn wait(&mut self, phase: Phase, until: Option<Duration>) -> Result<(), PerfError> {
        let had_publishers = self.publishers_left > 0 || until.is_none();
        while !self.is_stopped() {
            if had_publishers && self.publishers_left == 0 {
                break;
            }
            let left = until.map_or(TELL, |until| until.saturating_sub(self.now()));
            if left.is_zero() {
                break;
            }
            self.look(phase, left)?;
        }
        Ok(())
    }

    /// Waits until consumers have what they should have, or get nothing any more, or the time for it is over.
    fn drain(&mut self, topology: &Topology) -> Result<(), PerfError> {
        let expected = self.shared.expected(topology);
        let end = self.now() + self.shared.job.timing.drain;
        let mut seen = (self.now(), self.shared.counts().consumed);
        while seen.1 < expected && self.now() < end && self.now() < seen.0 + QUIET && !self.is_stopped() {
            self.look(Phase::Drain, LOOK)?;
            let consumed = self.shared.counts().consumed;
            if consumed > seen.1 {
                seen = (self.now(), consumed);
            }
        }
        Ok(())
    }

    /// Waits for a thread's end, so long at most, and tells how it is going.
    fn look(&mut self, phase: Phase, time: Duration) -> Result<(), PerfError> {
        let next_tell = (self.told.0 + TELL).saturating_sub(self.now());
        // An order to stop has to be seen soon.
        let time = time.min(next_tell.max(LOOK)).min(Duration::from_millis(100));
        match self.ends.recv_timeout(time) {
            Ok(ended) => self.note(ended)?,
            Err(RecvTimeoutError::Timeout) => {}
            // All have ended, each of them as it should.
            Err(RecvTimeoutError::Disconnected) => std::thread::sleep(time),
        }
        if self.now() >= self.told.0 + TELL {
            self.tell(phase);
        }
        Ok(())
    }

    fn note(&mut self, ended: Ended) -> Result<(), PerfError> {
        match ended {
            Ended::Publisher(times) => {
                self.publishers_left -= 1;
                self.confirm_times.add(&times?)
            }
            Ended::Consumer(times) => {
                self.consumers_left -= 1;
                self.delivery_times.add(&times?)
            }
        }
    }

    fn tell(&mut self, phase: Phase) {
        let (now, counts) = (self.now(), self.shared.counts());
        let seconds = now.saturating_sub(self.told.0).as_secs_f64();
        let done = counts.since(self.told.1);
        let per_second = |count: u64| if seconds > 0.0 { count as f64 / seconds } else { 0.0 };
        let progress = Progress {
            phase,
            elapsed: now.saturating_sub(self.start),
            published: per_second(done.published),
            confirmed: per_second(done.confirmed),
            consumed: per_second(done.consumed),
            blocked: self.shared.blocked(),
        };
        (self.control.progress)(&progress);
        self.told = (now, counts);
    }

    /// After the order to stop: takes what the threads have to say. The first failure is told already.
    fn wait_for_all(&mut self) {
        while let Ok(ended) = self.ends.recv() {
            let _ = self.note(ended);
        }
    }

    fn moment(&self) -> Result<Moment, PerfError> {
        let broker = self.shared.job.broker.map(Process::figures).transpose()?;
        let client = Process::own().figures()?;
        Ok(Moment { at: self.now(), counts: self.shared.counts(), client, broker })
    }

    fn outcome(
        &self,
        server: Server,
        topology: &Topology,
        first: Moment,
        last: Moment,
    ) -> Result<Outcome, PerfError> {
        let counted = last.counts.since(first.counts);
        let messages = if self.shared.consumers.is_empty() { counted.published } else { counted.consumed };
        let broker = last.broker.zip(first.broker);
        Ok(Outcome {
            server,
            names: topology.names(),
            seconds: last.at.saturating_sub(first.at).as_secs_f64(),
            counted,
            total: self.shared.counts(),
            expected: self.shared.expected(topology),
            unsent: self.shared.publishers.iter().map(Counters::unsent).sum(),
            blocked: self.shared.blocked(),
            broker: broker.map(|(after, before)| after.since(&before, messages)),
            client: last.client.since(&first.client, messages),
            confirm_times: self.confirm_times.clone(),
            delivery_times: self.delivery_times.clone(),
        })
    }

    fn now(&self) -> Duration {
        self.shared.clock.now()
    }

    fn is_stopped(&self) -> bool {
        self.control.stop.load(Ordering::Relaxed)
    }
}
