//! Which bodies are in memory: those that consumers need next, and those that are not stored. The others leave memory
//! and are read again before their turn.
//!
//! A short queue keeps everything. Beyond [`KEPT_BYTES`] it keeps a *window* of the messages that are next, and what
//! is written to disk behind them, or is out with consumers, goes.

use std::ops::RangeInclusive;

use super::lanes::Lane;
use super::{Entry, Link, MESSAGE_OVERHEAD, Memory, Queue, State, Unread};
use crate::ids::{Location, Place, Position};
use crate::message::Message;

/// Bytes of messages up to which a queue keeps all of them in memory.
pub const KEPT_BYTES: u64 = 4 * 1024 * 1024;

/// Entries that one call looks at for bodies to let go: a bound on the time that it takes.
const SWEEP: usize = 16 * 1024;

/// Messages that are read at once where each has to be found by itself: few by the first read, for which somebody waits,
/// and twice as many by each that follows.
const LOADED_AT_ONCE: RangeInclusive<usize> = 128..=4096;

/// What of a queue is in memory.
#[derive(Debug)]
pub(super) struct Paging {
    /// Bytes up to which everything is kept.
    kept: u64,
    /// Ready messages that are not in memory.
    absent: u64,
    /// Ready messages below it are wanted in memory.
    window_end: Position,
    /// How many bytes of memory the messages take that are ready below `window_end`.
    window_bytes: u64,
    /// Bytes in memory from which on it is worth to look again.
    relieve_at: u64,
    /// Body addresses below it are written, so that they can be read.
    written: u64,
    /// Somebody would have taken the next message if it were in memory.
    wanted: bool,
    /// A dead message is to be moved that is not in memory.
    dead_wanted: bool,
    /// What was planned is being read.
    loading: bool,
    /// How many messages the next read is of at most.
    at_once: usize,
    /// Messages that were nowhere, since somebody asked.
    lost: u64,
    /// Messages that ever left memory and stayed in the queue.
    gone: u64,
}

impl Default for Paging {
    fn default() -> Self {
        Self {
            kept: KEPT_BYTES,
            absent: 0,
            window_end: Position::default(),
            window_bytes: 0,
            relieve_at: 0,
            written: 0,
            wanted: false,
            dead_wanted: false,
            loading: false,
            at_once: *LOADED_AT_ONCE.start(),
            lost: 0,
            gone: 0,
        }
    }
}

/// What a queue needs to have read.
#[derive(Debug, PartialEq)]
pub enum Load {
    /// These messages.
    Places(Vec<Wanted>),
    /// The next messages of a run, until they take about so many bytes of memory.
    Run(Unread, u64),
}

/// A message to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Its position.
    pub position: Position,
    /// Where it is.
    pub place: Place,
    /// About how many bytes it takes there.
    pub stored_len: u64,
}

/// A message that was read.
#[derive(Debug)]
pub struct Found {
    /// Its position.
    pub position: Position,
    /// Where it was read.
    pub place: Place,
    /// The message; `None` if it is damaged.
    pub message: Option<Message>,
}

impl Paging {
    #[inline]
    pub(super) fn want(&mut self) {
        self.wanted = true;
    }

    pub(super) fn is_loading(&self) -> bool {
        self.loading
    }

    /// Messages that ever left memory and stayed in the queue.
    pub(super) fn gone(&self) -> u64 {
        self.gone
    }

    /// So many messages left memory, and stay.
    pub(super) fn note_gone(&mut self, messages: u64) {
        self.gone += messages;
    }

    /// Bytes up to which everything is kept.
    pub(super) fn kept(&self) -> u64 {
        self.kept
    }

    /// A dead message is to be moved that is not in memory.
    pub(super) fn want_dead(&mut self) {
        self.dead_wanted = true;
    }

