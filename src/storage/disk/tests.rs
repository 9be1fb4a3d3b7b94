//! The file system, and the loops around short reads and writes.

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::process::Command;

use tempfile::TempDir;

use super::contract::{self, content, put};
use super::*;
use crate::storage::simulated_disk::{Call, FaultKind, SimulatedDisk, When};

fn temporary() -> (TempDir, RealDisk) {
    let directory = tempfile::tempdir().unwrap();
    let disk = RealDisk::open(directory.path()).unwrap();
    (directory, disk)
}

fn mode(path: &Path) -> u32 {
    std::fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn the_contract_holds() {
    let (directory, disk) = temporary();
    contract::holds(&disk, &RealDisk::open(directory.path()).unwrap());
}

#[test]
fn directories_and_files_are_their_owners_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("above/data");
    let disk = RealDisk::open(&path).unwrap();
    disk.open("file", Open::Create).unwrap();
    let _lock = disk.lock().unwrap();
    assert_eq!(mode(&directory.path().join("above")), 0o700);
    assert_eq!(mode(&path), 0o700);
    assert_eq!(mode(&path.join("file")), 0o600);
    assert_eq!(mode(&path.join("lock")), 0o600);
}

#[test]
fn a_directory_that_exists_keeps_its_permissions() {
    let (directory, _disk) = temporary();
    std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o750)).unwrap();
    RealDisk::open(directory.path()).unwrap();
    assert_eq!(mode(directory.path()), 0o750);
}

#[test]
fn a_path_that_is_a_file_is_refused() {
    let (directory, disk) = temporary();
    disk.open("file", Open::Create).unwrap();
    assert!(RealDisk::open(&directory.path().join("file")).is_err());
    assert!(RealDisk::open(&directory.path().join("file/below")).is_err());
}

#[test]
fn a_disk_stays_with_its_directory() {
    let directory = tempfile::tempdir().unwrap();
    let disk = RealDisk::open(&directory.path().join("before")).unwrap();
    std::fs::rename(directory.path().join("before"), directory.path().join("after")).unwrap();
    disk.open("file", Open::Create).unwrap();
    assert!(directory.path().join("after/file").exists());
}

#[test]
fn what_is_no_regular_file_is_not_listed_and_not_opened() {
    let (directory, disk) = temporary();
    let at = |name: &str| directory.path().join(name);
    std::fs::write(at("target"), "untouched").unwrap();
    symlink(at("target"), at("link")).unwrap();
    symlink(at("nowhere"), at("dangling")).unwrap();
    std::fs::create_dir(at("directory")).unwrap();
    let _socket = UnixListener::bind(at("socket")).unwrap();
    assert!(Command::new("mkfifo").arg(at("pipe")).status().unwrap().success());

    assert_eq!(disk.list().unwrap(), ["target"]);
    for name in ["link", "dangling", "directory", "socket", "pipe"] {
        for how in [Open::Read, Open::Write] {
            let error = disk.open(name, how).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{name}: {error}");
            assert!(error.to_string().contains(&at(name).display().to_string()), "{error}");
        }
        assert_eq!(disk.open(name, Open::Create).unwrap_err().kind(), ErrorKind::AlreadyExists, "{name}");
    }
    assert!(!at("nowhere").exists());
}

#[test]
fn a_lock_file_that_is_a_link_is_refused() {
    let (directory, disk) = temporary();
    symlink(directory.path().join("elsewhere"), directory.path().join("lock")).unwrap();
    assert_eq!(disk.lock().err().unwrap().kind(), ErrorKind::InvalidInput);
    assert!(!directory.path().join("elsewhere").exists());
}

#[test]
fn the_lock_names_its_holder() {
    let (directory, disk) = temporary();
    // What a process with a longer pid has left.
    std::fs::write(directory.path().join("lock"), "99999999999\n").unwrap();
    let _lock = disk.lock().unwrap();
    let error = RealDisk::open(directory.path()).unwrap().lock().err().unwrap();
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    let told = error.to_string();
    assert!(told.contains(&format!("pid {})", std::process::id())), "{told}");
    assert!(told.contains(&directory.path().display().to_string()), "{told}");
}

