//! Disks that are full and disks that fail.

use rustix::io::Errno;

use super::*;
use crate::storage::simulated_disk::Crash;

/// The calls of `length` changes, opened before.
fn calls(seed: u64, length: usize) -> std::ops::RangeInclusive<u64> {
    let disk = SimulatedDisk::new(seed);
    let (catalogue, _) = open(&disk).unwrap();
    let first = disk.operations() + 1;
    history(seed, length, 20).0.iter().for_each(|change| catalogue.commit(change).unwrap());
    first..=disk.operations()
}

#[test]
fn a_full_disk_is_told_and_waited_for() {
    let faults = [FaultKind::NoSpace, FaultKind::Quota, FaultKind::Refused(Errno::ROFS)];
    for (seed, fault) in (1..).zip(faults) {
        let (changes, states) = history(seed, 3, 20);
        for at in calls(seed, 3) {
            let disk = SimulatedDisk::new(seed);
            let (catalogue, _) = open(&disk).unwrap();
            disk.fail(at, fault);
            let mut failed = false;
            for (change, state) in changes.iter().zip(&states[1..]) {
                match catalogue.commit(change) {
                    Ok(()) => {}
                    Err(error) if may_pass(&error) => {
                        assert!(!failed, "call {at}: the fault is over");
                        catalogue.commit(change).unwrap_or_else(|error| panic!("call {at}: {error}"));
                        failed = true;
                    }
                    // A sync that fails is final, whatever it says.
                    Err(_) => {
                        assert!(catalogue.commit(change).is_err(), "call {at}");
                        break;
                    }
                }
                assert!(&open(&disk.after_crash(Crash::KeepAll)).unwrap().1 == state, "call {at}");
                assert_eq!(disk.snapshot().len(), 1, "call {at}");
            }
        }
    }
}

#[test]
fn a_disk_that_stays_full_keeps_the_state_before() {
    let (changes, states) = history(3, 2, 20);
    let disk = SimulatedDisk::new(3);
    let (catalogue, _) = open(&disk).unwrap();
    for (change, (before, after)) in changes.iter().zip(states.iter().zip(&states[1..])) {
        for call in [Call::Write, Call::SetLen, Call::Write] {
            disk.fail(When::Every(call), FaultKind::NoSpace);
            for _ in 0..2 {
                assert_eq!(catalogue.commit(change).unwrap_err().kind(), ErrorKind::StorageFull);
                assert!(&open(&disk.after_crash(Crash::KeepAll)).unwrap().1 == before);
            }
            disk.clear_faults();
        }
        catalogue.commit(change).unwrap();
        assert!(&open(&disk).unwrap().1 == after);
    }
}

#[test]
fn a_sync_that_fails_is_final() {
    for fault in [FaultKind::Io, FaultKind::LostSync, FaultKind::NoSpace] {
        for call in [Call::Sync, Call::SyncDir] {
            for nth in 1.. {
                let disk = SimulatedDisk::new(nth);
                let (catalogue, _) = open(&disk).unwrap();
                let (changes, states) = history(nth, 2, 20);
                disk.fail(When::Nth(call, nth), fault);
                let Some(made) = changes.iter().position(|change| catalogue.commit(change).is_err()) else {
                    // All syncs have had their turn.
                    assert!(nth > 1);
                    break;
                };
                let told = catalogue.commit(&changes[made]).unwrap_err();
                assert_eq!(told.to_string(), "catalogue: an earlier commit has failed");
                for how in Crash::EACH {
                    let snapshot = open(&disk.after_crash(how)).unwrap().1;
                    let either = snapshot == states[made] || snapshot == states[made + 1];
                    assert!(either, "{fault:?} {call:?} {nth} {how:?}");
                }
                // What the next start is told stays, though the operating system thinks that it is on disk. Of a name
                // that was lost nobody can know.
                let (catalogue, told) = open(&disk).unwrap();
                for how in Crash::EACH.into_iter().filter(|_| call == Call::Sync) {
                    assert!(open(&disk.after_crash(how)).unwrap().1 == told, "{fault:?} {nth} {how:?}");
                }
                changes[made..].iter().for_each(|change| catalogue.commit(change).unwrap());
                for how in Crash::EACH.into_iter().filter(|_| call == Call::Sync) {
                    assert!(open(&disk.after_crash(how)).unwrap().1 == states[2], "{fault:?} {nth} {how:?}");
                }
            }
        }
    }
}

#[test]
fn an_error_of_the_disk_is_told_as_it_is() {
    let disk = SimulatedDisk::new(1);
    let (catalogue, _) = open(&disk).unwrap();
    catalogue.commit(&Change::default()).unwrap();
    for call in [Call::List, Call::Open, Call::Read, Call::Len, Call::Sync, Call::SyncDir] {
        disk.fail(When::Every(call), FaultKind::Io);
        assert_eq!(open(&disk).unwrap_err().raw_os_error(), Some(5), "{call:?}");
        disk.clear_faults();
    }
    for call in [Call::Open, Call::Read, Call::Len, Call::Write, Call::Sync] {
        let (catalogue, _) = open(&disk).unwrap();
        disk.fail(When::Every(call), FaultKind::Io);
        assert_eq!(catalogue.commit(&Change::default()).unwrap_err().raw_os_error(), Some(5), "{call:?}");
        disk.clear_faults();
    }
    assert_eq!(open(&disk).unwrap().1, Snapshot::default());
}

#[test]
fn short_and_interrupted_calls_do_no_harm() {
    let (changes, states) = history(4, 2, 20);
    let disk = SimulatedDisk::new(4);
    let (catalogue, _) = open(&disk).unwrap();
    for nth in 1..200 {
        disk.fail(
            When::Nth(Call::Write, nth),
            [FaultKind::Interrupted, FaultKind::Short(100)][nth as usize % 2],
        );
        disk.fail(
            When::Nth(Call::Read, nth),
            [FaultKind::Short(100), FaultKind::Interrupted][nth as usize % 2],
        );
    }
    changes.iter().for_each(|change| catalogue.commit(change).unwrap());
    assert!(open(&disk).unwrap().1 == states[2]);
}
