//! The floor: the bytes of a publisher through a process that only copies them from one socket to another. No broker can
//! do with less, so that its cost and latency can be told as a multiple of the relay's.
//!
//! The relay is a process of its own, so that its CPU can be told apart from that of the sender and the receiver, which
//! are threads here.

mod copy;

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{Builder, ScopedJoinHandle};
use std::time::Duration;

use serde::Serialize;

pub use self::copy::serve;
use super::clock::{Clock, SPIN, sharpen_timers};
use super::error::PerfError;
use super::frames::{BATCH_SIZE, Batch, MessageForm, STAMP_SIZE};
use super::input::{Filled, Input};
use super::load::{check_rate, seconds};
use super::pace::Pace;
use super::percentiles::{Percentiles, Times};
use super::process::{Process, Usage};
use crate::protocol::frame::FrameKind;

/// How long a sender or receiver waits for the other side before it looks whether it should stop.
const NAP: Duration = Duration::from_millis(100);

/// How long the relay may take to come up, and to pass on the rest.
const PATIENCE: Duration = Duration::from_secs(10);

/// What to measure.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// Size of a message's body in bytes.
    pub size: usize,
    /// How long.
    #[serde(rename = "duration_seconds", serialize_with = "seconds")]
    pub duration: Duration,
    /// Time at the beginning that is not counted.
    #[serde(rename = "warmup_seconds", serialize_with = "seconds")]
    pub warmup: Duration,
    /// Messages a second, to measure latency; None for as many as possible, to measure cost.
    pub rate: Option<f64>,
}

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Seconds that were measured.
    pub seconds: f64,
    /// Bytes of a message on the wire: method, header and body of a basic.publish.
    pub message_bytes: usize,
    /// Messages that came out of the relay in them.
    pub relayed: u64,
    /// The same per second.
    pub relayed_per_second: f64,
    /// From when a message was due until it had come, at a fixed rate.
    pub latency: Option<Percentiles>,
    /// What the relay used.
    pub relay_process: Usage,
    /// What sender and receiver used together.
    pub client_process: Usage,
}

/// A relay's process; it ends with this.
struct Relay {
    child: Child,
    address: SocketAddr,
}

impl Relay {
    /// Starts `command`, which has to [`serve`].
    fn start(command: &mut Command) -> Result<Self, PerfError> {
        let failed = |error: io::Error| PerfError::Relay(format!("it cannot be started: {error}"));
        // In a group of its own an interrupt from the terminal does not reach it: it ends with its sender.
        let spawned = command.process_group(0).stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        let mut child = spawned.map_err(failed)?;
        let mut told = Vec::new();
        if let Some(out) = child.stdout.take() {
            // It says where it listens and says no more.
            let mut out = out.take(64);
            let mut byte = [0];
            while out.read(&mut byte).map_err(failed)? == 1 && byte != *b"\n" {
                told.push(byte[0]);
            }
        }
        let address = std::str::from_utf8(&told).ok().and_then(|text| text.trim().parse().ok());
        match address {
            Some(address) => Ok(Self { child, address }),
            None => {
                let _ = child.kill();
                let _ = child.wait();
                Err(PerfError::Relay("it does not say where it listens".to_owned()))
            }
        }
    }

