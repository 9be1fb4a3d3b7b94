"""Short forms for queues with arguments, and for what is refused."""

from contextlib import contextmanager

import pika.exceptions
import pytest

from support.messages import publish

KINDS = ["classic", "quorum"]


def arguments_of(kind, **arguments):
    """`delivery_limit=3` stands for `x-delivery-limit`."""
    return {"x-queue-type": kind} | {"x-" + key.replace("_", "-"): value for key, value in arguments.items()}


def declare(channel, queue, kind, **arguments):
    """Declares a durable queue of this type and answers its name."""
    channel.queue_declare(queue, durable=True, arguments=arguments_of(kind, **arguments))
    return queue


def fill(channel, queue, *bodies, properties=None):
    """Publishes to a queue and waits until it has everything, on a channel that gets confirms from now on."""
    channel.confirm_delivery()
    publish(channel, "", queue, *bodies, properties=properties)


@contextmanager
def refused(code, *words):
    """The block must close its channel with this code and all these words."""
    with pytest.raises(pika.exceptions.ChannelClosedByBroker) as closed:
        yield
    assert closed.value.reply_code == code, closed.value
    missing = [word for word in words if word not in closed.value.reply_text]
    assert not missing, closed.value
