//! Tests of the catalogue: what was committed is what is read, whatever happens to the disk.

mod crashes;
mod damage;
mod faults;
mod figures;

use std::collections::BTreeMap;

use proptest::prelude::*;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use roaring::RoaringTreemap;

use super::*;
use crate::deaths::Reason;
use crate::ids::Position;
use crate::queue::{LaneState, Marks};
use crate::storage::disk::RealDisk;
use crate::storage::simulated_disk::{Call, FaultKind, SimulatedDisk, When};

fn open(disk: &SimulatedDisk) -> io::Result<(Catalogue, Snapshot)> {
    Catalogue::open(Arc::new(disk.clone()))
}

/// How many seeds to run beyond what a test has time for: `LEVERET_SIM_SEEDS`.
fn seeds() -> u64 {
    std::env::var("LEVERET_SIM_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(0)
}

/// What a snapshot is after a change.
fn applied(before: &Snapshot, change: &Change) -> Snapshot {
    fn put<K: Ord, V>(map: &mut BTreeMap<K, V>, key: K, value: Option<V>) {
        match value {
            Some(value) => drop(map.insert(key, value)),
            None => drop(map.remove(&key)),
        }
    }
    let mut definitions: BTreeMap<_, _> = before.definitions.iter().cloned().collect();
    let mut queues: BTreeMap<_, _> = before.queues.iter().map(|queue| (queue.id, queue.clone())).collect();
    let mut segments: BTreeMap<_, _> =
        before.segments.iter().map(|segment| (segment.number, segment.len)).collect();
    change.definitions.iter().cloned().for_each(|(vhost, records)| put(&mut definitions, vhost, records));
    change.queues.iter().cloned().for_each(|(id, queue)| put(&mut queues, id, queue));
    change.segments.iter().for_each(|(number, len)| put(&mut segments, *number, *len));
    Snapshot {
        oldest: change.oldest,
        last_queue: change.last_queue,
        last_segment: change.last_segment,
        definitions: definitions.into_iter().collect(),
        queues: queues.into_values().collect(),
        segments: segments.into_iter().map(|(number, len)| StoredSegment { number, len }).collect(),
    }
}

fn random_queue(id: QueueId, random: &mut StdRng) -> StoredQueue {
    let mut at = 0;
    let runs = (0..random.random_range(0..5))
        .map(|_| {
            let mut live = RoaringTreemap::new();
            for _ in 0..random.random_range(0..4) {
                let most = 1 << random.random_range(1..34);
                at += random.random_range(0..most);
                let until = at + random.random_range(0..200);
                live.insert_range(at..until);
                at = until;
            }
            let from = random.random_range(0..1 << 34);
            let until = from + random.random_range(0..1 << 20);
            StoredRun { segment: random.random_range(0..1 << 28), from, until, bytes: random.random(), live }
        })
        .collect();
    let lane =
        |number| LaneState { number, delivered: Position(random.random()), next: Position(random.random()) };
    let marks = Marks {
        lanes: [0, 3, 255].map(lane).to_vec(),
        dead: vec![(Position(random.random()), Reason::Expired), (Position(7), Reason::MaxLen)],
        counts: vec![(Position(random.random()), random.random())],
        has_lifetimes: random.random(),
    };
    StoredQueue { id, marks, runs }
}

/// A change among `queues` queues and some of everything else.
fn random_change(random: &mut StdRng, queues: u64) -> Change {
    let count = |random: &mut StdRng, most: usize| 0..random.random_range(0..=most);
    let definitions = count(random, 3)
        .map(|_| {
            let vhost = ["/", "a", "test", ""][random.random_range(0..4)].to_owned();
            let most = 1 << random.random_range(1..15);
            let len = random.random_range(0..most);
            (vhost, random.random_bool(0.8).then(|| (0..len).map(|_| random.random()).collect()))
        })
        .collect();
    let changed = count(random, 30)
        .map(|_| {
            let id = QueueId(random.random_range(1..=queues));
            (id, random.random_bool(0.7).then(|| random_queue(id, random)))
        })
        .collect();
    let segments = count(random, 6)
        .map(|_| (random.random_range(0..20), random.random_bool(0.6).then(|| random.random())))
        .collect();
    Change {
        oldest: random.random(),
        last_queue: random.random(),
        last_segment: random.random(),
        definitions,
        queues: changed,
        segments,
    }
}

/// Random changes, and what there is before the first and after each.
fn history(seed: u64, length: usize, queues: u64) -> (Vec<Change>, Vec<Snapshot>) {
    let mut random = StdRng::seed_from_u64(seed);
    let changes: Vec<_> = (0..length).map(|_| random_change(&mut random, queues)).collect();
    let mut states = vec![Snapshot::default()];
    for change in &changes {
        states.push(applied(&states[states.len() - 1], change));
    }
    (changes, states)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn what_was_committed_is_read(seed: u64, reopened in prop::collection::vec(any::<bool>(), 1..12)) {
        let (changes, states) = history(seed, reopened.len(), 40);
        let disk = SimulatedDisk::new(seed);
        let (mut catalogue, snapshot) = open(&disk).unwrap();
        prop_assert_eq!(&snapshot, &states[0]);
        for ((change, state), reopened) in changes.iter().zip(&states[1..]).zip(reopened) {
            catalogue.commit(change).unwrap();
            if reopened {
                let (again, snapshot) = open(&disk).unwrap();
                prop_assert_eq!(&snapshot, state);
                catalogue = again;
            }
        }
        prop_assert_eq!(&open(&disk).unwrap().1, &states[states.len() - 1]);
    }

    #[test]
    fn no_value_is_taken_for_another(bytes in any::<Vec<u8>>(), number: u64) {
        prop_assert_eq!(format::decode_queue(QueueId(number), &bytes), None);
        prop_assert_eq!(format::decode_segment(number, &bytes), None);
        prop_assert_eq!(format::decode_meta(&bytes), None);
        prop_assert_eq!(format::decode_definitions("/", &bytes), None);
        let sealed = format::encode_segment(number, 7);
        prop_assert_eq!(format::decode_segment(number, &sealed), Some(7));
        prop_assert_eq!(format::decode_segment(number.wrapping_add(1), &sealed), None);
        prop_assert_eq!(format::decode_queue(QueueId(number), &sealed), None);
    }
}

#[test]
fn the_first_commit_creates_it_and_a_start_writes_nothing() {
    let disk = SimulatedDisk::new(1);
    let (catalogue, snapshot) = open(&disk).unwrap();
    assert_eq!(snapshot, Snapshot::default());
    assert!(disk.snapshot().is_empty());
    let (changes, states) = history(1, 3, 10);
    for (change, state) in changes.iter().zip(&states[1..]) {
        catalogue.commit(change).unwrap();
        assert_eq!(disk.snapshot().keys().collect::<Vec<_>>(), [NAME]);
        [Call::Write, Call::SetLen, Call::Remove]
            .into_iter()
            .for_each(|call| disk.fail(When::Every(call), FaultKind::Io));
        assert_eq!(&open(&disk).unwrap().1, state);
        disk.clear_faults();
    }
}

#[test]
fn what_is_left_of_a_first_commit_goes() {
    let disk = SimulatedDisk::new(1);
    disk.open(DRAFT, Open::Create).unwrap();
    let (catalogue, snapshot) = open(&disk).unwrap();
    assert_eq!(snapshot, Snapshot::default());
    assert!(disk.snapshot().is_empty());
    disk.open(DRAFT, Open::Create).unwrap();
    catalogue.commit(&Change { oldest: 3, ..Change::default() }).unwrap();
    assert_eq!(open(&disk).unwrap().1, Snapshot { oldest: 3, ..Snapshot::default() });
}

#[test]
fn it_is_the_same_on_a_real_disk() {
    let directory = tempfile::tempdir().unwrap();
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::open(directory.path()).unwrap());
    let (changes, states) = history(5, 6, 100);
    for (change, (before, after)) in changes.iter().zip(states.iter().zip(&states[1..])) {
        let (catalogue, snapshot) = Catalogue::open(disk.clone()).unwrap();
        assert_eq!(&snapshot, before);
        catalogue.commit(change).unwrap();
        assert_eq!(&Catalogue::open(disk.clone()).unwrap().1, after);
    }
}

