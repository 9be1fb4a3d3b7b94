use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const NOW: u64 = 1_700_000_000_999;

/// A death: the queue and why.
type Step = (&'static str, Reason);

fn headers(build: impl FnOnce(&mut TableBuilder)) -> Vec<u8> {
    let mut table = TableBuilder::new();
    build(&mut table);
    PropertiesBuilder::new().set_headers(Some(&table.finish())).finish()
}

fn array(keys: &[&str]) -> Array {
    let mut array = ArrayBuilder::new();
    keys.iter().for_each(|key| {
        array.long_str(key);
    });
    array.finish()
}

/// What is left of `raw` after the deaths, which go through queues of a default exchange.
fn after(raw: Vec<u8>, known: bool, deaths: &[(&str, Reason)]) -> Vec<u8> {
    let (mut raw, mut known_deaths) = (raw, known);
    for (number, (queue, reason)) in (0..).zip(deaths) {
        let properties = Properties::parse(&raw).unwrap();
        let message = Dying { exchange: "", routing_key: queue, properties, known_deaths };
        let death = Death { queue, reason: *reason, unix_ms: NOW + 1000 * number };
        raw = properties_after(&message, &death);
        known_deaths = true;
    }
    raw
}

/// The history in words: `queue:reason:count` and the time's last digits.
fn told(raw: &[u8]) -> Vec<String> {
    let headers = Properties::parse(raw).unwrap().headers().unwrap();
    let entry = |entry: TableRef<'_>| {
        let word = |key| entry.get(key).and_then(Value::as_str).unwrap().to_owned();
        let Some(Value::I64(count)) = entry.get("count") else { panic!("no count: {entry:?}") };
        let Some(Value::Timestamp(time)) = entry.get("time") else { panic!("no time: {entry:?}") };
        format!("{}:{}:{count}@{}", word("queue"), word("reason"), time - NOW / 1000)
    };
    history_of(headers).map(entry).collect()
}

fn header(raw: &[u8], key: &str) -> String {
    let headers = Properties::parse(raw).unwrap().headers().unwrap();
    headers.get(key).and_then(Value::as_str).unwrap().to_owned()
}

#[test]
fn the_first_death_byte_by_byte() {
    let raw = PropertiesBuilder::from_properties(
        Properties::parse(&headers(|table| {
            table.array("CC", array(&["c1"]).as_ref()).bool("z", true).int32("a", 7);
        }))
        .unwrap(),
    )
    .set_expiration("60000")
    .set_priority(3)
    .finish();
    let message = Dying {
        exchange: "ex",
        routing_key: "rk",
        properties: Properties::parse(&raw).unwrap(),
        known_deaths: false,
    };
    let death = Death { queue: "qu", reason: Reason::Expired, unix_ms: NOW };
    let after = properties_after(&message, &death);

    let entry = b"\x13original-expirationS\0\0\0\x0560000\
        \x05countl\0\0\0\0\0\0\0\x01\
        \x06reasonS\0\0\0\x07expired\
        \x05queueS\0\0\0\x02qu\
        \x04timeT\0\0\0\0\x65\x53\xF1\x00\
        \x08exchangeS\0\0\0\x02ex\
        \x0Crouting-keysA\0\0\0\x0ES\0\0\0\x02rkS\0\0\0\x02c1";
    let mut table = b"\x02CCA\0\0\0\x07S\0\0\0\x02c1\x01aI\0\0\0\x07\x07x-deathA".to_vec();
    table.extend_from_slice(&(entry.len() as u32 + 5).to_be_bytes());
    table.push(b'F');
    table.extend_from_slice(&(entry.len() as u32).to_be_bytes());
    table.extend_from_slice(entry);
    for which in ["first", "last"] {
        for (what, value) in [("exchange", "ex"), ("queue", "qu"), ("reason", "expired")] {
            let key = format!("x-{which}-death-{what}");
            table.push(key.len() as u8);
            table.extend_from_slice(key.as_bytes());
            table.push(b'S');
            table.extend_from_slice(&(value.len() as u32).to_be_bytes());
            table.extend_from_slice(value.as_bytes());
        }
    }
    table.extend_from_slice(b"\x01zt\x01");
    let mut expected = vec![0x28, 0x00];
    expected.extend_from_slice(&(table.len() as u32).to_be_bytes());
    expected.extend_from_slice(&table);
    expected.push(3);
    assert_eq!(after.escape_ascii().to_string(), expected.escape_ascii().to_string());
}

