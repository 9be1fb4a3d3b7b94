"""The arguments of queues: which values are refused and how, and which declarations mean the same queue."""

import decimal

import pytest
from pika.compat import long

from semantics.queues import declare, exists, got, refused
from support.messages import publish

MAX_MILLISECONDS = 315_360_000_000
NO_INTEGERS = ["1", "", None, True, decimal.Decimal("1.5"), [1], {}]
NO_TEXTS = [1, None, True, [], {}]

BAD = {
    "message_ttl": [-1, MAX_MILLISECONDS + 1, *NO_INTEGERS],
    "expires": [-1, 0, MAX_MILLISECONDS + 1, *NO_INTEGERS],
    "max_length": [-1, *NO_INTEGERS],
    "max_length_bytes": [-1, *NO_INTEGERS],
    "max_priority": [-1, 256, *NO_INTEGERS],
    "overflow": ["", "drop-tail", "DROP-HEAD", *NO_TEXTS],
    "dead_letter_routing_key": NO_TEXTS,
}
GOOD = {
    "message_ttl": [0, 1, MAX_MILLISECONDS],
    "expires": [60_000, MAX_MILLISECONDS],
    "max_length": [0, 1, 2**62],
    "max_length_bytes": [0, 1, 2**62],
    "max_priority": [0, 1, 255],
    "overflow": ["drop-head", "reject-publish", "reject-publish-dlx"],
    "dead_letter_exchange": ["", "no.such.exchange"],
}
ALL = {
    "message_ttl": 50_000,
    "expires": 60_000,
    "max_length": 5,
    "max_length_bytes": 500,
    "overflow": "reject-publish",
    "dead_letter_exchange": "a",
    "dead_letter_routing_key": "k",
    "max_priority": 5,
}


@pytest.mark.parametrize("argument", BAD)
def test_a_bad_value_is_refused(connect, name, argument):
    connection, q = connect(), name("q")
    more = {"dead_letter_exchange": ""} if argument == "dead_letter_routing_key" else {}
    for value in BAD[argument]:
        code, text = refused(lambda v=value: declare(connection.channel(), q, **{argument: v}, **more))
        wanted = f"invalid arg 'x-{argument.replace('_', '-')}' for queue '{q}' in vhost '/': "
        assert (code, text[: len(wanted) + 22]) == (406, "PRECONDITION_FAILED - " + wanted), value
    assert not exists(connect, q)


@pytest.mark.parametrize(
    "value, kind", [(1, "signedint"), (None, "void"), (True, "bool"), ([], "array"), ({}, "table")]
)
def test_a_dead_letter_exchange_that_is_no_text(channel, name, value, kind):
    q = name("q")
    text = f"invalid type '{kind}' for arg 'x-dead-letter-exchange' in queue '{q}' in vhost '/'"
    assert refused(lambda: declare(channel, q, dead_letter_exchange=value)) == (406, f"PRECONDITION_FAILED - {text}")


def test_a_routing_key_for_dead_letters_that_have_no_exchange(channel, name):
    q = name("q")
    text = f"invalid arg 'x-dead-letter-routing-key' for queue '{q}' in vhost '/': routing_key_but_no_dlx_defined"
    assert refused(lambda: declare(channel, q, dead_letter_routing_key="k")) == (406, f"PRECONDITION_FAILED - {text}")


@pytest.mark.parametrize("argument", [{"dead_letter_strategy": "at-least-once"}, {"delivery_limit": 5}])
def test_an_argument_of_quorum_queues(channel, name, argument):
    """A queue of another type cannot have it."""
    q, word = name("q"), "x-" + next(iter(argument)).replace("_", "-")
    text = f"invalid arg '{word}' for queue '{q}' in vhost '/' of queue type rabbit_classic_queue"
    assert refused(lambda: declare(channel, q, **argument)) == (406, f"PRECONDITION_FAILED - {text}")


@pytest.mark.parametrize("argument", GOOD)
def test_a_good_value_is_accepted_again_and_again(channel, queue, argument):
    for value in GOOD[argument]:
        q = queue(**{argument: value})
        declare(channel, q, **{argument: value})


@pytest.mark.parametrize("argument", ALL)
def test_a_redeclaration_must_say_the_same(connect, queue, name, argument):
    """Without the argument, with another value, with a value of another type, and with one that was not there."""
    connection = connect()
    word, value = "x-" + argument.replace("_", "-"), ALL[argument]
    kind = "signedint" if isinstance(value, int) else "longstr"
    full, plain = queue(**ALL), queue()
    other = 7 if isinstance(value, int) else "other"
    others = {key: value for key, value in ALL.items() if key != argument}
    start = f"PRECONDITION_FAILED - inequivalent arg '{word}' for queue '"
    for q, arguments, end in (
        (full, others, f"received none but current is the value '{value}' of type '{kind}'"),
        (full, ALL | {argument: other}, f"received '{other}' but current is '{value}'"),
        (full, ALL | {argument: True}, f"received 'true' but current is '{value}'"),
        (plain, {argument: value}, f"received the value '{value}' of type '{kind}' but current is none"),
    ):
        answer = refused(lambda q=q, a=arguments: declare(connection.channel(), q, **a))
        assert answer == (406, f"{start}{q}' in vhost '/': {end}")
    declare(connection.channel(), full, **ALL)


def test_numbers_are_compared_by_value(channel, queue):
    q = queue(**ALL)
    declare(channel, q, **{key: long(value) if isinstance(value, int) else value for key, value in ALL.items()})


def test_a_refused_redeclaration_changes_nothing(channel, connect, queue):
    q = queue(max_length=1)
    refused(lambda: declare(connect().channel(), q, max_length=5))
    publish(channel, "", q, *"abc")
    assert got(channel, q).text == "c"
    assert channel.basic_get(q)[0] is None
