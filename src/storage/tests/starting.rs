//! What a start reads, what it refuses, and what it leaves to the writer.

use std::time::Duration;

use super::*;
use crate::storage::options::Sync;
use crate::storage::simulated_disk::{Call, FaultKind, When};

/// A disk of which the last five messages are written and not synced.
fn disk_with_a_tail(count: u64, size: usize) -> SimulatedDisk {
    let disk = disk_of(count, size, large());
    let (journal, _) = open(&disk).unwrap();
    for n in count..count + 5 {
        let lsn = enqueue(&journal, QUEUE, n, &message(n, size));
        while journal.progress().written < lsn {
            std::thread::yield_now();
        }
    }
    disk.after_crash(Crash::KeepAll)
}

#[test]
fn a_start_on_a_full_disk_serves_and_makes_the_tail_durable_when_there_is_room() {
    let disk = disk_with_a_tail(3, 300);
    disk.fail(When::Every(Call::Write), FaultKind::NoSpace);
    let (journal, mut image) = open(&disk).unwrap();
    let definitions = image.take(VHOST);
    assert_eq!(positions(&definitions.queues[0]), (0..8).collect::<Vec<_>>());
    assert_eq!(load(&journal, &definitions).unwrap().len(), 8, "all of it can be read");
    let end = journal.end();
    assert_eq!(journal.progress().written, end);
    while !journal.is_full() {
        std::thread::sleep(Duration::from_millis(1));
    }
    let appended = enqueue(&journal, QUEUE, 8, &message(8, 300));
    std::thread::sleep(Duration::from_millis(20));
    let progress = journal.progress();
    assert!(progress.durable < end && progress.written == end, "{progress:?} of {end}");
    assert!(!journal.has_failed());
    disk.clear_faults();
    assert!(journal.wait_durable(appended));
    assert!(!journal.is_full());
    drop(journal);
    assert_eq!(prefix(&disk.after_crash(Crash::DropUnsynced), 300).unwrap(), 9);
}

#[test]
fn the_tail_is_durable_only_when_it_was_written_again() {
    for (call, fault) in
        [(Call::Write, FaultKind::Io), (Call::Sync, FaultKind::Io), (Call::SyncDir, FaultKind::Io)]
    {
        let disk = disk_with_a_tail(3, 300);
        disk.fail(When::Nth(call, 1), fault);
        let (journal, _) = open(&disk).unwrap();
        assert!(!journal.wait_durable(journal.end()), "{call:?}");
        assert!(journal.progress().durable < journal.end() && journal.has_failed());
        drop(journal);
        assert!(prefix(&disk.after_crash(Crash::DropUnsynced), 300).unwrap() >= 3);
        assert_eq!(prefix(&disk.after_crash(Crash::KeepAll), 300).unwrap(), 8);
    }
}

#[test]
fn a_start_reads_headers_and_not_bodies() {
    let disk = disk_of(20, 300_000, JournalOptions { file_size: 2 << 20, ..JournalOptions::default() });
    let damaged = disk.after_crash(Crash::KeepAll);
    damaged.flip_bit("journal-00000001", FILE_HEADER + 900_000, 0).unwrap();
    let before = damaged.operations();
    let (journal, mut image) = open(&damaged).unwrap();
    let calls = damaged.operations() - before;
    assert!(calls < 150, "{calls}");
    let definitions = image.take(VHOST);
    assert_eq!(positions(&definitions.queues[0]).len(), 20, "nobody has looked at it");
    assert_eq!(load(&journal, &definitions).unwrap().len(), 19);
}

#[test]
fn many_small_groups_cost_few_reads() {
    let disk = disk_of(3000, 10, JournalOptions { file_size: 1 << 20, ..JournalOptions::default() });
    let copy = disk.after_crash(Crash::KeepAll);
    let before = copy.operations();
    let (journal, mut image) = open(&copy).unwrap();
    let definitions = image.take(VHOST);
    let calls = copy.operations() - before;
    // The newest file is gone through twice, and searched behind its end.
    assert!(calls < 60, "{calls}");
    assert_eq!(positions(&definitions.queues[0]), (0..3000).collect::<Vec<_>>());
    for (n, message) in (0..).zip(load(&journal, &definitions).unwrap().values()) {
        check(message, n, 10);
    }
}

