//! Records of dead letters, counts, lifetimes and parameters: as they are read, and what a start makes of them.

use proptest::prelude::*;

use super::*;
use crate::deaths::Reason;
use crate::queue::log::StoredMessage;
use crate::storage::codec::Reader;
use crate::storage::record::{Alike, Definition, Enqueued, Entry, Parameter, decode, put_enqueued};

fn reason() -> impl Strategy<Value = Reason> {
    prop::sample::select(vec![Reason::Rejected, Reason::Expired, Reason::MaxLen, Reason::DeliveryLimit])
}

fn parameter() -> impl Strategy<Value = Parameter> {
    (".{0,12}", ".{0,12}", ".{0,300}").prop_map(|(component, name, value)| Parameter {
        component,
        name,
        value,
    })
}

/// A message that says how long it may wait, or not.
fn mortal(n: u64, size: usize, lifetime: Option<u64>) -> Message {
    let mut builder = PropertiesBuilder::new();
    builder.set_delivery_mode(2).set_timestamp(n);
    if let Some(lifetime) = lifetime {
        builder.set_expiration(lifetime.to_string());
    }
    let raw = builder.finish();
    MessageBuilder::default().build("x", "key", Properties::parse(&raw).unwrap(), Body::Owned(body(n, size)))
}

/// The bytes of a record are that entry, and fewer of them are none.
fn is_read(bytes: &[u8], entry: &Entry) {
    let mut reader = Reader(bytes);
    assert_eq!(decode(&mut reader).as_ref(), Some(entry));
    assert!(reader.0.is_empty());
    for len in 0..bytes.len() {
        assert_eq!(decode(&mut Reader(&bytes[..len])), None, "{len} of {} bytes", bytes.len());
    }
}

proptest! {
    #[test]
    fn what_was_encoded_is_decoded(
        (queue, position, reason, count) in (any::<u64>(), any::<u64>(), reason(), any::<u32>()),
        (vhost, parameter) in (".{0,12}", parameter()),
    ) {
        let (queue, position) = (QueueId(queue), Position(position));
        let Parameter { component, name, .. } = parameter.clone();
        let cleared = Definition::ParameterCleared(vhost.clone(), component.clone(), name.clone());
        let records = [
            (Record::Dead { queue, position, reason }, Entry::Dead(queue, position, reason)),
            (Record::Returned { queue, position, count }, Entry::Returned(queue, position, count)),
            (
                Record::ParameterSet { vhost: &vhost, parameter: &parameter },
                Entry::Definition(Box::new(Definition::ParameterSet(vhost.clone(), parameter.clone()))),
            ),
            (
                Record::ParameterCleared { vhost: &vhost, component: &component, name: &name },
                Entry::Definition(Box::new(cleared)),
            ),
        ];
        for (record, entry) in records {
            let mut bytes = Vec::new();
            record.encode(&mut bytes);
            is_read(&bytes, &entry);
        }
    }

    #[test]
    fn an_enqueue_says_whether_the_message_has_a_lifetime(
        (queue, position) in (any::<u64>(), 0..u64::MAX),
        (size, lifetime, address) in (0_usize..20_000, any::<Option<u64>>(), any::<Option<u64>>()),
    ) {
        let message = mortal(1, size, lifetime);
        let (queue, position) = (QueueId(queue), Position(position));
        let mut bytes = Vec::new();
        put_enqueued(&mut bytes, queue, position, &message, address);
        let stored_len = u32::try_from(crate::storage::item::stored_len(&message)).unwrap();
        let (body_len, has_lifetime) = (u32::try_from(size).unwrap(), lifetime.is_some());
        is_read(&bytes, &Entry::Enqueued(Enqueued { queue, position, address, stored_len, body_len, has_lifetime, count: 1 }));
    }
}

proptest! {
    #[test]
    fn messages_that_are_alike_are_one_record(
        (queue, position, count) in (any::<u64>(), 0..u64::MAX / 2, 1_u64..1 << 40),
        (stored_len, body_len) in (1..u32::MAX, any::<u32>()),
    ) {
        let (queue, position) = (QueueId(queue), Position(position));
        let alike =
            Alike { queue, position, count, stored_len: stored_len.into(), body_len: body_len.into() };
        let mut bytes = Vec::new();
        alike.encode(&mut bytes);
        let read = Enqueued { queue, position, address: None, stored_len, body_len, has_lifetime: false, count };
        if u64::from(stored_len).checked_mul(count).is_some() {
            is_read(&bytes, &Entry::Enqueued(read));
        } else {
            prop_assert_eq!(decode(&mut Reader(&bytes)), None);
        }
        let next = |position, queue, stored_len, body_len| {
            let next = Alike { queue, position: Position(position), count: 1, stored_len, body_len };
            alike.goes_on_with(&next)
        };
        let Alike { stored_len, body_len, .. } = alike;
        let end = position.0 + count;
        prop_assert!(next(end, queue, stored_len, body_len));
        prop_assert!(!next(end + 1, queue, stored_len, body_len));
        prop_assert!(!next(end, QueueId(queue.0 ^ 1), stored_len, body_len));
        prop_assert!(!next(end, queue, stored_len + 1, body_len) && !next(end, queue, stored_len, body_len + 1));
    }
}

#[test]
fn none_or_too_many_alike_or_of_no_length_are_no_record() {
    let most = [0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1];
    for (count, stored_len, is_record) in
        [([2].as_slice(), 1, true), (&[0], 1, false), (&[2], 0, false), (&most[..], 1, false)]
    {
        let bytes = [&[13, 1, 1], count, &[stored_len, 1]].concat();
        assert_eq!(decode(&mut Reader(&bytes)).is_some(), is_record, "{bytes:?}");
    }
}

