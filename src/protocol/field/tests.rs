use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// A value as a tree: what the bytes mean, independent of how they are walked.
#[derive(Clone, Debug, PartialEq)]
pub enum Tree {
    /// A value without others, as its tag and bytes.
    Leaf(u8, Vec<u8>),
    Table(Vec<(String, Self)>),
    Array(Vec<Self>),
}

pub fn any_table() -> impl Strategy<Value = Table> {
    vec((any_key(), any_tree()), 0..6).prop_map(|entries| {
        let mut builder = TableBuilder::new();
        for (key, tree) in &entries {
            add(tree, &mut |value| {
                builder.value(key, value);
            });
        }
        builder.finish()
    })
}

fn any_key() -> impl Strategy<Value = String> {
    prop_oneof![".{0,4}", "[a-z-]{1,20}"]
}

fn any_tree() -> impl Strategy<Value = Tree> {
    let fixed = prop_oneof![
        (Just(b't'), vec(0..=1u8, 1)),
        (prop_oneof![Just(b'b'), Just(b'B')], vec(any::<u8>(), 1)),
        (prop_oneof![Just(b's'), Just(b'u')], vec(any::<u8>(), 2)),
        (prop_oneof![Just(b'I'), Just(b'i'), Just(b'f')], vec(any::<u8>(), 4)),
        (prop_oneof![Just(b'l'), Just(b'd'), Just(b'T')], vec(any::<u8>(), 8)),
        (Just(b'D'), vec(any::<u8>(), 5)),
        (Just(b'V'), Just(Vec::new())),
        (prop_oneof![Just(b'S'), Just(b'x')], vec(any::<u8>(), 0..20)),
    ];
    fixed.prop_map(|(tag, bytes)| Tree::Leaf(tag, bytes)).prop_recursive(6, 24, 4, |inner| {
        prop_oneof![
            vec((any_key(), inner.clone()), 0..4).prop_map(Tree::Table),
            vec(inner, 0..4).prop_map(Tree::Array),
        ]
    })
}

