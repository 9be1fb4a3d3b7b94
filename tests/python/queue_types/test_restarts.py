"""What kill -9 leaves of all that: counts, single active consumers, deliveries, dead letters, arguments."""

import pika
import pytest

from queue_types.queues import KINDS, arguments_of, declare, fill, refused
from support.deadline import eventually
from support.messages import PERSISTENT, Consumer, drain, expect_ready, publish, ready

pytestmark = pytest.mark.own_broker


@pytest.fixture
def killed(on):
    """`killed()` answers a channel on a broker, the first time on a new one, then on the one after a kill -9."""
    running = []

    def restart():
        if running:
            running.pop().kill()
        running.append(on())
        return pika.BlockingConnection(running[0].parameters()).channel()

    return restart


def rejected(channel, queue, times):
    """Takes and rejects the next message so often, and waits until that is on disk."""
    for _ in range(times):
        method = eventually(lambda: channel.basic_get(queue)[0], f"a message in {queue}")
        channel.basic_reject(method.delivery_tag, requeue=True)
    # Its answer waits for what came before it.
    channel.basic_qos(prefetch_count=0)
    fill(channel, queue, "behind", properties=PERSISTENT)


def taken(channel, queue):
    """The next message: whether it is flagged, its headers and its body."""
    method, properties, body = channel.basic_get(queue)
    return method.redelivered, properties.headers or {}, body.decode()


def test_the_count_of_deliveries_is_kept(killed):
    channel = killed()
    queue = declare(channel, "q", "quorum", delivery_limit=3, dead_letter_exchange="", dead_letter_routing_key="dead")
    declare(channel, "dead", "quorum")
    fill(channel, queue, "m")
    rejected(channel, queue, 2)
    channel = killed()
    flagged, headers, body = taken(channel, queue)
    assert (flagged, headers["x-delivery-count"], body) == (True, 2, "m")
    channel.basic_reject(1, requeue=True)
    assert taken(channel, queue)[1]["x-delivery-count"] == 3
    channel.basic_reject(2, requeue=True)
    expect_ready(channel, "dead", 1)
    channel = killed()
    _, headers, body = taken(channel, "dead")
    assert (headers["x-death"][0]["reason"], body) == ("delivery_limit", "m")
    assert drain(channel, queue) == ["behind"]


def test_the_count_is_kept_by_the_second_restart_too(killed):
    channel = killed()
    declare(channel, "q", "quorum")
    fill(channel, "q", "m")
    for number in range(1, 4):
        rejected(channel, "q", 1)
        channel = killed()
        assert taken(channel, "q")[1]["x-delivery-count"] == number
        # It comes back without failure: the broker was at fault.
        channel = killed()


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_not_acknowledged_comes_again(killed, kind):
    channel = killed()
    declare(channel, "q", kind)
    fill(channel, "q", "a", "b", "c", properties=PERSISTENT)
    channel.basic_qos(prefetch_count=2)
    consumer = Consumer(channel, "q")
    consumer.take(2)
    channel.basic_ack(consumer.deliveries[0].tag)
    # The third one comes after the acknowledgement, whose fate the confirm makes certain.
    consumer.take(3)
    fill(channel, "q", "d", properties=PERSISTENT)
    channel = killed()
    assert [taken(channel, "q")[::2] for _ in range(2)] == [(True, "b"), (True, "c")]
    assert taken(channel, "q")[2] == "d"


@pytest.mark.parametrize("kind", KINDS)
def test_a_single_active_consumer_is_single_again(killed, kind):
    channel = killed()
    declare(channel, "q", kind, single_active_consumer=True)
    fill(channel, "q", "a", "b", properties=PERSISTENT)
    Consumer(channel, "q").take(2)
    channel = killed()
    other = channel.connection.channel()
    first, second = Consumer(channel, "q"), Consumer(other, "q")
    assert [delivery.text for delivery in first.take(2)] == ["a", "b"]
    with refused(403, "in exclusive use"):
        Consumer(channel.connection.channel(), "q", exclusive=True)
    assert second.texts() == []
    channel.close()
    assert [delivery.text for delivery in second.take(2)] == ["a", "b"]


