//! A queue as the source of dead letters: they leave it in slices, and one who moves them at a time.

use super::{QueueCell, State};
use crate::broker::outlet::OutletLink;
use crate::ids::Position;
use crate::message::Message;
use crate::queue::DeadMessage;
use crate::queue::rules::{DeadLetters, Overflow, Rules};
use crate::storage::journal::Append;

/// Messages that are moved in one step.
const SLICE: usize = 256;

/// About how many bytes of them.
const SLICE_BYTES: u64 = 4 * 1024 * 1024;

/// How long dead letters wait that nobody took, in milliseconds, where they have to be taken. As in RabbitMQ.
const TRY_AGAIN: u64 = 180_000;

/// What a queue knows of the dead letters that leave it.
#[derive(Debug, Default)]
pub(super) struct LettersState {
    /// Messages that were refused, and never in the queue.
    refused: Vec<Message>,
    /// The agenda has the queue among those with letters.
    listed: bool,
    /// Somebody is moving some.
    moving: bool,
    /// Nobody took some of them: when to try again.
    try_again_at: Option<u64>,
    /// The log has said that letters go round.
    told_of_cycle: bool,
}

impl LettersState {
    /// The queue has refused a message, which is a dead letter if `rules` say so.
    pub(super) fn refuse(&mut self, rules: &Rules, message: &Message) {
        if rules.overflow == Overflow::RejectPublishDlx && rules.dead_letters.is_some() {
            self.refused.push(message.clone());
        }
    }
}

/// Dead letters on their way.
#[derive(Debug)]
pub(in crate::broker) struct Letters {
    /// Where they go; nowhere, if the queue has no dead-letter exchange any more.
    pub(in crate::broker) rules: Option<DeadLetters>,
    /// Those that are in the queue.
    pub(in crate::broker) dead: Vec<DeadMessage>,
    /// Those that never were.
    pub(in crate::broker) refused: Vec<Message>,
}

impl QueueCell {
    /// Tells the agenda of dead letters in a queue that is locked.
    pub(super) fn list_letters(&self, state: &mut State) {
        if state.letters.listed || state.letters.moving {
            return;
        }
        self.try_stuck_again(state);
        let State { queue, letters, .. } = state;
        if queue.has_dead() || !letters.refused.is_empty() {
            letters.listed = true;
            self.agenda.add_letters(&self.me);
        }
    }

    /// What nobody took is to be moved again, if its time has come.
    fn try_stuck_again(&self, state: &mut State) {
        if state.letters.try_again_at.is_some_and(|at| at <= self.agenda.now()) {
            state.letters.try_again_at = None;
            state.queue.try_stuck_again();
        }
    }

    /// The next dead letters to move, if there are any and nobody else does. [`end_move`](Self::end_move) is due then.
    pub(in crate::broker) fn begin_move(&self) -> Option<Letters> {
        let mut state = self.state.lock();
        state.letters.listed = false;
        if state.gone || state.letters.moving {
            return None;
        }
        self.try_stuck_again(&mut state);
        let refused = std::mem::take(&mut state.letters.refused);
        let dead = state.queue.first_dead(SLICE, SLICE_BYTES);
        if dead.is_empty() && refused.is_empty() {
            // They have to be read first; then they are listed again.
            self.load(&mut state);
            return None;
        }
        state.letters.moving = true;
        Some(Letters { rules: state.queue.rules().dead_letters.clone(), dead, refused })
    }

    /// The message at `position` of a queue that is locked has gone where it belongs.
    pub(in crate::broker) fn bury(&self, state: &mut State, position: Position, batch: &mut Append<'_>) {
        if state.queue.bury(position) {
            state.changed = true;
            batch.removed(self.id, position);
        }
    }

    /// Nobody took the message at `position` of a queue that is locked. It stays for a while, and others go on.
    pub(in crate::broker) fn set_aside(&self, state: &mut State, position: Position) {
        state.queue.set_aside(position);
        // Later ones do not put off those that wait.
        if state.letters.try_again_at.is_none() {
            let at = self.agenda.now().saturating_add(TRY_AGAIN);
            state.letters.try_again_at = Some(at);
            self.agenda.arm(at, &self.me);
        }
    }

    /// The end of a move, in a queue that is locked.
    pub(in crate::broker) fn end_move(&self, state: &mut State) {
        state.letters.moving = false;
        self.list_letters(state);
    }

    /// Whether a queue that is locked has room for a message, once who waits for messages has them.
    pub(in crate::broker) fn has_room(
        &self,
        state: &mut State,
        message: &Message,
        wakes: &mut Vec<OutletLink>,
    ) -> bool {
        if state.queue.refuses(message.body_len()) {
            state.queue.deliver(message.published_at(), wakes);
        }
        !state.queue.refuses(message.body_len())
    }

    /// Whether a queue that is locked has no room for all of these messages together.
    pub(in crate::broker) fn refuses_all(&self, state: &State, messages: &[Message]) -> bool {
        if state.gone || messages.is_empty() || !state.queue.rules().refuses() {
            return false;
        }
        let bytes = messages.iter().map(Message::body_len).sum();
        state.queue.refuses_more(messages.len() as u64, bytes)
    }

    /// Appends a dead letter to a queue that is locked, if that has room for it. One that was refused may be a dead
    /// letter again.
    pub(in crate::broker) fn take_letter(
        &self,
        state: &mut State,
        letter: &Message,
        batch: &mut Append<'_>,
        wakes: &mut Vec<OutletLink>,
    ) {
        if !self.refuse(state, letter, wakes) {
            self.enqueue_one(state, letter.clone(), batch);
        }
    }

    /// Whether a letter was dropped for going round for the first time.
    pub(in crate::broker) fn is_first_cycle(&self) -> bool {
        !std::mem::replace(&mut self.state.lock().letters.told_of_cycle, true)
    }
}