/// What comes together and is alike is one record, and comes back as so many messages.
#[test]
fn a_start_finds_each_of_those_that_are_alike() {
    let disk = SimulatedDisk::new(1);
    let (journal, _) = open(&disk).unwrap();
    declare(&journal, QUEUE);
    let other = QueueId(QUEUE.0 + 1);
    declare(&journal, other);
    let sizes = [100, 100, 100, 7, 7, 100, 100, 20_000, 20_000, 20_000];
    let all: Vec<_> =
        sizes.into_iter().enumerate().map(|(n, size)| (n as u64, message(n as u64, size))).collect();
    let before = journal.end();
    let end = journal.append(|batch| {
        for (n, message) in &all {
            batch.record(&Record::Enqueued { queue: QUEUE, position: Position(*n), message });
        }
        batch.removed(QUEUE, Position(1));
        for (n, message) in &all[..3] {
            batch.record(&Record::Enqueued { queue: other, position: Position(*n), message });
        }
    });
    // Four stretches, the removal, and three that refer to what is stored.
    assert_eq!(end.0 - before.0, 4 + 1 + 3);
    assert!(journal.wait_durable(end));
    drop(journal);
    let (_journal, mut image) = open(&disk).unwrap();
    let queues = image.take("/").queues;
    let found = |id: QueueId| {
        let queue = queues.iter().find(|queue| queue.id == id).unwrap();
        let told =
            |message: StoredMessage| (message.position.0, message.address, u64::from(message.body_len));
        queue.content.messages.iter().map(told).collect::<Vec<_>>()
    };
    let expected = |(n, message): &(u64, Message)| (*n, message.stored_at(), message.body_len());
    let mut expected: Vec<_> = all.iter().map(expected).collect();
    assert_eq!(found(other), expected[..3]);
    expected.remove(1);
    assert_eq!(found(QUEUE), expected);
}

#[test]
fn an_unknown_reason_or_too_high_a_count_is_no_record() {
    for (tag, last) in [(22, [0].as_slice()), (22, &[5]), (23, &[0x80, 0x80, 0x80, 0x80, 0x10])] {
        let bytes = [&[tag, 1, 1], last].concat();
        assert_eq!(decode(&mut Reader(&bytes)), None, "{bytes:?}");
    }
}

/// Deaths come back in their order, in whatever lanes; counts as they were last; and of what left the queue nothing.
#[test]
fn a_start_knows_what_is_dead_and_what_came_back() {
    let disk = SimulatedDisk::new(1);
    let (journal, _) = open(&disk).unwrap();
    declare(&journal, QUEUE);
    let lane = Position::first_of(3);
    let at = |n: u64| Position(lane.0 + n);
    for n in 0..6 {
        enqueue(&journal, QUEUE, at(n).0, &mortal(n, 100, (n == 2).then_some(5)));
        enqueue(&journal, QUEUE, n, &message(n, 100));
    }
    let dead = |position, reason| {
        journal.append(|batch| batch.record(&Record::Dead { queue: QUEUE, position, reason }));
    };
    let returned = |position, count| {
        journal.append(|batch| batch.record(&Record::Returned { queue: QUEUE, position, count }));
    };
    [(at(0), 1), (at(1), 1), (at(0), 2), (Position(3), 7), (Position(4), 1)]
        .into_iter()
        .for_each(|(position, count)| returned(position, count));
    dead(at(4), Reason::MaxLen);
    dead(Position(4), Reason::Expired);
    dead(Position(0), Reason::DeliveryLimit);
    dead(at(2), Reason::Rejected);
    // A letter that has gone, and one message that was acknowledged after it came back.
    remove(&journal, QUEUE, 0);
    remove(&journal, QUEUE, at(1).0);
    assert!(journal.wait_durable(journal.end()));
    let Found { definitions, messages, .. } = found(&disk.after_crash(Crash::DropUnsynced)).unwrap();
    let marks = &definitions.queues[0].content.marks;
    let dead = [(at(4), Reason::MaxLen), (Position(4), Reason::Expired), (at(2), Reason::Rejected)];
    assert_eq!(marks.dead, dead);
    assert_eq!(marks.counts, [(Position(3), 7), (at(0), 2)], "the dead are not counted");
    assert!(marks.has_lifetimes);
    assert!(marks.lanes.iter().map(|lane| (lane.number, lane.next)).eq([(0, Position(6)), (3, at(6))]));
    assert_eq!(messages.len(), 10);
    assert_eq!(messages[&(QUEUE, at(2).0)].lifetime(), Some(5));
}

#[test]
fn the_last_word_on_a_parameter_counts() {
    let disk = SimulatedDisk::new(1);
    let (journal, _) = open(&disk).unwrap();
    let parameter = |name: &str, value: &str| Parameter {
        component: "policy".to_owned(),
        name: name.to_owned(),
        value: value.to_owned(),
    };
    let set = |vhost, parameter: &Parameter| {
        journal.append(|batch| batch.record(&Record::ParameterSet { vhost, parameter }));
    };
    for (name, value) in [("a", "1"), ("b", "2"), ("a", "3"), ("c", "4")] {
        set(VHOST, &parameter(name, value));
    }
    set("other", &parameter("b", "5"));
    for (component, name) in [("policy", "b"), ("operator_policy", "a"), ("policy", "none")] {
        let vhost = VHOST;
        journal.append(|batch| batch.record(&Record::ParameterCleared { vhost, component, name }));
    }
    assert!(journal.wait_durable(journal.end()));
    let (_, mut image) = open(&disk.after_crash(Crash::DropUnsynced)).unwrap();
    assert_eq!(image.take(VHOST).parameters, [parameter("a", "3"), parameter("c", "4")]);
    assert_eq!(image.take("other").parameters, [parameter("b", "5")]);
}
