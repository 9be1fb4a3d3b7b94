"""One broker for all cases, with a user whose permissions each case sets."""

import os
import re
from contextlib import suppress

import pika
import pika.exceptions
import pytest

from access.place import OTHER_VHOST, USER, VHOST, Place
from support.broker import Broker, Leveret, running_broker
from support.permissions import ControlSocket, Management


@pytest.fixture(scope="session")
def place(tmp_path_factory):
    """The broker of the cases: a Leveret of our own, or the RabbitMQ of LEVERET_TEST_URL and LEVERET_TEST_MANAGEMENT."""
    if running_broker() is not None:
        yield from on_rabbitmq(running_broker())
        return
    settings = {
        "vhosts.names": f'["{VHOST}", "{OTHER_VHOST}"]',
        f"auth.users.{USER}.password": "secret",
        f"auth.users.{USER}.vhosts": f'["{VHOST}", "{OTHER_VHOST}"]',
        "storage.sync": "never",
        "shutdown.grace": "100ms",
    }
    with Leveret(settings, data_dir=tmp_path_factory.mktemp("access") / "data") as leveret:
        with Place(leveret, ControlSocket(leveret)) as made:
            yield made


def on_rabbitmq(broker: Broker):
    """A place on a RabbitMQ; it is empty afterwards."""
    url = os.environ.get("LEVERET_TEST_MANAGEMENT")
    if url is None:
        pytest.fail("LEVERET_TEST_MANAGEMENT is not set, through which permissions are set; or leave these tests out")
    management = Management(url)
    management.call("PUT", ("users", USER), {"password": "secret", "tags": ""})
    for vhost in (VHOST, OTHER_VHOST):
        management.call("PUT", ("vhosts", vhost), {})
        management.set(broker.user, vhost, ".*", ".*", ".*")
        management.set(USER, vhost, ".*", ".*", ".*")
    with Place(broker, management, is_rabbitmq=True) as made:
        yield made
    for path in (("vhosts", VHOST), ("vhosts", OTHER_VHOST), ("users", USER)):
        management.call("DELETE", path)


@pytest.fixture
def opened():
    """Opens connections that are closed after the test."""
    connections = []

    def open_one(broker, vhost="/", **options):
        connections.append(pika.BlockingConnection(broker.parameters(vhost, **options)))
        return connections[-1]

    yield open_one
    for connection in connections:
        with suppress(pika.exceptions.AMQPError):
            connection.close()


@pytest.fixture
def refusal(opened):
    """How a connection is refused that may not open a vhost: with which 530."""

    def of(broker, vhost, **options):
        with pytest.raises(pika.exceptions.ProbableAccessDeniedError) as refused:
            opened(broker, vhost, **options)
        # pika makes one text of it.
        return re.fullmatch(r'ConnectionClosedByBroker: \(530\) "(.*)"', str(refused.value)).group(1)

    return of
