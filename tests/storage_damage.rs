//! Data directories that go bad: what a start serves, what `verify` tells, what `repair` leaves.
//!
//! A broker makes a directory with everything in it: messages in journal files and in segments, some of them in
//! several queues, and a catalogue. Then one bit of one file is flipped, or a file is cut or lost, and three are
//! asked. What is served is always something that was sent, in order and to the byte. If `verify` says sound, all of
//! it is served; if a start is refused, `verify` says why.

#![allow(clippy::expect_used, clippy::panic, reason = "a test says what it expected by failing")]

#[path = "storage_damage/world.rs"]
mod world;

use std::io::ErrorKind;
use std::sync::Arc;

use leveret::storage::repair::Repair;
use leveret::storage::simulated_disk::{Crash, FaultKind, SimulatedDisk};
use leveret::storage::verify::{Affected, Report, verify};

use world::{Content, Kept, World, build, copy, serve};

/// What `verify` says of a disk; it may change nothing.
fn verified(disk: &SimulatedDisk) -> Report {
    let before = disk.snapshot();
    let report = verify(disk).expect("a disk that can be read");
    assert!(disk.snapshot() == before, "verify changed something");
    report
}

/// Whether the end of a journal file is torn: nothing proves that what is missing was ever durable.
fn is_torn(report: &Report) -> bool {
    report.journal.iter().any(|file| file.torn)
}

/// Where the last group of the journal begins: the newest file's name, and the offset. Nothing proves that it was durable.
fn last_group(disk: &SimulatedDisk) -> (String, u64) {
    let newest = verified(disk).journal.pop().expect("a journal");
    let content = disk.snapshot().remove(&newest.name).expect("a file");
    let groups = content.chunks(64).enumerate().filter(|(_, piece)| piece.starts_with(b"LGRP"));
    let begins = groups.map(|(at, _)| at as u64 * 64).filter(|at| *at < newest.end);
    (newest.name, begins.max().expect("a group"))
}

/// Compares what is told of a damaged disk with what a broker serves.
fn judge(damaged: &SimulatedDisk, world: &World, proven: bool, what: &str) -> Report {
    let report = verified(damaged);
    match serve(&copy(damaged)) {
        Err(error) => assert!(!report.is_sound(), "{what}: sound, but a start says {error}"),
        Ok(served) => {
            let sound = &world.content;
            // An acknowledgement in the torn end is as if it never was.
            served.assert_within(if proven { sound } else { &world.ever }, what);
            if served != *sound {
                let told = !report.is_sound() || is_torn(&report) || !proven;
                assert!(told, "{what}: sound, but a broker serves {served:?} instead of {sound:?}");
            }
            let messages: usize = served.queues.values().map(Vec::len).sum();
            assert_eq!(report.totals.messages, messages as u64, "{what}: {report:?}");
        }
    }
    report
}

/// Repairs a disk and returns what a broker serves then. Nothing that is not named in the report is lost.
fn repaired(damaged: &SimulatedDisk, world: &World, what: &str) -> Content {
    let disk = copy(damaged);
    let repair = Repair::new(Arc::new(disk.clone())).expect("a disk that can be read");
    let before = repair.report().clone();
    assert!(!before.is_sound(), "{what}");
    let outcome = repair.carry_out().unwrap_or_else(|error| panic!("{what}: {error}"));
    let after = verified(&disk);
    assert_eq!(after.problems, [], "{what}: {before:?}, {outcome:?}");
    let served = serve(&disk).unwrap_or_else(|error| panic!("{what}: {error} after {outcome:?}"));
    served.assert_within(&world.ever, what);
    let messages = served.len() as u64;
    assert_eq!(
        (messages, messages, messages),
        (outcome.messages, after.totals.messages, before.totals.messages),
        "{what}"
    );
    let mut most = before.totals.lost;
    for affected in before.problems.iter().flat_map(|problem| &problem.affected) {
        most += match affected {
            Affected::Records { count, .. } => *count,
            Affected::Messages { .. } => 0,
            Affected::UnknownRecords | Affected::Everything => return served,
        };
    }
    if served.queues.len() == world.content.queues.len() {
        let missing = world.content.missing_in(&served);
        assert!(missing as u64 <= most, "{what}: {missing} missing, {before:?}");
    }
    if most == before.totals.lost {
        assert_eq!(served.bound, world.content.bound, "{what}: {before:?}");
    }
    served
}

