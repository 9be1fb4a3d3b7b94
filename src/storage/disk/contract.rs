//! What every [`Disk`] does, whichever it is.

use std::io::{ErrorKind, IoSlice, Result};

use super::{Disk, DiskFile, Open, read_exact_at, write_all_at};

/// Runs the contract on an empty disk; `again` is the same one, opened a second time.
pub(crate) fn holds(disk: &dyn Disk, again: &dyn Disk) {
    files_are_made_opened_and_listed(disk);
    bytes_go_where_they_are_written(disk);
    lengths_change_and_show_zeros(disk);
    names_move_and_go(disk);
    what_is_no_file_name_is_refused(disk);
    one_holds_the_lock(disk, again);
    let space = disk.space().unwrap();
    assert!(space.free > 1 << 20 && space.total >= space.free, "{space:?}");
    disk.sync_dir().unwrap();
}

/// All of a file.
pub(crate) fn content(disk: &dyn Disk, name: &str) -> Vec<u8> {
    let file = disk.open(name, Open::Read).unwrap();
    let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
    read_exact_at(&*file, &mut bytes, 0).unwrap();
    bytes
}

/// Writes in one piece.
pub(crate) fn put(file: &dyn DiskFile, bytes: &[u8], at: u64) {
    write_all_at(file, &mut [IoSlice::new(bytes)], at).unwrap();
}

fn kind<T>(result: Result<T>) -> ErrorKind {
    result.err().expect("an error").kind()
}

fn files_are_made_opened_and_listed(disk: &dyn Disk) {
    assert_eq!(disk.list().unwrap(), [""; 0]);
    for how in [Open::Read, Open::Write] {
        assert_eq!(kind(disk.open("a", how)), ErrorKind::NotFound);
    }
    let b = disk.open("b", Open::Create).unwrap();
    assert!(b.is_empty().unwrap());
    put(&*b, b"kept", 0);
    assert_eq!(kind(disk.open("b", Open::Create)), ErrorKind::AlreadyExists);
    disk.open("a", Open::Create).unwrap();
    assert_eq!(disk.list().unwrap(), ["a", "b"]);

    let reader = disk.open("b", Open::Read).unwrap();
    assert!(reader.write_at(&[IoSlice::new(b"x")], 0).is_err());
    assert!(reader.set_len(0).is_err());
    assert!(reader.allocate(100).is_err());
    put(&*disk.open("b", Open::Write).unwrap(), b"K", 0);
    assert_eq!(content(disk, "b"), b"Kept");
    disk.remove("a").unwrap();
    disk.remove("b").unwrap();
}

fn bytes_go_where_they_are_written(disk: &dyn Disk) {
    let file = disk.open("bytes", Open::Create).unwrap();
    let mut slices = [b"".as_slice(), b"one", b"", b"two"].map(IoSlice::new);
    write_all_at(&*file, &mut slices, 2).unwrap();
    assert_eq!(content(disk, "bytes"), b"\0\0onetwo");
    write_all_at(&*file, &mut [IoSlice::new(b"")], 100).unwrap();
    write_all_at(&*file, &mut [], 100).unwrap();
    assert_eq!(file.len().unwrap(), 8);
    put(&*file, b"##", 4);
    put(&*file, b"!", 9);
    assert_eq!(content(disk, "bytes"), b"\0\0on##wo\0!");

    // More slices than a system takes at once.
    let bytes: Vec<u8> = (0..5000_u32).map(|i| i as u8).collect();
    let mut slices: Vec<IoSlice<'_>> = bytes.chunks(1).map(IoSlice::new).collect();
    write_all_at(&*file, &mut slices, 0).unwrap();
    assert_eq!(content(disk, "bytes"), bytes);

    let mut buffer = [0; 10];
    assert_eq!(file.read_at(&mut buffer, 4995).unwrap(), 5);
    assert_eq!(file.read_at(&mut buffer, 5000).unwrap(), 0);
    assert_eq!(file.read_at(&mut buffer, 1 << 40).unwrap(), 0);
    assert_eq!(kind(read_exact_at(&*file, &mut buffer, 4995)), ErrorKind::UnexpectedEof);
    assert!(file.write_at(&[IoSlice::new(b"x")], u64::MAX).is_err());
    assert_eq!(file.len().unwrap(), 5000);
    file.sync_data().unwrap();
    file.sync_all().unwrap();
    disk.remove("bytes").unwrap();
}

fn lengths_change_and_show_zeros(disk: &dyn Disk) {
    let file = disk.open("length", Open::Create).unwrap();
    put(&*file, b"abcdef", 0);
    file.set_len(2).unwrap();
    file.set_len(4).unwrap();
    assert_eq!(content(disk, "length"), b"ab\0\0");
    file.allocate(200_000).unwrap();
    let bytes = content(disk, "length");
    assert_eq!((bytes.len(), &bytes[..2]), (200_000, b"ab".as_slice()));
    assert!(bytes[2..].iter().all(|byte| *byte == 0));
    file.allocate(10).unwrap();
    assert_eq!(file.len().unwrap(), 200_000);
    disk.remove("length").unwrap();
}

fn names_move_and_go(disk: &dyn Disk) {
    let old = disk.open("old", Open::Create).unwrap();
    put(&*old, b"old", 0);
    let new = disk.open("new", Open::Create).unwrap();
    put(&*new, b"new", 0);
    disk.rename("new", "old").unwrap();
    assert_eq!(disk.list().unwrap(), ["old"]);
    assert_eq!(content(disk, "old"), b"new");
    disk.rename("old", "old").unwrap();

    // Both are still what they were to those who have them open.
    let mut buffer = [0; 3];
    read_exact_at(&*old, &mut buffer, 0).unwrap();
    assert_eq!(&buffer, b"old");
    put(&*new, b"NEW", 0);
    assert_eq!(content(disk, "old"), b"NEW");

    disk.remove("old").unwrap();
    assert_eq!(disk.list().unwrap(), [""; 0]);
    read_exact_at(&*new, &mut buffer, 0).unwrap();
    assert_eq!(&buffer, b"NEW");
    assert_eq!(kind(disk.remove("old")), ErrorKind::NotFound);
    assert_eq!(kind(disk.rename("old", "new")), ErrorKind::NotFound);
}

fn what_is_no_file_name_is_refused(disk: &dyn Disk) {
    disk.open("fine", Open::Create).unwrap();
    for name in ["", ".", "..", "a/b", "/a", "../a", "a\0b", "lock"] {
        for how in [Open::Read, Open::Write, Open::Create] {
            assert_eq!(kind(disk.open(name, how)), ErrorKind::InvalidInput, "{name:?}");
        }
        assert_eq!(kind(disk.remove(name)), ErrorKind::InvalidInput, "{name:?}");
        assert_eq!(kind(disk.rename("fine", name)), ErrorKind::InvalidInput, "{name:?}");
        assert_eq!(kind(disk.rename(name, "fine")), ErrorKind::InvalidInput, "{name:?}");
    }
    disk.remove("fine").unwrap();
}

fn one_holds_the_lock(disk: &dyn Disk, again: &dyn Disk) {
    let lock = disk.lock().unwrap();
    assert_eq!(kind(again.lock()), ErrorKind::WouldBlock);
    assert_eq!(kind(disk.lock()), ErrorKind::WouldBlock);
    assert_eq!(disk.list().unwrap(), [""; 0]);
    drop(lock);
    drop(again.lock().unwrap());
    drop(disk.lock().unwrap());
}
