"""Dead letters that stay in a quorum queue until all their targets have taken them."""

import pika.exceptions
import pytest

from queue_types.queues import declare, fill
from support.deadline import eventually
from support.messages import drain, expect_ready, publish, ready


@pytest.fixture
def source(queue_of):
    """`source("target")` is a quorum queue whose dead letters go there and nowhere else."""

    def make(target, **arguments):
        arguments = {"overflow": "reject-publish", "dead_letter_strategy": "at-least-once"} | arguments
        return queue_of("quorum", dead_letter_exchange="", dead_letter_routing_key=target, **arguments)

    return make


def refuse(channel, queue, count):
    """Takes so many messages and rejects them for good."""
    for _ in range(count):
        method = eventually(lambda: channel.basic_get(queue)[0], f"a message in {queue}")
        channel.basic_reject(method.delivery_tag, requeue=False)


def test_they_arrive_with_their_history(channel, queue_of, source):
    target = queue_of("classic")
    queue = source(target)
    fill(channel, queue, "a", "b", "c")
    refuse(channel, queue, 3)
    expect_ready(channel, target, 3)
    _, properties, body = channel.basic_get(target, auto_ack=True)
    assert body == b"a"
    (death,) = properties.headers["x-death"]
    assert (death["reason"], death["queue"], death["count"]) == ("rejected", queue, 1)
    assert drain(channel, target) == ["b", "c"]
    expect_ready(channel, queue, 0)


@pytest.mark.parametrize("reason, arguments", [("expired", {"message_ttl": 1}), ("delivery_limit", {"delivery_limit": 0})])
def test_for_every_reason(channel, queue_of, source, reason, arguments):
    target = queue_of("quorum")
    queue = source(target, **arguments)
    fill(channel, queue, "a")
    if reason == "delivery_limit":
        method = eventually(lambda: channel.basic_get(queue)[0], "a message")
        channel.basic_reject(method.delivery_tag, requeue=True)
    expect_ready(channel, target, 1)
    _, properties, _ = channel.basic_get(target, auto_ack=True)
    assert properties.headers["x-death"][0]["reason"] == reason


def test_while_the_target_is_full_they_are_not_lost_to_it(channel, queue_of, source):
    """The queue that refuses is asked again after minutes; here it is enough that nobody counts them as ready."""
    target = queue_of("classic", max_length=1, overflow="reject-publish")
    queue = source(target)
    fill(channel, queue, "a", "b")
    refuse(channel, queue, 2)
    expect_ready(channel, target, 1)
    fill(channel, queue, "c")
    method, _, body = channel.basic_get(queue, auto_ack=True)
    assert body == b"c"
    expect_ready(channel, target, 1)
    assert drain(channel, target) == ["a"]


def test_with_drop_head_they_are_at_most_once(channel, queue_of, source):
    target = queue_of("classic", max_length=1, overflow="reject-publish")
    queue = source(target, overflow="drop-head")
    fill(channel, queue, "a", "b")
    refuse(channel, queue, 2)
    expect_ready(channel, target, 1)
    assert channel.queue_delete(queue).method.message_count == 0


def test_a_full_source_refuses_its_publisher(channel, queue_of, source):
    queue = source(queue_of("classic"), max_length=2)
    fill(channel, queue, "a", "b")
    with pytest.raises(pika.exceptions.NackError):
        # RabbitMQ's limit lets some through.
        for number in range(1000):
            publish(channel, "", queue, str(number))
    assert ready(channel, queue) >= 2


def test_the_source_can_be_purged_and_deleted_meanwhile(channel, name, source):
    queue = source(name("missing"))
    fill(channel, queue, "a", "b")
    refuse(channel, queue, 1)
    assert channel.queue_purge(queue).method.message_count == 1
    channel.queue_delete(queue)
    declare(channel, queue, "quorum")
    assert drain(channel, queue) == []
