//! Files that went bad: what is read from one is right, or it is refused.

use rand::RngExt as _;

use super::*;
use crate::storage::simulated_disk::Crash;

/// Several pages of everything, in a file that was closed, or left by a kill after the last commit.
fn sample(closed: bool) -> (SimulatedDisk, Snapshot) {
    let (changes, states) = history(7, 5, 60);
    let disk = SimulatedDisk::new(7);
    let (catalogue, _) = open(&disk).unwrap();
    changes[..4].iter().for_each(|change| catalogue.commit(change).unwrap());
    if closed {
        catalogue.commit(&changes[4]).unwrap();
        return (disk, states[5].clone());
    }
    for call in 1.. {
        let found = disk.after_crash(Crash::KeepAll);
        let (catalogue, _) = open(&found).unwrap();
        found.crash_at(found.operations() + call);
        assert!(catalogue.commit(&changes[4]).is_err());
        let found = found.after_crash(Crash::KeepAll);
        if open(&found).unwrap().1 == states[5] {
            return (found, states[5].clone());
        }
    }
    unreachable!()
}

/// Opens a damaged disk, and changes it if it can be opened.
fn check(disk: &SimulatedDisk, expected: &Snapshot, told: &str) {
    let refused = |error: io::Error| {
        assert_eq!(error.kind(), ErrorKind::InvalidData, "{told}: {error}");
        assert!(error.to_string().starts_with("catalogue: "), "{told}: {error}");
    };
    match open(disk) {
        Err(error) => refused(error),
        Ok((catalogue, snapshot)) => {
            assert!(&snapshot == expected, "{told}: another snapshot");
            let change = Change { oldest: 9, segments: vec![(1, Some(5)), (2, None)], ..Change::default() };
            match catalogue.commit(&change) {
                Err(error) => refused(error),
                Ok(()) => match open(disk) {
                    Err(error) => refused(error),
                    Ok((_, snapshot)) => {
                        assert!(snapshot == applied(expected, &change), "{told}: after a change");
                    }
                },
            }
        }
    }
}

/// The bit of the header that says which of two states counts. In a file that was closed both are the same. In one
/// that was not, the other is the state before the last change, just as a crash before the flip of this bit leaves it:
/// nobody can tell.
const WHICH: (u64, u8) = (9, 0);

fn flip_bits(closed: bool) {
    let (disk, snapshot) = sample(closed);
    let len = disk.snapshot()[NAME].len() as u64;
    let mut random = StdRng::seed_from_u64(1);
    let per_kib = if seeds() > 0 { 100 } else { 4 };
    // The header, and some bits of each KiB.
    let flags = (0..32).flat_map(|offset| (0..8).map(move |bit| (offset, bit)));
    let header = (32..512).map(|offset| (offset, (offset % 8) as u8));
    let others = (0..len / 1024 * per_kib).map(|_| (random.random_range(0..len), random.random_range(0..8)));
    for (offset, bit) in flags.chain(header).chain(others).filter(|place| closed || *place != WHICH) {
        let disk = disk.after_crash(Crash::KeepAll);
        disk.flip_bit(NAME, offset, bit).unwrap();
        check(&disk, &snapshot, &format!("bit {bit} of byte {offset} of {len}"));
    }
}

#[test]
fn a_flipped_bit_is_refused_or_does_no_harm() {
    flip_bits(true);
}

#[test]
fn so_it_is_after_a_kill() {
    flip_bits(false);
}

#[test]
fn a_file_that_was_cut_is_refused() {
    for closed in [true, false] {
        let (disk, snapshot) = sample(closed);
        let len = disk.snapshot()[NAME].len() as u64;
        for cut in (0..len).filter(|cut| *cut < 330 || cut % 512 == 0 || cut % 211 == 0) {
            let disk = disk.after_crash(Crash::KeepAll);
            disk.truncate(NAME, cut).unwrap();
            check(&disk, &snapshot, &format!("cut to {cut} of {len}"));
        }
    }
}

#[test]
fn a_sector_that_was_lost_is_refused_or_does_no_harm() {
    for closed in [true, false] {
        let (disk, snapshot) = sample(closed);
        let content = disk.snapshot()[NAME].clone();
        for (number, sector) in content.chunks(512).enumerate() {
            let disk = disk.after_crash(Crash::KeepAll);
            let file = disk.open(NAME, Open::Write).unwrap();
            for with in [0x00, 0xFF] {
                let lost = vec![with; sector.len()];
                file.write_at(&[io::IoSlice::new(&lost)], number as u64 * 512).unwrap();
                check(&disk.after_crash(Crash::KeepAll), &snapshot, &format!("sector {number} of {with}"));
            }
        }
    }
}
