"""The type of a queue and the arguments of each: what is taken, what is refused, and what has to be equal."""

import pika.exceptions
import pytest

from queue_types.queues import KINDS, arguments_of, declare, fill, refused
from support.messages import drain

INTEGERS = ["expires", "message_ttl", "max_length", "max_length_bytes"]


@pytest.mark.parametrize("arguments", [None, {"x-queue-type": "classic"}, {"x-queue-type": "quorum"}])
def test_a_queue_of_each_type_passes_messages_on(channel, name, arguments):
    queue = name("q")
    channel.queue_declare(queue, durable=True, arguments=arguments)
    fill(channel, queue, "a", "b")
    assert drain(channel, queue) == ["a", "b"]


def test_an_unknown_type_is_refused(as_in_4, channel, name):
    with refused(406, "unsupported queue type 'strange'"):
        declare(channel, name("q"), "strange")


def test_a_type_that_is_no_text_is_refused(channel, name):
    with refused(406, "x-queue-type"):
        channel.queue_declare(name("q"), durable=True, arguments={"x-queue-type": 1})


@pytest.mark.own_broker
def test_streams_are_refused_in_plain_words(channel, name):
    with pytest.raises(pika.exceptions.ConnectionClosedByBroker) as closed:
        declare(channel, name("s"), "stream")
    assert closed.value.reply_code == 540
    assert "queue type 'stream' is not supported by this broker" in closed.value.reply_text


@pytest.mark.parametrize(
    "flags, property_name",
    [
        ({"durable": False}, "non-durable"),
        ({"exclusive": True}, "exclusive-owner"),
        ({"auto_delete": True}, "auto-delete"),
    ],
)
def test_a_quorum_queue_is_durable_and_for_everybody(channel, name, flags, property_name):
    queue = name("q")
    with refused(406, f"invalid property '{property_name}' for queue '{queue}' in vhost '/'"):
        channel.queue_declare(queue, **({"durable": True} | flags), arguments=arguments_of("quorum"))


def test_a_quorum_queue_needs_a_name(channel):
    with refused(406, "Cannot declare a server-named queue for type"):
        channel.queue_declare("", durable=True, arguments=arguments_of("quorum"))


@pytest.mark.parametrize(
    "kind, arguments",
    [
        ("classic", {"queue_mode": "lazy"}),
        ("classic", {"queue_mode": "default"}),
        ("classic", {"queue_version": 1}),
        ("classic", {"queue_version": 2}),
        ("classic", {"overflow": "reject-publish-dlx"}),
        ("classic", {"max_priority": 10}),
        ("quorum", {"delivery_limit": 3}),
        ("quorum", {"delivery_limit": 0}),
        ("quorum", {"overflow": "reject-publish"}),
        ("quorum", {"dead_letter_strategy": "at-most-once"}),
        ("quorum", {"queue_leader_locator": "client-local"}),
        ("quorum", {"queue_leader_locator": "balanced"}),
        ("quorum", {"quorum_initial_group_size": 3}),
        ("quorum", {"max_in_memory_length": 5}),
        *[(kind, {"something_else": value}) for kind in KINDS for value in (1, "text", None, [1, {"a": b"b"}])],
        *[(kind, {argument: 2**40 % 10**11}) for kind in KINDS for argument in INTEGERS],
    ],
)
def test_taken(connect, name, kind, arguments):
    queue = declare(connect().channel(), name("q"), kind, **arguments)
    declare(connect().channel(), queue, kind, **arguments)


@pytest.mark.parametrize("policy", ["disabled", "all", "failed", "returned"])
def test_delayed_retry_is_taken(as_in_4, channel, queue_of, policy):
    """It has no effect yet, which the log says."""
    queue = queue_of("quorum", delayed_retry_type=policy, delayed_retry_min=1000, delayed_retry_max=60_000)
    fill(channel, queue, "a")
    assert drain(channel, queue) == ["a"]


def test_minus_one_is_a_delivery_limit(as_in_4, queue_of):
    queue_of("quorum", delivery_limit=-1)


