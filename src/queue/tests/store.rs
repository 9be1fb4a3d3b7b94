//! A journal and segments as a queue's tests need them: what was stored where, and whether it can be read.

use std::collections::BTreeMap;

use roaring::RoaringTreemap;

use super::*;
use crate::ids::{Location, Place};

#[derive(Default)]
pub(super) struct Store {
    items: BTreeMap<Place, (Position, Message)>,
    /// The body address that the next message gets.
    next_address: u64,
    pub(super) next_segment: u64,
    /// Places that cannot be read.
    pub(super) damaged: Vec<Place>,
}

impl Store {
    /// Stores a message in the journal.
    pub(super) fn append(&mut self, position: Position, message: &Message) -> u64 {
        self.next_address = self.next_address.max(1);
        let address = self.next_address;
        self.next_address += message.stored_len();
        self.items.insert(Place::journal(address), (position, message.clone()));
        address
    }

    /// Everything stored so far is below this address.
    pub(super) fn end(&self) -> u64 {
        self.next_address.max(1)
    }

    /// The message that lies in the journal at `address`.
    pub(super) fn at(&self, address: u64) -> Message {
        self.items[&Place::journal(address)].1.clone()
    }

    /// Writes messages as a run of a new segment.
    pub(super) fn segment(
        &mut self,
        messages: &[(Position, Message)],
        transient: bool,
    ) -> (Run, Vec<(Position, u64)>) {
        self.next_segment += 1;
        let segment = self.next_segment;
        let mut at = 4096;
        let mut items = Vec::new();
        for (position, message) in messages {
            self.items.insert(Place::segment(segment, at).unwrap(), (*position, message.clone()));
            items.push((*position, at));
            at += message.stored_len();
        }
        (Run { segment, from: 4096, until: at, bytes: 0, live: RoaringTreemap::new(), transient }, items)
    }

    /// From now on the message at `position` cannot be read at `place`, or wherever it was stored last.
    pub(super) fn damage(&mut self, position: Position, place: Option<Place>) {
        let mut last = self.items.iter().rev().filter(|(_, (stored, _))| *stored == position);
        self.damaged.extend(place.or_else(|| last.next().map(|(place, _)| *place)));
    }

    pub(super) fn is_damaged(&self, position: Position) -> bool {
        self.damaged.iter().any(|place| self.items.get(place).is_some_and(|(stored, _)| *stored == position))
    }

    fn read(&self, place: Place) -> Option<Message> {
        if self.damaged.contains(&place) {
            return None;
        }
        self.items.get(&place).map(|(_, message)| message.clone())
    }

    /// Reads what was planned, and gives it to the queue. Returns how many messages were damaged.
    pub(super) fn carry_out(&self, load: Load, queue: &mut Queue<TestLink>) -> u64 {
        match load {
            Load::Places(wanted) => {
                let found = wanted.into_iter().map(|Wanted { position, place, stored_len }| {
                    let message = self.read(place);
                    assert!(message.as_ref().is_none_or(|message| message.stored_len() == stored_len));
                    Found { position, place, message }
                });
                queue.loaded(found.collect())
            }
            Load::Run(unread, bytes) => self.carry_out_run(&unread, bytes, queue),
        }
    }

    fn carry_out_run(&self, unread: &Unread, bytes: u64, queue: &mut Queue<TestLink>) -> u64 {
        let place = |offset| Place::segment(unread.segment, offset).unwrap();
        let (mut found, mut read, mut next, mut gaps) = (Vec::new(), 0, unread.until, false);
        for (&place, (position, _)) in self.items.range(place(unread.from)..place(unread.until)) {
            let Location::Segment { offset, .. } = place.location() else { unreachable!() };
            if read >= bytes {
                next = offset;
                break;
            }
            // Every third that is damaged cannot even be told.
            let message = self.read(place);
            if message.is_none() && position.0 % 3 == 0 {
                gaps = true;
            } else if unread.live.contains(position.0) {
                // Only what is found counts, so that nothing that cannot be told comes last.
                read += message.as_ref().map_or(0, memory_of);
                found.push(Found { position: *position, place, message });
            }
        }
        queue.loaded_run(unread, next, found, gaps)
    }
}
