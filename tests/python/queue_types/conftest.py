"""Fixtures: kinds of queues, and which of them the broker under test knows as RabbitMQ 4.3 has them."""

import pytest

from queue_types.queues import KINDS, declare


@pytest.fixture(params=KINDS)
def kind(request):
    """Once for each type of queue."""
    return request.param


@pytest.fixture
def queue_of(channel, name):
    """Declares durable queues of a type and answers their names: `queue_of("quorum", delivery_limit=3)`."""

    def make(kind, **arguments):
        return declare(channel, name("q"), kind, **arguments)

    return make


@pytest.fixture
def as_in_4(connect):
    """For what RabbitMQ does since 4.3 at the latest: skipped against an older one."""
    if is_older(connect()):
        pytest.skip("older than RabbitMQ 4.3")


@pytest.fixture
def quorum_as_in_4(connect, kind):
    """The same for what only quorum queues do otherwise."""
    if kind == "quorum" and is_older(connect()):
        pytest.skip("a quorum queue older than RabbitMQ 4.3")


def is_older(connection):
    """Whether this is RabbitMQ before 4.3."""
    properties = connection._impl.server_properties
    return properties["product"] == "RabbitMQ" and properties["version"] < "4.3"