    /// A message was published.
    #[inline]
    pub(super) fn came(&mut self, position: Position, memory: u64) {
        // Before others, by its priority.
        if self.is_wanted(position) {
            self.window_bytes += memory;
        }
    }

    /// Whether the message at `position`, if it is ready, is wanted in memory.
    #[inline]
    pub(super) fn is_wanted(&self, position: Position) -> bool {
        position < self.window_end
    }

    /// A ready message died that takes so many bytes of `memory`; `absent` if it was not in it.
    pub(super) fn died(&mut self, position: Position, memory: u64, absent: bool) {
        if absent {
            self.absent -= 1;
        } else if self.is_wanted(position) {
            self.took(memory);
        }
    }

    /// A ready message was taken that was [wanted](Self::is_wanted), with so many bytes of `memory`.
    #[inline]
    pub(super) fn took(&mut self, memory: u64) {
        self.window_bytes = self.window_bytes.saturating_sub(memory);
    }

    /// A delivered message is ready again.
    pub(super) fn came_back(&mut self, position: Position, entry: &Entry) {
        if entry.message.is_none() {
            self.absent += 1;
        } else if self.is_wanted(position) {
            self.window_bytes += entry.memory();
        }
    }

    /// So many ready messages are not in memory, and were not before.
    pub(super) fn lack(&mut self, messages: u64) {
        self.absent += messages;
    }

    /// A ready message left memory, so many bytes of it.
    pub(super) fn left(&mut self, position: Position, memory: u64) {
        self.absent += 1;
        if self.is_wanted(position) {
            self.took(memory);
        }
    }

    #[cfg(test)]
    pub(super) fn wanted_bytes(&self) -> u64 {
        self.window_bytes
    }

    /// Nothing is ready any more.
    pub(super) fn emptied(&mut self) {
        self.absent = 0;
        self.window_bytes = 0;
        self.wanted = false;
    }
}

impl<L: Link> Queue<L> {
    /// Keeps everything in memory up to so many bytes. Default: [`KEPT_BYTES`].
    pub fn keep(&mut self, bytes: u64) {
        self.paging.kept = bytes;
    }

    /// Whether bodies leave memory, so that it matters how far the journal is written. Those of messages that nothing else
    /// has do not, however many they are.
    #[inline]
    #[must_use]
    pub fn is_paging(&self) -> bool {
        let can_leave = || !self.stored.is_empty() || !self.runs.is_empty();
        self.paging.absent > 0 || self.memory.bytes > self.paging.kept && can_leave()
    }

    /// Whether what was planned is being read.
    #[must_use]
    pub fn is_loading(&self) -> bool {
        self.paging.loading
    }

    /// How many messages were left out since the last call because they are nowhere. There ought to be none.
    #[inline]
    #[must_use]
    pub fn take_lost(&mut self) -> u64 {
        std::mem::take(&mut self.paging.lost)
    }

    /// Ready messages that are not in memory.
    #[must_use]
    pub fn absent(&self) -> u64 {
        self.paging.absent
    }

    /// Body addresses below `address` are written.
    pub fn note_written(&mut self, address: u64) {
        self.paging.written = self.paging.written.max(address);
    }

    /// A message was delivered. Where bodies leave memory its consumer has it, and if it comes back it is read again.
    #[inline]
    pub(super) fn let_go_delivered(&mut self, position: Position) {
        if self.is_paging() {
            self.let_go_of(position);
        }
    }

    /// Lets the body of a message that is not ready go, if it can be read again.
    pub(super) fn let_go_of(&mut self, position: Position) {
        let written = self.paging.written;
        if let Some(entry) = self.lanes.entry(position) {
            self.paging.gone += u64::from(let_go(entry, written, &mut self.memory));
        }
    }

    /// Lets bodies go that are stored and not wanted next, if there are more than are to be kept.
    #[inline]
    pub fn relieve(&mut self) {
        let due = self.paging.relieve_at.max(self.paging.kept);
        if self.memory.bytes > due {
            self.set_window();
            self.sweep();
            self.paging.relieve_at = self.memory.bytes + self.paging.kept / 4;
        }
    }

