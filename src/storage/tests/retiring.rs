//! Retiring the oldest file: what is needed of it is stored again, by whoever knows what is needed.

use super::*;
use crate::storage::simulated_disk::{Call, FaultKind, When};

/// What a checkpoint does, for queues as `live` has them.
fn retire(
    disk: &SimulatedDisk,
    journal: &Journal,
    live: &BTreeMap<(QueueId, u64), Message>,
    between: impl FnOnce(),
) -> bool {
    // A file is retired only when the next one is on disk.
    assert!(journal.wait_durable(journal.end()));
    let Some(retiring) = journal.begin_retire(journal.end(), 1) else { return false };
    let stored = |message: &Message| (1..retiring.below).contains(&message.stored_at());
    let needed: Vec<_> = live.iter().filter(|(_, message)| stored(message)).collect();
    between();
    (1..=3).map(QueueId).for_each(|id| {
        declare(journal, id);
    });
    for ((queue, position), message) in needed {
        journal.append(|batch| batch.store_again(*queue, Position(*position), message));
    }
    assert!(journal.wait_durable(journal.end()));
    say_needed(disk, retiring.oldest).unwrap();
    journal.say_retired();
    journal.end_retire(false).unwrap();
    true
}

#[track_caller]
fn is_there(disk: &SimulatedDisk, live: &BTreeMap<(QueueId, u64), Message>) {
    let found = found(disk).unwrap().messages;
    assert_eq!(found.keys().collect::<Vec<_>>(), live.keys().collect::<Vec<_>>());
    for (place, message) in live {
        assert!(found[place].body() == message.body(), "{place:?}");
    }
}

#[test]
fn a_message_published_to_another_queue_while_its_file_is_retired_stays_there() {
    let disk = SimulatedDisk::new(1);
    let (journal, _) = open_with(&disk, small()).unwrap();
    (1..=3).map(QueueId).for_each(|id| {
        declare(&journal, id);
    });
    let mut live = BTreeMap::new();
    let fanned_out = message(0, 600);
    live.insert((QueueId(1), 0), fanned_out.clone());
    enqueue(&journal, QueueId(1), 0, &fanned_out);
    let fill = |from: u64| {
        for n in from..from + 8 {
            enqueue(&journal, QueueId(3), n, &message(n, 600));
            remove(&journal, QueueId(3), n);
        }
    };
    fill(0);
    // The publisher has put it into the first queue and comes to the second only now.
    let mut second = None;
    assert!(retire(&disk, &journal, &live, || {
        let position = Position(0);
        journal.append(|batch| {
            let message = batch.own(fanned_out.clone());
            batch.record(&Record::Enqueued { queue: QueueId(2), position, message: &message });
            second = Some(message);
        });
        // What is stored again comes into a later file.
        fill(100);
    }));
    live.insert((QueueId(2), 0), second.unwrap());
    is_there(&disk, &live);
    for round in 2..8 {
        fill(100 * round);
        assert!(retire(&disk, &journal, &live, || {}));
        is_there(&disk, &live);
    }
}

#[test]
fn a_crash_at_any_call_while_files_are_retired_and_used_again_loses_nothing() {
    for operation in (1..).step_by(7) {
        let disk = SimulatedDisk::new(operation);
        disk.crash_at(operation);
        let mut live = BTreeMap::new();
        let mut ended = false;
        if let Ok((journal, _)) = open_with(&disk, small()) {
            ended = rounds(&disk, &journal, &mut live);
        }
        for how in Crash::EACH.into_iter().chain([0, 20, 60].map(|bytes| Crash::TearLast { bytes })) {
            let kept = found(&disk.after_crash(how)).unwrap_or_else(|error| {
                panic!("{how:?} at {operation}: {error}\n{:?}", disk.snapshot().keys());
            });
            for (place, message) in &live {
                let found = kept.messages.get(place);
                let found = found.unwrap_or_else(|| panic!("{place:?}: {how:?} at {operation}"));
                assert!(found.body() == message.body());
            }
        }
        if ended {
            assert!(operation > 100, "{operation}");
            return;
        }
    }
}

