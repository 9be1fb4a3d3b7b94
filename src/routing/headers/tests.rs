use proptest::prelude::*;

use super::super::model::headers_match;
use super::*;
use crate::protocol::field::TableBuilder;

fn all<'a>(conditions: &[(&'a str, Value<'a>)]) -> Table {
    table_of(conditions.iter().copied())
}

fn text(text: &str) -> Value<'_> {
    Value::LongStr(text.as_bytes())
}

fn with_mode(mode: &str, conditions: &[(&str, Value<'_>)]) -> Table {
    let mut table = TableBuilder::new();
    table.long_str("x-match", mode);
    for (name, value) in conditions {
        table.value(name, *value);
    }
    table.finish()
}

fn matches(arguments: &Table, headers: &[(&str, Value<'_>)]) -> bool {
    let mut index = Headers::new();
    index.insert(arguments, Target::Queue(1)).unwrap();
    let mut reached = Reached::default();
    let matched = index.collect(all(headers).as_ref(), &mut Trial::default(), &mut reached);
    assert_eq!(matched, reached.queues() == [1]);
    matched
}

#[test]
fn all_is_the_default_and_needs_every_condition() {
    for table in [
        all(&[("a", text("1")), ("b", Value::I32(2))]),
        with_mode("all", &[("b", Value::I32(2)), ("a", text("1"))]),
    ] {
        assert!(matches(&table, &[("b", Value::I32(2)), ("c", Value::Void), ("a", text("1"))]));
        assert!(!matches(&table, &[("a", text("1"))]));
        assert!(!matches(&table, &[("a", text("1")), ("b", Value::I32(3))]));
        assert!(!matches(&table, &[]));
    }
}

#[test]
fn any_needs_one_condition() {
    let table = with_mode("any", &[("a", text("1")), ("b", Value::I32(2))]);
    assert!(matches(&table, &[("a", text("2")), ("b", Value::I32(2))]));
    assert!(matches(&table, &[("a", text("1")), ("b", Value::I32(2))]));
    assert!(!matches(&table, &[("a", text("2")), ("c", text("1"))]));
    assert!(!matches(&table, &[]));
}

#[test]
fn without_conditions_all_matches_everything_and_any_nothing() {
    for headers in [&[][..], &[("a", Value::Void)]] {
        assert!(matches(&Table::default(), headers));
        assert!(matches(&with_mode("all", &[]), headers));
        assert!(matches(&with_mode("all-with-x", &[]), headers));
        assert!(matches(&with_mode("all", &[("x-a", Value::Void)]), headers));
        assert!(!matches(&with_mode("any", &[]), headers));
        assert!(!matches(&with_mode("any-with-x", &[]), headers));
        assert!(!matches(&with_mode("any", &[("x-a", Value::Void)]), headers));
    }
}

#[test]
fn names_with_x_count_only_when_asked_for_and_x_match_never() {
    let conditions = [("x-a", text("1")), ("b", text("2"))];
    let both = [("x-a", text("1")), ("b", text("2"))];
    let only_b = [("x-match", text("all-with-x")), ("b", text("2"))];
    assert!(matches(&with_mode("all", &conditions), &only_b));
    assert!(!matches(&with_mode("all-with-x", &conditions), &only_b));
    assert!(matches(&with_mode("all-with-x", &conditions), &both));
    assert!(!matches(&with_mode("any", &conditions), &both[..1]));
    assert!(matches(&with_mode("any-with-x", &conditions), &both[..1]));
    assert!(!matches(&with_mode("any-with-x", &conditions), &[("x-match", text("any-with-x"))]));
    assert!(matches(&all(&[("X-a", text("1"))]), &[("X-a", text("1"))]));
}

#[test]
fn a_void_condition_needs_the_header_only() {
    let table = all(&[("a", Value::Void)]);
    assert!(matches(&table, &[("a", text("anything"))]));
    assert!(matches(&table, &[("a", Value::Void)]));
    assert!(!matches(&table, &[("b", Value::Void)]));
    assert!(!matches(&all(&[("a", text(""))]), &[("a", Value::Void)]));
}

#[test]
fn values_are_compared_by_type_and_value_and_integers_by_number() {
    let one = all(&[("a", Value::I32(1))]);
    for same in [Value::I8(1), Value::U8(1), Value::I16(1), Value::U16(1), Value::U32(1), Value::I64(1)] {
        assert!(matches(&one, &[("a", same)]));
        assert!(matches(&all(&[("a", same)]), &[("a", Value::I32(1))]));
    }
    for other in
        [Value::F64(1.0), Value::F32(1.0), text("1"), Value::Bool(true), Value::Timestamp(1), Value::I8(-1)]
    {
        assert!(!matches(&one, &[("a", other)]));
        assert!(!matches(&all(&[("a", other)]), &[("a", Value::I32(1))]));
        assert!(matches(&all(&[("a", other)]), &[("a", other)]));
    }
    let nested = all(&[("in", text("x"))]);
    let table = all(&[("a", Value::Table(nested.as_ref()))]);
    assert!(matches(&table, &[("a", Value::Table(nested.as_ref()))]));
    assert!(!matches(&table, &[("a", Value::Table(TableRef::EMPTY))]));
    assert!(matches(&all(&[("a", Value::F64(0.0))]), &[("a", Value::F64(-0.0))]));
}

#[test]
fn of_repeated_names_the_first_counts() {
    let repeated = [("a", text("1")), ("a", text("2"))];
    assert!(matches(&all(&[("a", text("1"))]), &repeated));
    assert!(!matches(&all(&[("a", text("2"))]), &repeated));
    assert!(matches(&all(&repeated), &[("a", text("1"))]));
    assert!(!matches(&all(&[("a", text("1")), ("b", text("1"))]), &[("a", text("1")), ("a", text("1"))]));
}

#[test]
fn a_wrong_x_match_is_refused_and_leaves_nothing() {
    let mut index = Headers::new();
    let mut refused = |table: Table| match index.insert(&table, Target::Queue(1)) {
        Err(BindError::InvalidArguments(text)) => text,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        refused(with_mode("some", &[("a", Value::Void)])),
        "Invalid x-match field value <<\"some\">>; expected all, any, all-with-x, or any-with-x"
    );
    assert_eq!(
        refused(all(&[("x-match", Value::I32(5))])),
        "Invalid x-match field type signedint (value 5); expected longstr"
    );
    refused(with_mode("ALL", &[]));
    refused(all(&[("x-match", Value::Void)]));
    assert_pristine(&index);
}

/// Filing by the rarer condition keeps a shared one from growing one long file.
#[test]
fn a_shared_condition_does_not_gather_all_bindings() {
    let mut index = Headers::new();
    let names: Vec<String> = (0..100).map(|n| format!("n{n}")).collect();
    for (queue, name) in names.iter().enumerate() {
        index.insert(&all(&[("shared", text("1")), ("own", text(name))]), Target::Queue(queue)).unwrap();
    }
    assert!(index.files.values().all(|file| file.len() <= 2));
    let mut reached = Reached::default();
    let headers = all(&[("own", text("n42")), ("shared", text("1"))]);
    assert!(index.collect(headers.as_ref(), &mut Trial::default(), &mut reached));
    assert_eq!(reached.queues(), [42]);
}

fn assert_pristine<Q>(index: &Headers<Q>) {
    assert_eq!((index.bindings.len(), index.files.len()), (0, 0));
    assert!(matches!(index.unconditional, Targets::None));
}

/// A value without a lifetime, from few enough that equal ones meet.
fn value() -> impl Strategy<Value = Value<'static>> {
    prop::sample::select(vec![
        Value::Void,
        Value::I8(1),
        Value::I64(1),
        Value::U16(2),
        Value::F64(1.0),
        Value::F32(1.0),
        Value::LongStr(b"1"),
        Value::LongStr(b""),
        Value::Bytes(b"1"),
        Value::Bool(true),
        Value::Timestamp(1),
        Value::Table(TableRef::EMPTY),
    ])
}

fn table() -> impl Strategy<Value = Table> {
    let name = prop::sample::select(vec!["a", "b", "c", "x-a", "x-b"]);
    prop::collection::vec((name, value()), 0..5).prop_map(table_of)
}

fn arguments() -> impl Strategy<Value = Table> {
    let mode = prop::sample::select(vec!["", "all", "any", "all-with-x", "any-with-x"]);
    (mode, table()).prop_map(|(mode, table)| {
        let entries: Vec<_> = table.as_ref().iter().collect();
        if mode.is_empty() { table } else { with_mode(mode, &entries) }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1000) })]

    #[test]
    fn it_agrees_with_the_naive_matcher(
        bindings in prop::collection::vec((arguments(), any::<bool>()), 0..16),
        messages in prop::collection::vec(table(), 1..8),
    ) {
        let mut index = Headers::new();
        let mut numbers = Vec::new();
        for (queue, (arguments, _)) in bindings.iter().enumerate() {
            numbers.push(index.insert(arguments, Target::Queue(queue)).unwrap());
        }
        for (number, _) in numbers.iter().zip(&bindings).filter(|(_, (_, stays))| !stays) {
            index.remove(*number);
        }
        let mut trial = Trial::default();
        for headers in &messages {
            let mut reached = Reached::default();
            let matched = index.collect(headers.as_ref(), &mut trial, &mut reached);
            let matches = |table: &Table| headers_match(table.as_ref(), headers.as_ref());
            let expected: Vec<usize> = bindings
                .iter()
                .enumerate()
                .filter(|(_, (arguments, stays))| *stays && matches(arguments))
                .map(|(queue, _)| queue)
                .collect();
            prop_assert_eq!(matched, !expected.is_empty());
            prop_assert_eq!(reached.queues(), expected);
        }
        for (number, _) in numbers.iter().zip(&bindings).filter(|(_, (_, stays))| *stays) {
            index.remove(*number);
        }
        assert_pristine(&index);
    }
}
