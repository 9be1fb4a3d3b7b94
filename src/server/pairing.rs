//! The tasks that serve connections: mostly one each, but one for a publisher and the consumer that it feeds.
//!
//! The two share a queue, an outlet and every message. If two workers run them at the same time, all of that wanders
//! between the caches of two processors, and small messages cost more in that than in everything else. So a consumer that
//! takes many deliveries at once, time after time because the same connection put them there, moves into the task of
//! that connection, where each has its turn after the other. It gets a task of its own again when that connection feeds it
//! no more, or is over. The runtime then moves pairs between the workers as it moves other tasks.

#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::future::Future;
use std::ops::AddAssign;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Wake, Waker};

use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::lock::{Rank, RankedMutex};

/// So many calls by the same connection, and a consumer may move in with it.
const CALLS: u32 = 8;

/// Deliveries from which on a consumer counts as fed, for each call. Of small messages a read brings some thousands.
const FED: usize = 512;

/// Bytes on the wire up to which a delivery is small. With larger ones it is the bytes that cost, and two workers move
/// more of them than one.
const SMALL: usize = 160;

/// After so many turns a guest is looked at: whether it still has to do with its host.
const VISIT: u32 = 256;

/// Deliveries from which on it has, for each turn.
const STILL_FED: usize = 64;

thread_local! {
    /// The seat of the connection that has its turn.
    static CURRENT: RefCell<Option<Arc<Seat>>> = const { RefCell::new(None) };
}

/// What a turn moved to the client.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Moved {
    /// Deliveries that were waiting for it.
    pub(super) deliveries: usize,
    /// Bytes that the socket took.
    pub(super) bytes: usize,
}

impl AddAssign for Moved {
    fn add_assign(&mut self, more: Self) {
        self.deliveries += more.deliveries;
        self.bytes += more.bytes;
    }
}

/// A connection as a task serves it.
pub(super) trait Member: Send {
    /// One turn. Ready when the connection is over. Every turn asks anew to be woken by the task, with what it waits
    /// for: the next may be in another one.
    fn turn(&mut self, cx: &mut Context<'_>) -> Poll<()>;

    /// What its last turn moved.
    fn moved(&self) -> Moved;

    /// Whose connection it is, for the log.
    fn peer(&mut self) -> &str;
}

/// What stays the same of a connection in whatever task it is, and so what wakes it.
pub(super) struct Seat {
    state: RankedMutex<State>,
}

#[derive(Default)]
struct State {
    task: Option<Waker>,
    /// Who called it since its last turn.
    feeder: Option<Weak<Seat>>,
    place: Place,
}

#[derive(Default)]
enum Place {
    #[default]
    Alone,
    /// With a guest, who may not have come in yet.
    Host(Option<Box<Party>>),
    /// In the task of this one, or on its way there.
    Guest(Weak<Seat>),
    Over,
}

/// What a connection was given, and by whom.
#[derive(Default)]
struct Account {
    /// Who called it last.
    feeder: Weak<Seat>,
    /// How often, with nobody else in between.
    calls: u32,
    turns: u32,
    moved: Moved,
}

/// A connection with its seat.
struct Party {
    member: Box<dyn Member>,
    seat: Arc<Seat>,
    account: Account,
    _token: TaskTrackerToken,
}

/// See the module. It is over when the connection is with which it began.
pub(super) struct Task {
    /// `None` when it has moved into another task.
    own: Option<Party>,
    guest: Option<Box<Party>>,
}

/// Ends a turn, in whatever way it does.
struct TurnEnd;

impl Drop for TurnEnd {
    fn drop(&mut self) {
        CURRENT.set(None);
    }
}

fn is_same(known: &Weak<Seat>, seat: &Arc<Seat>) -> bool {
    std::ptr::eq(known.as_ptr(), Arc::as_ptr(seat))
}

impl Wake for Seat {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // A thread that ends has no turns.
        let task = CURRENT.try_with(|current| self.called_by(current.borrow().as_ref()));
        if let Some(task) = task.unwrap_or_else(|_| self.called_by(None)) {
            task.wake();
        }
    }
}

impl Seat {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { state: RankedMutex::new(Rank::Seat, State::default()) })
    }

    /// Somebody wakes it, in the turn of another if there is one. Returns the task to wake.
    fn called_by(&self, other: Option<&Arc<Self>>) -> Option<Waker> {
        let mut state = self.state.lock();
        if let Some(other) = other.filter(|other| !std::ptr::eq(Arc::as_ptr(other), self)) {
            if !state.feeder.as_ref().is_some_and(|known| is_same(known, other)) {
                state.feeder = Some(Arc::downgrade(other));
            }
            // Its turn follows that of its host.
            if matches!(&state.place, Place::Guest(host) if is_same(host, other)) {
                return None;
            }
        }
        state.task.clone()
    }

    /// Its turn begins, in the task of `waker`. Returns who called it, and the guest that came in meanwhile.
    fn begin_turn(&self, waker: &Waker) -> (Option<Weak<Self>>, Option<Box<Party>>) {
        let mut state = self.state.lock();
        match &mut state.task {
            Some(known) => known.clone_from(waker),
            unknown => *unknown = Some(waker.clone()),
        }
        let guest = if let Place::Host(guest) = &mut state.place { guest.take() } else { None };
        (state.feeder.take(), guest)
    }

    fn set(&self, place: Place) {
        self.state.lock().place = place;
    }

    fn is_alone(&self) -> bool {
        matches!(self.state.lock().place, Place::Alone)
    }

    /// Takes a guest in, or gives it back: one is enough, and a guest has none itself.
    fn host(&self, guest: Box<Party>) -> Result<(), Box<Party>> {
        let mut state = self.state.lock();
        // It may have been alone when somebody looked.
        if !matches!(state.place, Place::Alone) {
            return Err(guest);
        }
        state.place = Place::Host(Some(guest));
        let task = state.task.clone();
        drop(state);
        if let Some(task) = task {
            task.wake();
        }
        Ok(())
    }

    /// The connection is over. Returns the guest that had not come in yet.
    fn close(&self) -> Option<Box<Party>> {
        let mut state = self.state.lock();
        state.task = None;
        match std::mem::replace(&mut state.place, Place::Over) {
            Place::Host(guest) => guest,
            _ => None,
        }
    }
}

