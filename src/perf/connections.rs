//! How fast a broker takes connections, and what it costs to have them: many of them with a channel each, that do nothing.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::Serialize;

use super::compare::{self, Measurement};
use super::crew::{self, Floor, Tally};
use super::error::PerfError;
use super::input::{Filled, Input};
use super::load::{check_rate, seconds};
use super::pace::Pace;
use super::percentiles::{Percentiles, Times};
use super::process::{Figures, Process, Usage};
use super::run::Control;
use super::topology::CHANNEL;
use super::wire::{Connection, Notice, Server, Target, Waiting, notice};
use crate::protocol::frame::HEARTBEAT;

/// What an idle connection needs to read.
const INPUT: usize = 1024;

/// Connections that are there before memory is looked at first: what a broker needs only once is in place then.
const BASE: usize = 100;

/// How often a thread looks at what its connections say.
const LOOK: Duration = Duration::from_millis(500);

/// File descriptors that the program needs beside those of connections.
const SPARE_FILES: u64 = 50;

/// What to measure.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// Connections, each with one channel.
    pub count: usize,
    /// Connections that are opened a second; None for as many as go.
    pub rate: Option<f64>,
    /// Threads that open them.
    pub threads: usize,
    /// How long they are held when all are open.
    #[serde(rename = "hold_seconds", serialize_with = "seconds")]
    pub hold: Duration,
    /// How long to wait before memory is looked at, with a pid.
    #[serde(rename = "settle_seconds", serialize_with = "seconds")]
    pub settle: Duration,
    /// The broker's process, to measure what it uses.
    pub pid: Option<u32>,
}

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What the broker says about itself.
    pub broker: Server,
    /// Connections that were opened.
    pub opened: u64,
    /// Seconds in which those were opened that are not of the base.
    pub seconds: f64,
    /// How many of them a second.
    pub opened_per_second: f64,
    /// From connecting until the channel is open, of those that are not of the base.
    pub open: Percentiles,
    /// Connections that were opened before memory was looked at first.
    pub base: u64,
    /// Memory of the broker for each connection that came after the base, in bytes, if its pid is known. Below 0 if it gave
    /// back more than it took.
    pub bytes_per_connection: Option<f64>,
    /// Connections that ended while they were held.
    pub lost: u64,
    /// What the broker said, or the system, when the first of them ended.
    pub lost_because: Option<String>,
    /// What the broker used to open those after the base, if its pid is known.
    pub broker_process: Option<Usage>,
    /// What the broker used while they were held.
    pub broker_process_held: Option<Usage>,
    /// What the client used to open those after the base.
    pub client_process: Usage,
}

/// A thread's connections, without those that ended.
#[derive(Debug, Default)]
struct Share {
    connections: Vec<Connection>,
    looked: Duration,
    lost: u64,
    lost_because: Option<String>,
}

impl Measurement for Plan {
    type Report = Report;
    type Progress = Tally;

    fn with_pid(&self, pid: Option<u32>) -> Self {
        Self { pid, ..self.clone() }
    }

    fn measure(&self, target: &Target, control: &mut Control<'_, Tally>) -> Result<Report, PerfError> {
        if self.count == 0 || self.threads == 0 {
            return Err(PerfError::Plan("--count and --threads should be 1 at least".to_owned()));
        }
        self.rate.map_or(Ok(()), check_rate)?;
        allow_files(self.count)?;
        let probe = Connection::open(target)?;
        let server = probe.server().clone();
        probe.close()?;
        let broker = self.pid.map(Process::of);
        let figures = || broker.map(Process::figures).transpose();
        let shares: Vec<Mutex<Share>> = (0..self.threads).map(|_| Mutex::default()).collect();

        let base = if broker.is_some() { BASE.min(self.count / 2) } else { 0 };
        self.open(base, None, target, &shares, control)?;
        self.keep(if base > 0 { self.settle } else { Duration::ZERO }, &shares, control)?;
        let (before, client) = (figures()?, Process::own().figures()?);
        let (times, took) = self.open(self.count - base, self.rate, target, &shares, control)?;
        let (after, client) = (figures()?, Process::own().figures()?.used_since(&client));
        self.keep(if broker.is_some() { self.settle } else { Duration::ZERO }, &shares, control)?;
        let settled = figures()?;
        let open = times.percentiles();
        let bytes_per_connection = before.zip(settled).filter(|_| open.count > 0);
        let bytes_per_connection = bytes_per_connection
            .map(|(before, after)| (after.rss_bytes as f64 - before.rss_bytes as f64) / open.count as f64);
        self.keep(self.hold, &shares, control)?;
        let held = figures()?;
        let seconds = took.as_secs_f64();
        let used = |before: Option<Figures>, after: Option<Figures>| {
            after.zip(before).map(|(after, before)| after.used_since(&before))
        };
        let report = Report {
            broker: server,
            opened: open.count + base as u64,
            seconds,
            opened_per_second: if seconds > 0.0 { open.count as f64 / seconds } else { 0.0 },
            open,
            base: base as u64,
            bytes_per_connection,
            lost: shares.iter().map(|share| share.lock().lost).sum(),
            lost_because: shares.iter().find_map(|share| share.lock().lost_because.clone()),
            broker_process: used(before, after),
            broker_process_held: used(settled, held),
            client_process: client,
        };
        self.close(&shares, control)?;
        Ok(report)
    }
}

