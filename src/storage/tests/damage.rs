//! Media that go bad: damage that something proves to be damage is never cut away, and never delivered.

use super::*;

/// The single file of a disk.
fn the_file(disk: &SimulatedDisk) -> (String, Vec<u8>) {
    let mut files = disk.snapshot();
    assert_eq!(files.len(), 1);
    files.pop_first().unwrap()
}

fn flipped(disk: &SimulatedDisk, name: &str, offset: u64, bit: u8) -> SimulatedDisk {
    let copy = disk.after_crash(Crash::KeepAll);
    copy.flip_bit(name, offset, bit).unwrap();
    copy
}

#[track_caller]
fn refused(disk: &SimulatedDisk, texts: &[&str]) {
    let error = found(disk).map(|_| ()).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    let told = error.to_string();
    assert!(texts.iter().all(|text| told.contains(text)), "{told:?} does not say {texts:?}");
}

#[test]
fn a_bit_flipped_anywhere_is_refused_left_out_or_cut() {
    let disk = disk_of(6, 200, large());
    let (name, content) = the_file(&disk);
    let groups = groups(&content);
    assert_eq!(groups.len(), 7);
    for (index, &(start, header, end)) in groups.iter().enumerate() {
        let records_end = start + FIXED as u64 + u64::from(header.records_len);
        let last = index + 1 == groups.len();
        for offset in start..end {
            let damaged = flipped(&disk, &name, offset, (offset % 8) as u8);
            if last {
                // Nothing proves that it was durable.
                assert_eq!(prefix(&damaged, 200).unwrap(), 5, "at {offset}");
            } else if offset < records_end {
                refused(&damaged, &[&name, &format!("offset {start}:")]);
            } else {
                let found = messages(&damaged).unwrap();
                let lost = index as u64 - 1;
                assert!((0..6).filter(|n| *n != lost).eq(found.keys().copied()), "at {offset}");
                found.iter().for_each(|(n, message)| check(message, *n, 200));
            }
        }
    }
    let end = groups.last().unwrap().2;
    for offset in (end..content.len() as u64).step_by(100_003).chain((64..FILE_HEADER).step_by(501)) {
        assert_eq!(prefix(&flipped(&disk, &name, offset, 3), 200).unwrap(), 6, "at {offset}");
    }
}

#[test]
fn a_damaged_file_header_is_refused() {
    for (count, options) in [(6, large()), (30, small())] {
        let disk = disk_of(count, 500, options);
        for name in disk.snapshot().keys() {
            for offset in (0..64).filter(|offset| !(32..36).contains(offset) || *offset == 32) {
                let (bit, texts) = match offset {
                    7 => (4, [name, "format version"]),
                    _ => ((offset % 8) as u8, [name, "damaged"]),
                };
                refused(&flipped(&disk, name, offset, bit), &texts);
            }
        }
    }
}

#[test]
fn a_message_that_went_bad_is_missing_in_all_its_queues() {
    let disk = SimulatedDisk::new(1);
    let (journal, _) = open(&disk).unwrap();
    (1..=2).map(QueueId).for_each(|id| {
        declare(&journal, id);
    });
    let (shared, other) = (message(0, 300), message(1, 300));
    for message in [&shared, &other] {
        (1..=2).map(QueueId).for_each(|id| {
            enqueue(&journal, id, u64::from(message.body() == other.body()), message);
        });
    }
    assert!(journal.wait_durable(journal.end()));
    assert!(journal.wait_durable(declare(&journal, QueueId(3))));
    drop(journal);
    let (name, content) = the_file(&disk);
    let (start, header, _) = groups(&content)[0];
    let in_first = start + FIXED as u64 + u64::from(header.records_len) + 100;
    let Found { definitions, messages, .. } = found(&flipped(&disk, &name, in_first, 0)).unwrap();
    assert!(messages.keys().eq(&[(QueueId(1), 1), (QueueId(2), 1)]));
    for queue in &definitions.queues[..2] {
        // Known to be there, and damaged.
        assert_eq!(positions(queue), [0, 1]);
        assert_eq!(queue.content.first_lane().next, Position(2));
    }
}

#[test]
fn a_file_cut_to_any_length_is_a_prefix_or_refused() {
    let disk = disk_of(12, 300, small());
    let files = disk.snapshot();
    let last = files.keys().next_back().unwrap();
    let (mut refused, mut prefixes) = (0, 0);
    for (name, content) in &files {
        let used = groups(content).last().unwrap().2;
        for len in (0..used).step_by(13).chain([FILE_HEADER - 1, FILE_HEADER, used - 1]) {
            let copy = disk.after_crash(Crash::KeepAll);
            copy.truncate(name, len).unwrap();
            match prefix(&copy, 300) {
                Ok(count) => {
                    assert!(count < 12 && name == last, "{count} of {name} at {len}");
                    prefixes += 1;
                }
                Err(error) => {
                    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
                    refused += 1;
                }
            }
        }
    }
    assert!(refused > 100 && prefixes > 100, "{refused} refused, {prefixes} prefixes");
}

#[test]
fn a_missing_file_is_refused() {
    let disk = disk_of(30, 500, small());
    let files: Vec<String> = disk.snapshot().into_keys().collect();
    assert!(files.len() > 3);
    for name in &files[..files.len() - 1] {
        let copy = disk.after_crash(Crash::KeepAll);
        copy.remove(name).unwrap();
        refused(&copy, &[name, "missing"]);
    }
}

#[test]
fn lengths_that_make_no_sense_are_the_end() {
    let disk = disk_of(2, 100, large());
    let (name, content) = the_file(&disk);
    let (_, header, end) = *groups(&content).last().unwrap();
    for (records_len, bodies_len) in
        [(u32::MAX, u64::MAX), (0, u64::MAX), (u32::MAX, 0), (0, u64::MAX - 4096)]
    {
        let (fixed, _) = GroupHeader { records_len, bodies_len, ..header }.encode(&[]);
        let copy = disk.after_crash(Crash::KeepAll);
        let file = copy.open(&name, crate::storage::disk::Open::Write).unwrap();
        file.write_at(&[io::IoSlice::new(&fixed)], align(end)).unwrap();
        assert_eq!(prefix(&copy, 100).unwrap(), 2);
    }
}

#[test]
fn files_that_are_not_the_journals_are_left_alone() {
    let disk = disk_of(2, 100, large());
    for (name, bytes) in [("notes", &b"hello"[..]), ("journal-zzz", &[7; 9000]), ("journal-00000099", b"")] {
        let file = disk.open(name, crate::storage::disk::Open::Create).unwrap();
        crate::storage::disk::write_all_at(&*file, &mut [io::IoSlice::new(bytes)], 0).unwrap();
    }
    assert_eq!(prefix(&disk, 100).unwrap(), 2);
    assert_eq!(disk.snapshot()["notes"], b"hello");
}
