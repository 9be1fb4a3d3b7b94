//! Walking over the header blocks of a journal file, from group to group.

use std::io;

use crate::storage::disk::{DiskFile, read_exact_at};
use crate::storage::file::FILE_HEADER;
use crate::storage::group::{ALIGNMENT, FIXED, GroupHeader, MAGIC, align};
use crate::storage::writer::Tail;

/// How much is read at once where groups are small, or all is looked at.
const CHUNK: usize = 64 * 1024;

/// How much is read at once where bodies were passed over: little more than a header block.
const BLOCK: usize = 16 * 1024;

/// A part of a file in memory.
struct Window<'a> {
    file: &'a dyn DiskFile,
    len: u64,
    at: u64,
    bytes: Vec<u8>,
}

impl<'a> Window<'a> {
    fn new(file: &'a dyn DiskFile, len: u64) -> Self {
        Self { file, len, at: 0, bytes: Vec::new() }
    }

    /// The `count` bytes at `at`; `None` if the file ends before.
    fn get(&mut self, at: u64, count: usize) -> io::Result<Option<&[u8]>> {
        if at.checked_add(count as u64).is_none_or(|end| end > self.len) {
            return Ok(None);
        }
        let is_here = at >= self.at && at + count as u64 <= self.at + self.bytes.len() as u64;
        if !is_here {
            let rest = usize::try_from(self.len - at).unwrap_or(usize::MAX);
            let is_next = at <= self.at + self.bytes.len() as u64;
            self.bytes.resize(rest.min(count.max(if is_next { CHUNK } else { BLOCK })), 0);
            self.at = at;
            if let Err(error) = read_exact_at(self.file, &mut self.bytes, at) {
                self.bytes.clear();
                return Err(error);
            }
        }
        let from = usize::try_from(at - self.at).unwrap_or(usize::MAX);
        Ok(self.bytes.get(from..from.saturating_add(count)))
    }

    /// The group at `at`, if there is one with a sound header block; perhaps of an earlier life of the file.
    fn group(&mut self, at: u64) -> io::Result<Option<(GroupHeader, u32, &[u8])>> {
        let Some((header, checksum)) = self.get(at, FIXED)?.and_then(parse_fixed) else { return Ok(None) };
        if at.checked_add(header.len()).is_none_or(|end| end > self.len) {
            return Ok(None);
        }
        let Some(block) = self.get(at, FIXED + header.records_len as usize)? else { return Ok(None) };
        let Some((fixed, records)) = block.split_first_chunk::<FIXED>() else { return Ok(None) };
        Ok(GroupHeader::is_sound(fixed, records, checksum).then_some((header, checksum, records)))
    }
}

fn parse_fixed(bytes: &[u8]) -> Option<(GroupHeader, u32)> {
    GroupHeader::parse(bytes.first_chunk::<FIXED>()?)
}

/// A sound group that continues the one before.
pub(super) struct Group<'a> {
    /// Its offset.
    pub(super) at: u64,
    pub(super) header: GroupHeader,
    pub(super) records: &'a [u8],
    /// The body address of its first item.
    pub(super) address: u64,
}

impl Group<'_> {
    /// The offset of its body block.
    pub(super) fn bodies_at(&self) -> u64 {
        self.at + FIXED as u64 + u64::from(self.header.records_len)
    }
}

/// Goes from group to group, as long as one continues the other.
pub(super) struct Chain<'a> {
    window: Window<'a>,
    number: u64,
    /// Where the next group would be.
    pub(super) at: u64,
    /// What it would continue.
    pub(super) tail: Tail,
}

impl<'a> Chain<'a> {
    /// Begins behind the header of the file with this number, which continues `tail`.
    pub(super) fn new(file: &'a dyn DiskFile, len: u64, number: u64, tail: Tail) -> Self {
        Self { window: Window::new(file, len), number, at: FILE_HEADER, tail }
    }

    /// The next group.
    pub(super) fn next(&mut self) -> io::Result<Option<Group<'_>>> {
        let Some((header, checksum, records)) = self.window.group(self.at)? else { return Ok(None) };
        let Tail { end, address, sequence, chain } = self.tail;
        let continues = header.epoch == self.number
            && header.sequence == sequence
            && header.base == end
            && header.chain == chain;
        if !continues {
            return Ok(None);
        }
        let group = Group { at: self.at, header, records, address };
        self.at = align(self.at + header.len());
        self.tail = Tail {
            end: end.saturating_add(u64::from(header.records)),
            address: address.saturating_add(header.bodies_len),
            sequence: sequence.saturating_add(1),
            chain: checksum,
        };
        Ok(Some(group))
    }
}

/// The records of the sound group at `at`.
pub(super) fn records_at(
    file: &dyn DiskFile,
    len: u64,
    at: u64,
) -> io::Result<Option<(GroupHeader, Vec<u8>)>> {
    let mut window = Window::new(file, len);
    Ok(window.group(at)?.map(|(header, _, records)| (header, records.to_vec())))
}

/// Calls `each` with all groups that have sound header blocks from `from` on, wherever they begin, and with where.
pub(super) fn find_groups(
    file: &dyn DiskFile,
    len: u64,
    from: u64,
    mut each: impl FnMut(u64, &GroupHeader),
) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK];
    let mut window = Window::new(file, len);
    let mut at = from;
    while at < len {
        let filled = usize::try_from(len - at).unwrap_or(CHUNK).min(CHUNK);
        read_exact_at(file, &mut chunk[..filled], at)?;
        for (start, piece) in
            (at..).step_by(ALIGNMENT as usize).zip(chunk[..filled].chunks(ALIGNMENT as usize))
        {
            if piece.starts_with(&MAGIC)
                && let Some((header, _, _)) = window.group(start)?
            {
                each(start, &header);
            }
        }
        at += filled as u64;
    }
    Ok(())
}