impl Plan {
    /// Opens so many; how long each took, and all.
    fn open(
        &self,
        count: usize,
        rate: Option<f64>,
        target: &Target,
        shares: &[Mutex<Share>],
        control: &mut Control<'_, Tally>,
    ) -> Result<(Times, Duration), PerfError> {
        let next = AtomicUsize::new(0);
        let pace = rate.map(|rate| Pace::new(Duration::ZERO, rate));
        let ended = crew::work(self.threads, "opened", control, |floor, thread| {
            let mut share = shares[thread].lock();
            share.looked = Duration::ZERO;
            let mut times = Times::new()?;
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count || floor.is_stopped() {
                    return Ok((times, floor.clock.now()));
                }
                if let Some(pace) = pace {
                    let due = Duration::from_nanos(pace.due(number as u64));
                    share.keep_until(due, floor)?;
                }
                let begin = floor.clock.nanos();
                let mut connection = Connection::open_with(target, Input::new(INPUT))?;
                connection.open_channel(CHANNEL)?;
                times.record(floor.clock.nanos() - begin);
                connection.stream.wait(Waiting::Never)?;
                share.connections.push(connection);
                share.look_now_and_then(floor)?;
                floor.add(1);
            }
        })?;
        let mut all = Times::new()?;
        for (times, _) in &ended {
            all.add(times)?;
        }
        Ok((all, ended.iter().map(|(_, end)| *end).max().unwrap_or_default()))
    }

    /// Holds what is open for a while.
    fn keep(
        &self,
        time: Duration,
        shares: &[Mutex<Share>],
        control: &mut Control<'_, Tally>,
    ) -> Result<(), PerfError> {
        if time.is_zero() {
            return Ok(());
        }
        let keep = |floor: &Floor, thread: usize| {
            let mut share = shares[thread].lock();
            share.looked = Duration::ZERO;
            floor.add(share.connections.len() as u64);
            share.keep_until(time, floor)?;
            share.look()
        };
        crew::work(self.threads, "held", control, keep).map(drop)
    }

    /// Says goodbye to all that are open, also after an order to stop.
    fn close(&self, shares: &[Mutex<Share>], control: &mut Control<'_, Tally>) -> Result<(), PerfError> {
        let close = |floor: &Floor, thread: usize| {
            for connection in shares[thread].lock().connections.drain(..) {
                // One that the broker has ended meanwhile needs no goodbye, nor does any if somebody is in a hurry.
                if !floor.is_stopped() {
                    let _ = connection.close();
                }
                floor.add(1);
            }
            Ok(())
        };
        crew::work(self.threads, "closed", control, close).map(drop)
    }
}

impl Share {
    fn keep_until(&mut self, moment: Duration, floor: &Floor) -> Result<(), PerfError> {
        while !floor.is_stopped() && floor.clock.now() < moment {
            self.look_now_and_then(floor)?;
            floor.sleep_until(moment.min(floor.clock.now() + LOOK));
        }
        Ok(())
    }

    fn look_now_and_then(&mut self, floor: &Floor) -> Result<(), PerfError> {
        if floor.clock.now() < self.looked + LOOK {
            return Ok(());
        }
        self.look()?;
        self.looked = floor.clock.now();
        Ok(())
    }

    /// Answers those that ask for a heartbeat, and lets go of those that ended.
    fn look(&mut self) -> Result<(), PerfError> {
        let polled = |connection| PollFd::new(Connection::socket(connection), PollFlags::IN);
        let mut polled: Vec<_> = self.connections.iter().map(polled).collect();
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        match poll(&mut polled, Some(&at_once)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => return Ok(()),
            Ok(_) => {}
            Err(error) => return Err(PerfError::Io(error.into())),
        }
        let said: Vec<bool> = polled.iter().map(|polled| !polled.revents().is_empty()).collect();
        drop(polled);
        for at in (0..said.len()).rev() {
            if !said[at] {
                continue;
            }
            if let Err(error) = hear(&mut self.connections[at]) {
                self.connections.swap_remove(at);
                self.lost += 1;
                self.lost_because.get_or_insert(error.to_string());
            }
        }
        Ok(())
    }
}

/// Hears what a connection has to say.
fn hear(connection: &mut Connection) -> Result<(), PerfError> {
    loop {
        let filled = connection.input.fill(&mut connection.stream)?;
        let mut is_alive_asked = false;
        while let Some(frame) = connection.input.frame()? {
            is_alive_asked |= notice(&frame)? == Notice::Heartbeat;
        }
        if is_alive_asked {
            connection.write(&HEARTBEAT)?;
        }
        match filled {
            Filled::Bytes(..) => {}
            Filled::Nothing => return Ok(()),
            Filled::End => return Err(PerfError::HungUp("it was held")),
        }
    }
}

/// Raises the limit of open files as far as it may go.
fn allow_files(connections: usize) -> Result<(), PerfError> {
    let needed = connections as u64 + SPARE_FILES;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    let raised = Rlimit { current: Some(needed), maximum: limit.maximum };
    if limit.maximum.is_none_or(|maximum| maximum >= needed) && setrlimit(Resource::Nofile, raised).is_ok() {
        return Ok(());
    }
    let most = limit.maximum.unwrap_or(u64::MAX);
    let text = format!(
        "{connections} connections need {needed} file descriptors, and the limit is {most} (ulimit -n)"
    );
    Err(PerfError::Plan(text))
}

impl compare::Report for Report {
    fn figures(&self) -> Vec<(&'static str, Option<f64>)> {
        vec![
            ("opened_per_second", Some(self.opened_per_second)),
            ("open_p50_us", Some(self.open.p50_us)),
            ("open_p99_us", Some(self.open.p99_us)),
            ("bytes_per_connection", self.bytes_per_connection),
            ("cpu_seconds", self.broker_process.map(|usage| usage.cpu_seconds)),
        ]
    }

    fn faults(&self) -> Vec<String> {
        let because = self.lost_because.as_deref().unwrap_or_default();
        let lost = (self.lost > 0)
            .then(|| format!("{} connections ended while they were held; the first: {because}", self.lost));
        lost.into_iter().collect()
    }
}