/// Whether a file seems to be of a newer program.
fn is_refused(disk: &SimulatedDisk) -> bool {
    Repair::new(Arc::new(copy(disk))).expect("a disk").refusal().is_some()
}

/// The offsets of a file at which bits are flipped: all of its begin, and some of the rest.
fn offsets(kept: Kept, content: &[u8]) -> Vec<u64> {
    let used = content.iter().rposition(|byte| *byte != 0).map_or(0, |last| last as u64 + 64);
    let end = (content.len() as u64).min(used);
    let step = match kept {
        Kept::Journal => 419,
        Kept::Segment => 431,
        Kept::Catalogue => 811,
    };
    (0..64).step_by(9).chain((64..end).step_by(step)).collect()
}

#[test]
fn a_sound_directory_is_told_in_full() {
    let world = build(1);
    let report = verified(&world.disk);
    assert_eq!(report.problems, []);
    assert!(
        report.journal.len() > 2 && !report.segments.is_empty() && report.catalogue.is_some(),
        "{report:?}"
    );
    assert_eq!(serve(&copy(&world.disk)).expect("a start"), world.content);
    let messages: usize = world.content.queues.values().map(Vec::len).sum();
    let totals = report.totals;
    assert_eq!((totals.vhosts, totals.exchanges, totals.queues, totals.bindings), (1, 1, 4, 2));
    assert_eq!((totals.messages, totals.lost), (messages as u64, 0));
}

#[test]
fn an_empty_directory_is_sound() {
    let report = verified(&SimulatedDisk::new(1));
    assert_eq!(report, Report::default());
}

#[test]
fn whatever_damage_changes_what_is_served_is_told() {
    let world = build(2);
    let (mut tried, mut told) = (0, 0);
    let (newest, last) = last_group(&world.disk);
    for (name, content) in world.disk.snapshot() {
        let Some(kept) = Kept::of(&name) else { continue };
        for offset in offsets(kept, &content) {
            let damaged = copy(&world.disk);
            damaged.flip_bit(&name, offset, (offset % 8) as u8).expect("a bit");
            let proven = name != newest || offset < last;
            let report = judge(&damaged, &world, proven, &format!("{name} at {offset}"));
            tried += 1;
            told += u32::from(!report.is_sound());
            if !report.is_sound() && !is_refused(&damaged) {
                repaired(&damaged, &world, &format!("{name} at {offset}"));
            }
        }
    }
    assert!(told * 5 > tried && told < tried, "{told} of {tried}");
}

#[test]
fn whatever_is_cut_or_lost_is_told() {
    let world = build(3);
    let (newest, _) = last_group(&world.disk);
    for (name, content) in world.disk.snapshot() {
        if Kept::of(&name).is_none() {
            continue;
        }
        let len = content.len() as u64;
        for part in 0..12 {
            let damaged = copy(&world.disk);
            damaged.truncate(&name, len * part / 12).expect("a file");
            // What is left of the newest file is what a crash a moment earlier would have left.
            let proven = name != newest;
            let what = format!("{name} cut to {part} twelfths");
            if !judge(&damaged, &world, proven, &what).is_sound() && !is_refused(&damaged) {
                repaired(&damaged, &world, &what);
            }
        }
        let damaged = copy(&world.disk);
        world::remove(&damaged, &name);
        let report = verified(&damaged);
        let served = serve(&copy(&damaged));
        // Nothing else speaks of the newest file of the journal.
        let is_spare = verified(&world.disk).spare.contains(&name);
        if name != newest && !is_spare {
            assert!(!report.is_sound(), "{name} lost");
        }
        if !report.is_sound() {
            repaired(&damaged, &world, &format!("{name} lost"));
        }
        if let Ok(served) = served {
            served.assert_within(&world.ever, &format!("{name} lost"));
        } else {
            assert!(!report.is_sound());
        }
    }
}

