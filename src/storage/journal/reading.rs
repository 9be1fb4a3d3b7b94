//! Reading messages of the journal again.

use std::io;
use std::sync::atomic::Ordering;

use super::Journal;
use crate::message::Message;
use crate::storage::disk::read_exact_at;
use crate::storage::files::{Finder, Located};
use crate::storage::item;

impl Journal {
    /// Messages at lower body addresses are written, and can be [read](Self::read) unless they were retired.
    #[must_use]
    pub fn written_address(&self) -> u64 {
        self.shared.written_address.load(Ordering::Acquire)
    }

    /// Where the message at a body address lies; `None` if it is not written yet or was retired. As long as what this
    /// returns is held, the file is not written over.
    #[must_use]
    pub fn locate(&self, address: u64) -> Option<Located> {
        Finder::new(&self.shared.inner.lock().files).find(address)
    }

    /// As [`locate`](Self::locate) for many addresses; fast if they rise.
    #[must_use]
    pub fn locate_all(&self, addresses: &[u64]) -> Vec<Option<Located>> {
        let inner = self.shared.inner.lock();
        let mut finder = Finder::new(&inner.files);
        addresses.iter().map(|address| finder.find(*address)).collect()
    }

    /// Reads the message at a body address, of which `stored_len` bytes are stored. For threads that may block. `None`
    /// if it is damaged, not written yet, or retired.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn read(&self, address: u64, stored_len: u64) -> io::Result<Option<Message>> {
        let Some(Located { file, offset, seal, until, .. }) = self.locate(address) else { return Ok(None) };
        if stored_len > until.saturating_sub(offset) {
            return Ok(None);
        }
        let mut bytes = vec![0; usize::try_from(stored_len).map_err(io::Error::other)?];
        match read_exact_at(&*file, &mut bytes, offset) {
            // The file was cut.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            read => read?,
        }
        let found = item::parse(&bytes, seal).filter(|(_, len)| *len == bytes.len());
        Ok(found.map(|(message, _)| {
            message.set_stored_at(address);
            message
        }))
    }
}
