//! Messages are read again by their address, as long as their file is needed or somebody holds it.

use super::*;
use crate::storage::item;

/// Retires all files but the newest, as if nothing in them were needed.
fn retire_all(disk: &SimulatedDisk, journal: &Journal) {
    assert!(journal.wait_durable(journal.end()));
    let retiring = journal.begin_retire(journal.end(), usize::MAX).unwrap();
    say_needed(disk, retiring.oldest).unwrap();
    journal.say_retired();
    journal.end_retire(false).unwrap();
}

#[test]
fn a_message_is_read_once_it_is_written_and_until_it_is_retired() {
    let disk = SimulatedDisk::new(1);
    let (journal, _) = open_with(&disk, small()).unwrap();
    assert!(journal.wait_durable(declare(&journal, QUEUE)));
    let sent: Vec<Message> = (0..40).map(|n| message(n, if n % 5 == 0 { 20_000 } else { 500 })).collect();
    for (n, message) in (0..).zip(&sent) {
        let lsn = enqueue(&journal, QUEUE, n, message);
        if n % 3 == 0 {
            assert!(journal.wait_durable(lsn));
        }
    }
    assert!(journal.wait_durable(journal.end()));
    let addresses: Vec<u64> = sent.iter().map(Message::stored_at).collect();
    assert!(addresses.is_sorted() && addresses[0] == 1);
    assert_eq!(journal.written_address(), addresses[39] + item::stored_len(&sent[39]));
    for (message, at) in sent.iter().zip(journal.locate_all(&addresses)) {
        let len = item::stored_len(message);
        let (one, at) = (journal.locate(message.stored_at()).unwrap(), at.unwrap());
        assert_eq!((one.offset, one.seal, one.until), (at.offset, at.seal, at.until));
        assert!(at.offset + len <= at.until);
        let found = journal.read(message.stored_at(), len).unwrap().unwrap();
        assert!(found.body() == message.body() && found.stored_at() == message.stored_at());
        assert!(journal.read(message.stored_at(), len - 1).unwrap().is_none());
        assert!(journal.read(message.stored_at(), len + 1).unwrap().is_none());
        assert!(journal.read(message.stored_at() + 1, len).unwrap().is_none());
        assert!(journal.read(message.stored_at(), u64::MAX).unwrap().is_none());
    }
    for address in [0, journal.written_address(), u64::MAX] {
        assert!(journal.locate(address).is_none(), "{address}");
    }
    let first = journal.oldest();
    retire_all(&disk, &journal);
    assert!(first == 1 && journal.oldest() > first);
    assert!(journal.locate(addresses[0]).is_none());
    assert!(journal.read(addresses[0], item::stored_len(&sent[0])).unwrap().is_none());
}

#[test]
fn a_file_that_somebody_reads_from_is_not_written_over_or_removed() {
    let disk = SimulatedDisk::new(1);
    let (journal, _) = open_with(&disk, small()).unwrap();
    declare(&journal, QUEUE);
    let mut held = Vec::new();
    for n in 0..60 {
        let message = message(n, 900);
        assert!(journal.wait_durable(enqueue(&journal, QUEUE, n, &message)));
        if n % 6 == 0 {
            let located = journal.locate(message.stored_at()).unwrap();
            held.push((message, located));
        }
        if n % 10 == 9 {
            retire_all(&disk, &journal);
        }
    }
    for (message, located) in &held {
        let mut bytes = vec![0; item::stored_len(message) as usize];
        crate::storage::disk::read_exact_at(&*located.file, &mut bytes, located.offset).unwrap();
        let (found, _) = item::parse(&bytes, located.seal).unwrap();
        assert!(found.body() == message.body());
    }
    let files = disk.snapshot().len();
    assert!(files > held.len(), "{files}");
    held.clear();
    // Now they are used again, and removed.
    for n in 60..120 {
        assert!(journal.wait_durable(enqueue(&journal, QUEUE, n, &message(n, 900))));
        if n % 10 == 9 {
            retire_all(&disk, &journal);
        }
    }
    let fewer = disk.snapshot().len();
    assert!(fewer < files, "{fewer} of {files}");
    drop(journal);
    assert!(found(&disk).is_ok());
}

#[test]
fn what_an_earlier_life_of_a_file_left_is_no_message() {
    let disk = SimulatedDisk::new(1);
    let (journal, _) = open_with(&disk, small()).unwrap();
    declare(&journal, QUEUE);
    let mut lives: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for n in 0..200 {
        // All groups of a file are alike, so that the items of its lives lie in the same places.
        let message = message(7, 900);
        assert!(journal.wait_durable(enqueue(&journal, QUEUE, n, &message)));
        let located = journal.locate(message.stored_at()).unwrap();
        lives.entry(located.offset).or_default().push(u64::from(located.seal));
        drop(located);
        if n % 10 == 9 {
            retire_all(&disk, &journal);
        }
    }
    assert!(lives.values().any(|seals| seals.len() > 5));
    let seals: std::collections::BTreeSet<u64> = lives.values().flatten().copied().collect();
    // Whatever stands in the files is sound in one life only.
    for content in disk.snapshot().values() {
        for offset in lives.keys().map(|offset| *offset as usize) {
            let Some(rest) = content.get(offset..) else { continue };
            let sound = seals.iter().filter(|seal| item::parse(rest, **seal as u32).is_some()).count();
            assert!(sound <= 1);
        }
    }
}

#[test]
fn retiring_that_was_given_up_leaves_all_as_it_was() {
    let disk = SimulatedDisk::new(1);
    let (journal, _) = open_with(&disk, small()).unwrap();
    (1..=2).map(QueueId).for_each(|id| {
        declare(&journal, id);
    });
    let first = message(0, 500);
    enqueue(&journal, QUEUE, 0, &first);
    for n in 1..20 {
        assert!(journal.wait_durable(enqueue(&journal, QUEUE, n, &message(n, 500))));
    }
    let at = first.stored_at();
    let retiring = journal.begin_retire(journal.end(), 1).unwrap();
    assert!(at < retiring.below && retiring.oldest == 2 && retiring.bytes > 4096);
    journal.append(|batch| assert_eq!(batch.own(first.clone()).stored_at(), 0, "a copy"));
    journal.abort_retire();
    journal.append(|batch| assert_eq!(batch.own(first.clone()).stored_at(), at));
    let before = journal.written_address();
    assert!(journal.wait_durable(enqueue(&journal, QueueId(2), 0, &first)));
    assert_eq!((journal.written_address(), journal.oldest()), (before, 1), "it is referred to");
    drop(journal);
    assert_eq!(found(&disk).unwrap().messages.len(), 21);
}
