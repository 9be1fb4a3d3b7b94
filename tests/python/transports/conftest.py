"""What tests of transports share."""

import socket
from contextlib import suppress

import pytest


@pytest.fixture
def dial():
    """Connects a socket: `dial(broker, source="127.0.0.2", first=b"...")`. All are closed in the end."""
    opened = []

    def connect(broker, source="127.0.0.1", first=b""):
        connection = socket.create_connection((broker.host, broker.port), timeout=10, source_address=(source, 0))
        opened.append(connection)
        connection.sendall(first)
        return connection

    yield connect
    for connection in opened:
        with suppress(OSError):
            connection.close()
