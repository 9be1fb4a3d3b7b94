"""The property user-id has to be the name the publisher logged in with. A tag lifts that: see tracing."""

import pika
import pytest

from queue_types.queues import refused
from support.messages import Consumer, drain

WORDS = "user_id property set to '{}' but authenticated user was '{}'"


@pytest.fixture
def queue(queue_of):
    """A queue."""
    return queue_of("classic")


def claim(user):
    """Properties with this user-id."""
    return pika.BasicProperties(user_id=user)


def test_ones_own_name_is_passed_on(broker, channel, queue):
    channel.confirm_delivery()
    channel.basic_publish("", queue, b"m", claim(broker.user))
    (delivery,) = Consumer(channel, queue).take(1)
    assert delivery.properties.user_id == broker.user


@pytest.mark.parametrize("user", ["somebody", "", "GUEST", "guest "])
def test_every_other_name_is_refused_and_nothing_passed_on(broker, connect, channel, queue, user):
    publisher = connect().channel()
    publisher.confirm_delivery()
    with refused(406, WORDS.format(user, broker.user)):
        publisher.basic_publish("", queue, b"m", claim(user))
    assert publisher.connection.is_open
    assert drain(channel, queue) == []


def test_what_came_before_it_is_in_the_queue(broker, connect, channel, queue):
    publisher = connect().channel()
    publisher.basic_publish("", queue, b"before", claim(broker.user))
    with refused(406, WORDS.format("somebody", broker.user)):
        publisher.basic_publish("", queue, b"wrong", claim("somebody"))
        publisher.basic_publish("", queue, b"after", claim(broker.user))
        publisher.queue_declare(queue, passive=True)
    assert drain(channel, queue) == ["before"]


def test_it_is_checked_for_messages_that_go_nowhere(connect, broker):
    publisher = connect().channel()
    publisher.confirm_delivery()
    with refused(406, WORDS.format("somebody", broker.user)):
        publisher.basic_publish("", "no such queue", b"m", claim("somebody"), mandatory=True)


def test_a_transaction_is_not_waited_for(broker, connect, channel, queue):
    publisher = connect().channel()
    publisher.tx_select()
    publisher.basic_publish("", queue, b"before", claim(broker.user))
    publisher.basic_publish("", queue, b"wrong", claim("somebody"))
    with refused(406, WORDS.format("somebody", broker.user)):
        publisher.tx_commit()
    assert drain(channel, queue) == []


def test_it_stays_on_a_dead_letter(broker, channel, queue_of, queue):
    source = queue_of("classic", dead_letter_exchange="", dead_letter_routing_key=queue)
    channel.confirm_delivery()
    channel.basic_publish("", source, b"m", claim(broker.user))
    channel.basic_reject(channel.basic_get(source)[0].delivery_tag, requeue=False)
    assert Consumer(channel, queue).take(1)[0].properties.user_id == broker.user
