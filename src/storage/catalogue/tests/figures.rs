//! How long it takes: `cargo test --release --lib catalogue::tests::figures -- --ignored --nocapture`.

use std::fmt::Write as _;
use std::time::Instant;

use super::*;

/// The queues of a range, each with one run of one position.
fn queues(ids: impl Iterator<Item = u64>, at: u64) -> Change {
    let queue = |id| {
        let live = RoaringTreemap::from_iter([at + id]);
        let run = StoredRun { segment: 1, from: id * 1000, until: id * 1000 + 1000, bytes: 1000, live };
        (
            QueueId(id),
            Some(StoredQueue {
                id: QueueId(id),
                marks: Marks {
                    lanes: vec![LaneState { number: 0, delivered: Position(at), next: Position(at + 1) }],
                    ..Marks::default()
                },
                runs: vec![run],
            }),
        )
    };
    Change {
        oldest: at,
        last_queue: 100_000,
        last_segment: 1,
        queues: ids.map(queue).collect(),
        ..Change::default()
    }
}

#[test]
#[ignore = "it measures"]
#[allow(clippy::disallowed_methods, reason = "the clock is what this is about")]
fn a_hundred_thousand_queues() {
    let directory = tempfile::tempdir_in(".").unwrap();
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::open(directory.path()).unwrap());
    let mut told = String::new();
    let mut note = |what: &str, work: &mut dyn FnMut()| {
        let begin = Instant::now();
        work();
        let taken = begin.elapsed();
        let size = std::fs::metadata(directory.path().join(NAME)).map_or(0, |file| file.len());
        writeln!(told, "{what}: {taken:?}, the file has {size} bytes").unwrap();
    };
    let (catalogue, _) = Catalogue::open(disk.clone()).unwrap();
    note("the first commit, of 100,000 queues", &mut || catalogue.commit(&queues(1..=100_000, 1)).unwrap());
    for round in 2..5 {
        note("open", &mut || assert_eq!(Catalogue::open(disk.clone()).unwrap().1.queues.len(), 100_000));
        note("a commit of nothing", &mut || catalogue.commit(&Change::default()).unwrap());
        let some = queues((1..=100_000).step_by(1000), round);
        note("a commit of 100 queues", &mut || catalogue.commit(&some).unwrap());
    }
    for round in 5..8 {
        let all = queues(1..=100_000, round);
        note("a commit of all queues", &mut || catalogue.commit(&all).unwrap());
    }
    println!("{told}");
}
