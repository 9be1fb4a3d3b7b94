//! Reading items of the journal, neighbours by one read.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use super::{CHUNK, Problem, twice};
use crate::queue::Wanted;
use crate::storage::disk::read_exact_at;
use crate::storage::item::{self, RawItem};
use crate::storage::journal::{Journal, Located};

/// Bytes between two wanted items that are rather read along than passed over by another read.
const GAP: u64 = 16 * 1024;

/// An item to be read, and where it is.
struct Waiting<'a> {
    address: u64,
    wanted: &'a Wanted,
    at: Located,
}

/// Reads the items at these addresses, which rise, and hands each to `each` with its address: sound, or `None`.
pub(super) fn read(
    journal: &Journal,
    wanted: &[(u64, Wanted)],
    problems: &mut Vec<Problem>,
    mut each: impl FnMut(&Wanted, u64, Option<RawItem<'_>>),
) {
    let addresses: Vec<u64> = wanted.iter().map(|(address, _)| *address).collect();
    let mut waiting: VecDeque<Waiting<'_>> = VecDeque::new();
    let mut buffer = Vec::new();
    for ((address, wanted), at) in wanted.iter().zip(journal.locate_all(&addresses)) {
        let Some(at) = at else {
            // Its file is gone: the message was moved meanwhile, and the queue knows where.
            each(wanted, *address, None);
            continue;
        };
        if let (Some(first), Some(last)) = (waiting.front(), waiting.back()) {
            let is_same = Arc::ptr_eq(&last.at.file, &at.file);
            let is_near = at.offset <= last.at.offset + last.wanted.stored_len + GAP
                && at.offset + wanted.stored_len <= first.at.offset + CHUNK;
            if !is_same || !is_near {
                read_together(&mut waiting, &mut buffer, problems, &mut each);
            }
        }
        waiting.push_back(Waiting { address: *address, wanted, at });
    }
    read_together(&mut waiting, &mut buffer, problems, &mut each);
}

fn read_together(
    waiting: &mut VecDeque<Waiting<'_>>,
    buffer: &mut Vec<u8>,
    problems: &mut Vec<Problem>,
    each: &mut impl FnMut(&Wanted, u64, Option<RawItem<'_>>),
) {
    let (Some(first), Some(last)) = (waiting.front(), waiting.back()) else { return };
    let (file, begin) = (first.at.file.clone(), first.at.offset);
    let end = (last.at.offset + last.wanted.stored_len).min(last.at.until).max(begin);
    buffer.resize(usize::try_from(end - begin).unwrap_or(0), 0);
    // Whatever is wrong is told of the item that it is wrong with.
    let read = read_exact_at(&*file, buffer, begin);
    for Waiting { address, wanted, at } in waiting.drain(..) {
        let here = usize::try_from(at.offset - begin).ok().filter(|_| read.is_ok());
        let item = here.and_then(|here| RawItem::parse(buffer.get(here..)?, at.seal));
        match item.filter(RawItem::is_sound) {
            Some(item) => each(wanted, address, Some(item)),
            None => {
                let bytes = read_alone(&at, problems);
                each(wanted, address, RawItem::parse(&bytes, at.seal).filter(RawItem::is_sound));
            }
        }
    }
}

/// Reads one item, however long it is; nothing if it is not sound.
fn read_alone(at: &Located, problems: &mut Vec<Problem>) -> Vec<u8> {
    let read = twice(|| {
        let mut header = [0; item::HEADER];
        read_exact_at(&*at.file, &mut header, at.offset)?;
        // The header may be damaged: it is believed only as far as there are bodies.
        let len = item::len(&header).min(at.until.saturating_sub(at.offset));
        let mut bytes = vec![0; usize::try_from(len).map_err(io::Error::other)?];
        read_exact_at(&*at.file, &mut bytes, at.offset)?;
        Ok(bytes)
    });
    let name = at.name.to_string();
    match read {
        Ok(bytes) if RawItem::parse(&bytes, at.seal).is_some_and(|item| item.is_sound()) => return bytes,
        Ok(_) => problems.push(Problem::damaged(name, at.offset)),
        Err(error) => problems.push(Problem::unreadable(name, at.offset, &error)),
    }
    Vec::new()
}
