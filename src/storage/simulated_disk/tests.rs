//! What each crash and each fault means, by small examples.

use std::io::IoSlice;

use proptest::prelude::*;

use super::*;
use crate::storage::disk::contract::{self, content, put};
use crate::storage::disk::{read_exact_at, write_all_at};

/// A disk with one durable file "file".
fn disk_with(bytes: &[u8]) -> (SimulatedDisk, Arc<dyn DiskFile>) {
    let disk = SimulatedDisk::new(7);
    let file = disk.open("file", Open::Create).unwrap();
    put(&*file, bytes, 0);
    file.sync_data().unwrap();
    disk.sync_dir().unwrap();
    (disk, file)
}

/// The file "file" after a crash.
fn found(disk: &SimulatedDisk, how: Crash) -> Vec<u8> {
    content(&disk.after_crash(how), "file")
}

fn names(disk: &SimulatedDisk, how: Crash) -> Vec<String> {
    disk.after_crash(how).list().unwrap()
}

#[test]
fn the_contract_holds() {
    let disk = SimulatedDisk::new(0);
    contract::holds(&disk, &disk.clone());
}

#[test]
fn what_was_synced_stays_in_every_crash() {
    let (disk, _file) = disk_with(b"synced");
    for how in Crash::EACH.into_iter().chain([Crash::TearLast { bytes: 0 }]) {
        assert_eq!(found(&disk, how), b"synced", "{how:?}");
    }
}

#[test]
fn an_unsynced_write_is_lost_or_kept() {
    let (disk, file) = disk_with(b"old");
    put(&*file, b"newer", 0);
    assert_eq!(found(&disk, Crash::DropUnsynced), b"old");
    assert_eq!(found(&disk, Crash::KeepNames), b"old");
    assert_eq!(found(&disk, Crash::KeepAll), b"newer");
    assert_eq!(found(&disk, Crash::KeepContents), b"newer");
    assert_eq!(found(&disk, Crash::KeepLengths), b"old\0\0");
    file.sync_data().unwrap();
    assert_eq!(found(&disk, Crash::DropUnsynced), b"newer");
}

#[test]
fn a_sync_is_for_its_own_file_only() {
    let (disk, file) = disk_with(b"old");
    let other = disk.open("other", Open::Create).unwrap();
    disk.sync_dir().unwrap();
    put(&*file, b"new", 0);
    put(&*other, b"new", 0);
    other.sync_data().unwrap();
    assert_eq!(found(&disk, Crash::DropUnsynced), b"old");
    assert_eq!(content(&disk.after_crash(Crash::DropUnsynced), "other"), b"new");
}

#[test]
fn a_killed_process_leaves_what_it_wrote_unsynced() {
    let (disk, file) = disk_with(b"old");
    put(&*file, b"new", 0);
    disk.open("name", Open::Create).unwrap();
    let next = disk.after_crash(Crash::KeepAll);
    assert_eq!(next.list().unwrap(), ["file", "name"]);
    assert_eq!(found(&next, Crash::DropUnsynced), b"old");
    assert_eq!(names(&next, Crash::DropUnsynced), ["file"]);

    next.open("file", Open::Write).unwrap().sync_data().unwrap();
    next.sync_dir().unwrap();
    assert_eq!(found(&next, Crash::DropUnsynced), b"new");
    assert_eq!(names(&next, Crash::DropUnsynced), ["file", "name"]);
}

#[test]
fn a_created_file_is_lost_without_its_name_however_synced() {
    let disk = SimulatedDisk::new(0);
    let file = disk.open("file", Open::Create).unwrap();
    put(&*file, b"synced", 0);
    file.sync_all().unwrap();
    assert_eq!(names(&disk, Crash::DropUnsynced), [""; 0]);
    assert_eq!(names(&disk, Crash::KeepContents), [""; 0]);
    assert_eq!(found(&disk, Crash::KeepNames), b"synced");
    disk.sync_dir().unwrap();
    assert_eq!(found(&disk, Crash::DropUnsynced), b"synced");
}