/// Hands a tree to a builder, made with the builders themselves.
fn add(tree: &Tree, put: &mut dyn FnMut(Value<'_>)) {
    match tree {
        Tree::Leaf(tag, bytes) => {
            let sized = matches!(tag, b'S' | b'x').then(|| (bytes.len() as u32).to_be_bytes());
            let mut encoded = vec![*tag];
            encoded.extend(sized.into_iter().flatten());
            encoded.extend(bytes);
            put(ArrayRef(&encoded).iter().next().expect("a value"));
        }
        Tree::Table(entries) => {
            let mut builder = TableBuilder::new();
            for (key, tree) in entries {
                add(tree, &mut |value| {
                    builder.value(key, value);
                });
            }
            put(Value::Table(builder.finish().as_ref()));
        }
        Tree::Array(values) => {
            let mut builder = ArrayBuilder::new();
            for tree in values {
                add(tree, &mut |value| {
                    builder.value(value);
                });
            }
            put(Value::Array(builder.finish().as_ref()));
        }
    }
}

/// The reference: a naive recursive parser.
fn reference(mut body: &[u8], depth: usize) -> Option<Vec<(String, Tree)>> {
    let mut entries = Vec::new();
    while !body.is_empty() {
        let len = usize::from(body[0]);
        let key = String::from_utf8(body.get(1..1 + len)?.to_vec()).ok()?;
        body = &body[1 + len..];
        entries.push((key, reference_value(&mut body, depth)?));
    }
    Some(entries)
}

fn reference_value(body: &mut &[u8], depth: usize) -> Option<Tree> {
    let tag = *body.first()?;
    let (at, len) = match tag {
        b't' | b'b' | b'B' => (1, 1),
        b's' | b'u' => (1, 2),
        b'I' | b'i' | b'f' => (1, 4),
        b'l' | b'L' | b'd' | b'T' => (1, 8),
        b'D' => (1, 5),
        b'V' => (1, 0),
        b'S' | b'x' | b'A' | b'F' => (5, u32::from_be_bytes(body.get(1..5)?.try_into().ok()?) as usize),
        _ => return None,
    };
    let mut content = body.get(at..at + len)?;
    *body = &body[at + len..];
    Some(match tag {
        b'F' | b'A' if depth == MAX_DEPTH => return None,
        b'F' => Tree::Table(reference(content, depth + 1)?),
        b'A' => {
            let mut values = Vec::new();
            while !content.is_empty() {
                values.push(reference_value(&mut content, depth + 1)?);
            }
            Tree::Array(values)
        }
        b't' => Tree::Leaf(tag, vec![u8::from(content[0] != 0)]),
        b'L' => Tree::Leaf(b'l', content.to_vec()),
        _ => Tree::Leaf(tag, content.to_vec()),
    })
}

/// The tree that the iterators show.
fn seen(table: TableRef<'_>) -> Vec<(String, Tree)> {
    table.iter().map(|(key, value)| (key.to_owned(), seen_value(value))).collect()
}

fn seen_value(value: Value<'_>) -> Tree {
    match value {
        Value::Table(table) => Tree::Table(seen(table)),
        Value::Array(array) => Tree::Array(array.iter().map(seen_value).collect()),
        leaf => {
            let array = ArrayBuilder::new().value(leaf).finish();
            let encoded = array.as_ref().as_bytes();
            let skip = if matches!(encoded[0], b'S' | b'x') { 5 } else { 1 };
            Tree::Leaf(encoded[0], encoded[skip..].to_vec())
        }
    }
}

fn agrees_with_reference(bytes: &[u8]) -> Result<(), TestCaseError> {
    let expected = reference(bytes, 1);
    prop_assert_eq!(TableRef::parse(bytes).ok().map(seen), expected);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn every_value_survives_a_table(entries in vec((any_key(), any_tree()), 0..6)) {
        let mut builder = TableBuilder::new();
        for (key, tree) in &entries {
            add(tree, &mut |value| { builder.value(key, value); });
        }
        let table = builder.finish();
        let parsed = TableRef::parse(table.as_ref().as_bytes()).expect("valid");
        prop_assert_eq!(seen(parsed), entries);
        prop_assert_eq!(&parsed.to_table(), &table);
        prop_assert!(Value::Table(parsed).equivalent(Value::Table(parsed)));
    }

    #[test]
    fn damaged_tables_are_judged_as_by_the_reference(
        table in any_table(),
        at in any::<prop::sample::Index>(),
        octet in any::<u8>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = table.as_ref().as_bytes().to_vec();
        agrees_with_reference(&bytes)?;
        agrees_with_reference(&bytes[..cut.index(bytes.len() + 1)])?;
        if !bytes.is_empty() {
            let at = at.index(bytes.len());
            bytes[at] = octet;
            agrees_with_reference(&bytes)?;
        }
    }

    #[test]
    fn arbitrary_bytes_do_not_panic(bytes in vec(any::<u8>(), 0..200)) {
        agrees_with_reference(&bytes)?;
        let table = TableRef::assume_valid(&bytes);
        let _ = (format!("{table:?}"), table.get("x"), table.iter().count());
        let _ = format!("{} {:?}", Value::Array(ArrayRef(&bytes)), ArrayRef(&bytes));
        let _ = Value::Table(table).equivalent(Value::Table(TableRef::EMPTY));
    }

    #[test]
    fn tags_in_random_order_do_not_panic(
        bytes in vec(prop::sample::select(b"\0\0\0\0\x01\x02\x05tbBsuIilLfdDSATFVx".to_vec()), 0..120),
    ) {
        agrees_with_reference(&bytes)?;
    }
}

/// `levels` containers in each other, the outermost table not counted.
fn nested(levels: usize, tag: u8) -> Vec<u8> {
    let key: &[u8] = if tag == b'F' { b"\x01k" } else { b"" };
    let mut lens = Vec::with_capacity(levels);
    let mut len = 0;
    for _ in 0..levels {
        lens.push(len as u32);
        len += key.len() + 5;
    }
    let mut body = if tag == b'F' { vec![] } else { b"\x01k".to_vec() };
    for len in lens.into_iter().rev() {
        body.extend_from_slice(key);
        body.push(tag);
        body.extend_from_slice(&len.to_be_bytes());
    }
    body
}

#[test]
fn sixty_four_levels_are_accepted_and_one_more_is_not() {
    for tag in [b'F', b'A'] {
        assert!(TableRef::parse(&nested(MAX_DEPTH - 1, tag)).is_ok());
        assert_eq!(TableRef::parse(&nested(MAX_DEPTH, tag)), Err(FieldError::TooDeep));
    }
}

#[test]
fn a_frame_full_of_brackets_is_refused_without_recursion() {
    for (levels, tag) in [(26_000, b'A'), (18_000, b'F'), (1_000_000, b'A')] {
        let body = nested(levels, tag);
        assert_eq!(TableRef::parse(&body), Err(FieldError::TooDeep));
        let deep = TableRef::assume_valid(&body);
        assert!(format!("{deep:?}").len() < 1_000);
        assert!(Value::Table(deep).equivalent(Value::Table(deep)));
    }
}

#[test]
fn each_tag_cut_short_is_refused() {
    let full: [(u8, usize); 14] = [
        (b't', 1),
        (b'b', 1),
        (b'B', 1),
        (b's', 2),
        (b'u', 2),
        (b'I', 4),
        (b'i', 4),
        (b'l', 8),
        (b'L', 8),
        (b'f', 4),
        (b'd', 8),
        (b'D', 5),
        (b'T', 8),
        (b'V', 0),
    ];
    for (tag, len) in full {
        let mut body = vec![1, b'k', tag];
        body.resize(3 + len, 0);
        assert!(TableRef::parse(&body).is_ok(), "tag {}", tag as char);
        for cut in 1..body.len() {
            assert_eq!(TableRef::parse(&body[..cut]), Err(FieldError::Truncated), "tag {}", tag as char);
        }
    }
    for tag in *b"SxAF" {
        // An inner value that is valid in both a table and an array of the same bytes.
        let mut body = vec![1, b'k', tag, 0, 0, 0, 3];
        body.extend_from_slice(if tag == b'F' { b"\x01kV" } else { b"VVV" });
        assert!(TableRef::parse(&body).is_ok(), "tag {}", tag as char);
        for cut in 1..body.len() {
            assert_eq!(TableRef::parse(&body[..cut]), Err(FieldError::Truncated), "tag {}", tag as char);
        }
    }
}

#[test]
fn unknown_tags_and_keys_that_are_no_text_are_refused() {
    assert_eq!(TableRef::parse(b"\x01kZ"), Err(FieldError::UnknownTag(b'Z')));
    assert_eq!(TableRef::parse(b"\x01kA\0\0\0\x01Z"), Err(FieldError::UnknownTag(b'Z')));
    assert_eq!(TableRef::parse(b"\x01\xFFV"), Err(FieldError::KeyNotUtf8));
    assert_eq!(TableRef::parse(b"\x01kF\0\0\0\x03\x01\xFFV"), Err(FieldError::KeyNotUtf8));
    let error = AmqpError::from(FieldError::UnknownTag(b'Z'));
    assert_eq!((error.code, error.closes_connection()), (ReplyCode::FrameError, true));
}

#[test]
fn lengths_may_not_leave_their_container() {
    // A key, a string and a nested table, each longer than what is there.
    assert_eq!(TableRef::parse(b"\x05k"), Err(FieldError::Truncated));
    assert_eq!(TableRef::parse(b"\x01kS\xFF\xFF\xFF\xFFx"), Err(FieldError::Truncated));
    assert_eq!(TableRef::parse(b"\x01kF\xFF\xFF\xFF\xFF\x01kV"), Err(FieldError::Truncated));
    // The inner string would fit the outer table, but not its own.
    let inner = b"\x01kF\0\0\0\x08\x01aS\0\0\0\x03xyz";
    assert_eq!(TableRef::parse(inner), Err(FieldError::Truncated));
}

#[test]
fn the_walk_goes_on_behind_a_nested_value() {
    let inner = TableBuilder::new().int32("a", 1).table("t", TableRef::EMPTY).finish();
    let array = ArrayBuilder::new().long_str("x\n").table(inner.as_ref()).value(Value::Void).finish();
    let table = TableBuilder::new()
        .array("list", array.as_ref())
        .bool("after", true)
        .timestamp("at", 7)
        .value("price", Value::Decimal { scale: 2, value: 1999 })
        .finish();
    assert_eq!(
        format!("{table:?}"),
        r#"{list: ["x\n", {a: 1, t: {}}, void], after: true, at: 7, price: 1999e-2}"#
    );
    assert!(TableRef::parse(table.as_ref().as_bytes()).is_ok());
    assert_eq!(table.as_ref().get("after"), Some(Value::Bool(true)));
}

#[test]
fn the_first_of_equal_keys_is_read_and_all_bytes_are_kept() {
    let table = TableBuilder::new().int32("k", 1).int32("k", 2).finish();
    assert_eq!(table.as_ref().get("k"), Some(Value::I32(1)));
    assert_eq!(table.as_ref().iter().count(), 2);
}

#[test]
fn integers_are_equivalent_by_number_and_others_by_type_and_value() {
    let same = [
        (Value::I8(5), Value::I64(5)),
        (Value::U8(5), Value::I32(5)),
        (Value::U32(70_000), Value::I32(70_000)),
        (Value::F64(f64::NAN), Value::F64(f64::NAN)),
        (Value::LongStr(b"a"), Value::LongStr(b"a")),
    ];
    let different = [
        (Value::I8(5), Value::I64(6)),
        (Value::Timestamp(5), Value::I64(5)),
        (Value::F32(1.0), Value::F64(1.0)),
        (Value::LongStr(b"a"), Value::Bytes(b"a")),
        (Value::Bool(true), Value::I8(1)),
    ];
    for (a, b) in same {
        assert!(a.equivalent(b) && b.equivalent(a), "{a:?} {b:?}");
    }
    for (a, b) in different {
        assert!(!a.equivalent(b) && !b.equivalent(a), "{a:?} {b:?}");
    }
    let short = TableBuilder::new().int32("n", 9).finish();
    let long = TableBuilder::new().int64("n", 9).finish();
    let in_list = |t: &Table| ArrayBuilder::new().table(t.as_ref()).finish();
    assert!(Value::Table(short.as_ref()).equivalent(Value::Table(long.as_ref())));
    let (short, long) = (in_list(&short), in_list(&long));
    assert!(Value::Array(short.as_ref()).equivalent(Value::Array(long.as_ref())));
    assert!(!Value::Array(short.as_ref()).equivalent(Value::Array(ArrayRef::EMPTY)));
}

#[test]
fn values_answer_by_their_type() {
    assert_eq!(Value::U32(u32::MAX).as_int(), Some(4_294_967_295));
    assert_eq!(Value::Timestamp(1).as_int(), None);
    assert_eq!(Value::LongStr("é".as_bytes()).as_str(), Some("é"));
    assert_eq!(Value::LongStr(b"\xFF").as_str(), None);
    assert_eq!(Value::Bytes(b"x").as_str(), None);
    assert_eq!(Value::Bool(true).as_bool(), Some(true));
    assert_eq!(Value::I32(10).type_name(), "signedint");
    assert_eq!(Value::I32(10).to_string(), "10");
    assert_eq!(Value::LongStr(b"lazy").to_string(), "lazy");
}

#[test]
fn odd_numbers_keep_their_bits() {
    // A signalling NaN, a decimal of scale 255 and a timestamp before 1970.
    let body = b"\x01ff\x7F\xA0\0\x01\x01dD\xFF\0\0\0\x01\x01tT\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF";
    let table = TableRef::parse(body).expect("valid");
    assert_eq!(table.as_bytes(), body);
    assert_eq!(table.get("d"), Some(Value::Decimal { scale: 255, value: 1 }));
    assert_eq!(table.get("t"), Some(Value::Timestamp(u64::MAX)));
}

#[test]
fn builders_fit_in_what_the_wire_cannot_carry() {
    let table = TableBuilder::new().bool(&"é".repeat(200), true).finish();
    let (key, _) = table.as_ref().iter().next().expect("an entry");
    assert_eq!(key, "é".repeat(127));

    let body = nested(MAX_DEPTH - 1, b'F');
    let deepest = TableRef::parse(&body).expect("valid");
    let table = TableBuilder::new().table("k", deepest).finish();
    assert_eq!(table.as_ref().get("k"), Some(Value::Void));

    let inner = deepest.get("k").expect("the level below");
    let table = TableBuilder::new().value("k", inner).finish();
    assert_eq!(table.as_ref(), deepest);

    let body = nested(MAX_DEPTH - 1, b'A');
    let array = TableRef::parse(&body).expect("valid").get("k").expect("the outermost array");
    let list = ArrayBuilder::new().value(array).finish();
    let table = TableBuilder::new().array("k", list.as_ref()).finish();
    assert_eq!(list.as_ref().iter().next(), Some(array));
    assert_eq!(table.as_ref().get("k"), Some(Value::Void));
}