def test_a_quorum_queue_keeps_transient_messages_with_their_priorities(killed):
    channel = killed()
    declare(channel, "q", "quorum")
    declare(channel, "classic", "classic")
    for priority in (1, 9, 5):
        for queue in ("q", "classic"):
            fill(channel, queue, str(priority), properties=pika.BasicProperties(priority=priority))
    channel = killed()
    assert drain(channel, "q") == ["9", "5", "1"]
    assert ready(channel, "classic") == 0


def test_dead_letters_that_nobody_took_are_not_lost(killed):
    """At least once: the target is full, and after the restart it is not there; then it takes them."""
    channel = killed()
    declare(channel, "target", "quorum", max_length=1, overflow="reject-publish")
    declare(
        channel,
        "q",
        "quorum",
        overflow="reject-publish",
        dead_letter_exchange="",
        dead_letter_routing_key="target",
        dead_letter_strategy="at-least-once",
    )
    fill(channel, "target", "there")
    fill(channel, "q", "a", "b")
    for _ in range(2):
        channel.basic_reject(channel.basic_get("q")[0].delivery_tag, requeue=False)
    fill(channel, "q", "c")
    assert taken(channel, "q")[2] == "c"
    channel = killed()
    channel.queue_delete("target")
    declare(channel, "target", "quorum")
    channel = killed()
    expect_ready(channel, "target", 2)
    for body in "ab":
        _, headers, text = taken(channel, "target")
        assert (headers["x-death"][0]["reason"], text) == ("rejected", body)
    assert drain(channel, "q") == ["c"]


ARGUMENTS = [
    ("classic", {"single_active_consumer": True, "max_priority": 4}),
    ("classic", {"queue_mode": "lazy", "queue_version": 2}),
    ("quorum", {"delivery_limit": -1, "single_active_consumer": True}),
    ("quorum", {"delivery_limit": 7, "delayed_retry_type": "failed", "delayed_retry_min": 5, "consumer_timeout": 10**6}),
    ("quorum", {"dead_letter_exchange": "x", "dead_letter_strategy": "at-least-once", "overflow": "reject-publish"}),
]


def test_arguments_are_compared_as_before(killed):
    channel = killed()
    for number, (kind, arguments) in enumerate(ARGUMENTS):
        declare(channel, f"q{number}", kind, **arguments)
    connection = killed().connection
    for number, (kind, arguments) in enumerate(ARGUMENTS):
        declare(connection.channel(), f"q{number}", kind, **arguments)
        for left_out in arguments:
            rest = {name: value for name, value in arguments.items() if name != left_out}
            with refused(406, "inequivalent arg 'x-" + left_out.replace("_", "-")):
                connection.channel().queue_declare(f"q{number}", durable=True, arguments=arguments_of(kind, **rest))


def test_an_alternate_exchange_and_carbon_copies(killed):
    channel = killed()
    channel.exchange_declare("ae", "fanout", durable=True)
    channel.exchange_declare("x", "direct", durable=True, arguments={"alternate-exchange": "ae"})
    for queue, kind in (("rest", "quorum"), ("copy", "classic")):
        declare(channel, queue, kind)
    channel.queue_bind("rest", "ae")
    channel.queue_bind("copy", "x", "copy")
    channel.confirm_delivery()
    publish(channel, "x", "nobody", "before", properties=PERSISTENT)
    headers = {"CC": ["copy"], "BCC": ["copy"]}
    publish(channel, "x", "nobody", "copied", properties=pika.BasicProperties(headers=headers, delivery_mode=2))
    channel = killed()
    channel.confirm_delivery()
    publish(channel, "x", "nobody", "after", properties=PERSISTENT)
    assert drain(channel, "rest") == ["before", "after"]
    _, properties, body = channel.basic_get("copy", auto_ack=True)
    assert (body, properties.headers) == (b"copied", {"CC": ["copy"]})
