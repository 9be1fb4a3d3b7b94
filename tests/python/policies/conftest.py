"""Connections to brokers that a test starts itself."""

from contextlib import suppress

import pika
import pika.exceptions
import pytest


@pytest.fixture
def opened():
    """Opens connections that are closed after the test."""
    connections = []

    def open_one(broker, vhost="/"):
        connections.append(pika.BlockingConnection(broker.parameters(vhost)))
        return connections[-1]

    yield open_one
    for connection in connections:
        with suppress(pika.exceptions.AMQPError):
            connection.close()
