//! Disks that refuse, and crashes: a segment is finished whole or not at all.

use super::*;
use crate::storage::simulated_disk::{Call, FaultKind, When};

/// Enough for several writes, one of a part that is written from where it is.
fn plan() -> Plan {
    vec![vec![Some(300_000); 3], vec![Some(1000); 1500], vec![None, Some(DIRECT + 1)]]
}

#[test]
fn a_failed_write_or_sync_fails_the_segment() {
    let disk = SimulatedDisk::new(1);
    let before = disk.operations();
    write(&disk, Kind::Durable, &plan()).unwrap();
    let operations = disk.operations() - before;
    assert!(operations > 6);
    for kind in [FaultKind::Io, FaultKind::NoSpace, FaultKind::Quota, FaultKind::LostSync] {
        for operation in 1..=operations {
            let disk = SimulatedDisk::new(1);
            disk.fail(operation, kind);
            assert!(write(&disk, Kind::Durable, &plan()).is_err(), "{kind:?} at {operation}");
        }
    }
}

#[test]
fn a_writer_that_failed_does_nothing_more() {
    let disk = SimulatedDisk::new(1);
    let mut writer = SegmentWriter::create(&disk, NUMBER, Kind::Durable).unwrap();
    let (queue, large) = (QueueId(1), message(1, DIRECT, true));
    writer.append(queue, Position(0), &large).unwrap();
    disk.set_capacity(DIRECT as u64 * 3 / 2 + SEGMENT_HEADER);
    assert_eq!(writer.append(queue, Position(1), &large).unwrap_err().kind(), ErrorKind::StorageFull);
    disk.set_capacity(1 << 30);
    let before = disk.operations();
    assert!(writer.append(queue, Position(2), &message(2, 1, true)).is_err());
    assert!(writer.append_reference(queue, Position(3), SEGMENT_HEADER).is_err());
    assert!(writer.finish().is_err());
    assert_eq!(disk.operations(), before);
}

#[test]
fn short_and_interrupted_calls_are_no_faults() {
    for fault in [FaultKind::Short(50_000), FaultKind::Interrupted] {
        let disk = SimulatedDisk::new(1);
        for n in (1..20).step_by(3) {
            disk.fail(When::Nth(Call::Write, n), fault);
        }
        let (written, runs, _) = write(&disk, Kind::Durable, &plan()).unwrap();
        for n in (1..100).step_by(3) {
            disk.fail(When::Nth(Call::Read, n), fault);
        }
        assert_eq!(found(&*open(&disk), &written, &runs, 4096).0.len(), written.len());
    }
}

#[test]
fn a_failed_read_is_an_error_and_no_damage() {
    let disk = SimulatedDisk::new(1);
    let (written, runs, _) = write(&disk, Kind::Durable, &vec![vec![Some(20_000), Some(5)]]).unwrap();
    let file = open(&disk);
    let mut scratch = Vec::new();
    for call in [Call::Read, Call::Len] {
        disk.fail(When::Every(call), FaultKind::Io);
        assert!(read_item(&*file, NUMBER, written[0].offset).is_err());
        assert!(check(&*file, NUMBER).is_err());
        assert!(read_header(&*file).is_err());
        disk.clear_faults();
    }
    let mut reader = RunReader::new(&*file, &runs[0], 4096, &mut scratch).unwrap();
    let Some(Found::Item(item)) = reader.read_next().unwrap() else { panic!("an item") };
    for _ in 0..2 {
        disk.fail(When::Nth(Call::Read, 1), FaultKind::Io);
        assert!(reader.content(&item).is_err());
    }
    same(&message_of(&*file, &mut reader, &item).unwrap(), &written[0].message);
    disk.fail(When::Nth(Call::Read, 1), FaultKind::Io);
    assert!(reader.read_next().is_err());
    assert_eq!(reader.offset(), written[1].offset);
    assert!(matches!(reader.read_next().unwrap(), Some(Found::Item(item)) if item.position() == Position(3)));
}

#[test]
fn half_a_read_leaves_nothing_behind() {
    let disk = SimulatedDisk::new(1);
    let (written, runs, _) = write(&disk, Kind::Durable, &vec![vec![Some(500), Some(500)]]).unwrap();
    let file = open(&disk);
    let mut scratch = Vec::new();
    let mut reader = RunReader::new(&*file, &runs[0], 0, &mut scratch).unwrap();
    let Some(Found::Item(first)) = reader.read_next().unwrap() else { panic!("an item") };
    let Some(Found::Item(second)) = reader.read_next().unwrap() else { panic!("an item") };
    same(&message_of(&*file, &mut reader, &second).unwrap(), &written[1].message);
    disk.fail(When::Nth(Call::Read, 1), FaultKind::Short(100));
    disk.fail(When::Nth(Call::Read, 2), FaultKind::Io);
    assert!(reader.content(&first).is_err());
    for (item, written) in [second, first].iter().zip(written.iter().rev()) {
        same(&message_of(&*file, &mut reader, item).unwrap(), &written.message);
    }
}

#[test]
fn what_is_finished_outlives_every_crash_once_its_name_is_synced() {
    let small = vec![vec![Some(300), Some(DIRECT)], vec![None]];
    let disk = SimulatedDisk::new(1);
    write(&disk, Kind::Durable, &small).unwrap();
    let operations = disk.operations() + 1;
    for crash in 1..=operations + 1 {
        let disk = SimulatedDisk::new(crash);
        disk.crash_at(crash);
        let result = write(&disk, Kind::Durable, &small);
        let finished = result.and_then(|written| disk.sync_dir().map(|()| written));
        assert_eq!(finished.is_ok(), crash > operations);
        for how in Crash::EACH {
            let copy = disk.after_crash(how);
            if let Ok((written, runs, _)) = &finished {
                assert_eq!(found(&*open(&copy), written, runs, 4096).0.len(), written.len());
            }
            // Half a segment is in nobody's way.
            let (written, runs, _) = write(&copy, Kind::Durable, &small).unwrap();
            assert_eq!(found(&*open(&copy), &written, &runs, 4096).0.len(), written.len());
        }
    }
}

#[test]
fn a_transient_segment_is_not_synced() {
    let disk = SimulatedDisk::new(1);
    disk.fail(When::Every(Call::Sync), FaultKind::Io);
    let (written, runs, _) = write(&disk, Kind::Transient, &plan()).unwrap();
    assert_eq!(found(&*open(&disk), &written, &runs, 4096).0.len(), written.len());
}
