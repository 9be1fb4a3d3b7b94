"""Brokers and connections of the tests of `leveret ctl`."""

import pika
import pytest

from support.connections import closing_after


@pytest.fixture
def on(on):
    """As everywhere, but nobody waits for a disk, nor for the answer to a failed login."""
    return lambda settings=None: on({"storage.sync": "never", "auth.failed_login_delay": 0} | (settings or {}))


@pytest.fixture
def opened():
    """Opens connections that are closed after the test."""

    def connect(broker, vhost="/", user=None, password=None, **options):
        return pika.BlockingConnection(broker.parameters(vhost, user, password, **options))

    with closing_after(connect) as open_one:
        yield open_one