#[test]
fn a_rename_may_come_before_what_was_renamed() {
    let (disk, _old) = disk_with(b"old");
    let new = disk.open("file.tmp", Open::Create).unwrap();
    put(&*new, b"new", 0);
    disk.rename("file.tmp", "file").unwrap();
    assert_eq!(found(&disk, Crash::KeepNames), b"");
    assert_eq!(found(&disk, Crash::KeepLengths), b"\0\0\0");
    assert_eq!(found(&disk, Crash::DropUnsynced), b"old");
    new.sync_data().unwrap();
    for how in Crash::EACH {
        assert!(matches!(&found(&disk, how)[..], b"old" | b"new"), "{how:?}");
    }
    disk.sync_dir().unwrap();
    for how in Crash::EACH {
        assert_eq!(found(&disk, how), b"new", "{how:?}");
        assert_eq!(names(&disk, how), ["file"], "{how:?}");
    }
}

#[test]
fn a_remove_may_be_undone() {
    let (disk, file) = disk_with(b"old");
    disk.remove("file").unwrap();
    drop(file);
    assert_eq!(found(&disk, Crash::DropUnsynced), b"old");
    assert_eq!(names(&disk, Crash::KeepNames), [""; 0]);
    disk.sync_dir().unwrap();
    assert_eq!(names(&disk, Crash::DropUnsynced), [""; 0]);
}

#[test]
fn a_name_used_again_leads_to_one_file_or_the_other() {
    let (disk, _first) = disk_with(b"first");
    disk.remove("file").unwrap();
    let second = disk.open("file", Open::Create).unwrap();
    put(&*second, b"second", 0);
    second.sync_data().unwrap();
    assert_eq!(found(&disk, Crash::DropUnsynced), b"first");
    assert_eq!(found(&disk, Crash::KeepNames), b"second");
    let mut seen = BTreeMap::new();
    for _ in 0..100 {
        let next = disk.after_crash(Crash::RandomSubset);
        *seen.entry(next.snapshot().remove("file")).or_insert(0) += 1;
    }
    assert_eq!(seen.len(), 3, "first, second, none: {seen:?}");
}

#[test]
fn the_last_write_tears_at_each_byte() {
    let (disk, file) = disk_with(b"0123");
    put(&*file, b"whole", 4);
    put(&*file, b"TORN", 2);
    put(&*file, b"tearing", 9);
    assert_eq!(disk.last_unsynced_write(), 7);
    for bytes in 0..=8 {
        let expected = [b"01TORNole".as_slice(), &b"tearing"[..bytes.min(7)]].concat();
        assert_eq!(found(&disk, Crash::TearLast { bytes }), expected);
    }
    file.sync_data().unwrap();
    assert_eq!(disk.last_unsynced_write(), 0);
    assert_eq!(found(&disk, Crash::TearLast { bytes: 0 }), b"01TORNoletearing");
}

#[test]
fn a_prefix_is_in_the_order_of_the_calls() {
    let (disk, file) = disk_with(b"....");
    let mut expected = vec![(b"....".to_vec(), false)];
    put(&*file, b"1", 0);
    expected.push((b"1...".to_vec(), false));
    put(&*file, b"2", 1);
    expected.push((b"12..".to_vec(), false));
    disk.open("name", Open::Create).unwrap();
    expected.push((b"12..".to_vec(), true));
    file.set_len(2).unwrap();
    expected.push((b"12".to_vec(), true));
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..200 {
        let mut next = disk.after_crash(Crash::KeepPrefix).snapshot();
        let state = (next.remove("file").unwrap(), next.contains_key("name"));
        seen.insert(expected.iter().position(|expected| *expected == state).unwrap());
    }
    assert_eq!(seen.len(), expected.len());
}

#[test]
fn sectors_arrive_alone_and_with_all_that_came_before() {
    let (disk, file) = disk_with(&[b'.'; 1536]);
    put(&*file, &[b'a'; 1536], 0);
    put(&*file, &[b'b'; 100], 1000);
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..500 {
        let bytes = found(&disk, Crash::RandomSubset);
        let versions: Vec<&[u8]> = bytes.chunks(512).collect();
        assert!(versions[0].iter().all(|byte| *byte == versions[0][0]));
        // The second write touches the end of the second sector and the start of the third.
        for (sector, touched) in [(versions[1], 488..512), (versions[2], 0..76)] {
            let changed = sector[touched.clone()].iter().all(|byte| *byte == b'b');
            let others: Vec<u8> =
                (0..512).filter(|i| !touched.contains(i) || !changed).map(|i| sector[i]).collect();
            assert!(others.iter().all(|byte| *byte == others[0]));
            assert!(!changed || others[0] == b'a', "a sector has the later write without the earlier one");
        }
        seen.insert((versions[0][0], versions[1][511], versions[2][0]));
    }
    assert_eq!(seen.len(), 2 * 3 * 3, "{seen:?}");
}

