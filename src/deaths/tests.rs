//! What headers look like after deaths, entry by entry.

use proptest::prelude::*;

use super::*;
use crate::message::{Body, Marks, MessageBuilder};
use crate::protocol::field::Table;

const AT: u64 = 1_700_000_123_456;

fn headers(entries: &[(&str, Value<'_>)]) -> Table {
    let mut table = TableBuilder::new();
    for (name, value) in entries {
        table.value(name, *value);
    }
    table.finish()
}

fn strings(words: &[&str]) -> Array {
    let mut array = ArrayBuilder::new();
    words.iter().for_each(|word| {
        array.long_str(word);
    });
    array.finish()
}

fn message(raw: &[u8], has_died: bool) -> Message {
    let marks = Marks { has_died, ..Marks::default() };
    let properties = Properties::parse(raw).unwrap();
    MessageBuilder::default().build_marked("orders", "new", properties, Body::Borrowed(b"x"), marks)
}

/// The message after a death in `queue`, published to "dlx" with key "dead".
fn after(message: &Message, queue: &str, reason: Reason, unix_ms: u64) -> Message {
    let raw = properties_after(message, Death { queue, reason, unix_ms });
    let marks = Marks { has_died: true, ..message.marks() };
    let properties = Properties::parse(&raw).unwrap();
    MessageBuilder::default().build_marked("dlx", "dead", properties, Body::Borrowed(b"x"), marks)
}

/// The headers, one a line.
fn shown(message: &Message) -> Vec<String> {
    let headers = Properties::assume_valid(message.raw_properties()).headers().unwrap();
    headers.iter().map(|(name, value)| format!("{name} {} {value}", value.type_name())).collect()
}

/// The names and types of a death's fields, and the fields themselves.
fn fields(death: TableRef<'_>) -> Vec<(String, String)> {
    death.iter().map(|(name, value)| (format!("{name}:{}", value.type_name()), value.to_string())).collect()
}

#[test]
fn a_first_death_is_told_as_rabbitmq_tells_it() {
    let cc = strings(&["copy", "copy2"]);
    let table = headers(&[
        ("z", Value::I32(1)),
        ("CC", Value::Array(cc.as_ref())),
        ("x-death", Value::LongStr(b"a client's")),
        ("x-first-death-queue", Value::LongStr(b"a client's")),
        ("a", Value::Void),
    ]);
    let raw =
        PropertiesBuilder::new().set_headers(Some(&table)).set_expiration("500").set_priority(3).finish();
    let dead = after(&message(&raw, false), "q", Reason::Expired, AT);
    let properties = Properties::assume_valid(dead.raw_properties());
    assert_eq!((properties.expiration(), properties.priority()), (None, Some(3)));
    let names: Vec<_> = properties.headers().unwrap().iter().map(|(name, _)| name.to_owned()).collect();
    assert_eq!(
        names,
        [
            "CC",
            "a",
            "x-death",
            "x-first-death-exchange",
            "x-first-death-queue",
            "x-first-death-reason",
            "x-last-death-exchange",
            "x-last-death-queue",
            "x-last-death-reason",
            "z"
        ]
    );
    let told: Vec<_> = deaths(&dead).map(fields).collect();
    let named: Vec<_> = told[0].iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        named,
        [
            "original-expiration:longstr",
            "count:long",
            "reason:longstr",
            "queue:longstr",
            "time:timestamp",
            "exchange:longstr",
            "routing-keys:array"
        ]
    );
    let values: Vec<_> = told[0].iter().map(|(_, value)| value.as_str()).collect();
    assert_eq!(values[..6], ["500", "1", "expired", "q", "1700000123", "orders"]);
    let keys = deaths(&dead).next().unwrap().get("routing-keys");
    let Some(Value::Array(keys)) = keys else { panic!("{keys:?}") };
    assert_eq!(keys.iter().filter_map(Value::as_str).collect::<Vec<_>>(), ["new", "copy", "copy2"]);
    assert!(shown(&dead).iter().any(|line| line.starts_with("x-first-death-queue") && line.ends_with(" q")));
}

#[test]
fn a_pair_that_comes_again_is_counted_and_comes_first() {
    let first = after(&message(&[0, 0], false), "a", Reason::Rejected, AT);
    let second = after(&first, "b", Reason::MaxLen, AT + 5000);
    let third = after(&second, "a", Reason::Rejected, AT + 9000);
    let told = |message: &Message| {
        let text = |death: TableRef<'_>, name: &str| death.get(name).map(|value| value.to_string()).unwrap();
        deaths(message)
            .map(|death| {
                ["queue", "reason", "count", "time", "exchange"].map(|name| text(death, name)).join(" ")
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(told(&second), ["b maxlen 1 1700000128 dlx", "a rejected 1 1700000123 orders"]);
    assert_eq!(told(&third), ["a rejected 2 1700000123 orders", "b maxlen 1 1700000128 dlx"]);
    let other_reason = after(&third, "a", Reason::Expired, AT);
    assert_eq!(told(&other_reason).len(), 3);
    let ends = |name: &str, end: &str| {
        shown(&other_reason).iter().any(|line| line.starts_with(name) && line.ends_with(end))
    };
    assert!(ends("x-first-death-reason", " rejected") && ends("x-last-death-reason", " expired"));
    assert!(ends("x-first-death-exchange", " orders") && ends("x-last-death-exchange", " dlx"));
}

#[test]
fn what_a_client_says_of_deaths_counts_for_nothing() {
    let real = after(&message(&[0, 0], false), "a", Reason::Expired, AT);
    let copied = message(real.raw_properties(), false);
    assert!(is_cycle(&real, Reason::Expired, "a") && !is_cycle(&copied, Reason::Expired, "a"));
    let count = |message: &Message| deaths(message).next().and_then(|death| death.get("count")?.as_int());
    assert_eq!(count(&after(&real, "a", Reason::Expired, AT)), Some(2));
    assert_eq!(count(&after(&copied, "a", Reason::Expired, AT)), Some(1));
}

#[test]
fn a_cycle_is_one_unless_somebody_rejected_the_message_on_the_way() {
    let expired = after(&message(&[0, 0], false), "a", Reason::Expired, AT);
    let on = after(&expired, "b", Reason::Expired, AT);
    assert!(is_cycle(&on, Reason::Expired, "a") && is_cycle(&on, Reason::MaxLen, "b"));
    assert!(!is_cycle(&on, Reason::Expired, "c") && !is_cycle(&on, Reason::Rejected, "a"));
    let rejected = after(&on, "c", Reason::Rejected, AT);
    assert!(!is_cycle(&rejected, Reason::Expired, "a"));
    let again = after(&rejected, "a", Reason::Expired, AT);
    assert!(is_cycle(&again, Reason::Expired, "a"));
    assert!(!is_cycle(&again, Reason::Expired, "b"), "rejected since");
}

#[test]
fn keys_are_the_own_one_and_those_of_copies() {
    let (cc, bcc) = (strings(&["c1"]), strings(&["b1", &"x".repeat(300)]));
    let table = headers(&[("CC", Value::Array(cc.as_ref())), ("BCC", Value::Array(bcc.as_ref()))]);
    let raw = PropertiesBuilder::new().set_headers(Some(&table)).finish();
    assert_eq!(routing_keys(&message(&raw, false)), ["new", "c1", "b1"]);
    let marks = Marks { own_key_only: true, ..Marks::default() };
    let properties = Properties::parse(&raw).unwrap();
    let own = MessageBuilder::default().build_marked("x", "own", properties, Body::Borrowed(b""), marks);
    assert_eq!(routing_keys(&own), ["own"]);
}

proptest! {
    /// Whatever a table holds under the names that are read.
    #[test]
    fn any_headers_are_taken(
        names in prop::collection::vec(prop::sample::select(vec!["x-death", "CC", "BCC", "count", "x-last-death-queue", "k"]), 0..6),
        numbers in any::<[i64; 6]>(),
        has_died in any::<bool>(),
    ) {
        let inner = headers(&[("queue", Value::I32(1)), ("count", Value::LongStr(b"x")), ("reason", Value::Void)]);
        let mut list = ArrayBuilder::new();
        list.value(Value::Table(inner.as_ref())).value(Value::I64(3));
        let list = list.finish();
        let mut table = TableBuilder::new();
        for (name, number) in names.iter().zip(numbers) {
            match number.rem_euclid(3) {
                0 => table.value(name, Value::Array(list.as_ref())),
                1 => table.value(name, Value::Table(inner.as_ref())),
                _ => table.int64(name, number),
            };
        }
        let raw = PropertiesBuilder::new().set_headers(Some(&table.finish())).finish();
        let mut message = message(&raw, has_died);
        for reason in [Reason::Expired, Reason::MaxLen, Reason::Rejected, Reason::DeliveryLimit] {
            let _ = (routing_keys(&message), is_cycle(&message, reason, "q"));
            message = after(&message, "q", reason, AT);
            prop_assert!(Properties::parse(message.raw_properties()).is_ok());
            prop_assert_eq!(Reason::from_code(reason.code()), Some(reason));
        }
        prop_assert!(is_cycle(&message, Reason::Expired, "q") && !is_cycle(&message, Reason::Expired, "r"));
    }
}

#[test]
fn what_a_message_tells_is_bounded_and_who_tells_all_it_can_goes_no_further() {
    let words: Vec<String> = (0..400).map(|number| format!("{number:0>200}")).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let cc = strings(&words);
    let table = headers(&[("CC", Value::Array(cc.as_ref()))]);
    let raw = PropertiesBuilder::new().set_headers(Some(&table)).finish();
    let names: Vec<String> = (0..2 * MAX_DEATHS).map(|number| format!("{number:0>255}")).collect();
    let mut letter = message(&raw, false);
    for (number, name) in names.iter().enumerate() {
        assert_eq!(is_cycle(&letter, Reason::Expired, "unseen"), number >= MAX_DEATHS, "{number}");
        letter = after(&letter, name, Reason::Expired, AT);
    }
    let len = letter.raw_properties().len();
    assert!(len < raw.len() + 128 * 1024, "{} bytes more", len - raw.len());
    assert_eq!(deaths(&letter).count(), MAX_DEATHS);
    let newest = deaths(&letter).next().unwrap();
    assert!(is_of(newest, names.last().unwrap(), "expired"));
    // What a consumer rejected goes on by its will.
    let rejected = after(&after(&letter, "r", Reason::Rejected, AT), "s", Reason::MaxLen, AT);
    assert!(!is_cycle(&rejected, Reason::MaxLen, "unseen"));
}