/// A name that a killed process could not sync is synced before a file is used again that only it makes spare.
#[test]
fn a_file_whose_name_was_not_synced_is_not_lost_by_the_next_process() {
    for nth in (1..).step_by(3) {
        let disk = SimulatedDisk::new(nth);
        let (journal, _) = open_with(&disk, small()).unwrap();
        disk.fail(When::Nth(Call::SyncDir, nth), FaultKind::Io);
        let mut live = BTreeMap::new();
        let ended = rounds(&disk, &journal, &mut live);
        drop(journal);
        if ended {
            assert!(nth > 5, "{nth}");
            return;
        }
        for operation in 1.. {
            let next = disk.after_crash(Crash::KeepAll);
            next.crash_at(operation);
            let appended = open_with(&next, small()).is_ok_and(|(journal, _)| {
                declare(&journal, QUEUE);
                journal.wait_durable(enqueue(&journal, QUEUE, 99, &message(99, 10)))
            });
            for how in [Crash::DropUnsynced, Crash::KeepContents] {
                let found = found(&next.after_crash(how))
                    .unwrap_or_else(|error| panic!("{how:?} at {operation} after {nth}: {error}"));
                assert!(live.keys().all(|place| found.messages.contains_key(place)));
                assert!(!appended || found.messages.contains_key(&(QUEUE, 99)));
            }
            if appended {
                break;
            }
        }
    }
}

/// Publishes, consumes and retires several files at a time. `live` holds what is durable and not removed. Returns
/// whether it came to its end.
fn rounds(disk: &SimulatedDisk, journal: &Journal, live: &mut BTreeMap<(QueueId, u64), Message>) -> bool {
    declare(journal, QUEUE);
    for n in 0..60 {
        let made = message(n, 700);
        if !journal.wait_durable(enqueue(journal, QUEUE, n, &made)) {
            return false;
        }
        if n % 7 == 0 {
            live.insert((QUEUE, n), made);
        } else {
            remove(journal, QUEUE, n);
        }
        if n % 20 == 19 {
            for _ in 0..4 {
                let Some(retiring) = journal.begin_retire(journal.end(), 1) else { break };
                declare(journal, QUEUE);
                for ((queue, position), message) in live.iter() {
                    if (1..retiring.below).contains(&message.stored_at()) {
                        journal.append(|batch| batch.store_again(*queue, Position(*position), message));
                    }
                }
                if !journal.wait_durable(journal.end()) {
                    return false;
                }
                if say_needed(disk, retiring.oldest).is_err() {
                    return false;
                }
                journal.say_retired();
                if journal.end_retire(false).is_err() {
                    return false;
                }
            }
        }
    }
    true
}

#[test]
fn retired_files_are_used_again_and_surplus_ones_removed() {
    let disk = SimulatedDisk::new(1);
    let (journal, _) = open_with(&disk, small()).unwrap();
    let mut live = BTreeMap::new();
    assert!(rounds(&disk, &journal, &mut live));
    for n in 100..400 {
        assert!(journal.wait_durable(enqueue(&journal, QUEUE, n, &message(n, 700))));
        remove(&journal, QUEUE, n);
        while journal.surplus(60_000, u64::MAX) > 0 {
            retire(&disk, &journal, &live, || {});
        }
    }
    let files = disk.snapshot().len();
    assert!(files < 25, "{files} files");
    let names: Vec<String> = disk.snapshot().into_keys().collect();
    assert!(names.iter().all(|name| name.as_str() < "journal-00000060"), "names are used again: {names:?}");
}

#[test]
fn a_batch_without_records_never_leaves_a_gap_between_files() {
    let disk = SimulatedDisk::new(8);
    let (journal, _) = open_with(&disk, small()).unwrap();
    for n in 0..60 {
        assert!(journal.wait_durable(enqueue(&journal, QUEUE, n, &message(n, 2000))));
        // It begins a file if the last one is full, and puts nothing into it.
        journal.append(|_| {});
        if n % 10 == 9
            && let Some(retiring) = journal.begin_retire(journal.end(), 5)
        {
            say_needed(&disk, retiring.oldest).unwrap();
            journal.say_retired();
            journal.end_retire(false).unwrap();
            journal.append(|_| {});
        }
    }
    drop(journal);
    assert!(found(&disk).is_ok());
}