/// A disk with damage of several kinds.
fn damaged_everywhere(world: &World) -> SimulatedDisk {
    let report = verified(&world.disk);
    let disk = copy(&world.disk);
    let files = &report.journal;
    disk.flip_bit(&files[0].name, 4096 + 70, 2).expect("a bit");
    disk.flip_bit(&files[1].name, 20, 2).expect("a bit");
    disk.truncate(&files[2].name, files[2].end / 2).expect("a file");
    disk.flip_bit(&report.segments[0].name, 4096 + 20, 2).expect("a bit");
    disk
}

#[test]
fn a_crash_of_a_repair_leaves_the_old_state_or_the_new() {
    let world = build(4);
    let damaged = damaged_everywhere(&world);
    let served = repaired(&damaged, &world, "without a crash");
    assert!(served.len() > world.content.len() / 3, "{} of {}", served.len(), world.content.len());
    let whole = copy(&damaged);
    Repair::new(Arc::new(whole.clone())).and_then(Repair::carry_out).expect("no crash");
    let last = whole.operations();
    let (mut old, mut new) = (0, 0);
    for operation in (1..last - 40).step_by(29).chain(last - 40..=last) {
        let disk = copy(&damaged);
        disk.crash_at(operation);
        assert!(Repair::new(Arc::new(disk.clone())).and_then(Repair::carry_out).is_err());
        for crash in [Crash::KeepAll, Crash::DropUnsynced, Crash::RandomSubset] {
            let what = format!("{crash:?} at {operation}");
            let found = disk.after_crash(crash);
            if verified(&found).is_sound() {
                new += 1;
                assert_eq!(serve(&found).expect("a start"), served, "{what}");
            } else {
                old += 1;
                assert!(serve(&copy(&found)).is_err(), "{what}");
                assert_eq!(repaired(&found, &world, &what), served, "{what}");
            }
        }
    }
    assert!(old > 10 && new > 3, "{old} old, {new} new");
}

#[test]
fn a_lost_group_misleads_nobody_about_the_messages_behind_it() {
    let world = build(5);
    let files = verified(&world.disk).journal;
    let mut complete = 0;
    for file in [&files[1], &files[files.len() - 1]] {
        let content = world.disk.snapshot().remove(&file.name).expect("a file");
        let groups = content.chunks(64).enumerate().filter(|(_, piece)| piece.starts_with(b"LGRP"));
        let begins: Vec<u64> = groups.map(|(at, _)| at as u64 * 64).filter(|at| *at < file.end).collect();
        let begin = begins[begins.len() / 3];
        let number = |at: u64, len: usize| {
            let bytes = content[at as usize..].iter().take(len);
            bytes.rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
        };
        let records = number(begin + 16, 4);
        for offset in begin..begin + 64 {
            let damaged = copy(&world.disk);
            damaged.flip_bit(&file.name, offset, (offset % 8) as u8).expect("a bit");
            let what = format!("{} at {offset}", file.name);
            judge(&damaged, &world, true, &what);
            let report = verified(&damaged);
            let told = &report.problems[0];
            assert_eq!((&told.file, told.offset), (&file.name, begin), "{what}");
            assert!(
                matches!(told.affected[0], Affected::Records { count, .. } if count == records),
                "{what}: {told:?}"
            );
            repaired(&damaged, &world, &what);
            complete += u32::from(report.totals.lost == 0);
        }
    }
    // Of the newest file the lengths have to be right, or some messages behind are not found.
    assert!(complete > 100, "{complete}");
}

