//! Which journal files are needed, on disk: the file `catalogue`.
//!
//! Eight bytes with the number of the first needed file, and four with their checksum.

use std::io::{self, ErrorKind, IoSlice};

use crate::storage::disk::{Disk, Open, read_exact_at, write_all_at};

const NAME: &str = "catalogue";
const NEW_NAME: &str = "catalogue.new";

/// The number of the first needed file; 0 if that was never written.
///
/// # Errors
/// If the disk fails, or the file is damaged.
pub(super) fn read(disk: &dyn Disk) -> io::Result<u64> {
    let file = match disk.open(NAME, Open::Read) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(0),
        file => file?,
    };
    let (mut number, mut checksum) = ([0; 8], [0; 4]);
    read_exact_at(&*file, &mut number, 0)?;
    read_exact_at(&*file, &mut checksum, 8)?;
    if crc32fast::hash(&number) != u32::from_le_bytes(checksum) {
        return Err(io::Error::new(ErrorKind::InvalidData, format!("{NAME} at offset 0: it is damaged")));
    }
    Ok(u64::from_le_bytes(number))
}

/// Makes it durable that files before `oldest` are not needed.
///
/// # Errors
/// If the disk fails or is full; then what was there before may count.
pub(super) fn write(disk: &dyn Disk, oldest: u64) -> io::Result<()> {
    let number = oldest.to_le_bytes();
    let checksum = crc32fast::hash(&number).to_le_bytes();
    let file = match disk.open(NEW_NAME, Open::Create) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => disk.open(NEW_NAME, Open::Write)?,
        file => file?,
    };
    write_all_at(&*file, &mut [IoSlice::new(&number), IoSlice::new(&checksum)], 0)?;
    file.sync_all()?;
    disk.rename(NEW_NAME, NAME)?;
    disk.sync_dir()
}