#[test]
fn a_lengthened_file_may_show_zeros() {
    let (disk, file) = disk_with(b"old");
    put(&*file, &[b'x'; 1000], 1000);
    assert_eq!(found(&disk, Crash::KeepLengths), [b"old".as_slice(), &[0; 1997]].concat());
    let seen: std::collections::BTreeSet<Vec<u8>> =
        (0..200).map(|_| found(&disk, Crash::RandomSubset)).collect();
    assert!(seen.contains(b"old".as_slice()));
    assert!(seen.contains(&[b"old".as_slice(), &[0; 1997]].concat()));
    assert!(seen.iter().any(|bytes| bytes.len() == 2000 && bytes[1000] == 0 && bytes[1999] == b'x'));
    assert!(seen.iter().any(|bytes| bytes.len() == 1024 && bytes[1000] == b'x'));

    let (disk, file) = disk_with(b"old");
    file.allocate(5).unwrap();
    assert_eq!(found(&disk, Crash::DropUnsynced), b"old");
    assert_eq!(found(&disk, Crash::KeepLengths), b"old\0\0");
    file.sync_data().unwrap();
    assert_eq!(found(&disk, Crash::DropUnsynced), b"old\0\0");
}

#[test]
fn a_process_dies_at_the_call_it_is_told() {
    let (disk, file) = disk_with(b"old");
    let calls = disk.operations();
    disk.crash_at(calls + 2);
    put(&*file, b"new", 0);
    assert!(!disk.has_crashed());
    let error = file.sync_data().unwrap_err();
    assert_eq!((error.kind(), error.to_string()), (ErrorKind::Other, "crashed".into()));
    assert!(disk.has_crashed());
    for dead in [
        file.len().err(),
        file.read_at(&mut [], 0).err(),
        file.write_at(&[], 0).err(),
        file.allocate(9).err(),
        file.set_len(9).err(),
        file.sync_all().err(),
        disk.list().err(),
        disk.open("file", Open::Read).err(),
        disk.rename("file", "other").err(),
        disk.remove("file").err(),
        disk.sync_dir().err(),
        disk.space().err(),
        disk.lock().err(),
    ] {
        assert_eq!(dead.unwrap().to_string(), "crashed");
    }
    assert_eq!(disk.operations(), calls + 1);
    assert_eq!(found(&disk, Crash::DropUnsynced), b"old");
    assert_eq!(found(&disk, Crash::KeepAll), b"new");
}

#[test]
fn the_next_process_starts_afresh() {
    let (disk, file) = disk_with(b"old");
    disk.set_capacity(4);
    let _lock = disk.lock().unwrap();
    disk.fail(When::Every(Call::List), FaultKind::Io);
    disk.crash_at(0);
    assert!(disk.list().is_err());
    for how in Crash::EACH {
        let next = disk.after_crash(how);
        assert_eq!(next.operations(), 0);
        let _lock = next.lock().unwrap();
        assert_eq!(next.list().unwrap(), ["file"]);
        assert_eq!(next.space().unwrap().free, 1);
        put(&*next.open("file", Open::Write).unwrap(), b"new", 0);
    }
    assert_eq!(disk.snapshot()["file"], b"old");
    assert!(file.len().is_err());
}

#[test]
fn faults_come_where_they_are_told() {
    let (disk, file) = disk_with(b"old");
    disk.fail(disk.operations() + 1, FaultKind::Interrupted);
    assert_eq!(file.len().unwrap_err().kind(), ErrorKind::Interrupted);
    assert_eq!(file.len().unwrap(), 3);

    for (fault, errno) in [
        (FaultKind::Io, Errno::IO),
        (FaultKind::NoSpace, Errno::NOSPC),
        (FaultKind::Quota, Errno::DQUOT),
        (FaultKind::Refused(Errno::ROFS), Errno::ROFS),
        (FaultKind::LostSync, Errno::IO),
    ] {
        disk.fail(When::Nth(Call::Write, 2), fault);
        put(&*file, b"new", 0);
        file.len().unwrap();
        let error = file.write_at(&[IoSlice::new(b"!!!")], 0).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(errno.raw_os_error()));
        put(&*file, b"old", 0);
    }
    assert_eq!(io::Error::from(Errno::NOSPC).kind(), ErrorKind::StorageFull);
    assert_eq!(io::Error::from(Errno::DQUOT).kind(), ErrorKind::QuotaExceeded);

    disk.fail(When::Every(Call::SyncDir), FaultKind::Io);
    assert!(disk.sync_dir().is_err());
    assert!(disk.sync_dir().is_err());
    disk.clear_faults();
    disk.sync_dir().unwrap();
}

