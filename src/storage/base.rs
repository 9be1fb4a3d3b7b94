//! What a start knows before it reads the journal: what the catalogue says.

use std::io;

use crate::storage::catalogue::{Snapshot, StoredQueue, StoredRun};
use crate::storage::image::{Image, RunImage};

/// See the module.
#[derive(Debug, Default)]
pub struct Base {
    /// The state that records are applied to.
    pub image: Image,
    /// The number of the first journal file that is needed; 0 without a catalogue.
    pub oldest: u64,
}

impl Base {
    /// What a catalogue says.
    ///
    /// # Errors
    /// [`InvalidData`](io::ErrorKind::InvalidData) if its definitions are not understood.
    pub fn from_catalogue(snapshot: Snapshot) -> io::Result<Self> {
        let mut image = Image::default();
        for (vhost, records) in &snapshot.definitions {
            if image.define(records).is_none() {
                let text =
                    format!("catalogue: the definitions of vhost {vhost:?} are sound but not understood");
                return Err(io::Error::new(io::ErrorKind::InvalidData, text));
            }
        }
        for StoredQueue { id, marks, runs } in snapshot.queues {
            let runs = runs.into_iter().map(|run| {
                let StoredRun { segment, from, until, bytes, live } = run;
                RunImage { segment, from, until, bytes, live }
            });
            image.put_queue(id, marks, runs.collect());
        }
        image.set_last_queue(snapshot.last_queue);
        Ok(Self { image, oldest: snapshot.oldest })
    }
}