#[test]
fn a_missing_or_old_catalogue_is_refused_and_so_is_a_missing_journal() {
    let disk = SimulatedDisk::new(1);
    let (journal, _) = open_with(&disk, small()).unwrap();
    declare(&journal, QUEUE);
    let mut oldest = Vec::new();
    for n in 0..60 {
        assert!(journal.wait_durable(enqueue(&journal, QUEUE, n, &message(n, 900))));
        if n % 20 == 15 {
            let retiring = journal.begin_retire(journal.end(), 3).unwrap();
            say_needed(&disk, retiring.oldest).unwrap();
            journal.say_retired();
            journal.end_retire(false).unwrap();
            oldest.push(retiring.oldest);
        }
    }
    drop(journal);
    assert!(found(&disk).is_ok());
    let refused = |disk: &SimulatedDisk, text: &str| {
        let told = found(disk).map(|_| ()).unwrap_err().to_string();
        assert!(told.contains(text), "{told}");
    };
    let without = disk.after_crash(Crash::KeepAll);
    without.remove("catalogue").unwrap();
    refused(&without, "catalogue: the catalogue is missing");
    let old = disk.after_crash(Crash::KeepAll);
    say_needed(&old, oldest[0]).unwrap();
    refused(&old, "catalogue: it is older than the journal");
    let empty = disk.after_crash(Crash::KeepAll);
    for name in empty.list().unwrap().iter().filter(|name| name.starts_with("journal-")) {
        empty.remove(name).unwrap();
    }
    let first = format!("journal-{:08} at offset 0: this file of the journal is missing", oldest[2]);
    refused(&empty, &first);
}

#[test]
fn references_to_what_was_moved_away_are_ignored() {
    let disk = SimulatedDisk::new(1);
    let (journal, _) = open_with(&disk, small()).unwrap();
    (1..=2).map(QueueId).for_each(|id| {
        declare(&journal, id);
    });
    let shared = message(0, 500);
    enqueue(&journal, QUEUE, 0, &shared);
    for n in 1..12 {
        assert!(journal.wait_durable(enqueue(&journal, QUEUE, n, &message(n, 500))));
    }
    // It comes to the second queue in a file that stays.
    enqueue(&journal, QueueId(2), 5, &shared);
    (1..=2).map(QueueId).for_each(|id| {
        declare(&journal, id);
    });
    assert!(journal.wait_durable(journal.end()));
    let retiring = journal.begin_retire(journal.end(), 1).unwrap();
    assert!(shared.stored_at() < retiring.below);
    say_needed(&disk, retiring.oldest).unwrap();
    journal.say_retired();
    journal.end_retire(false).unwrap();
    drop(journal);
    let Found { definitions, messages, .. } = found(&disk).unwrap();
    let [first, second] = &definitions.queues[..] else { panic!("two queues") };
    assert_eq!((positions(second), second.content.first_lane().next), (vec![], Position(6)));
    assert_eq!(positions(first).last(), Some(&11));
    assert!(!positions(first).contains(&0));
    assert_eq!(messages.len(), positions(first).len());
}

#[test]
fn without_syncs_who_waits_for_one_gets_it() {
    for sync in [Sync::Never, Sync::Every(Duration::from_secs(1000))] {
        let disk = SimulatedDisk::new(1);
        let (journal, _) = open_with(&disk, JournalOptions { sync, ..large() }).unwrap();
        declare(&journal, QUEUE);
        for n in 0..5 {
            assert!(journal.wait_durable(enqueue(&journal, QUEUE, n, &message(n, 300))));
            assert!(journal.wait_synced(journal.end()));
            assert_eq!(prefix(&disk.after_crash(Crash::DropUnsynced), 300).unwrap(), n + 1);
        }
        disk.fail(When::Nth(Call::Sync, 1), FaultKind::Io);
        let lsn = enqueue(&journal, QUEUE, 5, &message(5, 300));
        assert!(!journal.wait_synced(lsn));
        journal.close();
        assert!(!journal.wait_synced(lsn));
    }
}

/// The writer's panic ends the process: run by itself in another one.
#[test]
#[ignore = "it aborts the process; the next test runs it"]
fn a_writer_that_panics() {
    let disk = SimulatedDisk::new(1);
    disk.fail(When::Nth(Call::Sync, 1), FaultKind::Io);
    // Who is told of a failure is told on the writer's thread.
    let (journal, _) =
        Journal::open(Arc::new(disk), large(), Base::default(), |_| panic!("told so")).unwrap();
    assert!(!journal.wait_durable(declare(&journal, QUEUE)));
    journal.close();
}

#[test]
fn a_panic_of_the_writer_aborts_the_process() {
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    let output = command
        .args(["--exact", "--ignored", "storage::tests::starting::a_writer_that_panics"])
        .output()
        .unwrap();
    assert!(!output.status.success());
    assert_eq!(output.status.code(), None, "killed by a signal: {output:?}");
}
