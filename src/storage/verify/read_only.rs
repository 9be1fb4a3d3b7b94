//! A disk that is looked at and not changed.

use std::io::{self, ErrorKind};
use std::sync::Arc;

use crate::storage::disk::{Disk, DiskFile, Open, Space};

/// Opens files for reading only, and refuses whatever would change something.
#[derive(Debug)]
pub(super) struct ReadOnly<'a>(pub(super) &'a dyn Disk);

fn refused<T>() -> io::Result<T> {
    Err(ErrorKind::PermissionDenied.into())
}

impl Disk for ReadOnly<'_> {
    fn list(&self) -> io::Result<Vec<String>> {
        self.0.list()
    }

    fn open(&self, name: &str, how: Open) -> io::Result<Arc<dyn DiskFile>> {
        match how {
            Open::Read | Open::Write => self.0.open(name, Open::Read),
            Open::Create => refused(),
        }
    }

    fn rename(&self, _: &str, _: &str) -> io::Result<()> {
        refused()
    }

    fn remove(&self, _: &str) -> io::Result<()> {
        refused()
    }

    fn sync_dir(&self) -> io::Result<()> {
        refused()
    }

    fn space(&self) -> io::Result<Space> {
        self.0.space()
    }

    fn lock(&self) -> io::Result<Box<dyn Send>> {
        refused()
    }
}
