use std::collections::HashSet;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::protocol::field::tests::any_table;
use crate::protocol::field::{Table, TableBuilder, TableRef};

/// Arguments for sample methods, one function per type of the declarations.
pub(in crate::protocol) struct Source<'a> {
    texts: &'a [String],
    tables: &'a [Table],
    number: u64,
}

impl<'a> Source<'a> {
    /// A step of a linear congruential generator; the high bits are the good ones.
    fn next(&mut self) -> u64 {
        self.number =
            self.number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.number.rotate_left(32)
    }

    pub(super) fn bit(&mut self) -> bool {
        self.next() & 1 == 1
    }

    pub(super) fn octet(&mut self) -> u8 {
        self.next() as u8
    }

    pub(super) fn short(&mut self) -> u16 {
        self.next() as u16
    }

    pub(super) fn long(&mut self) -> u32 {
        self.next() as u32
    }

    pub(super) fn longlong(&mut self) -> u64 {
        self.next()
    }

    pub(super) fn shortstr(&mut self) -> &'a str {
        let at = self.next() as usize % self.texts.len();
        &self.texts[at]
    }

    pub(super) fn longstr(&mut self) -> &'a [u8] {
        self.shortstr().as_bytes()
    }

    pub(super) fn secret(&mut self) -> &'a [u8] {
        self.longstr()
    }

    pub(super) fn table(&mut self) -> TableRef<'a> {
        let at = self.next() as usize % self.tables.len();
        self.tables[at].as_ref()
    }
}

fn samples_of_nothing() -> Vec<Method<'static>> {
    let texts = Box::leak(Box::new([String::new()]));
    let tables = Box::leak(Box::new([Table::default()]));
    Method::samples(&mut Source { texts, tables, number: 0 })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn every_method_survives_the_wire(
        texts in vec(prop_oneof![".{0,6}", "[a-z]{240,255}"], 1..6),
        tables in vec(any_table(), 1..4),
        number in any::<u64>(),
        cut in any::<prop::sample::Index>(),
    ) {
        for method in Method::samples(&mut Source { texts: &texts, tables: &tables, number }) {
            let mut payload = Vec::new();
            method.encode(&mut payload);
            prop_assert_eq!(Method::decode(&payload).expect("what was encoded"), method);

            // Cut short or followed by more, it is an error that names the method (W115, W116).
            let cut = cut.index(payload.len());
            let error = Method::decode(&payload[..cut]).expect_err("cut short");
            prop_assert_eq!(error.code, ReplyCode::FrameError);
            prop_assert_eq!(error.method, if cut < 4 { MethodId::NONE } else { method.id() });
            payload.push(0);
            let error = Method::decode(&payload).expect_err("one byte too many");
            prop_assert_eq!((error.code, error.method), (ReplyCode::FrameError, method.id()));
        }
    }

    /// Whatever is decoded as a publish has parts, and they say the same; of other bytes there may be parts only where
    /// names are not UTF-8.
    #[test]
    fn parts_of_a_publish_are_what_is_decoded(
        names in vec(any::<u8>(), 0..12),
        lens in (0u8..14, 0u8..14),
        bits in any::<u8>(),
        cut in 0usize..40,
        other in any::<bool>(),
    ) {
        let mut payload = vec![0, 60, 0, if other { 60 } else { 40 }, 1, 2];
        for len in [lens.0, lens.1] {
            payload.push(len);
            payload.extend(names.iter().cycle().take(if names.is_empty() { 0 } else { len.into() }));
        }
        payload.push(bits);
        payload.truncate(cut.max(4));
        let parts = basic::PublishParts::find(&payload);
        match Method::decode(&payload) {
            Ok(Method::Basic(basic::Method::Publish(publish))) => {
                let parts = parts.expect("a publish");
                let mut expected = vec![publish.exchange.len() as u8];
                expected.extend_from_slice(publish.exchange.as_bytes());
                expected.push(publish.routing_key.len() as u8);
                expected.extend_from_slice(publish.routing_key.as_bytes());
                prop_assert_eq!(parts.names, expected);
                prop_assert_eq!((parts.mandatory, parts.immediate), (publish.mandatory, publish.immediate));
            }
            _ => prop_assert!(parts.is_none_or(|parts| std::str::from_utf8(parts.names).is_err() || !names.is_ascii())),
        }
    }

    #[test]
    fn arbitrary_arguments_do_not_panic(
        args in vec(prop_oneof![Just(0u8), Just(1u8), any::<u8>()], 0..60),
    ) {
        let _ = Method::decode(&args);
        for method in samples_of_nothing() {
            let mut payload = Vec::new();
            put_id(&mut payload, method.id());
            payload.extend_from_slice(&args);
            if let Ok(method) = Method::decode(&payload) {
                let _ = format!("{method:?}");
            }
        }
    }
}