    /// Lets all bodies go that can, also those that [`relieve`](Self::relieve) has passed by before. A few stay if there
    /// are consumers.
    pub fn relieve_all(&mut self) {
        self.lanes.iter_mut().for_each(|lane| lane.swept = lane.all().start);
        self.paging.relieve_at = 0;
        let kept = if self.consumers.count() > 0 { self.paging.kept / 8 } else { 0 };
        let before = std::mem::replace(&mut self.paging.kept, kept);
        self.set_window();
        while self.sweep() {}
        self.paging.kept = before;
    }

    /// Behind the messages that are wanted in memory next.
    #[must_use]
    pub fn tail(&self) -> Position {
        self.paging.window_end
    }

    /// Memory went down: look again when it has grown from here.
    #[inline]
    pub(super) fn lower_relief(&mut self) {
        self.paging.relieve_at = self.paging.relieve_at.min(self.memory.bytes + self.paging.kept / 4);
    }

    /// The ready positions, in the order in which they are delivered.
    pub(super) fn ready(&self) -> impl Iterator<Item = Position> {
        let ranges = self
            .lanes
            .iter()
            .flat_map(|lane| self.returned.ranges_in(lane.all()).chain(std::iter::once(lane.fresh())));
        ranges.flat_map(|range| (range.start.0..range.end.0).map(Position))
    }

    /// Puts the window over the messages that are next and in memory, up to half of what is kept.
    fn set_window(&mut self) {
        let (mut end, mut bytes) = (Position::default(), 0);
        let room = self.paging.kept / 2;
        for position in self.ready() {
            end = position;
            let entry = self.lanes.get(position).filter(|entry| entry.message.is_some());
            let Some(entry) = entry.filter(|_| bytes < room) else { break };
            bytes += entry.memory();
            end = position.next();
        }
        (self.paging.window_end, self.paging.window_bytes) = (end, bytes);
    }

    /// Looks at some more entries. Returns whether there are more.
    fn sweep(&mut self) -> bool {
        let (mut left, mut more) = (SWEEP, false);
        let Self { lanes, paging, memory, deaths, .. } = self;
        for lane in lanes.iter_mut() {
            more |= sweep_lane(lane, paging, memory, &mut left);
        }
        // They died after the lanes' sweep has passed them by, or before they were written.
        deaths.sweep_stuck(SWEEP, |position| {
            let Some(entry) = lanes.entry(position).filter(|entry| entry.message.is_some()) else {
                return true;
            };
            let_go(entry, paging.written, memory) || !entry.is_stored()
        });
        more
    }

    /// What is to be read now, if anything: the next messages, if somebody waits for them or soon will. Every plan has
    /// to be answered by [`loaded`](Self::loaded).
    #[inline]
    #[must_use]
    pub fn plan_load(&mut self) -> Option<Load> {
        let Paging { absent, loading, wanted, dead_wanted, window_bytes, kept, .. } = self.paging;
        if loading || (absent == 0 && !dead_wanted) {
            return None;
        }
        if dead_wanted && let Some(load) = self.find_dead_load() {
            self.paging.loading = true;
            return Some(load);
        }
        let ahead = window_bytes < kept / 4 && self.consumers.count() > 0;
        if absent > 0 && (wanted || ahead) { self.find_load() } else { None }
    }

    /// Dead messages are read in the order in which they leave.
    fn find_dead_load(&mut self) -> Option<Load> {
        self.paging.dead_wanted = false;
        let room = (self.paging.kept / 2).max(1);
        let (mut planned, mut places) = (0, Vec::new());
        for position in self.deaths.positions().take(*LOADED_AT_ONCE.end()) {
            let Some(entry) = self.lanes.get(position).filter(|entry| entry.message.is_none()) else {
                continue;
            };
            let stored_len = entry.stored_len();
            planned += stored_len + MESSAGE_OVERHEAD;
            places.push(Wanted { position, place: entry.place, stored_len });
            if planned >= room {
                break;
            }
        }
        (!places.is_empty()).then_some(Load::Places(places))
    }