#[cfg(target_os = "linux")]
#[test]
fn the_lock_holds_against_another_process_and_ends_with_it() {
    let (directory, disk) = temporary();
    drop(disk.lock().unwrap());
    // Holds the lock until its input ends.
    let mut holder = Command::new("flock")
        .arg(directory.path().join("lock"))
        .args(["sh", "-c", "echo held; read line"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = [0; 5];
    io::Read::read_exact(holder.stdout.as_mut().unwrap(), &mut said).unwrap();
    assert_eq!(disk.lock().err().unwrap().kind(), ErrorKind::WouldBlock);
    drop(holder.stdin.take());
    holder.wait().unwrap();
    disk.lock().unwrap();
}

#[test]
fn allocated_space_is_reserved() {
    let (directory, disk) = temporary();
    let file = disk.open("file", Open::Create).unwrap();
    file.allocate(1 << 20).unwrap();
    file.sync_data().unwrap();
    let blocks = std::fs::metadata(directory.path().join("file")).unwrap().blocks();
    assert!(blocks * 512 >= 1 << 20, "{blocks}");
}

#[test]
fn short_and_interrupted_calls_are_gone_on_with() {
    let disk = SimulatedDisk::new(0);
    let file = disk.open("file", Open::Create).unwrap();
    for (n, fault) in [(1, FaultKind::Interrupted), (2, FaultKind::Short(3)), (3, FaultKind::Short(1))] {
        disk.fail(When::Nth(Call::Write, n), fault);
        disk.fail(When::Nth(Call::Read, n), fault);
    }
    write_all_at(&*file, &mut [IoSlice::new(b"ab"), IoSlice::new(b"cdefgh")], 0).unwrap();
    assert_eq!(content(&disk, "file"), b"abcdefgh");
}

#[test]
fn a_file_that_takes_no_more_is_an_error() {
    let disk = SimulatedDisk::new(0);
    let file = disk.open("file", Open::Create).unwrap();
    disk.fail(When::Nth(Call::Write, 2), FaultKind::Short(0));
    disk.fail(When::Nth(Call::Write, 1), FaultKind::Short(1));
    let error = write_all_at(&*file, &mut [IoSlice::new(b"abc")], 0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WriteZero);
    disk.fail(When::Every(Call::Write), FaultKind::Io);
    assert!(write_all_at(&*file, &mut [IoSlice::new(b"abc")], 0).is_err());
    disk.clear_faults();
    put(&*file, b"abc", 0);
}

#[test]
fn a_directory_to_be_filled_is_empty_and_elsewhere() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let data = path("data");
    let open = |name: &str| RealDisk::open_empty(&path(name), &data);
    assert_eq!(open("copy").unwrap_err().kind(), ErrorKind::NotFound, "there is no other yet");
    RealDisk::open(&data).unwrap();
    open("a/b").unwrap();
    open("a/b").unwrap();
    assert_eq!(mode(&path("a/b")), 0o700);
    assert_eq!(open("a").unwrap_err().kind(), ErrorKind::DirectoryNotEmpty);
    symlink("a", path("link")).unwrap();
    assert_eq!(open("link").unwrap_err().kind(), ErrorKind::DirectoryNotEmpty);
    symlink("data", path("way")).unwrap();
    for name in ["data", "data/x", "data/x/y", "a/../data/x", "way/x", "missing/../data/x"] {
        assert_eq!(open(name).unwrap_err().kind(), ErrorKind::InvalidInput, "{name}");
    }
    assert_eq!(std::fs::read_dir(&data).unwrap().count(), 0);
    open("data-copy").unwrap();
    assert!(RealDisk::open_as_is(&data).is_ok());
    assert_eq!(RealDisk::open_as_is(&path("none")).unwrap_err().kind(), ErrorKind::NotFound);
    assert!(!path("none").exists());
}