#[test]
fn a_sync_that_only_failed_can_be_made_up_for() {
    let (disk, file) = disk_with(b"old");
    put(&*file, b"new", 0);
    disk.fail(When::Nth(Call::Sync, 1), FaultKind::Io);
    assert!(file.sync_data().is_err());
    assert_eq!(found(&disk, Crash::DropUnsynced), b"old");
    file.sync_data().unwrap();
    assert_eq!(found(&disk, Crash::DropUnsynced), b"new");
}

#[test]
fn a_sync_that_lost_its_pages_cannot_be_made_up_for() {
    let (disk, file) = disk_with(b"old.");
    put(&*file, b"new", 0);
    disk.fail(When::Nth(Call::Sync, 1), FaultKind::LostSync);
    assert_eq!(file.sync_data().unwrap_err().raw_os_error(), Some(Errno::IO.raw_os_error()));
    file.sync_data().unwrap();
    assert_eq!(content(&disk, "file"), b"new.", "the process reads it all the same");
    for how in Crash::EACH.into_iter().filter(|how| *how != Crash::KeepAll) {
        assert_eq!(found(&disk, how), b"old.", "{how:?}");
    }
    // Not even after a restart that sees it and syncs once more.
    let next = disk.after_crash(Crash::KeepAll);
    assert_eq!(content(&next, "file"), b"new.");
    next.open("file", Open::Write).unwrap().sync_all().unwrap();
    assert_eq!(found(&next, Crash::DropUnsynced), b"old.");

    put(&*file, b"!", 3);
    file.sync_data().unwrap();
    assert_eq!(found(&disk, Crash::DropUnsynced), b"old!");

    disk.open("name", Open::Create).unwrap();
    disk.fail(When::Nth(Call::SyncDir, 1), FaultKind::LostSync);
    assert!(disk.sync_dir().is_err());
    disk.sync_dir().unwrap();
    assert_eq!(disk.list().unwrap(), ["file", "name"]);
    assert_eq!(names(&disk, Crash::KeepNames), ["file"]);
}

#[test]
fn a_full_disk_takes_what_fits() {
    let (disk, file) = disk_with(b"1234");
    disk.set_capacity(10);
    assert_eq!(disk.space().unwrap(), Space { free: 6, total: 10 });
    let other = disk.open("other", Open::Create).unwrap();
    other.allocate(4).unwrap();
    assert_eq!(other.allocate(11).unwrap_err().kind(), ErrorKind::StorageFull);
    assert_eq!(other.len().unwrap(), 4);

    assert_eq!(file.write_at(&[IoSlice::new(b"5678")], 4).unwrap(), 2);
    assert_eq!(file.write_at(&[IoSlice::new(b"78")], 6).unwrap_err().kind(), ErrorKind::StorageFull);
    let error = write_all_at(&*file, &mut [IoSlice::new(b"4567")], 3).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StorageFull);
    assert_eq!(content(&disk, "file"), b"123456");
    put(&*other, b"fits", 0);
    assert_eq!(disk.space().unwrap().free, 0);

    disk.remove("other").unwrap();
    assert_eq!(disk.space().unwrap().free, 0, "it is still open");
    drop(other);
    assert_eq!(disk.space().unwrap().free, 4);
    disk.set_capacity(0);
    assert_eq!(disk.space().unwrap().free, 0);
}

