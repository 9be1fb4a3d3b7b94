"""A broker that can be told what to do."""

from contextlib import suppress

import pika
import pika.exceptions
import pytest

from support.broker import Leveret


@pytest.fixture
def steered(tmp_path):
    """Starts Leverets on a data directory of the test's own, one after the other."""
    started = []

    def start(settings=None):
        broker = Leveret(settings, data_dir=tmp_path / "data")
        broker.start()
        started.append(broker)
        return broker

    yield start
    codes = [broker.stop() for broker in started if broker.running()]
    assert all(code == 0 for code in codes), f"exit codes {codes}"


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