#[test]
fn deaths_are_counted_by_queue_and_reason_and_the_newest_is_in_front() {
    use Reason::{DeliveryLimit, Expired, MaxLen, Rejected};
    let cases: [(&[Step], &[&str]); 6] = [
        (&[("a", Rejected)], &["a:rejected:1@0"]),
        (&[("a", Rejected), ("b", MaxLen)], &["b:maxlen:1@1", "a:rejected:1@0"]),
        (&[("a", Rejected), ("a", Expired)], &["a:expired:1@1", "a:rejected:1@0"]),
        (&[("a", Rejected), ("a", Rejected), ("a", Rejected)], &["a:rejected:3@0"]),
        (
            &[("a", Rejected), ("b", DeliveryLimit), ("a", Rejected)],
            &["a:rejected:2@0", "b:delivery_limit:1@1"],
        ),
        (
            &[("a", Rejected), ("b", Expired), ("c", MaxLen), ("b", Expired)],
            &["b:expired:2@1", "c:maxlen:1@2", "a:rejected:1@0"],
        ),
    ];
    for (deaths, expected) in cases {
        let raw = after(vec![0, 0], false, deaths);
        assert_eq!(told(&raw), expected, "{deaths:?}");
        let (first, last) = (deaths[0], deaths[deaths.len() - 1]);
        for (which, (queue, reason)) in [("first", first), ("last", last)] {
            assert_eq!(header(&raw, &format!("x-{which}-death-queue")), queue);
            assert_eq!(header(&raw, &format!("x-{which}-death-reason")), reason.name());
            assert_eq!(header(&raw, &format!("x-{which}-death-exchange")), "");
        }
    }
}

#[test]
fn a_repeat_keeps_what_the_first_death_said() {
    let die = |raw: &[u8], exchange: &str, routing_key: &str, known_deaths: bool| {
        let properties = Properties::parse(raw).unwrap();
        let message = Dying { exchange, routing_key, properties, known_deaths };
        properties_after(&message, &Death { queue: "q", reason: Reason::Expired, unix_ms: NOW })
    };
    let raw = PropertiesBuilder::new().set_expiration("5").finish();
    let again = die(&die(&raw, "one", "k1", false), "two", "k2", true);
    let headers = Properties::parse(&again).unwrap().headers().unwrap();
    let entry = history_of(headers).next().unwrap();
    let keys: Vec<&str> = entry.iter().map(|(key, _)| key).collect();
    assert_eq!(keys, ["original-expiration", "count", "reason", "queue", "time", "exchange", "routing-keys"]);
    assert_eq!(entry.get("exchange"), Some(Value::LongStr(b"one")));
    assert_eq!(entry.get("routing-keys"), Some(Value::Array(array(&["k1"]).as_ref())));
    assert_eq!(entry.get("original-expiration"), Some(Value::LongStr(b"5")));
    assert_eq!(header(&again, "x-first-death-exchange"), "one");
    assert_eq!(header(&again, "x-last-death-exchange"), "two");
}

#[test]
fn what_a_client_says_about_deaths_does_not_count() {
    let real = after(vec![0, 0], false, &[("q", Reason::Rejected)]);
    assert_eq!(told(&after(real.clone(), true, &[("q", Reason::Rejected)])), ["q:rejected:2@0"]);
    // The same headers, published by a client.
    let replaced = after(real, false, &[("q", Reason::Rejected)]);
    assert_eq!(told(&replaced), ["q:rejected:1@0"]);
    let claims = headers(|table| {
        table.long_str("x-death", "no array").int32("x-first-death-queue", 1);
        table.long_str("x-first-death-reason", "boredom").long_str("x-last-death-exchange", "nowhere");
        table.long_str("x-death", "twice").long_str("x-deaths", "kept");
    });
    let raw = after(claims, false, &[("q", Reason::MaxLen)]);
    assert_eq!(told(&raw), ["q:maxlen:1@0"]);
    let keys: Vec<&str> =
        Properties::parse(&raw).unwrap().headers().unwrap().iter().map(|(key, _)| key).collect();
    let expected = [
        "x-death",
        "x-deaths",
        "x-first-death-exchange",
        "x-first-death-queue",
        "x-first-death-reason",
        "x-last-death-exchange",
        "x-last-death-queue",
        "x-last-death-reason",
    ];
    assert_eq!(keys, expected);
    assert_eq!(header(&raw, "x-first-death-reason"), "maxlen");
    assert_eq!(header(&raw, "x-last-death-exchange"), "");
}