    fn connect(&self) -> Result<TcpStream, PerfError> {
        let stream = TcpStream::connect_timeout(&self.address, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(NAP))?;
        stream.set_write_timeout(Some(NAP))?;
        Ok(stream)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        // It has ended by itself if all went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What sender, receiver and the one who measures have in common.
struct Shared {
    clock: Clock,
    pace: Option<Pace>,
    timed_from: u64,
    size: usize,
    message_bytes: usize,
    received: AtomicU64,
    stop: AtomicBool,
}

/// Measures with a relay in a process that `command` starts. `stop` ends it early.
///
/// # Errors
///
/// If the relay does not start, or a socket fails.
pub fn run(plan: &Plan, command: &mut Command, stop: &AtomicBool) -> Result<Report, PerfError> {
    plan.rate.map_or(Ok(()), check_rate)?;
    if plan.rate.is_some() && plan.size < STAMP_SIZE {
        let text = format!("messages carry the time of sending: they need {STAMP_SIZE} bytes at least");
        return Err(PerfError::Plan(text));
    }
    let form = MessageForm {
        channel: 1,
        exchange: "",
        // As long as the names of queues that a throughput run makes.
        routing_key: "leveret-perf.00000000.0",
        properties: &[0, 0],
        sizes: &[plan.size],
        frame_max: 0,
    };
    let batch = Batch::new(&form, BATCH_SIZE);
    let relay = Relay::start(command)?;
    let (sender, receiver) = (relay.connect()?, relay.connect()?);
    let clock = Clock::start();
    let shared = Shared {
        clock,
        pace: plan.rate.map(|rate| Pace::new(clock.now(), rate)),
        timed_from: super::clock::nanos(clock.now() + plan.warmup),
        size: plan.size,
        message_bytes: batch.range(0, 1).len(),
        received: AtomicU64::new(0),
        stop: AtomicBool::new(false),
    };
    let relaying = Process::of(relay.child.id());
    std::thread::scope(|scope| {
        let named = |name: &str| Builder::new().name(name.to_owned());
        let shared = &shared;
        let receiving = named("receiver").spawn_scoped(scope, move || receive(shared, receiver));
        let receiving = receiving.map_err(PerfError::Thread)?;
        let sending = named("sender").spawn_scoped(scope, move || send(shared, sender, batch));
        let measured = sending.map_err(PerfError::Thread).and_then(|sending| {
            let measured = measure(plan, shared, relaying, stop, &sending);
            shared.stop.store(true, Ordering::Relaxed);
            joined(sending)?;
            measured
        });
        shared.stop.store(true, Ordering::Relaxed);
        let times = joined(receiving)?;
        let mut report = measured?;
        report.latency = plan.rate.map(|_| times.percentiles());
        Ok(report)
    })
}

fn joined<T>(thread: ScopedJoinHandle<'_, Result<T, PerfError>>) -> Result<T, PerfError> {
    thread.join().unwrap_or(Err(PerfError::Panicked("thread")))
}

fn measure(
    plan: &Plan,
    shared: &Shared,
    relay: Process,
    stop: &AtomicBool,
    sending: &ScopedJoinHandle<'_, Result<(), PerfError>>,
) -> Result<Report, PerfError> {
    let wait_until = |end: Duration| {
        while shared.clock.now() < end && !stop.load(Ordering::Relaxed) && !sending.is_finished() {
            std::thread::sleep(end.saturating_sub(shared.clock.now()).min(NAP));
        }
    };
    let moment = || -> Result<_, PerfError> {
        let received = shared.received.load(Ordering::Relaxed);
        Ok((shared.clock.now(), received, relay.figures()?, Process::own().figures()?))
    };
    wait_until(shared.clock.now() + plan.warmup);
    let first = moment()?;
    wait_until(first.0 + plan.duration);
    let last = moment()?;
    let seconds = last.0.saturating_sub(first.0).as_secs_f64();
    let relayed = (last.1 - first.1) / shared.message_bytes as u64;
    Ok(Report {
        seconds,
        message_bytes: shared.message_bytes,
        relayed,
        relayed_per_second: if seconds > 0.0 { relayed as f64 / seconds } else { 0.0 },
        latency: None,
        relay_process: last.2.since(&first.2, relayed),
        client_process: last.3.since(&first.3, relayed),
    })
}

/// Writes messages until it has to stop; the end of the stream ends the relay.
fn send(shared: &Shared, mut to: TcpStream, mut batch: Batch) -> Result<(), PerfError> {
    let mut sent = 0;
    sharpen_timers();
    while !shared.stop.load(Ordering::Relaxed) {
        let count = match shared.pace {
            None => batch.len(),
            Some(pace) => {
                wait_for(pace.due(sent), shared);
                let count = pace.due_until(shared.clock.nanos()).saturating_sub(sent);
                let count = usize::try_from(count).unwrap_or(usize::MAX).min(batch.len());
                (0..count).for_each(|message| batch.stamp(message, pace.due(sent + message as u64)));
                count
            }
        };
        write_all(&mut to, &batch.bytes()[batch.range(0, count)], &shared.stop)?;
        sent += count as u64;
    }
    Ok(())
}

/// Sleeps until shortly before a moment, and looks at the clock for the rest.
fn wait_for(due: u64, shared: &Shared) {
    loop {
        let left = Duration::from_nanos(due.saturating_sub(shared.clock.nanos()));
        if left.is_zero() || shared.stop.load(Ordering::Relaxed) {
            return;
        }
        if left > SPIN {
            std::thread::sleep((left - SPIN).min(NAP));
        } else {
            std::hint::spin_loop();
        }
    }
}

/// Writes all of it, unless it has to stop first.
fn write_all(to: &mut TcpStream, mut bytes: &[u8], stop: &AtomicBool) -> io::Result<()> {
    while !bytes.is_empty() {
        match to.write(bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(error) if is_pause(&error) => {
                if stop.load(Ordering::Relaxed) {
                    return Ok(());
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn is_pause(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), Interrupted | TimedOut | WouldBlock)
}

/// Reads until the end. At a fixed rate every message is looked at, else only bytes are counted.
fn receive(shared: &Shared, mut from: TcpStream) -> Result<Times, PerfError> {
    let mut times = Times::new()?;
    let mut input = Input::default();
    let mut buffer = vec![0; super::input::READ_SIZE];
    let mut received = 0;
    let mut stopping_since = None;
    loop {
        let count = if shared.pace.is_none() {
            match from.read(&mut buffer) {
                Ok(count) => Some(count),
                Err(error) if is_pause(&error) => None,
                Err(error) => return Err(error.into()),
            }
        } else {
            match input.fill(&mut from)? {
                Filled::Bytes(count, _) => Some(count),
                Filled::Nothing => None,
                Filled::End => Some(0),
            }
        };
        match count {
            Some(0) if shared.stop.load(Ordering::Relaxed) => return Ok(times),
            Some(0) => return Err(PerfError::Relay("it has ended too soon".to_owned())),
            Some(count) => received += count as u64,
            None => {
                let now = shared.clock.now();
                let is_over = shared.stop.load(Ordering::Relaxed)
                    && now >= *stopping_since.get_or_insert(now) + PATIENCE;
                if is_over {
                    return Err(PerfError::Relay("it does not end".to_owned()));
                }
            }
        }
        let now = shared.clock.nanos();
        while let Some(frame) = input.frame()? {
            let stamp = frame.payload.first_chunk::<STAMP_SIZE>().map(|bytes| u64::from_be_bytes(*bytes));
            if let (FrameKind::Body, Some(due)) = (frame.kind, stamp)
                && frame.payload.len() == shared.size
                && due >= shared.timed_from
            {
                times.record(now.saturating_sub(due));
            }
        }
        shared.received.store(received, Ordering::Relaxed);
    }
}