    fn find_load(&mut self) -> Option<Load> {
        loop {
            match self.look_for_load() {
                Ok(load) => {
                    self.paging.loading = load.is_some();
                    self.paging.wanted &= load.is_none();
                    return load;
                }
                // No run has it, though it was there: as good as damaged.
                Err(lost) => {
                    self.paging.lost += 1;
                    self.quarantine(lost, true);
                }
            }
        }
    }

    /// Looks for what is absent among the messages that are next. The error is a position that is nowhere.
    fn look_for_load(&mut self) -> Result<Option<Load>, Position> {
        let room = (self.paging.kept / 2).max(1);
        let (mut bytes, mut planned) = (0, 0);
        let mut window_end = Position::default();
        let mut places = Vec::new();
        let mut run = None;
        for position in self.ready() {
            match self.lanes.get(position) {
                Some(entry) if entry.message.is_some() => bytes += entry.memory(),
                Some(entry) => {
                    let stored_len = entry.stored_len();
                    places.push(Wanted { position, place: entry.place, stored_len });
                    planned += stored_len + MESSAGE_OVERHEAD;
                }
                None if places.is_empty() => {
                    let unread = self.runs.unread(position).ok_or(position)?;
                    run = Some(Load::Run(unread, room));
                    break;
                }
                None => break,
            }
            window_end = position.next();
            if bytes + planned >= room || places.len() >= self.paging.at_once {
                break;
            }
        }
        (self.paging.window_end, self.paging.window_bytes) = (window_end, bytes);
        if places.is_empty() {
            return Ok(run);
        }
        self.paging.at_once = (self.paging.at_once * 2).min(*LOADED_AT_ONCE.end());
        Ok(Some(Load::Places(places)))
    }

    /// Takes what was read of a [`Load::Places`]. Returns how many of them are damaged; those are not in the queue any
    /// more.
    pub fn loaded(&mut self, found: Vec<Found>) -> u64 {
        self.paging.loading = false;
        found.into_iter().map(|found| u64::from(!self.take_found(found))).sum()
    }

    /// Takes what was read of a [`Load::Run`], up to the offset `next`. With `gaps`, some of what was passed by could not
    /// be told. Returns how many messages are damaged; those are not in the queue any more.
    pub fn loaded_run(&mut self, unread: &Unread, next: u64, found: Vec<Found>, gaps: bool) -> u64 {
        self.paging.loading = false;
        if !self.runs.advance(unread.segment, unread.from, next) {
            return 0;
        }
        let last = found.last().map(|found| found.position.0);
        let mut damaged = found.into_iter().map(|found| u64::from(!self.take_found(found))).sum();
        if gaps {
            let below = last.filter(|_| next < unread.until);
            let lanes = &self.lanes;
            let has_entry = |position| lanes.get(position).is_some();
            for position in self.runs.passed(unread.segment, unread.from, below, has_entry) {
                let stored = self.runs.damage(unread.segment, unread.from, position);
                self.quarantine(position, stored);
                damaged += 1;
            }
        }
        damaged
    }