#[test]
fn malformed_histories_are_read_as_far_as_they_make_sense() {
    let mut entries = ArrayBuilder::new();
    let odd = TableBuilder::new().int64("queue", 1).bool("reason", true).finish();
    let bare = TableBuilder::new().long_str("queue", "q").long_str("reason", "rejected").finish();
    entries.long_str("text").value(Value::Void).table(odd.as_ref()).table(bare.as_ref());
    let raw = headers(|table| {
        table.array("x-death", entries.finish().as_ref());
    });
    let raw = after(raw, true, &[("q", Reason::Rejected)]);
    let headers = Properties::parse(&raw).unwrap().headers().unwrap();
    let history: Vec<TableRef<'_>> = history_of(headers).collect();
    // It has no count that could be raised.
    assert_eq!(history, [bare.as_ref(), odd.as_ref()]);
}

#[test]
fn further_keys_route_but_blind_ones_are_not_told() {
    let long = "k".repeat(256);
    let raw = headers(|table| {
        table.array("BCC", array(&["b1", &long]).as_ref());
        let mut mixed = ArrayBuilder::new();
        mixed.long_str("c1").value(Value::I32(1)).long_str([0xFF]).long_str("c2");
        table.array("CC", mixed.finish().as_ref());
    });
    let properties = Properties::parse(&raw).unwrap();
    assert_eq!(routing_keys("rk", properties), ["rk", "c1", "c2", "b1"]);
    assert_eq!(routing_keys("rk", Properties::EMPTY), ["rk"]);
    let odd = headers(|table| {
        table.long_str("CC", "c1");
    });
    assert_eq!(routing_keys("rk", Properties::parse(&odd).unwrap()), ["rk"]);
    let raw = after(raw, false, &[("rk", Reason::Expired)]);
    let entry = history_of(Properties::parse(&raw).unwrap().headers().unwrap()).next().unwrap();
    assert_eq!(entry.get("routing-keys"), Some(Value::Array(array(&["rk", "c1", "c2"]).as_ref())));
}

#[test]
fn a_circle_is_one_that_nobody_rejected_in() {
    use Reason::{DeliveryLimit, Expired, MaxLen, Rejected};
    // Deaths from the first to the last, and whether a letter that died last may go to "t".
    let cases: [(&[Step], bool); 11] = [
        (&[("t", Expired)], true),
        (&[("t", MaxLen)], true),
        (&[("t", DeliveryLimit)], true),
        (&[("t", Rejected)], false),
        (&[("a", Expired)], false),
        (&[("t", Expired), ("a", MaxLen)], true),
        (&[("t", Rejected), ("a", Expired)], false),
        (&[("t", Expired), ("a", Rejected), ("b", Expired)], false),
        (&[("a", Rejected), ("t", Expired), ("b", Expired)], true),
        (&[("t", Rejected), ("a", Expired), ("t", Expired)], true),
        (&[("t", Expired), ("a", Expired), ("t", Rejected), ("a", Expired)], false),
    ];
    for (deaths, expected) in cases {
        let raw = after(vec![0, 0], false, deaths);
        let properties = Properties::parse(&raw).unwrap();
        let reason = deaths[deaths.len() - 1].1;
        assert_eq!(is_cycle(properties, true, reason, "t"), expected, "{deaths:?}");
        assert!(!is_cycle(properties, false, reason, "t"), "a client's headers");
        assert!(!is_cycle(properties, true, Rejected, "t"), "a rejected one goes anywhere");
    }
}

#[test]
fn a_history_has_bounds_and_a_full_one_counts_as_a_circle() {
    let cc: Vec<String> = (0..400).map(|number| format!("{number:0>200}")).collect();
    let cc: Vec<&str> = cc.iter().map(String::as_str).collect();
    let raw = headers(|table| {
        table.array("CC", array(&cc).as_ref());
    });
    let before = raw.len();
    let names: Vec<String> = (0..2 * MAX_ENTRIES).map(|number| format!("{number:0>255}")).collect();
    let deaths: Vec<(&str, Reason)> = names.iter().map(|name| (name.as_str(), Reason::Expired)).collect();
    let full = after(raw, false, &deaths);
    assert!(full.len() < before + 128 * 1024, "{} bytes more", full.len() - before);
    let properties = Properties::parse(&full).unwrap();
    let newest: Vec<String> = told(&full);
    assert_eq!(newest.len(), MAX_ENTRIES);
    assert!(newest[0].starts_with(names[2 * MAX_ENTRIES - 1].as_str()));
    assert!(is_cycle(properties, true, Reason::Expired, "never seen"));
    let short = after(vec![0, 0], false, &deaths[..MAX_ENTRIES - 1]);
    assert!(!is_cycle(Properties::parse(&short).unwrap(), true, Reason::Expired, "never seen"));
    let rejected = after(full, true, &[("r", Reason::Rejected), ("s", Reason::MaxLen)]);
    assert!(!is_cycle(Properties::parse(&rejected).unwrap(), true, Reason::MaxLen, "never seen"));
}