#[test]
fn every_method_of_the_specification_is_there_once() {
    let known: [(u16, &[u16]); 8] = [
        (10, &[10, 11, 20, 21, 30, 31, 40, 41, 50, 51, 60, 61, 70, 71]),
        (20, &[10, 11, 20, 21, 40, 41]),
        (30, &[10, 11]),
        (40, &[10, 11, 20, 21, 30, 31, 40, 51]),
        (50, &[10, 11, 20, 21, 30, 31, 40, 41, 50, 51]),
        (60, &[10, 11, 20, 21, 30, 31, 40, 50, 60, 70, 71, 72, 80, 90, 100, 110, 111, 120]),
        (85, &[10, 11]),
        (90, &[10, 11, 20, 21, 30, 31]),
    ];
    let known: HashSet<MethodId> =
        known.iter().flat_map(|(class, ids)| ids.iter().map(|id| MethodId::new(*class, *id))).collect();
    let declared: Vec<MethodId> = samples_of_nothing().iter().map(Method::id).collect();
    assert_eq!(declared.len(), known.len());
    assert_eq!(declared.into_iter().collect::<HashSet<_>>(), known);
}

#[test]
fn extensions_have_their_exact_ids() {
    fn id<M: Args>() -> (u16, u16, &'static str) {
        (M::ID.class, M::ID.method, M::NAME)
    }
    assert_eq!(id::<connection::Blocked<'_>>(), (10, 60, "connection.blocked"));
    assert_eq!(id::<connection::Unblocked>(), (10, 61, "connection.unblocked"));
    assert_eq!(id::<connection::UpdateSecret<'_>>(), (10, 70, "connection.update-secret"));
    assert_eq!(id::<connection::UpdateSecretOk>(), (10, 71, "connection.update-secret-ok"));
    assert_eq!(id::<exchange::Bind<'_>>(), (40, 30, "exchange.bind"));
    assert_eq!(id::<exchange::BindOk>(), (40, 31, "exchange.bind-ok"));
    assert_eq!(id::<exchange::Unbind<'_>>(), (40, 40, "exchange.unbind"));
    assert_eq!(id::<exchange::UnbindOk>(), (40, 51, "exchange.unbind-ok"));
    assert_eq!(id::<basic::RecoverAsync>(), (60, 100, "basic.recover-async"));
    assert_eq!(id::<basic::Nack>(), (60, 120, "basic.nack"));
    assert_eq!(id::<confirm::Select>(), (85, 10, "confirm.select"));
    assert_eq!(id::<confirm::SelectOk>(), (85, 11, "confirm.select-ok"));
}

/// Checks a method against bytes written by hand from the specification.
fn golden<M: Args>(method: &M, args: &[u8]) {
    let mut frame = Vec::new();
    write_method(&mut frame, 0x0102, method);
    let mut expected =
        vec![1, 1, 2, 0, 0, 0, (args.len() + 4) as u8, 0, M::ID.class as u8, 0, M::ID.method as u8];
    expected.extend_from_slice(args);
    expected.push(0xCE);
    assert_eq!(frame, expected, "{}", M::NAME);
}

#[test]
fn connection_methods_have_golden_bytes() {
    let properties = TableBuilder::new().long_str("product", "L").finish();
    golden(
        &connection::Start {
            version_major: 0,
            version_minor: 9,
            server_properties: properties.as_ref(),
            mechanisms: b"PLAIN",
            locales: b"en_US",
        },
        b"\0\x09\0\0\0\x0E\x07productS\0\0\0\x01L\0\0\0\x05PLAIN\0\0\0\x05en_US",
    );
    golden(
        &connection::StartOk {
            client_properties: TableRef::EMPTY,
            mechanism: "PLAIN",
            response: b"\0guest\0guest",
            locale: "en_US",
        },
        b"\0\0\0\0\x05PLAIN\0\0\0\x0C\0guest\0guest\x05en_US",
    );
    golden(
        &connection::Tune { channel_max: 2047, frame_max: 131_072, heartbeat: 60 },
        b"\x07\xFF\0\x02\0\0\0\x3C",
    );
    golden(&connection::Open { virtual_host: "/", capabilities: "", insist: true }, b"\x01/\0\x01");
    golden(
        &connection::Close { reply_code: 320, reply_text: "bye", class_id: 0, method_id: 0 },
        b"\x01\x40\x03bye\0\0\0\0",
    );
    golden(&connection::CloseOk, b"");
    golden(&connection::Blocked { reason: "low on memory" }, b"\x0Dlow on memory");
    golden(&connection::UpdateSecret { new_secret: b"t", reason: "r" }, b"\0\0\0\x01t\x01r");
}

#[test]
fn other_methods_have_golden_bytes() {
    golden(&channel::OpenOk { channel_id: b"" }, b"\0\0\0\0");
    golden(
        &access::Request {
            realm: "/",
            exclusive: false,
            passive: true,
            active: true,
            write: true,
            read: true,
        },
        b"\x01/\x1E",
    );
    golden(
        &exchange::Declare {
            ticket: 0,
            exchange: "e",
            kind: "topic",
            passive: false,
            durable: true,
            auto_delete: false,
            internal: false,
            no_wait: true,
            arguments: TableRef::EMPTY,
        },
        b"\0\0\x01e\x05topic\x12\0\0\0\0",
    );
    golden(&exchange::UnbindOk, b"");
    let arguments = TableBuilder::new().int32("x-max-length", 10).finish();
    golden(
        &queue::Declare {
            queue: "q",
            durable: true,
            auto_delete: true,
            arguments: arguments.as_ref(),
            ..queue::Declare::default()
        },
        b"\0\0\x01q\x0A\0\0\0\x12\x0Cx-max-lengthI\0\0\0\x0A",
    );
    golden(
        &queue::DeclareOk { queue: "q", message_count: 1, consumer_count: 0x0203_0405 },
        b"\x01q\0\0\0\x01\x02\x03\x04\x05",
    );
    golden(&confirm::Select { no_wait: true }, b"\x01");
    golden(&tx::CommitOk, b"");
}

#[test]
fn basic_methods_have_golden_bytes() {
    golden(&basic::Qos { prefetch_size: 0, prefetch_count: 300, global: true }, b"\0\0\0\0\x01\x2C\x01");
    golden(
        &basic::Consume {
            ticket: 0,
            queue: "q",
            consumer_tag: "c",
            no_local: true,
            no_ack: false,
            exclusive: true,
            no_wait: false,
            arguments: TableRef::EMPTY,
        },
        b"\0\0\x01q\x01c\x05\0\0\0\0",
    );
    golden(
        &basic::Publish { ticket: 0, exchange: "", routing_key: "q", mandatory: true, immediate: false },
        b"\0\0\0\x01q\x01",
    );
    golden(
        &basic::Deliver {
            consumer_tag: "c",
            delivery_tag: 258,
            redelivered: true,
            exchange: "e",
            routing_key: "k",
        },
        b"\x01c\0\0\0\0\0\0\x01\x02\x01\x01e\x01k",
    );
    golden(
        &basic::GetOk {
            delivery_tag: 1,
            redelivered: false,
            exchange: "",
            routing_key: "q",
            message_count: 7,
        },
        b"\0\0\0\0\0\0\0\x01\0\0\x01q\0\0\0\x07",
    );
    golden(
        &basic::Return { reply_code: 312, reply_text: "NO_ROUTE", exchange: "e", routing_key: "k" },
        b"\x01\x38\x08NO_ROUTE\x01e\x01k",
    );
    golden(&basic::Ack { delivery_tag: 5, multiple: true }, b"\0\0\0\0\0\0\0\x05\x01");
    golden(&basic::Nack { delivery_tag: 5, multiple: false, requeue: true }, b"\0\0\0\0\0\0\0\x05\x02");
}

#[test]
fn w108_reserved_bits_are_ignored() {
    let decoded = Method::decode(b"\0\x3C\0\x50\0\0\0\0\0\0\0\x05\xFE").expect("an ack");
    let ack = basic::Ack { delivery_tag: 5, multiple: false };
    assert_eq!(decoded, Method::Basic(basic::Method::Ack(ack)));
}

#[test]
fn w112_w115_w117_malformed_arguments_name_the_method() {
    let declare = |args: &[u8]| {
        let mut payload = b"\0\x32\0\x0A".to_vec();
        payload.extend_from_slice(args);
        let error = Method::decode(&payload).expect_err("malformed");
        assert_eq!((error.code, error.method), (ReplyCode::FrameError, MethodId::new(50, 10)));
        error.text.into_owned()
    };
    assert_eq!(declare(b"\0\0\x05q"), "cannot decode queue.declare: arguments are cut short");
    assert_eq!(
        declare(b"\0\0\x01\xFF\0\0\0\0\0"),
        "cannot decode queue.declare: Malformed UTF-8 in shortstr"
    );
    assert_eq!(declare(b"\0\0\x01q\0\xFF\0\0\0"), "cannot decode queue.declare: arguments are cut short");
    let unknown = declare(b"\0\0\x01q\0\0\0\0\x03\x01kZ");
    assert_eq!(unknown, "cannot decode queue.declare: unknown field tag 90");
    let trailing = declare(b"\0\0\x01q\0\0\0\0\0xyz");
    assert_eq!(trailing, "cannot decode queue.declare: 3 bytes after the last argument");
}

#[test]
fn w126_unknown_methods_are_not_implemented() {
    for (class, method) in [(70, 10), (99, 1), (50, 99), (40, 41), (0, 0)] {
        let mut payload = Vec::new();
        put_id(&mut payload, MethodId::new(class, method));
        let error = Method::decode(&payload).expect_err("unknown");
        assert_eq!((error.code, error.method), (ReplyCode::NotImplemented, MethodId::new(class, method)));
    }
}

#[test]
fn a_run_of_bits_ends_after_eight_and_at_another_type() {
    let mut out = Vec::new();
    let mut encoder = codec::Encoder::new(&mut out);
    let bits = [true, false, false, true, false, false, true, false, false, true];
    bits.into_iter().for_each(|bit| encoder.bit(bit));
    encoder.octet(0xAA);
    encoder.bit(true);
    encoder.flush_bits();
    assert_eq!(out, [0b0100_1001, 0b10, 0xAA, 1]);

    let mut decoder = codec::Decoder::new(&out);
    assert_eq!(bits.map(|_| decoder.bit().expect("a bit")), bits);
    assert_eq!(decoder.octet().expect("an octet"), 0xAA);
    assert!(decoder.bit().expect("a bit"));
}

#[test]
fn long_names_are_cut_on_a_character_boundary() {
    let reason = "é".repeat(200);
    let mut payload = Vec::new();
    connection::Blocked { reason: &reason }.encode_args(&mut payload);
    assert_eq!((payload[0], payload.len()), (254, 255));
}

#[test]
fn debug_names_the_method_and_hides_secrets() {
    let ok = connection::StartOk {
        client_properties: TableRef::EMPTY,
        mechanism: "PLAIN",
        response: b"\0guest\0guest",
        locale: "en_US",
    };
    let shown = format!("{:?}", Method::Connection(connection::Method::StartOk(ok)));
    assert_eq!(
        shown,
        r#"connection.start-ok { client_properties: {}, mechanism: "PLAIN", response: <secret>, locale: "en_US" }"#
    );
    let start = connection::Start { mechanisms: b"PLAIN\0", ..connection::Start::default() };
    assert!(format!("{start:?}").contains(r#"mechanisms: "PLAIN\x00""#));
}