impl Party {
    /// Notes who called it since its last turn. An account of one that is alone is about one feeder.
    fn note_feeder(&mut self, feeder: Weak<Seat>, is_guest: bool) {
        if self.account.feeder.ptr_eq(&feeder) {
            self.account.calls = self.account.calls.saturating_add(1);
        } else if is_guest {
            (self.account.feeder, self.account.calls) = (feeder, 1);
        } else {
            self.account = Account { feeder, calls: 1, ..Account::default() };
        }
    }

    /// One turn, in the task of `cx`.
    fn turn(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        CURRENT.set(Some(self.seat.clone()));
        let _ends = TurnEnd;
        let over = self.member.turn(cx);
        self.account.turns = self.account.turns.saturating_add(1);
        self.account.moved += self.member.moved();
        over
    }

    /// The connection that feeds it, if it is to move in with that one and there is room.
    fn follows(&mut self) -> Option<Arc<Seat>> {
        if self.account.calls < CALLS {
            return None;
        }
        let Account { feeder, calls, moved, .. } = std::mem::take(&mut self.account);
        let is_fed = moved.deliveries >= FED * calls as usize && moved.bytes <= SMALL * moved.deliveries;
        let host = if is_fed { feeder.upgrade() } else { None };
        host.filter(|host| host.is_alone())
    }

    /// Whether it has no more to do with this one, of which it is a guest.
    fn is_strange_to(&mut self, host: &Arc<Seat>) -> bool {
        if self.account.turns < VISIT {
            return false;
        }
        let Account { feeder, calls, turns, moved } = std::mem::take(&mut self.account);
        let is_fed =
            moved.deliveries >= STILL_FED * turns as usize && moved.bytes <= 2 * SMALL * moved.deliveries;
        !is_same(&feeder, host) || calls < CALLS || !is_fed
    }
}

impl Task {
    /// A task for a connection that is woken by `seat`.
    pub(super) fn new(member: Box<dyn Member>, seat: Arc<Seat>, token: TaskTrackerToken) -> Self {
        Self::of(Party { member, seat, account: Account::default(), _token: token })
    }

    fn of(party: Party) -> Self {
        Self { own: Some(party), guest: None }
    }

    /// A guest gets a task of its own.
    fn release(guest: Party) {
        guest.seat.set(Place::Alone);
        tokio::spawn(Self::of(guest));
    }

    /// Lets the guest have its turn, and go if it is time.
    fn serve_guest(room: &mut Option<Box<Party>>, host: &Arc<Seat>, cx: &mut Context<'_>) {
        let Some(mut guest) = room.take() else { return };
        if let (Some(feeder), _) = guest.seat.begin_turn(cx.waker()) {
            guest.note_feeder(feeder, true);
        }
        if guest.turn(cx).is_ready() {
            guest.seat.close();
        } else if guest.is_strange_to(host) {
            let peer = guest.member.peer();
            tracing::debug!(peer, "the connection is served by a task of its own again");
            Self::release(*guest);
        } else {
            *room = Some(guest);
            return;
        }
        host.set(Place::Alone);
    }

    /// Moves into the task of the connection behind `host`. Gives the party back if that one has no place.
    fn move_in(party: Party, host: &Arc<Seat>) -> Result<(), Party> {
        {
            let mut state = party.seat.state.lock();
            // Somebody is about to come in here.
            if !matches!(state.place, Place::Alone) {
                drop(state);
                return Err(party);
            }
            state.place = Place::Guest(Arc::downgrade(host));
        }
        host.host(Box::new(party)).map_err(|party| {
            party.seat.set(Place::Alone);
            *party
        })
    }
}

impl Future for Task {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Self { own: place, guest: room } = &mut *self;
        let Some(own) = place else { return Poll::Ready(()) };
        let (feeder, guest) = own.seat.begin_turn(cx.waker());
        // A host goes nowhere, and begins to count when its guest has gone.
        if room.is_some() {
            own.account = Account::default();
        } else if let Some(feeder) = feeder {
            own.note_feeder(feeder, false);
        }
        if let Some(mut guest) = guest {
            let peer = guest.member.peer();
            tracing::debug!(peer, "the connection is served by the task of the one that feeds it");
            *room = Some(guest);
        }
        let over = own.turn(cx).is_ready();
        Self::serve_guest(room, &own.seat, cx);
        if over {
            room.take().into_iter().chain(own.seat.close()).for_each(|guest| Self::release(*guest));
            return Poll::Ready(());
        }
        if room.is_none()
            && let Some(host) = own.follows()
            && let Some(party) = place.take()
        {
            match Self::move_in(party, &host) {
                Ok(()) => return Poll::Ready(()),
                // Whoever woke it as a guest relied on the turn of a host.
                Err(party) => {
                    cx.waker().wake_by_ref();
                    *place = Some(party);
                }
            }
        }
        Poll::Pending
    }
}