    /// Takes one message. Returns whether it was sound, or was not wanted any more.
    fn take_found(&mut self, found: Found) -> bool {
        let Found { position, place, message } = found;
        if self.lanes.get(position).is_none() {
            let Some(transient) = self.runs.holds(place, position) else { return true };
            if let Some(message) = &message {
                let (body_len, stored_len) = (message.body_len(), message.stored_len());
                let mut entry = Entry::absent(place, body_len, stored_len, !transient);
                if self.lanes.of(position).is_some_and(|lane| position < lane.flagged_below) {
                    entry.set_redelivered();
                }
                self.lanes.insert(position, entry);
            }
        }
        let entry = self.lanes.entry(position);
        // It may have been moved meanwhile, so that the next try finds it, or be out with a consumer.
        let waits = |state| matches!(state, State::Ready | State::Dead);
        let is_wanted =
            |entry: &Entry| entry.message.is_none() && entry.place == place && waits(entry.state());
        if entry.as_ref().is_some_and(|entry| !is_wanted(entry)) {
            return true;
        }
        let Some(message) = message else {
            let stored = match place.location() {
                Location::Segment { number, offset } => self.runs.damage(number, offset, position),
                _ => true,
            };
            self.quarantine(position, stored);
            return false;
        };
        if let Some(entry) = entry {
            self.memory.add(&message);
            self.counts.disk_reads += 1;
            entry.message = Some(message);
            if entry.state() == State::Dead {
                return true;
            }
            self.paging.absent -= 1;
            self.paging.window_bytes += entry.memory();
            self.paging.window_end = self.paging.window_end.max(position.next());
            if let Some(reason) = self.deaths.take_doom(position) {
                self.kill(position, reason);
            }
        }
        true
    }

    /// Takes a message that waits here and cannot be read out of the queue. Without an entry nothing else tells whether it
    /// was `stored`.
    fn quarantine(&mut self, position: Position, stored: bool) {
        let state = self.lanes.get(position).map(Entry::state);
        if state == Some(State::Dead) {
            let bytes = self.take_unreadable(position, stored);
            self.deaths.lose(position, bytes);
            return;
        }
        if state.is_some_and(|state| state != State::Ready) || !self.is_ready(position) {
            return;
        }
        self.take_position(position);
        self.deaths.forget_count(position);
        let bytes = self.take_unreadable(position, stored);
        self.depth.lose_ready(1, bytes);
        self.paging.absent -= 1;
    }

    /// Takes the entry of a message that cannot be read, if it has one. Returns its body bytes.
    fn take_unreadable(&mut self, position: Position, stored: bool) -> u64 {
        let entry = self.lanes.remove(position);
        let bytes = entry.as_ref().map_or(0, Entry::body_len);
        if entry.map_or(stored, |entry| entry.is_stored()) {
            self.stored.remove(bytes);
        }
        bytes
    }
}

/// Looks at up to `left` more entries of a lane. Returns whether there are more.
fn sweep_lane(lane: &mut Lane, paging: &mut Paging, memory: &mut Memory, left: &mut usize) -> bool {
    let end = lane.entries.next();
    let mut at = lane.swept;
    while *left > 0 {
        *left -= 1;
        let Some(next) = lane.entries.next_chunk(at).filter(|next| *next < end) else {
            at = end;
            break;
        };
        at = next;
        if let Some(entry) = lane.entries.entry(at).filter(|entry| entry.message.is_some()) {
            let ready = entry.state() == State::Ready;
            let in_window = ready && at < paging.window_end;
            let gone = !in_window && let_go(entry, paging.written, memory);
            paging.absent += u64::from(gone && ready);
            paging.gone += u64::from(gone);
            if !gone && !in_window && entry.is_stored() {
                // Not written yet, and what follows is not either.
                lane.swept = at;
                return false;
            }
        }
        at = at.next();
    }
    lane.swept = at;
    at < end
}

/// Lets the body of a message go that can be read again. Returns whether it did.
fn let_go(entry: &mut Entry, written: u64, memory: &mut Memory) -> bool {
    let Some(message) = &entry.message else { return false };
    let place = match entry.place.location() {
        Location::Segment { .. } => entry.place,
        _ if !entry.is_stored() => return false,
        _ => match entry.address() {
            Some(address) if address < written => Place::journal(address),
            _ => return false,
        },
    };
    memory.remove(message);
    entry.place = place;
    entry.take_message();
    true
}
