"""Fixtures: queues with arguments, and the version of the broker."""

import pytest

from semantics.queues import declare
from support.broker import running_broker


@pytest.fixture
def queue(channel, name):
    """Declares a queue by its arguments: `queue(message_ttl=100, max_length=5)` answers its name."""
    return lambda **arguments: declare(channel, name("q"), **arguments)


@pytest.fixture
def since_4(connect):
    """For what RabbitMQ does since version 4 only: the test is skipped against an older one."""
    properties = connect()._impl.server_properties
    if running_broker() is not None and int(properties["version"].split(".")[0]) < 4:
        pytest.skip("RabbitMQ does this since version 4")
