"""Brokers and connections of the tests of `leveret ctl`."""

from contextlib import suppress

import pika
import pika.exceptions
import pytest


@pytest.fixture
def on(on):
    """As everywhere, but nobody waits for a disk, nor for the answer to a failed login."""
    return lambda settings=None: on({"storage.sync": "never", "auth.failed_login_delay": 0} | (settings or {}))


@pytest.fixture
def opened():
    """Opens connections that are closed after the test."""
    connections = []

    def open_one(broker, vhost="/", user=None, password=None, **options):
        connections.append(pika.BlockingConnection(broker.parameters(vhost, user, password, **options)))
        return connections[-1]

    yield open_one
    for connection in connections:
        with suppress(pika.exceptions.AMQPError):
            if connection.is_open:
                connection.close()