#[test]
fn files_go_bad_on_the_medium() {
    let (disk, file) = disk_with(b"ab");
    put(&*file, b"cd", 2);
    let calls = disk.operations();
    disk.flip_bit("file", 2, 1).unwrap();
    disk.truncate("file", 3).unwrap();
    assert_eq!(disk.operations(), calls);
    assert_eq!(disk.snapshot()["file"], b"aba");
    assert_eq!(found(&disk, Crash::DropUnsynced), b"aba");
    assert_eq!(disk.flip_bit("file", 3, 0).unwrap_err().kind(), ErrorKind::UnexpectedEof);
    assert_eq!(disk.flip_bit("file", 0, 8).unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(disk.truncate("none", 0).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn an_offset_gone_wrong_takes_no_memory() {
    let (disk, file) = disk_with(b"ab");
    for at in [MAX_FILE_LEN, u64::MAX] {
        assert_eq!(file.write_at(&[IoSlice::new(b"x")], at).unwrap_err().kind(), ErrorKind::FileTooLarge);
    }
    assert_eq!(file.set_len(u64::MAX).unwrap_err().kind(), ErrorKind::FileTooLarge);
    assert_eq!(file.allocate(u64::MAX).unwrap_err().kind(), ErrorKind::FileTooLarge);
    assert_eq!(disk.snapshot()["file"], b"ab");
}

/// One step of a run.
#[derive(Clone, Debug)]
enum Step {
    Write { name: u8, at: u64, len: usize },
    SetLen { name: u8, len: u64 },
    Sync { name: u8 },
    SyncDir,
    Rename { from: u8, to: u8 },
    Remove { name: u8 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let name = || 0..3_u8;
    let step = prop_oneof![
        4 => (name(), 0..3000_u64, 0..1500_usize).prop_map(|(name, at, len)| Step::Write { name, at, len }),
        1 => (name(), 0..3000_u64).prop_map(|(name, len)| Step::SetLen { name, len }),
        2 => name().prop_map(|name| Step::Sync { name }),
        1 => Just(Step::SyncDir),
        1 => (name(), name()).prop_map(|(from, to)| Step::Rename { from, to }),
        1 => name().prop_map(|name| Step::Remove { name }),
    ];
    prop::collection::vec(step, 1..40)
}

/// Takes the steps, whatever fails. Files are made as they are needed.
fn take(disk: &SimulatedDisk, steps: &[Step]) -> io::Result<()> {
    let open = |name: u8| {
        let name = name.to_string();
        disk.open(&name, Open::Write).or_else(|_| disk.open(&name, Open::Create))
    };
    for (step, byte) in steps.iter().zip((1..=255).cycle()) {
        match *step {
            Step::Write { name, at, len } => {
                write_all_at(&*open(name)?, &mut [IoSlice::new(&vec![byte; len])], at)?;
            }
            Step::SetLen { name, len } => open(name)?.set_len(len)?,
            Step::Sync { name } => open(name)?.sync_data()?,
            Step::SyncDir => disk.sync_dir()?,
            Step::Rename { from, to } => disk.rename(&from.to_string(), &to.to_string()).unwrap_or_default(),
            Step::Remove { name } => disk.remove(&name.to_string()).unwrap_or_default(),
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn the_same_seed_and_calls_leave_the_same_disk(seed: u64, steps in steps(), crash in 1..60_u64) {
        let run = || {
            let disk = SimulatedDisk::new(seed);
            disk.crash_at(crash);
            let _ = take(&disk, &steps);
            let crashes = [Crash::RandomSubset, Crash::KeepPrefix, Crash::RandomSubset];
            crashes.map(|how| disk.after_crash(how).snapshot())
        };
        prop_assert_eq!(run(), run());
    }

    #[test]
    fn a_killed_process_loses_nothing_and_a_synced_disk_neither(seed: u64, steps in steps()) {
        let disk = SimulatedDisk::new(seed);
        take(&disk, &steps).unwrap();
        let seen = disk.snapshot();
        prop_assert_eq!(&disk.after_crash(Crash::KeepAll).snapshot(), &seen);
        prop_assert_eq!(&disk.after_crash(Crash::TearLast { bytes: usize::MAX }).snapshot(), &seen);
        for name in disk.list().unwrap() {
            disk.open(&name, Open::Write).unwrap().sync_data().unwrap();
        }
        disk.sync_dir().unwrap();
        for how in Crash::EACH {
            prop_assert_eq!(&disk.after_crash(how).snapshot(), &seen);
        }
    }

    #[test]
    fn a_synced_file_survives_whatever_becomes_of_the_others(seed: u64, before in steps(), after in steps()) {
        let disk = SimulatedDisk::new(seed);
        take(&disk, &before).unwrap();
        let file = disk.open("kept", Open::Create).unwrap();
        put(&*file, b"kept", 600);
        file.sync_data().unwrap();
        disk.sync_dir().unwrap();
        take(&disk, &after).unwrap();
        for how in Crash::EACH {
            let next = disk.after_crash(how);
            let mut bytes = [0; 4];
            read_exact_at(&*next.open("kept", Open::Read).unwrap(), &mut bytes, 600).unwrap();
            prop_assert_eq!(&bytes, b"kept");
        }
    }
}
