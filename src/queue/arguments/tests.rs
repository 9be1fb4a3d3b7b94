//! Each argument with values it takes and values it does not, in RabbitMQ's words.

use super::*;
use crate::protocol::field::{Table, TableBuilder};

const PLACE: Place<'_> = Place { queue: "q", vhost: "/" };
const DURABLE: Flags = Flags { durable: true, exclusive: false, auto_delete: false, server_named: false };

fn table(entries: &[(&str, Value<'_>)]) -> Table {
    let mut table = TableBuilder::new();
    for &(name, value) in entries {
        table.value(name, value);
    }
    table.finish()
}

fn text(word: &str) -> Value<'_> {
    Value::LongStr(word.as_bytes())
}

fn checked(entries: &[(&str, Value<'_>)], flags: Flags) -> Result<QueueKind, String> {
    check(table(entries).as_ref(), flags, PLACE).map_err(|error| {
        assert_eq!(error.code, ReplyCode::PreconditionFailed);
        error.text.into_owned()
    })
}

/// Refused with this reason after "invalid arg ...: ".
#[track_caller]
fn invalid(entries: &[(&str, Value<'_>)], name: &str, why: &str) {
    let expected = format!("invalid arg '{name}' for queue 'q' in vhost '/': {why}");
    assert_eq!(checked(entries, DURABLE), Err(expected));
}

#[test]
fn a_queue_is_classic_unless_it_says_otherwise() {
    assert_eq!(checked(&[], DURABLE), Ok(QueueKind::Classic));
    for kind in [QueueKind::Classic, QueueKind::Quorum] {
        assert_eq!(checked(&[("x-queue-type", text(kind.name()))], DURABLE), Ok(kind));
    }
    let refused = checked(&[("x-queue-type", text("mirrored"))], DURABLE);
    assert_eq!(refused, Err("unsupported queue type 'mirrored'".to_owned()));
    invalid(&[("x-queue-type", Value::I32(1))], "x-queue-type", "{unacceptable_type,signedint}");
    let stream = check(table(&[("x-queue-type", text("stream"))]).as_ref(), DURABLE, PLACE).unwrap_err();
    assert_eq!(stream.code, ReplyCode::NotImplemented);
}

#[test]
fn numbers_may_be_of_any_width_but_not_text() {
    let max = MAX_MILLISECONDS;
    for value in [
        Value::I8(1),
        Value::U8(1),
        Value::I16(1),
        Value::U16(1),
        Value::I32(1),
        Value::U32(1),
        Value::I64(max),
    ] {
        assert!(checked(&[("x-expires", value)], DURABLE).is_ok(), "{value:?}");
    }
    for (value, kind) in [
        (text("60000"), "longstr"),
        (Value::F64(1.0), "double"),
        (Value::Decimal { scale: 0, value: 1 }, "decimal"),
        (Value::Bool(true), "bool"),
        (Value::Timestamp(1), "timestamp"),
        (Value::Void, "void"),
    ] {
        invalid(&[("x-expires", value)], "x-expires", &format!("{{unacceptable_type,{kind}}}"));
    }
}

#[test]
fn numbers_have_bounds() {
    let taken = [
        ("x-message-ttl", 0),
        ("x-message-ttl", MAX_MILLISECONDS),
        ("x-max-length", 0),
        ("x-max-length-bytes", i64::MAX),
        ("x-max-priority", 0),
        ("x-max-priority", 255),
        ("x-queue-version", 2),
        ("x-consumer-timeout", 0),
    ];
    for (name, number) in taken {
        assert!(checked(&[(name, Value::I64(number))], DURABLE).is_ok(), "{name} {number}");
    }
    let refused = [
        ("x-expires", 0, "{value_zero,0}"),
        ("x-expires", -1, "{value_negative,-1}"),
        ("x-expires", MAX_MILLISECONDS + 1, "{value_too_large,315360000001}"),
        ("x-message-ttl", -5, "{value_negative,-5}"),
        ("x-message-ttl", MAX_MILLISECONDS + 1, "{value_too_large,315360000001}"),
        ("x-max-length", -1, "{value_negative,-1}"),
        ("x-max-length-bytes", i64::MIN, "{value_negative,-9223372036854775808}"),
        ("x-max-priority", 256, "{value_too_large,256}"),
    ];
    for (name, number, why) in refused {
        invalid(&[(name, Value::I64(number))], name, why);
    }
}

#[test]
fn a_delivery_limit_of_minus_one_is_none() {
    let limit = |number| {
        checked(&[("x-queue-type", text("quorum")), ("x-delivery-limit", Value::I32(number))], DURABLE)
    };
    assert_eq!(limit(-1), Ok(QueueKind::Quorum));
    assert_eq!(limit(0), Ok(QueueKind::Quorum));
    assert!(limit(-2).is_err());
}

#[test]
fn words_are_of_a_list_and_flags_are_flags() {
    for word in ["drop-head", "reject-publish", "reject-publish-dlx"] {
        assert!(checked(&[("x-overflow", text(word))], DURABLE).is_ok());
    }
    invalid(&[("x-overflow", text("drop-tail"))], "x-overflow", "{invalid_value,<<\"drop-tail\">>}");
    invalid(&[("x-overflow", Value::I32(1))], "x-overflow", "{unacceptable_type,signedint}");
    assert!(checked(&[("x-single-active-consumer", Value::Bool(false))], DURABLE).is_ok());
    invalid(
        &[("x-single-active-consumer", text("true"))],
        "x-single-active-consumer",
        "{unacceptable_type,longstr}",
    );
}

#[test]
fn a_dead_letter_exchange_is_a_name_and_its_routing_key_needs_it() {
    assert!(checked(&[("x-dead-letter-exchange", text(""))], DURABLE).is_ok(), "the default exchange is one");
    assert_eq!(
        checked(&[("x-dead-letter-exchange", Value::I64(1))], DURABLE),
        Err("invalid type 'long' for arg 'x-dead-letter-exchange' in queue 'q' in vhost '/'".to_owned())
    );
    let key = ("x-dead-letter-routing-key", text("k"));
    invalid(&[key], "x-dead-letter-routing-key", "routing_key_but_no_dlx_defined");
    assert!(checked(&[key, ("x-dead-letter-exchange", text("dlx"))], DURABLE).is_ok());
}

#[test]
fn an_argument_of_another_queue_type_is_refused_and_one_of_none_is_kept() {
    assert_eq!(
        checked(&[("x-max-age", text("1D"))], DURABLE),
        Err("invalid arg 'x-max-age' for queue 'q' in vhost '/' of queue type rabbit_classic_queue"
            .to_owned())
    );
    assert_eq!(
        checked(&[("x-queue-type", text("quorum")), ("x-max-priority", Value::I32(5))], DURABLE),
        Err("invalid arg 'x-max-priority' for queue 'q' in vhost '/' of queue type rabbit_quorum_queue"
            .to_owned())
    );
    assert!(checked(&[("x-mine", Value::Void), ("nothing", Value::F32(0.5))], DURABLE).is_ok());
}

#[test]
fn a_quorum_queue_is_durable_shared_and_stays() {
    let quorum = [("x-queue-type", text("quorum"))];
    let refused = |flags| checked(&quorum, flags).unwrap_err();
    let invalid = |what: &str| format!("invalid property '{what}' for queue 'q' in vhost '/'");
    assert_eq!(refused(Flags { durable: false, ..DURABLE }), invalid("non-durable"));
    assert_eq!(refused(Flags { exclusive: true, ..DURABLE }), invalid("exclusive-owner"));
    assert_eq!(refused(Flags { auto_delete: true, ..DURABLE }), invalid("auto-delete"));
    let text = "Cannot declare a server-named queue for type quorum";
    assert_eq!(refused(Flags { server_named: true, ..DURABLE }), text);
    let rejects = [quorum[0], ("x-overflow", Value::LongStr(b"reject-publish-dlx"))];
    assert!(checked(&rejects, DURABLE).is_err());
}

#[test]
fn equivalence_is_by_value_and_among_known_arguments() {
    let same = |current: &[(&str, Value<'_>)], received: &[(&str, Value<'_>)]| {
        check_equivalent(table(current).as_ref(), table(received).as_ref(), PLACE)
            .map_err(|error| error.text.into_owned())
    };
    let ttl = |value| [("x-message-ttl", value)];
    assert_eq!(same(&ttl(Value::I64(1000)), &ttl(Value::U16(1000))), Ok(()));
    assert_eq!(same(&[], &[("x-queue-type", text("classic"))]), Ok(()));
    assert_eq!(same(&[("x-mine", Value::I32(1))], &[("x-yours", text("2"))]), Ok(()));
    assert_eq!(same(&[], &[("x-delivery-limit", Value::I32(1))]), Ok(()), "a classic queue does not know it");
    let inequivalent = |arg: &str, received: &str, current: &str| {
        let text = format!(
            "inequivalent arg '{arg}' for queue 'q' in vhost '/': received {received} but current is {current}"
        );
        Err(text)
    };
    let (long, none) = ("the value '1000' of type 'long'", "none");
    assert_eq!(same(&ttl(Value::I64(1000)), &[]), inequivalent("x-message-ttl", none, long));
    assert_eq!(same(&[], &ttl(Value::I64(1000))), inequivalent("x-message-ttl", long, none));
    assert_eq!(
        same(&[], &[("x-queue-type", text("quorum"))]),
        inequivalent("x-queue-type", "'quorum'", "'classic'"),
        "two values are named without their types"
    );
}

#[test]
fn what_has_no_effect_yet_is_told() {
    let arguments =
        table(&[("x-max-length", Value::I32(1)), ("x-queue-mode", text("lazy")), ("mine", Value::Void)]);
    let told: Vec<&str> = without_effect(arguments.as_ref()).collect();
    assert!(told.iter().all(|name| *name == "x-max-length"), "{told:?}");
    for name in WITHOUT_EFFECT {
        assert!(KNOWN.iter().any(|known| known.name == *name), "{name}");
    }
}