#[test]
fn a_lost_catalogue_is_made_anew_of_segments_and_journal() {
    let world = world::build_folded();
    assert_eq!(serve(&copy(&world.disk)).expect("a start"), world.content);
    for lost in [false, true] {
        let damaged = copy(&world.disk);
        // The files that were folded are still there: with them the journal is whole.
        if lost {
            world::remove(&damaged, "catalogue");
            assert_eq!(serve(&copy(&damaged)).expect("a start"), world.content);
        } else {
            damaged.truncate("catalogue", 5000).expect("a file");
            assert_eq!(repaired(&damaged, &world, "all files"), world.content);
        }
        for file in verified(&world.disk).spare {
            damaged.truncate(&file, 100).expect("a file");
        }
        let disk = copy(&damaged);
        let outcome = Repair::new(Arc::new(disk.clone())).and_then(Repair::carry_out).expect("a repair");
        let aside = |name: &str| outcome.renamed.iter().any(|(was, _)| was.starts_with(name));
        // Nothing that is left says what the queue is called.
        assert!(aside("segment-") && aside("journal-") && aside("catalogue") != lost, "{outcome:?}");
        assert_eq!((outcome.messages, serve(&copy(&disk)).expect("a start").len()), (0, 0));
    }
}

#[test]
fn what_was_set_survives_a_repair() {
    let world = world::build_folded();
    let damaged = copy(&world.disk);
    assert_eq!(verified(&damaged).totals.vhosts, 2);
    damaged.truncate("catalogue", 5000).expect("a file");
    Repair::new(Arc::new(damaged.clone())).and_then(Repair::carry_out).expect("a repair");
    // The second time from the catalogue that the repair has made.
    for _ in 0..2 {
        let broker = world::open(&damaged).expect("a broker");
        let names: Vec<String> = broker.users.all().iter().map(|user| user.name.clone()).collect();
        assert_eq!(
            (names, broker.vhost_names()),
            (["alice", "guest"].map(str::to_owned).into(), ["/", "other"].map(str::to_owned).into())
        );
        assert_eq!(world::vhost(&broker).limits().max_queues, Some(7));
        broker.journal.close();
    }
}

#[test]
fn what_may_have_been_delivered_is_flagged_after_a_repair() {
    let world = build(6);
    assert_eq!(world::redelivered(&copy(&world.disk), "right"), 0);
    let damaged = copy(&world.disk);
    let file = verified(&damaged).journal[1].clone();
    damaged.flip_bit(&file.name, 4096 + 66, 1).expect("a bit");
    Repair::new(Arc::new(damaged.clone())).and_then(Repair::carry_out).expect("a repair");
    let served = serve(&copy(&damaged)).expect("a start");
    assert!(served.queues["right"].len() > 30);
    assert_eq!(world::redelivered(&damaged, "right"), served.queues["right"].len());
}

#[test]
fn a_disk_that_fails_is_no_damage() {
    let world = build(7);
    let reading = copy(&world.disk);
    verify(&reading).expect("a disk that can be read");
    for operation in (1..=reading.operations()).step_by(7) {
        let disk = copy(&world.disk);
        disk.fail(operation, FaultKind::Io);
        let error = verify(&disk).expect_err("an error");
        assert_ne!(error.kind(), ErrorKind::InvalidData, "at {operation}: {error}");
        assert!(disk.snapshot() == world.disk.snapshot());
    }
}

#[test]
fn a_repair_that_finds_no_room_can_be_done_again() {
    let world = build(8);
    let damaged = damaged_everywhere(&world);
    let served = repaired(&damaged, &world, "with room");
    let size =
        |disk: &SimulatedDisk| disk.snapshot().values().map(|content| content.len() as u64).sum::<u64>();
    let mut full = 0;
    for room in (0..200_000).step_by(5000) {
        let disk = copy(&damaged);
        disk.set_capacity(size(&disk) + room);
        if Repair::new(Arc::new(disk.clone())).and_then(Repair::carry_out).is_err() {
            full += 1;
            // No more than the begin of a journal file is left behind.
            assert!(size(&disk) <= size(&damaged) + 4096, "with {room} bytes");
            disk.set_capacity(1 << 30);
            assert_eq!(repaired(&disk, &world, "a full disk"), served, "with {room} bytes");
        }
    }
    assert!(full > 3, "{full}");
}
