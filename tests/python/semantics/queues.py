"""Queues by their arguments, and messages one by one."""

import pika.exceptions
import pytest

from support.deadline import DEFAULT_SECONDS, eventually
from support.messages import Delivery


def declare(channel, queue, durable=False, **arguments):
    """Declares a queue; `message_ttl=5` is the argument x-message-ttl. Answers the name."""
    named = {"x-" + key.replace("_", "-"): value for key, value in arguments.items()}
    channel.queue_declare(queue, durable=durable, arguments=named)
    return queue


def got(channel, queue, seconds=DEFAULT_SECONDS, auto_ack=True):
    """Waits for a message in the queue and takes it by basic.get."""
    found = eventually(
        lambda: (answer := channel.basic_get(queue, auto_ack=auto_ack))[0] and answer, f"a message in {queue}", seconds
    )
    return Delivery(*found)


def got_all(channel, queue, count):
    """Waits for so many messages, one by one, and answers their bodies; then there is none any more."""
    texts = [got(channel, queue).text for _ in range(count)]
    method, _, body = channel.basic_get(queue, auto_ack=True)
    assert method is None, f"{body} is there too"
    return texts


def exists(connect, queue):
    """Whether there is such a queue. Asking counts as using it."""
    try:
        connect().channel().queue_declare(queue, passive=True)
    except pika.exceptions.ChannelClosedByBroker as error:
        assert error.reply_code == 404
        return False
    return True


def refused(call):
    """Makes the call, which must end the channel; answers the reply code and text."""
    with pytest.raises(pika.exceptions.ChannelClosedByBroker) as closed:
        call()
    return closed.value.reply_code, closed.value.reply_text
