//! Disks that fail, fill up, write less than asked, or are not synced.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustix::io::Errno;

use super::*;
use crate::storage::options::Sync;
use crate::storage::room::RESERVE_NAME;
use crate::storage::simulated_disk::{Call, FaultKind, When};

/// A journal that counts how often it is told to have failed.
fn open_counting(disk: &SimulatedDisk, options: JournalOptions) -> (Journal, Arc<AtomicUsize>) {
    let failures = Arc::new(AtomicUsize::new(0));
    let counter = failures.clone();
    let failed = move |_: &io::Error| {
        counter.fetch_add(1, Ordering::SeqCst);
    };
    let (journal, _) = Journal::open(Arc::new(disk.clone()), options, base(disk), failed).unwrap();
    // What a start has to do with the disk is done.
    assert!(journal.wait_durable(journal.end()));
    (journal, failures)
}

fn wait_until(what: &str, mut is: impl FnMut() -> bool) {
    for _ in 0..2000 {
        if is() {
            return;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    panic!("{what}");
}

#[test]
fn after_a_failure_nothing_is_durable_any_more_and_nothing_that_was_is_lost() {
    let faults = [
        (Call::Write, FaultKind::Io),
        (Call::Sync, FaultKind::Io),
        (Call::Sync, FaultKind::LostSync),
        (Call::Sync, FaultKind::NoSpace),
        (Call::SyncDir, FaultKind::Io),
        (Call::Allocate, FaultKind::Io),
        (Call::Open, FaultKind::Io),
    ];
    for (call, fault) in faults {
        for nth in [1, 2, 3, 4, 7, 10] {
            let disk = SimulatedDisk::new(nth);
            let (journal, failures) = open_counting(&disk, small());
            disk.fail(When::Nth(call, nth), fault);
            declare(&journal, QUEUE);
            let mut durable = 0;
            for n in 0..40 {
                let lsn = enqueue(&journal, QUEUE, n, &message(n, 500));
                // Some groups stay unsynced when the next one comes.
                let synced = n % 2 == 1 && journal.wait_durable(lsn);
                assert!(!synced || durable == n - 1, "{call:?} {fault:?} {nth}: durable after a failure");
                durable = if synced { n + 1 } else { durable };
                if n % 2 == 0 {
                    wait_until("written", || journal.progress().written >= lsn || journal.has_failed());
                }
            }
            let failed = journal.has_failed();
            assert_eq!(failures.load(Ordering::SeqCst), usize::from(failed), "{call:?} {fault:?} {nth}");
            assert!(failed || matches!(call, Call::SyncDir | Call::Open | Call::Allocate), "{call:?} {nth}");
            let before = journal.progress();
            journal.close();
            assert!(!failed || journal.progress() == before);
            for how in Crash::EACH {
                let count = prefix(&disk.after_crash(how), 500).unwrap();
                assert!(count >= durable, "{call:?} {fault:?} {nth} {how:?}: {count} of {durable}");
            }
        }
    }
}

#[test]
fn the_sync_of_new_zeros_is_a_sync_of_the_groups_before() {
    let disk = SimulatedDisk::new(1);
    let (journal, failures) = open_counting(&disk, large());
    declare(&journal, QUEUE);
    assert!(journal.wait_durable(enqueue(&journal, QUEUE, 0, &message(0, 500))));
    let unsynced = enqueue(&journal, QUEUE, 1, &message(1, 500));
    wait_until("written", || journal.progress().written >= unsynced);
    disk.fail(When::Nth(Call::Sync, 1), FaultKind::LostSync);
    // Too large for the zeros there are.
    let lsn = enqueue(&journal, QUEUE, 2, &message(2, 60_000));
    assert!(!journal.wait_durable(lsn), "what the failed sync lost would be called durable");
    assert_eq!(failures.load(Ordering::SeqCst), 1);
    assert!(journal.progress().durable < unsynced);
}

#[test]
fn what_a_failed_sync_left_in_memory_is_written_again_before_it_is_built_upon() {
    for nth in 2..12 {
        let disk = disk_of(2, 100, large());
        disk.fail(When::Nth(Call::Sync, nth), FaultKind::LostSync);
        let (journal, _) = open_counting(&disk, large());
        for n in 2..12 {
            if !journal.wait_durable(enqueue(&journal, QUEUE, n, &message(n, 100))) {
                break;
            }
        }
        drop(journal);
        // The process ends and is started again; the machine goes on, and finds in memory what is on no disk.
        let again = disk.after_crash(Crash::KeepAll);
        let (journal, mut image) = open(&again).unwrap();
        let count = image.take(VHOST).queues.remove(0).content.messages.len() as u64;
        assert!(journal.wait_durable(enqueue(&journal, QUEUE, count, &message(count, 100))));
        drop(journal);
        assert_eq!(prefix(&again.after_crash(Crash::DropUnsynced), 100).unwrap(), count + 1, "{nth}");
    }
}

#[test]
fn a_disk_that_takes_nothing_is_waited_for() {
    let unlimited = [
        (Call::Write, FaultKind::Quota),
        (Call::Write, FaultKind::Refused(Errno::FBIG)),
        (Call::Write, FaultKind::Refused(Errno::ROFS)),
        (Call::Open, FaultKind::Refused(Errno::MFILE)),
        (Call::Open, FaultKind::Refused(Errno::NFILE)),
    ];
    let full = [0, 2000, 70_000].map(|free| (free, None));
    for (free, fault) in full.into_iter().chain(unlimited.map(|fault| (u64::MAX, Some(fault)))) {
        let disk = disk_of(2, 100, small());
        let used: u64 = disk.snapshot().values().map(|content| content.len() as u64).sum();
        let (journal, failures) = open_counting(&disk, small());
        match fault {
            Some((call, fault)) => disk.fail(When::Every(call), fault),
            None => disk.set_capacity(used + free),
        }
        let mut n = 2;
        let mut lsn = Lsn::ZERO;
        wait_until("full", || {
            lsn = enqueue(&journal, QUEUE, n, &message(n, 100));
            n += 1;
            journal.is_full()
        });
        let stuck = journal.progress();
        lsn = lsn.max(enqueue(&journal, QUEUE, n, &message(n, 100)));
        std::thread::sleep(Duration::from_millis(20));
        assert_eq!(journal.progress(), stuck, "positions wait");
        assert!(journal.is_full() && !journal.has_failed());
        let count = prefix(&disk.after_crash(Crash::DropUnsynced), 100).unwrap();
        assert!(count > n.min(1), "what was durable is there");

        disk.clear_faults();
        disk.set_capacity(1 << 30);
        assert!(journal.wait_durable(lsn));
        assert!(!journal.is_full());
        assert_eq!(prefix(&disk.after_crash(Crash::DropUnsynced), 100).unwrap(), n + 1);
        assert_eq!(failures.load(Ordering::SeqCst), 0);
    }
}

#[test]
fn a_full_disk_costs_the_reserve_first_and_then_is_waited_for() {
    let options = JournalOptions { file_size: 64 * 1024, ..JournalOptions::default() };
    let disk = disk_of(2, 100, options);
    let (journal, failures) = open_counting(&disk, options);
    let room = journal.room().unwrap();
    assert!(room.restore_reserve(room.space().unwrap().free, 0).unwrap());
    let used: u64 = disk.snapshot().values().map(|content| content.len() as u64).sum();
    disk.set_capacity(used);
    // Needs a new file, and is durable all the same.
    assert!(journal.wait_durable(enqueue(&journal, QUEUE, 2, &message(2, 100))));
    assert!(journal.is_full(), "publishers are blocked from then on");
    assert!(disk.list().unwrap().iter().all(|name| name != RESERVE_NAME));
    for n in 0..3 {
        assert!(journal.wait_durable(remove(&journal, QUEUE, n)));
    }
    let lsn = enqueue(&journal, QUEUE, 3, &message(3, 200_000));
    wait_until("stuck", || disk.space().unwrap().free == 0);
    std::thread::sleep(Duration::from_millis(20));
    assert!(journal.progress().written < lsn);

    disk.set_capacity(1 << 30);
    assert!(journal.wait_durable(lsn));
    assert!(journal.is_full(), "the reserve is not there yet");
    assert!(room.restore_reserve(1 << 20, 0).unwrap());
    assert!(!journal.is_full());
    assert_eq!(failures.load(Ordering::SeqCst), 0);
    let after = messages(&disk.after_crash(Crash::DropUnsynced)).unwrap();
    assert_eq!(after.into_keys().collect::<Vec<_>>(), [3]);
}

#[test]
fn the_reserve_lets_a_journal_close_on_a_full_disk() {
    let options = JournalOptions { file_size: 64 * 1024, ..JournalOptions::default() };
    for held in [false, true] {
        let disk = disk_of(2, 100, options);
        let (journal, failures) = open_counting(&disk, options);
        if held {
            assert!(journal.room().unwrap().restore_reserve(1 << 20, 0).unwrap());
        }
        disk.set_capacity(disk.snapshot().values().map(|content| content.len() as u64).sum());
        enqueue(&journal, QUEUE, 2, &message(2, 100));
        journal.close();
        assert_eq!(failures.load(Ordering::SeqCst), usize::from(!held));
        assert_eq!(prefix(&disk.after_crash(Crash::DropUnsynced), 100).unwrap(), if held { 3 } else { 2 });
    }
}

#[test]
fn short_and_interrupted_writes_and_reads_are_carried_on() {
    let disk = SimulatedDisk::new(1);
    let (journal, _) = open(&disk).unwrap();
    disk.fail(When::Every(Call::Write), FaultKind::Short(777));
    for nth in [2, 3, 7] {
        disk.fail(When::Nth(Call::Write, nth), FaultKind::Interrupted);
    }
    declare(&journal, QUEUE);
    for n in 0..8 {
        enqueue(&journal, QUEUE, n, &message(n, 20_000));
    }
    journal.close();
    let after = disk.after_crash(Crash::DropUnsynced);
    after.fail(When::Every(Call::Read), FaultKind::Short(5000));
    let (_, mut image) = open(&after).unwrap();
    assert_eq!(image.take(VHOST).queues.remove(0).content.messages.len(), 8);
    assert_eq!(prefix(&disk, 20_000).unwrap(), 8);
}

#[test]
fn without_syncs_a_kill_loses_nothing_and_a_power_cut_only_the_end() {
    for sync in [Sync::Never, Sync::Every(Duration::from_secs(1))] {
        let disk = SimulatedDisk::new(1);
        let (journal, _) = open_with(&disk, JournalOptions { sync, ..small() }).unwrap();
        declare(&journal, QUEUE);
        for n in 0..30 {
            assert!(journal.wait_durable(enqueue(&journal, QUEUE, n, &message(n, 300))));
            assert_eq!(prefix(&disk.after_crash(Crash::KeepAll), 300).unwrap(), n + 1);
            for how in Crash::EACH.into_iter().chain([Crash::RandomSubset; 4]) {
                assert!(prefix(&disk.after_crash(how), 300).is_ok(), "{sync:?} {how:?} after {n}");
            }
        }
    }
}

#[test]
fn a_failed_read_is_an_error_of_the_start_and_no_loss() {
    let disk = disk_of(3, 100, large());
    for nth in 1.. {
        let copy = disk.after_crash(Crash::KeepAll);
        copy.fail(When::Nth(Call::Read, nth), FaultKind::Io);
        // The writer reads too.
        let failed = match open(&copy) {
            Ok((journal, _)) => !journal.wait_durable(journal.end()),
            Err(_) => true,
        };
        assert_eq!(prefix(&copy, 100).unwrap(), 3);
        if !failed {
            assert!(nth > 5);
            return;
        }
    }
}
