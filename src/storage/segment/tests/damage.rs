//! Media that go bad: never a wrong message, and nothing lost but what was hit.

use super::*;

/// Small messages of three queues, the last of references only.
fn small() -> (SimulatedDisk, Vec<Written>, Vec<Run>, u64) {
    let disk = SimulatedDisk::new(1);
    let plan = vec![vec![Some(0), Some(20), Some(61)], vec![Some(100), None, Some(7)], vec![None, None]];
    let (written, runs, len) = write(&disk, Kind::Durable, &plan).unwrap();
    (disk, written, runs, len)
}

/// Whether the message of `item` is there if all of `hit` is damaged.
fn survives(item: &Written, written: &[Written], hit: impl Fn(&Written) -> bool + Copy) -> bool {
    let target = item.target.and_then(|target| written.iter().find(|item| item.offset == target));
    !hit(item) && !target.is_some_and(hit)
}

fn flipped(disk: &SimulatedDisk, offset: u64, bit: u8) -> Arc<dyn DiskFile> {
    let copy = disk.after_crash(Crash::KeepAll);
    copy.flip_bit(&name_of(NUMBER), offset, bit).unwrap();
    open(&copy)
}

#[test]
fn a_bit_flipped_anywhere_loses_what_it_hits_and_no_more() {
    let (disk, written, runs, len) = small();
    for offset in SEGMENT_HEADER..len {
        for bit in [0, 3, 7] {
            let file = flipped(&disk, offset, bit);
            let hit = |item: &Written| (item.offset..item.end).contains(&offset);
            let expected = written.iter().filter(|item| survives(item, &written, hit));
            let expected: Vec<u64> = expected.map(|item| item.offset).collect();
            let (sound, damaged, gaps) = found(&*file, &written, &runs, 64);
            assert_eq!(sound, expected, "at {offset}");
            assert_eq!(damaged.len() + gaps.len(), written.len() - expected.len(), "at {offset}");
            for item in &written {
                let message = read_item(&*file, NUMBER, item.offset).unwrap();
                assert_eq!(message.is_some(), expected.contains(&item.offset));
                message.iter().for_each(|(_, _, message)| same(message, &item.message));
            }
            let report = check(&*file, NUMBER).unwrap();
            assert_eq!((report.messages + report.references) as usize, expected.len(), "at {offset}");
            assert_eq!(report.damaged.len(), written.len() - expected.len(), "at {offset}");
        }
    }
}

#[test]
fn a_damaged_item_is_told_by_its_place() {
    let (disk, written, runs, _) = small();
    let (item, next) = (&written[1], &written[2]);
    // In the header: nothing is known but that something is missing.
    let file = flipped(&disk, item.offset + 8, 0);
    assert_eq!(found(&*file, &written, &runs, 4096).2, [(item.offset, next.offset)]);
    let damage = Damage { offset: item.offset, len: next.offset - item.offset, message: None };
    assert_eq!(check(&*file, NUMBER).unwrap().damaged, [damage]);
    // In the body: its place in the queue is known.
    let file = flipped(&disk, item.end - 1, 0);
    assert_eq!(found(&*file, &written, &runs, 4096).1, [item.offset]);
    let message = Some((item.queue, item.position));
    let damage = Damage { offset: item.offset, len: item.end - item.offset, message };
    assert_eq!(check(&*file, NUMBER).unwrap().damaged, [damage]);
}

#[test]
fn a_file_cut_to_any_length_has_what_lies_before() {
    let (disk, written, runs, len) = small();
    for len in 0..len {
        let copy = disk.after_crash(Crash::KeepAll);
        copy.truncate(&name_of(NUMBER), len).unwrap();
        let file = open(&copy);
        let hit = |item: &Written| item.end > len;
        let expected = written.iter().filter(|item| survives(item, &written, hit));
        let expected: Vec<u64> = expected.map(|item| item.offset).collect();
        for chunk in [0, 4096] {
            assert_eq!(found(&*file, &written, &runs, chunk).0, expected, "at {len}");
        }
        let report = check(&*file, NUMBER).unwrap();
        assert_eq!((report.messages + report.references) as usize, expected.len(), "at {len}");
    }
}