#[test]
fn positions_are_stored_as_runs_and_far_apart() {
    let disk = SimulatedDisk::new(1);
    let mut live = RoaringTreemap::new();
    live.insert_range(10..10_000_000);
    live.extend([1 << 40, u64::MAX]);
    let queue = StoredQueue {
        id: QueueId(9),
        runs: vec![StoredRun { live, ..StoredRun::default() }],
        ..StoredQueue::default()
    };
    assert!(format::encode_queue(queue.id, &queue).unwrap().len() < 4096);
    let change = Change { queues: vec![(queue.id, Some(queue.clone()))], ..Change::default() };
    open(&disk).unwrap().0.commit(&change).unwrap();
    assert_eq!(open(&disk).unwrap().1.queues, [queue]);
}

#[test]
fn another_version_is_refused() {
    let disk = SimulatedDisk::new(1);
    let (catalogue, _) = open(&disk).unwrap();
    catalogue.commit(&Change::default()).unwrap();
    let failure = Failure::default();
    let backend = Backend::new(disk.open(NAME, Open::Write).unwrap(), failure);
    let database = Builder::new().create_with_backend(backend).unwrap();
    let transaction = database.begin_write().unwrap();
    let mut value = vec![3, 77];
    value.extend_from_slice(&crc32fast::hash(b"metacatalogue\x03\x4D").to_le_bytes());
    transaction.open_table(META).unwrap().insert(META_KEY, &value[..]).unwrap();
    transaction.commit().unwrap();
    drop(database);
    for error in [open(&disk).unwrap_err(), catalogue.commit(&Change::default()).unwrap_err()] {
        assert_eq!(error.kind(), ErrorKind::InvalidData);
        assert_eq!(error.to_string(), "catalogue: another format version");
    }
}

#[test]
fn a_small_change_costs_little_in_a_large_catalogue() {
    let disk = SimulatedDisk::new(1);
    let mut random = StdRng::seed_from_u64(1);
    let queues = (1..3000).map(|id| (QueueId(id), Some(random_queue(QueueId(id), &mut random)))).collect();
    let (catalogue, _) = open(&disk).unwrap();
    catalogue.commit(&Change { queues, ..Change::default() }).unwrap();
    let calls = |change: &Change| {
        let before = disk.operations();
        catalogue.commit(change).unwrap();
        disk.operations() - before
    };
    let one = (QueueId(1500), Some(random_queue(QueueId(1500), &mut random)));
    let small = calls(&Change { queues: vec![one], ..Change::default() });
    assert!(small < 300, "{small} calls");
}
