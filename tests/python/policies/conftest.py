"""Connections to brokers that a test starts itself."""

import pika
import pytest

from support.connections import closing_after


@pytest.fixture
def opened():
    """Opens connections that are closed after the test."""

    def connect(broker, vhost="/"):
        return pika.BlockingConnection(broker.parameters(vhost))

    with closing_after(connect) as open_one:
        yield open_one