#[test]
fn items_of_other_segments_and_queues_are_not_sound() {
    let (disk, written, runs, len) = small();
    let file = open(&disk);
    for item in &written {
        assert!(read_item(&*file, NUMBER + 1, item.offset).unwrap().is_none());
    }
    let mut scratch = Vec::new();
    for run in [
        Run { segment: NUMBER + 1, ..runs[0] },
        Run { queue: QueueId(99), ..runs[0] },
        Run { from: runs[0].from + 1, ..runs[0] },
        Run { from: len, until: u64::MAX, ..runs[0] },
        Run { from: u64::MAX - 1, until: u64::MAX, ..runs[0] },
    ] {
        let mut reader = RunReader::new(&*file, &run, 4096, &mut scratch).unwrap();
        let all = Found::Damaged { from: run.from, to: run.until };
        assert_eq!((reader.read_next().unwrap(), reader.read_next().unwrap()), (Some(all), None));
    }
    for offset in [0, 1, SEGMENT_HEADER + 8, len - 8, len, u64::MAX] {
        assert!(read_item(&*file, NUMBER, offset).unwrap().is_none());
    }
    let empty = Run { until: runs[0].from, ..runs[0] };
    assert_eq!(RunReader::new(&*file, &empty, 4096, &mut scratch).unwrap().read_next().unwrap(), None);
    // A run that begins too early, as one would after a message that is gone.
    for from in [0, SEGMENT_HEADER - 8] {
        let early = Run { from, ..runs[0] };
        let mut reader = RunReader::new(&*file, &early, 4096, &mut scratch).unwrap();
        let gap = Found::Damaged { from, to: SEGMENT_HEADER };
        assert_eq!(reader.read_next().unwrap(), Some(gap));
        assert!(matches!(reader.read_next().unwrap(), Some(Found::Item(_))));
    }
}

#[test]
fn a_damaged_header_block_is_told_and_loses_no_message() {
    let (disk, written, runs, _) = small();
    for offset in 0..64 {
        let file = flipped(&disk, offset, 4);
        assert_eq!(found(&*file, &written, &runs, 4096).0.len(), written.len());
        if offset == 7 {
            assert_eq!(read_header(&*file).unwrap(), Err(HeaderError::Version));
            let error = check(&*file, NUMBER).unwrap_err();
            assert!(error.kind() == ErrorKind::InvalidData && error.to_string().contains("format version"));
        } else {
            assert_eq!(read_header(&*file).unwrap(), Err(HeaderError::Damaged));
            let damaged = check(&*file, NUMBER).unwrap().damaged;
            assert_eq!(damaged, [Damage { offset: 0, len: SEGMENT_HEADER, message: None }]);
        }
    }
    assert_eq!(check(&*flipped(&disk, 64, 0), NUMBER).unwrap().damaged, []);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    /// Several flips anywhere, large messages among the small ones.
    #[test]
    fn random_flips_lose_what_they_hit_and_no_more(
        plan in plans(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), 0_u8..8), 1..6),
        chunk in chunks(),
    ) {
        let disk = SimulatedDisk::new(1);
        let (written, runs, len) = write(&disk, Kind::Durable, &plan).unwrap();
        let mut bytes = std::collections::BTreeSet::new();
        for (index, bit) in flips {
            let offset = index.index(len as usize) as u64;
            if bytes.insert(offset) {
                disk.flip_bit(&name_of(NUMBER), offset, bit).unwrap();
            }
        }
        let hit = |item: &Written| bytes.range(item.offset..item.end).next().is_some();
        let expected = written.iter().filter(|item| survives(item, &written, hit));
        let expected: Vec<u64> = expected.map(|item| item.offset).collect();
        let (sound, _, _) = found(&*open(&disk), &written, &runs, chunk);
        prop_assert_eq!(sound, expected);
    }

    #[test]
    fn anything_else_is_damaged_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..9000), chunk in chunks()) {
        let disk = SimulatedDisk::new(1);
        let file = disk.open("file", Open::Create).unwrap();
        crate::storage::disk::contract::put(&*file, &bytes, 0);
        let report = check(&*file, NUMBER).unwrap();
        prop_assert_eq!((report.messages, report.references), (0, 0));
        let run = Run { segment: NUMBER, queue: QueueId(0), from: 0, until: bytes.len() as u64 };
        let mut scratch = Vec::new();
        let mut reader = RunReader::new(&*file, &run, chunk, &mut scratch).unwrap();
        while let Some(found) = reader.read_next().unwrap() {
            prop_assert!(matches!(found, Found::Damaged { .. }), "{found:?}");
        }
    }
}