@pytest.mark.parametrize(
    "kind, argument, value",
    [
        ("classic", "queue_version", 3),
        ("classic", "queue_version", "2"),
        ("quorum", "dead_letter_strategy", "maybe"),
        ("quorum", "queue_leader_locator", "elsewhere"),
        ("quorum", "quorum_initial_group_size", 0),
        *[(kind, "single_active_consumer", value) for kind in KINDS for value in ("true", 1)],
        *[(kind, "overflow", value) for kind in KINDS for value in ("zzz", 1)],
        *[(kind, argument, value) for kind in KINDS for argument in INTEGERS for value in (-1, "1", True)],
        *[(kind, "expires", 0) for kind in KINDS],
        *[(kind, "dead_letter_exchange", 1) for kind in KINDS],
        *[(kind, "dead_letter_routing_key", "without an exchange") for kind in KINDS],
    ],
)
def test_refused_for_its_value(channel, name, kind, argument, value):
    queue = name("q")
    with refused(406, "x-" + argument.replace("_", "-"), queue):
        declare(channel, queue, kind, **{argument: value})


@pytest.mark.parametrize(
    "argument, value",
    [
        ("delivery_limit", "3"),
        ("overflow", "reject-publish-dlx"),
        ("delayed_retry_type", "sometimes"),
        ("delayed_retry_min", -1),
        ("delayed_retry_max", "1s"),
        ("consumer_timeout", -1),
    ],
)
def test_refused_for_its_value_since_4_3(as_in_4, channel, name, argument, value):
    with refused(406, "x-" + argument.replace("_", "-")):
        declare(channel, name("q"), "quorum", **{argument: value})


@pytest.mark.parametrize(
    "kind, argument, value",
    [
        ("classic", "delivery_limit", 3),
        ("classic", "dead_letter_strategy", "at-least-once"),
        ("classic", "quorum_initial_group_size", 1),
        ("classic", "max_age", "1D"),
        ("quorum", "max_priority", 5),
        ("quorum", "queue_mode", "lazy"),
        ("quorum", "max_age", "1D"),
    ],
)
def test_refused_as_another_types(channel, name, kind, argument, value):
    queue = name("q")
    words = f"invalid arg 'x-{argument.replace('_', '-')}' for queue '{queue}' in vhost '/' of queue type rabbit_{kind}"
    with refused(406, words):
        declare(channel, queue, kind, **{argument: value})


@pytest.mark.parametrize(
    "kind, first, second, words",
    [
        (
            "quorum",
            {"delivery_limit": 3},
            {"delivery_limit": 4},
            "'x-delivery-limit' for queue '{}' in vhost '/': received '4' but current is '3'",
        ),
        (
            "quorum",
            {"delivery_limit": 3},
            {},
            "'x-delivery-limit' for queue '{}' in vhost '/': received none but current is the value '3' of type",
        ),
        (
            "quorum",
            {},
            {"dead_letter_strategy": "at-least-once"},
            "'x-dead-letter-strategy' for queue '{}' in vhost '/': received the value 'at-least-once' of type 'longstr'"
            " but current is none",
        ),
        ("classic", {"queue_mode": "lazy"}, {}, "'x-queue-mode'"),
        ("classic", {"single_active_consumer": True}, {}, "'x-single-active-consumer'"),
        ("quorum", {"overflow": "reject-publish"}, {"overflow": "drop-head"}, "'x-overflow'"),
    ],
)
def test_inequivalent(channel, name, kind, first, second, words):
    queue = declare(channel, name("q"), kind, **first)
    with refused(406, "inequivalent arg " + words.format(queue)):
        declare(channel, queue, kind, **second)


def test_the_type_is_compared_and_classic_is_no_type(connect, channel, name):
    queue = name("q")
    channel.queue_declare(queue, durable=True)
    declare(channel, queue, "classic")
    with refused(406, "inequivalent arg 'x-queue-type'", "'quorum'"):
        declare(channel, queue, "quorum")
    quorum = declare(connect().channel(), name("q"), "quorum")
    with refused(406, "inequivalent arg 'x-queue-type'"):
        connect().channel().queue_declare(quorum, durable=True)
