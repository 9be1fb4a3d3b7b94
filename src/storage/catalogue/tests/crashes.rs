//! Crashes at every call, and again while what they left is opened and changed.

use rand::RngExt as _;

use super::*;
use crate::storage::simulated_disk::Crash;

/// Opens the disk, makes `changes` until the crash, and tells how many were made. `None` if it was not opened.
fn live(disk: &SimulatedDisk, changes: &[Change]) -> Option<usize> {
    let (catalogue, _) = open(disk).ok()?;
    Some(changes.iter().take_while(|change| catalogue.commit(change).is_ok()).count())
}

fn crashes(disk: &SimulatedDisk, random: &mut StdRng) -> Vec<Crash> {
    let mut crashes = Crash::EACH.to_vec();
    crashes.push(Crash::RandomSubset);
    match disk.last_unsynced_write() {
        0 => {}
        most => crashes.extend((0..2).map(|_| Crash::TearLast { bytes: random.random_range(0..=most) })),
    }
    crashes
}

/// The state of the next start: the one after `made` changes, or after one more that was under way.
fn check(disk: &SimulatedDisk, states: &[Snapshot], made: usize, told: &str) -> usize {
    let (_, snapshot) = open(disk).unwrap_or_else(|error| panic!("{told}: {error}"));
    (made..=made + 1)
        .find(|&index| states.get(index) == Some(&snapshot))
        .unwrap_or_else(|| panic!("{told}: not the state after {made} changes or {}", made + 1))
}

/// Crashes at each call of a life with some changes; then, of some, at a call of the next life, which makes the rest.
fn crash_everywhere(seed: u64, length: usize, queues: u64) {
    let (changes, states) = history(seed, length, queues);
    let whole = SimulatedDisk::new(seed);
    assert_eq!(live(&whole, &changes), Some(length));
    let mut random = StdRng::seed_from_u64(seed);
    for at in 1..=whole.operations() + 1 {
        let disk = SimulatedDisk::new(seed);
        disk.crash_at(at);
        let made = live(&disk, &changes).unwrap_or(0);
        for how in crashes(&disk, &mut random) {
            let told = format!("seed {seed}, call {at}, {how:?}");
            let found = disk.after_crash(how);
            let first = check(&found.after_crash(Crash::KeepAll), &states, made, &told);
            if seeds() == 0 && random.random_range(0..4) > 0 {
                continue;
            }
            // The second life may be killed before it has opened the file.
            let again = random.random_range(1..100);
            found.crash_at(again);
            let more = live(&found, &changes[first..]);
            // What an open told of is durable, also if the process before was only killed.
            let made = more.map_or(made, |more| first + more);
            let seconds = crashes(&found, &mut random);
            for second in [seconds[random.random_range(0..seconds.len())], Crash::DropUnsynced] {
                let told = format!("{told}, then call {again}, {second:?}");
                let last = found.after_crash(second);
                let index = check(&last, &states, made, &told);
                assert_eq!(live(&last, &changes[index..]), Some(length - index), "{told}");
                assert!(open(&last).unwrap().1 == states[length], "{told}");
            }
        }
    }
}

#[test]
fn a_crash_leaves_the_state_before_a_change_or_after_it() {
    crash_everywhere(1, 2, 12);
}

#[test]
fn many_seeds() {
    for seed in 0..seeds() {
        crash_everywhere(seed, 3, 300);
    }
}