#[test]
fn codes_and_names_are_those_of_storage_and_contract() {
    let told: Vec<(u8, &str)> = Reason::ALL.iter().map(|reason| (reason.code(), reason.name())).collect();
    assert_eq!(told, [(1, "rejected"), (2, "expired"), (3, "maxlen"), (4, "delivery_limit")]);
    for reason in Reason::ALL {
        assert_eq!(Reason::from_code(reason.code()), Some(reason));
    }
    assert_eq!((Reason::from_code(0), Reason::from_code(5)), (None, None));
}

/// Headers as an adversary would have them: our names, with values of any type.
fn any_headers() -> impl Strategy<Value = Table> {
    let word = prop_oneof![Just("q"), Just("a"), Just("rejected"), Just("expired"), Just("")];
    let entry = vec(
        (prop_oneof![Just("queue"), Just("reason"), Just("count"), Just("time")], word, any::<i64>()),
        0..5,
    )
    .prop_map(|fields| {
        let mut table = TableBuilder::new();
        for (key, word, number) in fields {
            match number % 3 {
                0 => table.int64(key, number),
                1 => table.long_str(key, word),
                _ => table.value(key, Value::Void),
            };
        }
        table.finish()
    });
    let keys = prop_oneof![
        Just("x-death"),
        Just("CC"),
        Just("BCC"),
        Just("x-first-death-queue"),
        Just("z"),
        Just("x-last-death-reason")
    ];
    vec((keys, vec(entry, 0..4), any::<u8>()), 0..8).prop_map(|entries| {
        let mut table = TableBuilder::new();
        for (key, deaths, kind) in entries {
            let mut array = ArrayBuilder::new();
            for death in &deaths {
                array.table(death.as_ref());
            }
            array.value(Value::U8(kind)).long_str(key);
            match kind % 4 {
                0 => table.int32(key, 1),
                1 => table.long_str(key, "word"),
                _ => table.array(key, array.finish().as_ref()),
            };
        }
        table.finish()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn whatever_comes_in_the_outcome_is_valid(
        (headers, garbage) in (any_headers(), vec(any::<u8>(), 0..60)),
        expiration in proptest::option::of(".{0,20}"),
        deaths in vec((prop_oneof![Just("q"), Just("a"), Just("")], 0..4usize), 1..6),
        known in any::<bool>(),
    ) {
        let mut builder = PropertiesBuilder::new();
        builder.set_headers(Some(&headers)).set_delivery_mode(2);
        expiration.iter().for_each(|text| { builder.set_expiration(text); });
        let deaths: Vec<_> = deaths.into_iter().map(|(queue, reason)| (queue, Reason::ALL[reason])).collect();
        let raw = after(builder.finish(), known, &deaths);
        let properties = Properties::parse(&raw).expect("valid");
        prop_assert_eq!((properties.expiration(), properties.delivery_mode()), (None, Some(2)));
        let headers = properties.headers().expect("there");
        let keys: Vec<&str> = headers.iter().map(|(key, _)| key).collect();
        prop_assert!(keys.is_sorted());
        prop_assert_eq!(keys.iter().filter(|key| is_ours(key)).count(), 7);
        let newest = history_of(headers).next().expect("this death");
        let (queue, reason) = deaths[deaths.len() - 1];
        prop_assert_eq!(text(newest, "queue"), Some(queue.as_bytes()));
        prop_assert_eq!(text(newest, "reason"), Some(reason.name().as_bytes()));
        if !known {
            let total: i64 = history_of(headers).filter_map(|entry| entry.get("count")?.as_int()).sum();
            prop_assert_eq!(total, deaths.len() as i64);
        }
        // Bytes that never were properties do not panic either.
        let assumed = Properties::assume_valid(&garbage);
        let message = Dying { exchange: "x", routing_key: "k", properties: assumed, known_deaths: known };
        let _ = properties_after(&message, &Death { queue, reason, unix_ms: u64::MAX });
        let _ = (routing_keys("k", assumed).len(), is_cycle(assumed, known, reason, queue));
    }
}
